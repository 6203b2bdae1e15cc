"""Files that somebody or something has changed while a node was down."""

import glob
import os
import re
import shutil

import wire
import world
from world import expect, expect_equal, wait_for

SEGMENT = "0" * 20


def _flip(path, at, count=8):
    with open(path, "r+b") as file:
        file.seek(at)
        good = file.read(count)
        file.seek(at)
        file.write(bytes(b ^ 0x5A for b in good))


def _segment(cluster, node, topic):
    return cluster.data(node, topic + "-0", SEGMENT + ".log")


def _same_bytes(cluster, topic, nodes):
    def same():
        contents = []
        for node in nodes:
            with open(_segment(cluster, node, topic), "rb") as file:
                contents.append(file.read())
        return all(c == contents[0] for c in contents) and contents[0]
    wait_for("equal files of %s" % topic, same)


def _topic(cluster, name, led_by=None, **options):
    """A topic whose leader is not node 2, or is the one given."""
    for i in range(100):
        topic = "%s-%d" % (name, i)
        cluster.create(topic, **options)
        leader = cluster.leader(topic)
        if leader == led_by or (led_by is None and leader != 2):
            break
    cluster.remember(topic, 60, size=400)
    return topic


def _damaged_follower(cluster, name, end, flip):
    """Node 2 is ended, damaged, started; it must report, refetch, agree."""
    topic = _topic(cluster, name)
    cluster.wait_isr(topic, [1, 2, 3])
    end(2)
    path = _segment(cluster, 2, topic)
    at = flip(path)
    cluster.remember(topic, 5)
    cluster.start(2)
    said = wait_for("a report", lambda: cluster.log_has(
        2, re.escape(path) + r" is damaged at position (\d+)"))
    expect(int(said[1]) <= at, "position", said[1], "for damage at", at)
    cluster.wait_isr(topic, [1, 2, 3])
    _same_bytes(cluster, topic, (1, 2, 3))
    # Once what was fetched again is on disk.
    wait_for("what was kept aside", lambda: glob.glob(path + "*.refetched"))
    return topic


def _flip_middle(path):
    at = os.path.getsize(path) // 2
    _flip(path, at)
    return at


def _flip_a_length(path):
    """The batch in the middle claims another length."""
    with open(path, "rb") as file:
        data = file.read()
    at = 0
    while at < len(data) // 2:
        at += 12 + int.from_bytes(data[at + 8:at + 12], "big")
    _flip(path, at + 8, 4)
    return at + 8


def segment_of_a_killed_follower(cluster):
    _damaged_follower(cluster, "killed", cluster.kill, _flip_middle)


def segment_of_a_stopped_follower(cluster):
    _damaged_follower(cluster, "stopped", cluster.stop, _flip_middle)


def batch_length_of_a_stopped_follower(cluster):
    _damaged_follower(cluster, "length", cluster.stop, _flip_a_length)


def segment_of_a_killed_leader(cluster):
    topic = _topic(cluster, "led", led_by=2)
    cluster.kill(2)
    _flip_middle(_segment(cluster, 2, topic))
    cluster.remember(topic, 5)
    cluster.start(2)
    cluster.wait_isr(topic, [1, 2, 3])
    _same_bytes(cluster, topic, (1, 2, 3))


def segment_of_one_replica_when_all_were_killed(cluster):
    """Whoever leads first, the damaged replica must not."""
    for node in (1, 2, 3):
        topic = _topic(cluster, "all-%d" % node)
        for i in (1, 2, 3):
            cluster.kill(i)
        _flip_middle(_segment(cluster, node, topic))
        # The damaged one is the last to come back.
        order = sorted((1, 2, 3), key=lambda i: i == node)
        for i in order:
            cluster.mark_log(i)
            cluster.script("start", str(i))
        for i in order:
            wait_for("node %d" % i, lambda: cluster.log_has(i, "is ready"))
        cluster.wait_isr(topic, [1, 2, 3])
        expect(len(cluster.read(topic)) == 60, "records are missing")
        _same_bytes(cluster, topic, (1, 2, 3))


