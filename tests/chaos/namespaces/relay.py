#!/usr/bin/env python3
"""Delays what goes over a wire: usage: relay.py PORT TAP MS JITTER-MS

Runs in the bridge's namespace between PORT, the bridge's end of a node's veth
pair, which has been taken off the bridge, and TAP, which it makes and which
takes PORT's place.  Frames keep their order.  Says `ready` once TAP is there.
"""

import collections
import fcntl
import os
import random
import select
import socket
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
ETH_P_ALL = 3
PACKET_IGNORE_OUTGOING = 23
SOL_PACKET = 263
FRAMES_MAX = 20000  # waiting in each direction; more are lost


class Way:
    """Frames of one direction, each with the time when it is due."""

    def __init__(self, send, delay, jitter):
        self.send = send
        self.delay = delay
        self.jitter = jitter
        self.waiting = collections.deque()

    def take(self, frame):
        if len(self.waiting) == FRAMES_MAX:
            return
        due = time.monotonic() + self.delay + random.uniform(0, self.jitter)
        if self.waiting:
            due = max(due, self.waiting[-1][0])
        self.waiting.append((due, frame))

    def deliver(self):
        """Sends what is due; seconds until more is."""
        now = time.monotonic()
        while self.waiting and self.waiting[0][0] <= now:
            try:
                self.send(self.waiting.popleft()[1])
            except OSError:
                pass  # a full queue loses frames, as wires do
        return self.waiting[0][0] - now if self.waiting else None


def main(port, tap, delay_ms, jitter_ms):
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                         socket.htons(ETH_P_ALL))
    wire.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    wire.bind((port, 0))
    wire.setblocking(False)
    bridge = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(bridge, TUNSETIFF,
                struct.pack("16sH", tap.encode(), IFF_TAP | IFF_NO_PI))
    print("ready", flush=True)
    ways = {
        wire.fileno(): (lambda: wire.recv(65536), Way(
            lambda f: os.write(bridge, f), delay_ms / 1e3, jitter_ms / 1e3)),
        bridge: (lambda: os.read(bridge, 65536), Way(
            wire.send, delay_ms / 1e3, jitter_ms / 1e3)),
    }
    while True:
        waits = [w for w in (way.deliver() for _, way in ways.values())
                 if w is not None]
        ready, _, _ = select.select(list(ways), [], [],
                                    min(waits) if waits else None)
        for fd in ready:
            receive, way = ways[fd]
            for _ in range(64):
                try:
                    way.take(receive())
                except OSError:
                    break


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
