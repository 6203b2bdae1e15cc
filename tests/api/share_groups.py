"""Share groups as their coordinator has them: members, what they fetch from,
where the group begins, and its end."""

import uuid

import records
from data import PAIRS
from groups import Group, coordinator
from share import Consumer
from sweep import Wrong, covers, wait_for

UNKNOWN_TOPIC, NOT_COORDINATOR, INVALID_GROUP, UNKNOWN_MEMBER = 3, 16, 24, 25
INVALID, NON_EMPTY, NO_GROUP, GROUP_FULL, FENCED = 42, 68, 69, 81, 110
AGAIN = {14, 15, 16}


class ShareGroup:
    def __init__(self, s, suffix="g", topics=None):
        self.s, self.name = s, s.name(suffix)
        self.topics = topics or [s.topic(suffix + "t")]
        self.node = coordinator(s, self.name)
        self.epochs = {}  # of members
        self.parts = {}   # {(topic id, partition)} of members

    def call(self, api, **fields):
        version = self.s.version if self.s.api == api else None
        return self.s.call(self.node, api, version, **fields)

    def beat(self, member, epoch=None, **more):
        """A heartbeat, until the coordinator is there."""
        def tried():
            a = self.call("ShareGroupHeartbeat", groupId=self.name,
                          memberId=member, memberEpoch=self.epochs.get(
                              member, 0) if epoch is None else epoch, **more)
            return a if a["errorCode"] not in AGAIN else None
        a = wait_for("a heartbeat", tried)
        if a["errorCode"] == 0:
            self.epochs[member] = a["memberEpoch"]
            if a["assignment"] is not None:
                self.parts[member] = {
                    (t["topicId"], p)
                    for t in a["assignment"]["topicPartitions"]
                    for p in t["partitions"]}
        return a

    def join(self, member=None, topics=None):
        member = member or str(uuid.uuid4())
        a = self.beat(member, 0,
                      subscribedTopicNames=topics or self.topics)
        if a["errorCode"]:
            raise Wrong("cannot join: error %d" % a["errorCode"])
        return member

    def settle(self, *members, count=3):
        """All have the same epoch and some, and together all partitions."""
        def settled():
            for m in members:
                self.beat(m)
            return len({self.epochs[m] for m in members}) == 1 and \
                (count == 0 or all(self.parts.get(m) for m in members)) and \
                len(set().union(*(self.parts.get(m, set())
                                  for m in members))) == count
        wait_for("the assignment", settled)

    def leave(self, member):
        return self.beat(member, -1)["errorCode"]

    def describe(self, name=None):
        a = self.s.call(self.node, "ShareGroupDescribe",
                        self.s.version if self.s.api == "ShareGroupDescribe"
                        else None, groupIds=[name or self.name],
                        includeAuthorizedOperations=False)
        return a["groups"][0]

    def offsets(self, topics=None):
        a = self.call("DescribeShareGroupOffsets", groups=[{
            "groupId": self.name, "topics": topics}])
        return a["groups"][0]

    def starts(self):
        """{(topic, partition): start offset}"""
        return {(t["topicName"], p["partitionIndex"]): p["startOffset"]
                for t in self.offsets()["topics"] for p in t["partitions"]}

    def lags(self):
        """{partition: lag}"""
        return {p["partitionIndex"]: p["lag"]
                for t in self.offsets()["topics"] for p in t["partitions"]}


