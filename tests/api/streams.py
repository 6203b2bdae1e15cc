"""Streams groups (KIP-1071): which member has which task, the topics that the
broker makes for them, and what the older calls say of such groups."""

import time
import uuid

from groups import Group, coordinator
from sweep import Wrong, covers, wait_for

JOINS, LEAVES = 0, -1
AGAIN = (14, 15, 16)
STALE_TOPOLOGY, NO_SOURCE, PARTITIONED, NO_INTERNAL, SHUTDOWN, DELAYED = \
    range(6)
NO_TASKS = dict(activeTasks=[], standbyTasks=[], warmupTasks=[])


def changelog(name, configs=(), replicas=3):
    return {"name": name, "partitions": 0, "replicationFactor": replicas,
            "topicConfigs": [{"key": k, "value": v} for k, v in configs]}


def sub(name, sources, changelogs=(), sinks=(), repartitions=(), **more):
    return dict({
        "subtopologyId": name, "sourceTopics": list(sources),
        "sourceTopicRegex": [], "stateChangelogTopics": list(changelogs),
        "repartitionSinkTopics": list(sinks),
        "repartitionSourceTopics": list(repartitions),
        "copartitionGroups": []}, **more)


def topology(*subs, epoch=0):
    return {"epoch": epoch, "subtopologies": list(subs)}


def configure(s, group, **settings):
    """Settings of one group, on all nodes."""
    configs = [("streams." + k.replace("_", "."), str(v))
               for k, v in settings.items()]
    s.call(1, "IncrementalAlterConfigs", 1, validateOnly=False, resources=[{
        "resourceType": 32, "resourceName": group, "configs": [
            {"name": k, "configOperation": 0, "value": v}
            for k, v in configs]}])

    def known(node):
        a = s.call(node, "DescribeConfigs", 4, resources=[{
            "resourceType": 32, "resourceName": group,
            "configurationKeys": [k for k, _ in configs]}])
        got = {c["name"]: c["value"] for c in a["results"][0]["configs"]}
        return got == dict(configs)
    for node in s.nodes:
        wait_for("the settings of " + group, lambda: known(node))


class Thread:
    """One member; it gives up and takes tasks at once."""

    def __init__(self, group, process=None):
        self.group = group
        self.s = group.s
        self.id = str(uuid.uuid4())
        self.process = process or self.id
        self.epoch = JOINS
        self.tasks = dict(NO_TASKS)
        self.status = {}

    def send(self, label, epoch, **fields):
        fields = dict(dict(groupId=self.group.name, memberId=self.id,
                           memberEpoch=epoch, endpointInformationEpoch=-1,
                           shutdownApplication=False), **fields)
        version = self.s.version \
            if self.s.api == "StreamsGroupHeartbeat" else 0
        return self.s.ask(label, self.group.node, "StreamsGroupHeartbeat",
                          version, **fields)

    def take(self, a):
        if a["errorCode"]:
            return a
        self.epoch = a["memberEpoch"]
        self.status = {x["statusCode"]: x["statusDetail"]
                       for x in a["status"] or ()}
        if a["activeTasks"] is not None:
            self.tasks = {k: a[k] or [] for k in NO_TASKS}
        return a

    def joining(self, told, **more):
        return dict(dict(NO_TASKS, rebalanceTimeoutMs=30000, topology=told,
                         processId=self.process, clientTags=[]), **more)

    def join(self, label, told, **more):
        # The coordinator may still be loading, or move.
        def tried():
            a = self.send(label, JOINS, **self.joining(told, **more))
            if a["errorCode"] in AGAIN:
                self.s.notes.pop()
                return None
            return a
        self.tasks = dict(NO_TASKS)
        return self.take(wait_for(label, tried))

    def beat(self, label="beats", **more):
        return self.take(self.send(label, self.epoch,
                                   **dict(self.tasks, **more)))

    def leave(self, label="leaves"):
        return self.send(label, LEAVES)["errorCode"]

    def has(self, kind="activeTasks"):
        """Its tasks as ["name_partition"]."""
        return sorted("%s_%d" % (t["subtopologyId"], p)
                      for t in self.tasks[kind] for p in t["partitions"])


