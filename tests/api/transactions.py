"""The partition's side of transactions: batches and markers written by hand, and
what consumers, old and new, are shown of them."""

import itertools
import time

from data import PAIRS, fetched, listed, only, produced, wanted
from records import CONTROL, TRANSACTIONAL, batch, batches, committed
from sweep import LAYOUT, covers, wait_for

IDS = itertools.count(1 << 40)  # nobody else has these
NONE, UNKNOWN, NOT_LEADER = 0, 3, 6
INVALID_EPOCH = 47
COORDINATOR_FENCED = 52


def now():
    """Markers are of now: behind older records they begin a segment."""
    return int(time.time() * 1000)


def leader(partition):
    return LAYOUT[partition % 3][0]


def write(s, topic, producer, partition=0, pairs=PAIRS, **more):
    """A transactional batch of (id, epoch, sequence)."""
    more.setdefault("timestamp", now())
    p = s.call(leader(partition), "Produce", 11, acks=-1, timeoutMs=20000,
               transactionalId="by-hand", topicData=[{
                   "name": topic, "partitionData": [{
                       "index": partition, "records": batch(
                           pairs, producer=producer, attributes=TRANSACTIONAL,
                           **more)}]}])
    return p["responses"][0]["partitionResponses"][0]


def begin(s, topic, producer=None, **more):
    """Opens a transaction with PAIRS; returns its (id, epoch)."""
    producer = producer or (next(IDS), 0, 0)
    p = write(s, topic, producer, **more)
    assert p["errorCode"] == 0, p
    return producer[:2]


def marker(producer, topics, commit=True, coordinator=0, version=0):
    return {"producerId": producer[0], "producerEpoch": producer[1],
            "transactionResult": commit, "coordinatorEpoch": coordinator,
            "transactionVersion": version, "topics": [
                {"name": t, "partitionIndexes": p}
                for t, p in topics.items()]}


def finish(s, topic, producer, commit=True, partition=0, **more):
    a = s.call(leader(partition), "WriteTxnMarkers", markers=[
        marker(producer, {topic: [partition]}, commit, **more)])
    error = a["markers"][0]["topics"][0]["partitions"][0]["errorCode"]
    assert error == 0, "marker: error %d" % error


# ---- markers --------------------------------------------------------------


def marked(s, label, *markers, node=1):
    """{(topic, partition): error} of one marker, a list of several."""
    if s.version < 2:
        for m in markers:
            m.pop("transactionVersion", None)
    a = s.ask(label, node, markers=list(markers))
    s.check(label + ": ids", [m["producerId"] for m in a["markers"]],
            [m["producerId"] for m in markers])
    errors = [{(t["name"], p["partitionIndex"]): p["errorCode"]
               for t in m["topics"] for p in t["partitions"]}
              for m in a["markers"]]
    return errors[0] if len(errors) == 1 else errors


@covers("WriteTxnMarkers")
def markers_end_transactions(s, v):
    topic = s.topic()
    good, bad = begin(s, topic), begin(s, topic)
    errors = marked(s, "two at once", marker(good, {topic: [0]}),
                    marker(bad, {topic: [0]}, commit=False))
    s.check("two at once: errors", errors, [{(topic, 0): 0}] * 2)
    data = only(fetch(s, topic))["records"]
    got = [(a & CONTROL, p, r[0][2][3]) for a, p, r in batches(data)
           if a & CONTROL]
    s.check("commit is 1, abort 0", got,
            [(CONTROL, good[0], 1), (CONTROL, bad[0], 0)])
    s.check("attributes and values", [
        (a & TRANSACTIONAL, r[0][3]) for a, p, r in batches(data)
        if a & CONTROL], [(TRANSACTIONAL, bytes(6))] * 2)
    s.check("nothing is open", stable(s, topic), 12)


@covers("WriteTxnMarkers")
def markers_refused(s, v):
    topic = s.topic("refused")
    producer = begin(s, topic, (next(IDS), 3, 0))
    finish(s, topic, producer, coordinator=5)
    begin(s, topic, (*producer, 5))

    def error(label, want, at=(0,), node=1, epoch=3, name=topic, **more):
        got = marked(s, label, marker((producer[0], epoch), {name: list(at)},
                                      **more), node=node)
        s.check(label + ": error", got, {(name, p): want for p in at})

    error("a deposed coordinator", COORDINATOR_FENCED, coordinator=4)
    error("an epoch that is over", INVALID_EPOCH, epoch=2, coordinator=5)
    error("not the leader", NOT_LEADER, node=2, coordinator=5)
    error("no such partition", UNKNOWN, at=(9,), coordinator=5)
    error("no such topic", UNKNOWN, name=topic + "-no", coordinator=5)
    if v >= 2:
        error("version 2 with the epoch of the batches", INVALID_EPOCH,
              coordinator=5, version=2)
    s.check("it is still open", stable(s, topic), 6)
    error("one that is elected", NONE, coordinator=6)
    s.check("it is not any more", stable(s, topic), 12)
    if v >= 2:
        begin(s, topic, (*producer, 10))
        error("version 2 with the next epoch", NONE, epoch=4, coordinator=6,
              version=2)
        error("version 2, said twice", NONE, epoch=4, coordinator=6,
              version=2)


