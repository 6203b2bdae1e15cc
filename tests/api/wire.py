"""Kafka's messages between Python dicts and bytes, and a blocking connection.

A second implementation of the notation in proto/kafka/schema, sharing nothing
with the C codec but the schemas, so that a mistake in one shows in the other.
A message is a dict with the fields' names as Kafka's JSON writes them
(topicId); bytes stay bytes, uuids are 16 bytes.  A field that is not given has
its default; one that the version lacks is left out.
"""

import glob
import os
import socket
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "proto", "kafka"))
sys.dont_write_bytecode = True
import kmsg  # noqa: E402

SCHEMA = kmsg.load(glob.glob(os.path.join(TOP, "proto/kafka/schema/*.kmsg")))
APIS = {api.name: api for api in SCHEMA.apis}
BY_KEY = {api.key: api for api in SCHEMA.apis}
NUMBERS = {"int8": "b", "int16": "h", "uint16": "H", "int32": "i",
           "int64": "q", "float64": "d", "bool": "?"}
ANSWER_SECONDS = 15


class Malformed(Exception):
    """The bytes are not what the schema says."""


def within(versions, version):
    return versions is not None and versions[0] <= version <= versions[1]


def json_name(name):
    return name[0].lower() + name[1:]


def default(field):
    if field.default_null:
        return None
    if field.array:
        return []
    if field.struct:
        return {}
    if field.default is not None:
        return field.default == "true" if field.base == "bool" \
            else int(field.default, 0)
    return {"string": "", "bytes": b"", "records": None,
            "uuid": bytes(16)}.get(field.base, 0)


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


class Writer:
    def __init__(self, message, version):
        self.version = version
        self.flexible = message.flexible is not None and \
            version >= message.flexible

    def struct(self, s, value):
        unknown = set(value) - {json_name(f.name) for f in s.fields}
        assert not unknown, "%s has no %s" % (s.name, unknown)
        out, tags = b"", []
        for field in s.fields:
            if not within(field.versions, self.version):
                continue
            item = value.get(json_name(field.name), default(field))
            if field.tag is None:
                out += self.field(field, item)
            elif not self.is_default(field, item):
                tags.append((field.tag, self.field(field, item)))
        if self.flexible:
            out += varint(len(tags))
            for tag, data in sorted(tags):
                out += varint(tag) + varint(len(data)) + data
        return out

    def is_default(self, field, item):
        if item == default(field):
            return True
        return bool(field.struct and not field.array and item is not None and
                    self.struct(field.struct, item) ==
                    self.struct(field.struct, {}))

    def length(self, field, n):
        if self.flexible and not field.plain:
            return varint(n + 1)
        short = field.base == "string" and not field.array
        return struct.pack(">h" if short else ">i", n)

    def field(self, field, item):
        if not field.array:
            return self.one(field, item)
        if item is None:
            return varint(0) if self.flexible else b"\xff\xff\xff\xff"
        count = varint(len(item) + 1) if self.flexible \
            else struct.pack(">i", len(item))
        return count + b"".join(self.one(field, i, True) for i in item)

    def one(self, field, item, element=False):
        if field.struct:
            if element or not within(field.nullable, self.version):
                return self.struct(field.struct, item)
            if item is None:
                return b"\xff"
            return b"\x01" + self.struct(field.struct, item)
        if field.base == "uuid":
            return item
        if field.base in NUMBERS:
            return struct.pack(">" + NUMBERS[field.base], item)
        data = item.encode() if isinstance(item, str) else item
        if self.flexible and not field.plain:
            return varint(0) if data is None else varint(len(data) + 1) + data
        form = ">h" if field.base == "string" else ">i"
        return struct.pack(form, -1) if data is None \
            else struct.pack(form, len(data)) + data


