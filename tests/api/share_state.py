"""Where share groups have come: the requests of brokers to the share
coordinator, each for share-partitions of several coordinators at once."""

import base64

from sweep import Wrong, covers, wait_for

UNKNOWN, LOADING, UNAVAILABLE, NOT_COORDINATOR = 3, 14, 15, 16
INVALID_GROUP, INVALID, FENCED_LEADER, FENCED_STATE = 24, 42, 74, 124
AGAIN = {LOADING, UNAVAILABLE, NOT_COORDINATOR}
ACKNOWLEDGED, ARCHIVED = 2, 4


class States:
    """The share-partitions (group, topic, 0..2) at their coordinators."""

    def __init__(self, s, suffix="t", group="g"):
        self.s = s
        self.group = s.name(group)
        self.topic = s.topic(suffix)
        self.id = s.id(self.topic)
        self.nodes = [wait_for("the coordinator of %s" % self.key(p),
                               lambda p=p: self.find(p)) for p in range(3)]

    def key(self, partition, topic=None):
        text = base64.urlsafe_b64encode(topic or self.id).rstrip(b"=").decode()
        return "%s:%s:%d" % (self.group, text, partition)

    def find(self, partition, topic=None):
        a = self.s.call(2, "FindCoordinator", 6, keyType=2,
                        coordinatorKeys=[self.key(partition, topic)])
        c = a["coordinators"][0]
        return None if c["errorCode"] else c["nodeId"]

    def fields(self, *partitions, topic=None, group=None):
        return {"groupId": self.group if group is None else group,
                "topics": [{"topicId": topic or self.id,
                            "partitions": list(partitions)}]}

    def ask(self, label, name, partition, node=None, version=None, topic=None,
            group=None, **fields):
        """About one partition, until its coordinator is there."""
        def tried():
            fields["partition"] = partition
            a = self.s.call(node or self.nodes[max(0, partition) % 3], name,
                            version, **self.fields(fields, topic=topic,
                                                   group=group))
            got = a["results"][0]["partitions"][0]
            return got if node or got["errorCode"] not in AGAIN else None
        got = wait_for(label, tried)
        self.s.notes.append((label, self.s.plain(got, name)))
        return got

    def own(self, label, partition, **fields):
        """The API and version that are swept."""
        return self.ask(label, self.s.api, partition, version=self.s.version,
                        **fields)

    def initialize(self, partition=0, start=0, state=1):
        error = self.ask("initialize", "InitializeShareGroupState", partition,
                         stateEpoch=state, startOffset=start)["errorCode"]
        if error:
            raise Wrong("cannot initialize: error %d" % error)

    def read(self, partition=0, leader=1):
        return self.ask("read", "ReadShareGroupState", partition,
                        leaderEpoch=leader)

    def write(self, partition=0, start=0, leader=1, state=1, batches=()):
        return self.ask("write", "WriteShareGroupState", partition,
                        stateEpoch=state, leaderEpoch=leader,
                        startOffset=start, deliveryCompleteCount=0,
                        stateBatches=list(batches))


def batch(first, last, state=ACKNOWLEDGED, count=1):
    return {"firstOffset": first, "lastOffset": last, "deliveryState": state,
            "deliveryCount": count}


def common(s, t, **fields):
    """What every one of the requests refuses."""
    got = t.own("no group", 0, group="", **fields)
    s.check("no group", got["errorCode"], INVALID_GROUP)
    got = t.own("no topic id", 0, topic=bytes(16), **fields)
    s.check("no topic id", got["errorCode"], INVALID)
    got = t.own("a negative partition", -1, **fields)
    s.check("a negative partition", got["errorCode"], INVALID)
    other = t.nodes[0] % 3 + 1
    got = t.own("another node", 0, node=other, **fields)
    s.check("another node", got["errorCode"], NOT_COORDINATOR)
    a = s.call(t.nodes[0], s.api, s.version, groupId=t.group, topics=[])
    s.check("nothing", a["results"], [])
    if s.api != "DeleteShareGroupState":
        got = t.own("a partition too many", 3, node=t.find(3), **fields)
        s.check("a partition too many", got["errorCode"], UNKNOWN)
        other = b"\x55" * 16
        got = t.own("another topic", 0, topic=other, node=t.find(0, other),
                    **fields)
        s.check("another topic", got["errorCode"], UNKNOWN)


