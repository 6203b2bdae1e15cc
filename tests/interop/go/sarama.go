package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

// sarama: records, a group, transactions, administration.

func saramaConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.ClientID = "interop"
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	c.Consumer.Return.Errors = true
	c.Consumer.MaxWaitTime = 200 * time.Millisecond
	return c
}

func saramaAdmin(work func(sarama.ClusterAdmin) error) error {
	admin, err := sarama.NewClusterAdmin(bootstrap, saramaConfig())
	if err != nil {
		return err
	}
	defer admin.Close()
	return work(admin)
}

func saramaCreate(topic string) error {
	return saramaAdmin(func(admin sarama.ClusterAdmin) error {
		return admin.CreateTopic(topic, &sarama.TopicDetail{
			NumPartitions: partitions, ReplicationFactor: replicas}, false)
	})
}

func saramaMessages(topic string, from, to int) []*sarama.ProducerMessage {
	var messages []*sarama.ProducerMessage
	for i := from; i < to; i++ {
		messages = append(messages, &sarama.ProducerMessage{
			Topic: topic, Partition: int32(i % partitions),
			Key: sarama.ByteEncoder(key(i)), Value: sarama.ByteEncoder(value(i)),
			Headers: []sarama.RecordHeader{{Key: []byte("number"), Value: header(i)}},
		})
	}
	return messages
}

func saramaProduce(topic string, from, to int, codec string) error {
	c := saramaConfig()
	c.Producer.Compression = map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
		"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4,
		"zstd": sarama.CompressionZSTD,
	}[codec]
	producer, err := sarama.NewSyncProducer(bootstrap, c)
	if err != nil {
		return err
	}
	defer producer.Close()
	return producer.SendMessages(saramaMessages(topic, from, to))
}

// A handler shows what it is given and marks it as read, up to a limit.
type saramaHandler struct {
	show  func(*sarama.ConsumerMessage) bool // false ends the session
	owned func(int)
	limit context.CancelFunc
}

func (h *saramaHandler) Setup(s sarama.ConsumerGroupSession) error {
	n := 0
	for _, parts := range s.Claims() {
		n += len(parts)
	}
	h.owned(n)
	return nil
}

func (h *saramaHandler) Cleanup(s sarama.ConsumerGroupSession) error {
	h.owned(0)
	s.Commit()
	return nil
}

func (h *saramaHandler) ConsumeClaim(
	s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for {
		select {
		case message, more := <-claim.Messages():
			if !more {
				return nil
			}
			if !h.show(message) {
				h.limit()
				return nil
			}
			s.MarkMessage(message, "")
		case <-s.Context().Done():
			return nil
		}
	}
}

func saramaConsume(group, topic string, l *ledger, count int) error {
	cg, err := sarama.NewConsumerGroup(bootstrap, group, saramaConfig())
	if err != nil {
		return err
	}
	defer cg.Close()
	ctx, cancel := minute()
	defer cancel()
	var shown atomic.Int64
	shown.Store(int64(l.count))
	h := &saramaHandler{limit: cancel, owned: func(int) {},
		show: func(m *sarama.ConsumerMessage) bool {
			if shown.Add(1) > int64(count) {
				return false
			}
			l.add(int(m.Partition), m.Key, m.Value, m.Headers[0].Value)
			n, err := l.seen()
			if n == count || err != nil {
				// Not before this one is marked.
				time.AfterFunc(100*time.Millisecond, cancel)
			}
			return err == nil
		}}
	for ctx.Err() == nil {
		if err := cg.Consume(ctx, []string{topic}, h); err != nil && ctx.Err() == nil {
			return err
		}
	}
	n, err := l.seen()
	if err == nil && n != count {
		err = fmt.Errorf("%d of %d records", n, count)
	}
	return err
}

type saramaMember struct {
	*seenKeys
	cg   sarama.ConsumerGroup
	stop context.CancelFunc
	done chan error
}

