"""Produce, Fetch, ListOffsets, OffsetForLeaderEpoch, DeleteRecords and
InitProducerId."""

import time

from records import batch, message_set, read
from sweep import LAYOUT, covers, wait_for

PAIRS = [(b"k%d" % i, b"v%d" % i) for i in range(5)]
NO_TOPIC = "no-such-topic"


def topic_field(s, name, newest_name, key="name"):
    """How a request names a topic: by name, or by id from a version on."""
    return {"topicId": s.id(name)} if s.version > newest_name \
        else {key: name}


def missing(version, newest_name):
    return 100 if version > newest_name else 3


# ---- Produce --------------------------------------------------------------


def produced(s, label, topic, partition, records, acks=-1, node=None,
             named=None):
    """`named`: by the producer of this transactional id."""
    answer = s.ask(label, node or LAYOUT[partition % 3][0],
                   **({"transactionalId": named} if named else {}),
                   acks=acks, timeoutMs=20000, topicData=[dict(
                       topic_field(s, topic, 12), partitionData=[
                           {"index": partition, "records": records}])])
    s.check(label + ": one topic", len(answer["responses"]), 1)
    got = answer["responses"][0]
    s.check(label + ": names it", {k: got[k] for k in got
                                   if k != "partitionResponses"},
            topic_field(s, topic, 12))
    p = got["partitionResponses"][0]
    s.check(label + ": names the partition", p["index"], partition)
    return p, answer


def of_age(version, **options):
    """Records as clients of that age send them."""
    if version >= 3:
        return batch(PAIRS, **options)
    return message_set(1 if version == 2 else 0, PAIRS, **options)


@covers("Produce")
def produce_appends(s, v):
    topic = s.topic()
    want = {"index": 0, "errorCode": 0, "baseOffset": 0}
    if v >= 2:
        want["logAppendTimeMs"] = -1
    if v >= 5:
        want["logStartOffset"] = 0
    if v >= 8:
        want.update(recordErrors=[], errorMessage=None)
    if v >= 10:
        want["currentLeader"] = {}
    p, answer = produced(s, "appends", topic, 0, of_age(v))
    s.check("appends: answer", p, want)
    if v >= 10:
        s.check("appends: no endpoints", answer["nodeEndpoints"], [])
    p, _ = produced(s, "appends compressed records", topic, 0,
                    of_age(v, compress=True))
    s.check("appends compressed records: answer", p,
            dict(want, baseOffset=5))
    p, _ = produced(s, "acks 1", topic, 1, of_age(v), acks=1)
    s.check("acks 1: answer", p, dict(want, index=1))
    stamp = (lambda i: 1000 + i) if v >= 2 else (lambda i: -1)
    s.check("what was appended", s.contents(topic, 0),
            [(o, stamp(o % 5), *PAIRS[o % 5]) for o in range(10)])


@covers("Produce")
def produce_without_answer(s, v):
    topic = s.topic("acks0", 1)
    s.send(1, acks=0, timeoutMs=1000, topicData=[dict(
        topic_field(s, topic, 12), partitionData=[
            {"index": 0, "records": of_age(v)}])])
    p, _ = produced(s, "after acks 0", topic, 0, of_age(v))
    s.check("acks 0 is appended, not answered", p["baseOffset"], 5)