def _single(cluster, name):
    for i in range(100):
        topic = "%s-%d" % (name, i)
        cluster.create(topic, replicas=1)
        if cluster.leader(topic) == 2:
            return topic
    raise world.Failure("no topic on node 2")


def _damaged_only_replica(cluster, name, end):
    topic = _single(cluster, name)
    values = {}
    for i in range(40):
        value = b"%d" % i * 100
        values[cluster.produce(topic, [value])] = value
    end(2)
    path = _segment(cluster, 2, topic)
    _flip_middle(path)
    cluster.start(2)
    said = wait_for("a report", lambda: cluster.log_has(
        2, re.escape(path) + r" is damaged at position (\d+), offset (\d+)"))
    at = int(said[2])
    expect(0 < at < 40, "damage reported at offset", at)
    with cluster.connect(2) as c:
        for offset in range(at):
            error, _, data = c.fetch(topic, 0, offset, max_bytes=200)
            expect_equal(error, 0, "fetch at %d, before the damage" % offset)
            expect_equal(next(wire.batches(data)), (offset, [values[offset]]),
                         "batch before the damage")
        for offset in (at, 39):
            expect_equal(c.fetch(topic, 0, offset)[0],
                         wire.KAFKA_STORAGE_ERROR,
                         "fetch at %d, from the damage on" % offset)
        # What was acknowledged is not written over by something else.
        expect_equal(c.produce(topic, 0, wire.batch([b"new"]))[0],
                     wire.KAFKA_STORAGE_ERROR, "produce behind the damage")
    return topic


def only_replica_of_a_killed_node(cluster):
    _damaged_only_replica(cluster, "only-killed", cluster.kill)


def only_replica_of_a_stopped_node(cluster):
    topic = _damaged_only_replica(cluster, "only-stopped", cluster.stop)
    # Neither does another restart make it good.
    cluster.stop(2)
    cluster.start(2)
    with cluster.connect(2) as c:
        wait_for("the leader", lambda: c.fetch(topic, 0, 0)[0] == 0)
        expect_equal(c.fetch(topic, 0, 39)[0], wire.KAFKA_STORAGE_ERROR,
                     "fetch behind the damage after another start")


def _small_file(cluster, name, file_name, spoil, end, says=None):
    """One of a partition's side files is spoilt; all is well nevertheless."""
    topic = _topic(cluster, name, configs=[("index.interval.bytes", "500")])
    cluster.wait_isr(topic, [1, 2, 3])
    end(2)
    path = cluster.data(2, topic + "-0", file_name)
    expect(os.path.exists(path), path, "is not there")
    spoil(path)
    cluster.remember(topic, 5)
    cluster.start(2)
    if says:
        wait_for("a report", lambda: cluster.log_has(2, says))
    cluster.wait_isr(topic, [1, 2, 3])
    _same_bytes(cluster, topic, (1, 2, 3))
    # Node 2 leads now, and finds each record by its index.
    for node in (1, 3):
        cluster.stop(node)
        cluster.start(node)
        cluster.wait_isr(topic, [1, 2, 3])
    for offset in range(0, 60, 7):
        with cluster.connect(cluster.leader(topic)) as c:
            error, _, data = c.fetch(topic, 0, offset, max_bytes=600)
            expect_equal(error, 0, "fetch")
            expect_equal(next(wire.batches(data))[0], offset, "found")


def _fill_with(content):
    def spoil(path):
        size = os.path.getsize(path)
        with open(path, "wb") as file:
            file.write((content * (size + 1))[:max(size, len(content))])
    return spoil


def offset_index_that_is_garbage(cluster):
    _small_file(cluster, "index", SEGMENT + ".index",
                _fill_with(b"\xA5\x00\x7F"), cluster.stop)


