"""kafka-console-share-consumer and kafka-share-groups (KIP-932), from Apache
Kafka's jars (`command.py`).
"""

import os
import re
import subprocess

from command import HOME, SERVER, java, produce, tool
from suite import PARTITIONS, REPLICAS, RUN
from suite import Wrong, check, equal, finish, until

TOPICS = "org.apache.kafka.tools.TopicCommand"
CONFIGS = "kafka.admin.ConfigCommand"
CONSUMER = "org.apache.kafka.tools.consumer.ConsoleShareConsumer"
SHARE_GROUPS = "org.apache.kafka.tools.consumer.group.ShareGroupCommand"
GROUPS = "org.apache.kafka.tools.GroupsCommand"

COUNT = 600
MORE = 30  # that nobody reads before the offsets are reset
NAME = "java-share-" + RUN  # of the topic and the group
GROUP = ["--group", NAME]


def create():
    tool(TOPICS, *SERVER, "--create", "--topic", NAME, "--partitions",
         str(PARTITIONS), "--replication-factor", str(REPLICAS))
    produce(NAME, range(COUNT))
    group = ["--entity-type", "groups", "--entity-name", NAME]
    tool(CONFIGS, *SERVER, "--alter", *group, "--add-config",
         "share.auto.offset.reset=earliest,share.delivery.count.limit=10")
    out = tool(CONFIGS, *SERVER, "--describe", *group)
    for setting in ("auto.offset.reset=earliest", "delivery.count.limit=10"):
        if "  share.%s " % setting not in out:
            raise Wrong("described as %s" % out)


# ---- kafka-console-share-consumer ----

LINE = re.compile(r"Partition:\d\tDelivery:(\d+)\tkey-(\d+)\tvalue-\2-x*$",
                  re.MULTILINE)


def consume_command(*words):
    # One acquires what it shows, not more.
    return java(CONSUMER, *SERVER, "--topic", NAME, *GROUP,
                "--command-property", "share.acquire.mode=record_limit",
                "--formatter-property", "print.partition=true",
                "--formatter-property", "print.delivery=true",
                "--formatter-property", "print.key=true", *words)


def parse(text):
    """(number, deliveries) of what was printed."""
    return [(int(n), int(count)) for count, n in LINE.findall(text)]