def settle(s, label, threads, done):
    """All beat until it is done.  How often is nobody's business."""
    def turn():
        mark = len(s.notes)
        for thread in threads:
            a = thread.beat()
            if a["errorCode"]:
                raise Wrong("%s: error %d" % (label, a["errorCode"]))
        del s.notes[mark:]
        return done() or time.sleep(0.05)
    wait_for(label, turn)


def streams_group(s, suffix, **settings):
    group = Group(s, suffix)
    configure(s, group.name, **dict(dict(
        initial_rebalance_delay_ms=0, assignment_interval_ms=0), **settings))
    return group


@covers("StreamsGroupHeartbeat")
def tasks(s, v):
    topic = s.topic()
    group = streams_group(s, "g")
    told = topology(sub("0", [topic]))
    one, two = Thread(group), Thread(group)
    a = one.join("joins", told)
    s.check("joins: error", a["errorCode"], 0)
    s.check("joins: id", a["memberId"], one.id)
    s.true("joins: interval", a["heartbeatIntervalMs"] > 0)
    settle(s, "has all tasks", [one],
           lambda: one.has() == ["0_0", "0_1", "0_2"])
    a = one.beat("nothing new")
    s.check("nothing new", (a["errorCode"], a["activeTasks"], a["status"]),
            (0, None, []))
    s.check("a second joins", two.join("a second joins", told)["errorCode"], 0)
    s.check("nobody has what another has", two.has(), [])
    settle(s, "both have some", [one, two], lambda: two.has() and len(
        one.has()) + len(two.has()) == 3)
    s.check("each task is active once", sorted(one.has() + two.has()),
            ["0_0", "0_1", "0_2"])
    s.check("one leaves", one.leave(), 0)
    settle(s, "the other has all", [two],
           lambda: two.has() == ["0_0", "0_1", "0_2"])
    s.call(1, "CreatePartitions", topics=[
        {"name": topic, "count": 5, "assignments": None}])
    settle(s, "the topic has grown", [two], lambda: len(two.has()) == 5)
    s.check("the last leaves", two.leave(), 0)


@covers("StreamsGroupHeartbeat")
def internal_topics(s, v):
    """The broker makes them as the topology says."""
    topic = s.topic("words", 2)
    group = streams_group(s, "makes")
    again, store = s.name("by-word-repartition"), s.name("counts-changelog")
    told = topology(
        sub("0", [topic], sinks=[again]),
        sub("1", [], [changelog(store, [("cleanup.policy", "compact")])],
            repartitions=[changelog(again, [("retention.ms", "-1")])]))
    one = Thread(group)
    one.join("joins", told)
    s.check("they are missing", list(one.status), [NO_INTERNAL])
    s.check("no tasks without them", one.has(), [])
    settle(s, "tasks of both", [one],
           lambda: one.has() == ["0_0", "0_1", "1_0", "1_1"])
    s.check("nothing is missing", one.status, {})
    for name, key, value in ((store, "cleanup.policy", "compact"),
                             (again, "retention.ms", "-1")):
        got = s.describe(name)
        s.check(key + ": partitions", len(got["partitions"]), 2)
        s.check(key + ": replicas", len(got["partitions"][0]["replicaNodes"]),
                3)
        a = s.call(1, "DescribeConfigs", 4, resources=[{
            "resourceType": 2, "resourceName": name,
            "configurationKeys": [key]}])
        s.check(key, a["results"][0]["configs"][0]["value"], value)
    one.leave()


@covers("StreamsGroupHeartbeat")
def internal_topics_refused(s, v):
    """Members are told why a topic cannot be made."""
    topic = s.topic("refused")
    group = streams_group(s, "cannot-make")
    store = s.name("odd-changelog")
    one = Thread(group)
    one.join("joins", topology(sub("0", [topic], [changelog(
        store, [("cleanup.policy", "nonsense")])])))
    settle(s, "the reason arrives", [one],
           lambda: "nonsense" in one.status.get(NO_INTERNAL, ""))
    s.true("it names the topic", store in one.status[NO_INTERNAL], one.status)
    one.leave()


