"""What is done to the cluster; each function does one fault and undoes it.

While a single node suffers, the rest has to go on: `under()` waits until every
partition acknowledges records again.  When the fault is over, `recovered()`
waits until all replicas are in sync.  The scene writes down what was when.
"""

import contextlib
import signal
import time

from harness import Failed, PARTITIONS, wait_a_little, wait_for
from network import CLIENTS
from world import LAG_MS, SESSION_MS, VOTERS

LONG_S = (SESSION_MS + LAG_MS) / 1000  # the cluster has noticed by then
RECORDS = 20  # a partition that takes so many has come back


class Scene:
    """A world under load, and the faults it has seen."""

    def __init__(self, world, topic, load, rng):
        self.world = world
        self.topic = topic
        # To be kept whole, whoever leaves.
        self.topics = [topic, "__consumer_offsets", "__transaction_state"]
        self.load = load
        self.rng = rng
        self.faults = []  # {"class", "what", "from", "healed", "to"}

    @contextlib.contextmanager
    def fault(self, name, what):
        """From the first harm until recovered(); the network heals whatever
        happens."""
        entry = {"class": name, "what": what, "from": time.monotonic(),
                 "healed": None, "to": None}
        self.faults.append(entry)
        self.world.note("begin", name + ":", what)
        try:
            yield entry
        finally:
            self.world.network.heal()
            entry["healed"] = entry["healed"] or time.monotonic()
            self.world.note("healed", name)
            entry["to"] = time.monotonic()
        self.recovered()
        entry["to"] = time.monotonic()
        self.world.note("end", name)

    def recovered(self):
        self.load.flowing(90, RECORDS)
        self.world.wait_complete(self.topic, 120)

    def under(self):
        """All partitions go on while the fault lasts."""
        before = self.load.status()

        def waiting():
            now = self.load.status()
            return [p for p in range(PARTITIONS) if now[p] < before[p] + RECORDS]
        try:
            wait_for("", lambda: not waiting(), 90)
        except Failed:
            raise Failed("partitions %s acknowledge nothing for 90 s: %s" % (
                waiting(), self.world.leat("topics", "describe",
                                           self.topic))) from None

    def last(self, least=0.0, most=0.0):
        """Seconds that a fault takes because it is meant to."""
        time.sleep(self.rng.uniform(max(least, 0.5), max(most, 1.0)))

    # ---- choices ----

    def node(self):
        """Any; often the controller."""
        if self.rng.random() < 0.3:
            return self.world.controller()
        return self.rng.choice(self.world.nodes)

    def others(self, node):
        return [n for n in self.world.nodes if n != node]

    def only_broker(self):
        nodes = [n for n in self.world.nodes if n not in VOTERS]
        if not nodes:
            raise Failed("this fault needs a node that is no controller: "
                         "--nodes 4 or more")
        return self.rng.choice(nodes)


# ---- processes -----------------------------------------------------------------

def kill(s):
    node = s.node()
    with s.fault("kill", "SIGKILL of node %d" % node):
        s.world.kill(node)
        s.under()
        s.world.start(node)


def stop(s):
    """A node stands still and wakes up believing what it believed."""
    node = s.node()
    with s.fault("stop", "SIGSTOP of node %d" % node):
        s.world.signal(signal.SIGSTOP, node)
        try:
            s.last(SESSION_MS / 1000 + 1, SESSION_MS / 1000 + 6)
            s.under()
        finally:
            s.world.signal(signal.SIGCONT, node)


def controller_and_broker(s):
    broker = s.only_broker()
    controller = s.world.controller()
    with s.fault("both", "SIGKILL of controller %d and broker %d" %
                 (controller, broker)):
        s.world.kill(controller, broker)
        s.under()
        s.world.start(controller, broker)


def rolling(s):
    with s.fault("rolling", "one node after the other restarts"):
        for node in s.world.nodes[:]:
            s.world.stop(node)
            s.under()
            s.world.start(node)
            s.world.wait_complete(s.topic, 120)


# ---- the network ---------------------------------------------------------------