@covers("ShareGroupHeartbeat")
def share_heartbeat(s, v):
    g = ShareGroup(s)
    member = str(uuid.uuid4())
    topic = s.id(g.topics[0])
    wait_for("its coordinator",
             lambda: g.describe()["errorCode"] not in AGAIN)
    for label, want, fields in (
            ("no group", INVALID, {"groupId": ""}),
            ("no member", INVALID, {"memberId": ""}),
            ("an empty rack", INVALID, {"rackId": ""}),
            ("no topics", INVALID, {"subscribedTopicNames": []}),
            ("an epoch that is none", INVALID, {"memberEpoch": -2}),
            ("no such group", NO_GROUP, {"memberEpoch": 3}),
            ("leaves no group", NO_GROUP, {"memberEpoch": -1})):
        a = g.call("ShareGroupHeartbeat", **dict(dict(
            groupId=g.name, memberId=member, memberEpoch=0,
            subscribedTopicNames=g.topics), **fields))
        s.check(label, a["errorCode"], want)
    a = g.beat(member, 0, subscribedTopicNames=g.topics)
    s.check("joins", (a["errorCode"], a["memberId"], a["memberEpoch"] > 0,
                      a["heartbeatIntervalMs"]), (0, member, True, 5000))
    s.check("joins: an assignment", a["assignment"] is not None, True)
    g.settle(member)
    s.check("all of the topic", g.parts[member],
            {(topic, p) for p in range(3)})
    a = g.beat(member)
    s.check("nothing new", (a["errorCode"], a["assignment"]), (0, None))
    epoch = g.epochs[member]
    s.check("a wrong epoch", g.beat(member, epoch + 9)["errorCode"], FENCED)
    s.check("an unknown member", g.beat(
        str(uuid.uuid4()), 1)["errorCode"], UNKNOWN_MEMBER)
    second = g.join()
    g.settle(member, second)
    s.check("two members: no more than there is",
            g.parts[member] | g.parts[second], {(topic, p) for p in range(3)})
    s.true("two members: each has some",
           g.parts[member] and g.parts[second], g.parts)
    more = s.topic("more", partitions=1, layout=[[2, 3, 1]])
    g.beat(member, subscribedTopicNames=g.topics + [more])
    g.settle(member, second, count=4)
    s.true("another topic", (s.id(more), 0) in g.parts[member], g.parts)
    s.check("leaves", g.leave(second), 0)
    g.settle(member, count=4)
    s.check("the rest comes back", len(g.parts[member]), 4)
    s.check("it has left", g.beat(second, 3)["errorCode"], UNKNOWN_MEMBER)
    late = s.name("late")
    g.beat(member, subscribedTopicNames=[late])
    g.settle(member, count=0)
    s.call(1, "CreateTopics", 4, topics=[{
        "name": late, "numPartitions": -1, "replicationFactor": -1,
        "assignments": [{"partitionIndex": 0, "brokerIds": [3, 1, 2]}],
        "configs": []}])
    g.settle(member, count=1)
    listed = s.call(g.node, "ListGroups", 5, statesFilter=[],
                    typesFilter=["share"])["groups"]
    s.check("it is listed", [x for x in listed if x["groupId"] == g.name], [{
        "groupId": g.name, "protocolType": "share", "groupState": "Stable",
        "groupType": "share"}])
    a = s.call(g.node % 3 + 1, "ShareGroupHeartbeat", v, groupId=g.name,
               memberId=member, memberEpoch=0, subscribedTopicNames=g.topics)
    s.check("another node", a["errorCode"], NOT_COORDINATOR)
    a = s.call(g.node, "JoinGroup", 5, groupId=g.name, sessionTimeoutMs=10000,
               rebalanceTimeoutMs=10000, memberId="", protocolType="consumer",
               protocols=[{"name": "range", "metadata": b""}])
    s.check("its name is taken", a["errorCode"] != 0, True)


@covers("ShareGroupDescribe")
def share_describe(s, v):
    g = ShareGroup(s)
    d = wait_for("its coordinator", lambda: [
        d for d in [g.describe()] if d["errorCode"] not in AGAIN])[0]
    s.check("not there", (d["errorCode"], d["groupId"]), (NO_GROUP, g.name))
    member = g.join()
    g.settle(member)
    d = wait_for("the target", lambda: [
        d for d in [g.describe()] if d["groupEpoch"] == d["assignmentEpoch"]
    ])[0]
    s.check("group", (d["errorCode"], d["groupId"], d["groupState"],
                      d["assignorName"], d["groupEpoch"]),
            (0, g.name, "Stable", "simple", g.epochs[member]))
    m = d["members"][0]
    s.check("member", (m["memberId"], m["rackId"], m["memberEpoch"],
                       m["clientId"], m["subscribedTopicNames"]),
            (member, None, g.epochs[member], "sweep", g.topics))
    s.check("member: assignment", m["assignment"], {"topicPartitions": [{
        "topicId": s.id(g.topics[0]), "topicName": g.topics[0],
        "partitions": [0, 1, 2]}]})
    g.leave(member)
    d = g.describe()
    s.check("empty", (d["groupState"], d["members"]), ("Empty", []))
    a = s.call(g.node, "ShareGroupDescribe", v, groupIds=[],
               includeAuthorizedOperations=True)
    s.check("no groups", a["groups"], [])


def with_offsets(s):
    """A group that has taken all records of partition 0, and is empty."""
    g = ShareGroup(s)
    topic = g.topics[0]
    s.produce(topic, 0, records.batch(PAIRS))
    member = g.join()
    g.settle(member)
    c = Consumer(s, g.name, topic)
    c.found = None
    c.fetch(wait=500)
    s.produce(topic, 0, records.batch(PAIRS))
    got = wait_for("records", lambda: c.fetch(wait=500)[0])
    s.check("latest", got, [(5, 9, 1)])
    s.check("accepted", c.acknowledge((5, 9)), 0)
    c.leave()
    return g, topic, member


