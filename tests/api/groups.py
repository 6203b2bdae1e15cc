"""Classic groups: from FindCoordinator to DeleteGroups.

flow() walks a group through its life with every API in the version under
test, or in the newest below it, so one age of clients is seen at a time."""

import wire
from sweep import Wrong, covers, wait_for

# READ, DELETE, DESCRIBE, ALTER_CONFIGS, DESCRIBE_CONFIGS, as bits
BITS_GROUP = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11
SUBSCRIPTION = bytes(6) + b"\xff\xff\xff\xff"  # version 0, to nothing
PROTOCOL = [{"name": "range", "metadata": SUBSCRIPTION},
            {"name": "roundrobin", "metadata": SUBSCRIPTION}]


def coordinator(s, group):
    def found():
        a = s.call(1, "FindCoordinator", 1, key=group, keyType=0)
        return None if a["errorCode"] else a["nodeId"]
    return wait_for("a coordinator of " + group, found)


class Group:
    """A group at its coordinator; every request is of the same age."""

    def __init__(self, s, suffix):
        self.s = s
        self.name = s.name(suffix)
        self.node = coordinator(s, self.name)

    def of_age(self, name):
        return min(self.s.version, self.s.newest(name)) \
            if self.s.api != name else self.s.version

    def ask(self, label, name, connection="", **fields):
        low = self.s.served[wire.APIS[name].key][0]
        return self.s.ask(label, self.node, name,
                          max(low, self.of_age(name)), connection, **fields)

    def retry(self, label, name, good, **fields):
        """A new coordinator may still be loading (14) or unknown (16)."""
        def tried():
            a = self.ask(label, name, **fields)
            if good(a):
                return a
            self.s.notes.pop()
            return None
        return wait_for(label, tried)

    def join_fields(self, member="", **more):
        return dict(dict(groupId=self.name, sessionTimeoutMs=10000,
                         rebalanceTimeoutMs=10000, memberId=member,
                         protocolType="consumer", protocols=PROTOCOL), **more)

    def join(self, label, member="", connection="", **more):
        """Joins; from version 4 on the first answer only gives an id."""
        fields = self.join_fields(member, **more)
        a = self.retry(label, "JoinGroup", lambda a: a["errorCode"] not in
                       (14, 15, 16), connection=connection, **fields)
        if a["errorCode"] == 79:
            fields["memberId"] = a["memberId"]
            a = self.ask(label + " with its id", "JoinGroup", connection,
                         **fields)
        return a

    def sync(self, label, member, generation, parts=(), connection="",
             **more):
        more.setdefault("protocolType", "consumer")
        more.setdefault("protocolName", "range")
        return self.ask(label, "SyncGroup", connection, groupId=self.name,
                        generationId=generation, memberId=member,
                        assignments=[{"memberId": m, "assignment": a}
                                     for m, a in parts], **more)

    def beat(self, label, member, generation, **more):
        return self.ask(label, "Heartbeat", groupId=more.pop(
            "group", self.name), generationId=generation, memberId=member,
            **more)["errorCode"]

    def one(self, label="joins"):
        """The group with one member, stable."""
        a = self.join(label)
        member = a["memberId"]
        if a["errorCode"]:
            raise Wrong("%s: error %d" % (label, a["errorCode"]))
        self.sync("syncs", member, a["generationId"],
                  [(member, b"mine")])
        return member, a["generationId"]

    def leave(self, label, member, **more):
        if self.of_age("LeaveGroup") >= 3:
            return self.ask(label, "LeaveGroup", groupId=self.name, members=[
                dict(more, memberId=member)])
        return self.ask(label, "LeaveGroup", groupId=self.name,
                        memberId=member)


# ---- FindCoordinator ------------------------------------------------------