@covers("Produce")
def produce_refused(s, v):
    topic = s.topic("refused", configs={"max.message.bytes": "2000"})
    bad = -1
    p, answer = produced(s, "not the leader", topic, 0, of_age(v), node=2)
    s.check("not the leader: error", p["errorCode"], 6)
    s.check("not the leader: offset", p["baseOffset"], bad)
    if v >= 10:
        s.check("not the leader: who is", p["currentLeader"],
                {"leaderId": 1, "leaderEpoch": 0})
        s.check("not the leader: where", [
            (n["nodeId"], (n["host"], n["port"]))
            for n in answer["nodeEndpoints"]], [(1, s.nodes[1])])
    p, _ = produced(s, "unknown topic", NO_TOPIC if v < 13 else topic + "-",
                    0, of_age(v), node=1)
    s.check("unknown topic: error", p["errorCode"], missing(v, 12))
    p, _ = produced(s, "unknown partition", topic, 9, of_age(v))
    s.check("unknown partition: error", p["errorCode"], 3)
    p, _ = produced(s, "acks 2", topic, 0, of_age(v), acks=2)
    s.check("acks 2: error", p["errorCode"], 21)
    damaged = of_age(v, damage=True) if v >= 3 else \
        of_age(v)[:-1] + b"\xff"
    p, _ = produced(s, "wrong checksum", topic, 0, damaged)
    s.check("wrong checksum: error", p["errorCode"], 2)
    p, _ = produced(s, "too large", topic, 0, batch([(b"k", b"x" * 3000)])
                    if v >= 3 else message_set(v >= 2, [(b"k", b"x" * 3000)]))
    s.check("too large: error", p["errorCode"], 10)
    s.check("nothing was appended", s.contents(topic, 0), [])


@covers("Produce")
def produce_internal(s, v):
    """What coordinators keep is not for clients to write."""
    for topic in ("__consumer_offsets", "__transaction_state"):
        s.call(1, "Metadata", 12, topics=[{"name": topic}],
               allowAutoTopicCreation=True)
        wait_for(topic, lambda t=topic: not s.describe(t)["errorCode"])
        p, _ = produced(s, topic, topic, 0, of_age(v))
        s.check(topic + ": error", p["errorCode"], 17)


@covers("Produce")
def produce_invalid_records(s, v):
    topic = s.topic("invalid", configs={"cleanup.policy": "compact"})
    keyless = [(b"k", b"v"), (None, b"v")]
    p, _ = produced(s, "no key in a compacted topic", topic, 0,
                    batch(keyless) if v >= 3 else message_set(v >= 2, keyless))
    s.check("no key in a compacted topic: error", p["errorCode"], 87)
    if v >= 8:
        s.check("no key in a compacted topic: which", [
            e["batchIndex"] for e in p["recordErrors"]], [1])
        s.true("no key in a compacted topic: why", p["errorMessage"])
    if v >= 2:
        future = int(time.time() * 1000) + 7200000
        p, _ = produced(s, "a time to come", topic, 0,
                        of_age(v, timestamp=future))
        s.check("a time to come: error", p["errorCode"], 32)
    if v >= 3:
        p, _ = produced(s, "message set in a new version", topic, 0,
                        message_set(1, PAIRS))
        s.check("message set in a new version: error", p["errorCode"], 87)
        p, _ = produced(s, "two batches", topic, 0, of_age(v) * 2)
        s.check("two batches: error", p["errorCode"], 87)
        if s.ours:  # Apache Kafka never answers
            p, _ = produced(s, "records null", topic, 0, None)
            s.check("records null: error", p["errorCode"], 87)
        p, _ = produced(s, "records empty", topic, 0, b"")
        s.check("records empty: error", p["errorCode"], 87)
        p, _ = produced(s, "count that lies", topic, 0, lying())
        s.check("count that lies: error", p["errorCode"], 87)
    s.check("nothing invalid was appended", s.contents(topic, 0), [])


def lying():
    """A batch with a count of 5, four records and a right checksum."""
    import records
    import struct
    data = bytearray(batch(PAIRS[:4]))
    struct.pack_into(">i", data, 23, 4)
    struct.pack_into(">i", data, 57, 5)
    struct.pack_into(">I", data, 17, records.crc32c(bytes(data[21:])))
    return bytes(data)


def ready(answer):
    """A cluster that has just started may have no ids yet."""
    return answer if not answer["errorCode"] else None


