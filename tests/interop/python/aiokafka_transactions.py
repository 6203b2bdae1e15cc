"""aiokafka's transactions: a coroutine that consumes, transforms, produces.

The producer is told a group's name and no member's generation, so a rebalance
would not end a transaction.  The reader therefore has its partitions by hand,
and the transactional id keeps a second program away.
"""

import asyncio
import threading

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, ProducerFenced

import exactly_once
from exactly_once import Again, Fenced
from suite import BOOTSTRAP, PARTITIONS, REPLICAS, equal, finish, key, value

NAME = "aiokafka"
SERVERS = ",".join(BOOTSTRAP)
BATCH = 50

# One loop for all clients, in a thread of its own.
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()


def wait(work, seconds=120):
    return asyncio.run_coroutine_threadsafe(work, loop).result(seconds)


async def started(make):
    client = make()
    await client.start()
    return client


def create(topic):
    async def work():
        admin = await started(lambda: AIOKafkaAdminClient(
            bootstrap_servers=SERVERS))
        try:
            answer = await admin.create_topics(
                [NewTopic(topic, PARTITIONS, REPLICAS)])
            equal([error[1] for error in answer.topic_errors], [0], "errors")
        finally:
            await admin.close()
    wait(work())


def fill(topic, numbers):
    async def work():
        producer = await started(lambda: AIOKafkaProducer(
            bootstrap_servers=SERVERS, enable_idempotence=True, linger_ms=5))
        try:
            await asyncio.gather(*[await producer.send(
                topic, value(i), key=key(i), partition=i % PARTITIONS)
                for i in numbers])
        finally:
            await producer.stop()
    wait(work())


def consumer(topic, **options):
    """Reads all partitions of the topic, from the start."""
    async def work():
        reader = await started(lambda: AIOKafkaConsumer(
            bootstrap_servers=SERVERS, enable_auto_commit=False,
            auto_offset_reset="earliest", fetch_max_wait_ms=200, **options))
        reader.assign([TopicPartition(topic, p) for p in range(PARTITIONS)])
        return reader
    return wait(work())


def taken(reader):
    batches = wait(reader.getmany(timeout_ms=500, max_records=BATCH))
    return [r for records in batches.values() for r in records]


def read(topic, isolation):
    reader = consumer(topic, isolation_level=isolation)
    try:
        while True:
            for r in taken(reader):
                yield r.partition, r.key, r.value
    finally:
        wait(reader.stop())


class Program:
    def __init__(self, name, group, source, target):
        self.group, self.source, self.target = group, source, target
        self.sent = []
        self.producer = wait(started(lambda: AIOKafkaProducer(
            bootstrap_servers=SERVERS, transactional_id=name, linger_ms=5,
            transaction_timeout_ms=60000)))
        self.consumer = consumer(
            source, group_id=group,
            isolation_level="read_committed") if group else None

    def take(self):
        return [(r.partition, r.offset, r.key, r.value)
                for r in taken(self.consumer)]

    def ask(self, work):
        try:
            return wait(work)
        except ProducerFenced as error:
            raise Fenced(str(error)) from error
        except KafkaError as error:
            raise Again(repr(error)) from error

    def begin(self):
        self.sent = []
        self.ask(self.producer.begin_transaction())

    def send(self, partition, key_, value_):
        self.sent.append(self.ask(self.producer.send(
            self.target, value_, key=key_, partition=partition)))

    def offsets(self, after):
        self.ask(self.producer.send_offsets_to_transaction(
            {TopicPartition(self.source, p): offset
             for p, offset in after.items()}, self.group))

    def flush(self):
        async def work():
            await asyncio.gather(*self.sent)
        self.ask(work())

    def commit(self):
        self.flush()
        self.ask(self.producer.commit_transaction())

    def abort(self):
        self.ask(self.producer.abort_transaction())

    def rewind(self, after):
        for p in range(PARTITIONS):
            self.consumer.seek(TopicPartition(self.source, p),
                               after.get(p, 0))

    def close(self):
        if self.consumer:
            wait(self.consumer.stop())
        wait(self.producer.stop())

    drop = close  # neither commits nor aborts


exactly_once.suite(NAME, exactly_once.Client(create, fill, read, Program))
finish()
