"""More groups, more members and larger ones than anybody should have: refused
or bounded, and others do not notice."""

import struct
import uuid

import wire
import world
from wire import array, string
from world import expect, expect_equal, wait_for

COUNT = 50000  # open groups; run --groups asks for others
OFFSETS, OFFSETS_PARTITIONS = "__consumer_offsets", 50
NOT_NOW = {14, 15, 16}  # loading, not available, elsewhere
GROUP_FULL = 81
IN_FLIGHT = 200
SESSION_MS = 1800000  # nobody beats meanwhile
# What a node may take for one group of a member, its tables and what the
# allocator keeps included; sanitizers take twice as much as others.
GROUP_MAX_BYTES = 6000
MEMBERS_MAX_MB = 256  # of a coordinator


def new_cluster():
    return world.Cluster(config="group.initial.rebalance.delay.ms=0 "
                                "min.insync.replicas=2")


# ---- requests -------------------------------------------------------------


def _find(group):
    return string(group)


def _join(group, member="", metadata=b"", rebalance_ms=SESSION_MS):
    return string(group) + struct.pack(">ii", SESSION_MS, rebalance_ms) + \
        string(member) + string("consumer") + array([
            string("range") + struct.pack(">i", len(metadata)) + metadata])


def _sync(group, member):
    return string(group) + struct.pack(">i", 1) + string(member) + array([
        string(member) + struct.pack(">i", 4) + b"mine"])


def _beat(group, member, generation=1):
    return string(group) + struct.pack(">i", generation) + string(member)


def _joined(answer):
    """(error, generation, member) of JoinGroup 1."""
    error, generation = answer.take("hi")
    answer.string(), answer.string()
    return error, generation, answer.string()


JOIN, HEARTBEAT, LEAVE, SYNC, FIND = 11, 12, 13, 14, 10
CONSUMER_HEARTBEAT = 68


def _partition(group):
    """As Kafka places it."""
    code = 0
    for c in group:
        code = (31 * code + ord(c)) & 0xffffffff
    code = code - (1 << 32) if code >> 31 else code
    return (0 if code == -2**31 else abs(code)) % OFFSETS_PARTITIONS


