// sarama says a little of everything with sarama: topics, every compression, a
// group, offsets, configurations.  It prints one line a step, as the suites of
// tests/interop do.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

const perCodec = 5

var (
	brokers = strings.Split(os.Getenv("BOOTSTRAP"), ",")
	topic   = "sarama-records-" + os.Getenv("RUN")
	group   = "sarama-group-" + os.Getenv("RUN")
	codecs  = []sarama.CompressionCodec{
		sarama.CompressionNone, sarama.CompressionGZIP,
		sarama.CompressionSnappy, sarama.CompressionLZ4,
		sarama.CompressionZSTD,
	}
	// What it speaks follows from the version that it is told.
	eras = []sarama.KafkaVersion{sarama.V0_10_2_0, sarama.V1_1_0_0,
		sarama.MaxVersion}
)

func check(name string, work func() error) {
	if err := work(); err != nil {
		fmt.Printf("FAILED %s: %v\n", name, err)
		os.Exit(1)
	}
	fmt.Println("ok", name)
}

func config(era sarama.KafkaVersion) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = era
	c.Producer.Return.Successes = true
	c.Producer.Flush.Messages = perCodec
	c.Producer.Flush.Frequency = 50 * time.Millisecond
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	return c
}

func produce(era sarama.KafkaVersion, codec sarama.CompressionCodec) error {
	c := config(era)
	c.Producer.Compression = codec
	p, err := sarama.NewSyncProducer(brokers, c)
	if err != nil {
		return err
	}
	defer p.Close()
	var messages []*sarama.ProducerMessage
	for i := range perCodec {
		m := &sarama.ProducerMessage{
			Topic: topic,
			Key:   sarama.StringEncoder(fmt.Sprintf("key-%d", i)),
			Value: sarama.StringEncoder(fmt.Sprintf("value-%d-%s", i,
				strings.Repeat("x", 20))),
		}
		if era.IsAtLeast(sarama.V0_11_0_0) {
			m.Headers = []sarama.RecordHeader{
				{Key: []byte("number"), Value: fmt.Append(nil, i)}}
		}
		messages = append(messages, m)
	}
	return p.SendMessages(messages)
}

// reader takes records until it has `left` more.
type reader struct {
	left int
	done context.CancelFunc
}

func (*reader) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*reader) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (r *reader) ConsumeClaim(s sarama.ConsumerGroupSession,
	claim sarama.ConsumerGroupClaim) error {
	for m := range claim.Messages() {
		s.MarkMessage(m, "")
		if r.left--; r.left == 0 {
			s.Commit()
			r.done()
		}
	}
	return nil
}

func consume(era sarama.KafkaVersion, count int) error {
	g, err := sarama.NewConsumerGroup(brokers, group+era.String(), config(era))
	if err != nil {
		return err
	}
	defer g.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	r := &reader{left: count, done: cancel}
	if err := g.Consume(ctx, []string{topic}, r); err != nil {
		return err
	}
	if r.left > 0 {
		return fmt.Errorf("%d records are missing", r.left)
	}
	return nil
}

func administer(era sarama.KafkaVersion) error {
	admin, err := sarama.NewClusterAdmin(brokers, config(era))
	if err != nil {
		return err
	}
	defer admin.Close()
	if _, err := admin.DescribeTopics([]string{topic}); err != nil {
		return err
	}
	if _, err := admin.ListConsumerGroups(); err != nil {
		return err
	}
	name := group + era.String()
	if _, err := admin.DescribeConsumerGroups([]string{name}); err != nil {
		return err
	}
	if _, err := admin.ListConsumerGroupOffsets(name, map[string][]int32{
		topic: {0}}); err != nil {
		return err
	}
	if !era.IsAtLeast(sarama.V1_1_0_0) {
		return nil
	}
	if _, err := admin.DescribeConfig(sarama.ConfigResource{
		Type: sarama.TopicResource, Name: topic}); err != nil {
		return err
	}
	if _, err := admin.DescribeLogDirs([]int32{1}); err != nil {
		return err
	}
	return admin.DeleteConsumerGroup(name)
}

func topics(work func(sarama.ClusterAdmin) error) func() error {
	return func() error {
		admin, err := sarama.NewClusterAdmin(brokers, config(sarama.MaxVersion))
		if err != nil {
			return err
		}
		defer admin.Close()
		return work(admin)
	}
}

func main() {
	check("creates a topic", topics(func(a sarama.ClusterAdmin) error {
		return a.CreateTopic(topic, &sarama.TopicDetail{
			NumPartitions: 1, ReplicationFactor: 3}, false)
	}))
	count := 0
	for _, era := range eras {
		for _, codec := range codecs {
			if codec == sarama.CompressionZSTD &&
				!era.IsAtLeast(sarama.V2_1_0_0) {
				continue
			}
			check(fmt.Sprintf("%s produces with %s", era, codec),
				func() error { return produce(era, codec) })
			count += perCodec
		}
		check(era.String()+" consumes in a group",
			func() error { return consume(era, count) })
		check(era.String()+" administers",
			func() error { return administer(era) })
	}
	check("deletes the topic", topics(func(a sarama.ClusterAdmin) error {
		return a.DeleteTopic(topic)
	}))
}