def consume(count, *words):
    done = subprocess.run(
        consume_command("--max-messages", str(count), "--timeout-ms", "30000",
                        *words), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    if done.returncode:
        raise Wrong("the consumer ended with %d: %s" % (
            done.returncode, done.stderr[-600:]))
    found = parse(done.stdout)
    equal(len(found), count, "records")
    return found


# What is accepted or rejected does not come any more, what was released does,
# with a higher count.
ended = set()
released = {}


def look(found):
    for n, count in found:
        if n in ended:
            raise Wrong("record %d came again" % n)
        if count <= released.get(n, 0):
            raise Wrong("record %d came as delivery %d after %d" % (
                n, count, released[n]))


def end(found):
    look(found)
    numbers = {n for n, _ in found}
    equal(len(numbers), len(found), "different records")
    ended.update(numbers)


def accepts():
    found = consume(200)
    end(found)
    equal({count for _, count in found}, {1}, "deliveries")


def releases():
    for _ in range(2):
        for pair in consume(100, "--release"):
            look([pair])
            released.update([pair])
    return "%d records" % len(released)


def rejects():
    end(consume(100, "--reject"))


class Member:
    """A console share consumer that reads until it is stopped."""

    def __init__(self, name):
        self.path = os.path.join(HOME, name)
        self.out = open(self.path, "w")
        self.process = subprocess.Popen(
            consume_command(), stdout=self.out, stderr=subprocess.DEVNULL)

    def seen(self):
        with open(self.path) as file:
            text = file.read()
        return parse(text[:text.rfind("\n") + 1])

    def leave(self):
        self.process.terminate()
        self.process.wait(30)
        self.out.close()


# ---- kafka-share-groups ----


def share_groups(*words, **options):
    return tool(SHARE_GROUPS, *SERVER, *words, **options)


def rows(*words):
    """The lines about the group, in words."""
    out = share_groups("--describe", *GROUP, *words)
    return [line.split() for line in out.splitlines()
            if line.startswith(NAME)]


def starts():
    """{partition: start offset}"""
    return {int(row[2]): row[3] for row in rows("--offsets")
            if row[1] == NAME}


def lags():
    """{partition: lag}"""
    return {int(row[2]): row[4] for row in rows("--offsets")
            if row[1] == NAME}


def shows_lag(want):
    """`want` over all partitions, of which all were fetched from."""
    def shown():
        found = lags().values()
        return len(found) == PARTITIONS and "-" not in found and \
            sum(map(int, found)) == want
    until(shown, 20, lambda: "lags are %s instead of %d" % (lags(), want))


def lag_is_what_is_left():
    shows_lag(0)
    produce(NAME, range(COUNT, COUNT + MORE))
    shows_lag(MORE)


def member_is_described():
    member = Member("member")
    try:
        until(lambda: len(member.seen()) == COUNT - len(ended), 40,
              lambda: "%d records came" % len(member.seen()))
        end(member.seen())
        found = rows("--members", "--verbose")
        equal([(row[3], row[4], row[6]) for row in found],
              [("console-share-consumer", str(PARTITIONS), NAME + ":0,1,2")],
              "members")
        found = rows("--state", "--verbose")
        equal([(row[3], row[4] == row[5], row[6]) for row in found],
              [("Stable", True, "1")], "state")
    finally:
        member.leave()
    equal(ended, set(range(COUNT)), "what came")


def lists():
    def listed(*words):
        out = share_groups("--list", *words)
        return [line.split() for line in out.splitlines()
                if line.startswith(NAME)]

    # The member has left.
    until(lambda: listed("--state") == [[NAME, "Empty"]], 20,
          lambda: "listed as %s" % listed("--state"))
    equal(listed(), [[NAME]], "the list")
    equal(listed("--state", "Stable"), [], "those that are stable")
    out = tool(GROUPS, *SERVER, "--list", "--share")
    if not re.search(r"^%s\s+Share\s+share" % NAME, out, re.M):
        raise Wrong("kafka-groups lists %s" % out)


def resets():
    share_groups("--reset-offsets", *GROUP, "--topic", NAME, "--to-earliest",
                 "--dry-run")
    out = share_groups("--reset-offsets", *GROUP, "--topic", NAME + ":0,1",
                       "--to-latest", "--execute")
    ends = {int(p): end for p, end in re.findall(r"\s(\d)\s+(\d+)\s*$", out,
                                                 re.M)}
    equal(sorted(ends), [0, 1], "partitions")
    out = share_groups("--reset-offsets", *GROUP, "--topic", NAME + ":2",
                       "--to-earliest", "--execute")
    equal(starts(), {**ends, 2: "0"}, "start offsets")
    # Only what the third partition has comes again, as if for the first time.
    found = consume(COUNT + MORE - sum(map(int, ends.values())))
    equal({count for _, count in found}, {1}, "deliveries")
    return "%d records again" % len(found)


def deletes():
    out = share_groups("--delete-offsets", *GROUP, "--topic", NAME)
    if not re.search(r"%s\s+Successful" % NAME, out):
        raise Wrong("printed %s" % out)
    equal(starts(), {}, "start offsets")
    out = share_groups("--delete", *GROUP)
    if "successful" not in out:
        raise Wrong("printed %s" % out)
    out = share_groups("--delete", *GROUP)
    if "is not a share group" not in out and "not found" not in out:
        raise Wrong("deleted again: %s" % out)


check("kafka-configs says where a share group begins", create, vital=True)
check("kafka-console-share-consumer accepts", accepts, vital=True)
check("kafka-console-share-consumer releases, and counts deliveries", releases)
check("kafka-console-share-consumer rejects", rejects)
check("kafka-share-groups describes a group and its member",
      member_is_described)
check("kafka-share-groups shows the lag", lag_is_what_is_left)
check("kafka-share-groups and kafka-groups list", lists)
check("kafka-share-groups resets offsets", resets)
check("kafka-share-groups deletes offsets and a group", deletes)
finish()