@covers("FindCoordinator")
def find_coordinator(s, v):
    name = s.name("g")
    coordinator(s, name)

    def find(label, keys, kind=0):
        a = s.ask(label, 2, keyType=kind, coordinatorKeys=keys) if v >= 4 \
            else s.ask(label, 2, key=keys[0], keyType=kind)
        return a["coordinators"] if v >= 4 else [a]

    got = find("a group", [name])[0]
    s.check("a group: error", got["errorCode"], 0)
    s.check("a group: address", (got["host"], got["port"]),
            s.nodes.get(got["nodeId"]))
    if v >= 1:
        s.check("a group: message", got["errorMessage"],
                "NONE" if v < 4 else "")
    same = find("the same group", [name])[0]
    s.check("the same group", same["nodeId"], got["nodeId"])
    if v >= 4:
        s.check("a group: key", got["key"], name)
        names = [name] + [s.name(str(i)) for i in range(5)]
        many = find("many groups", names)
        s.check("many groups: keys", [c["key"] for c in many], names)
        s.check("many groups: errors", [c["errorCode"] for c in many],
                [0] * 6)
        s.check("no group", find("no group", []), [])
    if v >= 1:
        found = wait_for("the coordinator of a transaction", lambda: [
            a for a in find("a transactional id", [name], 1)
            if a["errorCode"] == 0])[0]
        s.check("a transactional id: address",
                (found["host"], found["port"]), s.nodes.get(found["nodeId"]))
        bad = find("unknown kind", [name], 9)[0]
        s.check("unknown kind", (bad["errorCode"], bad["nodeId"]), (42, -1))
        find("empty group", [""])


# ---- members --------------------------------------------------------------


@covers("JoinGroup", "SyncGroup", "Heartbeat")
def group_forms(s, v):
    g = Group(s, "form")
    j = g.of_age("JoinGroup")
    a = g.join("first joins")
    member = a["memberId"]
    want = {"errorCode": 0, "generationId": 1, "protocolName": "range",
            "leader": member, "memberId": member, "members": [
                {"memberId": member, "metadata": SUBSCRIPTION}]}
    if j >= 2:
        want["throttleTimeMs"] = 0
    if j >= 5:
        want["members"][0]["groupInstanceId"] = None
    if j >= 7:
        want["protocolType"] = "consumer"
    if j >= 9:
        want["skipAssignment"] = False
    s.check("first joins: answer", a, want)
    s.true("first joins: id", member.startswith("sweep-"), member)
    d = g.ask("waits for its leader", "DescribeGroups", groups=[g.name])
    s.check("waits for its leader", d["groups"][0]["groupState"],
            "CompletingRebalance")
    a = g.sync("first syncs", member, 1, [(member, b"all")])
    want = {"errorCode": 0, "assignment": b"all"}
    if "throttleTimeMs" in a:
        want["throttleTimeMs"] = 0
    if g.of_age("SyncGroup") >= 5:
        want.update(protocolType="consumer", protocolName="range")
    s.check("first syncs: answer", a, want)
    s.check("beats", g.beat("beats", member, 1), 0)
    second_member(s, g, member)


def second_member(s, g, first):
    fields = g.join_fields()
    if g.of_age("JoinGroup") >= 4:
        a = g.ask("second asks for an id", "JoinGroup", "second", **fields)
        s.check("second asks for an id", (a["errorCode"], a["generationId"]),
                (79, -1))
        fields["memberId"] = a["memberId"]
    version = g.of_age("JoinGroup")
    s.send(g.node, "JoinGroup", version, "second", **fields)
    wait_for("the rebalance", lambda: g.beat("in a rebalance", first, 1)
             == 27 or s.notes.pop() and False)
    a = g.join("first joins again", first)
    b = s.receive("second joins", g.node, "JoinGroup", version, "second")
    second = b["memberId"]
    s.check("two members: generation", (a["generationId"],
                                        b["generationId"]), (2, 2))
    s.check("two members: leader", (a["leader"], b["leader"]),
            (first, first))
    s.check("two members: the leader sees both",
            {m["memberId"] for m in a["members"]}, {first, second})
    s.check("two members: the other none", b["members"], [])
    version = g.of_age("SyncGroup")
    s.send(g.node, "SyncGroup", version, "second", groupId=g.name,
           generationId=2, memberId=second, assignments=[],
           protocolType="consumer", protocolName="range")
    a = g.sync("leader syncs", first, 2, [(first, b"1"), (second, b"2")])
    b = s.receive("second syncs", g.node, "SyncGroup", version, "second")
    s.check("two members: assignments", (a["assignment"], b["assignment"]),
            (b"1", b"2"))
    s.check("old generation", g.beat("old generation", first, 1), 22)


