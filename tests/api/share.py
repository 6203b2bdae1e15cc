"""Records of share groups: ShareFetch and ShareAcknowledge at the partition's
leader.

A Consumer is one member's share session with the leader of a topic's partition
0.  The group's state is initialized by hand, as its coordinator would."""

import time
import uuid

import records
from data import PAIRS
from records import TRANSACTIONAL
from share_state import States
from sweep import LAYOUT, Wrong, covers, wait_for
from transactions import now

UNKNOWN_TOPIC_ID, NOT_LEADER, INVALID, INVALID_GROUP = 100, 6, 42, 24
UNKNOWN_SERVER = -1
NO_SESSION, BAD_EPOCH, BAD_STATE = 122, 123, 121
ACCEPT, RELEASE, REJECT, RENEW = 1, 2, 3, 4
GAP = 0
GROUP, UNKNOWN_START = 32, -1


class Consumer:
    def __init__(self, s, group, topic, partition=0, name="a"):
        self.s, self.group, self.topic = s, group, topic
        self.partition, self.name = partition, name
        self.node = LAYOUT[partition][0]
        self.member = str(uuid.uuid4())
        self.epoch = 0

    def version(self, name):
        swept = self.s.api in ("ShareFetch", "ShareAcknowledge")
        return self.s.version if swept else self.s.newest(name)

    def call(self, name, **fields):
        fields = dict({"groupId": self.group, "memberId": self.member,
                       "shareSessionEpoch": self.epoch}, **fields)
        connection = self.s.connection(self.node, "broker", self.name)
        return connection.call(name, self.version(name), fields)

    def next(self):
        self.epoch += 1

    def topics(self, acks=None, partition=None):
        p = {"partitionIndex": self.partition if partition is None
             else partition}
        if acks is not None:
            p["acknowledgementBatches"] = acks
        return [{"topicId": self.s.id(self.topic), "partitions": [p]}]

    def fetch(self, acks=None, wait=0, most=500, **more):
        """What is acquired, as [(first, last, deliveries)], and the answer."""
        fields = dict(maxWaitMs=wait, minBytes=1, maxBytes=1 << 20,
                      maxRecords=most, batchSize=500,
                      topics=self.topics(acks) if acks is not None or
                      self.epoch == 0 else [])
        fields.update(more)
        a = self.call("ShareFetch", **fields)
        if a["errorCode"] == 0:
            self.next()
        return acquired(a), a

    def found(self, **more):
        """As fetch(), until there is something."""
        return wait_for("records", lambda: self.fetch(wait=500, **more)[0])

    def acknowledge(self, *batches, **more):
        """The partition's error."""
        a = self.call("ShareAcknowledge", topics=self.topics([
            ack(*b) for b in batches]), **more)
        if a["errorCode"]:
            return a["errorCode"]
        self.next()
        return a["responses"][0]["partitions"][0]["errorCode"]

    def leave(self):
        """Ends the session; what it holds is released."""
        a = self.call("ShareFetch", shareSessionEpoch=-1, maxWaitMs=0,
                      minBytes=0, maxBytes=0, maxRecords=0, batchSize=0,
                      topics=[])
        if a["errorCode"]:
            raise Wrong("cannot leave: error %d" % a["errorCode"])


def ack(first, last, *types):
    return {"firstOffset": first, "lastOffset": last,
            "acknowledgeTypes": list(types or (ACCEPT,))}


def acquired(a):
    return [(r["firstOffset"], r["lastOffset"], r["deliveryCount"])
            for t in a["responses"] for p in t["partitions"]
            for r in p["acquiredRecords"]]


def error_of(a, key="errorCode"):
    return a["responses"][0]["partitions"][0][key] if a["responses"] else None


def group_at(s, start=0, batches=1):
    """A topic with records, and a group that begins at an offset of it."""
    t = States(s, "s%d" % time.monotonic_ns())
    for i in range(batches):
        s.produce(t.topic, 0, records.batch(PAIRS))
    for p in range(3):
        t.initialize(p, start)
    return t


SIZE = len(PAIRS)


@covers("ShareFetch")
def share_fetch(s, v):
    t = group_at(s, batches=2)
    c = Consumer(s, t.group, t.topic)
    got, a = c.fetch(wait=5000)
    s.check("first: acquired", got, [(0, 2 * SIZE - 1, 1)])
    s.check("first: error", (a["errorCode"], error_of(a)), (0, 0))
    s.check("first: lock", a["acquisitionLockTimeoutMs"], 30000)
    data = a["responses"][0]["partitions"][0]["records"]
    s.check("first: records", [r[2:] for r in records.read(data, 2)],
            2 * list(PAIRS))
    got, a = c.fetch()
    s.check("nothing is left", (got, a["errorCode"], a["responses"]),
            ([], 0, []))
    s.check("accepted", c.acknowledge((0, SIZE - 1)), 0)
    other = Consumer(s, t.group, t.topic, name="b")
    s.check("another member", other.fetch()[0], [])
    got, a = c.fetch(acks=[ack(SIZE, 2 * SIZE - 1, RELEASE)], wait=2000)
    s.check("released and fetched again", got,
            [(SIZE, 2 * SIZE - 1, 2)])
    s.check("released: error", error_of(a, "acknowledgeErrorCode"), 0)
    state = t.read(0, leader=0)
    s.check("the state is stored", state["startOffset"], SIZE)


