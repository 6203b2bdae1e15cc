"""confluent-kafka (the newest librdkafka): groups by the protocol of KIP-848.

The suite has a cluster of its own, CLUSTER, and kills the group's coordinator
while two members read; node I listens at the I-th address of BOOTSTRAP.
"""

import os
import re
import subprocess
import threading

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from suite import BOOTSTRAP, PARTITIONS, RECORDS, REPLICAS, RUN
from suite import Wrong, check, equal, finish, key, until, value

SERVERS = {"bootstrap.servers": ",".join(BOOTSTRAP)}
admin = AdminClient(SERVERS)


def unique(what):
    return "confluent-%s-%s" % (what, RUN)


TOPIC = unique("records")


def node_command(word, node):
    subprocess.run([os.path.join(os.environ["LEAT_TOP"], "scripts", "cluster"),
                    word, str(node), "--dir", os.environ["CLUSTER"]],
                   check=True, stdout=subprocess.DEVNULL, timeout=120)


def create(name):
    admin.create_topics([NewTopic(name, PARTITIONS, REPLICAS)])[name].result(30)

    def in_sync():
        topic = admin.list_topics(name, 10).topics[name]
        return len(topic.partitions) == PARTITIONS and all(
            len(p.isrs) == REPLICAS for p in topic.partitions.values())

    until(in_sync, 30, "the replicas are not all in sync")


def produce(name, numbers):
    failed = []
    producer = Producer(dict(SERVERS, **{"enable.idempotence": True}))
    for i in numbers:
        while True:
            try:
                producer.produce(name, value(i), key(i), i % PARTITIONS,
                                 on_delivery=lambda error, _: failed.append(
                                     error) if error else None)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    if producer.flush(60) or failed:
        raise Wrong("not all were written: %s" % failed[:1])


