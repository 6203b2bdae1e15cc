"""kafka-python 2: admin, producer, consumer group, seek, pause, rebalance."""

import threading

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.admin import NewPartitions, NewTopic
from kafka.codec import has_gzip, has_lz4, has_snappy, has_zstd
from kafka.errors import TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata

from suite import BOOTSTRAP, PARTITIONS, RECORDS, REPLICAS, RUN
from suite import Ledger, Wrong, check, equal, finish, key, until, value


def unique(what):
    return "kafka-python-%s-%s" % (what, RUN)


def headers(i):
    return [("number", b"%d" % i), ("client", b"kafka-python")]


TOPIC = unique("records")
admin = None


def create(name):
    admin.create_topics([NewTopic(name, PARTITIONS, REPLICAS)])

    def in_sync():
        topic = admin.describe_topics([name])[0]
        parts = topic["partitions"]
        return len(parts) == PARTITIONS and all(
            len(p["replicas"]) == 3 and len(p["isr"]) == 3 for p in parts)

    until(in_sync, 20, "the replicas are not all in sync")


def produce(name, numbers, **options):
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all",
                             linger_ms=5, retries=5, **options)
    sent = [producer.send(name, value(i), key(i), headers(i), i % PARTITIONS)
            for i in numbers]
    producer.flush(60)
    for future in sent:
        future.get(10)
    producer.close(10)


def consumer(*topics, **options):
    options.setdefault("auto_offset_reset", "earliest")
    return KafkaConsumer(*topics, bootstrap_servers=BOOTSTRAP,
                         session_timeout_ms=10000, heartbeat_interval_ms=200,
                         metadata_max_age_ms=2000, **options)


def read(reader, ledger, total, seconds=60):
    """Polls until the ledger has seen `total` records."""

    def poll():
        for part, records in reader.poll(200).items():
            for r in records:
                ledger.add(part.partition, r.key, r.value, r.headers)
        return ledger.count >= total

    until(poll, seconds, lambda: "%d of %d records" % (ledger.count, total))
    for records in reader.poll(300).values():
        raise Wrong("%d records too many" % len(records))
    equal(ledger.count, total, "records")
    return "%d records, complete and in order" % total


def read_all(name, total):
    reader = consumer(name, group_id=unique("read-" + name))
    try:
        return read(reader, Ledger(headers=headers), total)
    finally:
        reader.close()


def create_topic():
    global admin
    admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    create(TOPIC)
    return TOPIC


def refuse_existing():
    try:
        admin.create_topics([NewTopic(TOPIC, 1, 1)])
    except TopicAlreadyExistsError:
        return
    raise Wrong("a second create was accepted")


def configure():
    resource = ConfigResource(ConfigResourceType.TOPIC, TOPIC,
                              {"retention.ms": "86400000"})
    admin.alter_configs([resource])

    def changed():
        answer = admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, TOPIC)])
        entries = answer[0].resources[0][4]
        return any(e[0] == "retention.ms" and e[1] == "86400000"
                   for e in entries)

    until(changed, 10, "retention.ms is not 86400000")


def grow_and_delete():
    name = unique("grows")
    create(name)
    admin.create_partitions({name: NewPartitions(5)})
    until(lambda: len(admin.describe_topics([name])[0]["partitions"]) == 5,
          10, "not 5 partitions")
    admin.delete_topics([name])
    until(lambda: name not in admin.list_topics(), 10, "still listed")


def produce_all():
    produce(TOPIC, range(RECORDS))
    reader = consumer()
    ends = reader.end_offsets([TopicPartition(TOPIC, p) for p in range(3)])
    reader.close()
    equal(sorted(ends.values()), [3333, 3333, 3334], "end offsets")


def compression(codec):
    name = unique("compressed-%s" % codec)
    create(name)
    produce(name, range(1500), compression_type=codec)
    return read_all(name, 1500)


def resume():
    group = unique("resume")
    first = Ledger(headers=headers)
    one = consumer(TOPIC, group_id=group, enable_auto_commit=False,
                   max_poll_records=400)

    def part():
        for tp, records in one.poll(200).items():
            for r in records:
                first.add(tp.partition, r.key, r.value, r.headers)
        return first.count >= 4000

    until(part, 30, lambda: "%d records" % first.count)
    one.commit({TopicPartition(TOPIC, p): OffsetAndMetadata(o, "half way")
                for p, o in enumerate(first.offsets())})
    one.close()
    stored = admin.list_consumer_group_offsets(group)
    equal([stored[TopicPartition(TOPIC, p)] for p in range(3)],
          [OffsetAndMetadata(o, "half way") for o in first.offsets()],
          "stored offsets")

    rest = Ledger(first.following, headers)
    two = consumer(TOPIC, group_id=group)
    try:
        detail = read(two, rest, RECORDS - first.count)
    finally:
        two.close()
    return "%d then %s" % (first.count, detail)


