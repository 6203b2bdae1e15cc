"""Frames that are no requests."""

import socket
import struct

import wire
from wire import header, frame
from world import expect, expect_equal, wait_for


def _sends_and_is_hung_up_on(cluster, data):
    with cluster.connect() as c:
        try:
            c.send(data)
        except wire.Closed:
            return
        expect(c.closes(), "the server answers instead of hanging up")


def negative_length(cluster):
    _sends_and_is_hung_up_on(cluster, struct.pack(">i", -1) + b"x" * 100)
    _sends_and_is_hung_up_on(cluster, struct.pack(">i", -2**31))


def length_above_socket_request_max_bytes(cluster):
    cluster.mark_log(1)
    before = cluster.memory_mb(1)
    for length in (104857601, 2**31 - 1):
        _sends_and_is_hung_up_on(cluster, frame(b"x" * 100, length))
    expect(cluster.memory_mb(1) < before + 50, "memory for it was allocated")
    expect(cluster.log_has(1, "127.0.0.1 ended: .*large"),
           "the log does not say why")


def announced_but_never_sent_takes_no_memory(cluster):
    before = cluster.memory_mb(1)
    connections = [cluster.connect() for _ in range(50)]
    for c in connections:
        c.send(frame(header(wire.PRODUCE, 3), 100 << 20))
    cluster.verify()
    grown = cluster.memory_mb(1) - before
    for c in connections:
        c.close()
    expect(grown < 200, "50 announced frames of 100 MB took", grown, "MB")


def zero_length(cluster):
    _sends_and_is_hung_up_on(cluster, frame(b""))


def header_cut_short(cluster):
    whole = header(wire.METADATA, 1)
    for length in range(1, len(whole)):
        _sends_and_is_hung_up_on(cluster, frame(whole[:length]))


def client_id_longer_than_the_frame(cluster):
    _sends_and_is_hung_up_on(
        cluster, frame(struct.pack(">hhih", 3, 1, 1, 30000) + b"abc"))


def body_cut_short_at_every_byte(cluster):
    batch = wire.batch([b"never"])
    body = wire.produce_body("ledger", 0, batch)
    for length in range(len(body) - len(batch)):
        _sends_and_is_hung_up_on(
            cluster, frame(header(wire.PRODUCE, 3) + body[:length]))


def stream_that_ends_inside_a_frame(cluster):
    data = frame(header(wire.PRODUCE, 3) +
                 wire.produce_body("ledger", 0, wire.batch([b"never"])))
    for length in (1, 3, 4, 5, 20, len(data) - 1):
        with cluster.connect() as c:
            c.send(data[:length])
            c.socket.shutdown(socket.SHUT_WR)
            expect(c.closes(), "half a frame is answered")
        c = cluster.connect()
        c.send(data[:length])
        c.reset()


def unknown_api(cluster):
    for key in (-1, 4, 99, 1000, 20000, 20001, 32767, -32768):
        _sends_and_is_hung_up_on(cluster, frame(header(key, 0)))


def unknown_version(cluster):
    with cluster.connect() as c:
        served = c.api_versions()
    for key, (low, high) in served.items():
        if key == wire.API_VERSIONS:
            continue
        for version in (-1, high + 1, 32767):
            _sends_and_is_hung_up_on(cluster, frame(header(key, version)))


def unknown_version_of_api_versions_is_answered_in_version_0(cluster):
    for version in (5, 99, 32767):
        with cluster.connect() as c:
            answer = c.call(wire.API_VERSIONS, version, b"\0")
            expect_equal(answer.take("h"), wire.UNSUPPORTED_VERSION, "error")
            found = {key: (low, high) for key, low, high in
                     answer.array(lambda: answer.take("hhh"))}
            expect(found[wire.API_VERSIONS][1] >= 3, "no list of versions")
            expect(c.api_versions() == found, "the connection goes on")


def counts_that_the_body_cannot_hold(cluster):
    for count in (2**31 - 1, 1 << 24, 1000, -2, -2**31):
        number = struct.pack(">i", count)
        before = cluster.memory_mb(1)
        for key, version, body in (
                (wire.METADATA, 1, number),
                (wire.PRODUCE, 3, struct.pack(">hhi", -1, 1, 0) + number),
                (wire.FETCH, 4, struct.pack(">iiiib", -1, 0, 0, 1, 0) +
                 number),
                (wire.CREATE_TOPICS, 1, number)):
            _sends_and_is_hung_up_on(cluster,
                                     frame(header(key, version) + body))
        expect(cluster.memory_mb(1) < before + 100, "count", count,
               "takes memory")


def millions_of_empty_elements(cluster):
    """An element of one byte must not become a large struct each."""
    before = cluster.memory_mb(1)
    body = struct.pack(">i", 1 << 24) + b"\0\0" * (1 << 24)
    with cluster.connect() as c:
        c.send(frame(header(wire.METADATA, 1) + body))
        try:
            c.answer()
        except wire.Closed:
            pass
    wait_for("memory back", lambda: cluster.memory_mb(1) < before + 400)


def other_protocols(cluster):
    _sends_and_is_hung_up_on(cluster, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    _sends_and_is_hung_up_on(cluster, bytes.fromhex(
        "16030100a5010000a10303") + b"\0" * 160)
    _sends_and_is_hung_up_on(cluster, b"SSH-2.0-OpenSSH_9.2\r\n")


def bytes_behind_the_last_field(cluster):
    """Kafka's parser leaves them unread; a request is a request."""
    with cluster.connect() as c:
        try:
            c.call(wire.API_VERSIONS, 0, b"more")
        except wire.Closed:
            pass