def offset_index_cut_short(cluster):
    _small_file(cluster, "short", SEGMENT + ".index",
                lambda path: os.truncate(path, 5), cluster.stop)


def offset_index_that_is_missing(cluster):
    _small_file(cluster, "gone", SEGMENT + ".index", os.unlink, cluster.stop)


def time_index_that_is_garbage(cluster):
    _small_file(cluster, "time", SEGMENT + ".timeindex",
                _fill_with(b"\x7F\xFF\x00"), cluster.stop)


def time_index_that_is_missing(cluster):
    _small_file(cluster, "notime", SEGMENT + ".timeindex", os.unlink,
                cluster.stop)


def leader_epoch_checkpoint_that_is_garbage(cluster):
    for content in (b"\0", b"0\n99\n1 2\n", b"0\n1\n2147483647 0\n", b"x"):
        _small_file(cluster, "epochs", "leader-epoch-checkpoint",
                    _fill_with(content), cluster.stop)


def leader_epoch_checkpoint_that_is_missing(cluster):
    _small_file(cluster, "noepochs", "leader-epoch-checkpoint", os.unlink,
                cluster.kill)


def partition_metadata_that_is_garbage(cluster):
    _small_file(cluster, "metadata", "partition.metadata",
                _fill_with(b"nonsense"), cluster.stop)


def producer_snapshot_that_is_garbage(cluster):
    topic = _topic(cluster, "producers")
    cluster.stop(2)
    for path in glob.glob(cluster.data(2, topic + "-0", "*.snapshot")):
        _fill_with(b"\xff")(path)
    cluster.start(2)
    cluster.wait_isr(topic, [1, 2, 3])


# ---- LMDB -----------------------------------------------------------------


def _stores(cluster, node):
    return sorted(os.path.dirname(p) for p in glob.glob(
        cluster.data(node, "**", "data.mdb"), recursive=True))


def _damaged_store(cluster, spoil):
    """Each store in turn: the node says which one and what to do, or goes on."""
    for store in _stores(cluster, 2):
        cluster.stop(2)
        path = os.path.join(store, "data.mdb")
        aside = os.path.join(cluster.home, "aside")
        shutil.copytree(store, aside)
        spoil(path)
        cluster.mark_log(2)
        cluster.script("start", "2")
        wait_for("a start or a sentence about " + path,
                 lambda: cluster.log_has(2, "is ready") or
                 not cluster.pid(2))
        ended = not cluster.pid(2)
        if ended:
            whole = store[len(cluster.data(2)) + 1:].split("/")[0]
            whole = cluster.data(2, whole)
            expect(not world.REPORTS.search(cluster.log(2)),
                   cluster.log(2)[-3000:])
            expect(cluster.log_has(2, re.escape(whole)), "no sentence about",
                   path, "but", cluster.log(2)[-600:])
            expect(cluster.log_has(2, "(?i)move the directory.* away"),
                   "no advice:", cluster.log(2)[-400:])
            # The advice, taken.
            shutil.rmtree(whole)
            cluster.start(2)
        cluster.wait_isr(world.LEDGER, [1, 2, 3])
        cluster.verify()
        shutil.rmtree(aside)


def stores_that_are_garbage(cluster):
    cluster.remember(world.LEDGER, 20)
    _damaged_store(cluster, _fill_with(b"\xDB\x00\x42"))


def stores_cut_short(cluster):
    _damaged_store(cluster, lambda path: os.truncate(path, 5000))


def stores_that_are_empty_files(cluster):
    _damaged_store(cluster, lambda path: os.truncate(path, 0))


def stores_with_damaged_pages(cluster):
    def spoil(path):
        for at in range(8192, os.path.getsize(path), 4096):
            _flip(path, at, 64)
    _damaged_store(cluster, spoil)


def stores_that_are_missing(cluster):
    _damaged_store(cluster, os.unlink)
