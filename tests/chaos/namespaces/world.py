"""A cluster whose nodes live in network namespaces of their own.

World has the same methods as harness.Cluster, so that harness.Load works on
it, but starts the nodes itself: each on its own address, with its data
directory on a disk of bounded size.  The process that makes a World becomes a
client of it: whatever it starts later runs in the clients' namespace.
"""

import json
import os
import shutil
import signal
import subprocess
import time

import harness
from disks import Disk
from harness import Failed, call, give_up, wait_for
from network import Network, address, enter
import replica_diff

PORT, CONTROLLER_PORT = 9092, 9093
VOTERS = (1, 2, 3)

# Short, so that faults which outlast them need little time, and groups form
# between two of them.
SESSION_MS = 3000
LAG_MS = 5000
CONFIG = """\
broker.session.timeout.ms=%d
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=%d
leader.imbalance.check.interval.seconds=5
group.initial.rebalance.delay.ms=500
log.segment.bytes=4194304
offsets.topic.num.partitions=8
offsets.topic.replication.factor=3
default.replication.factor=3
""" % (SESSION_MS, LAG_MS)


class World(harness.Cluster):
    def __init__(self, build, directory, nodes, slow):
        """`slow`: disks can be slowed."""
        self.build = build
        self.slow = slow
        self.disks = {}
        self.directory = directory
        self.nodes = list(range(1, nodes + 1))
        self.last_number = nodes  # removed nodes' numbers do not come back
        self.controllers = set(VOTERS)  # nodes with that role
        self.processes = {}
        self.meant = set()  # nodes that are down because we wanted it
        self.said = {}  # node: bytes of its log that were looked through
        self.environment = dict(os.environ)
        self.environment.setdefault("ASAN_OPTIONS", "detect_leaks=1")
        self.environment.setdefault("UBSAN_OPTIONS",
                                    "print_stacktrace=1:halt_on_error=1")
        os.makedirs(directory, exist_ok=True)
        self.id = call([self.program("cli/leat"), "storage", "random-uuid"],
                       "leat storage random-uuid").strip()
        self.network = Network()
        try:
            for node in self.nodes:
                self.furnish(node)
            self.network.enter_clients()
        except BaseException:
            self.network.close()
            raise

    def program(self, path):
        return os.path.join(self.build, path)

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def data(self, node):
        return self.path("disk-%d" % node, "data")

    # ---- nodes ----

    def furnish(self, node):
        """A namespace, a disk and a configuration for a node."""
        self.network.join("n%d" % node, node)
        self.disks[node] = Disk(self.path("disk-%d" % node),
                                self.network.note, self.slow)
        with open(self.properties(node), "w") as file:
            file.write(self.configuration(node))
        self.format(node)

    def properties(self, node):
        return self.path("node-%d.properties" % node)

    def configuration(self, node):
        listener = "PLAINTEXT://%s:%d" % (address(node), PORT)
        voter = node in self.controllers
        return CONFIG + "\n".join((
            "process.roles=broker" + (",controller" if voter else ""),
            "node.id=%d" % node,
            "controller.quorum.voters=" + ",".join(
                "%d@%s:%d" % (v, address(v), CONTROLLER_PORT)
                for v in VOTERS),
            "listeners=%s%s" % (listener, ",CONTROLLER://%s:%d" % (
                address(node), CONTROLLER_PORT) if voter else ""),
            "advertised.listeners=" + listener,
            "controller.listener.names=CONTROLLER",
            "inter.broker.listener.name=PLAINTEXT",
            "log.dirs=" + self.data(node), ""))

    def format(self, node):
        call([self.program("cli/leat"), "storage", "format", "-t", self.id,
              "-c", self.properties(node)], "formatting node %d" % node)

    def pid(self, node):
        return self.processes[node].pid

    def alive(self, node):
        child = self.processes.get(node)
        return child is not None and child.poll() is None

    def start(self, *nodes):
        for node in nodes:
            if self.alive(node):
                continue
            self.meant.discard(node)
            with open(self.path("node-%d.log" % node), "ab") as log:
                self.processes[node] = subprocess.Popen(
                    [*enter(self.network.node(node)),
                     self.program("broker/leatd"), self.properties(node)],
                    cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=log, env=self.environment, start_new_session=True)
            self.note("started node", node, "pid", self.pid(node))

    def up(self):
        self.start(*self.nodes)
        self.leat("topics", "list", timeout=90)

    def add(self, controller=False):
        """controller: it has that role, too, and waits to be a voter."""
        self.last_number += 1
        node = self.last_number
        if controller:
            self.controllers.add(node)
        self.furnish(node)
        self.nodes.append(node)
        self.start(node)
        wait_for("'node %d is ready'" % node, lambda: self.ready(node), 60)
        return node

    def ready(self, node):
        with open(self.path("node-%d.log" % node), errors="replace") as file:
            return "is ready" in file.read()

    def create(self, topic, **options):
        """As soon as there are enough brokers."""
        def done():
            try:
                super(World, self).create(topic, **options)
            except Failed as error:
                why[:] = [str(error)]
                return "already" in str(error).lower()
            return True
        why = []
        try:
            wait_for("", done, 60, 0.2)
        except Failed:
            raise Failed(why[0]) from None

    def kill(self, *nodes):
        self.meant.update(nodes)
        return super().kill(*nodes)

    def stop(self, node):
        """SIGTERM; moves its leaders away first."""
        self.meant.add(node)
        self.signal(signal.SIGTERM, node)
        try:
            self.processes[node].wait(60)
        except subprocess.TimeoutExpired:
            raise Failed("node %d does not stop within 60 s" % node) from None
        if self.processes[node].returncode:
            raise Failed("node %d ends with %d: %s" % (
                node, self.processes[node].returncode, self.last_words(node)))

    def wipe(self, node):
        """Its data directory is gone, and a new one is there."""
        shutil.rmtree(self.data(node))
        self.format(node)
        self.note("wiped node", node)

    def remove(self, node):
        """Leaves for good; what it has must be elsewhere."""
        self.stop(node)
        self.judge_log(node)
        self.disks.pop(node).remove()
        self.network.leave("n%d" % node)
        self.processes.pop(node)
        self.nodes.remove(node)
        self.note("removed node", node)

    def judge_log(self, node):
        """What a sanitizer or an assertion has said since the last time."""
        with open(self.path("node-%d.log" % node), "rb") as file:
            file.seek(self.said.get(node, 0))
            text = file.read()
            self.said[node] = file.tell()
        for line in text.decode(errors="replace").splitlines():
            if any(report in line for report in harness.REPORTS):
                raise Failed("node %d: %s" % (node, line.strip()))

    def judge(self):
        """Nodes run, end when asked to, and do not complain."""
        for node in self.nodes:
            if not self.alive(node):
                raise Failed("node %d ended by itself: %s" %
                             (node, self.last_words(node)))
        for node in self.nodes:
            os.kill(self.pid(node), signal.SIGTERM)
        for node in self.nodes:
            self.reap(node)
        for node in self.processes:
            self.judge_log(node)

    def reap(self, node):
        try:
            code = self.processes[node].wait(90)
        except subprocess.TimeoutExpired:
            raise Failed("node %d does not stop within 90 s" %
                         node) from None
        if code:
            raise Failed("node %d ends with %d: %s" %
                         (node, code, self.last_words(node)))

    def down(self):
        for child in self.processes.values():
            if child.poll() is None:
                child.kill()
        for child in self.processes.values():
            if child.poll() is None:
                give_up(child)
        self.network.close()

    # ---- what the cluster says ----

    @property
    def bootstrap(self):
        return ",".join("%s:%d" % (address(n), PORT) for n in self.nodes)

    def all_partitions(self):
        """[(topic, what describe says of a partition)], internal ones too."""
        topics = json.loads(self.leat("topics", "describe", "--internal",
                                      "--json", "--timeout", "30000"))
        return [(t["topic"], p) for t in topics for p in t["partitions"]]

    def complete(self, topic):
        """Every node says so: one that was cut off goes on believing what it
        believed, and would say it of a cluster of old."""
        return super().complete(topic) and all(
            self.complete_at(topic, node) for node in self.nodes)

    def complete_at(self, topic, node):
        try:
            partitions = json.loads(call(
                [self.program("cli/leat"), "topics", "describe", topic,
                 "--json", "--timeout", "5000", "--bootstrap",
                 "%s:%d" % (address(node), PORT)], "leat topics describe"))[
                     0]["partitions"]
        except Failed:
            return False
        return all(sorted(p["isr"]) == sorted(p["replicas"])
                   for p in partitions)

    def quorum(self):
        return json.loads(self.leat("quorum", "describe", "--json",
                                    "--timeout", "3000"))

    def controller(self):
        def ask():
            try:
                leader = self.quorum()["leader"]
            except Failed:
                return None
            return leader if leader in self.nodes and self.alive(leader) \
                else None
        return wait_for("an active controller", ask)

    def change_voters(self, node, votes):
        """Until it is so; an answer may be lost with who gave it."""
        words = ("add-controller", "--config", self.properties(node)) \
            if votes else ("remove-controller", "--id", str(node))

        def done():
            try:
                if (node in self.quorum()["voters"]) == votes:
                    return True
                self.leat("quorum", *words, timeout=40)
                self.note("quorum", *words)
            except Failed as error:
                why[:] = [str(error)]
            return False
        why = ["not asked"]
        try:
            wait_for("", done, 90, 0.2)
        except Failed:
            raise Failed("node %d %s: %s" % (
                node, "does not vote" if votes else "still votes",
                why[0])) from None

    def replicas_agree(self, topic):
        """Waits until all replicas of a topic are the same; their number."""
        directories = [self.data(n) for n in self.nodes]
        wanted = sum(len(p["replicas"]) for p in
                     self.describe(topic)["partitions"])
        found = [0, ["nothing compared"]]

        def same():
            found[:] = replica_diff.compare(directories, topic)
            return not found[1] and found[0] == wanted
        try:
            return wait_for("replicas agree", same, 30, 0.2)
        except Failed:
            raise Failed("%d differences of %d replicas of %s (of %d): %s" % (
                len(found[1]), found[0], topic, wanted,
                "; ".join(found[1][:2]))) from None

    def settle(self, seconds=120):
        """All brokers are there, all partitions complete; time it took."""
        started = time.monotonic()
        missing = []

        def complete():
            try:
                missing[:] = ["%s-%d: leader %s, in sync %s of %s" % (
                    topic, p["partition"], p["leader"], p["isr"],
                    p["replicas"]) for topic, p in self.all_partitions()
                    if p["leader"] not in self.nodes or
                    sorted(p["isr"]) != sorted(p["replicas"])]
            except Failed as error:
                missing[:] = [str(error)]
            return not missing
        try:
            wait_for("", complete, seconds, 0.1)
        except Failed:
            raise Failed("not all replicas are in sync after %d s: %s" % (
                seconds, "; ".join(missing[:4]))) from None
        return time.monotonic() - started
