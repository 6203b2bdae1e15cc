"""A Kafka Streams application, exactly once, while it and nodes are killed.

Two instances of WordCount.java share one application.  While lines, orders
and payments are written, instances are killed and started again, and so are
nodes.  In the end a reader of committed records must find what a replay of the
input gives: of each word the counts 1, 2, 3, ... each once and in order, and
of orders and payments each pair within the window once.

CLUSTER is a cluster of this suite's own, JARS and CLASSES the program, LONG a
number of rounds of kills.  GROUP_PROTOCOL=streams has the broker assign tasks
(KIP-1071), and kafka-streams-groups, from KAFKA_JARS, look at the group.
"""

import collections
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "python"))

from nodes import Nodes, dump, feed  # noqa: E402
from suite import RUN, Wrong, check, equal, finish, until  # noqa: E402

CLASSPATH = os.environ["CLASSES"] + ":" + os.path.join(os.environ["JARS"], "*")
PROTOCOL = os.environ.get("GROUP_PROTOCOL")
ROUNDS = int(os.environ.get("LONG") or 1)
HOME = tempfile.mkdtemp(prefix="streams-")
APPLICATION = "wordcount-" + RUN
WINDOW_MS = 5000
SECONDS = 120  # for what is owed once nothing is killed any more

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
INPUT = ("lines", "orders", "payments")
OUTPUT = ("counts", "paid")


def topic(what):
    return "%s-%s" % (what, RUN)


class Instance:
    """One process of the application, with a state directory that stays."""

    def __init__(self, name):
        self.log = os.path.join(HOME, name + ".log")
        self.state = os.path.join(HOME, name)
        self.process = None

    def start(self):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1",
                 "-XX:+UseSerialGC",
                 "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                 "-cp", CLASSPATH, "WordCount", nodes.bootstrap, APPLICATION,
                 "-" + RUN, self.state] + ([PROTOCOL] if PROTOCOL else []),
                stdout=log, stderr=log)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.process.terminate()
        self.process.wait(60)
        return self.said("closed true")

    def said(self, words):
        with open(self.log, errors="replace") as file:
            return sum(words in line for line in file)


