"""A log directory on a disk that is full.

Node 1 has its log.dirs on a small tmpfs; nodes 2 and 3 have all the room they
want.  Skipped where nobody may mount one.
"""

import os

import wire
import world
from world import expect, expect_equal, wait_for

SIZE = "48m"


def new_cluster():
    return world.Cluster(prepare=lambda c: c.mount_tmpfs(1, SIZE),
                         config="replica.lag.time.max.ms=3000")


def _fill(cluster, leave=0):
    """Takes what the disk has left; returns the file that holds it."""
    path = cluster.data(1, "ballast")
    free = os.statvfs(cluster.data(1))
    left = free.f_bavail * free.f_frsize - leave
    with open(path, "ab") as file:
        try:
            while left > 0:
                file.write(bytes(min(left, 1 << 20)))
                file.flush()
                left -= 1 << 20
        except OSError:
            pass
    return path


def _on_node_1(cluster, topic):
    """A topic with one replica, on the small disk."""
    for i in range(100):
        name = "%s-%d" % (topic, i)
        cluster.create(name, replicas=1)
        if cluster.leader(name) == 1:
            return name
    raise world.Failure("no topic on node 1")


def _led_by_another(cluster, topic):
    """A topic that node 1 follows, and will not be asked to lead."""
    for i in range(100):
        name = "%s-%d" % (topic, i)
        cluster.create(name)
        if cluster.leader(name) != 1:
            return name
    raise world.Failure("node 1 leads everything")


def leader_with_one_replica(cluster):
    """KAFKA_STORAGE_ERROR, reads go on, writes come back with the space."""
    topic = _on_node_1(cluster, "single")
    cluster.remember(topic, 20, size=1000)
    ballast = _fill(cluster)
    refused = 0
    with cluster.connect(1) as c:
        for _ in range(200):
            value = os.urandom(20000)
            error, offset = c.produce(topic, 0, wire.batch([value]))
            if error == 0:
                cluster.remember_values(topic, offset, [value])
                continue
            expect_equal(error, wire.KAFKA_STORAGE_ERROR, "error")
            refused += 1
            if refused == 20:
                break
        expect(refused == 20, "the disk was not full")
        expect(cluster.log_has(1, r"%s-0.*full" % topic), "no sentence")
        kept = cluster.acknowledged[topic]
        found = cluster.read(topic, node=1)
        expect(found == kept, "reads on a full disk")
        os.unlink(ballast)
        error, offset = c.produce(topic, 0, wire.batch([b"space again"]))
        expect_equal(error, 0, "produce after space was freed")
        expect_equal(offset, max(kept) + 1, "offset after the refusals")
        cluster.remember_values(topic, offset, [b"space again"])


def leader_with_three_replicas(cluster):
    topic = "shared"
    for i in range(100):
        cluster.create("%s-%d" % (topic, i))
        if cluster.leader("%s-%d" % (topic, i)) == 1:
            topic = "%s-%d" % (topic, i)
            break
    cluster.remember(topic, 20, size=1000)
    ballast = _fill(cluster)
    with cluster.connect(1) as c:
        errors = set()
        for _ in range(60):
            value = os.urandom(20000)
            error, offset = c.produce(topic, 0, wire.batch([value]))
            errors.add(error)
            if error == 0:
                cluster.remember_values(topic, offset, [value])
    expect(errors <= {0, wire.KAFKA_STORAGE_ERROR,
                      wire.NOT_LEADER_OR_FOLLOWER}, "errors", errors)
    expect(wire.KAFKA_STORAGE_ERROR in errors, "the disk was not full")
    os.unlink(ballast)
    cluster.remember(topic, 5)
    cluster.wait_isr(topic, [1, 2, 3])


def follower(cluster):
    """Leaves the in-sync set or waits; writes go on without it."""
    topic = _led_by_another(cluster, "followed")
    cluster.remember(topic, 5, size=1000)
    ballast = _fill(cluster)
    for _ in range(40):
        value = os.urandom(50000)
        offset = cluster.produce(topic, [value], seconds=60)
        cluster.remember_values(topic, offset, [value])
    expect(1 not in cluster.isr(topic), "node 1 counts as in sync")
    os.unlink(ballast)
    cluster.wait_isr(topic, [1, 2, 3])
    found = cluster.data(1, topic + "-0", "0" * 20 + ".log")
    other = cluster.data(2, topic + "-0", "0" * 20 + ".log")
    wait_for("equal replicas", lambda: open(found, "rb").read() ==
             open(other, "rb").read())


def metadata_goes_on(cluster):
    """The controller and the image have nowhere to write, on one of three."""
    topic = _led_by_another(cluster, "meanwhile")
    ballast = _fill(cluster)
    for i in range(5):
        with cluster.connect(2) as c:
            wait_for("topic %d" % i, lambda: c.create(
                "while-full-%d" % i, replicas=2) in (
                    0, wire.TOPIC_ALREADY_EXISTS))
    cluster.produce(topic, [b"meanwhile"])
    os.unlink(ballast)
    wait_for("node 1 knows", lambda: cluster.connect(1).metadata(
        ["while-full-4"])["while-full-4"][0] == 0)


def full_from_the_start(cluster):
    """A node that cannot write a byte starts, or says what is the matter."""
    ballast = None
    cluster.stop(1)
    ballast = _fill(cluster)
    cluster.mark_log(1)
    cluster.script("start", "1")
    wait_for("a start or a sentence", lambda: cluster.log_has(
        1, "is ready") or not cluster.pid(1))
    if not cluster.pid(1):
        expect(cluster.log_has(1, "(?i)space|full"), "no sentence:",
               cluster.log(1)[-400:])
    else:
        cluster.kill(1)
    os.unlink(ballast)
    cluster.start(1)
    cluster.wait_isr("ledger", [1, 2, 3])


def killed_while_full(cluster):
    topic = _led_by_another(cluster, "killed")
    ballast = _fill(cluster)
    for _ in range(10):
        value = os.urandom(20000)
        offset = cluster.produce(topic, [value], seconds=60)
        cluster.remember_values(topic, offset, [value])
    cluster.kill(1)
    os.unlink(ballast)
    cluster.start(1)
    cluster.wait_isr(topic, [1, 2, 3])