@covers("Produce")
def produce_idempotent(s, v):
    if v < 3:
        return
    topic = s.topic("idempotent", 1)
    pid = wait_for("a producer id", lambda: ready(s.call(
        1, "InitProducerId", 1, transactionalId=None,
        transactionTimeoutMs=1000)))["producerId"]

    def send(label, sequence, epoch=0):
        return produced(s, label, topic, 0, batch(
            PAIRS, producer=(pid, epoch, sequence)))[0]

    s.check("sequence 0", send("sequence 0", 0)["baseOffset"], 0)
    s.check("sequence 5", send("sequence 5", 5)["baseOffset"], 5)
    again = send("sequence 0 again", 0)
    s.check("sequence 0 again", (again["errorCode"], again["baseOffset"]),
            (0, 0))
    s.check("sequence gap", send("sequence gap", 20)["errorCode"], 45)
    s.check("epoch 1 starts at 0", send("epoch 1", 0, 1)["baseOffset"], 10)
    s.check("epoch 0 is over", send("epoch 0", 5, 0)["errorCode"], 47)
    s.check("records are there once", len(s.contents(topic, 0)), 15)


# ---- Fetch ----------------------------------------------------------------


def magic_of(version):
    return 0 if version < 2 else 1 if version < 4 else 2


def wanted(s, topic, partition=0, offset=0, size=1 << 20, **more):
    return dict(topic_field(s, topic, 12, "topic"), partitions=[dict(
        more, partition=partition, fetchOffset=offset,
        partitionMaxBytes=size)])


def fetched(s, label, node, topics, wait=0, least=0, **more):
    if s.version < 15:
        more["replicaId"] = -1
    return s.ask(label, node, maxWaitMs=wait, minBytes=least, topics=topics,
                 **more)


def only(answer):
    topics = answer["responses"]
    assert len(topics) == 1 and len(topics[0]["partitions"]) == 1, \
        "not one partition: %r" % (topics,)
    return topics[0]["partitions"][0]


@covers("Fetch")
def fetch_reads(s, v):
    topic = s.topic()
    s.produce(topic, 0, batch(PAIRS))
    s.produce(topic, 0, batch(PAIRS, timestamp=2000, compress=True))
    s.produce(topic, 2, batch(PAIRS[:1]))
    stamps = [1000 + i for i in range(5)] + [2000 + i for i in range(5)]
    all_of_it = [(o, stamps[o] if v >= 2 else -1, *PAIRS[o % 5])
                 for o in range(10)]

    a = fetched(s, "from 0", 1, [wanted(s, topic)])
    s.check("from 0: names the topic", {
        k: x for k, x in a["responses"][0].items() if k != "partitions"},
        topic_field(s, topic, 12, "topic"))
    p = only(a)
    s.check("from 0: records", read(p.pop("records"), magic_of(v)), all_of_it)
    want = {"partitionIndex": 0, "errorCode": 0, "highWatermark": 10}
    if v >= 4:
        want.update(lastStableOffset=10, abortedTransactions=
                    p["abortedTransactions"])
        s.true("from 0: nothing was aborted", not p["abortedTransactions"])
    if v >= 5:
        want["logStartOffset"] = 0
    if v >= 11:
        want["preferredReadReplica"] = -1
    if v >= 12:
        want.update(divergingEpoch={}, currentLeader={}, snapshotId={})
    s.check("from 0: partition", p, want)
    if v >= 7:
        s.check("from 0: no session", (a["errorCode"], a["sessionId"]),
                (0, 0))
    p = only(fetched(s, "from 7", 1, [wanted(s, topic, offset=7)]))
    got = [r for r in read(p["records"], magic_of(v)) if r[0] >= 7]
    s.check("from 7: records", got, all_of_it[7:])
    p = only(fetched(s, "from the end", 1, [wanted(s, topic, offset=10)]))
    s.check("from the end", (p["errorCode"], p["highWatermark"],
                             p["records"] or b""), (0, 10, b""))
    if v >= 4:
        p = only(fetched(s, "committed only", 1, [wanted(s, topic)],
                         isolationLevel=1))
        s.check("committed only: records",
                len(read(p["records"], magic_of(v))), 10)
        s.check("committed only: aborted", p["abortedTransactions"], [])


