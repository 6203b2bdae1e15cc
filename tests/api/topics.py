"""Metadata, DescribeTopicPartitions, CreateTopics, CreatePartitions,
DeleteTopics, ElectLeaders, reassignments and DescribeLogDirs."""

from records import batch
from sweep import LAYOUT, covers, wait_for

INT_MIN = -2147483648
# CREATE, DELETE, ALTER, DESCRIBE, READ, WRITE, DESCRIBE_CONFIGS,
# ALTER_CONFIGS, as bits; and what one may do with a cluster
BITS_TOPIC = sum(1 << i for i in (3, 4, 5, 6, 7, 8, 10, 11))
BITS_CLUSTER = sum(1 << i for i in (5, 7, 8, 9, 10, 11, 12))
PAIRS = [(b"k", b"v")]


# ---- Metadata -------------------------------------------------------------


def partition(v, p, replicas, epoch=0):
    out = {"errorCode": 0, "partitionIndex": p, "leaderId": replicas[0],
           "replicaNodes": replicas, "isrNodes": sorted(replicas)}
    if v >= 5:
        out["offlineReplicas"] = []
    if v >= 7:
        out["leaderEpoch"] = epoch
    return out


def in_order(partitions):
    for p in partitions:
        p["isrNodes"].sort()
    return sorted(partitions, key=lambda p: p["partitionIndex"])


@covers("Metadata")
def metadata_topics(s, v):
    topic = s.topic()
    a = s.ask("a topic", 2, topics=[{"name": topic}])
    s.check("brokers", sorted((b["nodeId"], (b["host"], b["port"]))
                              for b in a["brokers"]), sorted(s.nodes.items()))
    if v >= 1:
        s.check("racks", [b["rack"] for b in a["brokers"]], [None] * 3)
        s.true("controller", a["controllerId"] in s.nodes, a["controllerId"])
    if v >= 2:
        s.true("cluster id", len(a["clusterId"] or "") == 22, a["clusterId"])
    if v >= 13:
        s.check("no error", a["errorCode"], 0)
    got = a["topics"][0]
    got["partitions"] = in_order(got["partitions"])
    want = {"errorCode": 0, "name": topic, "partitions": [
        partition(v, p, LAYOUT[p]) for p in range(3)]}
    if v >= 1:
        want["isInternal"] = False
    if v >= 8:
        want["topicAuthorizedOperations"] = INT_MIN
    if v >= 10:
        want["topicId"] = s.id(topic)
    s.check("a topic", got, want)
    if 8 <= v <= 10:
        s.check("no operations", a["clusterAuthorizedOperations"], INT_MIN)
        b = s.ask("operations of the cluster", 1, topics=[],
                  includeClusterAuthorizedOperations=True)
        s.check("operations of the cluster", b["clusterAuthorizedOperations"],
                BITS_CLUSTER)
    if v >= 8:
        b = s.ask("operations of a topic", 1, topics=[{"name": topic}],
                  includeTopicAuthorizedOperations=True)
        s.check("operations of a topic",
                b["topics"][0]["topicAuthorizedOperations"], BITS_TOPIC)


@covers("Metadata")
def metadata_choices(s, v):
    topic = s.topic("chosen")
    a = s.connection(3).call("Metadata", v, {"topics": None if v else []})
    s.true("all topics", topic in [t["name"] for t in a["topics"]])
    s.check("all topics: errors", {t["errorCode"] for t in a["topics"]}, {0})
    if v >= 1:
        a = s.ask("no topic", 1, topics=[])
        s.check("no topic", a["topics"], [])
    if v >= 4:
        a = s.ask("unknown topic", 1, topics=[{"name": topic + "-no"}],
                  allowAutoTopicCreation=False)
        s.check("unknown topic", (a["topics"][0]["errorCode"], a["topics"][0]
                                  ["partitions"]), (3, []))
    a = s.ask("a topic named twice", 1, topics=[
        {"name": n} for n in (topic, "a b", topic, topic, "a b")])
    s.check("a topic named twice", sorted(t["name"] for t in a["topics"]),
            ["a b", topic])
    a = s.ask("invalid name", 1, topics=[{"name": "a b"}])
    s.check("invalid name", a["topics"][0]["errorCode"], 17)
    if v >= 12:
        a = s.ask("by id", 1, topics=[{"topicId": s.id(topic),
                                       "name": None}])
        s.check("by id", [(t["errorCode"], t["name"]) for t in a["topics"]],
                [(0, topic)])
        a = s.ask("unknown id", 1, topics=[{"topicId": b"\5" * 16,
                                            "name": None}])
        s.check("unknown id", (a["topics"][0]["errorCode"],
                               a["topics"][0]["name"]), (100, None))


