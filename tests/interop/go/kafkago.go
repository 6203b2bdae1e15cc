package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	kafka "github.com/segmentio/kafka-go"
)

// kafka-go: records, a group, administration.  Its writer knows no idempotence
// and no transactions.

func kafkaGoClient() *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(bootstrap...), Timeout: 30 * time.Second}
}

func kafkaGoCreate(topic string) error {
	ctx, cancel := minute()
	defer cancel()
	answer, err := kafkaGoClient().CreateTopics(ctx, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{
			Topic: topic, NumPartitions: partitions, ReplicationFactor: replicas}}})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

func kafkaGoProduce(topic string, from, to int, codec string) error {
	writer := &kafka.Writer{
		Addr: kafka.TCP(bootstrap...), Topic: topic, RequiredAcks: kafka.RequireAll,
		BatchTimeout: 5 * time.Millisecond, BatchSize: 500,
		Compression: map[string]kafka.Compression{
			"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
		}[codec],
		Balancer: kafka.BalancerFunc(func(m kafka.Message, _ ...int) int {
			i := 0
			fmt.Sscanf(string(m.Key), "key-%d", &i)
			return i % partitions
		}),
	}
	ctx, cancel := minute()
	defer cancel()
	var messages []kafka.Message
	for i := from; i < to; i++ {
		messages = append(messages, kafka.Message{Key: key(i), Value: value(i),
			Headers: []kafka.Header{{Key: "number", Value: header(i)}}})
	}
	err := writer.WriteMessages(ctx, messages...)
	if closed := writer.Close(); err == nil {
		err = closed
	}
	return err
}

func kafkaGoReader(group, topic string) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers: bootstrap, GroupID: group, Topic: topic, StartOffset: kafka.FirstOffset,
		MaxWait: 200 * time.Millisecond, HeartbeatInterval: 300 * time.Millisecond,
		JoinGroupBackoff: 200 * time.Millisecond, MinBytes: 1, MaxBytes: 1 << 20,
	})
}

func kafkaGoConsume(group, topic string, l *ledger, count int) error {
	reader := kafkaGoReader(group, topic)
	ctx, cancel := minute()
	defer cancel()
	var last []kafka.Message
	for l.count < count {
		m, err := reader.FetchMessage(ctx)
		if err != nil {
			reader.Close()
			return fmt.Errorf("%w after %d records", err, l.count)
		}
		l.add(m.Partition, m.Key, m.Value, m.Headers[0].Value)
		if l.err != nil {
			reader.Close()
			return l.err
		}
		last = append(last, m)
	}
	err := reader.CommitMessages(ctx, last...)
	if closed := reader.Close(); err == nil {
		err = closed
	}
	return err
}

type kafkaGoMember struct {
	*seenKeys
	reader *kafka.Reader
	stop   context.CancelFunc
	done   chan struct{}
}

func kafkaGoJoin(group, topic string) (member, error) {
	ctx, cancel := context.WithCancel(context.Background())
	m := &kafkaGoMember{seenKeys: newSeenKeys(), reader: kafkaGoReader(group, topic),
		stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		for {
			message, err := m.reader.ReadMessage(ctx)
			if err != nil {
				return
			}
			m.saw(message.Key)
		}
	}()
	return m, nil
}

// A reader does not tell what it has, so the brokers are asked whether so many
// members share all partitions.
func kafkaGoBalanced(group string, count int) bool {
	ctx, cancel := minute()
	defer cancel()
	answer, err := kafkaGoClient().DescribeGroups(ctx, &kafka.DescribeGroupsRequest{
		GroupIDs: []string{group}})
	if err != nil || len(answer.Groups) != 1 || answer.Groups[0].GroupState != "Stable" {
		return false
	}
	members := answer.Groups[0].Members
	sum := 0
	for _, m := range members {
		n := 0
		for _, t := range m.MemberAssignments.Topics {
			n += len(t.Partitions)
		}
		if n == 0 {
			return false
		}
		sum += n
	}
	return len(members) == count && sum == partitions
}

func (m *kafkaGoMember) leave() error {
	m.stop()
	<-m.done
	return m.reader.Close()
}

func kafkaGoAdminister() (string, error) {
	ctx, cancel := minute()
	defer cancel()
	c := kafkaGoClient()
	topic, group := unique("records"), unique("resume")
	metadata, err := c.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil || len(metadata.Brokers) != 3 || len(metadata.Topics[0].Partitions) != 3 {
		return "", fmt.Errorf("metadata %v, %v", metadata, err)
	}
	stored, err := c.OffsetFetch(ctx, &kafka.OffsetFetchRequest{
		GroupID: group, Topics: map[string][]int{topic: {0, 1, 2}}})
	if err != nil {
		return "", err
	}
	sum := int64(0)
	for _, p := range stored.Topics[topic] {
		sum += p.CommittedOffset
	}
	if sum != total {
		return "", fmt.Errorf("%d records are committed", sum)
	}
	deleted, err := c.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return "", err
	}
	if err := deleted.Errors[topic]; err != nil {
		return "", err
	}
	_, err = c.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil && !strings.Contains(err.Error(), "Unknown") {
		return "", err
	}
	return "", nil
}

func kafkaGo() {
	c := &library{
		create: kafkaGoCreate, produce: kafkaGoProduce, consume: kafkaGoConsume, join: kafkaGoJoin,
		balanced: kafkaGoBalanced, codecs: []string{"gzip", "snappy", "lz4", "zstd"},
	}
	c.run()
	check("administers groups and topics", false, kafkaGoAdminister)
}