class Member(threading.Thread):
    """Reads until it is stopped, and notes who owned what it read."""

    def __init__(self, group, topics, **more):
        super().__init__(daemon=True)
        self.consumer = Consumer(dict(SERVERS, **{
            "group.id": group, "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "auto.commit.interval.ms": 200}, **more))
        self.seen = []
        self.owned = set()
        self.error = None
        self.ending = False
        self.consumer.subscribe(topics, on_assign=self.given,
                                on_revoke=self.taken, on_lost=self.taken)
        self.start()

    def given(self, consumer, parts):
        self.owned |= {(p.topic, p.partition) for p in parts}
        consumer.incremental_assign(parts)

    def taken(self, consumer, parts):
        self.owned -= {(p.topic, p.partition) for p in parts}
        consumer.incremental_unassign(parts)

    def run(self):
        while not self.ending:
            message = self.consumer.poll(0.1)
            if message is None:
                continue
            if message.error():
                if message.error().fatal():
                    self.error = message.error()
                    break
                continue
            number = int(message.key().decode().partition("-")[2])
            if message.key() != key(number) or \
                    message.value() != value(number):
                self.error = Wrong("altered: %r" % message.key())
            self.seen.append((message.partition(), number))
        self.consumer.close()

    def stop(self):
        self.ending = True
        self.join(60)
        if self.is_alive():
            raise Wrong("the consumer does not close")
        if self.error:
            raise Wrong(str(self.error))


def numbers(*members):
    return {n for m in members for _, n in m.seen}


def in_order(member):
    """Within each partition, repeats aside."""
    for p in range(PARTITIONS):
        found = [n for part, n in member.seen if part == p]
        if found != sorted(found):
            raise Wrong("partition %d is out of order" % p)


def counts(*members):
    return sorted(len(m.owned) for m in members)


def read_all():
    member = Member(unique("all"), [TOPIC])
    until(lambda: len(member.seen) >= RECORDS or member.error, 60,
          lambda: "%d records came" % len(member.seen))
    member.stop()
    in_order(member)
    equal(sorted(n for _, n in member.seen), list(range(RECORDS)), "numbers")
    return "%d records, complete and in order" % RECORDS


def resume():
    group = unique("resume")
    first = Member(group, [TOPIC], **{"max.poll.interval.ms": 60000})
    until(lambda: len(first.seen) >= 4000, 60, "no 4000 records")
    first.stop()
    second = Member(group, [TOPIC])
    left = RECORDS - len(first.seen)
    until(lambda: len(second.seen) >= left, 60,
          lambda: "%d of %d records came" % (len(second.seen), left))
    second.stop()
    both = sorted(n for m in (first, second) for _, n in m.seen)
    equal(both, list(range(RECORDS)), "numbers")
    return "%d then %d records" % (len(first.seen), len(second.seen))


def regex():
    """"^" makes a pattern of it, which the broker matches."""
    names = [unique("regex-%s" % c) for c in "abx"]
    create(names[0])
    member = Member(unique("regex"), ["^confluent-regex-[a-c]-%s" % RUN],
                    **{"topic.metadata.refresh.interval.ms": 1000})
    until(lambda: len(member.owned) == PARTITIONS, 60,
          lambda: "it owns %s" % member.owned)
    create(names[1])
    create(names[2])
    until(lambda: len(member.owned) == 2 * PARTITIONS, 90,
          lambda: "it owns %s" % member.owned)
    equal({t for t, _ in member.owned}, set(names[:2]), "topics")
    member.stop()


def tool(group, *words):
    """What our kafka-consumer-groups.sh prints."""
    return subprocess.run(
        [os.path.join(os.environ["LEAT_TOP"], "scripts",
                      "kafka-consumer-groups.sh"), "--bootstrap-server",
         SERVERS["bootstrap.servers"], "--describe", "--group", group, *words],
        check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout


def described():
    group = unique("described")
    member = Member(group, [TOPIC])
    until(lambda: counts(member) == [3], 40,
          lambda: "it owns %s" % member.owned)
    out = tool(group, "--members", "--verbose")
    if not re.search(r"\s3\s+1\s+%s:0,1,2\s+1\s+%s:0,1,2" % (TOPIC, TOPIC),
                     out):
        raise Wrong("members: %s" % out)
    out = tool(group, "--state", "--verbose")
    if not re.search(r"uniform\s+Stable\s+1\s+1\s+1$", out, re.M):
        raise Wrong("state: %s" % out)
    member.stop()


def coordinator(group):
    """The node that tells of it, from the group's description."""
    found = admin.describe_consumer_groups([group])[group].result(30)
    return BOOTSTRAP.index("%s:%d" % (found.coordinator.host,
                                      found.coordinator.port)) + 1


def coordinator_dies():
    name, group = unique("dies"), unique("dies")
    create(name)
    a, b = Member(group, [name]), None
    until(lambda: counts(a) == [3], 40, lambda: "it owns %s" % a.owned)
    produce(name, range(300))
    until(lambda: len(numbers(a)) == 300, 40, "not all came")
    node = coordinator(group)
    node_command("kill", node)
    try:
        # With the coordinator gone a second member joins.
        b = Member(group, [name])
        until(lambda: counts(a, b) == [1, 2], 60,
              lambda: "they own %s and %s" % (a.owned, b.owned))
        if a.owned & b.owned:
            raise Wrong("both own %s" % (a.owned & b.owned))
        produce(name, range(300, 900))
        until(lambda: len(numbers(a, b)) == 900, 60,
              lambda: "%d of 900 came" % len(numbers(a, b)))
    finally:
        node_command("start", node)
    b.stop()
    until(lambda: counts(a) == [3], 60, lambda: "it owns %s" % a.owned)
    produce(name, range(900, 1200))
    until(lambda: len(numbers(a, b)) == 1200, 60,
          lambda: "%d of 1200 came" % len(numbers(a, b)))
    a.stop()
    twice = len(a.seen) + len(b.seen) - 1200
    probe = Consumer(dict(SERVERS, **{"group.id": group}))
    stored = probe.committed([TopicPartition(name, p)
                              for p in range(PARTITIONS)], 30)
    probe.close()
    equal([p.offset for p in stored], [400] * PARTITIONS, "committed offsets")
    return "node %d killed; %d and %d records, %d of them twice" % (
        node, len(a.seen), len(b.seen), twice)


check("creates a topic with three partitions and three replicas",
      lambda: create(TOPIC), vital=True)
check("produces 10,000 records", lambda: produce(TOPIC, range(RECORDS)),
      vital=True)
check("a member of the new protocol reads them complete and in order",
      read_all)
check("resumes from committed offsets", resume)
check("kafka-consumer-groups.sh tells epochs and targets", described)
check("subscribes to a regex that the broker matches", regex)
check("rebalances while the coordinator is killed", coordinator_dies)
finish()
