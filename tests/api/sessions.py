"""Fetch sessions (KIP-227) of thousands of partitions: what an answer is
about, wrong ids and epochs, and how many sessions a node remembers.

A Session is a consumer that keeps one at node 1, on a connection of its own.
"""

from data import PAIRS, topic_field
from records import batch, read
from sweep import Wrong, covers, wait_for
import wire

NONE, UNKNOWN, NO_SESSION, BAD_EPOCH, OTHER_NAMES = 0, 3, 70, 71, 106
UNKNOWN_ID = 100
NODE, PARTITIONS, SLOTS = 1, 3000, 1000  # SLOTS: the default


def told_by(s):
    """One version of each kind: names, ids, the newest."""
    return s.version in (7, 12, 13, s.newest("Fetch"))


def led_here(s, suffix, partitions):
    """A topic whose partitions are all led by NODE, and nobody else's."""
    name = s.name(suffix)
    a = s.call(1, "CreateTopics", 4, topics=[{
        "name": name, "numPartitions": -1, "replicationFactor": -1,
        "assignments": [{"partitionIndex": p, "brokerIds": [NODE]}
                        for p in range(partitions)], "configs": []}])
    if a["topics"][0]["errorCode"]:
        raise Wrong("cannot create %s: %s" % (name, a))

    def leads():
        topic = s.describe(name, NODE)
        if topic["errorCode"] or len(topic["partitions"]) != partitions:
            return False
        a = s.call(NODE, "ListOffsets", 1, replicaId=-1, topics=[{
            "name": name, "partitions": [
                {"partitionIndex": p, "timestamp": -1}
                for p in range(partitions)]}])
        return not any(p["errorCode"] for p in a["topics"][0]["partitions"])
    wait_for("%s is led" % name, leads)
    return name


def write(s, topic, *partitions):
    a = s.call(NODE, "Produce", 9, acks=-1, timeoutMs=20000, topicData=[{
        "name": topic, "partitionData": [
            {"index": p, "records": batch(PAIRS)} for p in partitions]}])
    errors = {p["errorCode"] for t in a["responses"]
              for p in t["partitionResponses"]}
    if errors != {NONE}:
        raise Wrong("cannot produce: errors %s" % errors)


class Session:
    def __init__(self, s, version=None):
        self.s = s
        self.version = s.version if version is None else version
        self.connection = wire.Connection(*s.nodes[NODE])
        self.id = self.epoch = 0

    def fields(self, topics=(), forget=(), wait=0, **more):
        """`topics`: {name: {partition: offset}}; `forget`: {name: [p]}"""
        fields = dict(
            sessionId=self.id, sessionEpoch=self.epoch, maxWaitMs=wait,
            minBytes=1 if wait else 0, topics=[dict(
                self.named(t), partitions=[{
                    "partition": p, "fetchOffset": o,
                    "partitionMaxBytes": 10000} for p, o in parts.items()])
                for t, parts in dict(topics).items()],
            forgottenTopicsData=[dict(self.named(t), partitions=list(p))
                                 for t, p in dict(forget).items()])
        if self.version < 15:
            fields["replicaId"] = -1
        fields.update(more)
        return fields

    def named(self, topic):
        return {"topicId": self.s.id(topic)} if self.version >= 13 \
            else {"topic": topic}

    def send(self, **options):
        self.connection.send("Fetch", self.version, self.fields(**options))

    def receive(self):
        a = self.connection.answer("Fetch", self.version)
        if a["errorCode"] == NONE:
            self.id = a["sessionId"]
            self.epoch += 1
        return a

    def fetch(self, **options):
        self.send(**options)
        return self.receive()

    def close(self):
        self.connection.close()


def parts(a):
    """{partition: (error, values)} of an answer about one topic."""
    return {p["partitionIndex"]: (p["errorCode"], len(read(
        p["records"] or b"", 2))) for t in a["responses"]
        for p in t["partitions"]}


