"""What requests that are wrong in one thing are told: a table for each API, a
row for each of Kafka's codes that no other file asks for.

A row is (label, error, fields that differ from a request that is right).  An
error that changed is {version from which on: error}; None: the version has no
such field.  Behind each table the same objects still do what they should."""

import uuid

import wire
from consumers import JOINS, LEAVES, LEAVES_FOR_NOW, Member
from coordinator import AGAIN, Offsets, Txn, asked, elsewhere, told, verified
from coordinator import only as offset_error
from data import PAIRS, produced, ready
from groups import PROTOCOL, Group, beside, coordinator
from records import TRANSACTIONAL, batch
from share import ACCEPT, Consumer, ack, error_of, group_at
from share_groups import ShareGroup
from sweep import Wrong, covers, wait_for
from transactions import now, stable

NONE, UNKNOWN, TOO_LONG, NOT_COORDINATOR = 0, 3, 12, 16
ILLEGAL_GENERATION = 22
NO_GROUP_ID, UNKNOWN_MEMBER, REBALANCING, COMMIT_TOO_LARGE = 24, 25, 27, 28
BAD_TIME, INVALID, OUT_OF_ORDER, INVALID_EPOCH = 32, 42, 45, 47
INVALID_STATE, BAD_MAPPING, BAD_TIMEOUT, NOT_ATTEMPTED = 48, 49, 50, 55
NON_EMPTY, NO_SUCH_GROUP, GROUP_FULL, FENCED_INSTANCE = 68, 69, 81, 82
INVALID_RECORD, FENCED, NO_SUCH_ID, ABORTABLE = 87, 90, 105, 120
TRY_AGAIN, STALE = 19, 113
NO_SESSION, BAD_EPOCH, BAD_REGEX, TOO_MANY_SESSIONS = 122, 123, 128, 133
FENCED_SINCE_2 = {0: INVALID_EPOCH, 2: FENCED}
FENCED_SINCE_4 = {3: INVALID_EPOCH, 4: FENCED}

# Members of a group, in run's configuration.
GROUP_MAX_SIZE = 5


def in_version(want, v):
    """The error of this version."""
    if not isinstance(want, dict):
        return want
    since = [k for k in want if k <= v]
    return want[max(since)] if since else None


def refused(s, rows, ask):
    """`ask(label, **fields)` gives an error or a map of them."""
    for label, want, fields in rows:
        want = in_version(want, s.version)
        if want is not None:
            s.check(label, ask(label, **fields), want)


# ---- transactions ---------------------------------------------------------


def unknown_id(s, t):
    """A transactional id that nobody knows, at the same coordinator."""
    for i in range(100):
        name = "%s-no%d" % (t.id, i)
        a = s.call(1, "FindCoordinator", 1, key=name, keyType=1)
        if a["errorCode"] == 0 and a["nodeId"] == t.node:
            return name
    raise Wrong("no other transactional id at node %d" % t.node)


def nameless(s, kind):
    """The coordinator of what has no name: 0 a group's, 1 a transaction's."""
    def found():
        a = s.call(1, "FindCoordinator", 1, key="", keyType=kind)
        return None if a["errorCode"] else a["nodeId"]
    return wait_for("a coordinator of no name", found)


def twice(s, suffix):
    """A transactional id whose epoch 0 is over."""
    t = Txn(s, suffix)
    t.init()
    t.init()
    return t


@covers("InitProducerId")
def init_producer_id_errors(s, v):
    t = twice(s, "errors")

    def ask(label, node=t.node, **fields):
        a = s.ask(label, node, **dict(dict(
            transactionalId=t.id, transactionTimeoutMs=60000), **fields))
        if a["errorCode"]:
            s.check(label + ": no producer", (
                a["producerId"], a["producerEpoch"]), (-1, -1))
        return a["errorCode"]

    refused(s, [
        ("no time", BAD_TIMEOUT, dict(transactionTimeoutMs=0)),
        ("less than no time", BAD_TIMEOUT, dict(transactionTimeoutMs=-1)),
        ("a longer time than allowed", BAD_TIMEOUT,
         dict(transactionTimeoutMs=900001)),
        ("a producer without an epoch", {3: INVALID},
         dict(producerId=t.producer)),
        ("an epoch without a producer", {3: INVALID},
         dict(producerEpoch=t.epoch)),
        ("another's producer", FENCED_SINCE_4,
         dict(producerId=t.producer + 1000, producerEpoch=0)),
        ("an epoch to come", FENCED_SINCE_4,
         dict(producerId=t.producer, producerEpoch=t.epoch + 5)),
        ("no id", INVALID, dict(transactionalId="", node=nameless(s, 1))),
        ("no id, at another node", INVALID,
         dict(transactionalId="", node=elsewhere(nameless(s, 1)))),
        ("the longest time", NONE, dict(transactionTimeoutMs=900000)),
    ], ask)