func saramaJoin(group, topic string) (member, error) {
	c := saramaConfig()
	c.Consumer.Offsets.AutoCommit.Enable = true
	c.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	cg, err := sarama.NewConsumerGroup(bootstrap, group, c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &saramaMember{seenKeys: newSeenKeys(), cg: cg, stop: cancel, done: make(chan error, 1)}
	h := &saramaHandler{limit: cancel, owned: m.has,
		show: func(message *sarama.ConsumerMessage) bool {
			m.saw(message.Key)
			return true
		}}
	go func() {
		for range cg.Errors() {
		}
	}()
	go func() {
		var err error
		for ctx.Err() == nil && err == nil {
			err = cg.Consume(ctx, []string{topic}, h)
		}
		m.done <- err
	}()
	return m, nil
}

func (m *saramaMember) leave() error {
	m.stop()
	err := <-m.done
	if closed := m.cg.Close(); err == nil {
		err = closed
	}
	return err
}

// Reads committed records of a topic up to its end.
func saramaCommitted(topic string, want int) (map[string]int, error) {
	c := saramaConfig()
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	consumer, err := sarama.NewConsumer(bootstrap, c)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	found, sum := map[string]int{}, 0
	messages := make(chan *sarama.ConsumerMessage)
	for p := int32(0); p < partitions; p++ {
		part, err := consumer.ConsumePartition(topic, p, sarama.OffsetOldest)
		if err != nil {
			return nil, err
		}
		defer part.AsyncClose()
		go func() {
			for m := range part.Messages() {
				messages <- m
			}
		}()
	}
	limit := time.After(time.Minute)
	for {
		select {
		case m := <-messages:
			found[string(m.Key)]++
			sum++
			if sum == want {
				limit = time.After(500 * time.Millisecond) // for one too many
			}
		case <-limit:
			return found, nil
		}
	}
}

func saramaTransactions() (string, error) {
	topic := unique("transactions")
	if err := saramaCreate(topic); err != nil {
		return "", err
	}
	c := saramaConfig()
	c.Producer.Transaction.ID = unique("id")
	producer, err := sarama.NewSyncProducer(bootstrap, c)
	if err != nil {
		return "", err
	}
	defer producer.Close()
	for n := 0; n < 3; n++ {
		if err := producer.BeginTxn(); err != nil {
			return "", err
		}
		if err := producer.SendMessages(saramaMessages(topic, n*300, n*300+300)); err != nil {
			return "", err
		}
		end := producer.CommitTxn
		if n == 1 {
			end = producer.AbortTxn
		}
		if err := end(); err != nil {
			return "", err
		}
	}
	found, err := saramaCommitted(topic, 600)
	if err != nil {
		return "", err
	}
	for i := 0; i < 900; i++ {
		want := 1
		if i >= 300 && i < 600 {
			want = 0
		}
		if found[string(key(i))] != want {
			return "", fmt.Errorf("record %d is there %d times", i, found[string(key(i))])
		}
	}
	return fmt.Sprintf("%d committed records of 900", len(found)), nil
}

// A record and a group's offset in one transaction, then one that is aborted.
func saramaOffsets() (string, error) {
	topic, group := unique("offsets"), unique("offsets")
	if err := saramaCreate(topic); err != nil {
		return "", err
	}
	c := saramaConfig()
	c.Producer.Transaction.ID = unique("offsets")
	producer, err := sarama.NewSyncProducer(bootstrap, c)
	if err != nil {
		return "", err
	}
	defer producer.Close()
	for n, end := range []func() error{producer.CommitTxn, producer.AbortTxn} {
		if err := producer.BeginTxn(); err != nil {
			return "", err
		}
		if err := producer.SendMessages(saramaMessages(topic, n*3, n*3+3)); err != nil {
			return "", err
		}
		offsets := map[string][]*sarama.PartitionOffsetMetadata{
			topic: {{Partition: 0, Offset: int64(10 + n)}}}
		if err := producer.AddOffsetsToTxn(offsets, group); err != nil {
			return "", err
		}
		if err := end(); err != nil {
			return "", err
		}
	}
	return "", saramaAdmin(func(admin sarama.ClusterAdmin) error {
		stored, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0}})
		if err != nil {
			return err
		}
		if at := stored.GetBlock(topic, 0).Offset; at != 10 {
			return fmt.Errorf("offset %d is stored, not 10", at)
		}
		return nil
	})
}

func saramaAdminister() (string, error) {
	return "", saramaAdmin(func(admin sarama.ClusterAdmin) error {
		brokers, _, err := admin.DescribeCluster()
		if err != nil || len(brokers) != 3 {
			return fmt.Errorf("%d brokers, %v", len(brokers), err)
		}
		topic, group := unique("records"), unique("resume")
		value := "86400000"
		if err := admin.IncrementalAlterConfig(sarama.TopicResource, topic,
			map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {
				Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value,
			}}, false); err != nil {
			return err
		}
		entries, err := admin.DescribeConfig(sarama.ConfigResource{
			Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}})
		if err != nil || len(entries) != 1 || entries[0].Value != value {
			return fmt.Errorf("configuration %v, %v", entries, err)
		}
		if err := admin.CreatePartitions(topic, 5, nil, false); err != nil {
			return err
		}
		described, err := admin.DescribeConsumerGroups([]string{group})
		if err != nil || described[0].State != "Empty" {
			return fmt.Errorf("group %v, %v", described, err)
		}
		if err := admin.DeleteConsumerGroup(group); err != nil {
			return err
		}
		if err := admin.DeleteRecords(topic, map[int32]int64{0: 10}); err != nil {
			return err
		}
		return admin.DeleteTopic(topic)
	})
}

func saramaSuite() {
	c := &library{
		create: saramaCreate, produce: saramaProduce, consume: saramaConsume, join: saramaJoin,
		codecs: []string{"gzip", "snappy", "lz4", "zstd"},
	}
	c.run()
	check("transactions are committed and aborted", false, saramaTransactions)
	check("offsets follow their transaction", false, saramaOffsets)
	check("administers groups, records and topics", false, saramaAdminister)
}