@covers("Fetch")
def fetch_limits(s, v):
    topic = s.topic("limits", 1)
    s.produce(topic, 0, batch(PAIRS))
    s.produce(topic, 0, batch(PAIRS))
    p = only(fetched(s, "small partition limit", 1,
                     [wanted(s, topic, size=40)]))
    if v >= 3:
        s.true("small limit: the first batch, whole",
               len(read(p["records"], magic_of(v))) >= 1, p["records"])
    else:
        s.true("small limit: at least the start of a message",
               len(p["records"]) >= 40, p["records"])
    if v >= 3:
        p = only(fetched(s, "small request limit", 1, [wanted(s, topic)],
                         maxBytes=40))
        s.true("small request limit: the first batch, whole",
               1 <= len(read(p["records"], magic_of(v))) <= 5, p["records"])
    started = time.monotonic()
    p = only(fetched(s, "waits for bytes", 1, [wanted(s, topic, offset=10)],
                     wait=150, least=1))
    s.true("waits for bytes: until the time is over",
           0.14 <= time.monotonic() - started < 5)
    s.send(1, connection="waiting", maxWaitMs=15000, minBytes=1,
           topics=[wanted(s, topic, offset=10)],
           **({"replicaId": -1} if v < 15 else {}))
    started = time.monotonic()
    s.produce(topic, 0, batch(PAIRS[:1]))
    p = only(s.receive("is woken", 1, connection="waiting"))
    s.check("is woken: record", [
        r[0] for r in read(p["records"], magic_of(v))], [10])
    s.true("is woken: at once", time.monotonic() - started < 10)


def cleaner_pause(s, ms):
    s.call(1, "IncrementalAlterConfigs", 1, resources=[{
        "resourceType": 4, "resourceName": "", "configs": [
            {"name": "log.cleaner.backoff.ms", "value": ms,
             "configOperation": 1 if ms is None else 0}]}])


@covers("Fetch")
def fetch_behind_what_compaction_left(s, v):
    """A batch whose last record is gone, from there on."""
    if v > 3:
        return
    cleaner_pause(s, "100")
    topic = s.topic("compacted", 1, {
        "cleanup.policy": "compact", "segment.ms": "1", "flush.messages": "1",
        "min.cleanable.dirty.ratio": "0"})
    for i, keys in enumerate(("ab", "b", "c")):
        s.produce(topic, 0, batch([(k.encode(), b"v") for k in keys],
                                  timestamp=1000 * i))
    wait_for("compaction", lambda: [
        r[0] for r in s.contents(topic, 0)] == [0, 2])
    p = only(fetched(s, "behind the last record of a batch", 1,
                     [wanted(s, topic, offset=1, size=100)]))
    s.check("behind the last record of a batch", [
        r[0] for r in read(p["records"], magic_of(v))][:1], [2])
    cleaner_pause(s, None)


