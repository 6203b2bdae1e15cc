// franz says a little of everything with franz-go: topics, every compression,
// a group, offsets, configurations.  It prints one line a step, as the suites
// of tests/interop do.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const perCodec = 5

var (
	seeds  = strings.Split(os.Getenv("BOOTSTRAP"), ",")
	topic  = "franz-go-records-" + os.Getenv("RUN")
	group  = "franz-go-group-" + os.Getenv("RUN")
	codecs = []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()},
		{"gzip", kgo.GzipCompression()},
		{"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()},
		{"zstd", kgo.ZstdCompression()},
	}
)

func check(name string, work func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := work(ctx); err != nil {
		fmt.Printf("FAILED %s: %v\n", name, err)
		os.Exit(1)
	}
	fmt.Println("ok", name)
}

func client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(seeds...))...)
}

func produce(codec kgo.CompressionCodec) func(context.Context) error {
	return func(ctx context.Context) error {
		cl, err := client(kgo.DefaultProduceTopic(topic),
			kgo.ProducerBatchCompression(codec),
			kgo.ProducerLinger(50*time.Millisecond),
			kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			return err
		}
		defer cl.Close()
		var records []*kgo.Record
		for i := range perCodec {
			records = append(records, &kgo.Record{
				Key:   fmt.Appendf(nil, "key-%d", i),
				Value: fmt.Appendf(nil, "value-%d-%s", i, strings.Repeat("x", 20)),
				Headers: []kgo.RecordHeader{
					{Key: "number", Value: fmt.Append(nil, i)}},
			})
		}
		return cl.ProduceSync(ctx, records...).FirstErr()
	}
}

func consume(ctx context.Context) error {
	cl, err := client(kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.DisableAutoCommit())
	if err != nil {
		return err
	}
	defer cl.Close()
	for count := 0; count < perCodec*len(codecs); {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		count += fetches.NumRecords()
	}
	return cl.CommitUncommittedOffsets(ctx)
}

func administer(ctx context.Context) error {
	cl, err := client()
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	if _, err := admin.ListTopics(ctx); err != nil {
		return err
	}
	if _, err := admin.ListEndOffsets(ctx, topic); err != nil {
		return err
	}
	if _, err := admin.DescribeTopicConfigs(ctx, topic); err != nil {
		return err
	}
	value := "3600000"
	if _, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}},
		topic); err != nil {
		return err
	}
	if _, err := admin.CreatePartitions(ctx, 1, topic); err != nil {
		return err
	}
	if _, err := admin.DescribeGroups(ctx, group); err != nil {
		return err
	}
	if _, err := admin.ListGroups(ctx); err != nil {
		return err
	}
	if _, err := admin.FetchOffsets(ctx, group); err != nil {
		return err
	}
	if _, err := admin.DescribeAllLogDirs(ctx, nil); err != nil {
		return err
	}
	if _, err := admin.DeleteGroups(ctx, group); err != nil {
		return err
	}
	_, err = admin.DeleteTopics(ctx, topic)
	return err
}

func main() {
	check("creates a topic", func(ctx context.Context) error {
		cl, err := client()
		if err != nil {
			return err
		}
		defer cl.Close()
		_, err = kadm.NewClient(cl).CreateTopic(ctx, 1, 3, nil, topic)
		return err
	})
	for _, c := range codecs {
		check("produces with "+c.name, produce(c.codec))
	}
	check("consumes in a group", consume)
	check("administers", administer)
}
