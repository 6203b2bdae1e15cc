"""Groups of the new protocol (KIP-848): heartbeats, what is owned meanwhile,
and what the older calls say of such groups."""

import struct
import time
import uuid

from groups import Group, coordinator
from sweep import Wrong, covers, wait_for

JOINS, LEAVES, LEAVES_FOR_NOW = 0, -1, -2


class Member:
    """One member, which does what it is told: it gives up and takes at once."""

    def __init__(self, group, member="", instance=None):
        self.group = group
        self.s = group.s
        self.id = member or str(uuid.uuid4())
        self.epoch = JOINS
        self.instance = instance
        self.owned = {}

    def send(self, label, epoch, **fields):
        s = self.s
        version = s.version if s.api == "ConsumerGroupHeartbeat" else 1
        fields.setdefault("memberId", self.id)
        return s.ask(label, self.group.node, "ConsumerGroupHeartbeat", version,
                     groupId=self.group.name, memberEpoch=epoch,
                     instanceId=self.instance, **fields)

    def take(self, a):
        if a["errorCode"]:
            return a
        self.id, self.epoch = a["memberId"], a["memberEpoch"]
        if a["assignment"] is not None:
            self.owned = {t["topicId"]: sorted(t["partitions"])
                          for t in a["assignment"]["topicPartitions"]}
        return a

    def join(self, label, topics, **more):
        self.owned = {}
        fields = dict(rebalanceTimeoutMs=30000, topicPartitions=[],
                      subscribedTopicNames=topics, **more)

        # The coordinator may still be loading, or move.
        def tried():
            a = self.send(label, JOINS, **fields)
            if a["errorCode"] in (14, 15, 16):
                self.s.notes.pop()
                return None
            return a
        return self.take(wait_for(label, tried))

    def beat(self, label="beats"):
        return self.take(self.send(label, self.epoch, topicPartitions=[
            {"topicId": t, "partitions": p} for t, p in self.owned.items()]))

    def leave(self, label="leaves", epoch=LEAVES):
        return self.send(label, epoch)["errorCode"]

    def parts(self, topic):
        return self.owned.get(self.s.id(topic), [])


def settle(s, label, members, done):
    """All beat until it is done.  How often is nobody's business."""
    def turn():
        mark = len(s.notes)
        for member in members:
            a = member.beat()
            if a["errorCode"]:
                raise Wrong("%s: error %d" % (label, a["errorCode"]))
        del s.notes[mark:]
        return done() or time.sleep(0.05)
    wait_for(label, turn)


@covers("ConsumerGroupHeartbeat")
def heartbeats(s, v):
    topic = s.topic()
    group = Group(s, "g")
    one, two = Member(group), Member(group)
    if v == 0:
        one.id = ""  # from version 1 on members choose their ids
    a = one.join("joins", [topic])
    s.check("joins: error", a["errorCode"], 0)
    s.check("joins: epoch", a["memberEpoch"], 1)
    s.true("joins: interval", a["heartbeatIntervalMs"] > 0)
    s.true("joins: id", one.id != "")
    s.check("joins: owns", one.parts(topic), [0, 1, 2])
    a = one.beat("nothing new")
    s.check("nothing new", (a["errorCode"], a["memberEpoch"]), (0, 1))
    s.check("a second joins", two.join("a second joins", [topic])["errorCode"],
            0)
    s.check("nobody has what another has", two.parts(topic), [])
    settle(s, "both own some", [one, two], lambda: len(
        one.parts(topic)) + len(two.parts(topic)) == 3 and two.parts(topic))
    s.check("each partition has one owner",
            sorted(one.parts(topic) + two.parts(topic)), [0, 1, 2])
    s.check("one leaves", one.leave(), 0)
    settle(s, "the other owns all", [two],
           lambda: two.parts(topic) == [0, 1, 2])
    s.call(1, "CreatePartitions", topics=[
        {"name": topic, "count": 5, "assignments": None}])
    settle(s, "the topic has grown", [two],
           lambda: two.parts(topic) == [0, 1, 2, 3, 4])
    s.check("the last leaves", two.leave(), 0)


