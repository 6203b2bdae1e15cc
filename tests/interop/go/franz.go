package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// franz-go: records, a cooperative group, transactions, administration.

func franzClient(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap...)}, options...)...)
}

func minute() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Minute)
}

func franzAdmin(work func(context.Context, *kadm.Client) error) error {
	cl, err := franzClient()
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := minute()
	defer cancel()
	return work(ctx, kadm.NewClient(cl))
}

func franzCreate(topic string) error {
	return franzAdmin(func(ctx context.Context, admin *kadm.Client) error {
		_, err := admin.CreateTopic(ctx, partitions, replicas, nil, topic)
		return err
	})
}

func franzRecord(topic string, i int) *kgo.Record {
	return &kgo.Record{
		Topic: topic, Partition: int32(i % partitions), Key: key(i), Value: value(i),
		Headers: []kgo.RecordHeader{{Key: "number", Value: header(i)}},
	}
}

func franzProduce(topic string, from, to int, codec string) error {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(),
		"zstd": kgo.ZstdCompression(),
	}
	cl, err := franzClient(kgo.ProducerBatchCompression(codecs[codec]),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	return franzSend(cl, topic, from, to)
}

func franzSend(cl *kgo.Client, topic string, from, to int) error {
	ctx, cancel := minute()
	defer cancel()
	var records []*kgo.Record
	for i := from; i < to; i++ {
		records = append(records, franzRecord(topic, i))
	}
	return cl.ProduceSync(ctx, records...).FirstErr()
}

func franzGroup(group, topic string, options ...kgo.Opt) (*kgo.Client, error) {
	return franzClient(append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.HeartbeatInterval(300 * time.Millisecond), kgo.SessionTimeout(10 * time.Second),
		kgo.FetchMaxWait(200 * time.Millisecond),
	}, options...)...)
}

func franzConsume(group, topic string, l *ledger, count int) error {
	cl, err := franzGroup(group, topic, kgo.DisableAutoCommit())
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := minute()
	defer cancel()
	for l.count < count {
		fetches := cl.PollRecords(ctx, min(500, count-l.count))
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("%w after %d records", err, l.count)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			l.add(int(r.Partition), r.Key, r.Value, r.Headers[0].Value)
		})
		if l.err != nil {
			return l.err
		}
	}
	return cl.CommitUncommittedOffsets(ctx)
}

type franzMember struct {
	*seenKeys
	cl   *kgo.Client
	stop context.CancelFunc
	done chan struct{}
}

func franzJoin(group, topic string) (member, error) {
	m := &franzMember{seenKeys: newSeenKeys(), done: make(chan struct{})}
	changed := func(sign int) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			m.Lock()
			m.have += sign * len(parts[topic])
			m.Unlock()
		}
	}
	cl, err := franzGroup(group, topic, kgo.OnPartitionsAssigned(changed(1)),
		kgo.OnPartitionsRevoked(changed(-1)), kgo.OnPartitionsLost(changed(-1)),
		kgo.AutoCommitInterval(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	m.cl = cl
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { m.saw(r.Key) })
		}
	}()
	return m, nil
}

func (m *franzMember) leave() error {
	m.stop()
	<-m.done
	m.cl.CloseAllowingRebalance()
	return nil
}