@covers("StreamsGroupHeartbeat")
def source_topics(s, v):
    group = streams_group(s, "sources")
    name, left, right = s.name("later"), s.topic("left", 3), s.topic("right",
                                                                     2)
    one = Thread(group)
    one.join("joins", topology(sub("0", [name])))
    s.check("a source is missing", list(one.status), [NO_SOURCE])
    s.true("it is named", name in one.status[NO_SOURCE], one.status)
    s.topic("later", 1)
    settle(s, "it is there", [one], lambda: one.has() == ["0_0"])
    one.leave()
    group = streams_group(s, "copartitioned")
    one = Thread(group)
    one.join("joins with two", topology(sub("0", [left, right],
                                            copartitionGroups=[{
                                                "sourceTopics": [0, 1],
                                                "sourceTopicRegex": [],
                                                "repartitionSourceTopics": [],
                                            }])))
    s.check("they must be partitioned alike", list(one.status), [PARTITIONED])
    one.leave()


@covers("StreamsGroupHeartbeat")
def standbys(s, v):
    topic = s.topic("standby", 2)
    group = streams_group(s, "standby", num_standby_replicas=1)
    told = topology(sub("0", [topic], [changelog(s.name("s-changelog"))]))
    one, two = Thread(group), Thread(group)
    one.join("joins", told)
    two.join("a second joins", told)
    settle(s, "one active, one standby each", [one, two], lambda: all(
        len(t.has()) == 1 and len(t.has("standbyTasks")) == 1
        for t in (one, two)))
    s.check("a standby is for what another has",
            (one.has("standbyTasks"), two.has("standbyTasks")),
            (two.has(), one.has()))
    one.leave()
    two.leave()


@covers("StreamsGroupHeartbeat")
def shutdown(s, v):
    topic = s.topic("shutdown")
    group = streams_group(s, "shutdown")
    one, two = Thread(group), Thread(group)
    for thread in (one, two):
        thread.join("joins", topology(sub("0", [topic])))
    one.beat("wants all to stop", shutdownApplication=True)
    settle(s, "all hear it", [two], lambda: SHUTDOWN in two.status)
    one.leave()
    two.leave()


@covers("StreamsGroupHeartbeat")
def delay(s, v):
    topic = s.topic("delay")
    group = streams_group(s, "delay", initial_rebalance_delay_ms=60000)
    one = Thread(group)
    one.join("joins", topology(sub("0", [topic])))
    s.check("waits for others", (list(one.status), one.has()),
            ([DELAYED], []))
    one.leave()