def isolate(s):
    """From clients, too, or only from the other nodes: then it goes on taking
    what clients send, and must not acknowledge it."""
    node = s.node()
    inner = s.rng.random() < 0.5
    others = s.others(node) + ([] if inner else [CLIENTS])
    with s.fault("isolate", "node %d hears and reaches no %s" % (
            node, "other node, but clients" if inner else "one")):
        s.world.network.cut([node], others)
        s.last(1, LONG_S + 2)
        s.under()


def one_way(s):
    node = s.node()
    deaf = s.rng.random() < 0.5
    others, whom = s.others(node), "other nodes"
    if s.rng.random() < 0.3:
        others, whom = others + [CLIENTS], "anyone"
    with s.fault("one-way", "node %d %s %s" % (
            node, "does not hear" if deaf else "does not reach", whom)):
        s.world.network.drop(*((others, [node]) if deaf
                               else ([node], others)))
        s.last(1, LONG_S + 2)
        s.under()


def pair(s):
    one = s.node()
    two = s.rng.choice(s.others(one))
    with s.fault("pair", "nodes %d and %d do not reach each other" %
                 (one, two)):
        s.world.network.cut([one], [two])
        s.last(1, LONG_S + 2)
        s.under()


def loss(s):
    some = s.world.nodes if s.rng.random() < 0.5 else [s.node()]
    permille = s.rng.choice((20, 50, 100))
    everyone = s.world.nodes + [CLIENTS]
    with s.fault("loss", "%.0f %% of packets from and to nodes %s are lost" %
                 (permille / 10, some)):
        s.world.network.drop(some, everyone, permille)
        s.world.network.drop(everyone, some, permille)
        s.last(4, 12)
        s.under()


def delay(s):
    node = s.node()
    ms = s.rng.choice((20, 80, 250))
    with s.fault("delay", "%d to %d ms each way to node %d" %
                 (ms, 2 * ms, node)):
        s.world.network.delay(node, ms, ms)
        s.last(4, 12)
        s.under()


def rate(s):
    node = s.node()
    kbit = s.rng.choice((500, 2000, 8000))
    with s.fault("rate", "%d kbit/s to and from node %d" % (kbit, node)):
        s.world.network.limit(node, kbit)
        s.last(4, 12)
        # The slowest carries less than what is sent, and then mostly what
        # clients that timed out send again.  A controller behind it is heard
        # and goes on leading, so that nobody need acknowledge meanwhile.
        if kbit > 500:
            s.under()


# ---- disks -----------------------------------------------------------------------

def full_disk(s):
    node = s.node()
    disk = s.world.disks[node]
    with s.fault("full-disk", "node %d has no space left" % node) as entry:
        until = time.monotonic() + s.rng.uniform(3, 10)
        try:
            while time.monotonic() < until:
                disk.fill()  # what was set free meanwhile, too
                time.sleep(0.2)
        finally:
            disk.free()
        # A write that failed just before may end the node only now.
        wait_a_little(lambda: not s.world.alive(node), 1)
        if not s.world.alive(node):
            entry["what"] += ", and ended: " + s.world.last_words(node)
            s.world.start(node)


def slow_disk(s):
    node = s.node()
    disk = s.world.disks[node]
    writes = s.rng.choice((2, 10, 50))
    with s.fault("slow-disk", "node %d writes %d times a second" %
                 (node, writes)):
        disk.slow(writes)
        try:
            s.last(5, 12)
            s.under()
        finally:
            disk.slow(0)


def replaceable(s, node):
    """No partition counts on this node's replica alone."""
    try:
        return all(set(p["isr"]) - {node} for _, p in
                   s.world.all_partitions() if node in p["replicas"])
    except Failed:
        return False


def lost_disk(s):
    """A broker comes back without anything.  It was stopped in order, and
    what it has is elsewhere, or there would be loss that nobody can help."""
    node = s.only_broker()
    s.world.wait_complete(s.topic, 120)
    with s.fault("lost-disk", "node %d loses its data directory" %
                 node) as entry:
        s.world.stop(node)
        s.under()
        wait_a_little(lambda: replaceable(s, node), 10)
        if replaceable(s, node):
            s.world.wipe(node)
        else:
            entry["what"] += " (not done: it has the last replica)"
        s.world.start(node)


