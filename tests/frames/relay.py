#!/usr/bin/env python3
"""A relay between clients and brokers that keeps the frames it passes on.

A frame is an int32 size and that many bytes.  The relay changes nothing: the
brokers advertise its ports, so clients come back to it by themselves.  Frames
are only looked at: what cannot be understood is passed on all the same, and
noted in the Keeper's `strange`.

A Keeper keeps one request and one response for each client, API, version and
form of the records inside.  Of several it keeps the largest that is not larger
than ENOUGH bytes, and if all are larger the smallest: a frame with something in
it, yet a short one.

From the shell, for one look at what a program says:

    tests/frames/relay.py 19092:9092 19093:9093

prints client, API key, version, direction and hex of every frame that passes;
the brokers' advertised.listeners must name the ports on the left.
"""

import asyncio
import struct
import sys
import threading

ENOUGH = 400
LARGEST = 128 * 1024 * 1024

PRODUCE, FETCH = 0, 1


class Frame:
    """One frame, whole, with the request it belongs to."""

    def __init__(self, key, version, direction, client_id, data):
        self.key = key
        self.version = version
        self.direction = direction  # "request" or "response"
        self.client_id = client_id
        self.data = data

    def forms(self):
        """Formats of the records inside and, if it is the client who wrote
        them, their compressions: "v2-lz4"; "" without records."""
        if (self.key, self.direction) == (PRODUCE, "request"):
            return "+".join(sorted(record_forms(self.data)))
        if (self.key, self.direction) == (FETCH, "response"):
            return "+".join(sorted({form.partition("-")[0] for form in
                                    record_forms(self.data)}))
        return ""


def record_forms(data):
    """Finds batches and messages by what their first bytes have to be.

    This only sorts frames, so a guess will do: offset 0 or more, a size that
    fits, a magic number, attributes that exist.
    """
    names = ("none", "gzip", "snappy", "lz4", "zstd")
    found = set()
    at = 12
    misses = 0
    while at + 26 <= len(data) and misses < 2000:
        offset, size = struct.unpack_from(">qi", data, at)
        if 0 <= offset < 1 << 32 and 14 <= size <= len(data) - at - 12:
            magic = data[at + 16]
            if magic == 2 and size >= 49 and data[at + 21] == 0 and \
                    data[at + 22] & 7 < 5:
                found.add("v2-" + names[data[at + 22] & 7])
                at += 12 + size
                continue
            # Offset 0 is all zeros, and so is much else: ask for a key or
            # value length that fits, too.
            if magic in (0, 1) and data[at + 17] & 7 < 4:
                key_at = at + 18 + 8 * magic
                key_len, = struct.unpack_from(">i", data + b"\0\0\0\0", key_at)
                rest = size - 14 - 8 * magic
                if -1 <= key_len <= rest and message_fits(
                        data, key_at, key_len, at + 12 + size):
                    found.add("v%d-%s" % (magic, names[data[at + 17] & 7]))
                    at += 12 + size
                    continue
        at += 1
        misses += 1
    return found


def message_fits(data, key_at, key_len, end):
    value_at = key_at + 4 + max(key_len, 0)
    if value_at + 4 > end:
        return False
    value_len, = struct.unpack_from(">i", data, value_at)
    return value_at + 4 + max(value_len, 0) == end


class Keeper:
    """Keeps the frames worth keeping; used by the relay's thread alone."""

    def __init__(self, accept=lambda frame: True, compressed=True):
        self.accept = accept
        self.compressed = compressed  # keeps compressed records, too
        self.kept = {}  # (key, version, direction, forms): Frame
        self.seen = 0
        self.strange = []

    def frame(self, frame):
        self.seen += 1
        if not self.accept(frame):
            return
        forms = frame.forms()
        if "-" in forms and not forms.endswith("-none") and \
                not self.compressed:
            return
        place = (frame.key, frame.version, frame.direction, forms)
        old = self.kept.get(place)
        if old is None or better(len(frame.data), len(old.data)):
            self.kept[place] = frame