@covers("StreamsGroupHeartbeat")
def refusals(s, v):
    topic = s.topic("refusals")
    group = streams_group(s, "refusals")
    one = Thread(group)
    told = topology(sub("0", [topic]))

    def refused(label, error, epoch, **fields):
        a = one.send(label, epoch, **fields)
        s.check(label, a["errorCode"], error)
        s.true(label + ": message", a["errorMessage"] != "")

    refused("no such group", 69, 1)
    one.join("joins", told)
    settle(s, "has its tasks", [one], lambda: len(one.has()) == 3)
    joining = one.joining(told, memberId="another")
    refused("unknown member", 25, 1, memberId="nobody")
    refused("epoch of the future", 110, one.epoch + 5)
    refused("epoch below all", 42, -3)
    refused("leaves for now", 42, -2)
    refused("no member id", 42, 1, memberId="")
    refused("a static member", 42, JOINS, **dict(joining, instanceId="i"))
    refused("without timeout", 42, JOINS,
            **dict(joining, rebalanceTimeoutMs=-1))
    refused("without topology", 42, JOINS, **dict(joining, topology=None))
    refused("joins with tasks", 42, JOINS, **dict(joining, activeTasks=[
        {"subtopologyId": "0", "partitions": [0]}]))
    refused("topology in the middle", 42, one.epoch, topology=told)
    refused("one kind of tasks only", 42, one.epoch, activeTasks=[])
    refused("no such task", 42, one.epoch, **dict(NO_TASKS, activeTasks=[
        {"subtopologyId": "9", "partitions": [0]}]))
    refused("no such partition", 42, one.epoch, **dict(NO_TASKS, activeTasks=[
        {"subtopologyId": "0", "partitions": [77]}]))
    refused("warm-ups", 42, one.epoch, **dict(NO_TASKS, warmupTasks=[
        {"subtopologyId": "0", "partitions": [0]}]))
    refused("offsets of tasks", 42, one.epoch, taskOffsets=[])
    fresh = Group(s, "never-made")

    def refused_topology(label, error, told):
        thread = Thread(fresh)
        s.check(label, thread.send(label, JOINS, **thread.joining(told))[
            "errorCode"], error)

    for label, error, wrong in (
            ("no source", 130, sub("0", [])),
            ("a topic of Kafka's own", 130, sub("0", ["__consumer_offsets"])),
            ("a name that no topic has", 130, sub("0", ["a/b"])),
            ("a changelog with partitions", 130, sub(
                "0", [topic], [dict(changelog("c"), partitions=3)])),
            ("a regular expression", 42, sub(
                "0", [topic], sourceTopicRegex=["a.*"])),
            ("an index of no topic", 130, sub(
                "0", [topic], copartitionGroups=[{
                    "sourceTopics": [4], "sourceTopicRegex": [],
                    "repartitionSourceTopics": []}]))):
        refused_topology(label, error, topology(wrong))
    refused_topology("two alike", 130,
                     topology(sub("0", [topic]), sub("0", [topic])))
    refused_topology("an epoch below 0", 131,
                     topology(sub("0", [topic]), epoch=-1))
    refused("another topology", 42, JOINS, **dict(
        joining, topology=topology(sub("0", [s.topic("other")]))))
    refused("no group", 42, one.epoch, groupId="")
    wrong = next(n for n in s.nodes if n != group.node)
    a = s.ask("not the coordinator", wrong, groupId=group.name,
              memberId=one.id, memberEpoch=one.epoch,
              endpointInformationEpoch=-1, shutdownApplication=False)
    s.check("not the coordinator", a["errorCode"], 16)
    s.check("lives on", one.beat()["errorCode"], 0)
    one.leave()


@covers("StreamsGroupHeartbeat", "StreamsGroupDescribe", "OffsetCommit",
        "OffsetFetch", "DescribeGroups", "ListGroups", "DeleteGroups",
        "JoinGroup", "ConsumerGroupHeartbeat")
