"""The checks of transactions that the Python clients have in common.

A program consumes a topic, transforms and produces into another, with the
offsets in the same transaction; some transactions are aborted and done again,
it is ended in the middle of one, replaced by another of its transactional id,
and the coordinators' nodes are killed.  A reader of committed records must see
each record once and in the order of its partition.

A client is a few functions and a class; its suite gives them to `suite`:

  create(topic)          three partitions, three replicas
  fill(topic, numbers)   records without a transaction
  read(topic, isolation) generates (partition, key, value) from the start
  Program(id, group, source, target)
    take()               the next records, (partition, offset, key, value);
                         none if there are none right now
    begin(), send(partition, key, value), flush(),
    offsets({partition: next}), commit(), abort()
    rewind({partition: next})  take() goes on from there
    close(), drop()      drop() leaves a transaction open

begin() to abort() raise Fenced if another has taken the id over, and Again if
the transaction has to be aborted and begun again.
"""

import os
import random
import re

from clients import topic_name
from nodes import LEAT, Nodes, run
from suite import PARTITIONS, Ledger, Wrong, check, equal, key, until, value

COUNT = 3000
END = b"end"  # key of each partition's last record
ROUNDS = int(os.environ.get("LONG") or 1)


class Again(Exception):
    """The transaction cannot go on."""


class Fenced(Exception):
    """There is a newer producer of this transactional id."""


def transformed(value):
    return value[::-1]


class Copier:
    """A program that copies, and what it has done."""

    def __init__(self, name, client, done):
        self.program = client.program(
            topic_name(name, "id"), topic_name(name, "group"),
            topic_name(name, "source"), topic_name(name, "target"))
        self.done = done  # partition: next offset behind what is committed
        self.committed = self.aborted = self.again = 0

    def begin(self, records):
        """A transaction with these records."""
        self.program.begin()
        for partition, _, k, v in records:
            self.program.send(partition, k, transformed(v))

    def commit(self, records):
        after = {partition: offset + 1 for partition, offset, _, _ in records}
        self.program.offsets(after)
        self.program.commit()
        self.done.update(after)
        self.committed += 1

    def abort(self):
        self.program.abort()
        self.aborted += 1

    def count(self):
        return sum(self.done.values())

    def taken(self):
        return until(self.program.take, 90, "no more records come")

    def attempt(self, records, in_between=None):
        """True once they are committed; False: they will be taken again."""
        try:
            self.begin(records)
            if in_between:
                in_between()
            self.commit(records)
            return True
        except Again:
            self.again += 1
            self.program.abort()
            self.program.rewind(self.done)
            return False

    def copy_until(self, count):
        """Every fifth transaction is aborted, and done again."""
        while self.count() < count:
            records = self.taken()
            if (self.committed + self.aborted) % 5 == 4:
                self.begin(records)
                self.program.flush()  # so that there is something to abort
                self.abort()
            self.attempt(records)


class Client:
    """`hangs`: once the node of the group's coordinator is gone from the
    metadata, offsets are not sent any more, nor is the caller told; the program
    has to be replaced."""

    def __init__(self, create, fill, read, program, hangs=False):
        self.create, self.fill = create, fill
        self.read, self.program = read, program
        self.hangs = hangs


def to_the_end(records):
    """Without each partition's last one, and no further."""
    ended = set()
    for partition, k, v in records:
        if partition in ended:
            raise Wrong("partition %d has %r behind its end" % (partition, k))
        if k == END:
            ended.add(partition)
            if len(ended) == PARTITIONS:
                return
        else:
            yield partition, k, v


def read_in_order(client, topic, count):
    ledger = Ledger()
    for partition, k, v in to_the_end(client.read(topic, "read_committed")):
        ledger.add(partition, k, transformed(v))
    equal(ledger.count, count, "records")
    return "%d records" % ledger.count


def end_of(program):
    """A transaction with the last record of each partition."""
    program.begin()
    for partition in range(PARTITIONS):
        program.send(partition, END, b"")
    program.commit()


def transaction_coordinator(nodes, name):
    out = run(LEAT, "kafka-transactions", "--bootstrap-server",
              nodes.bootstrap, "list")
    found = re.search(r"^%s\s+(\d+)\s" % re.escape(name), out, re.M)
    if not found:
        raise Wrong("the transactional id is not listed: %s" % out)
    return int(found.group(1))