@covers("Fetch")
def fetch_refused(s, v):
    topic = s.topic("refused")
    s.produce(topic, 0, batch(PAIRS))

    def error(label, node, want, **fields):
        p = only(fetched(s, label, node, [wanted(s, **fields)]))
        s.check(label + ": error", p["errorCode"], want)
        if want:
            s.check(label + ": no records", p["records"] or b"", b"")
        return p

    error("beyond the end", 1, 1, topic=topic, offset=6)
    error("unknown partition", 1, 3, topic=topic, partition=9)
    error("unknown topic", 1, missing(v, 12),
          topic=NO_TOPIC if v < 13 else topic + "-")
    if v < 11:
        error("not the leader", 2, 6, topic=topic)
    else:
        def caught_up():
            a = s.call(2, "Fetch", 11, replicaId=-1, maxWaitMs=0, minBytes=0,
                       topics=[{"topic": topic, "partitions": [{
                           "partition": 0, "fetchOffset": 0,
                           "partitionMaxBytes": 1000}]}])
            return only(a)["highWatermark"] == 5
        wait_for("the follower's high watermark", caught_up)
        p = error("from a follower", 2, 0, topic=topic)
        s.check("from a follower: records", len(read(p["records"], 2)), 5)
    if v >= 9:
        error("epoch of now", 1, 0, topic=topic, currentLeaderEpoch=0)
        error("epoch to come", 1, 75, topic=topic, currentLeaderEpoch=5)
    if v >= 12:
        error("last epoch", 1, 0, topic=topic, offset=5, lastFetchedEpoch=0)
        p = error("last epoch, beyond its end", 1, 0, topic=topic, offset=9,
                  lastFetchedEpoch=0)
        s.check("last epoch, beyond its end: where it ends",
                p["divergingEpoch"], {"epoch": 0, "endOffset": 5})


@covers("Fetch")
def fetch_sessions(s, v):
    if v < 7:
        return
    topic = s.topic("session")
    other = s.topic("session2", 1)
    for t in (topic, other):
        s.produce(t, 0, batch(PAIRS))
    a = fetched(s, "opens a session", 1,
                [wanted(s, topic), wanted(s, other)], sessionEpoch=0)
    session = a["sessionId"]
    s.true("opens a session", session and not a["errorCode"], session)
    s.check("opens a session: all topics", len(a["responses"]), 2)
    a = fetched(s, "what is new", 1, [wanted(s, topic, offset=5),
                                     wanted(s, other, offset=5)],
                sessionId=session, sessionEpoch=1)
    s.check("what is new: nothing", (a["errorCode"], a["responses"]), (0, []))
    s.produce(topic, 0, batch(PAIRS[:2]))
    a = fetched(s, "new records", 1, [], sessionId=session, sessionEpoch=2)
    p = only(a)
    s.check("new records", [r[0] for r in read(p["records"], 2)], [5, 6])
    s.check("new records: of the topic", {
        k: x for k, x in a["responses"][0].items() if k != "partitions"},
        topic_field(s, topic, 12, "topic"))
    gone = dict(topic_field(s, topic, 12, "topic"), partitions=[0])
    a = fetched(s, "forgets", 1, [], sessionId=session, sessionEpoch=3,
                forgottenTopicsData=[gone])
    s.check("forgets", (a["errorCode"], a["responses"]), (0, []))
    s.produce(topic, 0, batch(PAIRS[:2]))
    a = fetched(s, "forgotten records", 1, [], sessionId=session,
                sessionEpoch=4)
    s.check("forgotten records: none", (a["errorCode"], a["responses"]),
            (0, []))
    a = fetched(s, "wrong session epoch", 1, [], sessionId=session,
                sessionEpoch=9)
    s.check("wrong session epoch", a["errorCode"], 71)
    a = fetched(s, "unknown session", 1, [], sessionId=session ^ 77777,
                sessionEpoch=1)
    s.check("unknown session", a["errorCode"], 70)
    a = fetched(s, "closes the session", 1, [wanted(s, topic)],
                sessionId=session, sessionEpoch=-1)
    s.check("closes the session", (
        a["errorCode"], a["sessionId"], len(a["responses"])), (0, 0, 1))
    a = fetched(s, "closed session", 1, [], sessionId=session, sessionEpoch=5)
    s.check("closed session", a["errorCode"], 70)


# ---- offsets --------------------------------------------------------------


def listed(s, label, topic, timestamp, node=1, partition=0, **more):
    if s.version == 0:
        more.setdefault("maxNumOffsets", 10)
    a = s.ask(label, node, replicaId=-1, timeoutMs=5000, topics=[
        {"name": topic, "partitions": [dict(
            more, partitionIndex=partition, timestamp=timestamp)]}])
    s.check(label + ": topic", a["topics"][0]["name"], topic)
    return a["topics"][0]["partitions"][0]


