"""confluent-kafka: librdkafka as Python programs know it."""

import threading

import clients
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from suite import BOOTSTRAP, PARTITIONS, RECORDS, REPLICAS, Wrong, check
from suite import equal, finish, key, until, value

NAME = "confluent-kafka"
SERVERS = {"bootstrap.servers": ",".join(BOOTSTRAP)}
TOPIC = clients.topic_name(NAME, "records")
admin = AdminClient(SERVERS)


def create(topic):
    for future in admin.create_topics(
            [NewTopic(topic, PARTITIONS, REPLICAS)]).values():
        future.result(30)


def produce(topic, numbers, codec):
    failures = []
    producer = Producer(dict(SERVERS, **{
        "enable.idempotence": True, "compression.type": codec,
        "linger.ms": 5}))
    for i in numbers:
        producer.produce(
            topic, value(i), key(i), partition=i % PARTITIONS,
            headers=clients.header(i), on_delivery=lambda error, _:
            error and failures.append(error))
        producer.poll(0)
    left = producer.flush(60)
    if left or failures:
        raise Wrong("%d not sent, %s" % (left, failures[:1]))


def consumer(group, **options):
    return Consumer(dict(SERVERS, **{
        "group.id": group, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "heartbeat.interval.ms": 300,
        "session.timeout.ms": 10000}, **{
            name.replace("_", "."): text for name, text in options.items()}))


def checked(message):
    if message.error():
        raise Wrong("a reader is told %s" % message.error())
    return message


def consume(group, topic, count):
    found = []
    reader = consumer(group)
    reader.subscribe([topic])

    def enough():
        messages = reader.consume(min(500, count - len(found)), 0.2)
        found.extend(map(checked, messages))
        return len(found) >= count

    until(enough, 60, lambda: "%d of %d records" % (len(found), count))
    reader.commit(asynchronous=False)
    reader.close()
    return [(m.partition(), m.offset(), m.key(), m.value(), m.headers())
            for m in found]


class Member(threading.Thread):
    def __init__(self, group, topic, **options):
        super().__init__(daemon=True)
        self.seen, self.error = set(), None
        self.owned, self.leaving = 0, threading.Event()
        self.consumer = consumer(group, **options)
        self.consumer.subscribe([topic])
        self.start()

    def run(self):
        try:
            while not self.leaving.is_set():
                message = self.consumer.poll(0.1)
                if message is not None:
                    self.seen.add(checked(message).key())
                    self.consumer.commit(message)
                self.owned = len(self.consumer.assignment())
            self.consumer.close()
        except Exception as error:
            self.error = error

    def leave(self):
        self.leaving.set()
        self.join(30)


def offsets():
    reader = consumer(clients.topic_name(NAME, "offsets"))
    found = [reader.get_watermark_offsets(TopicPartition(TOPIC, p), 30)
             for p in range(PARTITIONS)]
    equal(sum(high - low for low, high in found), RECORDS, "offsets")
    at = reader.offsets_for_times([TopicPartition(TOPIC, 0, 1)], 30)
    equal(at[0].offset, 0, "offset for time 1")
    reader.close()


def administer():
    described = admin.describe_cluster().result(30)
    equal(len(described.nodes), 3, "nodes")
    groups = admin.list_consumer_groups().result(30)
    group = clients.topic_name(NAME, "resume")
    if group not in [g.group_id for g in groups.valid]:
        raise Wrong("the group is not listed")
    future, = admin.describe_consumer_groups([group]).values()
    equal(future.result(30).members, [], "members")
    future, = admin.delete_consumer_groups([group]).values()
    future.result(30)
    future, = admin.delete_records([TopicPartition(TOPIC, 0, 10)]).values()
    equal(future.result(30).low_watermark, 10, "low watermark")
    future, = admin.delete_topics([TOPIC]).values()
    future.result(30)
    until(lambda: TOPIC not in admin.list_topics(timeout=30).topics, 20,
          "the topic is still there")


rebalance = clients.suite(NAME, create, produce, consume, Member,
                          ["gzip", "snappy", "lz4", "zstd"])
check("a group rebalances cooperatively", lambda: rebalance(
    partition_assignment_strategy="cooperative-sticky"))
check("asks for offsets", offsets)
check("administers groups, records and topics", administer)
finish()