@covers("Fetch")
def session_of_thousands(s, v):
    if v < 7 or not told_by(s):
        return
    topic, c = led_here(s, "many", PARTITIONS), Session(s)
    n = len(PAIRS)
    a = c.fetch(topics={topic: dict.fromkeys(range(PARTITIONS), 0)})
    s.true("opens: has an id", a["errorCode"] == NONE and c.id, a["errorCode"])
    s.check("opens: all of them", parts(a),
            dict.fromkeys(range(PARTITIONS), (NONE, 0)))
    s.check("nothing is new", parts(c.fetch()), {})
    write(s, topic, 1234)
    a = c.fetch()
    s.check("one is new", parts(a), {1234: (NONE, n)})
    s.check("one is new: the topic", {
        k: x for k, x in a["responses"][0].items() if k != "partitions"},
        topic_field(s, topic, 12, "topic"))
    s.check("it was not read", parts(c.fetch()), {1234: (NONE, n)})
    s.check("it was read", parts(c.fetch(topics={topic: {1234: n}})), {})
    some = (0, 7, 999, 2000, PARTITIONS - 1)
    write(s, topic, *some)
    s.check("five are new", parts(c.fetch()), dict.fromkeys(some, (NONE, n)))
    read_on = {topic: dict.fromkeys(some, n)}
    s.check("five were read", parts(c.fetch(topics=read_on)), {})

    c.fetch(forget={topic: range(1000)})
    write(s, topic, 500, 1500)
    s.check("those that are forgotten are not told", parts(c.fetch()),
            {1500: (NONE, n)})
    c.fetch(topics={topic: {1500: n}})
    s.check("one is wanted again", parts(c.fetch(topics={topic: {7: 0}})),
            {7: (NONE, n)})
    s.check("others are not", parts(c.fetch(topics={topic: {7: n}})), {})

    c.send(wait=15000)
    write(s, topic, 2222)
    s.check("waits for one of thousands", parts(c.receive()),
            {2222: (NONE, n)})
    c.fetch(topics={topic: {2222: n}})
    s.call(NODE, "DeleteRecords", 1, timeoutMs=10000, topics=[{
        "name": topic, "partitions": [{"partitionIndex": 2000,
                                       "offset": n}]}])
    a = c.fetch()
    s.check("begins elsewhere: it is told", parts(a), {2000: (NONE, 0)})
    s.check("begins elsewhere: where", a["responses"][0]["partitions"][0][
        "logStartOffset"], n)
    s.check("once", parts(c.fetch()), {})
    s.call(1, "DeleteTopics", 5, topicNames=[topic], timeoutMs=20000)
    wait_for("the topic is gone", lambda: s.absent(topic))
    c.close()


@covers("Fetch")
def session_errors(s, v):
    if v < 7 or not told_by(s):
        return
    topic, c = led_here(s, "errors", 3), Session(s)
    c.fetch(topics={topic: {0: 0, 1: 0, 2: 0}})
    c.fetch()

    def refused(label, want, session, epoch):
        fields = c.fields(topics={topic: {0: 0}}, sessionId=session,
                          sessionEpoch=epoch)
        a = c.connection.call("Fetch", v, fields)
        s.check(label, (a["errorCode"], a["sessionId"], a["responses"]),
                (want, 0, []))

    for label, want, session, epoch in (
            ("an epoch of before", BAD_EPOCH, c.id, c.epoch - 1),
            ("an epoch to come", BAD_EPOCH, c.id, c.epoch + 1),
            ("an epoch that is none", BAD_EPOCH, c.id, -2),
            ("the least of all epochs", BAD_EPOCH, c.id, -2**31),
            ("an epoch that is none, of no session", NO_SESSION, 0, -2),
            ("an unknown session", NO_SESSION, c.id ^ 0x5555, 1),
            ("no session", NO_SESSION, 0, 1)):
        refused(label, want, session, epoch)
    if v >= 13:
        # A session of names is asked by ids: Kafka wants another one.
        named = Session(s, 12)
        named.fetch(topics={topic: {0: 0}})
        named.version = v
        write(s, topic, 0)
        a = named.fetch()
        s.true("a session of names, asked by ids", a["errorCode"] ==
               OTHER_NAMES or parts(a) == {0: (NONE, len(PAIRS))}, a)
        named.close()
        c.fetch(topics={topic: {0: len(PAIRS)}})
    write(s, topic, 1)
    s.check("it goes on where it was", parts(c.fetch()),
            {1: (NONE, len(PAIRS))})

    old, c.epoch = c.id, 0
    a = c.fetch(topics={topic: {2: 0}})
    s.true("opened anew: another id", c.id not in (0, old), c.id)
    s.check("opened anew: the answer", parts(a), {2: (NONE, 0)})
    refused("the one of before", NO_SESSION, old, 3)
    last, c.epoch = c.id, -1
    a = c.fetch(topics={topic: {1: 0}})
    s.check("closed", (a["errorCode"], a["sessionId"], parts(a)),
            (NONE, 0, {1: (NONE, len(PAIRS))}))
    refused("after its end", NO_SESSION, last, 1)
    c.close()


@covers("Fetch")
def session_whose_topic_goes(s, v):
    if v < 7 or not told_by(s):
        return
    stays, goes, c = led_here(s, "stays", 1), led_here(s, "goes", 1), \
        Session(s)
    c.fetch(topics={stays: {0: 0}, goes: {0: 0}})
    s.check("nothing is new", parts(c.fetch()), {})
    s.call(1, "DeleteTopics", 5, topicNames=[goes], timeoutMs=20000)
    named = c.named(goes)

    def told():
        a = c.fetch()
        return a["responses"] and [
            (t.get("topic") or t["topicId"],
             [p["errorCode"] for p in t["partitions"]])
            for t in a["responses"]]
    got, = wait_for("an error", told)
    s.check("it is told: the topic", got[0], *named.values())
    # Kafka says 3 in new versions, too: it knows the session's topic by name.
    s.true("it is told: the error", got[1] in (
        [[UNKNOWN]] + [[UNKNOWN_ID]] * (v >= 13)), got[1])
    c.fetch(forget={goes: [0]})
    write(s, stays, 0)
    s.check("without it the session goes on", [
        (t.get("topic") or t["topicId"],
         [p["errorCode"] for p in t["partitions"]])
        for t in c.fetch()["responses"]],
        [(*c.named(stays).values(), [NONE])])
    c.close()