@covers("JoinGroup")
def join_refused(s, v):
    g = Group(s, "refused")
    member, _ = g.one()

    def error(label, want, **fields):
        a = g.ask(label, "JoinGroup", **g.join_fields(**fields))
        s.check(label, (a["errorCode"], a["generationId"]), (want, -1))
        return a

    error("no group id", 24, groupId="")
    error("unknown member", 25, member="who")
    error("session timeout too short", 26, sessionTimeoutMs=10)
    error("session timeout too long", 26, sessionTimeoutMs=2000000000)
    error("another protocol type", 23, protocolType="connect")
    error("no protocol in common", 23, protocols=[
        {"name": "other", "metadata": b""}])
    error("no protocols", 23, protocols=[])
    other = Group(s, "untyped")
    a = other.ask("no protocol type", "JoinGroup",
                  **other.join_fields(protocolType=""))
    s.check("no protocol type", a["errorCode"], 23)
    wrong = next(n for n in s.nodes if n != g.node)
    a = s.ask("not the coordinator", wrong, **g.join_fields())
    s.check("not the coordinator", a["errorCode"], 16)
    s.check("still there", g.beat("still there", member, 1), 0)


@covers("JoinGroup", "SyncGroup", "Heartbeat", "LeaveGroup")
def static_member(s, v):
    g = Group(s, "static")
    if g.of_age("JoinGroup") < 5:
        return
    a = g.join("static member joins", groupInstanceId="i1")
    s.check("static member joins", (a["errorCode"], a["generationId"],
            a["members"][0]["groupInstanceId"]), (0, 1, "i1"))
    old = a["memberId"]
    g.sync("static member syncs", old, 1, [(old, b"x")],
           groupInstanceId="i1")
    b = g.join("static member comes back", groupInstanceId="i1")
    new = b["memberId"]
    s.check("static member comes back: no rebalance",
            (b["errorCode"], b["generationId"]), (0, 1))
    s.true("static member comes back: another id", old != new)
    s.check("its assignment is kept", g.sync(
        "its assignment is kept", new, 1, groupInstanceId="i1")["assignment"],
        b"x")
    if g.of_age("Heartbeat") >= 3:
        s.check("fenced", g.beat("fenced", old, 1, groupInstanceId="i1"), 82)
        s.check("current", g.beat("current", new, 1, groupInstanceId="i1"), 0)
    if g.of_age("LeaveGroup") >= 3:
        a = g.leave("leaves by instance", "", groupInstanceId="i1")
        s.check("leaves by instance", (a["errorCode"], [
            (m["groupInstanceId"], m["errorCode"]) for m in a["members"]]),
            (0, [("i1", 0)]))


@covers("SyncGroup")
def sync_refused(s, v):
    g = Group(s, "refused")
    member, generation = g.one()
    for label, want, who, when, more in (
            ("unknown member", 25, "who", generation, {}),
            ("wrong generation", 22, member, 7, {}),
            ("another protocol", 23, member, generation,
             {"protocolName": "other"}),
            ("another protocol type", 23, member, generation,
             {"protocolType": "connect"})):
        if "another" in label and v < 5:
            continue
        a = g.sync(label, who, when, **more)
        s.check(label, (a["errorCode"], a["assignment"]), (want, b""))
    a = g.sync("the assignment again", member, generation)
    s.check("the assignment again", (a["errorCode"], a["assignment"]),
            (0, b"mine"))


