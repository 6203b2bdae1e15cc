"""confluent-kafka: librdkafka's transactions as Python programs know them.

send_offsets_to_transaction() does not return when the group's coordinator was
decommissioned (issues 5456 and 5511 of librdkafka).
"""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import exactly_once
from exactly_once import Again, Fenced
from suite import BOOTSTRAP, PARTITIONS, REPLICAS, Wrong, finish, key, value

NAME = "confluent"
SERVERS = {"bootstrap.servers": ",".join(BOOTSTRAP)}
BATCH = 50
FENCES = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED,
          KafkaError.INVALID_PRODUCER_EPOCH)


def create(topic):
    admin = AdminClient(SERVERS)
    admin.create_topics([NewTopic(topic, PARTITIONS, REPLICAS)])[
        topic].result(30)


def fill(topic, numbers):
    failed = []
    producer = Producer(dict(SERVERS, **{"enable.idempotence": True}))
    for i in numbers:
        producer.produce(topic, value(i), key(i), i % PARTITIONS,
                         on_delivery=lambda error, _: failed.append(
                             error) if error else None)
        producer.poll(0)
    if producer.flush(60) or failed:
        raise Wrong("not all were written: %s" % failed[:1])


def checked(message):
    if message.error():
        raise Wrong("a reader is told %s" % message.error())
    return message


def consumer(group, **options):
    return Consumer(dict(SERVERS, **{
        "group.id": group or "nobody", "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "heartbeat.interval.ms": 300,
        "session.timeout.ms": 10000}, **options))


def read(topic, isolation):
    reader = consumer(None, **{"isolation.level": isolation})
    reader.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
    try:
        while True:
            for m in map(checked, reader.consume(BATCH, 0.5)):
                yield m.partition(), m.key(), m.value()
    finally:
        reader.close()


class Program:
    def __init__(self, name, group, source, target):
        self.source, self.target = source, target
        self.failed = []
        self.producer = Producer(dict(SERVERS, **{
            "transactional.id": name, "transaction.timeout.ms": 60000}))
        self.ask(self.producer.init_transactions, 30)
        self.consumer = consumer(group) if group else None
        if self.consumer:
            self.consumer.subscribe([source])

    def take(self):
        """Members that are new, and such as a broker was lost to, are told
        so; they go on."""
        return [(m.partition(), m.offset(), m.key(), m.value())
                for m in self.consumer.consume(BATCH, 0.5) if not m.error()]

    def ask(self, call, *arguments):
        """As often as librdkafka says that it may be repeated."""
        end = time.monotonic() + 120
        while True:
            try:
                return call(*arguments)
            except KafkaException as error:
                what = error.args[0]
                if what.code() in FENCES:
                    raise Fenced(str(what)) from error
                if what.txn_requires_abort():
                    raise Again(str(what)) from error
                if not what.retriable() or time.monotonic() > end:
                    raise

    def begin(self):
        self.failed = []
        self.ask(self.producer.begin_transaction)

    def noted(self, error, _):
        if error:
            self.failed.append(error)

    def send(self, partition, key_, value_):
        self.ask(lambda: self.producer.produce(
            self.target, value_, key_, partition, on_delivery=self.noted))
        self.producer.poll(0)

    def flush(self):
        if self.producer.flush(60) or self.failed:
            raise Wrong("not all was written: %s" % self.failed[:1])

    def offsets(self, after):
        self.ask(self.producer.send_offsets_to_transaction,
                 [TopicPartition(self.source, p, offset)
                  for p, offset in after.items()],
                 self.consumer.consumer_group_metadata(), 30)

    def commit(self):
        self.ask(self.producer.commit_transaction, 30)
        if self.failed:
            raise Wrong("committed without %s" % self.failed[0])

    def abort(self):
        self.ask(self.producer.abort_transaction, 30)

    def rewind(self, after):
        for part in self.consumer.assignment():
            self.consumer.seek(TopicPartition(
                self.source, part.partition, after.get(part.partition, 0)))

    def close(self):
        if self.consumer:
            self.consumer.close()
        self.producer = None

    drop = close  # neither commits nor aborts


exactly_once.suite(NAME, exactly_once.Client(create, fill, read, Program,
                                             hangs=True))
finish()