@covers("Metadata")
def metadata_creates(s, v):
    name = s.name("auto")
    first = s.ask("a topic to be made", 1, topics=[{"name": name}],
                  allowAutoTopicCreation=True)["topics"][0]
    s.true("a topic to be made", first["errorCode"] in (0, 3, 5), first)
    wait_for("the topic", lambda: not s.describe(name)["errorCode"])
    s.check("as the broker's defaults say", [
        len(p["replicaNodes"]) for p in s.describe(name)["partitions"]], [3])


# ---- DescribeTopicPartitions ----------------------------------------------


@covers("DescribeTopicPartitions")
def describe_topic_partitions(s, v):
    one, two = s.topic("a"), s.topic("b")
    unknown = s.name("c")
    names = [{"name": n} for n in (two, one)]

    def ask(label, **fields):
        a = s.ask(label, 2, **fields)
        return [(t["name"], t["errorCode"], [p["partitionIndex"]
                 for p in t["partitions"]]) for t in a["topics"]], \
            a["nextCursor"], a

    got, cursor, a = ask("two topics", topics=names)
    s.check("two topics", (got, cursor), (
        [(one, 0, [0, 1, 2]), (two, 0, [0, 1, 2])], None))
    t = a["topics"][0]
    for p in t["partitions"]:
        p["isrNodes"].sort()
    s.check("a topic", t, {
        "errorCode": 0, "name": one, "topicId": s.id(one),
        "isInternal": False, "topicAuthorizedOperations": BITS_TOPIC,
        "partitions": [dict(partition(7, p, LAYOUT[p]), lastKnownElr=[],
                            eligibleLeaderReplicas=[]) for p in range(3)]})
    got, cursor, _ = ask("page 1", topics=names, responsePartitionLimit=2)
    s.check("page 1", (got, cursor), (
        [(one, 0, [0, 1])], {"topicName": one, "partitionIndex": 2}))
    got, cursor, _ = ask("page 2", topics=names, responsePartitionLimit=2,
                         cursor=cursor)
    s.check("page 2", (got, cursor), (
        [(one, 0, [2]), (two, 0, [0])],
        {"topicName": two, "partitionIndex": 1}))
    got, cursor, _ = ask("page 3", topics=names, responsePartitionLimit=2,
                         cursor=cursor)
    s.check("page 3", (got, cursor), ([(two, 0, [1, 2])], None))
    got, _, _ = ask("unknown topic", topics=[{"name": unknown}])
    s.check("unknown topic", got, [(unknown, 3, [])])
    got, _, _ = ask("invalid name", topics=[{"name": "a b"}])
    s.check("invalid name", [(g[1], g[2]) for g in got], [(17, [])])
    a = s.call(1, "DescribeTopicPartitions", 0, topics=[])
    s.true("all topics", {one, two} <= {t["name"] for t in a["topics"]})


# ---- CreateTopics ---------------------------------------------------------


def created(s, label, *requests, node=1, **more):
    a = s.ask(label, node, timeoutMs=20000, topics=[dict({
        "numPartitions": 1, "replicationFactor": 1}, **r)
        for r in requests], **more)
    return {t["name"]: t for t in a["topics"]}