@covers("Heartbeat")
def heartbeat_refused(s, v):
    g = Group(s, "refused")
    member, generation = g.one()
    s.check("beats", g.beat("beats", member, generation), 0)
    s.check("unknown member", g.beat("unknown member", "who", generation), 25)
    s.check("wrong generation", g.beat("wrong generation", member, 9), 22)
    s.check("no group id", g.beat("no group id", member, 1, group=""), 24)
    wrong = next(n for n in s.nodes if n != g.node)
    a = s.ask("not the coordinator", wrong, groupId=g.name,
              generationId=generation, memberId=member)
    s.check("not the coordinator", a["errorCode"], 16)


@covers("LeaveGroup")
def leave_group(s, v):
    g = Group(s, "leave")
    member, generation = g.one()
    a = g.leave("unknown member", "who")
    if v >= 3:
        s.check("unknown member", (a["errorCode"], a["members"]), (0, [
            {"memberId": "who", "groupInstanceId": None, "errorCode": 25}]))
    else:
        s.check("unknown member", a["errorCode"], 25)
    a = g.leave("leaves", member)
    s.check("leaves", a["errorCode"], 0)
    if v >= 3:
        s.check("leaves: members", a["members"], [
            {"memberId": member, "groupInstanceId": None, "errorCode": 0}])
    s.check("has left", g.beat("has left", member, generation), 25)
    d = g.ask("nobody is left", "DescribeGroups", groups=[g.name])
    s.check("nobody is left", d["groups"][0]["groupState"], "Empty")


# ---- offsets --------------------------------------------------------------


def named(s, topic, version, newest_name):
    return {"topicId": s.id(topic)} if version > newest_name \
        else {"name": topic}


def committed(g, label, topic, offset, member="", generation=-1, **more):
    """[error of each partition]"""
    s, v = g.s, max(g.of_age("OffsetCommit"),
                    g.s.served[wire.APIS["OffsetCommit"].key][0])
    part = {"partitionIndex": more.pop("partition", 0),
            "committedOffset": offset,
            "committedMetadata": more.pop("metadata", "note")}
    part["committedLeaderEpoch"] = more.pop("epoch", 0)
    a = g.ask(label, "OffsetCommit", groupId=g.name, memberId=member,
              generationIdOrMemberEpoch=generation, topics=[dict(
                  named(s, topic, v, 9), partitions=[part])])
    got = a["topics"][0]
    s.check(label + ": topic", {k: got[k] for k in got if k != "partitions"},
            named(s, topic, v, 9))
    s.check(label + ": partition", got["partitions"][0]["partitionIndex"],
            part["partitionIndex"])
    return got["partitions"][0]["errorCode"]


def offsets(g, label, topics, group=None, **more):
    """(error, {topic: {partition: (offset, epoch, metadata, error)}})"""
    s = g.s
    v = max(g.of_age("OffsetFetch"), s.served[wire.APIS["OffsetFetch"].key][0])
    named_topics = None if topics is None else [
        dict(named(s, t, v, 9), partitionIndexes=p) for t, p in topics]
    if v >= 8:
        a = g.ask(label, "OffsetFetch", groups=[dict(
            more, groupId=group or g.name, topics=named_topics)])
        assert [x["groupId"] for x in a["groups"]] == [group or g.name], a
        a = a["groups"][0]
    else:
        a = g.ask(label, "OffsetFetch", groupId=group or g.name,
                  topics=named_topics)
    of_id = {i: n for n, i in s.ids.items()}
    return a.get("errorCode", 0), {
        t["name"] if "name" in t else of_id.get(t["topicId"], "?"):
        {p["partitionIndex"]: (
            p["committedOffset"], p.get("committedLeaderEpoch"),
            p["metadata"], p["errorCode"]) for p in t["partitions"]}
        for t in a["topics"]}


