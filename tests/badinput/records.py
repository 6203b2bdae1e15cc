"""Record batches that no producer should send."""

import gzip
import os
import struct
import zlib

import wire
from wire import batch, message
from world import expect, expect_equal

TOPIC = "records"
REFUSED = (wire.CORRUPT_MESSAGE, wire.INVALID_RECORD,
           wire.UNSUPPORTED_FOR_MESSAGE_FORMAT)


def _refused(cluster, records, *errors, version=3, acks=-1):
    """The produce is answered with one of the errors, and leaves no trace."""
    cluster.create(TOPIC)
    with cluster.connect(cluster.leader(TOPIC)) as c:
        before = c.earliest_and_latest(TOPIC, 0)
        error, offset = c.produce(TOPIC, 0, records, acks, version)
        expect(error in errors, "error", error, "instead of", errors)
        expect_equal(offset, -1, "offset of a refused batch")
        expect_equal(c.earliest_and_latest(TOPIC, 0), before, "offsets")
        # The connection is as good as before.
        expect_equal(c.produce(TOPIC, 0, batch([b"good"]))[0], 0, "error")


def wrong_crc(cluster):
    _refused(cluster, batch([b"a"], crc=1), wire.CORRUPT_MESSAGE)


def flipped_bit_anywhere(cluster):
    good = batch([b"some value"])
    # Offset and leader epoch are the broker's own to fill in; a length that
    # differs is another matter.
    for at in [16] + list(range(17, len(good), 3)):
        bad = bytearray(good)
        bad[at] ^= 0x10
        _refused(cluster, bytes(bad), *REFUSED)


def wrong_magic(cluster):
    for magic in (3, 127, -1):
        _refused(cluster, batch([b"a"], magic=magic), *REFUSED)


def wrong_count(cluster):
    for count in (0, 1, 3, 1000, 2**31 - 1, -1):
        _refused(cluster, batch([b"a", b"b"], count=count, last_delta=1),
                 *REFUSED)


def wrong_last_offset_delta(cluster):
    for last in (0, 2, 2**31 - 1, -1):
        _refused(cluster, batch([b"a", b"b"], last_delta=last), *REFUSED)


def wrong_record_lengths(cluster):
    whole = wire.record(0, b"value")
    for payload in (whole[:-1], whole + b"x", b"", b"\xff" * 12,
                    wire.varint(2**31 - 1) + whole[1:],
                    wire.varint(-5) + whole[1:]):
        _refused(cluster, batch([b"value"], payload=payload), *REFUSED)


def batch_cut_short(cluster):
    good = batch([b"a"])
    for length in (1, 11, 12, 17, 60, len(good) - 1):
        _refused(cluster, good[:length], *REFUSED)


def batch_length_beyond_the_records(cluster):
    good = batch([b"a"])
    for length in (2**31 - 1, len(good) + 100, 0, -1, 48):
        _refused(cluster, good[:8] + struct.pack(">i", length) + good[12:],
                 *REFUSED)


def two_batches_in_one_produce(cluster):
    _refused(cluster, batch([b"a"]) + batch([b"b"]), *REFUSED)


def no_records(cluster):
    cluster.create(TOPIC)
    for records in (b"", None):
        with cluster.connect(cluster.leader(TOPIC)) as c:
            try:
                error, _ = c.produce(TOPIC, 0, records)
                expect(error in REFUSED, "error", error)
            except wire.Closed:
                pass


def control_batch_from_a_client(cluster):
    _refused(cluster, batch([b"a"], attributes=0x20), *REFUSED)


def unknown_compression(cluster):
    for codec in (5, 6, 7):
        _refused(cluster, batch([b"a"], attributes=codec), *REFUSED, 76)


def _stored(cluster, topic, records):
    """A batch that the broker keeps without unpacking it, at offset 0."""
    cluster.create(topic)
    with cluster.connect(cluster.leader(topic)) as c:
        expect_equal(c.produce(topic, 0, records, version=7), (0, 0),
                     "produce")


def _unpacking_it_fails(cluster, topic):
    """Who needs the records' insides gets an error, others the batch."""
    leader = cluster.leader(topic)
    before = cluster.memory_mb(leader)
    with cluster.connect(leader) as c:
        # A client that reads message sets.
        answer = c.call(wire.FETCH, 2, struct.pack(">iii", -1, 0, 1) +
                        wire.array([wire.string(topic) + wire.array([
                            struct.pack(">iqi", 0, 0, 1 << 20)])]))
        answer.take("i"), answer.take("i"), answer.string(), answer.take("i")
        error = answer.take("ihq")[1]
        records = answer.bytes(answer.take("i"))
        expect(error in REFUSED or not records, "fetch 2 answers", error,
               "and", len(records), "bytes")
        # A search by time.
        answer = c.call(wire.LIST_OFFSETS, 1, struct.pack(">i", -1) +
                        wire.array([wire.string(topic) + wire.array([
                            struct.pack(">iq", 0, 1)])]))
        expect_equal(c.fetch(topic, 0, 0)[:2], (0, 1), "fetch")
    grown = cluster.memory_mb(leader) - before
    expect(grown < 700, "the broker grew by", grown, "MB")


def compressed_bytes_that_are_none(cluster):
    for codec in (1, 2, 3, 4):
        topic = "garbage-%d" % codec
        _stored(cluster, topic, batch([b"a"], attributes=codec,
                                      payload=os.urandom(100)))
        _unpacking_it_fails(cluster, topic)


