"""Clients that keep a history, several at once, each a process of its own.

History is tests/sim/load/real: each seed has another mix of producers, readers,
groups and changes of topics.  It judges what it was shown and says so when it
is asked to end.  KafkaJs is kafkajs/main.js: its history becomes a file, which
tests/sim/load/judge judges by the same rules.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import time

from harness import Failed, PARTITIONS

COUNTS = re.compile(r"sent (\d+), acknowledged (\d+), unknown (\d+), "
                    r"read (\d+), .*committed (\d+)")
NAMES = ("sent", "acknowledged", "unknown", "read", "committed")
TXN_COUNTS = re.compile(r"transactions (\d+): (\d+) committed, (\d+) aborted, "
                        r"(\d+) unknown; (\d+) of their records read")
TXN_NAMES = ("begun", "committed", "aborted", "unknown", "read")
FINAL_SECONDS = 90
PATIENCE_S = 20  # what was given up by then has an unknown end
END_SECONDS = 300  # its own bounds for coming to rest and reading are below
JUDGE_SECONDS = 120
HERE = os.path.dirname(os.path.abspath(__file__))


def verdict(code, text, who, seed):
    """What `real` and `judge` print, as {"sent": ..., "violation": ...}; that
    is None or [CHECKER, SENTENCE]."""
    counts = COUNTS.search(text)
    if code not in (0, 1, 3) or not counts:
        raise Failed("%s of seed %d fail (%d): %s" % (
            who, seed, code, text[-600:].strip()))
    result = dict(zip(NAMES, map(int, counts.groups())), seed=seed,
                  violation=None)
    transactions = TXN_COUNTS.search(text)
    if transactions:
        result["transactions"] = dict(zip(TXN_NAMES, map(
            int, transactions.groups())))
    bad = re.search(r"VIOLATION (\S+): (.*)", text)
    if bad:
        result["violation"] = [bad[1], bad[2]]
    elif code == 3:
        result["violation"] = ["stuck", "they did not come to rest within "
                               "their bound"]
    return result


class Client:
    """A process of clients; `child` is it, and `who` what people call it."""

    def ended(self):
        """It ends by itself when it has seen a violation."""
        return self.child.poll() is not None

    def ask_to_end(self):
        if not self.ended():
            self.child.send_signal(signal.SIGTERM)

    def wait(self):
        try:
            return self.child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.abort()
            raise Failed("%s of seed %d do not end" % (
                self.who, self.seed)) from None

    def abort(self):
        if not self.ended():
            self.child.kill()
        self.child.wait(60)

    def remove(self):
        """What it wrote, when all was well."""
        for path in self.files:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


class History(Client):
    who = "the clients"

    def __init__(self, world, seed, space, stay):
        self.world = world
        self.seed = seed
        self.space = space
        self.path = world.path(space + "history.log")
        self.files = [self.path]
        words = ["--stay"] if stay else []
        with open(self.path, "w") as file:
            self.child = subprocess.Popen(
                [world.program("tests/sim/load/real"), world.bootstrap,
                 "--seed", str(seed), "--seconds", "1000000",
                 "--final-seconds", str(FINAL_SECONDS), "--space", space,
                 "--replicas", "3", "--patience", str(PATIENCE_S), *words],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                env=world.environment)

    def finish(self):
        code = self.wait()
        with open(self.path, errors="replace") as file:
            return verdict(code, file.read(), self.who, self.seed)

    def clear(self):
        delete_topics(self.world, self.space)


class KafkaJs(Client):
    """kafkajs in a process of its own, on a topic of its own."""
    who = "kafkajs"

    def __init__(self, world, modules, seed, space):
        self.world = world
        self.seed = seed
        self.topic = space + "kafkajs"
        self.path = world.path(self.topic + ".history")
        self.log = world.path(self.topic + ".log")
        self.files = [self.path, self.log]
        world.create(self.topic, replicas=len(world.nodes),
                     config=["min.insync.replicas=2"])
        with open(self.log, "w") as log:
            self.child = subprocess.Popen(
                ["node", os.path.join(HERE, "kafkajs", "main.js"),
                 world.bootstrap, self.topic, str(PARTITIONS), self.path,
                 str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True,
                env=dict(world.environment, NODE_PATH=modules,
                         KAFKAJS_NO_PARTITIONER_WARNING="1"))

    def ask_to_end(self):
        """It may not have got as far yet as to hear of a signal."""
        with contextlib.suppress(BrokenPipeError):
            self.child.stdin.close()

    def finish(self):
        code = self.wait()
        said = self.child.stdout.read()
        if code not in (0, 3):
            raise Failed("kafkajs of seed %d ends with %d: %s" % (
                self.seed, code, self.last_words()))
        try:
            done = subprocess.run(
                [self.world.program("tests/sim/load/judge"), self.path],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                timeout=JUDGE_SECONDS, check=False, env=self.world.environment)
        except subprocess.TimeoutExpired:
            raise Failed("judging kafkajs of seed %d: not within %d s" % (
                self.seed, JUDGE_SECONDS)) from None
        result = verdict(done.returncode, done.stdout, self.who, self.seed)
        if code == 3 and result["violation"]:
            result["violation"][1] += " (%s)" % self.last_words()
        return dict(json.loads(said), **result)

    def last_words(self):
        with open(self.log, errors="replace") as file:
            lines = file.read().strip().splitlines()
        return lines[-1] if lines else "no output"

    def clear(self):
        self.world.leat("topics", "delete", self.topic, "--if-exists")


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