@covers("WriteTxnMarkers")
def markers_of_many_partitions(s, v):
    topic, other = s.topic("many"), s.topic("other", 1)
    producer = begin(s, topic)
    begin(s, other, (*producer, 0))
    got = marked(s, "here and elsewhere", marker(producer, {
        topic: [0, 1, 2], other: [0]}, commit=False))
    s.check("each has its error", got, {
        (topic, 0): 0, (topic, 1): 6, (topic, 2): 6, (other, 0): 0})
    got = marked(s, "an empty transaction", marker(
        (next(IDS), 0), {topic: [1]}), node=2)
    s.check("an empty transaction", got, {(topic, 1): 0})
    s.check("it is but a marker", stable(s, topic, 1), 1)
    s.check("none", s.ask("none", 1, markers=[])["markers"], [])


@covers("WriteTxnMarkers")
def markers_for_offsets(s, v):
    """Where groups keep their offsets: the coordinator goes on."""
    group = s.name("group")
    a = wait_for("a coordinator", lambda: found(s.call(
        1, "FindCoordinator", 1, key=group, keyType=0)))
    offsets = s.describe("__consumer_offsets")["partitions"]
    at = [p["partitionIndex"] for p in offsets if p["leaderId"] == a["nodeId"]]
    got = wait_for("groups are loaded", lambda: loaded(marked(
        s, "offsets", marker((next(IDS), 0), {"__consumer_offsets": at}),
        node=a["nodeId"])))
    s.check("offsets", set(got.values()), {NONE})
    a = s.call(a["nodeId"], "OffsetCommit", 2, groupId=group,
               generationIdOrMemberEpoch=-1, memberId="", topics=[{
                   "name": s.topic("committed", 1), "partitions": [{
                       "partitionIndex": 0, "committedOffset": 5,
                       "committedMetadata": ""}]}])
    s.check("and groups commit", a["topics"][0]["partitions"][0]["errorCode"],
            NONE)


def found(answer):
    return answer if not answer["errorCode"] else None


def loaded(errors):
    """Not as long as a leader is new."""
    return errors if not {6, 14} & set(errors.values()) else None


# ---- what consumers are shown ---------------------------------------------


def fetch(s, topic, partition=0, offset=0, isolation=0, node=None):
    return s.call(node or leader(partition), "Fetch", 12, maxWaitMs=0,
                  minBytes=0, isolationLevel=isolation, topics=[{
                      "topic": topic, "partitions": [{
                          "partition": partition, "fetchOffset": offset,
                          "partitionMaxBytes": 1 << 20}]}])


def stable(s, topic, partition=0):
    return only(fetch(s, topic, partition))["lastStableOffset"]


@covers("Fetch")
def fetch_committed(s, v):
    if v < 4:
        return
    topic = s.topic("committed", 1)
    bad, good = begin(s, topic), begin(s, topic)  # 0..4, 5..9
    s.produce(topic, 0, batch(PAIRS, timestamp=now()))  # 10..14

    def get(label, offset=0, isolation=1, **more):
        return only(fetched(s, label, 1, [wanted(s, topic, offset=offset)],
                            isolationLevel=isolation, **more))

    p = get("while two are open")
    s.check("while two are open", (
        p["lastStableOffset"], p["highWatermark"], p["records"] or b"",
        p["abortedTransactions"]), (0, 15, b"", []))
    p = get("uncommitted", isolation=0)
    s.check("uncommitted: all of it, and no list", (
        len(committed(p["records"], [])), p["lastStableOffset"],
        p["abortedTransactions"]), (15, 0, None))
    p = get("beyond the stable part", 7)
    s.check("beyond the stable part", (p["errorCode"], p["records"] or b""),
            (0, b""))
    finish(s, topic, bad, commit=False)  # 15
    p = get("one is aborted")
    s.check("one is aborted: up to the other", (
        p["lastStableOffset"], [r[0] for a, i, rs in batches(p["records"])
                                for r in rs]), (5, list(range(5))))
    s.check("one is aborted: its records", committed(
        p["records"], p["abortedTransactions"]), [])
    s.check("one is aborted: named", p["abortedTransactions"], [
        {"producerId": bad[0], "firstOffset": 0}])
    finish(s, topic, good)  # 16
    p = get("both have ended")
    s.check("both have ended", [r[0] for r in committed(
        p["records"], p["abortedTransactions"])], list(range(5, 15)))
    s.check("both have ended: end", p["lastStableOffset"], 17)
    p = get("behind the aborted one's marker", 16)
    s.check("behind the aborted one's marker", p["abortedTransactions"], [])
    p = get("at its marker", 15)
    s.check("at its marker", p["abortedTransactions"], [
        {"producerId": bad[0], "firstOffset": 0}])


