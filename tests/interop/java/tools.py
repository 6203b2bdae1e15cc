"""Apache Kafka's own command-line tools, run by Java from its jars.

Each check starts the tools as their shell scripts would and reads what they
print (`command.py`).  DATA is the directory of a cluster of scripts/cluster,
or empty when there is none.  With GROUP_PROTOCOL=consumer only groups, by the
protocol of KIP-848.
"""

import glob
import os
import re
import subprocess

from command import HOME, SERVER, java, produce, tool, write
from suite import PARTITIONS, RECORDS, RUN
from suite import Wrong, check, equal, finish, key, until, value

DATA = os.environ.get("DATA", "")
MODERN = os.environ.get("GROUP_PROTOCOL") == "consumer"
# The new protocol leaves heartbeats to the broker.
PROTOCOL = ["--command-property", "group.protocol=consumer" if MODERN else
            "heartbeat.interval.ms=200"]

TOPICS = "org.apache.kafka.tools.TopicCommand"
CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
CONFIGS = "kafka.admin.ConfigCommand"
OFFSETS = "org.apache.kafka.tools.GetOffsetShell"
QUORUM = "org.apache.kafka.tools.MetadataQuorumCommand"
VERSIONS = "org.apache.kafka.tools.BrokerApiVersionsCommand"
REASSIGN = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
ELECT = "org.apache.kafka.tools.LeaderElectionCommand"
LOG_DIRS = "org.apache.kafka.tools.LogDirsCommand"
DELETE = "org.apache.kafka.tools.DeleteRecordsCommand"
DUMP = "org.apache.kafka.tools.DumpLogSegments"


def unique(what):
    return "java-%s%s-%s" % ("modern-" if MODERN else "", what, RUN)


TOPIC = unique("records")


def consume_command(topic, *words):
    return java(CONSUMER, *SERVER, "--topic", topic, "--from-beginning",
                "--formatter-property", "print.partition=true",
                "--formatter-property", "print.headers=true",
                "--formatter-property", "print.key=true", *words)


LINE = re.compile(r"Partition:(\d)\tnumber:(\d+),client:java"
                  r"\t(key-\d+)\t(value-.*)$")


def parse(lines):
    """(partition, number) of each printed record, whose bytes are checked."""
    found = []
    for line in lines:
        match = LINE.match(line)
        if not match:
            raise Wrong("printed %r" % line[:200])
        i = int(match[2])
        if match[3] != key(i).decode() or match[4] != value(i).decode():
            raise Wrong("altered: %r" % line[:200])
        found.append((int(match[1]), i))
    return found


def consume(topic, *words):
    done = subprocess.run(consume_command(topic, *PROTOCOL, *words), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=120)
    if done.returncode:
        raise Wrong("the consumer ended with %d: %s" % (
            done.returncode, done.stderr[-600:]))
    return parse(done.stdout.splitlines())


def in_order(found):
    """The partitioner goes by key, so order shows within each partition."""
    for p in range(PARTITIONS):
        numbers = [i for part, i in found if part == p]
        if numbers != sorted(numbers):
            raise Wrong("partition %d is out of order" % p)


# ---- kafka-topics ----


def create():
    out = tool(TOPICS, *SERVER, "--create", "--topic", TOPIC,
               "--partitions", "3", "--replication-factor", "3")
    equal(out.strip().splitlines()[-1], "Created topic %s." % TOPIC, "printed")


def describe():
    def in_sync():
        out = tool(TOPICS, *SERVER, "--describe", "--topic", TOPIC)
        lines = re.findall(r"Partition: (\d)\tLeader: (\d)\tReplicas: (\S+)\t"
                           r"Isr: (\S+)", out)
        return [line[0] for line in lines] == ["0", "1", "2"] and all(
            sorted(line[2].split(",")) == sorted(line[3].split(","))
            and len(line[3].split(",")) == 3 for line in lines)

    until(in_sync, 20, "the replicas are not all in sync")


def list_alter_delete():
    name = unique("grows")
    tool(TOPICS, *SERVER, "--create", "--topic", name, "--config",
         "retention.ms=60000", "--partitions", "1")
    tool(TOPICS, *SERVER, "--alter", "--topic", name, "--partitions", "4")
    out = tool(TOPICS, *SERVER, "--describe", "--topic", name)
    if "PartitionCount: 4" not in out or "retention.ms=60000" not in out:
        raise Wrong("described as %s" % out)
    tool(TOPICS, *SERVER, "--delete", "--topic", name)
    if name in tool(TOPICS, *SERVER, "--list").split():
        raise Wrong("still listed")


