// What every Go suite shares: checks that print one line each, `ok NAME:
// DETAIL` or `FAILED NAME: WHY`, which tests/interop/run counts.
//
// Record number i is always the same bytes and always goes to partition i mod
// 3, so a reader knows what it must see next in each partition.

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	partitions = 3
	replicas   = 3
	total      = 10000
)

var (
	bootstrap = strings.Split(os.Getenv("BOOTSTRAP"), ",")
	client    = os.Args[len(os.Args)-1]
	failed    = false
)

// A name that no other suite or run uses.
func unique(what string) string {
	return client + "-" + what + "-" + os.Getenv("RUN")
}

func key(i int) []byte {
	return []byte("key-" + strconv.Itoa(i))
}

func value(i int) []byte {
	return []byte("value-" + strconv.Itoa(i) + "-" + strings.Repeat("x", i%100))
}

func header(i int) []byte {
	return []byte(strconv.Itoa(i))
}

// check runs one check; a suite ends at a vital one that fails.
func check(name string, vital bool, work func() (string, error)) {
	detail, err := work()
	switch {
	case err != nil:
		failed = true
		text := strings.Join(strings.Fields(err.Error()), " ")
		fmt.Printf("FAILED %s: %s\n", name, text)
		if vital {
			os.Exit(1)
		}
	case detail != "":
		fmt.Printf("ok %s: %s\n", name, detail)
	default:
		fmt.Printf("ok %s\n", name)
	}
}

// until waits for a condition; why tells what was missing when time is up.
func until(seconds int, why func() string, condition func() bool) error {
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for !condition() {
		if time.Now().After(end) {
			return fmt.Errorf("%s after %d s", why(), seconds)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// A ledger follows what a reader receives; the first wrong record is in err.
type ledger struct {
	sync.Mutex
	next  [partitions]int
	count int
	err   error
}

func newLedger() *ledger {
	return &ledger{next: [partitions]int{0, 1, 2}}
}

func (l *ledger) add(partition int, k, v, number []byte) {
	l.Lock()
	defer l.Unlock()
	if l.err != nil {
		return
	}
	i := l.next[partition]
	if !bytes.Equal(k, key(i)) || !bytes.Equal(v, value(i)) ||
		!bytes.Equal(number, header(i)) {
		l.err = fmt.Errorf("partition %d: expected %s, got key %q number %q",
			partition, key(i), k, number)
		return
	}
	l.next[partition] += partitions
	l.count++
}

func (l *ledger) seen() (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.count, l.err
}

// The offset behind the last record of a partition.
func (l *ledger) offset(partition int) int64 {
	l.Lock()
	defer l.Unlock()
	return int64((l.next[partition] - partition) / partitions)
}

// A member reads in the background; it has the keys that it saw.
type member interface {
	keys() map[string]bool
	owned() int // partitions
	leave() error
}

type seenKeys struct {
	sync.Mutex
	all  map[string]bool
	have int
}

func newSeenKeys() *seenKeys {
	return &seenKeys{all: map[string]bool{}}
}

func (s *seenKeys) saw(k []byte) {
	s.Lock()
	defer s.Unlock()
	s.all[string(k)] = true
}

func (s *seenKeys) has(partitions int) {
	s.Lock()
	defer s.Unlock()
	s.have = partitions
}

func (s *seenKeys) owned() int {
	s.Lock()
	defer s.Unlock()
	return s.have
}

func (s *seenKeys) keys() map[string]bool {
	s.Lock()
	defer s.Unlock()
	copied := map[string]bool{}
	for k := range s.all {
		copied[k] = true
	}
	return copied
}

func union(members ...member) int {
	all := map[string]bool{}
	for _, m := range members {
		for k := range m.keys() {
			all[k] = true
		}
	}
	return len(all)
}

func shared(members ...member) bool {
	sum := 0
	for _, m := range members {
		n := m.owned()
		if n == 0 {
			return false
		}
		sum += n
	}
	return sum == partitions
}

// A library is a client as the checks that all have in common use it.
type library struct {
	create  func(topic string) error
	produce func(topic string, from, to int, codec string) error
	// consume reads until the ledger has this many records and commits.
	consume func(group, topic string, l *ledger, count int) error
	join    func(group, topic string) (member, error)
	codecs  []string
	// balanced tells whether all members of a group have partitions, all of
	// them together; nil where members tell themselves.
	balanced func(group string, members int) bool
}

func (c *library) shared(group string, members ...member) bool {
	if c.balanced != nil {
		return c.balanced(group, len(members))
	}
	return shared(members...)
}

func (c *library) rebalance() (string, error) {
	topic := unique("rebalance")
	if err := c.create(topic); err != nil {
		return "", err
	}
	a, err := c.join(topic, topic)
	if err != nil {
		return "", err
	}
	defer a.leave()
	all := func() bool { return c.shared(topic, a) }
	if err := until(40, func() string { return "the first has not all" }, all); err != nil {
		return "", err
	}
	b, err := c.join(topic, topic)
	if err != nil {
		return "", err
	}
	left := false
	defer func() {
		if !left {
			b.leave()
		}
	}()
	if err := until(40, func() string { return "they do not share" },
		func() bool { return c.shared(topic, a, b) }); err != nil {
		return "", err
	}
	why := func() string { return fmt.Sprintf("%d records", union(a, b)) }
	if err := c.produce(topic, 0, 300, "none"); err != nil {
		return "", err
	}
	if err := until(40, why, func() bool { return union(a, b) == 300 }); err != nil {
		return "", err
	}
	if len(a.keys()) == 0 || len(b.keys()) == 0 {
		return "", fmt.Errorf("one member read nothing")
	}
	left = true
	if err := b.leave(); err != nil {
		return "", err
	}
	if err := until(40, func() string { return "the first has not all" }, all); err != nil {
		return "", err
	}
	if err := c.produce(topic, 300, 600, "none"); err != nil {
		return "", err
	}
	if err := until(40, why, func() bool { return union(a, b) == 600 }); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d and %d records", len(a.keys()), len(b.keys())), nil
}

func (c *library) run() {
	topic := unique("records")
	check("writes 10,000 records with keys and headers", true, func() (string, error) {
		if err := c.create(topic); err != nil {
			return "", err
		}
		return "", c.produce(topic, 0, total, "none")
	})
	check("resumes from committed offsets", false, func() (string, error) {
		l := newLedger()
		if err := c.consume(unique("resume"), topic, l, 4000); err != nil {
			return "", err
		}
		before := l.count
		if err := c.consume(unique("resume"), topic, l, total); err != nil {
			return "", err
		}
		return fmt.Sprintf("%d then %d records, complete and in order",
			before, l.count-before), nil
	})
	check("all compressions come back in order", false, func() (string, error) {
		other := unique("compressed")
		if err := c.create(other); err != nil {
			return "", err
		}
		for n, codec := range c.codecs {
			if err := c.produce(other, n*600, n*600+600, codec); err != nil {
				return "", fmt.Errorf("%s: %w", codec, err)
			}
		}
		l := newLedger()
		return strings.Join(c.codecs, ", "),
			c.consume(unique("compressed"), other, l, 600*len(c.codecs))
	})
	check("a group rebalances when a second member joins and leaves", false, c.rebalance)
}

func main() {
	suites := map[string]func(){"franz-go": franzGo, "sarama": saramaSuite, "kafka-go": kafkaGo}
	suites[client]()
	if failed {
		os.Exit(1)
	}
}