// Reads committed records of a topic up to its end.
func franzCommitted(topic string) (map[string]int, error) {
	cl, err := franzClient(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ctx, cancel := minute()
	defer cancel()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	found := map[string]int{}
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				found[string(r.Key)]++
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return found, nil
}

func franzTransactions() (string, error) {
	topic := unique("transactions")
	if err := franzCreate(topic); err != nil {
		return "", err
	}
	cl, err := franzClient(kgo.TransactionalID(unique("id")),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return "", err
	}
	defer cl.Close()
	ctx, cancel := minute()
	defer cancel()
	for n := 0; n < 3; n++ {
		if err := cl.BeginTransaction(); err != nil {
			return "", err
		}
		if err := franzSend(cl, topic, n*300, n*300+300); err != nil {
			return "", err
		}
		if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(n != 1)); err != nil {
			return "", err
		}
	}
	found, err := franzCommitted(topic)
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

// Copies the records of a topic, each batch in a transaction with its offsets.
func franzCopy() (string, error) {
	from, to, group := unique("records"), unique("copy"), unique("copiers")
	if err := franzCreate(to); err != nil {
		return "", err
	}
	copied, aborted := 0, false
	for copied < total {
		session, err := kgo.NewGroupTransactSession(
			kgo.SeedBrokers(bootstrap...), kgo.TransactionalID(unique("copier")),
			kgo.ConsumerGroup(group), kgo.ConsumeTopics(from),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()),
			kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.HeartbeatInterval(300*time.Millisecond))
		if err != nil {
			return "", err
		}
		ctx, cancel := minute()
		for copied < total {
			fetches := session.PollRecords(ctx, 500)
			if err := fetches.Err(); err != nil {
				cancel()
				return "", err
			}
			if err := session.Begin(); err != nil {
				cancel()
				return "", err
			}
			n := 0
			fetches.EachRecord(func(r *kgo.Record) {
				n++
				session.Produce(ctx, &kgo.Record{
					Topic: to, Partition: r.Partition, Key: r.Key, Value: r.Value}, nil)
			})
			// Not before it is written: to abort nothing, while the transaction
			// before is not complete, fences the producer in Kafka.
			if err := session.Client().Flush(ctx); err != nil {
				cancel()
				return "", err
			}
			// One batch in the middle is given up, and read again.
			try := aborted || copied < total/2
			ended, err := session.End(ctx, kgo.TransactionEndTry(try))
			if err != nil {
				cancel()
				return "", err
			}
			if ended {
				copied += n
			} else if !try {
				aborted = true
				break
			}
		}
		cancel()
		session.Close()
	}
	found, err := franzCommitted(to)
	if err != nil {
		return "", err
	}
	for i := 0; i < total; i++ {
		if found[string(key(i))] != 1 {
			return "", fmt.Errorf("record %d is there %d times", i, found[string(key(i))])
		}
	}
	return fmt.Sprintf("%d records", len(found)), nil
}

func franzAdminister() (string, error) {
	return "", franzAdmin(func(ctx context.Context, admin *kadm.Client) error {
		brokers, err := admin.ListBrokers(ctx)
		if err != nil || len(brokers) != 3 {
			return fmt.Errorf("%d brokers, %v", len(brokers), err)
		}
		lag, err := admin.Lag(ctx, unique("resume"))
		if err != nil {
			return err
		}
		if n := lag[unique("resume")].Lag.Total(); n != 0 {
			return fmt.Errorf("lag %d", n)
		}
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: unique("records"), Partition: 0, At: 10})
		deleted, err := admin.DeleteRecords(ctx, offsets)
		if err == nil {
			err = deleted.Error()
		}
		if err != nil {
			return err
		}
		starts, err := admin.ListStartOffsets(ctx, unique("records"))
		if err != nil {
			return err
		}
		if o, _ := starts.Lookup(unique("records"), 0); o.Offset != 10 {
			return fmt.Errorf("first offset %d", o.Offset)
		}
		groups, err := admin.DeleteGroups(ctx, unique("resume"))
		if err == nil {
			err = groups.Error()
		}
		if err != nil {
			return err
		}
		topics, err := admin.DeleteTopics(ctx, unique("records"))
		if err == nil {
			err = topics.Error()
		}
		return err
	})
}

func franzGo() {
	c := &library{
		create: franzCreate, produce: franzProduce, consume: franzConsume, join: franzJoin,
		codecs: []string{"gzip", "snappy", "lz4", "zstd"},
	}
	c.run()
	check("transactions are committed and aborted", false, franzTransactions)
	check("consumes, transforms, produces exactly once", false, franzCopy)
	check("administers groups, records and topics", false, franzAdminister)
}