@covers("CreateTopics")
def create_topics(s, v):
    name = s.name("made")
    got = created(s, "with configs", {
        "name": name, "numPartitions": 2, "replicationFactor": 3, "configs": [
            {"name": "retention.ms", "value": "1234"},
            {"name": "cleanup.policy", "value": "compact"}]}, node=2)[name]
    want = {"name": name, "errorCode": 0}
    if v >= 1:
        want["errorMessage"] = None
    if v >= 5:
        configs = {c["name"]: c for c in got.pop("configs")}
        s.check("with configs: theirs", [
            (configs[n]["value"], configs[n]["configSource"],
             configs[n]["readOnly"], configs[n]["isSensitive"])
            for n in ("retention.ms", "cleanup.policy", "segment.bytes")],
            [("1234", 1, False, False), ("compact", 1, False, False),
             ("1073741824", 5, False, False)])
        want.update(topicConfigErrorCode=0, numPartitions=2,
                    replicationFactor=3)
    if v >= 7:
        s.true("with configs: id", got.pop("topicId") != bytes(16))
    s.check("with configs", got, want)
    wait_for("the topic", lambda: not s.absent(name))
    s.check("as asked", [len(p["replicaNodes"])
                         for p in s.describe(name)["partitions"]], [3, 3])
    again = created(s, "again", {"name": name})[name]
    s.check("again", again["errorCode"], 36)
    if v >= 1:
        s.true("again: why", again["errorMessage"])
        fresh = s.name("validated")
        got = created(s, "only validated", {"name": fresh},
                      validateOnly=True)[fresh]
        s.check("only validated", got["errorCode"], 0)
        s.true("only validated: not there", s.absent(fresh))
    if v >= 4:
        name = s.name("defaults")
        got = created(s, "defaults", {"name": name, "numPartitions": -1,
                                      "replicationFactor": -1})[name]
        s.check("defaults", got["errorCode"], 0)
        wait_for("the topic", lambda: not s.absent(name))
        s.check("defaults: replicas", [
            len(p["replicaNodes"]) for p in s.describe(name)["partitions"]],
            [3])
    name = s.name("assigned")
    got = created(s, "assigned", {
        "name": name, "numPartitions": -1, "replicationFactor": -1,
        "assignments": [{"partitionIndex": 1, "brokerIds": [3, 1]},
                        {"partitionIndex": 0, "brokerIds": [2, 3]}]})[name]
    s.check("assigned", got["errorCode"], 0)
    wait_for("the topic", lambda: not s.absent(name))
    s.check("assigned: replicas", [
        p["replicaNodes"] for p in s.describe(name)["partitions"]],
        [[2, 3], [3, 1]])


@covers("CreateTopics")
def create_topics_refused(s, v):
    def error(label, want, suffix=None, **fields):
        name = fields.pop("name", None)
        name = s.name(suffix or "bad") if name is None else name
        got = created(s, label, dict(fields, name=name))[name]
        s.check(label, got["errorCode"], want)
        if v >= 1:
            s.true(label + ": why", got["errorMessage"], got)

    def assigned(*parts):
        return {"numPartitions": -1, "replicationFactor": -1, "assignments": [
            {"partitionIndex": i, "brokerIds": b} for i, b in parts]}

    error("an empty name", 17, name="")
    error("a dot", 17, name=".")
    error("a space", 17, name="a b")
    error("a long name", 17, name="x" * 250)
    error("no partitions", 37, numPartitions=0)
    error("no replicas", 38, replicationFactor=0)
    error("more replicas than brokers", 38, replicationFactor=4)
    error("an unknown config", 40, configs=[{"name": "no.such",
                                             "value": "1"}])
    error("a wrong value", 40, configs=[{"name": "retention.ms",
                                         "value": "soon"}])
    error("a null value", 40, configs=[{"name": "retention.ms",
                                        "value": None}])
    error("count and assignment", 42, **dict(assigned((0, [1])),
                                             numPartitions=1))
    error("assignment with a gap", 39, **assigned((0, [1]), (2, [1])))
    error("assignment to nobody", 39, **assigned((0, [])))
    error("assignment twice to one", 39, **assigned((0, [1, 1])))
    error("assignment to a stranger", 39, **assigned((0, [1, 9])))
    error("assignment of two sizes", 39, **assigned((0, [1]), (1, [1, 2])))
    name = s.name("twice")
    a = s.ask("twice in a request", 1, timeoutMs=20000, topics=[{
        "name": name, "numPartitions": 1, "replicationFactor": 1}] * 2)
    s.check("twice in a request", [t["errorCode"] for t in a["topics"]], [42])
    first, second = s.name("x.y"), s.name("x_y")
    created(s, "dotted", {"name": first})
    error("names that collide", 17, name=second)
    s.check("no topics", s.ask("no topics", 1, topics=[])["topics"], [])


