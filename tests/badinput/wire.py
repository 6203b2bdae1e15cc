"""As much of the Kafka protocol as it takes to misuse it.

Requests are written out by hand in old versions without compact fields, so
that a check can bend any byte of them.
"""

import gzip
import socket
import struct

PRODUCE, FETCH, LIST_OFFSETS, METADATA = 0, 1, 2, 3
API_VERSIONS, CREATE_TOPICS = 18, 19

NONE = 0
OFFSET_OUT_OF_RANGE = 1
CORRUPT_MESSAGE = 2
UNKNOWN_TOPIC_OR_PARTITION = 3
NOT_LEADER_OR_FOLLOWER = 6
MESSAGE_TOO_LARGE = 10
INVALID_TOPIC_EXCEPTION = 17
NOT_ENOUGH_REPLICAS = 19
INVALID_REQUIRED_ACKS = 21
UNSUPPORTED_VERSION = 35
TOPIC_ALREADY_EXISTS = 36
INVALID_PARTITIONS = 37
INVALID_REPLICATION_FACTOR = 38
INVALID_REQUEST = 42
UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
POLICY_VIOLATION = 44
KAFKA_STORAGE_ERROR = 56
INVALID_RECORD = 87


class Closed(Exception):
    """The server hung up."""


# ---- CRC-32C --------------------------------------------------------------


def crc_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    return table


CRC_TABLE = crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


# ---- records --------------------------------------------------------------


def varint(n):
    n = n << 1 ^ n >> 63
    out = bytearray()
    while n & ~0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def read_varint(data, at):
    shift = n = 0
    while True:
        byte = data[at]
        at += 1
        n |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return n >> 1 ^ -(n & 1), at


def record(delta, value):
    body = b"\0" + varint(0) + varint(delta) + varint(-1) + \
        varint(len(value)) + value + varint(0)
    return varint(len(body)) + body


def batch(values, magic=2, codec=0, count=None, last_delta=None, crc=None,
          payload=None, attributes=0, timestamp=1700000000000):
    """A batch of format 2; the keywords bend it."""
    if payload is None:
        payload = b"".join(record(i, v) for i, v in enumerate(values))
        if codec == 1:
            payload = gzip.compress(payload)
    count = len(values) if count is None else count
    last = count - 1 if last_delta is None else last_delta
    tail = struct.pack(">hiqqqhii", attributes | codec, last, timestamp,
                       timestamp, -1, -1, -1, count) + payload
    crc = crc32c(tail) if crc is None else crc
    return struct.pack(">qiibI", 0, 9 + len(tail), 0, magic, crc) + tail


def message(value, magic=1, codec=0, crc=None):
    """One message of the old formats, as a message set of one."""
    import zlib
    body = struct.pack(">bb", magic, codec)
    if magic == 1:
        body += struct.pack(">q", 1700000000000)
    body += struct.pack(">ii", -1, len(value)) + value
    crc = zlib.crc32(body) if crc is None else crc
    return struct.pack(">qiI", 0, 4 + len(body), crc) + body


def batches(data):
    """(base offset, values or None if the CRC is wrong) of whole batches."""
    at = 0
    while at + 61 <= len(data):
        base, length = struct.unpack_from(">qi", data, at)
        end = at + 12 + length
        if length < 49 or end > len(data):
            return
        crc, = struct.unpack_from(">I", data, at + 17)
        if crc32c(data[at + 21:end]) != crc:
            yield base, None
            return
        count, = struct.unpack_from(">i", data, at + 57)
        values, p = [], at + 61
        for _ in range(count):
            size, p = read_varint(data, p)
            after = p + size
            p += 1
            _, p = read_varint(data, p)
            _, p = read_varint(data, p)
            key, p = read_varint(data, p)
            p += max(key, 0)
            size, p = read_varint(data, p)
            values.append(data[p:p + size])
            p = after
        yield base, values
        at = end


# ---- requests -------------------------------------------------------------