def refuse():
    out = tool(TOPICS, *SERVER, "--create", "--topic", unique("wide"),
               "--partitions", "1", "--replication-factor", "9", fails=True)
    if not re.search("(?i)replication factor", out):
        raise Wrong("printed %s" % out[-300:])


# ---- kafka-console-producer and kafka-console-consumer ----


def produce_all():
    produce(TOPIC, range(RECORDS))
    out = tool(OFFSETS, *SERVER, "--topic", TOPIC)
    ends = [int(line.rpartition(":")[2]) for line in out.split()]
    equal((len(ends), sum(ends)), (PARTITIONS, RECORDS), "end offsets")


def consume_all():
    found = consume(TOPIC, "--max-messages", str(RECORDS),
                    "--timeout-ms", "30000")
    in_order(found)
    equal(sorted(i for _, i in found), list(range(RECORDS)), "numbers")
    return "%d records, complete and in order" % RECORDS


def compressions():
    name = unique("compressed")
    tool(TOPICS, *SERVER, "--create", "--topic", name,
         "--partitions", "3", "--replication-factor", "3")
    for n, codec in enumerate(("gzip", "snappy", "lz4", "zstd")):
        produce(name, range(n * 500, n * 500 + 500),
                "--compression-codec", codec)
    found = consume(name, "--max-messages", "2000", "--timeout-ms", "30000")
    in_order(found)
    equal(sorted(i for _, i in found), list(range(2000)), "numbers")


def resume():
    group = ["--group", unique("resume")]
    first = consume(TOPIC, *group, "--max-messages", "4000",
                    "--timeout-ms", "30000")
    out = tool(GROUPS, *SERVER, "--describe", *group)
    lags = [int(line.split()[5]) for line in out.splitlines()
            if TOPIC in line]
    equal((len(lags), sum(lags)), (PARTITIONS, RECORDS - 4000), "lags")
    rest = consume(TOPIC, *group, "--max-messages", str(RECORDS - 4000),
                   "--timeout-ms", "30000")
    in_order(first + rest)
    equal(sorted(i for _, i in first + rest), list(range(RECORDS)), "numbers")
    return "4000 then %d records" % len(rest)


class Member:
    """A console consumer in a group, printing into a file."""

    def __init__(self, group, topic, name):
        self.path = os.path.join(HOME, name)
        self.out = open(self.path, "w")
        self.process = subprocess.Popen(
            consume_command(topic, "--group", group, *PROTOCOL),
            stdout=self.out, stderr=subprocess.DEVNULL)

    def seen(self):
        with open(self.path) as file:
            text = file.read()
        whole = text[:text.rfind("\n") + 1]
        return {i for _, i in parse(whole.splitlines())}

    def leave(self):
        self.process.terminate()
        self.process.wait(30)
        self.out.close()


def verbose():
    """What only the new protocol has: epochs, targets, the type of a group."""
    group = unique("verbose")
    a = Member(group, TOPIC, "verbose")
    try:
        until(lambda: members(group) == [3], 40, "the member has not all")
        out = tool(GROUPS, *SERVER, "--describe", "--members", "--verbose",
                   "--group", group)
        if not re.search(r"CURRENT-EPOCH\s+CURRENT-ASSIGNMENT\s+TARGET-EPOCH"
                         r"\s+TARGET-ASSIGNMENT", out) or \
                out.count(TOPIC + ":0,1,2") != 2:
            raise Wrong("members: %s" % out)
        out = tool(GROUPS, *SERVER, "--describe", "--state", "--verbose",
                   "--group", group)
        if not re.search(r"uniform\s+Stable\s+\d+\s+\d+\s+1", out):
            raise Wrong("state: %s" % out)
        out = tool(GROUPS, *SERVER, "--list", "--type", "consumer",
                   "--state", "Stable")
        if not re.search(r"^%s\s+Consumer\s+Stable" % group, out, re.M):
            raise Wrong("list: %s" % out)
    finally:
        a.leave()
    until(lambda: "has no active members" in tool(
        GROUPS, *SERVER, "--describe", "--members", "--group", group), 40,
        "the member is still there")


def members(group):
    """Partitions of each member, as kafka-consumer-groups counts them."""
    out = tool(GROUPS, *SERVER, "--describe", "--members", "--group", group)
    return sorted(int(line.split()[-1]) for line in out.splitlines()
                  if line.startswith(group))