def _gzip_bomb():
    """900 KB that unfold to 900 MB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    payload = packer.compress(
        wire.varint(900 << 20) + b"\0" + wire.varint(0) * 2 +
        wire.varint(-1) + wire.varint((900 << 20) - 20))
    for _ in range(900):
        payload += packer.compress(bytes(1 << 20))
    return batch([b"a"], attributes=1, payload=payload + packer.flush())


def gzip_bomb_for_those_who_unpack_it(cluster):
    _stored(cluster, "bomb", _gzip_bomb())
    _unpacking_it_fails(cluster, "bomb")


def gzip_bomb_where_the_topic_has_its_own_compression(cluster):
    topic = "repacked"
    cluster.create(topic, configs=[("compression.type", "lz4")])
    leader = cluster.leader(topic)
    before = cluster.memory_mb(leader)
    with cluster.connect(leader) as c:
        error, _ = c.produce(topic, 0, _gzip_bomb())
        expect(error in REFUSED + (wire.MESSAGE_TOO_LARGE,), "error", error)
    grown = cluster.memory_mb(leader) - before
    expect(grown < 700, "the broker grew by", grown, "MB")


def many_gzip_bombs_in_one_request(cluster):
    """Each may be as large as it is, but not all of them together."""
    topic, partitions = "bombs", 12
    cluster.create(topic, partitions=partitions,
                   configs=[("compression.type", "lz4")])
    payload = gzip.compress(wire.record(0, bytes(100 << 20)))
    bomb = batch([b"a"], attributes=1, payload=payload)
    leader = cluster.leader(topic)
    led = [p for p in range(partitions) if cluster.leader(topic, p) == leader]
    with cluster.connect(leader) as c:
        answer = c.call(wire.PRODUCE, 3, struct.pack(">hhi", -1, -1, 30000) +
                        wire.array([wire.string(topic) + wire.array([
                            struct.pack(">ii", p, len(bomb)) + bomb
                            for p in led])]))
        answer.take("i"), answer.string()
        errors = [answer.take("ihqq")[1] for _ in range(answer.take("i"))]
        expect_equal(len(errors), len(led), "answers")
        expect_equal(set(errors), {0, wire.MESSAGE_TOO_LARGE}, "errors")
        for p in led:
            error, _ = c.produce(topic, p, bomb, timeout_ms=30000)
            expect_equal(error, 0, "error of one alone")


def nested_gzip_bomb_in_old_message_sets(cluster):
    """A compressed message inside a compressed message, many times over."""
    inner = message(bytes(10 << 20))
    for _ in range(4):
        inner = message(gzip.compress(inner), codec=1)
    _refused(cluster, message(gzip.compress(inner * 50), codec=1), *REFUSED,
             wire.MESSAGE_TOO_LARGE, version=2)


def old_message_with_a_wrong_crc(cluster):
    _refused(cluster, message(b"value", crc=1), *REFUSED, version=2)


def old_message_cut_short(cluster):
    good = message(b"value")
    for length in (5, 12, 20, len(good) - 1):
        _refused(cluster, good[:length], *REFUSED, version=2)


def old_message_with_impossible_lengths(cluster):
    good = message(b"value")
    for at in (8, len(good) - 13, len(good) - 9):
        for length in (2**31 - 1, -2**31, -2):
            bad = bytearray(good)
            struct.pack_into(">i", bad, at, length)
            bad[12:16] = struct.pack(">I", zlib.crc32(bytes(bad[16:])))
            _refused(cluster, bytes(bad), *REFUSED, wire.MESSAGE_TOO_LARGE,
                     version=2)


def batch_above_max_message_bytes(cluster):
    _refused(cluster, batch([bytes(2 << 20)]), wire.MESSAGE_TOO_LARGE)


def acks_that_do_not_exist(cluster):
    for acks in (2, -2, 32767):
        _refused(cluster, batch([b"a"]), wire.INVALID_REQUIRED_ACKS,
                 acks=acks)


def acks_0_hangs_up_on_a_bad_batch(cluster):
    cluster.create(TOPIC)
    with cluster.connect(cluster.leader(TOPIC)) as c:
        c.post(wire.PRODUCE, 3,
               wire.produce_body(TOPIC, 0, batch([b"a"], crc=1), acks=0))
        expect(c.closes(), "no hang-up")


def partition_that_does_not_exist(cluster):
    cluster.create(TOPIC)
    for partition in (1, -1, 2**31 - 1, -2**31):
        with cluster.connect() as c:
            expect_equal(c.produce(TOPIC, partition, batch([b"a"]))[0],
                         wire.UNKNOWN_TOPIC_OR_PARTITION, "produce")
            expect_equal(c.fetch(TOPIC, partition, 0)[0],
                         wire.UNKNOWN_TOPIC_OR_PARTITION, "fetch")


def offsets_outside_the_log(cluster):
    cluster.create(TOPIC)
    with cluster.connect(cluster.leader(TOPIC)) as c:
        for offset in (-1, -2**63, 2**62, 2**63 - 1):
            expect_equal(c.fetch(TOPIC, 0, offset)[0],
                         wire.OFFSET_OUT_OF_RANGE, "fetch at %d" % offset)


def fetch_with_impossible_limits(cluster):
    cluster.create(TOPIC)
    cluster.produce(TOPIC, [b"a"])
    with cluster.connect(cluster.leader(TOPIC)) as c:
        for limit in (0, -1, 2**31 - 1, -2**31):
            error, _, _ = c.fetch(TOPIC, 0, 0, min_bytes=limit,
                                  max_bytes=limit)
            expect_equal(error, 0, "fetch with limit %d" % limit)