def group_coordinator(nodes, group):
    out = run(LEAT, "kafka-consumer-groups", "--bootstrap-server",
              nodes.bootstrap, "--describe", "--state", "--group", group)
    found = re.search(r"127\.0\.0\.1:\d+\s+\((\d+)\)", out)
    if not found:
        raise Wrong("the group has no coordinator: %s" % out)
    return int(found.group(1))


def suite(name, client):
    source, target = topic_name(name, "source"), topic_name(name, "target")
    nodes, done = Nodes(), {}
    left = []   # copiers that went on; the last still does
    total = []  # [committed, aborted, begun again]

    def fill():
        client.create(source)
        client.create(target)
        nodes.await_in_sync()
        client.fill(source, range(COUNT))

    def note(copier):
        total.append((copier.committed, copier.aborted, copier.again))

    def replace(copier):
        """Another program of the same id, while a transaction is open."""
        copier.begin(copier.taken())
        copier.program.drop()
        note(copier)
        # Its producer comes before its reader: what the first has decided is
        # then complete, and what it had open is aborted.
        left.append(Copier(name, client, done))

    def copy():
        first = Copier(name, client, done)
        first.copy_until(COUNT // 3)
        replace(first)
        left[-1].copy_until(COUNT)
        return "%d records, then %d" % (COUNT // 3, COUNT - COUNT // 3)

    def kill_in_the_middle(victim, count):
        node, group = victim(), group_coordinator(nodes, topic_name(name,
                                                                    "group"))
        killed = []

        def kill():
            if not killed:
                killed.append(node)
                nodes.kill(node)

        try:
            if client.hangs and node == group:
                kill()
                replace(left[-1])
            while not killed:
                left[-1].attempt(left[-1].taken(), kill)
            left[-1].copy_until(left[-1].count() + count)
        finally:
            nodes.start(node)
        nodes.await_in_sync()
        return node

    def coordinators_die():
        killed = []
        for round_ in range(ROUNDS):
            before = COUNT * (round_ + 1)
            client.fill(source, range(before, before + COUNT))
            for victim in (lambda: transaction_coordinator(
                               nodes, topic_name(name, "id")),
                           lambda: group_coordinator(
                               nodes, topic_name(name, "group")),
                           lambda: random.choice(nodes.numbers)):
                killed.append(kill_in_the_middle(victim, COUNT // 5))
            left[-1].copy_until(before + COUNT)
        note(left[-1])
        end_of(left[-1].program)
        left[-1].program.close()
        return "nodes %s killed, %d programs, %d transactions begun again" % (
            killed, len(left) + 1, sum(t[2] for t in total))

    def once():
        return read_in_order(client, target, COUNT * (ROUNDS + 1))

    def uncommitted():
        count = sum(1 for _ in to_the_end(client.read(target,
                                                      "read_uncommitted")))
        aborted = sum(t[1] for t in total)
        if not aborted or count < COUNT * (ROUNDS + 1) + aborted:
            raise Wrong("%d records with %d aborts" % (count, aborted))
        return "%d records; %d transactions committed, %d aborted" % (
            count, sum(t[0] for t in total), aborted)

    def offsets():
        out = run(LEAT, "kafka-consumer-groups", "--bootstrap-server",
                  nodes.bootstrap, "--describe", "--group",
                  topic_name(name, "group"))
        found = sorted(tuple(map(int, numbers)) for numbers in re.findall(
            r"%s\s+(\d+)\s+(\d+)\s+(\d+)" % re.escape(source), out))
        equal(found, [(p, done[p], done[p]) for p in range(PARTITIONS)],
              "partitions, offsets and ends")

    def fences():
        topic, same = topic_name(name, "fenced"), topic_name(name, "same")
        client.create(topic)
        first = client.program(same, None, None, topic)
        first.begin()
        first.send(0, b"never", b"seen")
        second = client.program(same, None, None, topic)
        try:
            first.commit()
            raise Wrong("the first can still commit")
        except Fenced:
            pass
        second.begin()
        for i in range(30):
            second.send(i % PARTITIONS, key(i), transformed(value(i)))
        second.commit()
        end_of(second)
        second.close()
        first.drop()
        return read_in_order(client, topic, 30)

    check("fills a topic", fill, vital=True)
    check("an older producer of the same transactional id is fenced", fences)
    check("copies it in transactions with offsets; another program goes on",
          copy, vital=True)
    check("copies on while the coordinators are killed", coordinators_die,
          vital=True)
    check("committed: each record once and in order", once)
    check("uncommitted: the aborted ones, too", uncommitted)
    check("the group is at the end", offsets)
