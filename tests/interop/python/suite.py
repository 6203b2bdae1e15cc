"""What the Python suites share: the records, and checks that print one line.

Record number i is always the same bytes and always goes to partition i mod 3,
so a reader knows what it must see next in each partition and notices a lost,
repeated, reordered or altered record at once.
"""

import os
import sys
import time
import traceback

PARTITIONS = 3
REPLICAS = 3
RECORDS = 10000

BOOTSTRAP = os.environ.get("BOOTSTRAP", "127.0.0.1:9092").split(",")
RUN = os.environ.get("RUN") or str(int(time.time() * 1000))

failed = 0


class Wrong(Exception):
    """A check found something that is not so."""


def key(i):
    return b"key-%d" % i


def value(i):
    return b"value-%d-%s" % (i, b"x" * (i % 100))


def until(condition, seconds, why):
    """Waits for a condition; `why` (text or function) names what is missing."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise Wrong("%s after %d s" % (why() if callable(why) else why,
                                           seconds))
        time.sleep(0.02)


def equal(got, want, what):
    if got != want:
        raise Wrong("%s: %r, not %r" % (what, got, want))


class Ledger:
    """Follows what a reader receives; raises at the first wrong record."""

    def __init__(self, following=None, headers=None):
        self.following = list(following or range(PARTITIONS))
        self.headers = headers
        self.count = 0

    def add(self, partition, got_key, got_value, headers=None):
        i = self.following[partition]
        if got_key != key(i) or got_value != value(i):
            raise Wrong("partition %d: expected %s, got key %r value %r" % (
                partition, key(i).decode(), got_key, got_value[:40]))
        if self.headers and headers != self.headers(i):
            raise Wrong("partition %d: %s has headers %r, not %r" % (
                partition, key(i).decode(), headers, self.headers(i)))
        self.following[partition] += PARTITIONS
        self.count += 1

    def offsets(self):
        return [(n - p) // PARTITIONS for p, n in enumerate(self.following)]


def check(name, work, vital=False):
    """Runs one check and prints its line; a vital one ends the suite."""
    global failed
    try:
        detail = work()
        print("ok %s%s" % (name, ": %s" % detail if detail else ""),
              flush=True)
    except Exception as error:  # a suite reports every kind of failure
        failed += 1
        text = " ".join(("%s: %s" % (type(error).__name__, error)).split())
        print("FAILED %s: %s" % (name, text), flush=True)
        if os.environ.get("VERBOSE"):
            traceback.print_exc()
        if vital:
            finish()


def finish():
    sys.exit(1 if failed else 0)
