"""What is done to a cluster under load, and what must be true afterwards.

Each scenario is a function of (cluster, rounds); it raises Failed, or returns
{"detail": what it wants to tell, figures...}.  SCENARIOS says how many rounds
the long and the short form have.
"""

import os
import random
import signal
import statistics
import subprocess
import time

from harness import Failed, Load, PARTITIONS, wait_a_little, wait_for

TOPIC = "numbers"


class Rounds:
    """A topic, the load on it, and the verdict when all is over."""

    def __init__(self, cluster, rate=1500):
        cluster.create(TOPIC, config=["min.insync.replicas=2"])
        self.cluster = cluster
        self.load = Load(cluster, TOPIC, rate)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.load.abort()

    def verdict(self, rounds, detail=""):
        result = self.load.finish()
        replicas = self.cluster.replicas_agree()
        gaps = self.load.gaps()
        text = "%d rounds, %d records acknowledged, %d read back" % (
            rounds, result["acknowledged"], result["read"])
        if gaps:
            text += ", gap %.2f s median, %.2f s max" % (
                statistics.median(gaps), max(gaps))
        text += ", silent for %.2f s at most" % self.load.silence()
        result.update(detail="%s, %d replicas agree%s" %
                      (text, replicas, detail), gaps=gaps)
        return result


def led_by(leaders, nodes):
    return [p for p, leader in enumerate(leaders) if leader in nodes]


def kill_and_return(run, victim):
    """SIGKILL, writes go on, the node returns, all replicas are in sync."""
    cluster, load = run.cluster, run.load
    led = led_by(cluster.leaders(TOPIC), [victim])
    load.note_kill(cluster.kill(victim), led)
    load.flowing()
    cluster.start(victim)
    cluster.wait_complete(TOPIC)
    load.flowing()


def failover(cluster, rounds):
    """The leader is killed, and comes back, round all nodes."""
    with Rounds(cluster) as run:
        victim = 0
        for _ in range(rounds):
            leaders = cluster.leaders(TOPIC)
            victim = next(n % 3 + 1 for n in range(victim, victim + 3)
                          if n % 3 + 1 in leaders)
            kill_and_return(run, victim)
        return run.verdict(rounds)


def controller(cluster, rounds):
    """The active controller is killed, and comes back."""
    with Rounds(cluster) as run:
        for _ in range(rounds):
            before = cluster.controller()
            kill_and_return(run, before)
            if cluster.controller() == before and rounds == 1:
                raise Failed("node %d is still the controller" % before)
        return run.verdict(rounds)


def growth(cluster, rounds):
    """A fourth broker takes new partitions and existing ones."""
    with Rounds(cluster) as run:
        new = cluster.add()
        cluster.create("young")
        if not any(new in p["replicas"]
                   for p in cluster.describe("young")["partitions"]):
            raise Failed("no partition of a new topic is on node %d" % new)
        for i in range(rounds):
            move(cluster, run.load, i % PARTITIONS, new)
        return run.verdict(rounds)


def move(cluster, load, partition, new):
    """One replica of a partition moves to the new broker: its leader in even
    rounds, the last of its followers in odd ones."""
    was = cluster.describe(TOPIC)["partitions"][partition]["replicas"]
    old = was[0] if partition % 2 == 0 else was[-1]
    target = [new if n == old else n for n in was]
    places = [""] * PARTITIONS
    places[partition] = ":".join(map(str, target))
    cluster.leat("topics", "alter", TOPIC, "--replica-assignment",
                 ",".join(places))

    def moved():
        now = cluster.describe(TOPIC)["partitions"][partition]
        return sorted(now["replicas"]) == sorted(target) and \
            sorted(now["isr"]) == sorted(target) and now["leader"] in target
    wait_for("partition %d is on %s" % (partition, target), moved)
    load.flowing()
    left = os.path.join(cluster.directory, "data-%d" % old,
                        "%s-%d" % (TOPIC, partition))
    wait_for("%s is gone" % left, lambda: not os.path.exists(left), 90)


def restart(cluster, rounds):
    """All nodes are killed at once, and come back."""
    config = ["retention.ms=7200000", "max.message.bytes=1500000"]
    cluster.create("settings", partitions=4, config=config)
    before = cluster.describe("settings")
    offsets = Offsets(cluster)
    try:
        with Rounds(cluster) as run:
            for _ in range(rounds):
                run.load.note_kill(cluster.kill(*cluster.nodes),
                                   range(PARTITIONS))
                nodes = cluster.nodes[:]
                random.shuffle(nodes)
                cluster.start(*nodes)
                run.load.flowing()
                cluster.wait_complete(TOPIC)
            kept = offsets.verdict()
            result = run.verdict(rounds, ", " + kept)
    finally:
        offsets.abort()
    after = cluster.describe("settings")
    for key in ("id", "configs"):
        if before[key] != after[key]:
            raise Failed("settings had %s %s, has %s" %
                         (key, before[key], after[key]))
    if len(after["partitions"]) != 4:
        raise Failed("settings has %d partitions" % len(after["partitions"]))
    return result


