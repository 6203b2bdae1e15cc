"""Members of groups with confluent-kafka, and the topics that they read, for
confluent_groups.py and confluent_migration.py: a suite with a cluster of its
own, CLUSTER, whose node I listens at the I-th address of BOOTSTRAP.
"""

import os
import subprocess
import threading

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from suite import BOOTSTRAP, PARTITIONS, REPLICAS, RUN
from suite import Wrong, equal, key, until, value

SERVERS = {"bootstrap.servers": ",".join(BOOTSTRAP)}
admin = AdminClient(SERVERS)


def unique(what):
    return "confluent-%s-%s" % (what, RUN)


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
    """Reads until it is stopped, and notes who owned what it read.  By the
    protocol of KIP-848, or by the classic one with this strategy."""

    def __init__(self, group, topics, strategy=None, **more):
        super().__init__(daemon=True)
        protocol = {"group.protocol": "consumer"} if strategy is None else {
            "group.protocol": "classic", "session.timeout.ms": 10000,
            "heartbeat.interval.ms": 500,
            "partition.assignment.strategy": strategy}
        self.consumer = Consumer(dict(SERVERS, **{
            "group.id": group, "auto.offset.reset": "earliest",
            "auto.commit.interval.ms": 200}, **protocol, **more))
        self.eager = strategy not in (None, "cooperative-sticky")
        self.seen = []
        self.owned = set()
        self.error = None
        self.ending = False
        self.consumer.subscribe(topics, on_assign=self.given,
                                on_revoke=self.taken, on_lost=self.taken)
        self.start()

    def given(self, consumer, parts):
        self.owned |= {(p.topic, p.partition) for p in parts}
        if self.eager:
            consumer.assign(parts)
        else:
            consumer.incremental_assign(parts)

    def taken(self, consumer, parts):
        self.owned -= {(p.topic, p.partition) for p in parts}
        if self.eager:
            consumer.unassign()
        else:
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


def coordinator(group):
    """The node that tells of it, from the group's description."""
    found = admin.describe_consumer_groups([group])[group].result(30)
    return BOOTSTRAP.index("%s:%d" % (found.coordinator.host,
                                      found.coordinator.port)) + 1



def equal_commits(group, name, ends):
    """What the group has committed in each partition."""
    probe = Consumer(dict(SERVERS, **{"group.id": group}))
    stored = probe.committed([TopicPartition(name, p)
                              for p in range(PARTITIONS)], 30)
    probe.close()
    equal([p.offset for p in stored], ends, "committed offsets")