@covers("Fetch")
def fetch_waits_for_the_end(s, v):
    """A long poll of committed records ends with the transaction, not with its
    records."""
    if v < 4:
        return
    topic = s.topic("waits", 1)
    s.send(1, connection="waiting", maxWaitMs=15000, minBytes=1,
           isolationLevel=1, topics=[wanted(s, topic)],
           **({"replicaId": -1} if v < 15 else {}))
    producer = begin(s, topic)
    time.sleep(0.1)
    started = time.monotonic()
    finish(s, topic, producer)
    p = only(s.receive("is woken", 1, connection="waiting"))
    s.check("is woken: by the marker", [r[0] for r in committed(
        p["records"], p["abortedTransactions"])], list(range(5)))
    s.true("is woken: at once", time.monotonic() - started < 10)


@covers("ListOffsets")
def list_stable_offset(s, v):
    if v < 2:
        return
    topic = s.topic("stable", 1)
    s.produce(topic, 0, batch(PAIRS))
    producer = begin(s, topic, timestamp=5000)

    def offset(label, isolation, timestamp=-1):
        a = s.ask(label, 1, replicaId=-1, isolationLevel=isolation,
                  timeoutMs=5000, topics=[{"name": topic, "partitions": [
                      {"partitionIndex": 0, "timestamp": timestamp}]}])
        return a["topics"][0]["partitions"][0]["offset"]

    s.check("latest, uncommitted", offset("latest, uncommitted", 0), 10)
    s.check("latest, committed", offset("latest, committed", 1), 5)
    s.check("by time, uncommitted", offset("by time, uncommitted", 0, 5000), 5)
    s.check("by time, committed", offset("by time, committed", 1, 5000), -1)
    finish(s, topic, producer)
    s.check("latest when it has ended", offset("latest, ended", 1), 11)


# ---- DescribeProducers ----------------------------------------------------


@covers("DescribeProducers")
def describe_producers(s, v):
    topic = s.topic()
    open_one = begin(s, topic, (next(IDS), 2, 7))
    done = begin(s, topic)
    finish(s, topic, done, coordinator=9)
    before = now() - 600000

    def described(label, node, name=topic, partition=0):
        a = s.ask(label, node, topics=[{
            "name": name, "partitionIndexes": [partition]}])
        s.check(label + ": topic", a["topics"][0]["name"], name)
        p = a["topics"][0]["partitions"][0]
        s.check(label + ": partition", p["partitionIndex"], partition)
        return p

    p = described("who writes", 1)
    got = sorted(p["activeProducers"], key=lambda a: a["producerId"])
    for a in got:
        s.true("a time of now", a.pop("lastTimestamp") > before)
    s.check("who writes", (p["errorCode"], p["errorMessage"], got), (0, None, [
        {"producerId": open_one[0], "producerEpoch": 2, "lastSequence": 11,
         "coordinatorEpoch": -1, "currentTxnStartOffset": 0},
        {"producerId": done[0], "producerEpoch": 0, "lastSequence": 4,
         "coordinatorEpoch": 9, "currentTxnStartOffset": -1}]))
    wait_for("a follower knows, too", lambda: [
        a["currentTxnStartOffset"] for a in sorted(
            s.call(2, "DescribeProducers", topics=[{
                "name": topic, "partitionIndexes": [0]}])
            ["topics"][0]["partitions"][0]["activeProducers"],
            key=lambda a: a["producerId"])] == [0, -1])
    s.check("nobody", described("nobody", 2, partition=1)["activeProducers"],
            [])
    s.check("no such partition", described(
        "no such partition", 1, partition=9)["errorCode"], UNKNOWN)
    s.check("no such topic", described(
        "no such topic", 1, topic + "-no")["errorCode"], UNKNOWN)
    single = s.topic("single", 1, layout=([1],))
    s.check("no replica", described("no replica", 2, single)["errorCode"],
            NOT_LEADER)
    a = s.call(1, s.api, v, topics=[
        {"name": topic, "partitionIndexes": [0, 0, 1]}])
    if s.ours:
        s.check("named twice", [p["errorCode"] for p in
                                a["topics"][0]["partitions"]],
                [42, 42, 0])
