"""Record batches and message sets, written and read without our C code."""

import gzip
import struct
import zlib


def crc32c_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
        table.append(n)
    return table


TABLE = crc32c_table()


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xffffffff


def zigzag(n):
    n = (n << 1) ^ (n >> 63)
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def sized(data):
    return zigzag(-1) if data is None else zigzag(len(data)) + data


def batch(records, timestamp=1000, producer=(-1, -1, -1), compress=False,
          attributes=0, damage=False):
    """A batch v2 of (key, value) pairs, a millisecond apart."""
    body = b""
    for i, (key, value) in enumerate(records):
        one = b"\0" + zigzag(i) + zigzag(i) + sized(key) + sized(value) + \
            zigzag(1) + sized(b"h") + sized(b"x")
        body += zigzag(len(one)) + one
    if compress:
        body = gzip.compress(body, mtime=0)
    last = len(records) - 1
    tail = struct.pack(">hiqqqhii", attributes | compress, last, timestamp,
                       timestamp + last, *producer, len(records)) + body
    crc = crc32c(tail) ^ damage
    return struct.pack(">qiibI", 0, 9 + len(tail), -1, 2, crc) + tail


def message(magic, offset, key, value, timestamp=1000, attributes=0):
    def field(data):
        return struct.pack(">i", -1) if data is None \
            else struct.pack(">i", len(data)) + data
    body = struct.pack(">bb", magic, attributes)
    if magic:
        body += struct.pack(">q", timestamp)
    body += field(key) + field(value)
    return struct.pack(">qiI", offset, 4 + len(body), zlib.crc32(body)) + body


def message_set(magic, records, timestamp=1000, compress=False):
    inner = b"".join(message(magic, i, k, v, timestamp + i)
                     for i, (k, v) in enumerate(records))
    if not compress:
        return inner
    return message(magic, len(records) - 1, None, gzip.compress(inner, mtime=0),
                   timestamp, 1)


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        self.at += n
        return self.data[self.at - n:self.at]

    def varint(self):
        n = shift = 0
        while True:
            byte = self.take(1)[0]
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n >> 1 ^ -(n & 1)

    def sized(self):
        n = self.varint()
        return None if n < 0 else self.take(n)


def read(data, magic):
    """[(offset, timestamp, key, value)] of batches or sets; CRCs are checked.
    A cut-off entry at the end is left alone, as consumers do."""
    out, at = [], 0
    while at + 12 <= len(data):
        base, size = struct.unpack_from(">qi", data, at)
        if at + 12 + size > len(data):
            break
        entry = data[at:at + 12 + size]
        at += 12 + size
        assert entry[16] == magic, "magic %d instead of %d" % (entry[16], magic)
        out += read_batch(entry, base) if magic == 2 \
            else read_message(entry, base, magic)
    return out


TRANSACTIONAL, CONTROL = 0x10, 0x20


def batches(data):
    """[(attributes, producer id, records)] of whole batches of magic 2."""
    out, at = [], 0
    while at + 12 <= len(data):
        base, size = struct.unpack_from(">qi", data, at)
        if at + 12 + size > len(data):
            break
        entry = data[at:at + 12 + size]
        at += 12 + size
        attributes, = struct.unpack_from(">h", entry, 21)
        producer, = struct.unpack_from(">q", entry, 43)
        out.append((attributes, producer, read_batch(entry, base)))
    return out


def committed(data, aborted):
    """What a consumer of committed records makes of an answer: the records
    that are neither markers nor of an aborted transaction."""
    waiting = sorted(aborted or [], key=lambda a: a["firstOffset"])
    out, off = [], set()
    for attributes, producer, records in batches(data):
        while waiting and waiting[0]["firstOffset"] <= records[-1][0]:
            off.add(waiting.pop(0)["producerId"])
        if attributes & CONTROL:
            if struct.unpack_from(">h", records[0][2], 2)[0] == 0:
                off.discard(producer)
        elif not (attributes & TRANSACTIONAL and producer in off):
            out += records
    return out


def read_batch(entry, base):
    crc, = struct.unpack_from(">I", entry, 17)
    assert crc == crc32c(entry[21:]), "a wrong CRC-32C"
    attributes, _, first = struct.unpack_from(">hiq", entry, 21)
    count, = struct.unpack_from(">i", entry, 57)
    body = entry[61:]
    if attributes & 7:
        assert attributes & 7 == 1
        body = gzip.decompress(body)
    cursor, out = Cursor(body), []
    for _ in range(count):
        cursor.varint()
        cursor.take(1)
        time, delta = cursor.varint(), cursor.varint()
        key, value = cursor.sized(), cursor.sized()
        for _ in range(cursor.varint()):
            cursor.sized(), cursor.sized()
        out.append((base + delta, first + time, key, value))
    assert cursor.at == len(body), "bytes behind the records"
    return out


def read_message(entry, offset, magic):
    crc, = struct.unpack_from(">I", entry, 12)
    assert crc == zlib.crc32(entry[16:]), "a wrong CRC-32"
    attributes, at, timestamp = entry[17], 18, -1
    if magic:
        timestamp, = struct.unpack_from(">q", entry, at)
        at += 8
    fields = []
    for _ in range(2):
        n, = struct.unpack_from(">i", entry, at)
        at += 4
        fields.append(None if n < 0 else entry[at:at + n])
        at += max(n, 0)
    if not attributes & 7:
        return [(offset, timestamp, *fields)]
    inner = read(gzip.decompress(fields[1]), magic)
    if magic:
        shift = offset - inner[-1][0]
        inner = [(o + shift, *rest) for o, *rest in inner]
    return inner