@covers("ShareFetch")
def share_fetch_waits(s, v):
    t = group_at(s)
    c = Consumer(s, t.group, t.topic)
    c.found()
    c.acknowledge((0, SIZE - 1))
    started = time.monotonic()
    got, _ = c.fetch(wait=300)
    s.true("waits", got == [] and time.monotonic() - started >= 0.25, got)
    fields = dict(groupId=t.group, memberId=c.member,
                  shareSessionEpoch=c.epoch, maxWaitMs=10000, minBytes=1,
                  maxBytes=1 << 20, maxRecords=500, batchSize=500, topics=[])
    connection = s.connection(c.node, "broker", "a")
    connection.send("ShareFetch", v, fields)
    time.sleep(0.1)
    s.produce(t.topic, 0, records.batch(PAIRS))
    started = time.monotonic()
    a = connection.answer("ShareFetch", v)
    c.next()
    s.check("hears of new records", acquired(a),
            [(SIZE, 2 * SIZE - 1, 1)])
    s.true("at once", time.monotonic() - started < 5)
    # more bytes than there are: until time is up
    t = group_at(s)
    c = Consumer(s, t.group, t.topic)
    wait_for("is loaded", lambda: c.fetch(wait=200, most=1)[0])
    c.acknowledge((0, 0, RELEASE))
    started = time.monotonic()
    got, _ = c.fetch(wait=400, minBytes=1 << 19)
    s.true("min bytes: waits", time.monotonic() - started >= 0.3)
    s.true("min bytes: takes what there is", got != [], got)


@covers("ShareFetch")
def share_fetch_limits(s, v):
    t = group_at(s, batches=3)
    c = Consumer(s, t.group, t.topic)
    got = c.found(most=1)
    if v >= 2:
        s.check("a batch as a whole", got, [(0, SIZE - 1, 1)])
        got, _ = c.fetch(most=1, shareAcquireMode=1, wait=1000)
        s.check("a strict limit", got, [(SIZE, SIZE, 1)])
        got, _ = c.fetch(most=500, shareAcquireMode=1, wait=1000)
        s.check("the rest", got, [(SIZE + 1, 3 * SIZE - 1, 1)])
    else:
        s.check("a batch as a whole", got, [(0, SIZE - 1, 1)])
        got, _ = c.fetch(most=SIZE + 1, batchSize=1, wait=1000)
        s.check("ranges by batch", got, [(SIZE, 2 * SIZE - 1, 1),
                                         (2 * SIZE, 3 * SIZE - 1, 1)])
    got, a = c.fetch(most=0)
    s.check("no records", (got, a["errorCode"]), ([], 0))
    d = Consumer(s, t.group, t.topic, name="b")
    d.fetch()
    c.leave()
    s.check("after the session's end", sorted(d.found(maxBytes=1)),
            [(0, SIZE - 1, 2)])


@covers("ShareFetch")
def share_sessions(s, v):
    t = group_at(s)
    c = Consumer(s, t.group, t.topic)
    _, a = c.fetch(acks=[ack(0, 0)])
    s.check("acknowledges at once", a["errorCode"], INVALID)
    c.epoch = 5
    s.check("no session", c.fetch()[1]["errorCode"], NO_SESSION)
    c.epoch = 0
    c.found()
    c.epoch += 3
    s.check("a wrong epoch", c.fetch()[1]["errorCode"], BAD_EPOCH)
    c.epoch -= 3
    s.check("the right one", c.fetch()[1]["errorCode"], 0)
    a = c.call("ShareFetch", groupId="", maxWaitMs=0, minBytes=0,
               maxBytes=1000, maxRecords=1, batchSize=1, topics=[])
    s.check("no group", a["errorCode"], INVALID_GROUP)
    a = c.call("ShareFetch", memberId="", maxWaitMs=0, minBytes=0,
               maxBytes=1000, maxRecords=1, batchSize=1, topics=[])
    s.check("no member", a["errorCode"], INVALID)
    a = c.call("ShareFetch", shareSessionEpoch=-2, maxWaitMs=0, minBytes=0,
               maxBytes=1000, maxRecords=1, batchSize=1, topics=[])
    s.check("no epoch", a["errorCode"], INVALID)
    # what the session held is available when its connection ends
    d = Consumer(s, t.group, t.topic, name="b")
    s.check("held", d.fetch()[0], [])
    s.open.pop(("broker", c.node, "a")).close()
    s.check("the connection ended", d.found(), [(0, SIZE - 1, 2)])
    # a session that is opened anew holds nothing of the old one
    d.epoch = 0
    s.check("opened anew", d.found(), [(0, SIZE - 1, 3)])
    d.acknowledge((0, SIZE - 1, RELEASE))
    got, a = d.fetch(forgottenTopicsData=[{
        "topicId": s.id(t.topic), "partitions": [0]}])
    s.check("forgotten", (got, a["responses"]), ([], []))