def beside(s, g):
    """The name of a group that nobody knows, at the same coordinator."""
    for i in range(100):
        name = "%s-no%d" % (g.name, i)
        if coordinator(s, name) == g.node:
            return name
    raise Wrong("no other group at node %d" % g.node)


def age(s, name):
    return max(min(s.version, s.newest(name)),
               s.served[wire.APIS[name].key][0])


@covers("OffsetCommit", "OffsetFetch")
def offsets_by_hand(s, v):
    """Without members, as tools and simple consumers do it."""
    g = Group(s, "simple")
    topic = s.topic()
    unknown = beside(s, g)
    epoch = {True: 0, False: -1}[age(s, "OffsetCommit") >= 6] \
        if age(s, "OffsetFetch") >= 5 else None
    none = (-1, -1 if epoch is not None else None, "", 0)
    s.check("commits", committed(g, "commits", topic, 12), 0)
    s.check("commits elsewhere", committed(g, "commits elsewhere", topic, 30,
                                           partition=2, metadata=""), 0)
    s.check("offsets", offsets(g, "offsets", [(topic, [0, 1])]), (0, {
        topic: {0: (12, epoch, "note", 0), 1: none}}))
    if age(s, "OffsetFetch") >= 2:
        s.check("all offsets", offsets(g, "all offsets", None), (0, {
            topic: {0: (12, epoch, "note", 0), 2: (30, epoch, "", 0)}}))
    s.check("offsets of an unknown group", offsets(
        g, "offsets of an unknown group", [(topic, [0])],
        group=unknown)[1], {topic: {0: none}})
    if age(s, "OffsetFetch") >= 8 and s.api == "OffsetFetch":
        a = g.ask("two groups", "OffsetFetch", groups=[
            {"groupId": n, "topics": None} for n in (g.name, unknown)])
        s.check("two groups", [(x["groupId"], x["errorCode"],
                                len(x["topics"])) for x in a["groups"]],
                [(g.name, 0, 1), (unknown, 0, 0)])
    if age(s, "OffsetFetch") >= 7:
        s.check("stable offsets", offsets(g, "stable offsets",
                                          [(topic, [0])])[0], 0)


@covers("OffsetCommit", "OffsetFetch")
def offsets_refused(s, v):
    g = Group(s, "refused")
    topic = s.topic("refused", 1)
    commit_version = age(s, "OffsetCommit")
    s.check("metadata too long", committed(
        g, "metadata too long", topic, 1, metadata="x" * 5000), 12)
    s.check("unknown topic", committed(g, "unknown topic", topic + "-no", 1),
            100 if commit_version >= 10 else 3)
    s.check("unknown partition", committed(g, "unknown partition", topic, 1,
                                           partition=9), 3)
    if commit_version >= 1:
        s.check("a member of nothing", committed(
            Group(s, "nothing"), "a member of nothing", topic, 1, "who", 3),
            69 if commit_version >= 9 else 22)
    fetch_version = age(s, "OffsetFetch")
    got = offsets(g, "offsets of an unknown topic", [(topic + "-no", [0])])
    s.check("offsets of an unknown topic", [
        p[0] for t in got[1].values() for p in t.values()], [-1])
    s.check("offsets of an unknown topic: error", [
        p[3] for t in got[1].values() for p in t.values()],
        [100 if fetch_version >= 10 else 0])
    wrong = next(n for n in s.nodes if n != g.node)
    right, g.node = g.node, wrong
    if commit_version >= 1:
        s.check("not the coordinator", committed(
            g, "not the coordinator", topic, 1), 16)
    if fetch_version >= 1:
        error, got = offsets(g, "offsets, not the coordinator",
                             [(topic, [0])])
        s.check("offsets, not the coordinator", error
                if fetch_version >= 2 else got[topic][0][3], 16)
    g.node = right