@covers("AddPartitionsToTxn")
def add_partitions_errors(s, v):
    topic, t = s.topic("errors"), twice(s, "errors")
    other = unknown_id(s, t)

    def ask(label, topics=None, node=t.node, **more):
        topics = topics or {topic: [1]}
        return told(s.ask(label, node, **asked(t, topics, v, **more)), v)

    def all_of(error):
        if not isinstance(error, dict):
            return {(topic, 1): error}
        return {since: all_of(e) for since, e in error.items()}

    rows = [
        ("an unknown id", all_of(BAD_MAPPING), dict(transactionalId=other)),
        ("no id", all_of(INVALID),
         dict(transactionalId="", node=nameless(s, 1))),
        ("no id, at another node", all_of(INVALID),
         dict(transactionalId="", node=elsewhere(nameless(s, 1)))),
        ("no id to verify, at another node", {4: all_of(INVALID)},
         dict(transactionalId="", node=elsewhere(nameless(s, 1)),
              verifyOnly=True)),
        ("an epoch that is over", all_of(FENCED_SINCE_2),
         dict(producerEpoch=t.epoch - 1)),
        ("a partition that is not there",
         {(topic, 0): NOT_ATTEMPTED, (topic, 9): UNKNOWN},
         dict(topics={topic: [0, 9]})),
        ("verified, an unknown id", {4: all_of(BAD_MAPPING)},
         dict(transactionalId=other, verifyOnly=True)),
        ("verified, another epoch", {4: all_of(FENCED)},
         dict(producerEpoch=t.epoch + 1, verifyOnly=True)),
        ("verified, another's producer", {4: all_of(BAD_MAPPING)},
         dict(producerId=t.producer + 1, verifyOnly=True)),
    ]
    for label, want, fields in rows:
        if all(isinstance(k, int) for k in want):
            want = in_version(want, v)
        if want is not None:
            s.check(label, ask(label, **fields), want)
    s.check("nothing was added", stable(s, topic, 1), 0)
    s.check("and what is right is", ask("what is right"), all_of(NONE))
    s.check("ends", t.end(), NONE)


@covers("AddOffsetsToTxn")
def add_offsets_errors(s, v):
    t, group = twice(s, "errors"), s.name("errors-g")

    def ask(label, node=t.node, **fields):
        return s.ask(label, node, **dict(dict(
            transactionalId=t.id, producerId=t.producer,
            producerEpoch=t.epoch, groupId=group), **fields))["errorCode"]

    coordinator(s, group)
    refused(s, [
        ("an unknown id", BAD_MAPPING,
         dict(transactionalId=unknown_id(s, t))),
        ("no id", INVALID, dict(transactionalId="", node=nameless(s, 1))),
        ("no id, at another node", INVALID,
         dict(transactionalId="", node=elsewhere(nameless(s, 1)))),
        ("an epoch that is over", FENCED_SINCE_2,
         dict(producerEpoch=t.epoch - 1)),
        ("what is right", NONE, {}),
    ], ask)
    s.check("ends", t.end(False), NONE)


@covers("EndTxn")
def end_txn_errors(s, v):
    topic, t = s.topic("errors", 1), twice(s, "errors")

    def ask(label, node=t.node, **fields):
        fields = dict(dict(
            transactionalId=t.id, producerId=t.producer,
            producerEpoch=t.epoch, committed=True), **fields)

        def answered():
            a = s.ask(label, node, **fields)
            if a["errorCode"] != 51:
                return a
            s.notes.pop()  # markers of before are on their way
            return None
        return wait_for(label, answered)

    def error(label, **fields):
        return ask(label, **fields)["errorCode"]

    refused(s, [
        ("a commit of nothing", INVALID_STATE, {}),
        ("an abort of nothing", {0: INVALID_STATE, 5: None},
         dict(committed=False)),
        ("an unknown id", BAD_MAPPING,
         dict(transactionalId=unknown_id(s, t))),
        ("no id", INVALID, dict(transactionalId="", node=nameless(s, 1))),
        ("no id, at another node", INVALID,
         dict(transactionalId="", node=elsewhere(nameless(s, 1)))),
        ("an epoch that is over", FENCED_SINCE_2,
         dict(producerEpoch=t.epoch - 1)),
    ], error)
    t.begin(topic, 0)
    old = t.epoch
    a = ask("what is right")
    s.check("what is right", a["errorCode"], NONE)
    t.finished(topic, [len(PAIRS) + 1])
    refused(s, [
        ("the same again", NONE, dict(producerEpoch=old)),
        ("and otherwise", INVALID_STATE,
         dict(producerEpoch=old, committed=False)),
    ], error)
    if v >= 5:
        a = ask("an abort of nothing", producerEpoch=old + 1, committed=False)
        s.check("an abort of nothing", (a["errorCode"], a["producerEpoch"]),
                (NONE, old + 2))


@covers("EndTxn")
def a_transaction_that_takes_too_long(s, v):
    """Its coordinator aborts it, and its producer has to begin anew."""
    if v != s.newest("EndTxn"):
        return
    topic, t = s.topic("long", 1), Txn(s, "long")
    t.init(timeout=1000)
    t.begin(topic, 0)
    t.finished(topic, [len(PAIRS) + 1])
    t.sequence[topic, 0] = len(PAIRS)
    s.check("writes too late", t.write(topic), INVALID_EPOCH)
    s.check("commits too late", t.end(version=4), FENCED)
    wait_for("its state", lambda: t.call(
        "DescribeTransactions", transactionalIds=[t.id])[
            "transactionStates"][0]["transactionState"] == "CompleteAbort")
    t.init()
    t.begin(topic, 0)
    s.check("begins anew", t.end(), NONE)
    t.finished(topic, [2 * len(PAIRS) + 2])


