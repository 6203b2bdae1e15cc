"""confluent-kafka (the newest librdkafka): a group rolls from the classic
protocol to that of KIP-848 and back while records flow.

One member after the other is replaced by one of the other protocol, as when
the instances of a service are restarted with another configuration.  The suite
has a cluster of its own, CLUSTER, and kills the group's coordinator while both
protocols are in use.
"""

import os
import re
import threading

from confluent_kit import Member, counts, create, equal_commits, numbers
from confluent_kit import produce, unique
from nodes import TOP, Nodes, run
from suite import PARTITIONS, Wrong, check, finish, until

MEMBERS = 3

nodes = Nodes()


class Flow(threading.Thread):
    """Writes records, 30 at a time, until it is stopped."""

    def __init__(self, name):
        super().__init__(daemon=True)
        self.name_of_topic = name
        self.count = 0
        self.error = None
        self.ending = threading.Event()
        self.start()

    def run(self):
        try:
            while not self.ending.wait(0.1):
                produce(self.name_of_topic,
                        range(self.count, self.count + 30))
                self.count += 30
        except Exception as error:
            self.error = error

    def stop(self):
        self.ending.set()
        self.join(90)
        if self.error or self.is_alive():
            raise Wrong("writing failed: %s" % self.error)


def settle(members):
    """Each has its share, and nobody another's."""
    want = sorted(PARTITIONS // len(members) +
                  (i < PARTITIONS % len(members)) for i in range(len(members)))

    def settled():
        owned = [p for m in members for p in m.owned]
        return counts(*members) == want and len(set(owned)) == len(owned)

    until(settled, 60, lambda: "they own %s" % [m.owned for m in members])


# librdkafka's admin client tells nothing any more when it has seen a node die,
# so our own tools are asked.

def coordinator(group):
    out = run(os.path.join(TOP, "scripts", "kafka-consumer-groups.sh"),
              "--bootstrap-server", nodes.bootstrap, "--describe", "--group",
              group, "--state")
    return int(re.search(r"\((\d+)\)", out).group(1))


def is_now(group, kind):
    def found():
        lines = [line.split() for line in
                 nodes.leat("groups", "list").splitlines()]
        return [line[2] for line in lines if line[0] == group]

    until(lambda: found() == [kind], 30,
          lambda: "the group is %s, not %s" % (found(), kind))


class Rolling:
    def __init__(self, what, strategy, static=False):
        self.name, self.group = unique(what), unique(what)
        self.strategy, self.static = strategy, static
        create(self.name)
        self.all = []
        self.now = [self.member(i, strategy) for i in range(MEMBERS)]
        settle(self.now)
        is_now(self.group, "classic")
        self.flow = Flow(self.name)

    def member(self, i, strategy):
        more = {"group.instance.id": "instance-%d" % i} if self.static else {}
        member = Member(self.group, [self.name], strategy, **more)
        self.all.append(member)
        return member

    def restart(self, i, strategy):
        self.now[i].stop()
        self.now[i] = self.member(i, strategy)
        settle(self.now)

    def to(self, strategy, between=None):
        for i in range(MEMBERS):
            self.restart(i, strategy)
            if i == 0:
                is_now(self.group, "consumer")
                if between:
                    between()
        is_now(self.group, "consumer" if strategy is None
               else "classic")

    def finish(self):
        """Every record came; those that came twice are few, if any."""
        self.flow.stop()
        until(lambda: len(numbers(*self.all)) == self.flow.count, 60,
              lambda: "%d of %d came" % (len(numbers(*self.all)),
                                         self.flow.count))
        for member in self.now:
            member.stop()
        equal_commits(self.group, self.name,
                      [self.flow.count // PARTITIONS] * PARTITIONS)
        twice = sum(len(m.seen) for m in self.all) - self.flow.count
        return "%d records, %d of them twice" % (self.flow.count, twice)


def there_and_back(what, strategy, static=False):
    rolling = Rolling(what, strategy, static)
    rolling.to(None)
    rolling.to(strategy)
    return rolling.finish()


def coordinator_dies():
    rolling = Rolling("dies", "cooperative-sticky")

    def die():
        node = coordinator(rolling.group)
        nodes.kill(node)
        try:
            settle(rolling.now)
        finally:
            nodes.start(node)

    rolling.to(None, die)
    rolling.to("cooperative-sticky", die)
    return rolling.finish()


check("rolls to KIP-848 and back with eager members",
      lambda: there_and_back("eager", "range"))
check("rolls to KIP-848 and back with cooperative members",
      lambda: there_and_back("cooperative", "cooperative-sticky"))
check("rolls to KIP-848 and back with static members",
      lambda: there_and_back("static", "range", static=True))
check("rolls while the coordinator is killed", coordinator_dies)
finish()