@covers("ListOffsets")
def list_offsets(s, v):
    topic = s.topic()
    s.produce(topic, 0, batch(PAIRS, timestamp=2000))
    s.produce(topic, 0, batch(PAIRS, timestamp=1000))
    now = int(time.time() * 1000) + 600000

    def offset(label, timestamp, want):
        p = listed(s, label, topic, timestamp)
        full = {"partitionIndex": 0, "errorCode": 0}
        if v == 0:
            full["oldStyleOffsets"] = want[2]
        else:
            full.update(timestamp=want[0], offset=want[1])
        if v >= 4:
            full["leaderEpoch"] = 0 if want[1] >= 0 else -1
        s.check(label, p, full)

    offset("latest", -1, (-1, 10, [10, 0]))
    offset("earliest", -2, (-1, 0, [0]))
    if v >= 1:
        offset("by time", 2002, (2002, 2, None))
        offset("by time, before all", 5, (2000, 0, None))
        offset("by time, after all", 3000, (-1, -1, None))
    else:
        offset("by time, now", now, (None, 10, [10, 0]))
    if v >= 7:
        offset("latest timestamp", -3, (2004, 4, None))
    if v >= 8:
        offset("earliest here", -4, (-1, 0, None))
    if v >= 9:
        offset("latest tiered", -5, (-1, -1, None))
    if v >= 11:
        offset("earliest waiting to be tiered", -6, (-1, -1, None))
    if v >= 2:
        p = listed(s, "committed", topic, -1)
        s.check("committed", p["offset"], 10)


@covers("ListOffsets")
def list_offsets_refused(s, v):
    topic = s.topic("refused")
    s.produce(topic, 0, batch(PAIRS))

    def error(label, want, timestamp=-1, name=topic, **more):
        p = listed(s, label, name, timestamp, **more)
        s.check(label + ": error", p["errorCode"], want)
        if v >= 1:
            s.check(label + ": offset", (p["timestamp"], p["offset"]),
                    (-1, -1))

    error("not the leader", 6, node=2)
    error("unknown topic", 3, name=NO_TOPIC)
    error("unknown partition", 3, partition=9)
    if 1 <= v < 7:
        error("time -3 before its version", 35, timestamp=-3)
    if v >= 1:
        error("time -9", 35, timestamp=-9)
    if v >= 4:
        error("epoch to come", 75, currentLeaderEpoch=3)
    a = s.ask("named twice", 1, replicaId=-1, topics=[{
        "name": topic, "partitions": [
            {"partitionIndex": 0, "timestamp": t} for t in (-1, 0)]}])
    if v >= 1 or s.ours:  # Apache Kafka has more patience with version 0
        s.check("named twice: error", {
            p["errorCode"] for p in a["topics"][0]["partitions"]}, {42})


@covers("OffsetForLeaderEpoch")
def epoch_ends(s, v):
    topic = s.topic()
    s.produce(topic, 0, batch(PAIRS))

    def ask(label, want, epoch=0, node=1, name=topic, partition=0, now=-1):
        a = s.ask(label, node, replicaId=-1, topics=[{
            "topic": name, "partitions": [
                {"partition": partition, "currentLeaderEpoch": now,
                 "leaderEpoch": epoch}]}])
        s.check(label + ": topic", a["topics"][0]["topic"], name)
        p = a["topics"][0]["partitions"][0]
        full = {"errorCode": want[0], "partition": partition,
                "endOffset": want[2]}
        if v >= 1:
            full["leaderEpoch"] = want[1]
        s.check(label, p, full)

    ask("epoch 0", (0, 0, 5))
    ask("an epoch to come", (0, -1, -1), epoch=7)
    ask("not the leader", (6, -1, -1), node=2)
    ask("unknown topic", (3, -1, -1), name=NO_TOPIC)
    ask("unknown partition", (3, -1, -1), partition=9)
    if v >= 2:
        ask("epoch of now", (0, 0, 5), now=0)
        ask("current epoch to come", (75, -1, -1), now=4)


