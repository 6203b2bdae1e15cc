"""confluent-kafka (the newest librdkafka): groups by the protocol of KIP-848.

The suite has a cluster of its own, CLUSTER, and kills the group's coordinator
while two members read; node I listens at the I-th address of BOOTSTRAP.
"""

import os
import re
import subprocess

from confluent_kit import SERVERS, Member, coordinator, counts, create
from confluent_kit import equal_commits, in_order, node_command, numbers
from confluent_kit import produce, unique
from suite import PARTITIONS, RECORDS, RUN
from suite import Wrong, check, equal, finish, until

TOPIC = unique("records")


def read_all():
    member = Member(unique("all"), [TOPIC])
    until(lambda: len(member.seen) >= RECORDS or member.error, 60,
          lambda: "%d records came" % len(member.seen))
    member.stop()
    in_order(member)
    equal(sorted(n for _, n in member.seen), list(range(RECORDS)), "numbers")
    return "%d records, complete and in order" % RECORDS


def resume():
    group = unique("resume")
    first = Member(group, [TOPIC], **{"max.poll.interval.ms": 60000})
    until(lambda: len(first.seen) >= 4000, 60, "no 4000 records")
    first.stop()
    second = Member(group, [TOPIC])
    left = RECORDS - len(first.seen)
    until(lambda: len(second.seen) >= left, 60,
          lambda: "%d of %d records came" % (len(second.seen), left))
    second.stop()
    both = sorted(n for m in (first, second) for _, n in m.seen)
    equal(both, list(range(RECORDS)), "numbers")
    return "%d then %d records" % (len(first.seen), len(second.seen))


def regex():
    """"^" makes a pattern of it, which the broker matches."""
    names = [unique("regex-%s" % c) for c in "abx"]
    create(names[0])
    member = Member(unique("regex"), ["^confluent-regex-[a-c]-%s" % RUN],
                    **{"topic.metadata.refresh.interval.ms": 1000})
    until(lambda: len(member.owned) == PARTITIONS, 60,
          lambda: "it owns %s" % member.owned)
    create(names[1])
    create(names[2])
    until(lambda: len(member.owned) == 2 * PARTITIONS, 90,
          lambda: "it owns %s" % member.owned)
    equal({t for t, _ in member.owned}, set(names[:2]), "topics")
    member.stop()


def tool(group, *words):
    """What our kafka-consumer-groups.sh prints."""
    return subprocess.run(
        [os.path.join(os.environ["LEAT_TOP"], "scripts",
                      "kafka-consumer-groups.sh"), "--bootstrap-server",
         SERVERS["bootstrap.servers"], "--describe", "--group", group, *words],
        check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout


def described():
    group = unique("described")
    member = Member(group, [TOPIC])
    until(lambda: counts(member) == [3], 40,
          lambda: "it owns %s" % member.owned)
    out = tool(group, "--members", "--verbose")
    if not re.search(r"\s3\s+1\s+%s:0,1,2\s+1\s+%s:0,1,2" % (TOPIC, TOPIC),
                     out):
        raise Wrong("members: %s" % out)
    out = tool(group, "--state", "--verbose")
    if not re.search(r"uniform\s+Stable\s+1\s+1\s+1$", out, re.M):
        raise Wrong("state: %s" % out)
    member.stop()


def coordinator_dies():
    name, group = unique("dies"), unique("dies")
    create(name)
    a, b = Member(group, [name]), None
    until(lambda: counts(a) == [3], 40, lambda: "it owns %s" % a.owned)
    produce(name, range(300))
    until(lambda: len(numbers(a)) == 300, 40, "not all came")
    node = coordinator(group)
    node_command("kill", node)
    try:
        # With the coordinator gone a second member joins.
        b = Member(group, [name])
        until(lambda: counts(a, b) == [1, 2], 60,
              lambda: "they own %s and %s" % (a.owned, b.owned))
        if a.owned & b.owned:
            raise Wrong("both own %s" % (a.owned & b.owned))
        produce(name, range(300, 900))
        until(lambda: len(numbers(a, b)) == 900, 60,
              lambda: "%d of 900 came" % len(numbers(a, b)))
    finally:
        node_command("start", node)
    b.stop()
    until(lambda: counts(a) == [3], 60, lambda: "it owns %s" % a.owned)
    produce(name, range(900, 1200))
    until(lambda: len(numbers(a, b)) == 1200, 60,
          lambda: "%d of 1200 came" % len(numbers(a, b)))
    a.stop()
    twice = len(a.seen) + len(b.seen) - 1200
    equal_commits(group, name, [400] * PARTITIONS)
    return "node %d killed; %d and %d records, %d of them twice" % (
        node, len(a.seen), len(b.seen), twice)


check("creates a topic with three partitions and three replicas",
      lambda: create(TOPIC), vital=True)
check("produces 10,000 records", lambda: produce(TOPIC, range(RECORDS)),
      vital=True)
check("a member of the new protocol reads them complete and in order",
      read_all)
check("resumes from committed offsets", resume)
check("kafka-consumer-groups.sh tells epochs and targets", described)
check("subscribes to a regex that the broker matches", regex)
check("rebalances while the coordinator is killed", coordinator_dies)
finish()
