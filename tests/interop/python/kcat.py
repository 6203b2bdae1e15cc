"""kcat: lists, produces, consumes, queries offsets, joins groups.

kcat does not create topics otherwise than by using them, so the checks that
want three partitions create them with kafka-python.
"""

import os
import re
import subprocess
import tempfile

from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from suite import BOOTSTRAP, PARTITIONS, RECORDS, REPLICAS, RUN
from suite import Ledger, Wrong, check, equal, finish, key, until, value

HOME = tempfile.mkdtemp(prefix="kcat-")
COMMON = ["kcat", "-b", ",".join(BOOTSTRAP)]


def unique(what):
    return "kcat-%s-%s" % (what, RUN)


TOPIC = unique("records")


def kcat(*words, stdin=None, seconds=60):
    done = subprocess.run(COMMON + list(words), input=stdin, timeout=seconds,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise Wrong("kcat %s ended with %d: %s" % (
            words[0], done.returncode, done.stderr.decode()[-400:]))
    return done.stdout


def replicas(topic):
    """(replicas, in sync) of each partition, from kcat -L."""
    out = kcat("-L", "-t", topic).decode()
    return [(r.split(","), i.split(",")) for r, i in re.findall(
        r"partition \d+, leader \d+, replicas: (\S+), isrs: (\S+)", out)]


def create(name):
    admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    admin.create_topics([NewTopic(name, PARTITIONS, REPLICAS)])
    admin.close()
    until(lambda: [(len(r), len(i)) for r, i in replicas(name)] ==
          [(3, 3)] * PARTITIONS, 20, "the replicas are not all in sync")


def produce(name, numbers, *words):
    for p in range(PARTITIONS):
        lines = b"".join(b"%s\t%s\n" % (key(i), value(i))
                         for i in numbers if i % PARTITIONS == p)
        kcat("-P", "-t", name, "-p", str(p), "-K", "\t",
             "-H", "client=kcat", *words, stdin=lines)


FORMAT = "%p\t%h\t%k\t%s\n"


def follow(ledger, out):
    for line in out.splitlines():
        p, headers, k, v = line.split(b"\t")
        equal(headers, b"client=kcat", "headers of %s" % k.decode())
        ledger.add(int(p), k, v)


def read_all(name, total, *words):
    ledger = Ledger()
    follow(ledger, kcat("-C", "-t", name, "-o", "beginning", "-e", "-q",
                        "-f", FORMAT, *words))
    equal(ledger.count, total, "records")
    return "%d records, complete and in order" % total


def metadata():
    out = kcat("-L").decode()
    if not re.search(r"^ 3 brokers:", out, re.MULTILINE):
        raise Wrong("it lists %s" % out[:300])


def auto_create():
    name = unique("auto")
    kcat("-P", "-t", name, stdin=b"one\ntwo\n")
    equal(kcat("-C", "-t", name, "-o", "beginning", "-e", "-q"),
          b"one\ntwo\n", "read back")


def compression(codec):
    name = unique("compressed-" + codec)
    create(name)
    produce(name, range(1500), "-z", codec)
    return read_all(name, 1500)


def offsets():
    name = unique("times")
    create(name)
    produce(name, range(300))
    out = kcat("-C", "-t", name, "-p", "1", "-o", "50", "-c", "1", "-q",
               "-f", "%T").decode()
    ask = ["%s:1:%s" % (name, t) for t in (out, "-1", "-2")]
    found = [int(kcat("-Q", "-t", a).decode().split("offset ")[1])
             for a in ask]
    if not 0 <= found[0] <= 50:
        raise Wrong("offset %d at the time of offset 50" % found[0])
    equal(found[1:], [100, 0], "last and first offset")


def tail():
    out = kcat("-C", "-t", TOPIC, "-p", "2", "-o", "-10", "-e", "-q",
               "-f", "%k\n")
    equal(out.split(), [key(i) for i in range(9971, RECORDS, 3)],
          "the last ten keys")


def group_words(group, name):
    return ["-X", "auto.offset.reset=earliest",
            "-X", "heartbeat.interval.ms=200",
            "-X", "session.timeout.ms=10000",
            "-X", "auto.commit.interval.ms=100",
            "-q", "-u", "-f", FORMAT, "-G", group, name]


def resume():
    group = unique("resume")
    first = Ledger()
    follow(first, kcat("-c", "4000", *group_words(group, TOPIC)))
    equal(first.count, 4000, "records")
    rest = Ledger(first.following)
    follow(rest, kcat("-c", str(RECORDS - 4000), *group_words(group, TOPIC)))
    equal(rest.count, RECORDS - 4000, "records")
    return "4000 then %d records, complete and in order" % rest.count


class Member:
    """kcat -G in the background; it tells on stderr what it's assigned."""

    def __init__(self, group, topic, name):
        self.out = os.path.join(HOME, name + ".out")
        self.err = os.path.join(HOME, name + ".err")
        words = [w for w in group_words(group, topic) if w != "-q"]
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(COMMON + words, stdout=out,
                                            stderr=err)

    def owned(self):
        with open(self.err) as file:
            told = [line for line in file if " rebalanced" in line]
        if not told or "assigned:" not in told[-1]:
            return []
        return sorted(int(p) for p in re.findall(
            r"\[(\d)\]", told[-1].partition("assigned:")[2]))

    def seen(self):
        with open(self.out, "rb") as file:
            text = file.read()
        return {line.split(b"\t")[2]
                for line in text[:text.rfind(b"\n") + 1].splitlines()}

    def leave(self):
        self.process.terminate()
        self.process.wait(30)


def rebalance():
    name, group = unique("rebalance"), unique("rebalance")
    create(name)
    a, b = Member(group, name, "a"), None
    try:
        until(lambda: a.owned() == [0, 1, 2], 30,
              lambda: "it owns %s" % a.owned())
        b = Member(group, name, "b")
        until(lambda: a.owned() and b.owned()
              and sorted(a.owned() + b.owned()) == [0, 1, 2], 30,
              lambda: "they own %s and %s" % (a.owned(), b.owned()))
        produce(name, range(300))
        until(lambda: len(a.seen() | b.seen()) == 300, 30,
              lambda: "%d of 300 came" % len(a.seen() | b.seen()))
        if not a.seen() or not b.seen():
            raise Wrong("one member read nothing")
        b.leave()
        until(lambda: a.owned() == [0, 1, 2], 30,
              lambda: "it owns %s" % a.owned())
        produce(name, range(300, 600))
        until(lambda: len(a.seen() | b.seen()) == 600, 30,
              lambda: "%d of 600 came" % len(a.seen() | b.seen()))
        return "%d and %d records" % (len(a.seen()), len(b.seen()))
    finally:
        for member in (a, b):
            if member and member.process.poll() is None:
                member.leave()


check("lists three brokers", metadata)
check("shows three partitions with three replicas in sync",
      lambda: create(TOPIC), vital=True)
check("produces 10,000 records with keys and a header",
      lambda: produce(TOPIC, range(RECORDS)), vital=True)
check("consumes them back complete and in order",
      lambda: read_all(TOPIC, RECORDS))
check("a topic is created by producing to it", auto_create)
for name in ("gzip", "snappy", "lz4", "zstd"):
    check("compression %s produces and consumes" % name,
          lambda name=name: compression(name))
check("idempotent producer writes each record once", lambda: (
    create(unique("idempotent")),
    produce(unique("idempotent"), range(3000),
            "-X", "enable.idempotence=true"),
    read_all(unique("idempotent"), 3000))[-1])
check("finds offsets by time, the first and the last", offsets)
check("reads the last ten records of a partition", tail)
check("resumes from committed offsets", resume)
check("rebalances when a second member joins and leaves", rebalance)
finish()
