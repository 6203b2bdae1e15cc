"""A cluster to be harmed, and the load on it.

Everything waits for a condition with a limit; nothing sleeps for a guess.
Only processes that this harness started are ended, by their id.
"""

import datetime
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import time

import replica_diff

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
PARTITIONS = 6
ANSWER_S = 60  # a program of ours answers by then, or never

# What a server prints when a sanitizer or an assertion stops it.
REPORTS = ("Sanitizer", "runtime error:", "assertion", "Assertion", "ASSERT")


class Failed(Exception):
    """A promise is broken; the text is the sentence to print."""


def wait_for(what, condition, seconds=30, every=0.02):
    """The first true value of condition()."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed("%s: not within %d s" % (what, seconds))
        time.sleep(every)


def wait_a_little(condition, seconds):
    """Like wait_for(), but goes on if it takes too long."""
    try:
        wait_for("", condition, seconds)
    except Failed:
        pass


def bounded(argv, what, seconds, text=None, **options):
    """(exit status, output) of a program.  One that is late is killed but not
    waited for: the kernel may hold it."""
    child = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    try:
        out, _ = child.communicate(text, seconds)
    except subprocess.TimeoutExpired:
        raise Failed("%s: not within %d s" % (what, seconds)) from None
    finally:
        if child.returncode is None:
            child.kill()
            give_up(child)
    return child.returncode, out


def give_up(child):
    """Leaves a killed child to itself if it does not go at once."""
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.returncode = -signal.SIGKILL


def call(argv, what, timeout=60, **options):
    code, out = bounded(argv, what, timeout, **options)
    if code:
        raise Failed("%s failed: %s" % (what, " ".join(out.split()[-60:])))
    return out


def free_port():
    """A P so that P..P+9 and P+10000..P+10009 are free, below the ports that
    the system gives to clients."""
    for _ in range(100):
        port = random.randrange(11000, 22000, 10)
        try:
            for p in [port + i + j for i in range(10) for j in (0, 10000)]:
                with socket.socket() as s:
                    s.bind(("127.0.0.1", p))
        except OSError:
            continue
        return port
    raise Failed("no free ports")


def receive(s, count):
    data = b""
    while len(data) < count:
        more = s.recv(count - len(data))
        if not more:
            raise OSError("closed")
        data += more
    return data


def quorum_leader(port):
    """Node id of the active controller as DescribeQuorum version 0 says, or
    None if nobody knows now."""
    topic = b"__cluster_metadata"
    body = struct.pack(">hhih4sB", 55, 0, 1, 4, b"leat", 0) + \
        b"\x02" + bytes([len(topic) + 1]) + topic + \
        b"\x02" + struct.pack(">iBBB", 0, 0, 0, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as s:
            s.settimeout(5)
            s.sendall(struct.pack(">i", len(body)) + body)
            size, = struct.unpack(">i", receive(s, 4))
            answer = receive(s, size)
    except OSError:
        return None
    # correlation id, tags, error, one topic, its name, one partition
    at = 5
    error, topics = struct.unpack_from(">hB", answer, at)
    if error or topics != 2:
        return None
    at += 3 + answer[at + 3]
    _, error, leader = struct.unpack_from(">ihi", answer, at + 1)
    return leader if not error and leader > 0 else None


class Cluster:
    """Nodes 1, 2, ... under scripts/cluster in a directory of their own."""

    def __init__(self, build, directory, config=""):
        self.build = build
        self.directory = directory
        self.port = free_port()
        self.nodes = [1, 2, 3]
        self.environment = dict(os.environ, LEAT_BUILD=build,
                                LEAT_CONFIG=config)
        self.environment.setdefault("ASAN_OPTIONS", "detect_leaks=1")
        self.environment.setdefault("UBSAN_OPTIONS",
                                    "print_stacktrace=1:halt_on_error=1")

    def note(self, *words):
        """What is done when, beside the nodes' own logs."""
        with open(os.path.join(self.directory, "actions.log"), "a") as file:
            file.write("%s %s\n" % (datetime.datetime.now().time(),
                                    " ".join(map(str, words))))

    # ---- nodes ----

    def command(self, *words):
        script = os.path.join(TOP, "scripts", "cluster")
        return call([script, *words, "--dir", self.directory],
                    "scripts/cluster " + words[0], env=self.environment)

    def up(self):
        self.command("up", "--port", str(self.port))

    def add(self):
        self.command("add")
        self.nodes.append(len(self.nodes) + 1)
        return self.nodes[-1]

    def pid(self, node):
        with open(os.path.join(self.directory, "node-%d.pid" % node)) as file:
            return int(file.read())

    def alive(self, node):
        """Ours, and there: a process id may be given to another, and a dying
        process holds its locks until its last thread has gone."""
        try:
            where = "/proc/%d" % self.pid(node)
            with open(where + "/stat") as file:
                if file.read().rpartition(")")[2].split()[0] in "ZX" and \
                        len(os.listdir(where + "/task")) <= 1:
                    return False
            with open(where + "/cmdline", "rb") as file:
                command = file.read()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return not command or b"node-%d.properties" % node in command

    def signal(self, number, *nodes):
        """Signals the nodes at once; returns when that was."""
        for node in nodes:
            if not self.alive(node):
                raise Failed("node %d ended by itself: %s" %
                             (node, self.last_words(node)))
        pids = [self.pid(node) for node in nodes]
        at = time.monotonic()
        for pid in pids:
            os.kill(pid, number)
        self.note("signal", number, "to nodes", *nodes, "pids", *pids)
        return at

    def kill(self, *nodes):
        at = self.signal(signal.SIGKILL, *nodes)
        for node in nodes:
            wait_for("node %d is gone" % node, lambda n=node: not
                     self.alive(n), every=0.005)
        return at

    def start(self, *nodes):
        for node in nodes:
            self.command("start", str(node))
            self.note("started node", node, "pid", self.pid(node))

    def stop(self, node):
        self.command("stop", str(node))
        self.note("stopped node", node)

    def last_words(self, node):
        path = os.path.join(self.directory, "node-%d.log" % node)
        with open(path, errors="replace") as file:
            lines = file.read().strip().splitlines()
        return lines[-1] if lines else "no output"

    def judge(self):
        """Nodes run, end when asked to, and do not complain."""
        for node in self.nodes:
            if not self.alive(node):
                raise Failed("node %d ended by itself: %s" %
                             (node, self.last_words(node)))
        self.command("down")
        for node in self.nodes:
            path = os.path.join(self.directory, "node-%d.log" % node)
            with open(path, errors="replace") as file:
                for line in file:
                    if any(r in line for r in REPORTS):
                        raise Failed("node %d: %s" % (node, line.strip()))

    def down(self):
        """Whatever still runs is ended."""
        for node in self.nodes:
            if self.alive(node):
                os.kill(self.pid(node), signal.SIGKILL)

    # ---- what the cluster says ----

    @property
    def bootstrap(self):
        return ",".join("127.0.0.1:%d" % (self.port + n - 1)
                        for n in self.nodes)

    def leat(self, *words, timeout=60):
        return call([os.path.join(self.build, "cli", "leat"), *words,
                     "--bootstrap", self.bootstrap], "leat " + words[0] +
                    " " + words[1], timeout)

    def create(self, topic, partitions=PARTITIONS, replicas=3, config=()):
        words = [w for pair in config for w in ("--config", pair)]
        self.leat("topics", "create", topic, "--partitions", str(partitions),
                  "--replicas", str(replicas), *words)

    def describe(self, topic, patience_ms=30000):
        """The topic as `leat topics describe --json` shows it."""
        return json.loads(self.leat("topics", "describe", topic, "--json",
                                    "--timeout", str(patience_ms)))[0]

    def leaders(self, topic, patience_ms=30000):
        return [p["leader"] for p in
                self.describe(topic, patience_ms)["partitions"]]

    def complete(self, topic):
        """All replicas in sync, and a leader everywhere?"""
        try:
            partitions = self.describe(topic)["partitions"]
        except Failed:
            return False
        return all(sorted(p["isr"]) == sorted(p["replicas"]) and
                   p["leader"] is not None for p in partitions)

    def wait_complete(self, topic, seconds=60):
        try:
            wait_for("complete in-sync replicas of " + topic,
                     lambda: self.complete(topic), seconds, 0.05)
        except Failed as error:
            raise Failed("%s: %s" % (error, self.leat("topics", "describe",
                                                      topic))) from None

    def controller(self):
        """Node id of the active controller."""
        def ask():
            for node in self.nodes:
                leader = self.alive(node) and \
                    quorum_leader(self.port + node - 1)
                if leader and self.alive(leader):
                    return leader
            return None
        return wait_for("an active controller", ask)

    def replicas_agree(self):
        """Waits until all replicas' files are the same; how many there are."""
        directories = [os.path.join(self.directory, "data-%d" % n)
                       for n in self.nodes]
        found = [0, ["nothing compared"]]

        def same():
            found[:] = replica_diff.compare(directories)
            return not found[1] and found[0]
        try:
            return wait_for("replicas agree", same, 20, 0.2)
        except Failed:
            raise Failed("%d differences of replicas; the first: %s" %
                         (len(found[1]), found[1][0])) from None


