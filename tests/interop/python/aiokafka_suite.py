"""aiokafka: an asyncio client that speaks the protocol by itself."""

import asyncio
import threading

import clients
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from suite import BOOTSTRAP, PARTITIONS, RECORDS, REPLICAS, Wrong, check
from suite import equal, finish, key, value

NAME = "aiokafka"
SERVERS = ",".join(BOOTSTRAP)
TOPIC = clients.topic_name(NAME, "records")

# One loop for all clients, in a thread of its own.
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()


def wait(work, seconds=90):
    return asyncio.run_coroutine_threadsafe(work, loop).result(seconds)


async def started(make):
    client = make()
    await client.start()
    return client


async def with_admin(work):
    admin = await started(lambda: AIOKafkaAdminClient(
        bootstrap_servers=SERVERS))
    try:
        return await work(admin)
    finally:
        await admin.close()


def create(topic):
    async def work(admin):
        answer = await admin.create_topics(
            [NewTopic(topic, PARTITIONS, REPLICAS)])
        equal([error[1] for error in answer.topic_errors], [0], "errors")
    wait(with_admin(work))


def produce(topic, numbers, codec):
    async def work():
        producer = await started(lambda: AIOKafkaProducer(
            bootstrap_servers=SERVERS, enable_idempotence=True, linger_ms=5,
            compression_type=None if codec == "none" else codec))
        try:
            sent = [await producer.send(
                topic, value(i), key=key(i), partition=i % PARTITIONS,
                headers=clients.header(i)) for i in numbers]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()
    wait(work())


def consumer(topic, group, **options):
    return AIOKafkaConsumer(
        topic, bootstrap_servers=SERVERS, group_id=group,
        auto_offset_reset="earliest", enable_auto_commit=False,
        heartbeat_interval_ms=300, session_timeout_ms=10000,
        fetch_max_wait_ms=200, **options)


def consume(group, topic, count):
    async def work():
        found = []
        reader = await started(lambda: consumer(topic, group))
        try:
            while len(found) < count:
                batches = await reader.getmany(
                    timeout_ms=200, max_records=min(500, count - len(found)))
                for records in batches.values():
                    found.extend(records)
            await reader.commit()
        finally:
            await reader.stop()
        return [(r.partition, r.offset, r.key, r.value, list(r.headers))
                for r in found]
    return wait(work())


class Member:
    def __init__(self, group, topic):
        self.seen, self.error, self.owned = set(), None, 0
        self.leaving = False
        self.task = asyncio.run_coroutine_threadsafe(
            self.work(group, topic), loop)

    async def work(self, group, topic):
        try:
            reader = await started(lambda: consumer(topic, group))
            try:
                while not self.leaving:
                    batches = await reader.getmany(timeout_ms=100)
                    for records in batches.values():
                        self.seen.update(r.key for r in records)
                    self.owned = len(reader.assignment())
            finally:
                await reader.stop()
        except Exception as error:
            self.error = error

    def leave(self):
        self.leaving = True
        self.task.result(30)


def seek():
    async def work():
        one = TopicPartition(TOPIC, 1)
        reader = await started(lambda: AIOKafkaConsumer(
            bootstrap_servers=SERVERS))
        try:
            ends = await reader.end_offsets(
                [TopicPartition(TOPIC, p) for p in range(PARTITIONS)])
            equal(sum(ends.values()), RECORDS, "end offsets")
            at = await reader.offsets_for_times({one: 1})
            equal(at[one].offset, 0, "offset for time 1")
            reader.assign([one])
            reader.seek(one, 100)
            record = await reader.getone()
            equal((record.offset, record.key), (100, key(301)), "record")
        finally:
            await reader.stop()
    wait(work())


def administer():
    async def work(admin):
        cluster = await admin.describe_cluster()
        equal(len(cluster["brokers"]), 3, "brokers")
        group = clients.topic_name(NAME, "resume")
        if group not in [g[0] for g in await admin.list_consumer_groups()]:
            raise Wrong("the group is not listed")
        offsets = await admin.list_consumer_group_offsets(group)
        equal(sum(o.offset for o in offsets.values()), RECORDS, "offsets")
        await admin.delete_topics([TOPIC])
        if TOPIC in await admin.list_topics():
            raise Wrong("the topic is still listed")
    wait(with_admin(work))


clients.suite(NAME, create, produce, consume, Member,
              ["gzip", "snappy", "lz4", "zstd"])
check("seeks, asks for offsets", seek)
check("administers groups and topics", administer)
finish()