@covers("ConsumerGroupHeartbeat")
def heartbeat_refusals(s, v):
    topic = s.topic("refused")
    group = Group(s, "refused")
    one = Member(group)
    s.check("no such group", one.send("no such group", 1)["errorCode"], 69)
    one.join("joins", [topic])
    joining = dict(rebalanceTimeoutMs=30000, topicPartitions=[],
                   subscribedTopicNames=[topic])

    def refused(label, error, epoch, **fields):
        a = one.send(label, epoch, **fields)
        s.check(label, a["errorCode"], error)
        s.true(label + ": message", a["errorMessage"] is None or
               a["errorMessage"] != "")

    refused("unknown member", 25, 1, memberId="nobody")
    refused("epoch of the future", 110, 9)
    refused("epoch below all", 42, -3)
    refused("leaves for now without an instance", 42, LEAVES_FOR_NOW)
    refused("no member id", 42, 1, memberId="")
    refused("timeout of 0", 42, JOINS, **dict(joining, rebalanceTimeoutMs=0))
    refused("joins without timeout", 42, JOINS,
            **dict(joining, rebalanceTimeoutMs=-1))
    refused("joins without topics", 42, JOINS,
            **dict(joining, subscribedTopicNames=None))
    refused("joins with partitions", 42, JOINS, **dict(
        joining, topicPartitions=[{"topicId": s.id(topic),
                                   "partitions": [0]}]))
    refused("unknown assignor", 112, JOINS,
            **dict(joining, serverAssignor="nearest"))
    wrong = next(n for n in s.nodes if n != group.node)
    a = s.ask("not the coordinator", wrong, groupId=group.name,
              memberId=one.id, memberEpoch=1)
    s.check("not the coordinator", a["errorCode"], 16)
    a = s.ask("empty group", group.node, groupId="", memberId=one.id,
              memberEpoch=1)
    s.true("empty group", a["errorCode"] in (24, 42), a["errorCode"])
    if v >= 1:
        refused("bad regex", 128, JOINS, **dict(
            joining, subscribedTopicRegex="(", memberId="another"))
    s.check("lives on", one.beat()["errorCode"], 0)
    one.leave()


@covers("ConsumerGroupHeartbeat")
def static_members(s, v):
    topic = s.topic("static")
    group = Group(s, "static")
    one = Member(group, instance="i")
    s.check("joins", one.join("joins", [topic])["errorCode"], 0)
    twin = Member(group, instance="i")
    s.check("a double", twin.join("a double", [topic])["errorCode"], 111)
    s.check("another id", twin.send("another id", 1)["errorCode"], 82)
    s.check("leaves for now", one.leave("leaves for now", LEAVES_FOR_NOW), 0)
    s.check("comes back", twin.join("comes back", [topic])["errorCode"], 0)
    s.check("has what it had", twin.parts(topic), [0, 1, 2])
    s.check("is gone", one.send("is gone", 1)["errorCode"], 82)
    s.check("leaves", twin.leave(), 0)


@covers("ConsumerGroupHeartbeat")
def regexes(s, v):
    if v < 1:
        return
    topic = s.topic("regex-a", 1)
    group = Group(s, "by-regex")
    one = Member(group)
    one.join("joins", [], subscribedTopicRegex=topic[:-1] + "[a-b]")
    settle(s, "what matches is found", [one], lambda: one.parts(topic) == [0])
    other = s.topic("regex-b", 1)
    s.topic("regex-c", 1)
    settle(s, "so is a new topic", [one], lambda: one.parts(other) == [0])
    s.check("and no other", len(one.owned), 2)
    one.leave()


@covers("ConsumerGroupHeartbeat", "JoinGroup", "OffsetCommit", "OffsetFetch",
        "DescribeGroups", "ListGroups", "DeleteGroups", "OffsetDelete")