def several(s, t, **fields):
    """All three partitions in one request to one node: those that it does not
    coordinate are refused by themselves."""
    node = t.nodes[0]
    a = s.call(node, s.api, s.version, **t.fields(
        *[dict(fields, partition=p) for p in (2, 0, 1)]))
    got = a["results"][0]
    s.check("several: topic", got["topicId"], t.id)
    s.check("several: order", [p["partition"] for p in got["partitions"]],
            [2, 0, 1])
    s.check("several: errors",
            [p["errorCode"] for p in got["partitions"]],
            [0 if t.nodes[p] == node else NOT_COORDINATOR for p in (2, 0, 1)])


@covers("FindCoordinator")
def find_share_coordinator(s, v):
    topic = s.topic("share")
    text = base64.urlsafe_b64encode(s.id(topic)).rstrip(b"=").decode()
    key = "%s:%s:0" % (s.name("g"), text)

    def find(label, key):
        a = s.ask(label, 2, keyType=2, coordinatorKeys=[key]) if v >= 4 \
            else s.ask(label, 2, key=key, keyType=2)
        return a["coordinators"][0] if v >= 4 else a
    if v == 0:
        return
    if v < 6:
        s.check("a share partition in an old version",
                find("a share partition", key)["errorCode"], INVALID)
        return
    found = wait_for("the coordinator of a share partition", lambda: [
        a for a in [find("a share partition", key)] if a["errorCode"] == 0])[0]
    s.check("a share partition: key", found["key"], key)
    s.check("a share partition: address", (found["host"], found["port"]),
            s.nodes.get(found["nodeId"]))
    for bad in ("", "g", "g:%s" % text, "g:x:0", ":%s:0" % text,
                "g:%s:x" % text):
        got = find("no key", bad)
        s.check("no key: %r" % bad, (got["errorCode"], got["nodeId"]),
                (INVALID, -1))
    topic = s.call(1, "Metadata", 12, topics=[
        {"name": "__share_group_state"}])["topics"][0]
    s.check("the topic is internal", topic["isInternal"], True)
    a = s.call(1, "DescribeConfigs", 4, resources=[{
        "resourceType": 2, "resourceName": "__share_group_state",
        "configurationKeys": ["cleanup.policy", "retention.ms"]}])
    s.check("the topic's configs", {c["name"]: c["value"] for c in
                                    a["results"][0]["configs"]},
            {"cleanup.policy": "delete", "retention.ms": "-1"})


@covers("InitializeShareGroupState")
def initialize(s, v):
    t = States(s)
    got = t.own("first", 0, stateEpoch=3, startOffset=7)
    s.check("first", got, {"partition": 0, "errorCode": 0,
                           "errorMessage": None})
    state = t.read()
    s.check("first: state", (state["stateEpoch"], state["startOffset"],
                             state["stateBatches"]), (3, 7, []))
    t.write(start=9, state=3, batches=[batch(9, 9)])
    got = t.own("an old epoch", 0, stateEpoch=2, startOffset=0)
    s.check("an old epoch", got["errorCode"], FENCED_STATE)
    got = t.own("anew", 0, stateEpoch=4, startOffset=-1)
    s.check("anew", got["errorCode"], 0)
    state = t.read()
    s.check("anew: state", (state["stateEpoch"], state["startOffset"],
                            state["stateBatches"]), (4, -1, []))
    got = t.own("a start that is none", 1, stateEpoch=1, startOffset=-2)
    s.check("a start that is none", got["errorCode"], INVALID)
    common(s, t, stateEpoch=1, startOffset=0)
    several(s, t, stateEpoch=5, startOffset=0)