# ---- CreatePartitions, DeleteTopics ---------------------------------------


@covers("CreatePartitions")
def create_partitions(s, v):
    topic = s.topic("grown", 1)

    def ask(label, want, count, assignments=None, name=topic, **more):
        a = s.ask(label, 3, timeoutMs=20000, topics=[
            {"name": name, "count": count, "assignments": assignments}],
            **more)
        got = a["results"][0]
        s.check(label, (got["name"], got["errorCode"]), (name, want))
        s.check(label + ": why", bool(got["errorMessage"]), bool(want))

    def count():
        return len(s.describe(topic)["partitions"])

    ask("only validated", 0, 3, validateOnly=True)
    s.check("only validated: as before", count(), 1)
    ask("more", 0, 2)
    wait_for("the partitions", lambda: count() == 2)
    ask("with assignment", 0, 4, [{"brokerIds": [3, 1, 2]},
                                  {"brokerIds": [2, 1, 3]}])
    wait_for("the partitions", lambda: count() == 4)
    s.check("with assignment: replicas", [
        p["replicaNodes"] for p in s.describe(topic)["partitions"][2:]],
        [[3, 1, 2], [2, 1, 3]])
    ask("as many", 37, 4)
    ask("fewer", 37, 2)
    ask("none", 37, 0)
    ask("an assignment too few", 39, 6, [{"brokerIds": [1, 2, 3]}])
    ask("of other size", 39, 5, [{"brokerIds": [1]}])
    ask("to a stranger", 39, 5, [{"brokerIds": [1, 2, 9]}])
    ask("unknown topic", 3, 3, name=topic + "-no")
    a = s.ask("twice in a request", 3, timeoutMs=20000, topics=[
        {"name": topic, "count": 9, "assignments": None}] * 2)
    s.check("twice in a request", [t["errorCode"] for t in a["results"]],
            [42])
    s.check("as before", count(), 4)


@covers("DeleteTopics")
def delete_topics(s, v):
    def ask(label, name):
        fields = {"topics": [{"name": name}]} if v >= 6 \
            else {"topicNames": [name]}
        a = s.ask(label, 2, timeoutMs=20000, **fields)
        return a["responses"][0]

    topic = s.topic("gone", 1)
    got = ask("a topic", topic)
    want = {"name": topic, "errorCode": 0}
    if v >= 5:
        want["errorMessage"] = None
    if v >= 6:
        want["topicId"] = s.id(topic)
    s.check("a topic", got, want)
    wait_for("the end of it", lambda: s.absent(topic))
    got = ask("deleted before", topic)
    s.check("deleted before", (got["name"], got["errorCode"]), (topic, 3))
    if v >= 5:
        s.true("deleted before: why", got["errorMessage"])
    if v >= 6:
        delete_by_id(s)


def delete_by_id(s):
    topic = s.topic("by-id", 1)
    a = s.ask("by id", 2, timeoutMs=20000, topics=[
        {"name": None, "topicId": s.id(topic)}])
    s.check("by id", [(t["name"], t["topicId"], t["errorCode"])
                      for t in a["responses"]], [(topic, s.id(topic), 0)])
    a = s.ask("unknown id", 2, timeoutMs=20000, topics=[
        {"name": None, "topicId": b"\5" * 16}])
    s.check("unknown id", [(t["name"], t["errorCode"])
                           for t in a["responses"]], [(None, 100)])
    a = s.ask("name and id", 2, timeoutMs=20000, topics=[
        {"name": s.name("both"), "topicId": b"\5" * 16}])
    s.check("name and id", [t["errorCode"] for t in a["responses"]], [42])
    a = s.ask("neither", 2, timeoutMs=20000, topics=[{"name": None}])
    s.check("neither", [t["errorCode"] for t in a["responses"]], [42])
    topic = s.topic("twice", 1)
    a = s.ask("twice in a request", 2, timeoutMs=20000, topics=[
        {"name": topic}, {"name": topic}])
    s.check("twice in a request", [t["errorCode"] for t in a["responses"]],
            [42])
    s.true("twice in a request: still there", not s.absent(topic))