def beside_older_calls(s, v):
    """What they say of a group whose members send heartbeats."""
    topic = s.topic("beside")
    group = Group(s, "beside")
    one = Member(group)
    one.join("joins", [topic])

    def call(label, name, connection="", **fields):
        version = v if s.api == name else s.newest(name)
        return s.ask(label, group.node, name, version, connection, **fields)

    def commit(label, epoch, member=None):
        if s.api == "OffsetCommit" and v < 9:
            label += " with a version that knows no epochs"
        mine = v if s.api == "OffsetCommit" else 9
        fields = {"name": topic} if mine < 10 else {"topicId": s.id(topic)}
        if mine == 0:
            return None
        a = s.ask(label, group.node, "OffsetCommit", mine, groupId=group.name,
                  memberId=one.id if member is None else member,
                  generationIdOrMemberEpoch=epoch, topics=[dict(
                      fields, partitions=[{
                          "partitionIndex": 0, "committedOffset": 7,
                          "committedMetadata": ""}])])
        return a["topics"][0]["partitions"][0]["errorCode"]

    old = s.api == "OffsetCommit" and v < 9
    if not (s.api == "OffsetCommit" and v == 0):
        s.check("commits", commit("commits", 1), 35 if old else 0)
        s.check("commits with an epoch to come", commit(
            "commits with an epoch to come", 2), 35 if old else 113)
        s.check("a stranger commits", commit("a stranger commits", 1, "x"), 25)
    for label, epoch, error in (
            ("fetches with its epoch", 1, 0),
            ("fetches with an epoch to come", 2, 113)):
        a = s.ask(label, group.node, "OffsetFetch", 9, groups=[
            {"groupId": group.name, "memberId": one.id, "memberEpoch": epoch,
             "topics": None}])
        s.check(label, a["groups"][0]["errorCode"], error)
    joined = group.join("joins without being a consumer",
                        protocolType="connect")
    s.check("joins without being a consumer", joined["errorCode"], 23)
    a = call("is described", "DescribeGroups", groups=[group.name])
    got = a["groups"][0]
    late = (v if s.api == "DescribeGroups" else 6) >= 6
    s.check("is described", (got["errorCode"], got["groupState"]),
            (69 if late else 0, "Dead"))
    listed = [x for x in call("is listed", "ListGroups")["groups"]
              if x["groupId"] == group.name]
    del s.notes[-1]
    s.check("is listed", len(listed), 1)
    if s.newest("ListGroups") >= 5 and (s.api != "ListGroups" or v >= 5):
        s.check("its type and state", (listed[0]["groupType"], listed[0][
            "groupState"]), ("consumer", "Stable"))
    delete = "OffsetDelete"
    a = call("its offsets are deleted", delete, groupId=group.name, topics=[
        {"name": topic, "partitions": [{"partitionIndex": 0}]}])
    s.check("its offsets are deleted", (a["errorCode"], a["topics"][0][
        "partitions"][0]["errorCode"]), (0, 86))
    a = call("is deleted with members", "DeleteGroups",
             groupsNames=[group.name])
    s.check("is deleted with members", a["results"][0]["errorCode"], 68)
    s.check("leaves", one.leave(), 0)
    a = call("is deleted", "DeleteGroups", groupsNames=[group.name])
    s.check("is deleted", a["results"][0]["errorCode"], 0)
    # Its name is free.
    member, _ = group.one("a classic group of that name")
    a = Member(group).send("a heartbeat to a classic group", JOINS,
                           rebalanceTimeoutMs=30000, topicPartitions=[],
                           subscribedTopicNames=[topic])
    s.check("a heartbeat to a classic group", a["errorCode"], 69)
    group.leave("leaves the classic group", member)
    again = Member(group)
    s.check("takes the name of an empty group", again.join(
        "takes the name of an empty group", [topic])["errorCode"], 0)
    again.leave()


def subscription(topic):
    """Of a classic consumer that owns nothing; version 0."""
    name = topic.encode()
    return struct.pack(">hih", 0, 1, len(name)) + name + struct.pack(">i", -1)


def assigned(topic, assignment):
    """The partitions in what SyncGroup gives."""
    name = topic.encode()
    version, topics = struct.unpack_from(">hi", assignment)
    at = 6
    if version != 0 or topics > 1:
        raise Wrong("an assignment of version %d with %d topics" % (
            version, topics))
    if topics == 0:
        return []
    size, = struct.unpack_from(">h", assignment, at)
    if assignment[at + 2:at + 2 + size] != name:
        raise Wrong("an assignment of another topic")
    count, = struct.unpack_from(">i", assignment, at + 2 + size)
    return sorted(struct.unpack_from(">%di" % count, assignment,
                                     at + 6 + size))


@covers("ConsumerGroupHeartbeat", "JoinGroup", "SyncGroup", "Heartbeat",
        "LeaveGroup")
