"""Clients that keep a history: tests/sim/load/real, several at once.

Each is a process of its own with its own seed, and so with another mix of
producers, readers, groups and changes of topics.  It judges what it was shown
and says so when it is asked to end.
"""

import os
import re
import signal
import subprocess
import time

from harness import Failed

COUNTS = re.compile(r"sent (\d+), acknowledged (\d+), unknown (\d+), "
                    r"read (\d+), .*committed (\d+)")
FINAL_SECONDS = 90
PATIENCE_S = 20  # what was given up by then has an unknown end
END_SECONDS = 300  # its own bounds for coming to rest and reading are below


class History:
    def __init__(self, world, seed, space, stay):
        self.world = world
        self.seed = seed
        self.space = space
        self.path = world.path(space + "history.log")
        self.result = None
        words = ["--stay"] if stay else []
        with open(self.path, "w") as file:
            self.child = subprocess.Popen(
                [world.program("tests/sim/load/real"), world.bootstrap,
                 "--seed", str(seed), "--seconds", "1000000",
                 "--final-seconds", str(FINAL_SECONDS), "--space", space,
                 "--replicas", "3", "--patience", str(PATIENCE_S), *words],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                env=world.environment)

    def text(self):
        with open(self.path, errors="replace") as file:
            return file.read()

    def ended(self):
        """It ends by itself when it has seen a violation."""
        return self.child.poll() is not None

    def ask_to_end(self):
        if not self.ended():
            self.child.send_signal(signal.SIGTERM)

    def finish(self):
        """{"sent": ..., "violation": None or [CHECKER, SENTENCE]}"""
        try:
            code = self.child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise Failed("the clients of seed %d do not end" %
                         self.seed) from None
        text = self.text()
        counts = COUNTS.search(text)
        if code not in (0, 1, 3) or not counts:
            raise Failed("the clients of seed %d fail (%d): %s" % (
                self.seed, code, text[-600:].strip()))
        names = ("sent", "acknowledged", "unknown", "read", "committed")
        result = dict(zip(names, map(int, counts.groups())), seed=self.seed,
                      violation=None)
        bad = re.search(r"VIOLATION (\S+): (.*)", text)
        if bad:
            result["violation"] = [bad[1], bad[2]]
        elif code == 3:
            result["violation"] = ["stuck", "the clients did not come to "
                                   "rest within their bound"]
        return result

    def abort(self):
        if not self.ended():
            self.child.kill()
        self.child.wait()


def delete_topics(world, space):
    """Everything that clients with this space have made."""
    deadline = time.monotonic() + 60
    while True:
        try:
            world.leat("topics", "delete", re.escape(space) + ".*",
                       "--if-exists")
            return
        except Failed:
            if time.monotonic() > deadline:
                raise