# ---- growth ------------------------------------------------------------------------

def move(world, topic, plan):
    """plan: {partition: nodes}"""
    most = max(plan) + 1
    places = [":".join(map(str, plan.get(i, []))) for i in range(most)]
    count = len(world.describe(topic)["partitions"])
    places += [""] * (count - most)
    world.leat("topics", "alter", topic, "--replica-assignment",
               ",".join(places))

    def there():
        try:
            found = world.describe(topic)["partitions"]
        except Failed:
            return False
        return all(sorted(found[i]["replicas"]) == sorted(nodes) and
                   sorted(found[i]["isr"]) == sorted(nodes)
                   for i, nodes in plan.items())
    wait_for("%s is on %s" % (topic, plan), there, 120, 0.1)


def evacuate(s, node, topics):
    """Moves the replicas of these topics from a node to others."""
    plans = {}
    for topic, p in s.world.all_partitions():
        if topic in topics and node in p["replicas"]:
            rest = [n for n in s.others(node) if n not in p["replicas"]]
            plans.setdefault(topic, {})[p["partition"]] = [
                n for n in p["replicas"] if n != node] + rest[:1]
    for topic, plan in plans.items():
        move(s.world, topic, plan)


def grow(s):
    """A node joins and takes replicas; it or one that was there before gives
    away all that it has and leaves for good."""
    with s.fault("grow", "a node joins, one leaves") as entry:
        node = s.world.add()
        leaver = s.only_broker()
        entry["what"] = "node %d joins, node %d leaves" % (node, leaver)
        plan = {}
        for p in s.world.describe(s.topic)["partitions"]:
            kept = p["replicas"][:]
            kept[s.rng.randrange(len(kept))] = node
            plan[p["partition"]] = kept
        move(s.world, s.topic, plan)
        s.under()
        evacuate(s, leaver, s.topics)
        s.under()
        s.world.remove(leaver)


def controllers(s):
    """A node joins and becomes a controller in place of another one; then
    whoever is active dies, and all of it is undone."""
    with s.fault("controllers", "another controller") as entry:
        old = s.world.controller() if s.rng.random() < 0.5 \
            else s.rng.choice(VOTERS)
        new = s.world.add(controller=True)
        entry["what"] = "node %d is a controller in place of %d" % (new, old)
        s.world.change_voters(new, True)
        s.world.change_voters(old, False)
        s.under()
        active = s.world.controller()
        s.world.kill(active)
        s.under()
        s.world.start(active)
        s.world.wait_complete(s.topic, 120)
        s.world.change_voters(old, True)
        s.world.change_voters(new, False)
        evacuate(s, new, (s.topic, "__consumer_offsets"))
        s.under()
        s.world.remove(new)


def mixed(s):
    """One of the others, and sometimes on a network that loses packets."""
    out = ["mixed", "grow", "controllers"]
    if len(s.world.nodes) == len(VOTERS):
        out += ["both", "lost-disk"]
    if not s.world.slow:
        out.append("slow-disk")
    name = s.rng.choice([n for n in FAULTS if n not in out])
    if s.rng.random() < 0.3:
        everyone = s.world.nodes + [CLIENTS]
        s.world.network.drop(everyone, everyone, 10)
    FAULTS[name](s)


FAULTS = {
    "kill": kill,
    "stop": stop,
    "isolate": isolate,
    "one-way": one_way,
    "pair": pair,
    "loss": loss,
    "delay": delay,
    "rate": rate,
    "full-disk": full_disk,
    "slow-disk": slow_disk,
    "lost-disk": lost_disk,
    "both": controller_and_broker,
    "rolling": rolling,
    "grow": grow,
    "controllers": controllers,
    "mixed": mixed,
}
# What the short form does, one round each: most harm in the least time.
SHORT = ("kill", "one-way", "full-disk", "both", "stop", "lost-disk",
         "isolate")