class Load:
    """Producers that write numbered records to a topic."""

    def __init__(self, cluster, topic, rate=1500, producers=4,
                 request_ms=""):
        self.cluster = cluster
        self.topic = topic
        self.ledger = os.path.join(cluster.directory, topic + ".ledger")
        self.errors = open(os.path.join(cluster.directory,
                                        topic + ".errors"), "w+")
        self.kills = []  # (moment, partitions whose leader it was)
        self.child = self.numbers(
            "produce", "--producers", str(producers), "--rate", str(rate),
            "--debug", os.environ.get("LEAT_CHAOS_DEBUG", ""),
            "--request-ms", str(request_ms),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors)
        self.flowing()

    def numbers(self, command, *words, **options):
        path = os.path.join(self.cluster.build, "tests", "chaos", "numbers")
        # librdkafka 2.0 polls without pause while a batch waits for one under
        # way: that must not take the processor from the cluster.
        return subprocess.Popen(
            ["nice", "-n", "5", path, command,
             "--bootstrap", self.cluster.bootstrap, "--topic", self.topic,
             "--ledger", self.ledger, "--partitions", str(PARTITIONS), *words],
            text=True, **options)

    def status(self):
        """Records acknowledged by partition."""
        try:
            self.child.stdin.write("status\n")
            self.child.stdin.flush()
        except OSError:
            raise Failed("the producers ended: " + self.complaint()) from None
        if not select.select([self.child.stdout], [], [], ANSWER_S)[0]:
            raise Failed("the producers say nothing for %d s" % ANSWER_S)
        return self.parse(self.child.stdout.readline())

    def parse(self, line):
        words = line.split()
        if len(words) != PARTITIONS + 7:
            raise Failed("the producers ended: " + self.complaint())
        failed = int(words[-5])
        if failed:
            raise Failed("%d records refused: %s" %
                         (failed, self.complaint()))
        return [int(w) for w in words[1:PARTITIONS + 1]]

    def stalled_of(self, rest):
        """Records that librdkafka kept for itself (produce.c), of what the
        producers said at their end."""
        words = rest.split()
        return int(words[-1]) if words[-2:-1] == ["stalled"] else 0

    def complaint(self):
        self.errors.flush()
        with open(self.errors.name) as file:
            lines = [l.strip() for l in file if l.startswith("producer ")]
        return lines[0] if lines else "exit %s" % self.child.poll()

    def flowing(self, seconds=60, records=100):
        """Waits until each partition acknowledges again."""
        before = self.status()
        try:
            wait_for("all partitions acknowledge", lambda: all(
                now >= then + records
                for now, then in zip(self.status(), before)), seconds, 0.01)
        except Failed as error:
            stuck = [p for p, (now, then) in
                     enumerate(zip(self.status(), before))
                     if now < then + records]
            raise Failed("%s: partitions %s; %s" %
                         (error, stuck, self.cluster.leat(
                             "topics", "describe", self.topic))) from None

    def progress(self):
        """A condition: each partition acknowledges again."""
        before = self.status()
        return lambda: all(now > then for now, then in
                           zip(self.status(), before))

    def note_kill(self, at, partitions):
        self.kills.append((at, partitions))

    def finish(self):
        """Ends the load and judges what the cluster has kept."""
        self.check_end(self.end())
        self.cluster.wait_complete(self.topic)
        return self.verify()

    def end(self):
        """Ends the load; what it says at its end."""
        try:
            rest, _ = self.child.communicate("", 180)
        except subprocess.TimeoutExpired:
            raise Failed("the producers do not end") from None
        return rest.strip()

    def check_end(self, rest):
        self.parse(rest.splitlines()[-1] if rest else "")
        if self.child.returncode:
            raise Failed("the producers failed: " + self.complaint())

    def verify(self):
        child = self.numbers("verify", "--timeout-ms", "20000",
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, errors = child.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            child.kill()
            raise Failed("reading everything back: not within 120 s") \
                from None
        if not out.startswith("{"):
            raise Failed("reading everything back: " + errors.strip())
        result = json.loads(out)
        if child.returncode:
            raise Failed("%s: %s" % (out.strip(), "; ".join(
                errors.strip().splitlines()[:8])))
        return result

    def moments(self):
        """Monotonic seconds of the acknowledgements of each partition."""
        times = [[] for _ in range(PARTITIONS)]
        with open(self.ledger) as file:
            for line in file:
                _, us, partition, _, _, _ = line.split()
                times[int(partition)].append(int(us) / 1e6)
        return times

    def gaps(self):
        """Seconds from each kill to the next acknowledgement of a record
        that a new leader took, in the slowest partition that lost its leader.

        Answers of the dead leader may still arrive for a moment; so this is
        the end of the longest silence that begins within 0.2 s."""
        times = self.moments()
        found = []
        for at, partitions in self.kills:
            worst = 0.0
            for partition in partitions:
                moments = [at] + [t for t in times[partition] if t > at]
                silences = [(b - a, b) for a, b in zip(moments, moments[1:])
                            if a <= at + 0.2]
                worst = max(worst, max(silences)[1] - at)
            found.append(worst)
        return found

    def silence(self):
        """The longest that any partition went without acknowledgement."""
        return max(b - a for moments in self.moments()
                   for a, b in zip(moments, moments[1:]))

    def abort(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait(60)
        self.errors.close()

    def remove(self):
        """What it has written down, when all was well."""
        os.unlink(self.ledger)
        os.unlink(self.errors.name)