class _Coordinators:
    """A connection to each node, and who coordinates what."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.connections = {}
        with cluster.connect(cluster.any_node()) as c:
            def found():
                answer = c.call(FIND, 0, _find("any"))
                return answer.take("h") == 0
            wait_for("coordinators", found)
        self.refresh()

    def refresh(self):
        with self.cluster.connect(self.cluster.any_node()) as c:
            def known():
                parts = c.metadata([OFFSETS])[OFFSETS][1]
                leaders = {p: leader for p, (_, leader, _) in parts.items()}
                good = len(leaders) == OFFSETS_PARTITIONS and all(
                    leader > 0 and self.cluster.pid(leader)
                    for leader in leaders.values())
                return leaders if good else None
            self.leaders = wait_for("their leaders", known)

    def connection(self, node):
        if node not in self.connections:
            self.connections[node] = self.cluster.connect(node, 60)
        return self.connections[node]

    def close(self):
        for c in self.connections.values():
            c.close()
        self.connections = {}

    def node(self, group):
        return self.leaders[_partition(group)]

    def ask(self, group, api, version, body):
        """Until its coordinator takes requests; (error, the rest)."""
        def answered():
            try:
                answer = self.connection(self.node(group)).call(
                    api, version, body)
            except (wire.Closed, OSError):
                self.close()
                self.refresh()
                return None
            if version == 1 and api == JOIN or version == 0:
                error = answer.take("h")
            else:
                error = answer.take("ih")[1]
            if error in NOT_NOW:
                self.refresh()
                return None
            return error, answer
        return wait_for("an answer about " + group, answered, 60)

    def many(self, api, version, requests, take):
        """Sends all (group, body), some ahead of their answers; gives what
        take(group, answer) makes of these."""
        waiting = {node: [] for node in set(self.leaders.values())}
        done = []

        def drain(node, down_to):
            c = self.connection(node)
            while len(waiting[node]) > down_to:
                group, correlation = waiting[node].pop(0)
                answer = wire.Reader(c.answer())
                expect_equal(answer.take("i"), correlation, "correlation id")
                done.append(take(group, answer))
        for group, body in requests:
            node = self.node(group)
            waiting[node].append((group, self.connection(node).post(
                api, version, body)))
            if len(waiting[node]) >= 2 * IN_FLIGHT:
                drain(node, IN_FLIGHT)
        for node in waiting:
            drain(node, 0)
        return done


def _a_group_of_its_own(coordinators, name, generation=1):
    """One that lives as groups should, beside all the others."""
    error, answer = coordinators.ask(name, JOIN, 1, _join(name))
    expect_equal(error, 0, "JoinGroup")
    answer.take("i"), answer.string(), answer.string()
    member = answer.string()
    error, _ = coordinators.ask(name, SYNC, 0, _sync(name, member))
    expect_equal(error, 0, "SyncGroup")
    error, _ = coordinators.ask(name, HEARTBEAT, 0,
                                _beat(name, member, generation))
    expect_equal(error, 0, "Heartbeat")
    error, _ = coordinators.ask(name, LEAVE, 0,
                                string(name) + string(member))
    expect_equal(error, 0, "LeaveGroup")


def _memory(cluster):
    return [cluster.memory_mb(node) for node in range(1, cluster.nodes + 1)]


# ---- checks ---------------------------------------------------------------


def very_many_open_groups(cluster):
    """Each with a member and an assignment; a node is killed in the end, and
    the others know its groups."""
    coordinators = _Coordinators(cluster)
    names = ["open-%d" % i for i in range(COUNT)]
    _a_group_of_its_own(coordinators, "before")
    before = _memory(cluster)

    def member(group, answer):
        error, generation, id_ = _joined(answer)
        expect((error, generation) == (0, 1), group, "joins with", error)
        return group, id_
    members = dict(coordinators.many(
        JOIN, 1, ((g, _join(g)) for g in names), member))
    _a_group_of_its_own(coordinators, "meanwhile")

    def synced(group, answer):
        expect_equal(answer.take("h"), 0, "SyncGroup of " + group)
    coordinators.many(SYNC, 0, (
        (g, _sync(g, members[g])) for g in names), synced)
    grown = sum(_memory(cluster)) - sum(before)
    most = max(100, COUNT * GROUP_MAX_BYTES / (1 << 20))
    # The records of all groups are with all nodes, in the page cache.
    expect(grown < most, COUNT, "groups take", grown, "MB of three nodes")
    _a_group_of_its_own(coordinators, "afterwards")
    cluster.verify()

    victim = coordinators.node(names[0])
    cluster.kill(victim)
    coordinators.close()
    wait_for("other coordinators", lambda: not coordinators.refresh() and
             victim not in coordinators.leaders.values(), 60)
    for group in names[::max(1, COUNT // 500)]:
        error, _ = coordinators.ask(group, HEARTBEAT, 0,
                                    _beat(group, members[group]))
        expect_equal(error, 0, "Heartbeat of %s after its coordinator's "
                     "end" % group)
    cluster.start(victim)
    cluster.wait_isr(OFFSETS, [1, 2, 3])
    coordinators.close()
    print("   %d groups, %.0f MB more than %.0f MB" % (
        COUNT, grown, sum(before)), flush=True)


def members_that_tell_too_much(cluster):
    """4 MB each, in groups of one coordinator: as many as there is room for,
    then none, until some leave."""
    coordinators = _Coordinators(cluster)
    size, home = 4 << 20, _partition("large")
    names = [n for n in ("large-%d" % i for i in range(20000))
             if _partition(n) == home]
    node = coordinators.leaders[home]
    _a_group_of_its_own(coordinators, names[0])
    before, members = cluster.memory_mb(node), {}

    def join(group):
        error, answer = coordinators.ask(group, JOIN, 1, _join(
            group, metadata=bytes(size)))
        answer.take("i"), answer.string(), answer.string()
        if error == 0:
            members[group] = answer.string()
        return error

    def leave(group):
        error, _ = coordinators.ask(group, LEAVE, 0, string(group) +
                                    string(members.pop(group)))
        expect_equal(error, 0, "LeaveGroup")
    error = next(filter(None, map(join, names[1:])), 0)
    expect_equal(error, GROUP_FULL, "error")
    expect(len(members) * size <= MEMBERS_MAX_MB << 20, len(members),
           "members of", size, "bytes were taken")
    grown = cluster.memory_mb(node) - before
    expect(grown < 3 * MEMBERS_MAX_MB, "the node takes", grown, "MB")
    for group in list(members)[::10]:
        expect_equal(coordinators.ask(group, HEARTBEAT, 0, _beat(
            group, members[group]))[0], 0, "Heartbeat")
    _a_group_of_its_own(coordinators, "elsewhere")
    print("   %d members, %.0f MB more" % (len(members), grown), flush=True)
    for group in list(members)[:5]:
        leave(group)
    expect_equal([join(names[-i]) for i in (1, 2, 3)], [0, 0, 0],
                 "errors once there is room")
    for group in list(members):
        leave(group)
    coordinators.close()


def joins_that_wait(cluster):
    """More of them, for a member that does not come, than requests may have
    memory (queued.max.request.bytes): nobody else waits for them."""
    coordinators = _Coordinators(cluster)
    group, size = "waiting", 1 << 20
    _a_group_of_its_own(coordinators, "beside-them")
    node = coordinators.node(group)
    waiting = [cluster.connect(node, 60) for _ in range(230)]
    for c in waiting:
        c.post(JOIN, 1, _join(group, metadata=bytes(size)))
    for i in range(12):
        with cluster.connect(node, 20) as c:
            c.api_versions()
        _a_group_of_its_own(coordinators, "among-them-%d" % i)
    cluster.wait_isr(OFFSETS, [1, 2, 3])
    for c in waiting:
        c.close()
    coordinators.close()


def _compact(text):
    data = text.encode()
    return bytes([len(data) + 1]) + data


def _consumer(group, member, epoch, topic=None):
    """ConsumerGroupHeartbeat 0; to join, a topic."""
    names = b"\0" if topic is None else b"\2" + _compact(topic)
    owned = b"\0" if topic is None else b"\1"
    return _compact(group) + _compact(member) + struct.pack(">i", epoch) + \
        b"\0\0" + struct.pack(">i", 30000 if topic else -1) + names + \
        b"\0" + owned + b"\0"


def a_group_with_very_many_members(cluster):
    """Of KIP-848, which needs no connection for each."""
    count, topic, group = max(1000, COUNT // 25), "many", "many-members"
    cluster.create(topic)
    coordinators = _Coordinators(cluster)
    before = max(_memory(cluster))

    def heartbeat(member, epoch, topic=None):
        """Its error, wherever the coordinator is."""
        def answered():
            c = coordinators.connection(coordinators.node(group))
            c.correlation += 1
            c.send(wire.frame(wire.header(
                CONSUMER_HEARTBEAT, 0, c.correlation, flexible=True) +
                _consumer(group, member, epoch, topic)))
            answer = wire.Reader(c.answer())
            expect_equal(answer.take("i"), c.correlation, "correlation id")
            answer.take("b"), answer.take("i")
            error = answer.take("h")
            if error in NOT_NOW:
                coordinators.refresh()
                return None
            return [error]
        return wait_for("an answer", answered, 60)[0]
    ids = [str(uuid.UUID(int=i + 1)) for i in range(count)]
    for i, member in enumerate(ids):
        expect_equal(heartbeat(member, 0, topic), 0, "member %d joins" % i)
        if i % (count // 4) == 0:
            _a_group_of_its_own(coordinators, "beside-%d" % i)
    grown = max(_memory(cluster)) - before
    expect(grown < max(100, count * 2 * GROUP_MAX_BYTES / (1 << 20)),
           count, "members take", grown, "MB")
    for member in ids[::max(1, count // 100)]:
        expect_equal(heartbeat(member, -1), 0, "leaves")
    _a_group_of_its_own(coordinators, "beside-in-the-end")
    coordinators.close()
    print("   %d members, %.0f MB more" % (count, grown), flush=True)
