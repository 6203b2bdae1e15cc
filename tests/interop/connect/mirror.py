"""MirrorMaker 2 brings topics and groups from another cluster into Leat.

The other cluster, a second one of Leat's or Apache Kafka itself (SOURCE=kafka),
has a topic written in transactions, so that offsets in the copy are other ones.
MirrorMaker is killed and started again, and a node of the target with it; the
copy has each record exactly once all the same.  Consumers move over: one that
had read everything resumes with the very next record, one that had not with
its next record or an earlier one, as MirrorMaker remembers only some pairs of
offsets exactly; none is skipped.

CLUSTER is a cluster of this suite's own, the target, ORIGIN a directory for the
other one, JARS are Connect's, KAFKA_JARS Apache Kafka's, LONG is a number of
rounds of kills.
"""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "python"))

from confluent_kafka import Consumer, KafkaError  # noqa: E402

from nodes import Nodes, run  # noqa: E402
from suite import PARTITIONS, RUN, Wrong, check, equal  # noqa: E402
from suite import finish, until  # noqa: E402

ROUNDS = int(os.environ.get("LONG") or 1)
HOME = tempfile.mkdtemp(prefix="mirror-")
JAVA = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
TOPIC = "orders-" + RUN
COPY = "origin." + TOPIC
SECONDS = 150


def free_port(count=1, above=0):
    for _ in range(100):
        port = random.randrange(22000, 31000, 10)
        try:
            for p in range(port, port + count):
                for q in {p, p + above}:
                    with socket.socket() as s:
                        s.bind(("127.0.0.1", q))
        except OSError:
            continue
        return port
    raise Wrong("no free ports")


class LeatSource(Nodes):
    """Three nodes of the same build."""

    def __init__(self):
        self.port = free_port(3, 10000)
        super().__init__(",".join("127.0.0.1:%d" % (self.port + i)
                                  for i in range(3)), os.environ["ORIGIN"])

    def up(self):
        self.command("up", "--port", str(self.port))

    def down(self):
        self.command("down")


class KafkaSource(Nodes):
    """One node of Apache Kafka."""

    def __init__(self):
        self.port = free_port(2)
        super().__init__("127.0.0.1:%d" % self.port)
        self.process = None

    def up(self):
        home = os.path.join(HOME, "origin")
        os.mkdir(home)
        file = os.path.join(home, "node.properties")
        with open(file, "w") as out:
            out.write("""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%d
listeners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d
controller.listener.names=CONTROLLER
log.dirs=%s/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
""" % (self.port + 1, self.port, self.port + 1, home))
        java = [*JAVA, "-cp", os.path.join(os.environ["KAFKA_JARS"], "*")]
        run(*java, "kafka.tools.StorageTool", "format", "-t",
            "AAAAAAAAAAAAAAAAAAAAAQ", "-c", file)
        with open(os.path.join(HOME, "origin.log"), "w") as log:
            self.process = subprocess.Popen([*java, "kafka.Kafka", file],
                                            stdout=log, stderr=log)
        until(self.answers, 60, "Apache Kafka does not start")

    def answers(self):
        try:
            return run("kcat", "-L", "-b", self.bootstrap)
        except Wrong:
            return False

    def down(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def create(self, topic, *words, partitions=PARTITIONS):
        self.leat("topics", "create", topic, "--partitions", str(partitions),
                  "--replicas", "1", *words)


class MirrorMaker:
    def __init__(self):
        self.log = os.path.join(HOME, "mirror.log")
        self.process = None
        self.file = os.path.join(HOME, "mirror.properties")
        keys = {
            "clusters": "origin,target",
            "origin.bootstrap.servers": origin.bootstrap,
            "target.bootstrap.servers": target.bootstrap,
            "origin->target.enabled": "true",
            "target->origin.enabled": "false",
            "origin->target.topics": TOPIC,
            "origin->target.groups": "group-.*",
            "origin->target.sync.group.offsets.enabled": "true",
            "origin->target.sync.group.offsets.interval.seconds": 1,
            "origin->target.emit.checkpoints.interval.seconds": 1,
            "origin->target.refresh.topics.interval.seconds": 2,
            "origin->target.refresh.groups.interval.seconds": 2,
            "origin->target.sync.topic.configs.interval.seconds": 2,
            "origin->target.offset.lag.max": 0,
            "origin->target.offset-syncs.topic.replication.factor":
                len(origin.numbers),
            "replication.factor": 3,
            "checkpoints.topic.replication.factor": 3,
            "heartbeats.topic.replication.factor": 3,
            "target.offset.storage.replication.factor": 3,
            "target.config.storage.replication.factor": 3,
            "target.status.storage.replication.factor": 3,
            "target.exactly.once.source.support": "enabled",
            "origin.consumer.isolation.level": "read_committed",
            "dedicated.mode.enable.internal.rest": "true",
            "listeners": "http://127.0.0.1:%d" % free_port(),
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 500,
            "scheduled.rebalance.max.delay.ms": 0,
            "offset.flush.interval.ms": 500,
        }
        with open(self.file, "w") as file:
            file.write("".join("%s=%s\n" % pair for pair in keys.items()))

    def start(self):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [*JAVA, "-cp", os.path.join(os.environ["JARS"], "*"),
                 "org.apache.kafka.connect.mirror.MirrorMaker", self.file],
                stdout=log, stderr=log)

    def kill(self):
        self.process.kill()
        self.process.wait()