@covers("OffsetCommit", "OffsetFetch")
def offsets_by_any_broker(s, v):
    """Version 0 is older than coordinators; every broker takes it."""
    if v > 0:
        return
    topic = s.topic("anywhere")
    for i, suffix in enumerate(beside_each(s)):
        g = Group(s, suffix)
        right = g.node
        for offset, g.node in enumerate(s.nodes, 10 * i + 1):
            label = "node %d of node %d's group" % (g.node, right)
            for refused in (topic + "-no", topic):
                s.check(label + " commits to " + refused[-8:], committed(
                    g, "commits", refused, offset, partition=2,
                    metadata="by %d" % g.node), 3 if refused != topic else 0)
            want = {0: (-1, None, "", 0),
                    2: (offset, None, "by %d" % g.node, 0)}
            for node in s.nodes:
                a = s.ask("offsets", node, "OffsetFetch", 0, groupId=g.name,
                          topics=[{"name": topic,
                                   "partitionIndexes": [0, 2]}])
                s.check("%s: offsets by node %d" % (label, node), a, {
                    "topics": [{"name": topic, "partitions": [
                        {"partitionIndex": p, "committedOffset": want[p][0],
                         "metadata": want[p][2], "errorCode": want[p][3]}
                        for p in (0, 2)]}]})
            a = s.call(right, "OffsetFetch", 7, groupId=g.name, topics=None)
            s.check(label + ": what the coordinator keeps", [
                (t["name"], p["partitionIndex"], p["committedOffset"])
                for t in a["topics"] for p in t["partitions"]],
                [(topic, 2, offset)])
            sequence_by_any_broker(s, g, topic, label)


def sequence_by_any_broker(s, g, topic, label):
    """Requests of one connection that do not wait for each other's answers
    are answered in order, and the last commit counts."""
    connection = "sequence"
    for offset in range(100, 120):
        s.send(g.node, "OffsetCommit", 0, connection, groupId=g.name, topics=[
            {"name": topic, "partitions": [{
                "partitionIndex": 2, "committedOffset": offset,
                "committedMetadata": ""}]}])
    open_one = s.connection(g.node, s.place, connection)
    for correlation in range(open_one.correlation - 19,
                             open_one.correlation + 1):
        last, open_one.correlation = open_one.correlation, correlation
        a = open_one.answer("OffsetCommit", 0)
        open_one.correlation = last
        if a["topics"][0]["partitions"][0]["errorCode"]:
            s.check(label + ": a sequence", a, None)
    _, got = offsets(g, "after a sequence", [(topic, [2])])
    s.check(label + ": after a sequence", got[topic][2][0], 119)


def beside_each(s):
    """A suffix of a group for each node that coordinates it."""
    found = {}
    for i in range(200):
        if len(found) < len(s.nodes):
            found.setdefault(coordinator(s, s.name("any%d" % i)), "any%d" % i)
    return sorted(found.values())


@covers("OffsetCommit", "OffsetFetch", "OffsetDelete")
def offsets_of_members(s, v):
    g = Group(s, "members")
    topic = s.topic("members", 2)
    other = s.topic("other", 1)
    a = g.join("joins", protocols=[{"name": "range", "metadata":
                                    subscription(topic)}])
    member, generation = a["memberId"], a["generationId"]
    g.sync("syncs", member, generation, [(member, b"x")])
    if s.api == "OffsetDelete":
        s.version = 2  # before that, members do not say who they are
    if age(s, "OffsetCommit") >= 1:
        s.check("commits", committed(g, "commits", topic, 5, member,
                                     generation), 0)
        s.check("commits in a wrong generation", committed(
            g, "commits in a wrong generation", topic, 6, member, 9), 22)
        s.check("unknown member commits", committed(
            g, "unknown member commits", topic, 7, "who", generation), 25)
        s.check("a stranger commits", committed(
            g, "a stranger commits", topic, 8), 25)
        s.check("what counts", offsets(g, "what counts", [(topic, [0])]
                                       )[1][topic][0][0], 5)
        s.check("commits to another topic", committed(
            g, "commits to another topic", other, 9, member, generation), 0)
    s.version = v
    if s.api == "OffsetDelete":
        delete_offsets(s, g, topic, other)