@covers("ShareFetch")
def share_errors(s, v):
    t = group_at(s)
    c = Consumer(s, t.group, t.topic)
    a = c.call("ShareFetch", maxWaitMs=0, minBytes=0, maxBytes=1000,
               maxRecords=10, batchSize=10, topics=[
                   {"topicId": b"\x55" * 16,
                    "partitions": [{"partitionIndex": 0}]}])
    s.check("an unknown topic", error_of(a), UNKNOWN_TOPIC_ID)
    other = Consumer(s, t.group, t.topic, name="b")
    other.node = LAYOUT[0][1]
    _, a = other.fetch()
    s.check("a follower", error_of(a), NOT_LEADER)
    p = a["responses"][0]["partitions"][0]
    s.check("a follower: the leader", p["currentLeader"]["leaderId"],
            LAYOUT[0][0])
    s.check("a follower: its address", [
        (e["nodeId"], (e["host"], e["port"])) for e in a["nodeEndpoints"]],
        [(LAYOUT[0][0], s.nodes[LAYOUT[0][0]])])
    c = Consumer(s, t.group + "x", t.topic, name="c")
    _, a = c.fetch(wait=3000)
    s.check("a group that is not there", error_of(a), UNKNOWN_SERVER)


def abort(s, topic, producer):
    """A batch and a marker, of a transaction that was aborted."""
    s.call(LAYOUT[0][0], "Produce", 9, acks=-1, timeoutMs=20000,
           transactionalId=s.name("txn"), topicData=[{
               "name": topic, "partitionData": [{
                   "index": 0, "records": records.batch(
                       PAIRS, timestamp=now(), attributes=TRANSACTIONAL,
                       producer=(producer, 0, 0))}]}])
    s.call(LAYOUT[0][0], "WriteTxnMarkers", 1, markers=[{
        "producerId": producer, "producerEpoch": 0,
        "transactionResult": False, "coordinatorEpoch": 0,
        "topics": [{"name": topic, "partitionIndexes": [0]}]}])


def configure(s, group, **settings):
    s.call(1, "IncrementalAlterConfigs", 1, validateOnly=False, resources=[{
        "resourceType": GROUP, "resourceName": group, "configs": [
            {"name": "share." + k.replace("_", "."), "configOperation": 0,
             "value": value} for k, value in settings.items()]}])


@covers("ShareFetch")
def share_settings(s, v):
    """A group begins where it says, and reads what it says."""
    t = States(s, "own", "g-own")
    configure(s, t.group, auto_offset_reset="earliest",
              isolation_level="read_committed",
              record_lock_duration_ms="20000")
    s.produce(t.topic, 0, records.batch(PAIRS))
    abort(s, t.topic, 7500 + v)
    s.produce(t.topic, 0, records.batch(PAIRS))
    t.initialize(0, UNKNOWN_START)
    c = Consumer(s, t.group, t.topic)
    got = []

    def all_of_it():
        found, a = c.fetch(wait=500)
        got.extend(found)
        return a if len(got) >= 2 else None
    a = wait_for("records", all_of_it)
    s.check("from the start, without what was aborted", got, [
        (0, SIZE - 1, 1), (2 * SIZE + 1, 3 * SIZE, 1)])
    s.check("its lock", a["acquisitionLockTimeoutMs"], 20000)


@covers("ShareFetch")
def share_transactions(s, v):
    """Control batches are nobody's."""
    t = States(s, "txn")
    t.initialize(0)
    abort(s, t.topic, 7000 + v)
    s.produce(t.topic, 0, records.batch(PAIRS))
    c = Consumer(s, t.group, t.topic)
    got = c.found()
    s.check("read uncommitted", got, [
        (0, SIZE - 1, 1), (SIZE + 1, 2 * SIZE, 1)])