def changes_its_protocol(s, v):
    """A classic group gets a member of the new protocol, and loses it."""
    topic = s.topic("migrates")
    group = Group(s, "migrates")
    protocols = [{"name": "range", "metadata": subscription(topic)}]
    a = group.join("joins", protocols=protocols)
    classic, generation = a["memberId"], a["generationId"]
    name = topic.encode()
    all_parts = struct.pack(">hih", 0, 1, len(name)) + name + struct.pack(
        ">iiiii", 3, 0, 1, 2, -1)
    group.sync("syncs", classic, generation, [(classic, all_parts)])
    one = Member(group)
    s.check("upgrades", one.join("upgrades", [topic])["errorCode"], 0)
    s.check("upgrades: epoch", one.epoch, generation + 1)
    s.check("upgrades: all is another's", one.parts(topic), [])
    s.check("the classic one is told", group.beat(
        "the classic one is told", classic, generation), 27)
    a = group.join("the classic one joins", classic, protocols=protocols)
    s.check("the classic one joins", (a["errorCode"], a["generationId"],
                                      a["protocolName"], a["members"]),
            (0, generation + 1, "range", []))
    a = group.sync("the classic one syncs", classic, generation + 1)
    left = assigned(topic, a["assignment"])
    s.true("the classic one keeps some", left in ([0, 1], [0, 2], [1, 2], [0],
                                                  [1], [2]))
    one.beat("the new one takes the others")
    s.check("each has its own", sorted(left + one.parts(topic)), [0, 1, 2])
    s.check("the classic one beats", group.beat(
        "the classic one beats", classic, generation + 1), 0)
    s.check("with another generation", group.beat(
        "with another generation", classic, generation), 22)
    s.check("the new one leaves", one.leave("the new one leaves"), 0)
    s.check("it is told again", group.beat(
        "it is told again", classic, generation + 1), 27)
    a = group.join("leads again", classic, protocols=protocols)
    s.check("leads again", (a["errorCode"], a["leader"], len(a["members"])),
            (0, classic, 1))
    group.leave("leaves", classic)


@covers("ConsumerGroupDescribe")
def describe(s, v):
    topic = s.topic()
    group = Group(s, "described")
    one = Member(group)
    one.join("joins", [topic])
    a = s.ask("described", group.node, groupIds=[group.name],
              includeAuthorizedOperations=True)
    got = a["groups"][0]
    s.check("group", {k: got[k] for k in (
        "errorCode", "groupId", "groupState", "groupEpoch", "assignmentEpoch",
        "assignorName")}, {
            "errorCode": 0, "groupId": group.name, "groupState": "Stable",
            "groupEpoch": 1, "assignmentEpoch": 1, "assignorName": "uniform"})
    s.true("operations", got["authorizedOperations"] > 0)
    s.check("members", len(got["members"]), 1)
    member = got["members"][0]
    all_parts = [{"topicId": s.id(topic), "topicName": topic,
                  "partitions": [0, 1, 2]}]
    s.check("member", {k: member[k] for k in (
        "memberId", "memberEpoch", "subscribedTopicNames")}, {
            "memberId": one.id, "memberEpoch": 1,
            "subscribedTopicNames": [topic]})
    s.check("assignment", member["assignment"]["topicPartitions"], all_parts)
    s.check("target", member["targetAssignment"]["topicPartitions"], all_parts)
    if v >= 1:
        s.check("type", member["memberType"], 1)
    one.leave()
    a = s.ask("without members", group.node, groupIds=[group.name])
    s.check("without members", (a["groups"][0]["groupState"],
                                a["groups"][0]["members"]), ("Empty", []))
    classic = Group(s, "classic")
    classic.one()
    a = s.ask("a classic group", classic.node, groupIds=[classic.name])
    s.check("a classic group", a["groups"][0]["errorCode"], 69)
    a = s.ask("unknown", group.node, groupIds=[
        n for n in ("%s-no%d" % (group.name, i) for i in range(100))
        if coordinator(s, n) == group.node][:1])
    s.check("unknown", a["groups"][0]["errorCode"], 69)
    wrong = next(n for n in s.nodes if n != group.node)
    a = s.ask("not the coordinator", wrong, groupIds=[group.name])
    s.check("not the coordinator", a["groups"][0]["errorCode"], 16)
    s.check("nothing", s.ask("nothing", group.node, groupIds=[])["groups"], [])