@covers("DeleteRecords")
def delete_records(s, v):
    topic = s.topic()
    s.produce(topic, 0, batch(PAIRS))

    def ask(label, want, offset, node=1, name=topic, partition=0):
        a = s.ask(label, node, timeoutMs=10000, topics=[{
            "name": name, "partitions": [
                {"partitionIndex": partition, "offset": offset}]}])
        s.check(label, a["topics"], [{"name": name, "partitions": [
            {"partitionIndex": partition, "lowWatermark": want[1],
             "errorCode": want[0]}]}])

    def start():
        return s.call(1, "ListOffsets", 1, replicaId=-1, topics=[{
            "name": topic, "partitions": [
                {"partitionIndex": 0, "timestamp": -2}]}]
        )["topics"][0]["partitions"][0]["offset"]

    ask("beyond the end", (1, -1), 6)
    ask("a negative offset", (1, -1), -2)
    ask("not the leader", (6, -1), 1, node=2)
    ask("unknown topic", (3, -1), 1, name=NO_TOPIC)
    ask("unknown partition", (3, -1), 1, partition=9)
    wait_for("the topic of groups", lambda: not s.call(
        1, "FindCoordinator", 1, key="any", keyType=0)["errorCode"] and
        not any(s.describe("__consumer_offsets", n)["errorCode"]
                for n in s.nodes))
    for node in s.nodes:
        ask("an internal topic, node %d" % node, (17, -1), -1, node=node,
            name="__consumer_offsets")
    s.check("nothing was deleted", start(), 0)
    ask("up to 2", (0, 2), 2)
    for node in (2, 3):  # or they would bring the records back
        a = s.call(node, "Fetch", 11, replicaId=-1, maxWaitMs=0, minBytes=0,
                   topics=[{"topic": topic, "partitions": [{
                       "partition": 0, "fetchOffset": 2,
                       "partitionMaxBytes": 1000}]}])
        s.check("up to 2: log start of a follower",
                only(a)["logStartOffset"], 2)
    s.check("up to 2: log start", start(), 2)
    ask("up to 1, which is gone", (0, 2), 1)
    ask("up to the high watermark", (0, 5), -1)
    s.check("up to the high watermark: log start", start(), 5)


@covers("InitProducerId")
def init_producer_id(s, v):
    wait_for("ids", lambda: ready(s.call(
        2, "InitProducerId", 1, transactionalId=None,
        transactionTimeoutMs=1000)))
    a = s.ask("a new id", 1, transactionalId=None, transactionTimeoutMs=60000)
    b = s.ask("another id", 2, transactionalId=None,
              transactionTimeoutMs=60000)
    s.check("a new id", (a["errorCode"], a["producerEpoch"]), (0, 0))
    s.true("ids differ", a["producerId"] >= 0 and b["producerId"] >= 0 and
           a["producerId"] != b["producerId"], (a, b))
    if v >= 3:
        c = s.ask("with an id of before", 1, transactionalId=None,
                  transactionTimeoutMs=60000, producerId=a["producerId"],
                  producerEpoch=0)
        s.check("with an id of before", (c["errorCode"], c["producerEpoch"]),
                (0, 0))
        c = s.ask("an epoch without an id", 1, transactionalId=None,
                  transactionTimeoutMs=60000, producerEpoch=3)
        s.check("an epoch without an id", c["errorCode"], 42)
    c = s.ask("empty transactional id", 1, transactionalId="",
              transactionTimeoutMs=60000)
    s.check("empty transactional id", (c["errorCode"], c["producerId"],
                                       c["producerEpoch"]), (42, -1, -1))