def subscription(topic):
    name = topic.encode()
    return b"\0\0\0\0\0\1" + len(name).to_bytes(2, "big") + name + \
        b"\xff\xff\xff\xff"


def delete_offsets(s, g, topic, other):
    def ask(label, name=g.name, topics=((topic, 0), (other, 0))):
        a = g.ask(label, "OffsetDelete", groupId=name, topics=[
            {"name": t, "partitions": [{"partitionIndex": p}]}
            for t, p in topics])
        return a["errorCode"], {(t["name"], p["partitionIndex"]):
                                p["errorCode"] for t in a["topics"]
                                for p in t["partitions"]}

    s.check("a subscribed topic and another", ask(
        "a subscribed topic and another"),
        (0, {(topic, 0): 86, (other, 0): 0}))
    s.check("unknown topic", ask("unknown topic", topics=[("no-such", 0)]),
            (0, {("no-such", 0): 3}))
    s.check("unknown partition", ask("unknown partition",
                                     topics=[(other, 7)]),
            (0, {(other, 7): 3}))
    s.check("unknown group", ask("unknown group", beside(s, g)), (69, {}))
    a = s.call(g.node, "OffsetFetch", 7, groupId=g.name, topics=None)
    s.check("what is left", {t["name"]: [p["committedOffset"]
                                         for p in t["partitions"]]
                             for t in a["topics"]}, {topic: [5]})


@covers("OffsetCommit", "OffsetFetch", "OffsetDelete")
def partitions_named_twice(s, v):
    """The last commit counts; each partition is answered once (ours)."""
    g = Group(s, "twice")
    topic = s.topic("twice", 2)

    def mentions(name, newest, parts):
        return [dict(named(s, topic, v if s.api == name else newest, 9),
                     partitions=p) for p in parts]

    commit = [{"partitionIndex": p, "committedOffset": o,
               "committedMetadata": "note"}
              for p, o in ((0, 5), (1, 6), (0, 7), (0, 8))]
    a = s.call(g.node, "OffsetCommit", v if s.api == "OffsetCommit" else 8,
               groupId=g.name, memberId="", generationIdOrMemberEpoch=-1,
               topics=mentions("OffsetCommit", 8, [commit[:3], commit[3:]]))
    if s.ours:
        s.check("committed", answered(a), [1, 0])
    s.check("what counts", offsets(g, "what counts", [(topic, [0, 1])])
            [1][topic][0][0], 8)
    if s.api == "OffsetFetch" and v >= 8:
        topics = [dict(named(s, topic, v, 9), partitionIndexes=p)
                  for p in ([1, 1, 0], [1])]
        a = s.call(g.node, "OffsetFetch", v, groups=[
            {"groupId": g.name, "topics": t}
            for t in (topics, topics[1:], None, None)])
        if s.ours:
            s.check("fetched", [answered(x) for x in a["groups"]],
                    [[1, 0], [0, 1]])
    elif s.api == "OffsetFetch":
        a = s.call(g.node, "OffsetFetch", v, groupId=g.name, topics=[
            {"name": topic, "partitionIndexes": p} for p in ([1, 1, 0], [1])])
        if s.ours:
            s.check("fetched", answered(a), [1, 0])
    if s.api == "OffsetDelete":
        a = s.call(g.node, "OffsetDelete", v, groupId=g.name, topics=[
            {"name": topic, "partitions": [{"partitionIndex": i} for i in p]}
            for p in ([1, 1, 0], [1])])
        if s.ours:
            s.check("deleted", answered(a), [1, 0])