def rebalance():
    name, group = unique("rebalance"), unique("rebalance")
    tool(TOPICS, *SERVER, "--create", "--topic", name,
         "--partitions", "3", "--replication-factor", "3")
    a = Member(group, name, "a")
    b = None
    try:
        until(lambda: members(group) == [3], 40, "the first has not all")
        b = Member(group, name, "b")
        until(lambda: members(group) == [1, 2], 40, "they do not share")
        produce(name, range(300))
        until(lambda: len(a.seen() | b.seen()) == 300, 30,
              lambda: "%d of 300 came" % len(a.seen() | b.seen()))
        if not a.seen() or not b.seen():
            raise Wrong("one member read nothing")
        b.leave()
        until(lambda: members(group) == [3], 40, "the first has not all")
        produce(name, range(300, 600))
        until(lambda: len(a.seen() | b.seen()) == 600, 30,
              lambda: "%d of 600 came" % len(a.seen() | b.seen()))
        return "%d and %d records" % (len(a.seen()), len(b.seen()))
    finally:
        for member in (a, b):
            if member and member.process.poll() is None:
                member.leave()


# ---- kafka-consumer-groups and the others ----


def reset_and_delete():
    group = unique("resume")
    if group not in tool(GROUPS, *SERVER, "--list").split():
        raise Wrong("the group is not listed")
    out = tool(GROUPS, *SERVER, "--reset-offsets", "--group", group,
               "--topic", TOPIC, "--to-offset", "17", "--execute")
    equal(len(re.findall(r"\s17\b", out)), PARTITIONS, "partitions reset")
    out = tool(GROUPS, *SERVER, "--delete", "--group", group)
    if "successful" not in out:
        raise Wrong("printed %s" % out)


def configs():
    tool(CONFIGS, *SERVER, "--alter", "--entity-type", "topics",
         "--entity-name", TOPIC, "--add-config", "retention.ms=86400000")
    out = tool(CONFIGS, *SERVER, "--describe", "--entity-type", "topics",
               "--entity-name", TOPIC)
    if "retention.ms=86400000" not in out:
        raise Wrong("described as %s" % out)
    out = tool(CONFIGS, *SERVER, "--describe", "--entity-type", "brokers",
               "--entity-name", "1", "--all")
    if "log.dirs=" not in out:
        raise Wrong("broker 1 is described as %s" % out[:300])


def loggers():
    """The tool asks the broker itself, and shows all of its loggers."""
    entity = ["--entity-type", "broker-loggers", "--entity-name", "1"]

    def levels():
        out = tool(CONFIGS, *SERVER, "--describe", *entity)
        return dict(re.findall(r"^  (\S+)=([A-Z]+) sensitive=false", out,
                               re.M))

    before = levels()
    name = min(set(before) - {"root"})
    equal(before.get("root"), "INFO", "root's level")
    tool(CONFIGS, *SERVER, "--alter", *entity, "--add-config",
         name + "=WARN")
    equal(levels(), {**before, name: "WARN"}, "levels")
    tool(CONFIGS, *SERVER, "--alter", *entity, "--delete-config", name)
    equal(levels(), before, "levels afterwards")
    for config in ("no.such=WARN", name + "=LOUD"):
        tool(CONFIGS, *SERVER, "--alter", *entity, "--add-config", config,
             fails=True)
    return "%d loggers" % len(before)


def quorum():
    out = tool(QUORUM, *SERVER, "describe", "--status")
    if not re.search(r"LeaderId:\s+[123]\b", out):
        raise Wrong("printed %s" % out)
    out = tool(QUORUM, *SERVER, "describe", "--replication")
    equal(len(re.findall(r"Leader$|Leader\s|Follower", out)) >= 3, True,
          "three voters")


def versions():
    out = tool(VERSIONS, *SERVER)
    equal(len(re.findall(r"\(id: [123] rack: \S+", out)), 3, "brokers")
    return "%d lines" % len(out.splitlines())


def elect():
    out = tool(ELECT, *SERVER, "--election-type", "preferred",
               "--topic", TOPIC, "--partition", "0")
    if not re.search(r"Valid replica already elected|Successfully completed",
                     out):
        raise Wrong("printed %s" % out)


