"""Requests with contents from the far ends, whole and with flipped bits.

Bodies are the protocol layer's test vectors: every request in every version,
with the smallest, largest and oddest values in its fields.  Nothing is
expected of an answer; the nodes must not fall over, and must serve.
"""

import os
import random
import re
import socket
import struct
import time

import wire
import world
from wire import frame, header
from world import expect

SECONDS = 15
SEED = int(os.environ.get("SEED", "1"))


def _flexible_from():
    """{api key: first version with compact fields}"""
    found = {}
    schemas = os.path.join(world.TOP, "proto", "kafka", "schema")
    for name in os.listdir(schemas):
        with open(os.path.join(schemas, name)) as file:
            text = file.read()
        key = re.search(r"^api \w+ (\d+)", text, re.M)
        first = re.search(r"^request versions \S+ flexible (\d+)", text, re.M)
        if key:
            found[int(key[1])] = int(first[1]) if first else 1 << 15
    return found


def _vectors():
    """[(key, version, body)] of requests, the smaller ones."""
    flexible, found = _flexible_from(), []
    path = os.path.join(world.TOP, "tests", "unit", "proto", "vectors.tsv")
    with open(path) as file:
        for line in file:
            key, _, kind, version, data = line.split("\t")[:5]
            if kind == "request":
                key, version = int(key), int(version)
                found.append((key, version, header(
                    key, version, 7, version >= flexible[key]) +
                    bytes.fromhex(data)))
    return found