@covers("ShareAcknowledge")
def share_acknowledge(s, v):
    t = group_at(s, batches=4)
    c = Consumer(s, t.group, t.topic)
    s.check("all", c.found(), [(0, 4 * SIZE - 1, 1)])
    n = SIZE
    s.check("each its own", c.acknowledge(
        (0, n - 1, *([ACCEPT] * (n - 1) + [RELEASE])),
        (n, 2 * n - 1, REJECT)), 0)
    s.check("what was released", c.found(), [(n - 1, n - 1, 2)])
    s.check("twice", c.acknowledge((0, 0)), 0)  # below the start: done
    s.check("twice, above", c.acknowledge((n, n)), BAD_STATE)
    s.check("not handed out", c.acknowledge((4 * n, 4 * n)), INVALID)
    s.check("backwards", c.acknowledge((2 * n + 1, 2 * n)), INVALID)
    s.check("too few types", c.acknowledge(
        (2 * n, 2 * n + 2, ACCEPT, ACCEPT)), INVALID)
    s.check("an unknown type", c.acknowledge((2 * n, 2 * n, 9)), INVALID)
    s.check("out of order", c.acknowledge(
        (2 * n + 1, 2 * n + 1), (2 * n, 2 * n)), INVALID)
    s.check("somebody else's", Consumer(
        s, t.group, t.topic, name="b").acknowledge((2 * n, 2 * n)), BAD_EPOCH)
    d = Consumer(s, t.group, t.topic, name="b")
    d.fetch()
    s.check("somebody else's, in a session",
            d.acknowledge((2 * n, 2 * n)), BAD_STATE)
    s.check("a gap", c.acknowledge((2 * n, 2 * n, GAP)), 0)
    if v >= 2:
        s.check("a renewal", c.acknowledge(
            (2 * n + 1, 2 * n + 1, RENEW), isRenewAck=True), 0)
        s.check("a renewal that does not say so", c.acknowledge(
            (2 * n + 1, 2 * n + 1, RENEW)), INVALID)
        a = c.call("ShareAcknowledge", topics=[])
        c.next()
        s.check("lock", a["acquisitionLockTimeoutMs"], 30000)
    else:
        s.check("a renewal", c.acknowledge(
            (2 * n + 1, 2 * n + 1, RENEW)), INVALID)
    a = c.call("ShareAcknowledge", topics=[
        {"topicId": b"\x55" * 16, "partitions": [{
            "partitionIndex": 0, "acknowledgementBatches": [ack(0, 0)]}]}])
    c.next()
    s.check("an unknown topic", error_of(a), UNKNOWN_TOPIC_ID)
    follower = Consumer(s, t.group, t.topic, name="c")
    follower.node = LAYOUT[0][1]
    follower.fetch()
    s.check("a follower", follower.acknowledge((0, 0)), NOT_LEADER)
    state = t.read(0, leader=0)
    s.check("the state", (state["startOffset"], [
        (b["firstOffset"], b["lastOffset"], b["deliveryState"])
        for b in state["stateBatches"]]),
        (n - 1, [(n - 1, n - 1, 0), (n, 2 * n, 4)]))
    # the last request of a session acknowledges, and releases the rest
    a = c.call("ShareAcknowledge", shareSessionEpoch=-1,
               topics=c.topics([ack(2 * n + 1, 2 * n + 1)]))
    s.check("last: error", error_of(a), 0)
    got = wait_for("what is released", lambda: d.fetch(wait=500)[0])
    s.true("last: released", all(k != 2 * n + 1 for f, l, _ in got
                                 for k in range(f, l + 1)), got)


@covers("ShareAcknowledge")
def share_leader_change(s, v):
    """A new leader goes on from what is stored."""
    t = group_at(s, batches=2)
    c = Consumer(s, t.group, t.topic)
    c.found()
    s.check("accepted", c.acknowledge((0, SIZE - 1)), 0)
    s.call(s.active(), "AlterPartitionReassignments", 0, place="broker",
           timeoutMs=20000, topics=[{"name": t.topic, "partitions": [{
               "partitionIndex": 0,
               "replicas": [LAYOUT[0][1], LAYOUT[0][0], LAYOUT[0][2]]}]}])
    s.call(1, "ElectLeaders", 2, electionType=0, timeoutMs=20000,
           topicPartitions=[{"topic": t.topic, "partitions": [0]}])
    wait_for("another leader", lambda: s.describe(t.topic)[
        "partitions"][0]["leaderId"] == LAYOUT[0][1])
    s.check("the old leader", c.acknowledge((SIZE, SIZE)), NOT_LEADER)
    d = Consumer(s, t.group, t.topic, name="b")
    d.node = LAYOUT[0][1]
    got = d.found()
    s.check("the new leader", [(f, l) for f, l, _ in got],
            [(SIZE, 2 * SIZE - 1)])
    s.check("accepted there", d.acknowledge((SIZE, 2 * SIZE - 1)), 0)