# ---- leaders and replicas -------------------------------------------------


@covers("ElectLeaders")
def elect_leaders(s, v):
    topic = s.topic("elect", 2)

    def ask(label, parts, kind=0, name=topic):
        a = s.ask(label, 1, electionType=kind, timeoutMs=20000,
                  topicPartitions=[{"topic": name, "partitions": parts}])
        if v >= 1:
            s.check(label + ": error", a["errorCode"], 0)
        return {p["partitionId"]: p["errorCode"]
                for t in a["replicaElectionResults"]
                for p in t["partitionResult"]}

    s.check("not needed", ask("not needed", [0, 1]), {0: 84, 1: 84})
    s.check("unknown partition", ask("unknown partition", [9]), {9: 3})
    s.check("unknown topic", ask("unknown topic", [0], name=topic + "-no"),
            {0: 3})
    if v >= 1:
        s.check("unclean, not needed", ask("unclean, not needed", [0], 1),
                {0: 84})
    swap(s, topic, 0, [2, 1, 3])
    s.check("preferred", ask("preferred", [0]), {0: 0})
    wait_for("the leader", lambda: s.describe(topic)["partitions"][0][
        "leaderId"] == 2)
    a = s.ask("all partitions", 1, electionType=0, topicPartitions=None,
              timeoutMs=20000)
    if v >= 1:
        s.check("all partitions", a["errorCode"], 0)


def move(s, topic, index, replicas, version=0, **more):
    return s.call(1, "AlterPartitionReassignments", version, timeoutMs=20000,
                  topics=[{"name": topic, "partitions": [
                      {"partitionIndex": index, "replicas": replicas}]}],
                  **more)["responses"][0]["partitions"][0]["errorCode"]


def swap(s, topic, index, replicas):
    """Another order of the same replicas: done at once, the leader stays."""
    move(s, topic, index, replicas)
    wait_for("the new order", lambda: all(
        s.describe(topic, n)["partitions"][index]["replicaNodes"] == replicas
        for n in s.nodes))


def moves(s, topic):
    return s.call(2, "ListPartitionReassignments", 0, topics=[
        {"name": topic, "partitionIndexes": [0, 1]}])["topics"]