class _Caller:
    """Sends; if the answer takes too long, somebody else's turn has come."""

    def __init__(self, port):
        self.port = port
        self.connection = None
        self.answered = self.hung_up = self.silent = 0

    def send(self, request):
        try:
            if self.connection is None:
                self.connection = wire.Connection(self.port, timeout=0.5)
            self.connection.send(frame(request))
            self.connection.answer()
            self.answered += 1
            return
        except (wire.Closed, ConnectionError):
            self.hung_up += 1
        except socket.timeout:
            self.silent += 1
        self.close()

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def _flip(rng, data, spare):
    """A few bits or bytes of data[spare:] changed."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(spare, len(data))
        how = rng.randrange(5)
        if how == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif how == 2 and at + 4 <= len(data):
            struct.pack_into(">i", data, at, rng.choice(
                (-1, 0, 1, 2**31 - 1, -2**31, 1 << 20)))
        elif how == 3:
            del data[at:at + rng.randrange(1, 9)]
        else:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        if len(data) <= spare:
            break
    return bytes(data)


def every_request_in_every_version(cluster):
    """To a broker; one of its topics is among the names they use."""
    cluster.create("payments.eu-1")
    vectors = _vectors()
    with cluster.connect() as c:
        served = c.api_versions()
    caller = _Caller(cluster.port)
    asked = set()
    for key, version, request in vectors:
        low, high = served.get(key, (0, -1))
        if low <= version <= high:
            asked.add((key, version))
            caller.send(request)
    caller.close()
    wanted = {(key, v) for key, (low, high) in served.items()
              for v in range(low, high + 1)}
    expect(asked == wanted, "no vectors for", sorted(wanted - asked))
    expect(caller.answered > len(vectors) / 4, "only", caller.answered, "of",
           len(vectors), "were answered")


def every_request_with_flipped_bits(cluster):
    rng = random.Random(SEED)
    vectors = [v for v in _vectors() if len(v[2]) < 20000]
    callers = [_Caller(cluster.port + i) for i in range(3)]
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        request = rng.choice(vectors)[2]
        rng.choice(callers).send(_flip(rng, request, 8))
    for caller in callers:
        caller.close()
    expect(sum(c.answered for c in callers) > 100, "hardly any is answered")


def batches_with_flipped_bits(cluster):
    """Their CRC mended, so that they reach what comes behind the check."""
    rng = random.Random(SEED)
    topic = "fuzzed"
    cluster.create(topic)
    leader = cluster.leader(topic)
    caller = _Caller(cluster.port + leader - 1)
    samples = [wire.batch([b"a" * n] * 3, codec=n % 2) for n in range(1, 40)]
    samples += [wire.message(b"b" * n) for n in range(1, 20)]
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        data = bytearray(_flip(rng, rng.choice(samples), 17))
        version = rng.choice((0, 1, 2, 3, 7))
        if data[16] == 2 and len(data) > 61:
            struct.pack_into(">i", data, 8, len(data) - 12)
            struct.pack_into(">I", data, 17, wire.crc32c(data[21:]))
        body = wire.produce_body(topic, 0, bytes(data))
        caller.send(header(wire.PRODUCE, version) +
                    (body if version >= 3 else body[2:]))
        # Old clients make the broker unpack what it has taken.
        if rng.randrange(8) == 0:
            caller.send(header(wire.FETCH, 2) + struct.pack(
                ">iii", -1, 0, 1) + wire.array([
                    wire.string(topic) + wire.array([struct.pack(
                        ">iqi", 0, rng.randrange(50), 100000)])]))
    caller.close()
    expect(caller.answered > 100, "hardly any is answered")


def requests_to_the_controller_with_flipped_bits(cluster):
    rng = random.Random(SEED)
    vectors = [v[2] for v in _vectors() if len(v[2]) < 5000]
    callers = [_Caller(cluster.port + 10000 + i) for i in range(3)]
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        request = rng.choice(vectors)
        if rng.randrange(2):
            request = _flip(rng, request, 8)
        rng.choice(callers).send(request)
    for caller in callers:
        caller.close()


def _protobuf(rng, depth=0):
    """Field numbers as our messages have them, values as nobody has them."""
    out = b""
    for _ in range(rng.randrange(0, 6)):
        number, how = rng.randrange(1, 12), rng.randrange(4)
        if how == 0:
            out += _key(number, 0) + _varint(rng.choice(
                (0, 1, 2, 3, 7, 127, 2**31 - 1, 2**31, 2**32, 2**63,
                 2**64 - 1)))
        elif how == 1 and depth < 4:
            inner = _protobuf(rng, depth + 1)
            out += _key(number, 2) + _varint(len(inner)) + inner
        elif how == 2:
            text = rng.choice((b"", b"x", b"\0" * 16, rng.randbytes(16),
                               b"ledger", b"\xff" * 300))
            out += _key(number, 2) + _varint(len(text)) + text
        else:
            out += rng.randbytes(rng.randrange(1, 4))
    return out


def _varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def _key(number, kind):
    return _varint(number << 3 | kind)


def garbage_between_controllers(cluster):
    """Raft frames without our cluster's id, well-formed or not."""
    rng = random.Random(SEED)
    deadline = time.monotonic() + SECONDS / 3
    while time.monotonic() < deadline:
        with cluster.connect_controller(rng.randrange(1, 4)) as c:
            try:
                for _ in range(50):
                    name = rng.choice(("raft-1", "raft-2", "raft-3", "raft-",
                                       "raft-99999999999", "kafka", ""))
                    body = rng.choice((b"", _protobuf(rng),
                                       rng.randbytes(rng.randrange(60))))
                    c.send(frame(struct.pack(">hhi", 20000, 0, 1) +
                                 wire.string(name) + body))
            except wire.Closed:
                pass


def garbage_calls_to_the_controller(cluster):
    """Control frames, well-formed or not; no cluster id is also one."""
    rng = random.Random(SEED)
    callers = [_Caller(cluster.port + 10000 + i) for i in range(3)]
    deadline = time.monotonic() + SECONDS / 2
    while time.monotonic() < deadline:
        inner = _protobuf(rng, 1)
        body = rng.choice((
            _protobuf(rng), rng.randbytes(rng.randrange(40)),
            _key(rng.randrange(2, 8), 2) + _varint(len(inner)) + inner))
        rng.choice(callers).send(
            struct.pack(">hhi", 20001, rng.choice((0, 0, 0, 1)), 1) +
            wire.string("badinput") + body)
    for caller in callers:
        caller.close()


def a_torn_frame_between_controllers(cluster):
    for node in (1, 2, 3):
        for data in (struct.pack(">hh", 20000, 0),
                     struct.pack(">hhih", 20000, 0, 1, 30000) + b"raft-1",
                     struct.pack(">hhih", 20001, 0, 1, 5), b"\x4e\x20"):
            with cluster.connect_controller(node) as c:
                c.send(frame(data))
                expect(c.closes(), "it is answered")