@covers("TxnOffsetCommit")
def txn_offset_commit_errors(s, v):
    o, t = Offsets(s, "errors"), Txn(s, "errors")
    t.init()
    o.add(t)
    g = Group(s, "members")
    member, generation = g.one()
    stranger = Group(s, "nobody")

    def to(group, **fields):
        return dict(fields, groupId=group.name, node=group.node)

    def ask(label, node=None, offset=7, partition=0, metadata="m", **more):
        fields = o.fields(t, offset, **more)
        fields["topics"][0]["partitions"][0].update(
            partitionIndex=partition, committedMetadata=metadata)
        return offset_error(s.ask(label, node or o.node, **fields))

    refused(s, [
        ("not the coordinator", NOT_COORDINATOR,
         dict(node=elsewhere(o.node))),
        ("no group", NO_GROUP_ID,
         dict(groupId="", node=nameless(s, 0))),
        ("no group, at another node", NO_GROUP_ID,
         dict(groupId="", node=elsewhere(nameless(s, 0)))),
        ("no group, and a partition that is not there", UNKNOWN,
         dict(groupId="", partition=9)),
        ("metadata too long", TOO_LONG, dict(metadata="x" * 5000)),
        ("a partition that is not there", UNKNOWN, dict(partition=9)),
        ("a generation that is over", {3: ILLEGAL_GENERATION}, to(
            g, memberId=member, generationIdOrMemberEpoch=generation + 3)),
        ("a member that is none", {3: UNKNOWN_MEMBER}, to(
            g, memberId="nobody", generationIdOrMemberEpoch=generation)),
        ("an instance that is none", {3: UNKNOWN_MEMBER}, to(
            g, memberId=member, generationIdOrMemberEpoch=generation,
            groupInstanceId="nobody")),
        ("a generation of no group", {3: ILLEGAL_GENERATION, 6: None}, to(
            stranger, memberId="nobody", generationIdOrMemberEpoch=1)),
    ], ask)
    s.check("nothing was stored", t.end(), NONE)
    s.check("nothing counts", o.committed(True), "-1")


@covers("TxnOffsetCommit")
def txn_offset_commit_of_consumers(s, v):
    """Members of KIP-848, and static ones."""
    if v < 3:
        return
    topic, t = s.topic("consumers", 1), Txn(s, "consumers")
    t.init()
    new = Group(s, "new")
    one = Member(new)
    one.join("joins", [topic])
    old, gone, there = static_group(s, "old")
    shared = ShareGroup(s, "shared")
    sharer = shared.join()

    def ask(label, group, **more):
        fields = dict(
            transactionalId=t.id, groupId=group.name, producerId=t.producer,
            producerEpoch=t.epoch, topics=[{
                "name": topic, "topicId": s.id(topic), "partitions": [{
                    "partitionIndex": 0, "committedOffset": 1,
                    "committedLeaderEpoch": -1, "committedMetadata": ""}]}],
            **more)
        return offset_error(s.ask(label, group.node, **fields))

    refused(s, [
        ("an unknown member", UNKNOWN_MEMBER, dict(
            group=new, memberId="nobody", generationIdOrMemberEpoch=1)),
        ("a fenced instance", FENCED_INSTANCE, dict(
            group=old, memberId=gone, generationIdOrMemberEpoch=1,
            groupInstanceId="i1")),
        ("an epoch of before", {3: ILLEGAL_GENERATION, 6: STALE}, dict(
            group=new, memberId=one.id,
            generationIdOrMemberEpoch=one.epoch - 1)),
        ("an epoch to come", {3: ILLEGAL_GENERATION, 6: STALE}, dict(
            group=new, memberId=one.id,
            generationIdOrMemberEpoch=one.epoch + 5)),
        ("a group of another kind", {3: ILLEGAL_GENERATION,
                                     6: NO_SUCH_GROUP}, dict(
            group=shared, memberId=sharer, generationIdOrMemberEpoch=1)),
    ], ask)
    t.call("AddOffsetsToTxn", transactionalId=t.id, producerId=t.producer,
           producerEpoch=t.epoch, groupId=new.name)
    refused(s, [
        ("its epoch", NONE, dict(group=new, memberId=one.id,
                                 generationIdOrMemberEpoch=one.epoch)),
    ], ask)
    s.check("ends", t.end(False), NONE)
    one.leave()
    shared.leave(sharer)
    stays(s, old, there)


@covers("DescribeTransactions")
def describe_transactions_errors(s, v):
    t = Txn(s, "errors")
    t.init()
    nobody = unknown_id(s, t)

    def ask(label, node=t.node, ids=(nobody,)):
        got = s.ask(label, node, transactionalIds=list(ids))
        return [x["errorCode"] for x in got["transactionStates"]]

    refused(s, [
        ("an unknown id", [NO_SUCH_ID], {}),
        ("both", [NO_SUCH_ID, NONE], dict(ids=(nobody, t.id))),
        ("no id", [INVALID], dict(ids=("",), node=nameless(s, 1))),
        ("none", [], dict(ids=())),
    ], ask)


@covers("ListTransactions")
def list_transactions_errors(s, v):
    if v >= 2:
        a = s.ask("a pattern that is none", 1, stateFilters=[],
                  producerIdFilters=[], transactionalIdPattern="(")
        s.check("a pattern that is none", a["errorCode"], BAD_REGEX)


# ---- idempotence ----------------------------------------------------------


@covers("Produce")
def idempotence_errors(s, v):
    if v < 3:
        return
    topic = s.topic("sequences", 1)
    pid = wait_for("a producer id", lambda: ready(s.call(
        1, "InitProducerId", 1, transactionalId=None,
        transactionTimeoutMs=1000)))["producerId"]

    def ask(label, sequence=0, epoch=0, producer=pid):
        p, _ = produced(s, label, topic, 0, batch(
            PAIRS, producer=(producer, epoch, sequence), timestamp=now()))
        return p["errorCode"], p["baseOffset"]

    n = len(PAIRS)
    refused(s, [("batch %d" % i, (NONE, n * i), dict(sequence=n * i))
                for i in range(7)] + [
        ("the fifth from the end again", (NONE, 2 * n),
         dict(sequence=2 * n)),
        ("an older one", (OUT_OF_ORDER, -1), dict(sequence=n)),
        ("part of one", (OUT_OF_ORDER, -1), dict(sequence=6 * n + 1)),
        ("a gap", (OUT_OF_ORDER, -1), dict(sequence=7 * n + 1)),
        ("less than none", (INVALID_RECORD, -1), dict(sequence=-2)),
        ("an epoch that does not begin at 0", (OUT_OF_ORDER, -1),
         dict(sequence=3, epoch=1)),
        ("a producer of another time", (NONE, 7 * n),
         dict(sequence=n, producer=pid + (1 << 41))),
        ("the next", (NONE, 8 * n), dict(sequence=7 * n)),
        ("another epoch", (NONE, 9 * n), dict(epoch=1)),
        ("an epoch that is over", (INVALID_EPOCH, -1),
         dict(sequence=8 * n)),
    ], ask)
    s.check("each is there once", len(s.contents(topic, 0)), 10 * n)