@covers("AlterPartitionReassignments", "ListPartitionReassignments")
def reassign(s, v):
    topic = s.topic("moved", 2, layout=([1, 2], [2, 3]))
    s.produce(topic, 0, batch(PAIRS))

    def ask(label, want, index, replicas, name=topic, **more):
        if s.api != "AlterPartitionReassignments":
            return move(s, name, index, replicas)
        a = s.ask(label, 2, timeoutMs=20000, topics=[{
            "name": name, "partitions": [{"partitionIndex": index,
                                          "replicas": replicas}]}], **more)
        s.check(label + ": request", (a["errorCode"], a["errorMessage"]),
                (0, None))
        p = a["responses"][0]["partitions"][0]
        s.check(label, (p["partitionIndex"], p["errorCode"]), (index, want))
        s.check(label + ": why", bool(p["errorMessage"]), bool(want))
        return p["errorCode"]

    def moving(label, parts=(0, 1), name=topic):
        a = s.ask(label, 3, "ListPartitionReassignments", 0, topics=[
            {"name": name, "partitionIndexes": list(parts)}])
        s.check(label + ": error", a["errorCode"], 0)
        return a["topics"]

    s.check("nothing moves", moving("nothing moves"), [])
    ask("to another node", 0, 0, [3, 2])
    wait_for("the move", lambda: s.describe(topic)["partitions"][0][
        "replicaNodes"] == [3, 2] and not moves(s, topic))
    ask("nothing to cancel", 85, 0, None)
    ask("no replicas", 39, 0, [])
    ask("twice the same", 39, 0, [2, 2])
    ask("a negative id", 39, 0, [-1, 2])
    ask("to a stranger", 39, 0, [2, 9])
    ask("unknown partition", 3, 7, [1, 2])
    ask("unknown topic", 3, 0, [1, 2], topic + "-no")
    if s.api == "AlterPartitionReassignments" and v >= 1:
        ask("another number of replicas", 38, 1, [1, 2, 3],
            allowReplicationFactorChange=False)
    ask("more replicas", 0, 1, [2, 3, 1])
    wait_for("the move", lambda: len(s.describe(topic)["partitions"][1][
        "isrNodes"]) == 3)
    s.check("unknown topic is not moving", moving("unknown", [0],
                                                  topic + "-no"), [])
    a = s.call(3, "ListPartitionReassignments", 0, topics=None)
    s.check("all moves: error", a["errorCode"], 0)

    # New replicas of a log that begins inside a batch get all of it.
    topic = s.topic("begun", 1, layout=([1],))
    s.produce(topic, 0, batch(PAIRS))
    s.call(1, "DeleteRecords", 1, timeoutMs=10000, topics=[{
        "name": topic, "partitions": [{"partitionIndex": 0, "offset": 2}]}])
    s.check("a log that begins inside a batch", move(s, topic, 0, [1, 2, 3]), 0)
    wait_for("replicas of a log that begins inside a batch",
             lambda: len(s.describe(topic)["partitions"][0]["isrNodes"]) == 3)


@covers("DescribeLogDirs")
def describe_log_dirs(s, v):
    topic = s.topic("sized")
    s.produce(topic, 0, batch(PAIRS))
    size = len(batch(PAIRS))
    a = s.ask("a topic", 1, topics=[{"topic": topic, "partitions": [0, 2]}])
    if v >= 3:
        s.check("a topic: error", a["errorCode"], 0)
    s.check("a topic: one directory", len(a["results"]), 1)
    got = a["results"][0]
    s.true("a topic: directory", got["logDir"].startswith("/"), got)
    s.check("a topic: directory's error", got["errorCode"], 0)
    if v >= 4:
        s.true("a topic: room", got["totalBytes"] >= got["usableBytes"] > 0,
               got)
    if v >= 5:
        s.check("a topic: not cordoned", got["isCordoned"], False)
    s.check("a topic: partitions", [(t["name"], sorted(
        (p["partitionIndex"], p["partitionSize"], p["offsetLag"],
         p["isFutureKey"]) for p in t["partitions"]))
        for t in got["topics"]],
        [(topic, [(0, size, 0, False), (2, 0, 0, False)])])
    a = s.call(1, "DescribeLogDirs", v, topics=None)
    s.true("all topics", topic in [t["name"] for r in a["results"]
                                   for t in r["topics"]])
    a = s.ask("unknown topic", 1, topics=[{"topic": topic + "-no",
                                           "partitions": [0]}])
    s.check("unknown topic", [r["topics"] for r in a["results"]], [[]])


@covers("AlterReplicaLogDirs")
def alter_replica_log_dirs(s, v):
    """Nodes with several directories: tests/logdirs."""
    topic = s.topic("settled")
    here = s.call(1, "DescribeLogDirs", topics=None)["results"][0]["logDir"]

    def ask(label, want, path=here, name=topic, partitions=(0,)):
        a = s.ask(label, 1, dirs=[{"path": path, "topics": [{
            "name": name, "partitions": list(partitions)}]}])
        s.check(label, [(r["topicName"], [(p["partitionIndex"], p["errorCode"])
                                          for p in r["partitions"]])
                        for r in a["results"]], [(name, want)])
    ask("where it is", [(0, 0), (2, 0)], partitions=(0, 2))
    ask("no such directory", [(0, 57)], path="/nowhere")
    ask("no such topic", [(0, 3)], name=topic + "-no")
    ask("no such partition", [(0, 0), (77, 3)], partitions=(0, 77))
    a = s.ask("nothing", 1, dirs=[])
    s.check("nothing", a["results"], [])