def beside_older_calls(s, v):
    """What they say of a group whose members are threads of Streams."""
    topic = s.topic("streams-beside")
    group = streams_group(s, "streams-beside")
    told = topology(sub("0", [topic]))
    one = Thread(group)
    one.join("joins", told)
    settle(s, "has its tasks", [one], lambda: len(one.has()) == 3)

    def call(label, name, **fields):
        version = v if s.api == name else s.newest(name)
        return s.ask(label, group.node, name, version, **fields)

    def commit(label, epoch, member=None):
        a = s.ask(label, group.node, "OffsetCommit", 9, groupId=group.name,
                  memberId=one.id if member is None else member,
                  generationIdOrMemberEpoch=epoch, topics=[{
                      "name": topic, "partitions": [{
                          "partitionIndex": 0, "committedOffset": 7,
                          "committedMetadata": ""}]}])
        return a["topics"][0]["partitions"][0]["errorCode"]

    s.check("commits", commit("commits", one.epoch), 0)
    s.check("commits with an epoch to come", commit(
        "commits with an epoch to come", one.epoch + 1), 113)
    s.check("a stranger commits", commit("a stranger commits", 1, "x"), 25)
    for label, epoch, error in (
            ("fetches with its epoch", one.epoch, 0),
            ("fetches with an epoch to come", one.epoch + 1, 113)):
        a = s.ask(label, group.node, "OffsetFetch", 9, groups=[
            {"groupId": group.name, "memberId": one.id, "memberEpoch": epoch,
             "topics": None}])
        s.check(label, a["groups"][0]["errorCode"], error)
    s.check("joins as a classic member", group.join(
        "joins as a classic member")["errorCode"], 23)
    a = s.ask("joins as a consumer", group.node, "ConsumerGroupHeartbeat", 1,
              groupId=group.name, memberId="m", memberEpoch=0,
              rebalanceTimeoutMs=30000, topicPartitions=[],
              subscribedTopicNames=[topic])
    s.check("joins as a consumer", a["errorCode"], 69)
    late = (v if s.api == "DescribeGroups" else 6) >= 6
    got = call("is described", "DescribeGroups",
               groups=[group.name])["groups"][0]
    s.check("is described", (got["errorCode"], got["groupState"]),
            (69 if late else 0, "Dead"))
    listed = [x for x in call("is listed", "ListGroups")["groups"]
              if x["groupId"] == group.name]
    del s.notes[-1]
    s.check("is listed", len(listed), 1)
    if s.api != "ListGroups" or v >= 5:
        s.check("its type and state", (listed[0]["groupType"], listed[0][
            "protocolType"], listed[0]["groupState"]),
            ("streams", "streams", "Stable"))
    a = call("is deleted with members", "DeleteGroups",
             groupsNames=[group.name])
    s.check("is deleted with members", a["results"][0]["errorCode"], 68)
    s.check("leaves", one.leave(), 0)
    a = call("is deleted", "DeleteGroups", groupsNames=[group.name])
    s.check("is deleted", a["results"][0]["errorCode"], 0)
    # Its name is free.
    member, _ = group.one("a classic group of that name")
    a = Thread(group).send("a heartbeat to a classic group", JOINS,
                           **Thread(group).joining(told))
    s.check("a heartbeat to a classic group", a["errorCode"], 69)
    group.leave("leaves the classic group", member)


@covers("StreamsGroupDescribe")
def describe(s, v):
    topic = s.topic()
    store = s.name("d-changelog")
    group = streams_group(s, "described")
    one = Thread(group)
    one.join("joins", topology(sub("0", [topic], [changelog(
        store, [("cleanup.policy", "compact")])]), epoch=3),
        clientTags=[{"key": "zone", "value": "a"}],
        userEndpoint={"host": "h", "port": 8080})
    settle(s, "has its tasks", [one], lambda: len(one.has()) == 3)
    a = s.ask("described", group.node, groupIds=[group.name],
              includeAuthorizedOperations=True)
    got = a["groups"][0]
    s.check("group", (got["errorCode"], got["groupId"], got["groupState"]),
            (0, group.name, "Stable"))
    s.check("epochs", got["groupEpoch"], got["assignmentEpoch"])
    s.true("operations", got["authorizedOperations"] > 0)
    s.check("topology", got["topology"], {"epoch": 3, "subtopologies": [{
        "subtopologyId": "0", "sourceTopics": [topic],
        "repartitionSinkTopics": [], "repartitionSourceTopics": [],
        "stateChangelogTopics": [dict(changelog(store, [
            ("cleanup.policy", "compact")]), partitions=3)]}]})
    s.check("members", len(got["members"]), 1)
    member = got["members"][0]
    s.check("member", {k: member[k] for k in (
        "memberId", "memberEpoch", "topologyEpoch", "processId",
        "userEndpoint", "clientTags", "isClassic")}, {
            "memberId": one.id, "memberEpoch": one.epoch, "topologyEpoch": 3,
            "processId": one.process,
            "userEndpoint": {"host": "h", "port": 8080},
            "clientTags": [{"key": "zone", "value": "a"}],
            "isClassic": False})
    mine = [{"subtopologyId": "0", "partitions": [0, 1, 2]}]
    s.check("assignment", member["assignment"]["activeTasks"], mine)
    s.check("target", member["targetAssignment"]["activeTasks"], mine)
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