@covers("Produce")
def sequences_wrap(s, v):
    """From 2^31-1 on at 0."""
    if v < 3:
        return
    topic, pid = s.topic("wrap", 1), 1 << 42
    for i, sequence in enumerate((2**31 - 3, 2)):
        p, _ = produced(s, "batch %d" % i, topic, 0, batch(
            PAIRS, producer=(pid, 0, sequence), timestamp=now()))
        s.check("batch %d" % i, (p["errorCode"], p["baseOffset"]),
                (NONE, i * len(PAIRS)))
    p, _ = produced(s, "the first again", topic, 0, batch(
        PAIRS, producer=(pid, 0, 2**31 - 3), timestamp=now()))
    s.check("the first again", (p["errorCode"], p["baseOffset"]), (NONE, 0))


# ---- what was not added to a transaction ----------------------------------


@covers("Produce")
def what_is_not_part_of_the_transaction(s, v):
    """KIP-890: version 11 knows an error for it, version 12 adds it."""
    if v not in (3, 10, 11, 12):
        return
    topic = s.topic("verified")
    t, other = Txn(s, "verified"), Txn(s, "other")
    t.init()
    other.init()
    t.add(topic, 0)

    def ask(label, partition=1, txn=t, epoch=0):
        def answered():
            p, _ = produced(s, label, topic, partition, batch(
                PAIRS, producer=(txn.producer, txn.epoch + epoch, 0),
                timestamp=now(), attributes=TRANSACTIONAL), named=txn.id)
            return None if p["errorCode"] == TRY_AGAIN else [p["errorCode"]]
        return wait_for(label, answered)[0]

    with verified(s):
        refused(s, [
            ("a partition that was not added",
             {3: INVALID_STATE, 11: ABORTABLE, 12: NONE}, {}),
            ("a transaction that was not begun",
             {3: INVALID_STATE, 11: ABORTABLE, 12: NONE},
             dict(partition=2, txn=other)),
            ("an epoch to come", INVALID_EPOCH, dict(partition=2, epoch=1)),
            ("a partition that was", NONE, dict(partition=0)),
        ], ask)
    s.check("nothing of it is there", s.contents(topic, 1) == [], v < 12)
    for txn in (t, other):
        txn.end(False)


@covers("TxnOffsetCommit")
def a_group_that_is_not_part_of_the_transaction(s, v):
    o, t = Offsets(s, "unverified"), Txn(s, "unverified")
    t.init()
    with verified(s):
        def ask(label):
            def answered():
                error = offset_error(s.ask(label, o.node, **o.fields(t, 5)))
                return None if error in AGAIN else [error]
            return wait_for(label, answered)[0]
        refused(s, [("a group that was not added",
                     {0: INVALID_STATE, 4: ABORTABLE, 5: NONE}, {})], ask)
        o.add(t)
        s.check("one that was", ask("one that was"), NONE)
    s.check("ends", t.end(), NONE)
    wait_for("the offset", lambda: o.committed() == "5")


# ---- times ----------------------------------------------------------------