@covers("ReadShareGroupState")
def read(s, v):
    t = States(s)
    for p in range(3):
        t.initialize(p, start=10 + p)
    got = t.own("new", 0, leaderEpoch=2)
    s.check("new", got, {"partition": 0, "errorCode": 0, "errorMessage": None,
                         "stateEpoch": 1, "startOffset": 10,
                         "stateBatches": []})
    t.write(start=10, leader=2,
            batches=[batch(10, 14), batch(17, 17, ARCHIVED, 5),
                     batch(15, 16, 0, 2)])
    got = t.own("written", 0, leaderEpoch=3)
    s.check("written", got["stateBatches"],
            [batch(10, 14), batch(15, 16, 0, 2), batch(17, 17, ARCHIVED, 5)])
    got = t.own("an old leader", 0, leaderEpoch=2)
    s.check("an old leader", (got["errorCode"], got["stateBatches"]),
            (FENCED_LEADER, []))
    error = t.write(start=12, leader=2)["errorCode"]
    s.check("the old leader writes", error, FENCED_LEADER)
    got = t.own("never initialized", 0, group=t.group + "x", node=t.nodes[0],
                leaderEpoch=1)
    s.true("never initialized", got["errorCode"] in
           (INVALID, NOT_COORDINATOR), got)
    common(s, t, leaderEpoch=3)
    several(s, t, leaderEpoch=3)


@covers("WriteShareGroupState")
def write(s, v):
    t = States(s)
    for p in range(3):
        t.initialize(p)
    fields = dict(stateEpoch=1, leaderEpoch=4, startOffset=5)
    if v >= 1:
        fields["deliveryCompleteCount"] = 3
    got = t.own("first", 0, stateBatches=[batch(5, 7), batch(9, 9, 0, 1)],
                **fields)
    s.check("first", got, {"partition": 0, "errorCode": 0,
                           "errorMessage": None})
    got = t.own("more", 0, stateBatches=[batch(9, 9, ARCHIVED, 2)], **fields)
    s.check("more", got["errorCode"], 0)
    state = t.read(leader=4)
    s.check("state", (state["startOffset"], state["stateBatches"]),
            (5, [batch(5, 7), batch(9, 9, ARCHIVED, 2)]))
    a = t.ask("summary", "ReadShareGroupStateSummary", 0, leaderEpoch=4)
    s.check("complete", a["deliveryCompleteCount"], 3 if v >= 1 else -1)
    fields["startOffset"] = 8
    t.own("the start moves", 0, stateBatches=[], **fields)
    state = t.read(leader=4)
    s.check("the start moves", (state["startOffset"], state["stateBatches"]),
            (8, [batch(9, 9, ARCHIVED, 2)]))
    for label, bad in (("backwards", batch(9, 8)), ("negative", batch(-2, 3)),
                       ("unknown state", batch(9, 9, 3)),
                       ("no deliveries", batch(9, 9, 2, -1))):
        got = t.own(label, 0, stateBatches=[bad], **fields)
        s.check(label, got["errorCode"], INVALID)
    got = t.own("an old leader", 0, stateBatches=[],
                **dict(fields, leaderEpoch=3))
    s.check("an old leader", got["errorCode"], FENCED_LEADER)
    got = t.own("an old group", 0, stateBatches=[],
                **dict(fields, stateEpoch=0))
    s.check("an old group", got["errorCode"], FENCED_STATE)
    common(s, t, stateBatches=[], **fields)
    several(s, t, stateBatches=[], **fields)