@covers("DescribeShareGroupOffsets")
def share_offsets(s, v):
    g, topic, member = with_offsets(s)
    d = wait_for("offsets", lambda: [d for d in [g.offsets()]
                                     if d["errorCode"] == 0])[0]
    t = d["topics"][0]
    s.check("all: topic", (t["topicName"], t["topicId"]),
            (topic, s.id(topic)))
    s.check("all: starts", {p["partitionIndex"]: p["startOffset"]
                            for p in t["partitions"]}, {0: 5, 1: -1, 2: -1})
    s.check("all: errors", [p["errorCode"] for p in t["partitions"]], [0] * 3)
    d = g.offsets([{"topicName": topic, "partitions": [0, 7]},
                   {"topicName": topic + "x", "partitions": [0]}])
    s.check("some", [[(p["partitionIndex"], p["startOffset"], p["errorCode"])
                      for p in t["partitions"]] for t in d["topics"]],
            [[(0, 5, 0), (7, -1, UNKNOWN_TOPIC)], [(0, -1, UNKNOWN_TOPIC)]])
    unknown = g.name + "x"
    node = coordinator(s, unknown)

    def there(topics):
        a = s.call(node, "DescribeShareGroupOffsets", v, groups=[
            {"groupId": unknown, "topics": topics}])
        return a["groups"][0]
    d = wait_for("its coordinator", lambda: [
        d for d in [there(None)] if d["errorCode"] not in AGAIN])[0]
    s.check("not there: all", (d["errorCode"], d["topics"]), (0, []))
    d = there([{"topicName": topic, "partitions": [0, 1]}])
    s.check("not there: some", (d["errorCode"], [
        (p["partitionIndex"], p["startOffset"], p["errorCode"])
        for t in d["topics"] for p in t["partitions"]]),
        (0, [(0, -1, 0), (1, -1, 0)]))
    if v >= 1:
        lags(s, g, topic)
    g.leave(member)


def lags(s, g, topic):
    """Five records of partition 0 are before the start, five are accepted."""
    s.check("lag: nothing to do", g.lags(), {0: 0, 1: -1, 2: -1})
    s.produce(topic, 0, records.batch(PAIRS))
    s.check("lag: new records", g.lags()[0], 5)
    c = Consumer(s, g.name, topic, name="l")
    got = wait_for("records", lambda: c.fetch(wait=500)[0])
    s.check("lag: acquired is not done", (got, g.lags()[0]),
            ([(10, 14, 1)], 5))
    # The start stays below 10 for one that is not done.
    s.check("lag: accepts", c.acknowledge((11, 14)), 0)
    s.check("lag: some are done", g.lags()[0], 1)
    c.leave()
    d = g.offsets([{"topicName": topic, "partitions": [0, 0, 7]},
                   {"topicName": topic + "x", "partitions": [0]}])
    s.check("lag: some", [[p["lag"] for p in t["partitions"]]
                          for t in d["topics"]], [[1, 1, -1], [-1]])
    d = g.offsets([{"topicName": topic, "partitions": [1, 2]}])
    s.check("lag: no start", [p["lag"] for p in d["topics"][0]["partitions"]],
            [-1, -1])


@covers("AlterShareGroupOffsets")
def share_alter(s, v):
    g, topic, member = with_offsets(s)

    def alter(*starts, topic=topic, group=None):
        return g.call("AlterShareGroupOffsets", groupId=group or g.name,
                      topics=[{"topicName": topic, "partitions": [
                          {"partitionIndex": p, "startOffset": o}
                          for p, o in starts]}])
    s.check("has members", alter((0, 2))["errorCode"], NON_EMPTY)
    g.leave(member)
    a = wait_for("altered", lambda: [
        a for a in [alter((0, 2), (9, 1), (1, -5))]
        if a["errorCode"] not in AGAIN])[0]
    s.check("altered", (a["errorCode"], [
        (p["partitionIndex"], p["errorCode"])
        for p in a["responses"][0]["partitions"]]),
        (0, [(0, 0), (9, UNKNOWN_TOPIC), (1, INVALID)]))
    s.check("start", g.starts()[topic, 0], 2)
    member = g.join()
    g.settle(member)
    c = Consumer(s, g.name, topic, name="x")
    got = wait_for("records again", lambda: c.fetch(wait=500)[0])
    s.check("begins there", got, [(2, 9, 1)])
    c.leave()
    g.leave(member)
    a = alter((0, 1), topic=topic + "x")
    s.check("an unknown topic",
            a["responses"][0]["partitions"][0]["errorCode"], UNKNOWN_TOPIC)
    a = s.call(coordinator(s, g.name + "x"), "AlterShareGroupOffsets", v,
               groupId=g.name + "x", topics=[])
    s.check("nothing of a group that is not there", a["errorCode"], 0)