@covers("Produce")
def times_out_of_bounds(s, v):
    """Per topic, by its configuration; the whole batch is refused."""
    if v < 3:
        return
    hour = 3600000
    bounds = s.topic("times", 1, configs={
        "message.timestamp.before.max.ms": str(hour),
        "message.timestamp.after.max.ms": str(hour)})
    stamped = s.topic("stamped", 1, configs={
        "message.timestamp.type": "LogAppendTime",
        "message.timestamp.before.max.ms": str(hour),
        "message.timestamp.after.max.ms": str(hour)})
    usual = s.topic("usual", 1)

    def ask(label, topic, ago):
        p, _ = produced(s, label, topic, 0, batch(
            PAIRS, timestamp=now() - ago))
        if v >= 8 and p["errorCode"]:
            s.check(label + ": which", [
                e["batchIndex"] for e in p["recordErrors"]], list(range(5)))
        return p["errorCode"]

    refused(s, [
        ("long ago", BAD_TIME, dict(topic=bounds, ago=2 * hour)),
        ("at the beginning of time", BAD_TIME,
         dict(topic=bounds, ago=now() - 1)),
        ("in two hours", BAD_TIME, dict(topic=bounds, ago=-2 * hour)),
        ("at the end of time", BAD_TIME,
         dict(topic=bounds, ago=now() - 2**62)),
        ("half an hour ago", NONE, dict(topic=bounds, ago=hour // 2)),
        ("in half an hour", NONE, dict(topic=bounds, ago=-hour // 2)),
        ("long ago, by the log's own time", NONE,
         dict(topic=stamped, ago=2 * hour)),
        ("in two hours, by the log's own time", NONE,
         dict(topic=stamped, ago=-2 * hour)),
        ("long ago, usually", NONE, dict(topic=usual, ago=2000 * hour)),
        ("in two hours, usually", BAD_TIME, dict(topic=usual, ago=-2 * hour)),
    ], ask)
    s.check("what is there", [len(s.contents(t, 0)) for t in (
        bounds, stamped, usual)], [10, 10, 5])


# ---- classic groups -------------------------------------------------------


def static_group(s, suffix):
    """(group, the member id of before, the one of now) of instance i1."""
    g = Group(s, suffix)
    fields = dict(sessionTimeoutMs=10000, rebalanceTimeoutMs=10000,
                  protocolType="consumer", protocols=PROTOCOL,
                  groupId=g.name, groupInstanceId="i1")

    def join():
        a = s.call(g.node, "JoinGroup", 5, memberId="", **fields)
        return a if a["errorCode"] not in AGAIN else None
    old = wait_for("joins", join)["memberId"]
    a = s.call(g.node, "SyncGroup", 3, groupId=g.name, generationId=1,
               memberId=old, groupInstanceId="i1",
               assignments=[{"memberId": old, "assignment": b"x"}])
    if a["errorCode"]:
        raise Wrong("cannot sync: error %d" % a["errorCode"])
    return g, old, wait_for("comes back", join)["memberId"]


def stays(s, g, member, instance="i1"):
    a = s.call(g.node, "Heartbeat", 3, groupId=g.name, generationId=1,
               memberId=member, groupInstanceId=instance)
    s.check("the member is still there", a["errorCode"], NONE)


@covers("JoinGroup")
def join_errors(s, v):
    if v < 5:
        return
    g, old, new = static_group(s, "errors")

    def ask(label, **fields):
        return s.ask(label, g.node, **g.join_fields(**fields))["errorCode"]

    refused(s, [
        ("a fenced instance", FENCED_INSTANCE,
         dict(member=old, groupInstanceId="i1")),
        ("an instance that is none", UNKNOWN_MEMBER,
         dict(member=new, groupInstanceId="i2")),
        ("a member that is none", UNKNOWN_MEMBER, dict(member="nobody")),
    ], ask)
    stays(s, g, new)


@covers("SyncGroup")
def sync_errors(s, v):
    g, old, new = static_group(s, "errors")
    wrong = elsewhere(g.node)
    unknown = beside(s, g)

    def ask(label, node=g.node, **fields):
        fields = dict(dict(groupId=g.name, generationId=1, memberId=new,
                           groupInstanceId="i1", protocolType="consumer",
                           protocolName="range", assignments=[]), **fields)
        if v < 3:
            del fields["groupInstanceId"]
        return s.ask(label, node, **fields)["errorCode"]

    refused(s, [
        ("no group", NO_GROUP_ID, dict(groupId="")),
        ("not the coordinator", NOT_COORDINATOR, dict(node=wrong)),
        ("an unknown group", UNKNOWN_MEMBER, dict(groupId=unknown)),
        ("a fenced instance", {3: FENCED_INSTANCE}, dict(memberId=old)),
        ("an instance that is none", {3: UNKNOWN_MEMBER},
         dict(groupInstanceId="i2")),
        ("a generation of before", ILLEGAL_GENERATION,
         dict(generationId=0)),
        ("a generation to come", ILLEGAL_GENERATION, dict(generationId=2)),
        ("what is right", NONE, {}),
    ], ask)
    # A second one joins, and everybody has to join again.
    s.send(g.node, "JoinGroup", 3, "second", **dict(
        g.join_fields(), groupId=g.name))
    wait_for("the rebalance", lambda: s.call(
        g.node, "Heartbeat", 3, groupId=g.name, generationId=1, memberId=new,
        groupInstanceId="i1")["errorCode"] == REBALANCING)
    s.check("in a rebalance", ask("in a rebalance"), REBALANCING)
    s.call(g.node, "LeaveGroup", 3, groupId=g.name, members=[
        {"memberId": "", "groupInstanceId": "i1"}])
    s.check("the second is alone", s.receive(
        "the second", g.node, "JoinGroup", 3, "second")["errorCode"], NONE)


@covers("Heartbeat")
def heartbeat_errors(s, v):
    g, old, new = static_group(s, "errors")

    def ask(label, **fields):
        fields = dict(dict(groupId=g.name, generationId=1, memberId=new,
                           groupInstanceId="i1"), **fields)
        if v < 3:
            del fields["groupInstanceId"]
        return s.ask(label, g.node, **fields)["errorCode"]

    refused(s, [
        ("an unknown group", UNKNOWN_MEMBER, dict(groupId=beside(s, g))),
        ("a generation to come", ILLEGAL_GENERATION, dict(generationId=2)),
        ("no generation", ILLEGAL_GENERATION, dict(generationId=-1)),
        ("a fenced instance", {3: FENCED_INSTANCE}, dict(memberId=old)),
        ("an instance that is none", {3: UNKNOWN_MEMBER},
         dict(groupInstanceId="i2")),
        ("what is right", NONE, {}),
    ], ask)


@covers("LeaveGroup")
def leave_errors(s, v):
    g, old, new = static_group(s, "errors")

    def ask(label, node=g.node, group=g.name, member="nobody",
            instance=None):
        who = dict(memberId=member) if v < 3 else dict(members=[dict(
            memberId=member, groupInstanceId=instance)])
        a = s.ask(label, node, groupId=group, **who)
        return [a["errorCode"]] + [m["errorCode"]
                                   for m in a.get("members", [])]

    inside = {0: [UNKNOWN_MEMBER], 3: [NONE, UNKNOWN_MEMBER]}
    refused(s, [
        ("no group", {0: [NO_GROUP_ID]}, dict(group="")),
        ("not the coordinator", {0: [NOT_COORDINATOR]},
         dict(node=elsewhere(g.node))),
        ("an unknown group", inside, dict(group=beside(s, g))),
        ("an unknown member", inside, {}),
        ("a fenced instance", {3: [NONE, FENCED_INSTANCE]},
         dict(member=old, instance="i1")),
        ("an instance that is none", {3: [NONE, UNKNOWN_MEMBER]},
         dict(member="", instance="i2")),
    ], ask)
    stays(s, g, new)


@covers("JoinGroup")
def a_group_that_is_full(s, v):
    """group.max.size of run's configuration."""
    if not s.ours:
        return
    g = Group(s, "full")
    first = s.version
    members, generation = [], 0

    def fields(member=""):
        return g.join_fields(member)

    def join_all():
        """Version 0 needs no id; all but the first wait for the first."""
        a = g.retry("joins", "JoinGroup", lambda a: a["errorCode"] not in
                    AGAIN | {79}, **fields()) if first < 4 else \
            g.join("joins")
        names = ["m%d" % i for i in range(1, GROUP_MAX_SIZE)]
        for name in names:
            s.send(g.node, "JoinGroup", 0, name, **dict(fields()))
        return a["memberId"], names

    leader, names = join_all()
    wait_for("the rebalance", lambda: s.call(
        g.node, "Heartbeat", 0, groupId=g.name, generationId=1,
        memberId=leader)["errorCode"] == REBALANCING)

    def everybody():
        """The leader joins again until all are in one generation."""
        a = s.call(g.node, "DescribeGroups", 0, groups=[g.name])
        return len(a["groups"][0]["members"]) == GROUP_MAX_SIZE
    wait_for("all members", everybody)
    a = g.ask("the leader joins again", "JoinGroup", **fields(leader))
    s.check("the leader joins again", a["errorCode"], NONE)
    generation = a["generationId"]
    members = [s.receive("a member", g.node, "JoinGroup", 0, name)["memberId"]
               for name in names]
    for name, member in zip(names, members):
        s.send(g.node, "SyncGroup", 0, name, groupId=g.name,
               generationId=generation, memberId=member, assignments=[])
    g.sync("the leader syncs", leader, generation,
           [(m, b"x") for m in [leader, *members]])
    for name in names:
        s.receive("syncs", g.node, "SyncGroup", 0, name)
    a = g.ask("one too many", "JoinGroup", **fields())
    if a["errorCode"] == 79:
        a = g.ask("one too many, with its id", "JoinGroup",
                  **fields(a["memberId"]))
    s.check("one too many", (a["errorCode"], a["generationId"]),
            (GROUP_FULL, -1))
    errors = {s.call(g.node, "Heartbeat", 0, groupId=g.name,
                     generationId=generation, memberId=m)["errorCode"]
              for m in [leader, *members]}
    s.check("the others go on", errors, {NONE})
    for m in [leader, *members]:
        s.call(g.node, "LeaveGroup", 0, groupId=g.name, memberId=m)


# ---- offsets --------------------------------------------------------------


@covers("OffsetCommit")
def offset_commit_errors(s, v):
    if v < 1:
        return
    topic = s.topic("errors", 1)
    joined = Group(s, "joined")
    a = s.call(joined.node, "JoinGroup", 3, **joined.join_fields())
    member, generation = a["memberId"], a["generationId"]
    static, old, new = static_group(s, "static")

    def ask(label, group, member, generation=1, instance=None, **more):
        fields = {"groupInstanceId": instance} if v >= 7 else {}
        named = {"name": topic} if v < 10 else {"topicId": s.id(topic)}
        a = s.ask(label, group.node, groupId=group.name, memberId=member,
                  generationIdOrMemberEpoch=generation, topics=[dict(
                      named, partitions=[dict({
                          "partitionIndex": 0, "committedOffset": 3,
                          "committedMetadata": ""}, **more)])], **fields)
        return a["topics"][0]["partitions"][0]["errorCode"]

    refused(s, [
        ("before the assignment", REBALANCING, dict(
            group=joined, member=member, generation=generation)),
        ("a negative partition", UNKNOWN, dict(
            group=static, member=new, partitionIndex=-1)),
        ("a fenced instance", {7: FENCED_INSTANCE}, dict(
            group=static, member=old, instance="i1")),
        ("an instance that is none", {7: UNKNOWN_MEMBER}, dict(
            group=static, member=new, instance="i2")),
        ("no generation", ILLEGAL_GENERATION, dict(
            group=static, member=new, generation=-1)),
        ("what is right", NONE, dict(group=static, member=new)),
    ], ask)
    s.call(joined.node, "LeaveGroup", 0, groupId=joined.name, memberId=member)


@covers("OffsetFetch")
def offset_fetch_errors(s, v):
    if v < 9:
        return
    topic, group = s.topic("errors", 1), Group(s, "errors")
    one = Member(group)
    one.join("joins", [topic])

    def ask(label, member=one.id, epoch=one.epoch, name=group.name):
        a = s.ask(label, group.node, groups=[{
            "groupId": name, "memberId": member, "memberEpoch": epoch,
            "topics": None}])
        return a["groups"][0]["errorCode"]

    refused(s, [
        ("an unknown member", UNKNOWN_MEMBER, dict(member="nobody")),
        ("an epoch of before", STALE, dict(epoch=one.epoch - 1)),
        ("an unknown group", NONE, dict(name=beside(s, group))),
        ("an administrator", NONE, dict(member=None, epoch=-1)),
        ("what is right", NONE, {}),
    ], ask)
    one.leave()


@covers("OffsetDelete")
def offset_delete_errors(s, v):
    g = Group(s, "errors")
    topic = s.topic("errors", 1)
    a = s.call(g.node, "JoinGroup", 3, **g.join_fields(
        protocolType="connect"))
    member = a["memberId"]

    def ask(label, node=g.node, group=g.name):
        return s.ask(label, node, groupId=group, topics=[{
            "name": topic, "partitions": [{"partitionIndex": 0}]}]
        )["errorCode"]

    refused(s, [
        ("no group", NO_GROUP_ID, dict(group="", node=nameless(s, 0))),
        ("no group, at another node", NO_GROUP_ID,
         dict(group="", node=elsewhere(nameless(s, 0)))),
        ("not the coordinator", NOT_COORDINATOR,
         dict(node=elsewhere(g.node))),
        ("members that are no consumers", NON_EMPTY, {}),
    ], ask)
    s.call(g.node, "LeaveGroup", 0, groupId=g.name, memberId=member)


@covers("DeleteGroups", "DescribeGroups")
def a_group_without_a_name(s, v):
    """One that may be there: offsets were once kept without a name."""
    asked_for = "groupsNames" if s.api == "DeleteGroups" else "groups"
    a = s.ask("no group", nameless(s, 0), **{asked_for: [""]})
    got = (a["results"] if "results" in a else a["groups"])[0]
    s.check("no group", got["errorCode"], in_version({
        "DeleteGroups": NO_SUCH_GROUP,
        "DescribeGroups": {0: NONE, 6: NO_SUCH_GROUP}}[s.api], v))


# ---- groups of KIP-848 ----------------------------------------------------


@covers("ConsumerGroupHeartbeat")
def consumer_heartbeat_errors(s, v):
    topic, group = s.topic("errors"), Group(s, "errors")
    one, static = Member(group), Member(group, instance="i1")
    one.join("joins", [topic])
    static.join("static one joins", [topic])
    joining = dict(rebalanceTimeoutMs=30000, topicPartitions=[],
                   subscribedTopicNames=[topic])

    def ask(label, epoch=1, instance=None, node=group.node, **fields):
        fields = dict(dict(groupId=group.name, memberId=one.id,
                           instanceId=instance), **fields)
        return s.ask(label, node, memberEpoch=epoch, **fields)["errorCode"]

    refused(s, [
        ("no group", INVALID, dict(groupId="", node=nameless(s, 0))),
        ("no group, at another node", INVALID,
         dict(groupId="", node=elsewhere(nameless(s, 0)))),
        ("no instance", INVALID, dict(instance="")),
        ("no rack", INVALID, dict(rackId="")),
        ("leaves without an id", INVALID, dict(epoch=LEAVES, memberId="")),
        ("joins without partitions", INVALID, dict(
            joining, epoch=JOINS, memberId="another", topicPartitions=None)),
        ("a stranger leaves", UNKNOWN_MEMBER,
         dict(epoch=LEAVES, memberId="nobody")),
        ("an instance that is none leaves for now", UNKNOWN_MEMBER,
         dict(epoch=LEAVES_FOR_NOW, memberId="nobody", instance="i2")),
        ("another's instance leaves for now", FENCED_INSTANCE,
         dict(epoch=LEAVES_FOR_NOW, memberId="nobody", instance="i1")),
        ("another's instance leaves", FENCED_INSTANCE,
         dict(epoch=LEAVES, memberId="nobody", instance="i1")),
        ("another's instance", FENCED_INSTANCE,
         dict(memberId="nobody", instance="i1")),
        ("an instance that is none", UNKNOWN_MEMBER,
         dict(memberId="nobody", instance="i2")),
    ], ask)
    for member in (one, static):
        s.check("lives on", member.beat()["errorCode"], NONE)
        member.leave()


@covers("ConsumerGroupHeartbeat")
def a_consumer_group_that_is_full(s, v):
    """group.consumer.max.size of run's configuration."""
    if not s.ours:
        return
    topic, group = s.topic("full"), Group(s, "full")
    members = [Member(group) for _ in range(GROUP_MAX_SIZE)]
    for member in members:
        s.check("joins", member.join("joins", [topic])["errorCode"], NONE)
    extra = Member(group)
    s.check("one too many", extra.join("one too many", [topic])["errorCode"],
            GROUP_FULL)
    s.check("the others go on", {m.beat()["errorCode"] for m in members},
            {NONE})
    s.check("one leaves", members.pop().leave(), NONE)
    s.check("there is room", extra.join("there is room", [topic])
            ["errorCode"], NONE)
    for member in [*members, extra]:
        member.leave()


@covers("ConsumerGroupDescribe", "StreamsGroupDescribe")
def a_described_group_without_a_name(s, v):
    def ask(label, node):
        a = s.ask(label, node, groupIds=[""])
        return [g["errorCode"] for g in a["groups"]]

    node = nameless(s, 0)
    refused(s, [
        ("no group", [NO_GROUP_ID], dict(node=node)),
        ("no group, at another node", [NO_GROUP_ID],
         dict(node=elsewhere(node))),
    ], ask)


# ---- share groups ---------------------------------------------------------


@covers("ShareGroupHeartbeat")
def a_share_group_that_is_full(s, v):
    """group.share.max.size of run's configuration."""
    if not s.ours:
        return
    g = ShareGroup(s, "full")
    members = [g.join() for _ in range(GROUP_MAX_SIZE)]
    extra = str(uuid.uuid4())
    a = g.beat(extra, 0, subscribedTopicNames=g.topics)
    s.check("one too many", a["errorCode"], GROUP_FULL)
    s.check("a stranger leaves", g.beat(extra, -1)["errorCode"],
            UNKNOWN_MEMBER)
    s.check("the others go on", {g.beat(m)["errorCode"] for m in members},
            {NONE})
    s.check("one leaves", g.leave(members.pop()), NONE)
    s.check("there is room", g.beat(
        extra, 0, subscribedTopicNames=g.topics)["errorCode"], NONE)
    for m in [*members, extra]:
        g.leave(m)


@covers("ShareGroupDescribe", "DescribeShareGroupOffsets",
        "AlterShareGroupOffsets", "DeleteShareGroupOffsets")
def share_group_errors(s, v):
    name = s.name("errors")
    node = coordinator(s, name)

    def ask(label, node=node, name=name):
        if s.api == "ShareGroupDescribe":
            fields = dict(groupIds=[name])
        elif s.api == "DescribeShareGroupOffsets":
            fields = dict(groups=[{"groupId": name, "topics": None}])
        else:
            fields = dict(groupId=name, topics=[])
        a = s.ask(label, node, **fields)
        return a["groups"][0]["errorCode"] if "groups" in a \
            else a["errorCode"]

    rows = [("not the coordinator", NOT_COORDINATOR,
             dict(node=elsewhere(node)))]
    if s.api != "DescribeShareGroupOffsets":
        for label, at in (("no group", nameless(s, 0)),
                          ("no group, at another node",
                           elsewhere(nameless(s, 0)))):
            rows.append((label, NO_GROUP_ID, dict(node=at, name="")))
    refused(s, rows, ask)


@covers("ShareFetch")
def share_fetch_errors(s, v):
    t = group_at(s)
    c = Consumer(s, t.group, t.topic)
    c.found()
    _, a = c.fetch(topics=c.topics(partition=9))
    s.check("a partition that is not there", [
        p["errorCode"] for x in a["responses"] for p in x["partitions"]],
        [UNKNOWN])
    s.check("the session goes on", c.acknowledge((0, 0)), NONE)
    c.leave()


@covers("ShareFetch")
def share_sessions_have_a_bound(s, v):
    """2000 at a node, unless group.share.max.share.sessions says otherwise;
    here each shard has its share of them."""
    if v != s.newest("ShareFetch"):
        return
    t = group_at(s)
    connection = wire.Connection(*s.nodes[1])

    def fetch(member, epoch):
        return connection.call("ShareFetch", v, dict(
            groupId=t.group, memberId=member, shareSessionEpoch=epoch,
            maxWaitMs=0, minBytes=0, maxBytes=1000, maxRecords=1, batchSize=1,
            topics=[]))["errorCode"]

    def until_full(limit):
        opened = []
        for i in range(limit):
            member = str(uuid.uuid4())
            error = fetch(member, 0)
            if error:
                return opened, error
            opened.append(member)
        return opened, None

    opened, error = until_full(2100)
    s.check("one too many", error, TOO_MANY_SESSIONS)
    s.true("how many there were", 0 < len(opened) <= 2000, len(opened))
    s.check("the others go on", {fetch(m, 1) for m in opened[:20]}, {NONE})
    s.check("one ends", fetch(opened[0], -1), NONE)
    s.check("there is room", fetch(str(uuid.uuid4()), 0), NONE)
    connection.close()
    c = Consumer(s, t.group, t.topic)
    s.check("all have ended with their connection",
            wait_for("a session", lambda: c.fetch()[1]["errorCode"] == NONE),
            True)
    c.leave()


@covers("ShareAcknowledge")
def share_acknowledge_errors(s, v):
    t = group_at(s)
    c = Consumer(s, t.group, t.topic)
    c.found()

    def ask(label, partition=0, **fields):
        a = c.call("ShareAcknowledge", topics=c.topics(
            [ack(0, 0, ACCEPT)], partition), **fields)
        if a["errorCode"] == NONE:
            c.next()
        return a["errorCode"] or error_of(a)

    refused(s, [
        ("no group", NO_SESSION, dict(groupId="")),
        ("no member", INVALID, dict(memberId="")),
        ("a session that is none", NO_SESSION,
         dict(memberId=str(uuid.uuid4()))),
        ("a session that is to begin", BAD_EPOCH,
         dict(shareSessionEpoch=0)),
        ("an epoch to come", BAD_EPOCH, dict(shareSessionEpoch=9)),
        ("a partition that is not there", UNKNOWN, dict(partition=9)),
        ("what is right", NONE, {}),
    ], ask)
    c.leave()


# ---- too much at once -----------------------------------------------------


def wide_topic(s, partitions=300):
    """Its name and how many partitions it has."""
    name = s.name("wide")
    s.call(1, "CreateTopics", 4, topics=[{
        "name": name, "numPartitions": partitions, "replicationFactor": 1,
        "assignments": [], "configs": []}])

    def known():
        topics = [s.describe(name, node) for node in s.nodes]
        return all(len(t["partitions"]) == partitions and
                   all(p["leaderId"] > 0 for p in t["partitions"])
                   for t in topics)
    wait_for("all partitions", known)
    return name, partitions


@covers("OffsetCommit")
def offsets_larger_than_a_batch(s, v):
    """1.2 MB: Kafka refuses all of them, here they go into more batches."""
    if v != s.newest("OffsetCommit"):
        return
    topic, partitions = wide_topic(s)
    g = Group(s, "wide")

    def ask(label, metadata):
        a = s.ask(label, g.node, groupId=g.name, memberId="",
                  generationIdOrMemberEpoch=-1, topics=[{
                      "topicId": s.id(topic), "partitions": [{
                          "partitionIndex": p, "committedOffset": p,
                          "committedMetadata": metadata}
                          for p in range(partitions)]}])
        return {p["errorCode"] for p in a["topics"][0]["partitions"]}

    def stored():
        a = s.call(g.node, "OffsetFetch", 7, groupId=g.name, topics=None)
        return {p["partitionIndex"]: (p["committedOffset"],
                                      len(p["metadata"]))
                for t in a["topics"] for p in t["partitions"]}

    coordinator(s, g.name)
    refused(s, [("each too long", {TOO_LONG}, dict(metadata="x" * 4097)),
                ("what is right", {NONE}, dict(metadata="x" * 40))], ask)
    errors = ask("more than a batch", "x" * 4000)
    s.true("more than a batch: all or nothing",
           errors in ({NONE}, {-1}, {COMMIT_TOO_LARGE}), errors)
    size = 4000 if errors == {NONE} else 40
    s.check("more than a batch: what is stored", stored(),
            {p: (p, size) for p in range(partitions)})