def answered(a):
    return [p["partitionIndex"] for t in a["topics"] for p in t["partitions"]]


# ---- tools ----------------------------------------------------------------


@covers("DescribeGroups", "ConsumerGroupDescribe", "ShareGroupDescribe",
        "StreamsGroupDescribe", "DeleteGroups")
def groups_named_twice(s, v):
    """Are answered once (ours)."""
    g = Group(s, "no-such")
    field = {"DescribeGroups": "groups",
             "DeleteGroups": "groupsNames"}.get(s.api, "groupIds")
    a = s.call(g.node, s.api, v, **{field: [g.name, g.name]})
    if s.ours:
        s.check("answers", [x["groupId"] for x in a.get(
            "groups", a.get("results"))], [g.name])


@covers("DescribeGroups")
def describe_groups(s, v):
    g = Group(s, "seen")
    member, _ = g.one()
    asked = {"includeAuthorizedOperations": True} if v >= 3 else {}
    a = s.ask("a stable group", g.node, groups=[g.name], **asked)
    got = a["groups"][0]
    host = got["members"][0]["clientHost"]
    want = {"errorCode": 0, "groupId": g.name, "groupState": "Stable",
            "protocolType": "consumer", "protocolData": "range", "members": [
                {"memberId": member, "clientId": "sweep", "clientHost": host,
                 "memberMetadata": SUBSCRIPTION, "memberAssignment": b"mine"}]}
    if v >= 3:
        want["authorizedOperations"] = BITS_GROUP
    if v >= 4:
        want["members"][0]["groupInstanceId"] = None
    if v >= 6:
        want["errorMessage"] = None
    s.true("a stable group: host", host.startswith("/"), host)
    s.check("a stable group", got, want)
    a = s.ask("an unknown group", g.node, groups=[beside(s, g)])
    wrong = next(n for n in s.nodes if n != g.node)
    b = s.ask("not the coordinator", wrong, groups=[g.name, g.name])
    s.check("not the coordinator", {x["errorCode"] for x in b["groups"]},
            {16})
    got = a["groups"][0]
    s.check("an unknown group", (got["errorCode"], got["groupState"]),
            (69 if v >= 6 else 0, "Dead"))


@covers("ListGroups")
def list_groups(s, v):
    g = Group(s, "listed")
    g.one()

    def find(**filters):
        a = s.connection(g.node).call("ListGroups", v, filters)
        s.check("error", a["errorCode"], 0)
        return [x for x in a["groups"] if x["groupId"] == g.name]

    want = {"groupId": g.name, "protocolType": "consumer"}
    if v >= 4:
        want["groupState"] = "Stable"
    if v >= 5:
        want["groupType"] = "classic"
    s.check("a group", find(), [want])
    if v >= 4:
        s.check("stable groups", find(statesFilter=["Stable"]), [want])
        s.check("stable groups, in small letters",
                find(statesFilter=["stable"]), [want])
        s.check("empty groups", find(statesFilter=["Empty"]), [])
    if v >= 5:
        s.check("classic groups", find(typesFilter=["classic"]), [want])
        s.check("consumer groups", find(typesFilter=["consumer"]), [])


@covers("DeleteGroups")
def delete_groups(s, v):
    g = Group(s, "deleted")
    member, _ = g.one()

    def delete(label, *names):
        a = s.ask(label, g.node, groupsNames=list(names))
        return {x["groupId"]: x["errorCode"] for x in a["results"]}

    s.check("with members", delete("with members", g.name), {g.name: 68})
    g.leave("leaves", member)
    s.check("empty", delete("empty", g.name), {g.name: 0})
    s.check("deleted before", delete("deleted before", g.name), {g.name: 69})
    wrong = next(n for n in s.nodes if n != g.node)
    a = s.ask("not the coordinator", wrong, groupsNames=[g.name])
    s.check("not the coordinator", a["results"][0]["errorCode"], 16)