@covers("Fetch")
def session_whose_topic_comes_again(s, v):
    """By name it is the same topic."""
    if v not in (7, 12):
        return
    topic, c = led_here(s, "again", 1), Session(s)
    c.fetch(topics={topic: {0: 0}})
    s.call(1, "DeleteTopics", 5, topicNames=[topic], timeoutMs=20000)
    wait_for("an error", lambda: parts(c.fetch()) == {0: (UNKNOWN, 0)})
    led_here(s, "again", 1)
    write(s, topic, 0)
    a = c.fetch(topics={topic: {0: 0}})
    s.check("the topic of now, once", [
        (t["topic"], p["errorCode"], len(read(p["records"] or b"", 2)))
        for t in a["responses"] for p in t["partitions"]],
        [(topic, NONE, len(PAIRS))])
    c.fetch(forget={topic: [0]})
    write(s, topic, 0)
    s.check("it can be forgotten", parts(c.fetch()), {})
    c.epoch = -1  # or it would be the first to make room for others
    c.fetch()
    c.close()


@covers("Fetch")
def session_whose_topic_comes_again_unasked(s, v):
    """The client need not name it again, on whatever shards it is now."""
    if v not in (7, 12):
        return
    n = 4
    topic, stays, c = led_here(s, "anew", n), led_here(s, "other", 1), \
        Session(s)
    c.fetch(topics={topic: dict.fromkeys(range(n), 0), stays: {0: 0}})
    s.call(1, "DeleteTopics", 5, topicNames=[topic], timeoutMs=20000)
    wait_for("errors", lambda: parts(c.fetch()) ==
             dict.fromkeys(range(n), (UNKNOWN, 0)))
    led_here(s, "anew", n)
    write(s, topic, 0, 1, 3)
    # What comes with the request counts.
    a = c.fetch(forget={topic: [1]}, topics={topic: {3: len(PAIRS)}})
    s.check("the topics of now", {t["topic"] for t in a["responses"]},
            {topic})
    s.check("its partitions", parts(a), {
        0: (NONE, len(PAIRS)), 2: (NONE, 0), 3: (NONE, 0)})
    c.fetch(topics={topic: {0: len(PAIRS)}})
    write(s, topic, 1, 2)
    s.check("it goes on", parts(c.fetch()), {2: (NONE, len(PAIRS))})
    c.epoch = -1
    c.fetch()
    c.close()


@covers("Fetch")
def sessions_have_a_bound(s, v):
    """max.incremental.fetch.session.cache.slots; here each shard has its
    share of them, and a connection belongs to a shard."""
    if v != s.newest("Fetch"):
        return
    topic, c = led_here(s, "slots", 1), Session(s)
    write(s, topic, 0)
    want = {topic: {0: 0}}
    open_ones = []

    def opened(topics):
        c.id = c.epoch = 0
        a = c.fetch(topics=topics)
        if a["errorCode"]:
            raise Wrong("error %d" % a["errorCode"])
        return a
    while len(open_ones) <= SLOTS:
        a = opened(want if open_ones else {})
        if not a["sessionId"]:
            break
        open_ones.append(a["sessionId"])
    s.true("so many", 0 < len(open_ones) <= SLOTS, len(open_ones))
    s.check("one too many: records, but no session", (
        a["sessionId"], parts(a)), (0, {0: (NONE, len(PAIRS))}))

    def ended(sessions):
        """Those that are not there any more."""
        gone = []
        for session in sessions:
            a = c.connection.call("Fetch", v, c.fields(
                sessionId=session, sessionEpoch=1))
            if a["errorCode"] == NO_SESSION:
                gone.append(session)
            elif a["errorCode"]:
                raise Wrong("error %d" % a["errorCode"])
        return gone

    def close(session):
        c.connection.call("Fetch", v, c.fields(
            sessionId=session, sessionEpoch=-1))

    # One that replicates comes before those that read.
    a = c.connection.call("Fetch", 14, dict(
        c.fields(), replicaId=2, topics=[], sessionId=0, sessionEpoch=0))
    s.true("a follower's: has an id", a["sessionId"], a)
    gone = ended(open_ones)
    if s.ours:  # Kafka has others' sessions to choose from
        s.check("a follower's: in place of the smallest", gone, open_ones[:1])
    close(a["sessionId"])
    s.true("there is room", opened(want)["sessionId"])
    close(c.id)
    for session in open_ones:
        close(session)
    s.check("all are closed", len(ended(open_ones)), len(open_ones))
    c.close()
