"""Clients that are slow, many, greedy or gone."""

import contextlib
import struct
import time

import wire
from wire import frame, header
from world import expect, expect_equal, wait_for

TOPIC = "load"


def _metadata_of_all():
    return frame(header(wire.METADATA, 1) + struct.pack(">i", -1))


def frame_sent_byte_by_byte(cluster):
    with cluster.connect() as c:
        for byte in _metadata_of_all():
            c.send(bytes([byte]))
            time.sleep(0.002)
        c.answer()


def slow_connections_keep_nobody_waiting(cluster):
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(cluster.connect()) for _ in range(300)]
        for i in range(5):
            for c in slow:
                c.send(_metadata_of_all()[i:i + 1])
            began = time.monotonic()
            cluster.produce("ledger", [b"meanwhile"])
            expect(time.monotonic() - began < 5, "others had to wait")


def thousands_of_connections_opened_and_closed(cluster):
    cluster.connect().close()
    before, memory = cluster.open_files(1), cluster.memory_mb(1)
    for i in range(4000):
        c = cluster.connect()
        if i % 3 == 0:
            c.send(_metadata_of_all())
        if i % 2:
            c.reset()
        else:
            c.close()
    wait_for("all files closed",
             lambda: cluster.open_files(1) <= before + 5)
    expect(cluster.memory_mb(1) < memory + 60, "memory grew from", memory,
           "to", cluster.memory_mb(1), "MB")


def thousands_of_connections_to_the_controller(cluster):
    cluster.connect_controller().close()
    before = cluster.open_files(1)
    for i in range(2000):
        c = cluster.connect_controller()
        if i % 2:
            c.reset()
        else:
            c.close()
    wait_for("all files closed",
             lambda: cluster.open_files(1) <= before + 5)


def fetches_that_wait_for_ever_and_then_nobody_is_there(cluster):
    cluster.create(TOPIC)
    leader = cluster.leader(TOPIC)
    with cluster.connect(leader) as c:
        c.api_versions()
    before = cluster.open_files(leader)
    memory = None
    for _ in range(5):
        waiting = [cluster.connect(leader) for _ in range(200)]
        for i, c in enumerate(waiting):
            c.post(wire.FETCH, 4, wire.fetch_body(
                TOPIC, 0, 0, max_wait_ms=2**31 - 1, min_bytes=2**31 - 1))
        for i, c in enumerate(waiting):
            if i % 2:
                c.reset()
            else:
                c.close()
        wait_for("all files closed",
                 lambda: cluster.open_files(leader) <= before + 5)
        memory = memory or cluster.memory_mb(leader)
    expect(cluster.memory_mb(leader) < memory + 60, "it leaks")


def a_waiting_fetch_is_answered_when_records_come(cluster):
    cluster.create(TOPIC)
    leader = cluster.leader(TOPIC)
    with cluster.connect(leader) as c:
        _, end = c.earliest_and_latest(TOPIC, 0)
        c.post(wire.FETCH, 4, wire.fetch_body(TOPIC, 0, end, 60000))
        cluster.produce(TOPIC, [b"news"])
        c.answer()


def a_thousand_pipelined_requests_are_answered_in_order(cluster):
    with cluster.connect() as c:
        count = 1000
        c.send(b"".join(frame(header(wire.METADATA, 1, i) +
                              struct.pack(">i", -1)) for i in range(count)))
        for i in range(count):
            got, = struct.unpack(">i", c.answer()[:4])
            expect_equal(got, i, "correlation id")


def a_thousand_pipelined_produces_keep_their_order(cluster):
    topic = "pipelined"
    cluster.create(topic)
    count = 1000
    with cluster.connect(cluster.leader(topic)) as c:
        c.send(b"".join(
            frame(header(wire.PRODUCE, 3, i) + wire.produce_body(
                topic, 0, wire.batch([b"%d" % i]))) for i in range(count)))
        for _ in range(count):
            c.answer()
    found = cluster.read(topic)
    expect_equal([found[i] for i in range(count)],
                 [b"%d" % i for i in range(count)], "records")
    cluster.remember_values(topic, 0, [b"%d" % i for i in range(count)])


def _never_reads(cluster, c, request, node, most_mb):
    """Sends until the server stops reading."""
    before = cluster.memory_mb(node)
    c.socket.settimeout(1)
    sent = 0
    try:
        while sent < 400 << 20:
            sent += c.socket.send(request)
    except (TimeoutError, BrokenPipeError, ConnectionResetError):
        pass
    grown = cluster.memory_mb(node) - before
    cluster.verify()
    c.close()
    expect(grown < most_mb, "the server took", grown, "MB")


def a_client_that_never_reads_metadata(cluster):
    _never_reads(cluster, cluster.connect(), _metadata_of_all() * 100, 1, 200)


def a_client_that_never_reads_records(cluster):
    topic = "unread"
    cluster.create(topic)
    for _ in range(4):
        cluster.produce(topic, [bytes(900000)])
    leader = cluster.leader(topic)
    request = frame(header(wire.FETCH, 4) + wire.fetch_body(
        topic, 0, 0, max_bytes=10 << 20))
    _never_reads(cluster, cluster.connect(leader), request * 100, leader, 200)


def offsets_are_wanted_of_what_there_is(cluster):
    cluster.create(TOPIC)
    leader = cluster.leader(TOPIC)
    before = cluster.most_memory_mb(leader)
    for topic, partition in ("no-such-topic", 0), (TOPIC, 99), (TOPIC, 0):
        with cluster.connect(leader) as c:
            c.call(wire.LIST_OFFSETS, 0, struct.pack(">i", -1) + wire.array([
                wire.string(topic) + wire.array([struct.pack(
                    ">iqi", partition, -1, 2**31 - 1)] * 60000)]))
    grown = cluster.most_memory_mb(leader) - before
    expect(grown < 150, "the server took", grown, "MB")


def a_client_that_never_reads_from_the_controller(cluster):
    # A FetchMetadata call for everything since the beginning.
    call = bytes([0x32, 0x00])
    request = frame(header(20001, 0) + call)
    for node in (1, 2, 3):
        _never_reads(cluster, cluster.connect_controller(node),
                     request * 100, node, 200)