@covers("WriteShareGroupState")
def prune(s, v):
    """What no state needs any more leaves the log; nothing is lost by it."""
    def starts():
        topic = "__share_group_state"
        found = []
        for p in s.describe(topic)["partitions"]:
            a = s.call(p["leaderId"], "ListOffsets", 1, replicaId=-1, topics=[{
                "name": topic, "partitions": [{
                    "partitionIndex": p["partitionIndex"], "timestamp": -2}]}])
            found.append(a["topics"][0]["partitions"][0]["offset"])
        return found
    t = States(s, "pruned")
    t.initialize(0)
    before = starts()
    kept = []
    for i in range(40):
        kept.append(batch(2 * i, 2 * i, ACKNOWLEDGED, i % 4 + 1))
        got = t.own("write", 0, stateEpoch=1, leaderEpoch=1, startOffset=0,
                    stateBatches=[kept[-1]])
        s.notes.pop()
        if got["errorCode"]:
            raise Wrong("write %d: error %d" % (i, got["errorCode"]))
    wait_for("pruning", lambda: starts() != before)
    s.check("after pruning", t.read()["stateBatches"], kept)


@covers("ReadShareGroupStateSummary")
def summary(s, v):
    t = States(s)
    for p in range(3):
        t.initialize(p, start=20, state=2)
    t.write(start=25, leader=6, state=2, batches=[batch(25, 25)])
    got = t.own("summary", 0, leaderEpoch=6)
    want = {"partition": 0, "errorCode": 0, "errorMessage": None,
            "stateEpoch": 2, "leaderEpoch": 6, "startOffset": 25}
    if v >= 1:
        want["deliveryCompleteCount"] = 0
    s.check("summary", got, want)
    got = t.own("by an old leader", 0, leaderEpoch=1)
    s.check("by an old leader", got["errorCode"], 0)
    fresh = States(s, "fresh")
    got = fresh.own("unknown", 0, leaderEpoch=0)
    s.check("unknown", (got["errorCode"], got["startOffset"]), (0, -1))
    common(s, t, leaderEpoch=6)
    several(s, t, leaderEpoch=6)


@covers("ReadShareGroupState", "WriteShareGroupState")
def states_that_are_not_there(s, v):
    """Nobody has initialized them, or not so far."""
    t = States(s, "none")
    fields = dict(leaderEpoch=3)
    if s.api == "WriteShareGroupState":
        fields.update(stateEpoch=2, startOffset=5, stateBatches=[])
    got = t.own("never initialized", 0, **fields)
    s.check("never initialized", got["errorCode"], INVALID)
    t.initialize(0, start=5, state=2)
    got = t.own("initialized", 0, **fields)
    s.check("initialized", got["errorCode"], 0)
    if s.api == "WriteShareGroupState":
        got = t.own("an old state", 0, **dict(fields, stateEpoch=1))
        s.check("an old state", got["errorCode"], FENCED_STATE)
    else:
        for label, want, leader in (
                ("an old leader", FENCED_LEADER, 2), ("a later leader", 0, 4),
                ("the leader of before", FENCED_LEADER, 3)):
            got = t.own(label, 0, leaderEpoch=leader)
            s.check(label, got["errorCode"], want)


@covers("DeleteShareGroupState")
def delete(s, v):
    t = States(s)
    for p in range(3):
        t.initialize(p)
    got = t.own("delete", 0)
    s.check("delete", got, {"partition": 0, "errorCode": 0,
                            "errorMessage": None})
    s.check("gone", t.read()["errorCode"], INVALID)
    s.check("again", t.own("again", 0)["errorCode"], 0)
    common(s, t)
    several(s, t)
    gone = States(s, "gone")
    gone.initialize(0)
    s.call(1, "DeleteTopics", 5, topicNames=[gone.topic], timeoutMs=20000)
    wait_for("the topic goes", lambda: s.absent(gone.topic))
    def forgotten():
        a = s.call(gone.nodes[0], "ReadShareGroupStateSummary", 0,
                   **gone.fields({"partition": 0, "leaderEpoch": 0}))
        return a["results"][0]["partitions"][0]["errorCode"] == UNKNOWN
    wait_for("the topic's states go", forgotten)