def reassign():
    name = unique("moves")
    tool(TOPICS, *SERVER, "--create", "--topic", name,
         "--replica-assignment", "1:2")
    produce(name, range(300))
    plan = write("plan.json", '{"version":1,"partitions":[{"topic":"%s",'
                 '"partition":0,"replicas":[2,3]}]}' % name)
    words = [*SERVER, "--reassignment-json-file", plan]
    tool(REASSIGN, *words, "--execute")
    until(lambda: "is completed" in tool(REASSIGN, *words, "--verify"), 30,
          "the partition has not moved")
    out = tool(TOPICS, *SERVER, "--describe", "--topic", name)
    if "Replicas: 2,3" not in out:
        raise Wrong("described as %s" % out)
    found = consume(name, "--max-messages", "300", "--timeout-ms", "30000")
    equal([i for _, i in found], list(range(300)), "numbers")


def log_dirs():
    out = tool(LOG_DIRS, *SERVER, "--describe", "--topic-list", TOPIC)
    equal(len(re.findall(r'"partition":"%s-\d"' % re.escape(TOPIC), out)), 9,
          "replicas in log directories")


def delete_records():
    plan = write("delete.json", '{"version":1,"partitions":[{"topic":"%s",'
                 '"partition":0,"offset":100}]}' % TOPIC)
    out = tool(DELETE, *SERVER, "--offset-json-file", plan)
    if "low_watermark: 100" not in out:
        raise Wrong("printed %s" % out)


# ---- kafka-dump-log on files of ours ----


def dump():
    seen = {}
    for node in (1, 2, 3):
        found = sorted(glob.glob(os.path.join(
            DATA, "data-%d" % node, TOPIC + "-*", "*.log")))
        equal(len(found), PARTITIONS, "segments of node %d" % node)
        out = tool(DUMP, "--deep-iteration", "--print-data-log",
                   "--files", ",".join(found))
        if "isvalid: false" in out or "Found" in out or "not valid" in out:
            raise Wrong("it complains: %s" % out[-600:])
        numbers = re.findall(r"headerKeys: \[number,client\] "
                             r"key: key-(\d+) payload: value-\1-x*$", out,
                             re.MULTILINE)
        seen[node] = sorted(map(int, numbers))
    equal({n: len(v) for n, v in seen.items()},
          {n: RECORDS for n in (1, 2, 3)}, "records on the nodes")
    equal(seen[1], list(range(RECORDS)), "numbers")
    return "%d records in the segments of each node" % RECORDS


def dump_offsets():
    found = glob.glob(os.path.join(
        DATA, "data-1", "__consumer_offsets-*", "*.log"))
    found = [f for f in found if os.path.getsize(f)]
    out = tool(DUMP, "--offsets-decoder", "--deep-iteration", "--files",
               ",".join(found))
    if '"group":"%s"' % unique("resume") not in out.replace(" ", ""):
        raise Wrong("the group is not in what it decodes")


check("kafka-topics creates three partitions with three replicas", create,
      vital=True)
if MODERN:
    produce(TOPIC, range(RECORDS))
    check("kafka-console-consumer resumes from committed offsets", resume)
    check("a group rebalances when a second member joins and leaves",
          rebalance)
    check("kafka-consumer-groups tells epochs, targets and types", verbose)
    if DATA:
        check("kafka-dump-log decodes our __consumer_offsets", dump_offsets)
    check("kafka-consumer-groups resets offsets and deletes a group",
          reset_and_delete)
    finish()
check("kafka-topics describes them as in sync", describe)
check("kafka-topics alters, lists and deletes", list_alter_delete)
check("kafka-topics shows a refusal", refuse)
check("kafka-console-producer writes 10,000 records with keys and headers",
      produce_all, vital=True)
check("kafka-console-consumer reads them complete and in order", consume_all)
check("all compressions of the producer come back", compressions)
check("kafka-console-consumer resumes from committed offsets", resume)
check("a group rebalances when a second member joins and leaves", rebalance)
if DATA:
    check("kafka-dump-log --deep-iteration reads our segments", dump)
    check("kafka-dump-log decodes our __consumer_offsets", dump_offsets)
check("kafka-consumer-groups resets offsets and deletes a group",
      reset_and_delete)
check("kafka-configs alters a topic and describes a broker", configs)
check("kafka-configs changes levels of loggers", loggers)
check("kafka-metadata-quorum tells the leader and the voters", quorum)
check("kafka-broker-api-versions asks every broker", versions)
check("kafka-leader-election elects the preferred leader", elect)
check("kafka-reassign-partitions moves a partition", reassign)
check("kafka-log-dirs finds the replicas", log_dirs)
check("kafka-delete-records moves the first offset", delete_records)
finish()