@covers("AlterShareGroupOffsets")
def share_group_made_by_its_start(s, v):
    """As kafka-share-groups --reset-offsets prepares one."""
    g = ShareGroup(s, "prepared")
    topic = g.topics[0]
    s.produce(topic, 0, records.batch(PAIRS))

    def alter(topic=topic):
        def tried():
            a = g.call("AlterShareGroupOffsets", groupId=g.name, topics=[{
                "topicName": topic, "partitions": [
                    {"partitionIndex": 0, "startOffset": 2}]}])
            return a if a["errorCode"] not in AGAIN else None
        a = wait_for("an answer", tried)
        return a["errorCode"], [p["errorCode"] for t in a["responses"]
                                for p in t["partitions"]]
    s.check("an unknown topic", alter(topic + "x"), (0, [UNKNOWN_TOPIC]))
    s.check("an unknown topic: no group", g.describe()["errorCode"], NO_GROUP)
    s.check("a group that is not there", alter(), (0, [0]))
    d = g.describe()
    s.check("it is made", (d["errorCode"], d["groupState"], d["members"]),
            (0, "Empty", []))
    s.check("where it begins", g.starts(), {(topic, 0): 2})
    member = g.join()
    g.settle(member)
    c = Consumer(s, g.name, topic)
    got = wait_for("records", lambda: c.fetch(wait=500)[0])
    s.check("it begins there", got, [(2, 4, 1)])
    c.leave()
    g.leave(member)


@covers("AlterShareGroupOffsets")
def share_offsets_of_a_group_of_another_kind(s, v):
    g = Group(s, "classic")
    member, _ = g.one()
    topic = s.topic("other", 1)

    def alter():
        return s.call(g.node, "AlterShareGroupOffsets", v, groupId=g.name,
                      topics=[{"topicName": topic, "partitions": [
                          {"partitionIndex": 0, "startOffset": 0}]}]
                      )["errorCode"]
    s.check("with members", alter(), NO_GROUP)
    s.call(g.node, "LeaveGroup", 0, groupId=g.name, memberId=member)
    s.check("an empty one", alter(), NO_GROUP)


@covers("DeleteShareGroupOffsets")
def share_delete_offsets(s, v):
    g, topic, member = with_offsets(s)

    def delete(*topics):
        return g.call("DeleteShareGroupOffsets", groupId=g.name, topics=[
            {"topicName": t} for t in topics])
    s.check("has members", delete(topic)["errorCode"], NON_EMPTY)
    g.leave(member)
    a = wait_for("deleted", lambda: [
        a for a in [delete(topic, topic + "x")]
        if a["errorCode"] not in AGAIN])[0]
    s.check("deleted", (a["errorCode"], [
        (t["topicName"], t["errorCode"]) for t in a["responses"]]),
        (0, [(topic, 0), (topic + "x", UNKNOWN_TOPIC)]))
    s.check("nothing is left", g.starts(), {})
    a = delete(topic)
    s.check("again", a["responses"][0]["errorCode"], UNKNOWN_TOPIC)
    a = s.call(coordinator(s, g.name + "x"), "DeleteShareGroupOffsets", v,
               groupId=g.name + "x", topics=[])
    s.check("not there", a["errorCode"], NO_GROUP)


@covers("DeleteGroups")
def share_delete_group(s, v):
    g, topic, member = with_offsets(s)

    def delete():
        a = s.call(g.node, "DeleteGroups", v, groupsNames=[g.name])
        return a["results"][0]["errorCode"]
    s.check("a share group with members", delete(), NON_EMPTY)
    g.leave(member)
    s.check("a share group", wait_for("deleted", lambda: [
        e for e in [delete()] if e not in AGAIN]), [0])
    s.check("a share group: gone", g.describe()["errorCode"], NO_GROUP)
    s.check("a share group: again", delete(), NO_GROUP)
    # the same name begins anew
    member = g.join()
    g.settle(member)
    s.check("a share group: anew", g.starts()[topic, 0], -1)
    g.leave(member)
