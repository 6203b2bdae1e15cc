"""The cluster that checks are done to, and the ledger that must survive them.

The ledger is a topic with three replicas.  Records go in with acks=all; those
that were acknowledged are remembered here with their offsets, and have to be
read back after every check.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import wire

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("LEAT_BUILD") or
                        os.path.join(TOP, "build"))
SCRIPT = os.path.join(TOP, "scripts", "cluster")
LEATD = os.path.join(BUILD, "broker", "leatd")

# What a server prints when a sanitizer or an assertion stops it.
REPORTS = re.compile(r"Sanitizer|runtime error:|[Aa]ssertion|This is a bug")

LEDGER = "ledger"


class Failure(Exception):
    """A check did not hold."""


class Skip(Exception):
    """This machine does not let us do the checks of a file."""


def expect(condition, *what):
    if not condition:
        raise Failure(" ".join(str(w) for w in what))


def expect_equal(got, wanted, what):
    expect(got == wanted, "%s: got %r, wanted %r" % (what, got, wanted))


def wait_for(what, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = condition()
        except (OSError, wire.Closed):
            found = None
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failure("%s did not happen in %d s" % (what, seconds))
        time.sleep(0.05)


def free_port():
    """P such that P..P+3 and P+10000..P+10003 are free."""
    for _ in range(100):
        # Below the ports that the kernel gives to those who connect.
        port = random.randrange(11000, 22000, 10)
        with contextlib.ExitStack() as stack:
            try:
                for i in list(range(4)) + list(range(10000, 10004)):
                    s = stack.enter_context(socket.socket())
                    s.bind(("127.0.0.1", port + i))
            except OSError:
                continue
            return port
    raise Failure("no free ports")


class Cluster:
    def __init__(self, nodes=3, prepare=None, config=""):
        """prepare(cluster) runs before the nodes are formatted."""
        self.home = tempfile.mkdtemp(prefix="leat-badinput-")
        self.dir = os.path.join(self.home, "cluster")
        self.nodes = nodes
        self.port = free_port()
        self.kept = False
        self.logs_read = {}
        self.mounts = []
        self.acknowledged = {}
        self.environment = dict(
            os.environ, LEAT_BUILD=BUILD, LEAT_CONFIG=config,
            ASAN_OPTIONS="detect_leaks=0:quarantine_size_mb=4:"
                         "allocator_may_return_null=0",
            UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")
        os.mkdir(self.dir)
        try:
            if prepare:
                prepare(self)
            self.script("up", "--nodes", str(nodes), "--port",
                        str(self.port))
        except BaseException:
            self.close()
            raise

    # ---- life ---------------------------------------------------------------

    def script(self, *arguments):
        done = subprocess.run(
            [SCRIPT, arguments[0], "--dir", self.dir, *arguments[1:]],
            env=self.environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=180)
        expect(done.returncode == 0, "scripts/cluster", *arguments,
               "failed:", done.stdout.strip().replace("\n", " | "))
        return done.stdout

    def close(self):
        for node in range(1, self.nodes + 1):
            pid = self.pid(node)
            if pid:
                os.kill(pid, signal.SIGKILL)
                wait_for("the end of node %d" % node,
                         lambda: not self.pid(node))
        for path in self.mounts:
            subprocess.run(["umount", path], check=False)
        if not self.kept:
            shutil.rmtree(self.home, ignore_errors=True)

    def keep(self):
        """close() leaves the directory, whose name this returns."""
        self.kept = True
        return self.home

    def pid(self, node):
        """Of a node that runs; None else."""
        try:
            with open(os.path.join(self.dir, "node-%d.pid" % node)) as file:
                pid = int(file.read())
            with open("/proc/%d/stat" % pid) as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return None
            with open("/proc/%d/cmdline" % pid) as file:
                return pid if "node-%d.properties" % node in file.read() \
                    else None
        except (OSError, ValueError):
            return None

    def pids(self):
        return [self.pid(i) for i in range(1, self.nodes + 1)]

    def stop(self, node):
        self.script("stop", str(node))

    def kill(self, node):
        self.script("kill", str(node))

    def start(self, node):
        """Returns when the node lets clients in."""
        self.mark_log(node)
        self.script("start", str(node))
        wait_for("'node %d is ready'" % node,
                 lambda: self.log_has(node, r"is ready") or
                 not self.pid(node))
        expect(self.pid(node), "node", node, "ended:", self.log(node)[-400:])

    def data(self, node, *path):
        return os.path.join(self.dir, "data-%d" % node, *path)

    def mount_tmpfs(self, node, size):
        path = self.data(node)
        os.mkdir(path)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", path],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise Skip("a tmpfs cannot be mounted: " + done.stdout.strip())
        self.mounts.append(path)
        return path

    # ---- what nodes say -----------------------------------------------------

    def log(self, node, whole=False):
        """What the node has said since mark_log()."""
        with open(os.path.join(self.dir, "node-%d.log" % node),
                  errors="replace") as file:
            if not whole:
                file.seek(self.logs_read.get(node, 0))
            return file.read()

    def mark_log(self, node):
        path = os.path.join(self.dir, "node-%d.log" % node)
        self.logs_read[node] = os.path.getsize(path) \
            if os.path.exists(path) else 0

    def log_has(self, node, pattern):
        return re.search(pattern, self.log(node))

    def memory_mb(self, node):
        with open("/proc/%d/status" % self.pid(node)) as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024

    def most_memory_mb(self, node):
        """Since it runs."""
        with open("/proc/%d/status" % self.pid(node)) as file:
            return int(re.search(r"VmHWM:\s+(\d+)", file.read())[1]) / 1024

    def open_files(self, node):
        return len(os.listdir("/proc/%d/fd" % self.pid(node)))

    # ---- clients ------------------------------------------------------------

    def connect(self, node=1, timeout=30):
        return wire.Connection(self.port + node - 1, timeout)

    def connect_controller(self, node=1, timeout=30):
        return wire.Connection(self.port + 10000 + node - 1, timeout)

    def any_node(self):
        return next(i for i, pid in enumerate(self.pids(), 1) if pid)

    def leader(self, topic, partition=0):
        """Waits until there is one that knows that it is."""
        def found():
            with self.connect(self.any_node()) as c:
                _, partitions = c.metadata([topic]).get(topic, (3, {}))
                wrong, leader, _ = partitions.get(partition, (3, -1, []))
            if wrong or not 1 <= leader <= self.nodes or not self.pid(leader):
                return None
            with self.connect(leader) as c:
                knows = c.fetch(topic, partition, 0)[0] in (
                    wire.NONE, wire.OFFSET_OUT_OF_RANGE)
                return leader if knows else None
        return wait_for("a leader of %s" % topic, found)

    def isr(self, topic, partition=0):
        with self.connect(self.any_node()) as c:
            return sorted(c.metadata([topic])[topic][1][partition][2])

    def wait_isr(self, topic, nodes, seconds=60):
        wait_for("%s in sync on %s" % (topic, nodes),
                 lambda: self.isr(topic) == sorted(nodes), seconds)

    def create(self, topic, **options):
        options.setdefault("replicas", min(3, self.nodes))
        with self.connect(self.any_node()) as c:
            error = c.create(topic, **options)
        expect(error in (0, wire.TOPIC_ALREADY_EXISTS), "creating", topic,
               "answers", error)
        self.leader(topic)

    def produce(self, topic, values, acks=-1, seconds=30):
        """Until it is acknowledged; returns the base offset."""
        def done():
            with self.connect(self.leader(topic)) as c:
                error, offset = c.produce(topic, 0, wire.batch(values), acks)
            return [offset] if error == 0 else None
        return wait_for("an acknowledged record in %s" % topic, done,
                        seconds)[0]

    def read(self, topic, offset=0, node=None, max_bytes=1 << 20):
        """{offset: value} from `offset` to the high watermark."""
        found = {}
        with self.connect(node or self.leader(topic)) as c:
            while True:
                error, end, data = c.fetch(topic, 0, offset,
                                           max_bytes=max_bytes)
                expect(error == 0, "reading", topic, "at", offset, "answers",
                       error)
                if offset >= end:
                    return found
                before = offset
                for base, values in wire.batches(data):
                    expect(values is not None, "the batch of", topic, "at",
                           base, "has a wrong CRC")
                    found.update((base + i, v) for i, v in enumerate(values))
                    offset = base + len(values)
                expect(offset > before, "no progress reading", topic, "at",
                       offset, "of", end)

    # ---- the ledger ---------------------------------------------------------

    def remember(self, topic, count=1, size=64):
        """Adds records that must never be lost, one batch each."""
        if topic not in self.acknowledged:
            self.create(topic)
            self.acknowledged[topic] = {}
        kept = self.acknowledged[topic]
        for _ in range(count):
            value = os.urandom(size // 2).hex().encode()
            kept[self.produce(topic, [value])] = value

    def remember_values(self, topic, offset, values):
        kept = self.acknowledged.setdefault(topic, {})
        kept.update((offset + i, v) for i, v in enumerate(values))

    def verify(self):
        """The cluster serves, and everything acknowledged is there."""
        for node in range(1, self.nodes + 1):
            expect(self.pid(node), "node", node, "is not running:",
                   self.log(node)[-600:])
            report = REPORTS.search(self.log(node, whole=True))
            expect(not report, "node", node, "reports:",
                   self.log(node, whole=True)[report.start():][:1500]
                   if report else "")
        self.remember(LEDGER)
        for topic, kept in self.acknowledged.items():
            found = self.read(topic)
            for offset, value in kept.items():
                expect(found.get(offset) == value, "lost: acknowledged record",
                       offset, "of", topic, "of", len(found))