# ---- records: number i of a partition is "record-P-I" ----


def write(count):
    """As many more to each partition, in two transactions."""
    for p in range(PARTITIONS):
        for _ in range(2):
            lines = "".join("key-%d:record-%d-%d\n" % (i, p, i) for i in
                            range(written[p], written[p] + count // 2))
            run("kcat", "-P", "-b", origin.bootstrap, "-t", TOPIC, "-p",
                str(p), "-K:", "-H", "from=origin", "-X",
                "transactional.id=writer-%d" % p, stdin=lines)
            written[p] += count // 2


def dump(nodes, topic):
    """What has to be the same in a copy, by partition and order."""
    out = run("kcat", "-C", "-b", nodes.bootstrap, "-t", topic, "-o",
              "beginning", "-e", "-q", "-f", r"%p\t%o\t%T\t%h\t%k\t%s\n")
    lines = [line.split("\t") for line in out.splitlines()]
    lines.sort(key=lambda line: (int(line[0]), int(line[1])))
    return [(line[0], *line[2:]) for line in lines], [
        int(line[1]) for line in lines]


def read(nodes, topic, group, count=None):
    """Numbers that a member of a group reads of each partition, `count` or up
    to all ends; it commits what it read."""
    reader = Consumer({
        "bootstrap.servers": nodes.bootstrap, "group.id": group,
        "auto.offset.reset": "earliest", "enable.auto.commit": False,
        "enable.partition.eof": True})
    reader.subscribe([topic])
    found = [[] for _ in range(PARTITIONS)]
    ended, last = set(), {}

    def enough():
        if count is None:
            return len(ended) == PARTITIONS
        return sum(map(len, found)) == count

    def poll():
        wanted = 500 if count is None else count - sum(map(len, found))
        for message in reader.consume(min(wanted, 500), 0.5):
            if not message.error():
                p, i = map(int, message.value().split(b"-")[1:])
                found[p].append(i)
                last[p] = message
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise Wrong("a reader is told %s" % message.error())
        return enough()

    until(poll, SECONDS, "a reader has not got all")
    for message in last.values():
        reader.commit(message, asynchronous=False)
    reader.close()
    return found


def lag(nodes, topic, group):
    """How many offsets a group is behind, and of how many partitions."""
    try:
        out = nodes.leat("groups", "describe", group, "--json")
    except Wrong:
        return None
    return re.findall(r'"topic":\s*"%s".*?"lag":\s*(\d+)' % re.escape(topic),
                      out, re.DOTALL)


def await_copy():
    def sizes():
        return [len(dump(origin, TOPIC)[0]), len(dump(target, COPY)[0])
                if COPY in target.leat("topics", "list").split() else 0]

    until(lambda: sizes()[0] == sizes()[1], SECONDS,
          lambda: "%s records" % sizes())


# ---- checks ----


def begin():
    origin.up()
    origin.create(TOPIC, "--config", "retention.ms=86400123")
    # Small transactions that are copied in larger ones, so that no offset of
    # the copy is the original's.
    for _ in range(3):
        write(2)
    write(1000)
    mirror.start()
    await_copy()
    return "%d records" % sum(written)


def config():
    until(lambda: "86400123" in target.leat(
        "configs", "describe", "--topic", COPY),
          SECONDS, "the topic's retention did not come")


def kill_mirror():
    write(1000)
    mirror.kill()
    write(1000)
    mirror.start()
    write(1000)
    await_copy()
    return "%d records" % sum(written)


def kill_nodes():
    for node in target.victims:
        target.kill(node)
        write(400)
        await_copy()
        target.start(node)
        target.await_in_sync()
    return "%d records" % sum(written)


def compare():
    (there, offsets), (here, ours) = dump(origin, TOPIC), dump(target, COPY)
    if there != here:
        first = next((pair for pair in zip(there, here)
                      if pair[0] != pair[1]), None)
        raise Wrong("%d and %d records, first difference %s" % (
            len(there), len(here), first))
    if offsets == ours:
        raise Wrong("the offsets are the same, so nothing was translated")
    equal(len(here), sum(written), "records")
    return "%d records with time, headers, key and value" % len(here)


def groups_move():
    total = sum(written)
    everything, part = "group-all", "group-part"
    read(origin, TOPIC, everything)
    seen = read(origin, TOPIC, part, total // 2)

    def translated():
        # The mark that ends the copy's last transaction may be left.
        done = lag(target, COPY, everything), lag(target, COPY, part)
        return all(done) and len(done[0]) == PARTITIONS and (
            set(done[0]) <= {"0", "1"})

    until(translated, SECONDS, lambda: "the groups stand at %s and %s" % (
        lag(target, COPY, everything), lag(target, COPY, part)))
    before = list(written)
    write(300)
    await_copy()
    mirror.kill()
    found = read(target, COPY, everything)
    equal(found, [list(range(before[p], written[p]))
                  for p in range(PARTITIONS)], "what came after everything")

    found = read(target, COPY, part)
    again = 0
    for p in range(PARTITIONS):
        begin = found[p][0] if found[p] else written[p]
        equal(found[p], list(range(begin, written[p])), "the rest")
        next_one = seen[p][-1] + 1 if seen[p] else 0
        if begin > next_one:
            raise Wrong("partition %d resumes at %d, not %d" % (
                p, begin, next_one))
        again += next_one - begin
    if again >= total // 2:
        raise Wrong("the group began at the start again")
    return "%d new records; the other saw %d of %d again" % (
        sum(written) - total, again, total // 2)


target = Nodes()
origin = KafkaSource() if os.environ.get("SOURCE") == "kafka" else LeatSource()
mirror = MirrorMaker()
written = [0] * PARTITIONS
try:
    check("records come over from the other cluster", begin, vital=True)
    check("so do the topic's configurations", config)
    for n in range(ROUNDS):
        which = " (%d)" % (n + 1) if ROUNDS > 1 else ""
        check("goes on when MirrorMaker is killed" + which, kill_mirror)
        check("goes on when nodes are killed" + which, kill_nodes)
    check("the copy has each record exactly once, in order", compare)
    check("groups move over and resume where they were", groups_move)
finally:
    if mirror.process and mirror.process.poll() is None:
        mirror.process.send_signal(signal.SIGKILL)
    origin.down()
finish()