def better(size, old):
    if size <= ENOUGH and old <= ENOUGH:
        return size > old
    return size < old


class Printer(Keeper):
    def frame(self, frame):
        print("%s\t%d\t%d\t%s\t%s" % (frame.client_id, frame.key,
                                      frame.version, frame.direction,
                                      frame.data.hex()), flush=True)


class Watcher:
    """Follows one connection's bytes, both ways."""

    def __init__(self, keeper):
        self.keeper = keeper
        self.buffers = {"request": bytearray(), "response": bytearray()}
        self.pending = {}  # correlation id: (key, version, client id)
        self.lost = False

    def feed(self, direction, data):
        if self.lost:
            return
        buffer = self.buffers[direction]
        buffer += data
        while len(buffer) >= 4:
            size, = struct.unpack_from(">i", buffer)
            if not 4 <= size <= LARGEST:
                self.lose("a %s of %d bytes" % (direction, size))
                return
            if len(buffer) < 4 + size:
                return
            whole = bytes(buffer[:4 + size])
            del buffer[:4 + size]
            getattr(self, direction)(whole)

    def lose(self, why):
        self.lost = True
        self.keeper.strange.append(why)

    def request(self, whole):
        if len(whole) < 14:
            self.lose("a request without a header")
            return
        key, version, correlation, length = struct.unpack_from(
            ">hhih", whole, 4)
        client_id = whole[14:14 + max(length, 0)].decode(errors="replace")
        self.pending[correlation] = (key, version, client_id)
        self.keeper.frame(Frame(key, version, "request", client_id, whole))

    def response(self, whole):
        correlation, = struct.unpack_from(">i", whole, 4)
        request = self.pending.pop(correlation, None)
        if request is None:
            self.lose("a response that answers no request")
            return
        key, version, client_id = request
        self.keeper.frame(Frame(key, version, "response", client_id, whole))


class Relay:
    """Listens on some ports, each for one broker, in a thread of its own.

    `routes` are pairs of ports on 127.0.0.1, here and there.  `keeper` may be
    set to another at any time; connections made from then on use it.
    """

    def __init__(self, routes, keeper):
        self.routes = routes
        self.keeper = keeper
        self.loop = asyncio.new_event_loop()
        self.connections = set()
        self.servers = []
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self):
        self.loop.run_until_complete(self.listen())
        self.thread.start()

    def run(self):
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
            self.loop.run_until_complete(
                asyncio.gather(task, return_exceptions=True))
        for server in self.servers:
            server.close()
        self.loop.close()

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    async def listen(self):
        for here, there in self.routes:
            self.servers.append(await asyncio.start_server(
                lambda r, w, there=there: self.connection(r, w, there),
                "127.0.0.1", here))

    async def connection(self, reader, writer, port):
        # The loop itself remembers tasks only weakly.
        task = asyncio.current_task()
        self.connections.add(task)
        task.add_done_callback(self.connections.discard)
        watcher = Watcher(self.keeper)
        try:
            back_reader, back_writer = await asyncio.open_connection(
                "127.0.0.1", port)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(
                self.pump(reader, back_writer, watcher, "request"),
                self.pump(back_reader, writer, watcher, "response"))
        except (OSError, asyncio.CancelledError):
            pass  # a side that is gone, or the relay ends
        finally:
            writer.close()
            back_writer.close()

    async def pump(self, reader, writer, watcher, direction):
        while True:
            data = await reader.read(1 << 16)
            if not data:
                break
            # Looked at before it leaves: an answer cannot come before its
            # request has been noted.
            watcher.feed(direction, data)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def main(words):
    if not words or words[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if words else 2
    routes = [tuple(map(int, word.split(":"))) for word in words]
    relay = Relay(routes, Printer())
    relay.start()
    try:
        relay.thread.join()
    except KeyboardInterrupt:
        relay.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