def seek_and_pause():
    reader = consumer()
    parts = [TopicPartition(TOPIC, p) for p in range(3)]
    reader.assign(parts)
    reader.pause(parts[1])
    reader.seek(parts[0], 3000)
    reader.seek(parts[2], 3300)
    ledger = Ledger([9000, 9001, 9902], headers)
    detail = read(reader, ledger, 334 + 33)
    reader.resume(parts[1])
    reader.seek(parts[1], 3000)
    read(reader, ledger, 334 + 33 + 333)
    reader.close()
    return detail


def by_time():
    reader = consumer()
    part = TopicPartition(TOPIC, 1)
    reader.assign([part])
    reader.seek(part, 1000)
    wanted = until(lambda: next(iter(reader.poll(200).values()), None), 20,
                   "no record")[0]
    found = reader.offsets_for_times({part: wanted.timestamp})[part]
    later = reader.offsets_for_times({part: wanted.timestamp + 10 ** 9})[part]
    reader.close()
    if found is None or not 0 <= found.offset <= 1000:
        raise Wrong("found %r for offset 1000" % (found,))
    equal(found.timestamp, wanted.timestamp, "its timestamp")
    equal(later, None, "a time after the last record")


class Member(threading.Thread):
    """A member of a group that reads until it is told to leave."""

    def __init__(self, group, topic):
        super().__init__(daemon=True)
        self.reader = consumer(topic, group_id=group,
                               auto_commit_interval_ms=100)
        self.seen = set()
        self.owned = []
        self.leaving = threading.Event()
        self.start()

    def run(self):
        while not self.leaving.is_set():
            for records in self.reader.poll(100).values():
                self.seen.update(r.key for r in records)
            self.owned = sorted(
                p.partition for p in self.reader.assignment())
        self.reader.close()

    def leave(self):
        self.leaving.set()
        self.join(30)


def rebalance():
    name, group = unique("rebalance"), unique("rebalance")
    create(name)
    a = Member(group, name)
    until(lambda: a.owned == [0, 1, 2], 30, lambda: "it owns %s" % a.owned)
    b = Member(group, name)
    until(lambda: a.owned and b.owned
          and sorted(a.owned + b.owned) == [0, 1, 2], 30,
          lambda: "they own %s and %s" % (a.owned, b.owned))
    produce(name, range(300))
    until(lambda: len(a.seen | b.seen) == 300, 30,
          lambda: "%d of 300 came" % len(a.seen | b.seen))
    if not a.seen or not b.seen:
        raise Wrong("one member read nothing")
    described = admin.describe_consumer_groups([group])[0]
    equal((described.state, len(described.members)), ("Stable", 2),
          "the group")
    b.leave()
    until(lambda: a.owned == [0, 1, 2], 30, lambda: "it owns %s" % a.owned)
    produce(name, range(300, 600))
    until(lambda: len(a.seen | b.seen) == 600, 30,
          lambda: "%d of 600 came" % len(a.seen | b.seen))
    a.leave()
    return "%d and %d records" % (len(a.seen), len(b.seen))


def delete_group():
    group = unique("resume")
    if group not in [g[0] for g in admin.list_consumer_groups()]:
        raise Wrong("the group is not listed")
    admin.delete_consumer_groups([group])
    if group in [g[0] for g in admin.list_consumer_groups()]:
        raise Wrong("the group is still listed")


check("creates a topic with three partitions and three replicas",
      create_topic, vital=True)
check("admin refuses a topic that exists", refuse_existing)
check("admin changes and describes a topic's configuration", configure)
check("admin adds partitions and deletes a topic", grow_and_delete)
check("produces 10,000 records with keys and headers", produce_all,
      vital=True)
check("consumes them back complete and in order",
      lambda: read_all(TOPIC, RECORDS))
for name, there in (("gzip", has_gzip()), ("snappy", has_snappy()),
                    ("lz4", has_lz4()), ("zstd", has_zstd())):
    if there:
        check("compression %s produces and consumes" % name,
              lambda name=name: compression(name))
check("resumes from committed offsets", resume)
check("seek, pause and resume position partitions", seek_and_pause)
check("finds offsets by time", by_time)
check("rebalances when a second member joins and leaves", rebalance)
check("admin lists and deletes a group", delete_group)
finish()