def string(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack(">h", len(data)) + data


def array(items):
    return struct.pack(">i", len(items)) + b"".join(items)


def header(key, version, correlation=1, flexible=False):
    return struct.pack(">hhi", key, version, correlation) + \
        string("badinput") + (b"\0" if flexible else b"")


def frame(body, length=None):
    return struct.pack(">i", len(body) if length is None else length) + body


def produce_body(topic, partition, records, acks=-1, timeout_ms=10000):
    data = b"\xff\xff\xff\xff" if records is None else \
        struct.pack(">i", len(records)) + records
    return struct.pack(">hhi", -1, acks, timeout_ms) + array([
        string(topic) + array([struct.pack(">i", partition) + data])])


def fetch_body(topic, partition, offset, max_wait_ms=0, min_bytes=1,
               max_bytes=1 << 20):
    return struct.pack(">iiiib", -1, max_wait_ms, min_bytes, 50 << 20, 0) + \
        array([string(topic) + array([
            struct.pack(">iqi", partition, offset, max_bytes)])])


def create_body(name, partitions=1, replicas=3, configs=(), copies=1):
    topic = string(name) + struct.pack(">ihi", partitions, replicas, 0) + \
        array([string(k) + string(v) for k, v in configs])
    return array([topic] * copies) + struct.pack(">i", 30000)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return values[0] if len(values) == 1 else values

    def bytes(self, length):
        data = self.data[self.at:self.at + max(length, 0)]
        self.at += max(length, 0)
        return data

    def string(self):
        return self.bytes(self.take("h")).decode()

    def array(self, item):
        return [item() for _ in range(self.take("i"))]


class Connection:
    """One TCP connection to a node."""

    def __init__(self, port, timeout=30):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Ends the connection with a RST instead of a FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                               struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed() from error

    def receive(self, length):
        data = bytearray()
        while len(data) < length:
            try:
                piece = self.socket.recv(min(length - len(data), 1 << 20))
            except ConnectionResetError as error:
                raise Closed() from error
            if not piece:
                raise Closed()
            data += piece
        return bytes(data)

    def answer(self):
        return self.receive(struct.unpack(">i", self.receive(4))[0])

    def post(self, key, version, body):
        self.correlation += 1
        self.send(frame(header(key, version, self.correlation) + body))
        return self.correlation

    def call(self, key, version, body):
        correlation = self.post(key, version, body)
        answer = Reader(self.answer())
        got = answer.take("i")
        assert got == correlation, "answer %d to request %d" % (
            got, correlation)
        return answer

    def closes(self):
        """True if the server hangs up instead of answering."""
        try:
            self.answer()
        except Closed:
            return True
        return False

    # -- requests -----------------------------------------------------------

    def produce(self, topic, partition, records, acks=-1, version=3,
                timeout_ms=10000):
        """(error, base offset); records are bytes of batches."""
        body = produce_body(topic, partition, records, acks, timeout_ms)
        if version < 3:
            body = body[2:]
        answer = self.call(PRODUCE, version, body)
        answer.take("i"), answer.string(), answer.take("i")
        _, error, offset = answer.take("ihq")
        return error, offset

    def fetch(self, topic, partition, offset, **options):
        """(error, high watermark, bytes of batches)"""
        answer = self.call(FETCH, 4,
                           fetch_body(topic, partition, offset, **options))
        answer.take("i"), answer.take("i"), answer.string(), answer.take("i")
        _, error, high_watermark, _ = answer.take("ihqq")
        for _ in range(max(answer.take("i"), 0)):
            answer.take("qq")
        return error, high_watermark, answer.bytes(answer.take("i"))

    def create(self, name, partitions=1, replicas=3, configs=(), copies=1):
        answer = self.call(CREATE_TOPICS, 1,
                           create_body(name, partitions, replicas, configs,
                                       copies) + b"\0")
        errors = []
        for _ in range(answer.take("i")):
            answer.string()
            errors.append(answer.take("h"))
            answer.bytes(answer.take("h"))
        return errors[0]

    def metadata(self, topics=None):
        """{topic: (error, {partition: (error, leader, isr)})}"""
        body = struct.pack(">i", -1) if topics is None else \
            array([string(t) for t in topics])
        answer = self.call(METADATA, 1, body)
        for _ in range(answer.take("i")):
            answer.take("i"), answer.string(), answer.take("i")
            answer.bytes(answer.take("h"))
        answer.take("i")
        found = {}
        for _ in range(answer.take("i")):
            error, name = answer.take("h"), answer.string()
            answer.take("b")
            partitions = {}
            for _ in range(answer.take("i")):
                wrong, index, leader = answer.take("hii")
                answer.array(lambda: answer.take("i"))
                isr = answer.array(lambda: answer.take("i"))
                partitions[index] = wrong, leader, isr
            found[name] = error, partitions
        return found

    def earliest_and_latest(self, topic, partition):
        found = []
        for timestamp in (-2, -1):
            answer = self.call(LIST_OFFSETS, 1, struct.pack(">i", -1) + array([
                string(topic) + array([
                    struct.pack(">iq", partition, timestamp)])]))
            answer.take("i"), answer.string(), answer.take("i")
            _, error, _, offset = answer.take("ihqq")
            assert error == 0, "ListOffsets answers %d" % error
            found.append(offset)
        return found

    def api_versions(self):
        """{key: (min, max)}"""
        answer = self.call(API_VERSIONS, 0, b"")
        assert answer.take("h") == 0
        return {key: (low, high) for key, low, high in
                answer.array(lambda: answer.take("hhh"))}