class Writer(threading.Thread):
    """Writes input until it is told to stop."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stopping = threading.Event()
        self.random = random.Random(7)
        self.began_ms = int(time.time() * 1000)
        self.number = 0
        self.error = None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.write()
                self.stopping.wait(0.2)
        except Exception as error:
            self.error = error

    def write(self):
        lines, orders, payments = [], [], []
        for _ in range(40):
            self.number += 1
            n = self.number
            # Time moves on by less than the window, now and then backwards.
            at = self.began_ms + n * 100 + self.random.randrange(-2000, 2000)
            words = self.random.choices(WORDS, k=5)
            lines.append("line-%d:%d %s" % (n, at, " ".join(words)))
            key = "customer-%d" % self.random.randrange(40)
            orders.append("%s:%d order-%d" % (key, at, n))
            key = "customer-%d" % self.random.randrange(40)
            payments.append("%s:%d payment-%d" % (key, at, n))
        for what, records in zip(INPUT, (lines, orders, payments)):
            feed(nodes.bootstrap, topic(what), records)

    def stop(self):
        self.stopping.set()
        self.join()
        if self.error:
            raise self.error


# ---- what a replay of the input gives ----


def event(value):
    at, _, text = value.partition(" ")
    return int(at), text


def replay():
    """Counts of words, and pairs as {(key, order, payment): how often}."""
    words = collections.Counter()
    for _, _, _, value in dump(nodes.bootstrap, topic("lines")):
        words.update(event(value)[1].split(" "))
    paid = collections.defaultdict(list)
    for _, _, key, value in dump(nodes.bootstrap, topic("payments")):
        paid[key].append(value)
    pairs = collections.Counter()
    for _, _, key, order in dump(nodes.bootstrap, topic("orders")):
        for payment in paid[key]:
            if abs(event(order)[0] - event(payment)[0]) <= WINDOW_MS:
                pairs[(key, order + "|" + payment)] += 1
    return words, pairs


def compare_counts(words):
    seen = collections.defaultdict(list)
    for _, _, word, count in dump(nodes.bootstrap, topic("counts")):
        seen[word].append(int(count))
    equal(set(seen), set(words), "words")
    for word, counts in seen.items():
        for i, count in enumerate(counts):
            if count != i + 1:
                raise Wrong("count %d of %s is %d" % (i + 1, word, count))
        equal(len(counts), words[word], "counts of " + word)
    return "%d counts of %d words" % (sum(words.values()), len(words))


def compare_pairs(pairs):
    seen = collections.Counter(
        (key, value) for _, _, key, value in dump(nodes.bootstrap,
                                                  topic("paid")))
    lost, more = pairs - seen, seen - pairs
    if lost or more:
        raise Wrong("%d of %d pairs are missing, %d are too many: %s" % (
            sum(lost.values()), sum(pairs.values()), sum(more.values()),
            list((lost + more).elements())[:2]))
    return "%d pairs" % sum(pairs.values())


# ---- checks ----


def create():
    for what in INPUT + OUTPUT:
        nodes.create(topic(what))


def output_sizes():
    return [nodes.size(topic(what)) for what in OUTPUT]


def await_output(more_than, seconds=SECONDS):
    until(lambda: all(now > then for now, then in zip(
        output_sizes(), more_than)), seconds,
        lambda: "the output stands at %s" % output_sizes())


def begin():
    for instance in instances:
        instance.start()
    writer.start()
    await_output([0, 0])


def kill_instances():
    began = output_sizes()
    for instance in instances:
        instance.kill()
        kills["instance"] += 1
        time.sleep(random.uniform(0, 1))
        instance.start()
        await_output(began)
        began = output_sizes()


def kill_nodes():
    for node in nodes.numbers:
        began = output_sizes()
        nodes.kill(node)
        kills["node"] += 1
        await_output(began)
        nodes.start(node)
        nodes.await_in_sync()


def kill_both():
    began = output_sizes()
    node = random.choice(nodes.numbers)
    nodes.kill(node)
    for instance in instances:
        instance.kill()
    kills["node"] += 1
    kills["instance"] += len(instances)
    for instance in instances:
        instance.start()
    await_output(began)
    nodes.start(node)
    nodes.await_in_sync()


def await_all():
    """The output has what the input gives, or more."""
    expected[:] = replay()
    wanted = [sum(counter.values()) for counter in expected]

    def lacking():
        return [n for n, what in zip(wanted, OUTPUT)
                if len(dump(nodes.bootstrap, topic(what))) < n]

    until(lambda: not lacking(), SECONDS,
          lambda: "the output has not got %s" % lacking())


def catch_up():
    writer.stop()
    await_all()
    return "%d lines, %d instances and %d nodes killed" % (
        writer.number, kills["instance"], kills["node"])


def close():
    for instance in instances:
        if not instance.close():
            raise Wrong("an instance did not close in time")


def resume():
    """Nothing is done again by an application that is started again."""
    running = instances[0].said("state RUNNING")
    instances[0].start()
    until(lambda: instances[0].said("state RUNNING") > running, SECONDS,
          "it does not run")
    writer.write()
    await_all()
    instances[0].close()


# ---- kafka-streams-groups ----


def streams_groups(*words):
    return subprocess.run(
        ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp",
         os.path.join(os.environ["KAFKA_JARS"], "*"),
         "org.apache.kafka.tools.streams.StreamsGroupCommand",
         "--bootstrap-server", nodes.bootstrap, *words],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        timeout=120).stdout


def is_described():
    def table(*words):
        """Rows, as {column: text}."""
        lines = [line.split() for line in streams_groups(
            "--describe", "--group", APPLICATION, *words).splitlines()
            if line.strip()]
        return [dict(zip(lines[0], line)) for line in lines[1:]] \
            if lines else []

    until(lambda: [row["STATE"] for row in table("--state")] == ["Stable"],
          SECONDS, lambda: "the state is %s" % table("--state"))
    members = streams_groups("--describe", "--group", APPLICATION,
                             "--members").splitlines()[1:]
    equal(len({line.split()[2] for line in members if line.strip()}), 2,
          "processes")
    if not all("ACTIVE:" in line for line in members if line.strip()):
        raise Wrong("a member without tasks: %s" % members)
    topics = {row["TOPIC"] for row in table("--offsets")}
    missing = {topic(what) for what in INPUT} - topics
    equal(missing, set(), "topics that are not read")
    equal(streams_groups("--list", "--state").split()[-2:],
          [APPLICATION, "Stable"], "list")


def is_deleted():
    streams_groups("--delete", "--group", APPLICATION)
    if APPLICATION in streams_groups("--list"):
        raise Wrong("the group is still there")


nodes = Nodes()
instances = [Instance("a"), Instance("b")]
writer = Writer()
kills = collections.Counter()
expected = []
try:
    check("topics are there", create, vital=True)
    check("two instances work", begin, vital=True)
    if PROTOCOL:
        check("kafka-streams-groups describes them", is_described)
    for n in range(ROUNDS):
        which = " (%d)" % (n + 1) if ROUNDS > 1 else ""
        check("goes on when instances are killed" + which, kill_instances)
        check("goes on when nodes are killed" + which, kill_nodes)
        check("goes on when both are killed at once" + which, kill_both)
    check("all input is worked on", catch_up, vital=True)
    check("it closes in good order", close)
    check("started again it goes on where it was", resume)
    check("each word was counted exactly once, in order",
          lambda: compare_counts(expected[0]))
    check("each pair within the window was joined exactly once",
          lambda: compare_pairs(expected[1]))
    if PROTOCOL:
        check("kafka-streams-groups deletes the group", is_deleted)
finally:
    writer.stopping.set()
    for instance in instances:
        if instance.process and instance.process.poll() is None:
            instance.process.send_signal(signal.SIGKILL)
finish()