class Reader:
    def __init__(self, message, version, data):
        self.version = version
        self.flexible = message.flexible is not None and \
            version >= message.flexible
        self.data = data
        self.at = 0

    def take(self, n):
        if n < 0 or self.at + n > len(self.data):
            raise Malformed("%d bytes at %d of %d" %
                            (n, self.at, len(self.data)))
        self.at += n
        return self.data[self.at - n:self.at]

    def unpack(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(form)))[0]

    def varint(self):
        n = shift = 0
        while True:
            byte = self.take(1)[0]
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n
            if shift > 28:
                raise Malformed("an endless varint")

    def struct(self, s):
        here = [f for f in s.fields if within(f.versions, self.version)]
        out = {json_name(f.name): self.field(f) for f in here if f.tag is None}
        if self.flexible:
            out.update(self.tags({f.tag: f for f in here
                                  if f.tag is not None}))
        return out

    def tags(self, known):
        out = {json_name(f.name): default(f) for f in known.values()}
        last = -1
        for _ in range(self.varint()):
            tag, size = self.varint(), self.varint()
            if tag <= last:
                raise Malformed("tags that do not rise")
            last, end = tag, self.at + size
            if tag not in known:
                raise Malformed("an unknown tag %d" % tag)
            out[json_name(known[tag].name)] = self.field(known[tag])
            if self.at != end:
                raise Malformed("tag %d is not %d bytes" % (tag, size))
        return out

    def field(self, field):
        if not field.array:
            return self.one(field)
        count = self.varint() - 1 if self.flexible else self.unpack("i")
        if count < 0:
            return self.null(field)
        return [self.one(field, True) for _ in range(count)]

    def null(self, field):
        if not within(field.nullable, self.version):
            raise Malformed("null in %s" % field.name)
        return None

    def one(self, field, element=False):
        if field.struct:
            if not element and within(field.nullable, self.version) \
                    and self.unpack("b") < 0:
                return None
            return self.struct(field.struct)
        if field.base == "uuid":
            return self.take(16)
        if field.base in NUMBERS:
            return self.unpack(NUMBERS[field.base])
        if self.flexible and not field.plain:
            n = self.varint() - 1
        else:
            n = self.unpack("h" if field.base == "string" else "i")
        if n < 0:
            return self.null(field)
        data = self.take(n)
        return data.decode() if field.base == "string" else data


def encode(message, version, value):
    return Writer(message, version).struct(message.root, value)


def decode(message, version, data):
    reader = Reader(message, version, data)
    value = reader.struct(message.root)
    if reader.at != len(data):
        raise Malformed("%d bytes are left over" % (len(data) - reader.at))
    return value


def flexible(message, version):
    return message.flexible is not None and version >= message.flexible


def request_frame(api, version, correlation, value, client="sweep"):
    """A request with its header, without the size in front."""
    name = struct.pack(">h", -1) if client is None else \
        struct.pack(">h", len(client)) + client.encode()
    head = struct.pack(">hhi", api.key, version, correlation) + name
    if flexible(api.request, version):
        head += b"\0"
    return head + encode(api.request, version, value)


class Connection:
    """One request after the other."""

    def __init__(self, host, port, client_id="sweep", source=None):
        self.client_id = client_id
        self.socket = socket.create_connection(
            (host, port), 10, (source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(ANSWER_SECONDS)
        self.correlation = 0

    def close(self):
        self.socket.close()

    def receive(self, n):
        out = b""
        while len(out) < n:
            more = self.socket.recv(n - len(out))
            if not more:
                raise OSError("the connection was closed")
            out += more
        return out

    def send(self, name, version, value):
        self.correlation += 1
        frame = request_frame(APIS[name], version, self.correlation, value,
                              self.client_id)
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)

    def answer(self, name, version):
        size, = struct.unpack(">i", self.receive(4))
        data = self.receive(size)
        got, = struct.unpack(">i", data[:4])
        if got != self.correlation:
            raise Malformed("correlation id %d instead of %d" %
                            (got, self.correlation))
        data = data[4:]
        api = APIS[name]
        if flexible(api.response, version) and name != "ApiVersions":
            if data[:1] != b"\0":
                raise Malformed("tags in the header")
            data = data[1:]
        return decode(api.response, version, data)

    def call(self, name, version, value):
        self.send(name, version, value)
        return self.answer(name, version)