class Offsets:
    """Groups that commit offsets all the time."""

    GROUPS = 6

    def __init__(self, cluster):
        self.cluster = cluster
        self.child = self.numbers("commit", stdin=subprocess.PIPE)
        try:
            wait_for("committed offsets", lambda: min(self.committed()) > 0)
        except Failed:
            self.abort()
            raise

    def numbers(self, command, **options):
        path = os.path.join(self.cluster.build, "tests", "chaos", "numbers")
        return subprocess.Popen(
            [path, command, "--bootstrap", self.cluster.bootstrap, "--topic",
             "settings", "--partitions", "4", "--producers",
             str(self.GROUPS), "--group", "chaos", "--timeout-ms", "30000"],
            text=True, stdout=subprocess.PIPE, **options)

    def committed(self):
        """One number a group: all its partitions have the same."""
        child = self.numbers("committed", stdin=subprocess.DEVNULL)
        try:
            out, _ = child.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            raise Failed("reading committed offsets: not within 60 s") \
                from None
        found = []
        for line in out.strip().splitlines():
            name, *values = line.split()
            if len(set(values)) != 1:
                raise Failed("group %s has half a commit: %s" %
                             (name, values))
            found.append(int(values[0]))
        if len(found) != self.GROUPS:
            raise Failed("committed offsets of %d groups only" % len(found))
        return found

    def verdict(self):
        try:
            out, _ = self.child.communicate("", 90)
        except subprocess.TimeoutExpired:
            raise Failed("who commits offsets does not end") from None
        promised = [line.split() for line in out.strip().splitlines()]
        for (name, tried, acked), has in zip(promised, self.committed()):
            if not int(acked) <= has <= int(tried):
                raise Failed("group %s committed %s, tried %s, has %d" %
                             (name, acked, tried, has))
        return "%d commits kept" % sum(int(p[2]) for p in promised)

    def abort(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()


def graceful(cluster, rounds):
    """Nodes stop by SIGTERM and start again, one after the other."""
    with Rounds(cluster) as run:
        for i in range(rounds):
            node = i % 3 + 1
            led = led_by(cluster.leaders(TOPIC), [node])
            if led:
                run.load.note_kill(time.monotonic(), led)
            cluster.stop(node)
            run.load.flowing()
            cluster.start(node)
            cluster.wait_complete(TOPIC)
            run.load.flowing()
        return run.verdict(rounds)


def storm(cluster, rounds):
    """Kills without waiting for complete in-sync replicas: one node, two, or
    the one that has just come back.  A partition may lose its last in-sync
    replica, and then has to wait for its return."""
    with Rounds(cluster) as run:
        for _ in range(rounds):
            victims = random.sample(cluster.nodes, random.choice((1, 1, 2)))
            cluster.kill(*victims)
            if random.random() < 0.4:
                wait_a_little(run.load.progress(), 2)
            cluster.start(*victims)
            if random.random() < 0.5:
                run.load.flowing()
        run.load.flowing()
        return run.verdict(rounds)


def pause(cluster, rounds):
    """A leader stands still until the others have gone on without it, and
    wakes up believing that it leads."""
    with Rounds(cluster) as run:
        for i in range(rounds):
            leaders = cluster.leaders(TOPIC)
            node = i % 3 + 1
            led = led_by(leaders, [node])
            others = [n for n in cluster.nodes if n != node]
            at = cluster.signal(signal.SIGSTOP, node)
            try:
                if led:
                    run.load.note_kill(at, led)
                wait_for("node %d is out" % node, lambda: is_out(
                    cluster, node, others), 60, 0.1)
            finally:
                cluster.signal(signal.SIGCONT, node)
            run.load.flowing()
            cluster.wait_complete(TOPIC)
        return run.verdict(rounds)


def is_out(cluster, node, others):
    """A busy machine's other nodes may not answer in time, and are asked
    again."""
    try:
        return node not in asked_others(cluster, others)
    except Failed:
        return False


def asked_others(cluster, nodes):
    """Leaders of the topic, asked without the node that stands still; if that
    is the controller, what only it knows is not waited for."""
    everyone, cluster.nodes = cluster.nodes, nodes
    try:
        return cluster.leaders(TOPIC, 2000)
    finally:
        cluster.nodes = everyone


FAST_ROLLS = "log.segment.bytes=1048576 leader.imbalance.check.interval." \
    "seconds=3"
# name: (function, configuration, rounds, rounds of the short form or 0)
SCENARIOS = {
    "failover": (failover, FAST_ROLLS, 10, 3),
    "controller": (controller, FAST_ROLLS, 10, 3),
    "growth": (growth, FAST_ROLLS, 6, 2),
    "restart": (restart, FAST_ROLLS, 5, 2),
    "graceful": (graceful, FAST_ROLLS, 6, 3),
    "fsync": (failover, FAST_ROLLS + " leat.durability=fsync", 6, 2),
    "storm": (storm, FAST_ROLLS, 20, 5),
    "pause": (pause, FAST_ROLLS + " broker.session.timeout.ms=3000"
              " broker.heartbeat.interval.ms=500", 3, 2),
}
