"""The coordinator of transactions: from InitProducerId to EndTxn, and what its
partitions, groups and administrators see of it.

A Txn is one transactional id at its coordinator; every request that is not the
suite's own comes in the newest version that belongs to the old protocol (before
KIP-890's epoch for each transaction), unless said otherwise."""

import contextlib
import struct
import time

from data import PAIRS, topic_field
from groups import coordinator as group_coordinator
from records import TRANSACTIONAL, batch
from sweep import LAYOUT, Wrong, covers, wait_for
from transactions import IDS, finish, now, stable
from wire import APIS, request_frame

NONE, UNKNOWN, NOT_COORDINATOR, OUT_OF_ORDER = 0, 3, 16, 45
INVALID_EPOCH, INVALID_STATE, BAD_MAPPING = 47, 48, 49
BAD_TIMEOUT, CONCURRENT, NOT_AUTHORIZED, NOT_ATTEMPTED = 50, 51, 53, 55
UNSTABLE, FENCED, NO_SUCH_ID, ABORTABLE = 88, 90, 105, 120
AGAIN = {14, 15, 16, CONCURRENT}
OLD = {"InitProducerId": 4, "AddPartitionsToTxn": 3, "AddOffsetsToTxn": 3,
       "EndTxn": 4, "TxnOffsetCommit": 3, "Produce": 11}
VERIFICATION = "transaction.partition.verification.enable"
PIPELINED, TRANSACTIONS = 20, 10


class Txn:
    def __init__(self, s, suffix="t"):
        self.s, self.id = s, s.name(suffix)
        self.node = wait_for("a coordinator of " + self.id, self.find)
        self.producer, self.epoch, self.sequence = -1, -1, {}

    def find(self):
        a = self.s.call(1, "FindCoordinator", 1, key=self.id, keyType=1)
        return None if a["errorCode"] else a["nodeId"]

    def call(self, name, node=None, version=None, **fields):
        return self.s.call(node or self.node, name,
                           OLD.get(name) if version is None else version,
                           **fields)

    def init(self, version=None, timeout=60000, **more):
        """Until the coordinator has loaded, and ended what was open."""
        def tried():
            a = self.call("InitProducerId", version=version,
                          transactionalId=self.id,
                          transactionTimeoutMs=timeout, **more)
            return a if a["errorCode"] not in AGAIN else None
        a = wait_for("InitProducerId of " + self.id, tried)
        if a["errorCode"] == 0:
            self.producer, self.epoch = a["producerId"], a["producerEpoch"]
            self.sequence = {}
        return a

    def add(self, topic, *partitions):
        def tried():
            a = self.call(
                "AddPartitionsToTxn", v3AndBelowTransactionalId=self.id,
                v3AndBelowProducerId=self.producer,
                v3AndBelowProducerEpoch=self.epoch, v3AndBelowTopics=[
                    {"name": topic, "partitions": list(partitions)}])
            errors = {p["partitionErrorCode"]
                      for t in a["resultsByTopicV3AndBelow"]
                      for p in t["resultsByPartition"]}
            return errors if not errors & AGAIN else None
        errors = wait_for("AddPartitionsToTxn", tried)
        if errors != {0}:
            raise Wrong("cannot add partitions: %s" % errors)

    def write(self, topic, partition=0, version=None):
        at = self.sequence.get((topic, partition), 0)
        a = self.call(
            "Produce", LAYOUT[partition][0], version, acks=-1, timeoutMs=20000,
            transactionalId=self.id, topicData=[{
                "name": topic, "partitionData": [{
                    "index": partition, "records": batch(
                        PAIRS, timestamp=now(), attributes=TRANSACTIONAL,
                        producer=(self.producer, self.epoch, at))}]}])
        error = a["responses"][0]["partitionResponses"][0]["errorCode"]
        if error == 0:
            self.sequence[topic, partition] = at + len(PAIRS)
        return error

    def begin(self, topic, *partitions):
        """A transaction with records in each of the partitions."""
        self.add(topic, *partitions)
        for p in partitions:
            error = self.write(topic, p)
            if error:
                raise Wrong("cannot write: error %d" % error)

    def end(self, commit=True, **more):
        fields = dict(transactionalId=self.id, producerId=self.producer,
                      producerEpoch=self.epoch, committed=commit)
        fields.update(more)
        return self.call("EndTxn", **fields)["errorCode"]

    def finished(self, topic, sizes):
        """Markers are committed: so much is stable in each partition."""
        def found():
            return [stable(self.s, topic, p) for p in range(len(sizes))]
        try:
            wait_for("the markers", lambda: found() == sizes)
        except Wrong as error:
            raise Wrong("%s: %s is stable instead of %s" % (
                error, found(), sizes)) from error


def elsewhere(node):
    return node % 3 + 1


# ---- ids ------------------------------------------------------------------


@covers("InitProducerId")
def transactional_ids(s, v):
    t = Txn(s)
    t.init()
    a = s.ask("again", t.node, transactionalId=t.id,
              transactionTimeoutMs=60000)
    s.check("again: error", a["errorCode"], 0)
    s.check("again: the same producer", a["producerId"], t.producer)
    s.check("again: the next epoch", a["producerEpoch"], t.epoch + 1)
    a = s.ask("a timeout above the maximum", t.node, transactionalId=t.id,
              transactionTimeoutMs=1 << 30)
    s.check("a timeout above the maximum", a["errorCode"], BAD_TIMEOUT)
    a = s.ask("not the coordinator", elsewhere(t.node), transactionalId=t.id,
              transactionTimeoutMs=60000)
    s.check("not the coordinator", a["errorCode"], NOT_COORDINATOR)
    a = s.ask("no id", t.node, transactionalId="", transactionTimeoutMs=60000)
    s.check("no id", a["errorCode"], 42)
    if v >= 3:
        a = s.ask("the producer itself", t.node, transactionalId=t.id,
                  transactionTimeoutMs=60000, producerId=t.producer,
                  producerEpoch=t.epoch + 1)
        s.check("the producer itself", (a["errorCode"], a["producerEpoch"]),
                (0, t.epoch + 2))
        a = s.ask("one that was replaced", t.node, transactionalId=t.id,
                  transactionTimeoutMs=60000, producerId=t.producer,
                  producerEpoch=t.epoch)
        s.check("one that was replaced", a["errorCode"],
                FENCED if v >= 4 else INVALID_EPOCH)


@covers("InitProducerId")
def a_successor_ends_what_is_open(s, v):
    topic, t = s.topic("open"), Txn(s, "open")
    t.init()
    t.begin(topic, 0)
    a = s.ask("a successor", t.node, transactionalId=t.id,
              transactionTimeoutMs=60000)
    s.check("a successor waits", a["errorCode"], CONCURRENT)
    old = t.epoch
    s.check("and comes", t.init(version=v)["errorCode"], 0)
    s.true("with a later epoch", t.epoch > old, (old, t.epoch))
    t.finished(topic, [len(PAIRS) + 1])


# ---- partitions -----------------------------------------------------------


def asked(t, topics, version, **more):
    """The request of one transaction, as that version has it."""
    topics = [{"name": n, "partitions": p} for n, p in topics.items()]
    if version < 4:
        return dict({"v3AndBelowTransactionalId": t.id,
                     "v3AndBelowProducerId": t.producer,
                     "v3AndBelowProducerEpoch": t.epoch,
                     "v3AndBelowTopics": topics},
                    **{"v3AndBelow" + k[0].upper() + k[1:]: x
                       for k, x in more.items()})
    return {"transactions": [dict(
        {"transactionalId": t.id, "producerId": t.producer,
         "producerEpoch": t.epoch, "verifyOnly": False, "topics": topics},
        **more)]}


def told(answer, version):
    """{(topic, partition): error} of the only transaction."""
    topics = answer["resultsByTopicV3AndBelow"] if version < 4 else \
        answer["resultsByTransaction"][0]["topicResults"]
    return {(x["name"], p["partitionIndex"]): p["partitionErrorCode"]
            for x in topics for p in x["resultsByPartition"]}


@covers("AddPartitionsToTxn")
def add_partitions(s, v):
    topic, t = s.topic(), Txn(s)
    t.init()

    def ask(label, want, topics, node=None, **more):
        a = s.ask(label, node or t.node, **asked(t, topics, v, **more))
        s.check(label, told(a, v), want)

    good = {(topic, 0): 0, (topic, 2): 0}
    ask("two partitions", good, {topic: [0, 2]})
    ask("the same again", good, {topic: [0, 2]})
    ask("one that is not there",
        {(topic, 1): NOT_ATTEMPTED, (topic + "-no", 0): UNKNOWN},
        {topic: [1], topic + "-no": [0]})
    ask("another's producer", {(topic, 1): BAD_MAPPING}, {topic: [1]},
        producerId=t.producer + 1000)
    ask("an old epoch", {(topic, 1): FENCED if v >= 2 else INVALID_EPOCH},
        {topic: [1]}, producerEpoch=t.epoch + 5)
    ask("not the coordinator", {(topic, 1): NOT_COORDINATOR}, {topic: [1]},
        node=elsewhere(t.node))
    s.check("it can be written to", t.write(topic, 0), 0)
    s.check("ends", t.end(), 0)
    t.finished(topic, [len(PAIRS) + 1, 0, 1])


@covers("AddPartitionsToTxn")
def verify_partitions(s, v):
    if v < 4:
        return
    topic, t, other = s.topic("verify"), Txn(s, "verify"), Txn(s, "other")
    t.init()
    other.init()
    t.add(topic, 0)
    a = s.ask("verify only", t.node, **asked(t, {topic: [0, 1]}, v,
                                            verifyOnly=True))
    s.check("verify only", told(a, v), {
        (topic, 0): 0, (topic, 1): ABORTABLE})
    a = s.ask("nothing was added", t.node, **asked(t, {topic: [1]}, v,
                                                  verifyOnly=True))
    s.check("nothing was added", told(a, v)[topic, 1] != 0, True)
    many = asked(t, {topic: [2]}, v)["transactions"] + \
        asked(other, {topic: [2]}, v)["transactions"]
    a = s.ask("two ids", t.node, transactions=many)
    s.check("two ids: order", [r["transactionalId"]
                               for r in a["resultsByTransaction"]],
            [t.id, other.id])
    s.check("two ids: its own", a["resultsByTransaction"][0]["topicResults"][0]
            ["resultsByPartition"][0]["partitionErrorCode"], 0)
    a = s.ask("no transactions", t.node, transactions=[])
    s.check("no transactions", (a["errorCode"], a["resultsByTransaction"]),
            (0, []))
    s.check("ends", t.end(False), 0)


# ---- what producers hear --------------------------------------------------


@covers("Produce")
def produce_transactional(s, v):
    if v < 3:
        return
    topic = s.topic("transactional", 1)

    def someone(suffix):
        """From 12 on a coordinator has to know who it is (KIP-890)."""
        t = Txn(s, suffix) if v >= 12 else None
        if t is None:
            return next(IDS), "by-hand", t
        t.init()
        return t.producer, t.id, t
    pid, txn_id, t = someone("first")

    def send(label, want, sequence, epoch=0, attributes=TRANSACTIONAL,
             name=""):
        name = txn_id if name == "" else name
        p = s.ask(label, 1, acks=-1, timeoutMs=20000, transactionalId=name,
                  topicData=[dict(topic_field(s, topic, 12), partitionData=[{
                      "index": 0, "records": batch(
                          PAIRS, producer=(pid, epoch, sequence),
                          timestamp=now(), attributes=attributes)}])])
        p = p["responses"][0]["partitionResponses"][0]
        s.check(label + ": error", p["errorCode"], want)
        return p["baseOffset"]

    send("without a transactional id", NOT_AUTHORIZED, 0, name=None)
    s.check("opens one", send("opens one", NONE, 0), 0)
    s.check("goes on", send("goes on", NONE, 5), 5)
    s.check("sent twice", send("sent twice", NONE, 5), 5)
    send("outside of it", INVALID_STATE, 10, attributes=0)
    s.check("still open", stable(s, topic), 0)
    if t is None:
        finish(s, topic, (pid, 1), commit=False)
    else:
        t.call("EndTxn", version=5, transactionalId=t.id, producerId=pid,
               producerEpoch=0, committed=False)
        t.finished(topic, [11])
    send("fenced by the marker", INVALID_EPOCH, 10)
    s.check("outside of any", send("outside of any", NONE, 0, 1, 0), 11)
    s.check("the next", send("the next", NONE, 5, 1), 16)
    s.check("where it began", stable(s, topic), 16)
    pid, txn_id, _ = someone("second")
    send("a new producer's second batch", OUT_OF_ORDER if v >= 12 else NONE, 5)


@contextlib.contextmanager
def verified(s):
    """Leaders ask the coordinator before the first batch of a transaction;
    run's configuration has it otherwise, so that others write by hand."""
    def switch(value):
        a = s.call(1, "IncrementalAlterConfigs", 1, validateOnly=False,
                   resources=[{"resourceType": 4, "resourceName": "",
                               "configs": [{
                                   "name": VERIFICATION, "value": value,
                                   "configOperation": 0 if value else 1}]}])
        if a["responses"][0]["errorCode"]:
            raise Wrong("cannot switch: %s" % a)

    def now_on(node, want):
        a = s.call(node, "DescribeConfigs", 4, resources=[{
            "resourceType": 4, "resourceName": str(node),
            "configurationKeys": [VERIFICATION]}])
        return a["results"][0]["configs"][0]["value"] == want
    switch("true")
    try:
        wait_for("verification", lambda: all(
            now_on(node, "true") for node in s.nodes))
        yield
    finally:
        switch(None)
        wait_for("none", lambda: all(
            now_on(node, "false") for node in s.nodes))


@covers("Produce")
def pipelined(s, v):
    """What is sent behind the first batch of a transaction, which waits until
    its coordinator has been asked, does not overtake it."""
    if v < 3 or v > 12:  # from 13 on by topic id
        return
    topic, t = s.topic("pipelined"), Txn(s, "pipelined")
    t.init()
    c = s.connection(LAYOUT[0][0], name="pipelined")

    def frame(sequence):
        c.correlation += 1
        data = request_frame(APIS["Produce"], v, c.correlation, dict(
            acks=-1, timeoutMs=20000, transactionalId=t.id, topicData=[{
                "name": topic, "partitionData": [{
                    "index": 0, "records": batch(
                        PAIRS, timestamp=now(), attributes=TRANSACTIONAL,
                        producer=(t.producer, t.epoch, sequence))}]}]),
            "pipelined")
        return struct.pack(">i", len(data)) + data

    def answer(correlation):
        c.correlation = correlation
        a = c.answer("Produce", v)
        return a["responses"][0]["partitionResponses"][0]["errorCode"]
    errors, sequence = [], 0
    with verified(s):
        for _ in range(TRANSACTIONS):
            if v < 12:
                t.add(topic, 0)
            before = c.correlation
            frames = [frame(sequence + i * len(PAIRS))
                      for i in range(PIPELINED)]
            for i, data in enumerate(frames):
                c.socket.sendall(data)
                time.sleep(i * 0.00003)  # at any time of the first's wait
            errors += [answer(before + 1 + i) for i in range(PIPELINED)]
            sequence += PIPELINED * len(PAIRS)
            if v == 12:
                t.epoch = t.call("EndTxn", version=5, transactionalId=t.id,
                                 producerId=t.producer, committed=True,
                                 producerEpoch=t.epoch)["producerEpoch"]
                sequence = 0
            elif t.end():
                raise Wrong("a transaction does not end")
    s.check("nothing overtakes the first batch", errors,
            [0] * PIPELINED * TRANSACTIONS)
    t.finished(topic, [(PIPELINED * len(PAIRS) + 1) * TRANSACTIONS, 0, 0])


# ---- the end --------------------------------------------------------------


@covers("EndTxn")
def commit_and_abort(s, v):
    topic, t = s.topic(), Txn(s)
    t.init()
    size, epoch = 0, t.epoch

    def ask(label, want, commit=True, node=None, **more):
        fields = dict(transactionalId=t.id, producerId=t.producer,
                      producerEpoch=t.epoch, committed=commit)
        fields.update(more)
        def answered():
            """Until what was decided before has its markers."""
            a = s.ask(label, node or t.node, **fields)
            if a["errorCode"] != CONCURRENT:
                return a
            s.notes.pop()
            return None
        a = wait_for(label, answered)
        s.check(label, a["errorCode"], want)
        if v >= 5 and want == 0:
            s.check(label + ": the next epoch", a["producerEpoch"],
                    t.epoch + 1)
            t.epoch, t.sequence = a["producerEpoch"], {}

    for commit in (True, False):
        t.begin(topic, 0, 1)
        s.check("it is open", stable(s, topic), size)
        ask("commit" if commit else "abort", 0, commit)
        size += len(PAIRS) + 1
        t.finished(topic, [size, size])
    t.begin(topic, 0)
    ask("another's producer", BAD_MAPPING, producerId=t.producer + 1000)
    ask("another epoch", FENCED if v >= 2 else INVALID_EPOCH,
        producerEpoch=t.epoch + 5)
    ask("not the coordinator", NOT_COORDINATOR, node=elsewhere(t.node))
    ask("in the end", 0)
    t.finished(topic, [size + len(PAIRS) + 1, size])
    if v < 5:
        ask("said twice", 0)
        ask("and otherwise", INVALID_STATE, commit=False)
        s.check("the epoch stays", t.epoch, epoch)


# ---- offsets --------------------------------------------------------------


class Offsets:
    """A group whose offsets are part of a transaction."""

    def __init__(self, s, suffix=""):
        self.s, self.group = s, s.name("g" + suffix)
        self.topic = s.topic("offsets" + suffix, 1)
        self.node = group_coordinator(s, self.group)
        self.committed()  # once it has loaded

    def committed(self, stable_only=False):
        """An offset, -1, or the error as text."""
        def tried():
            a = self.s.call(self.node, "OffsetFetch", 7, groupId=self.group,
                            topics=[{"name": self.topic,
                                     "partitionIndexes": [0]}],
                            requireStable=stable_only)
            p = a["topics"][0]["partitions"][0] if a["topics"] else None
            if a["errorCode"] in AGAIN or (p and p["errorCode"] in AGAIN):
                return None
            return "error %d" % p["errorCode"] if p["errorCode"] \
                else str(p["committedOffset"])
        return wait_for("OffsetFetch", tried)

    def add(self, t):
        def tried():
            a = t.call("AddOffsetsToTxn", transactionalId=t.id,
                       producerId=t.producer, producerEpoch=t.epoch,
                       groupId=self.group)
            return a if a["errorCode"] not in AGAIN else None
        return wait_for("AddOffsetsToTxn", tried)["errorCode"]

    def fields(self, t, offset, **more):
        return dict(dict(
            transactionalId=t.id, groupId=self.group, producerId=t.producer,
            producerEpoch=t.epoch, generationIdOrMemberEpoch=-1, memberId="",
            groupInstanceId=None, topics=[{
                "name": self.topic, "topicId": self.s.id(self.topic),
                "partitions": [{
                    "partitionIndex": 0, "committedOffset": offset,
                    "committedLeaderEpoch": -1, "committedMetadata": "m"}]}]),
            **more)


def only(answer):
    return answer["topics"][0]["partitions"][0]["errorCode"]


@covers("AddOffsetsToTxn")
def add_offsets(s, v):
    o, t = Offsets(s), Txn(s)
    t.init()

    def ask(label, want, node=None, **more):
        fields = dict(transactionalId=t.id, producerId=t.producer,
                      producerEpoch=t.epoch, groupId=o.group)
        fields.update(more)
        a = s.ask(label, node or t.node, **fields)
        s.check(label, a["errorCode"], want)

    ask("a group", 0)
    ask("again", 0)
    ask("another's producer", BAD_MAPPING, producerId=t.producer + 1000)
    ask("another epoch", FENCED if v >= 2 else INVALID_EPOCH,
        producerEpoch=t.epoch + 5)
    ask("not the coordinator", NOT_COORDINATOR, node=elsewhere(t.node))

    def stored():
        error = only(t.call("TxnOffsetCommit", o.node, **o.fields(t, 5)))
        return None if error in AGAIN else [error]
    s.check("offsets can be stored", wait_for("the group's coordinator",
                                              stored), [0])
    s.check("they do not count yet", o.committed(), "-1")
    s.check("ends", t.end(), 0)
    wait_for("the offset", lambda: o.committed() == "5")


@covers("TxnOffsetCommit")
def txn_offset_commit(s, v):
    o, t = Offsets(s), Txn(s)
    t.init()
    o.add(t)

    def ask(label, want, offset=7, **more):
        a = s.ask(label, o.node, **o.fields(t, offset, **more))
        s.check(label, only(a), want)

    ask("an offset", 0)
    s.check("it does not count yet", o.committed(), "-1")
    s.check("and who asks for what is stable waits", o.committed(True),
            "error %d" % UNSTABLE)
    s.check("commit", t.end(), 0)
    wait_for("the offset", lambda: o.committed(True) == "7")
    o.add(t)
    ask("another", 0, 9)
    s.check("abort", t.end(False), 0)
    wait_for("the one before", lambda: o.committed(True) == "7")
    ask("no such topic", 100 if v >= 6 else UNKNOWN, topics=[{
        "name": o.topic + "-no", "topicId": s.id(o.topic + "-no"),
        "partitions": [{"partitionIndex": 0, "committedOffset": 1,
                        "committedLeaderEpoch": -1,
                        "committedMetadata": ""}]}])
    if v >= 3:
        o.add(t)
        ask("a member that is none", 25, generationIdOrMemberEpoch=3,
            memberId="nobody")
        s.check("nothing was stored", t.end(), 0)


# ---- administrators -------------------------------------------------------


@covers("DescribeTransactions")
def describe_transactions(s, v):
    topic, t = s.topic(), Txn(s)
    t.init(timeout=54321)
    t.begin(topic, 0, 2)
    a = s.ask("one that is open", t.node, transactionalIds=[t.id])
    d = a["transactionStates"][0]
    s.check("one that is open", (
        d["errorCode"], d["transactionalId"], d["transactionState"],
        d["transactionTimeoutMs"], d["producerId"], d["producerEpoch"],
        [(x["topic"], sorted(x["partitions"])) for x in d["topics"]]),
        (0, t.id, "Ongoing", 54321, t.producer, t.epoch, [(topic, [0, 2])]))
    s.check("since", abs(d["transactionStartTimeMs"] - now()) < 60000, True)
    t.end()

    def state():
        a = t.call("DescribeTransactions", transactionalIds=[t.id])
        return a["transactionStates"][0]["transactionState"]
    wait_for("its completion", lambda: state() == "CompleteCommit")
    a = s.ask("nobody and somebody", t.node,
              transactionalIds=[s.name("no"), t.id])
    s.true("nobody and somebody", a["transactionStates"][0]["errorCode"] in
           (NO_SUCH_ID, NOT_COORDINATOR), a)
    a = s.ask("not the coordinator", elsewhere(t.node),
              transactionalIds=[t.id])
    s.check("not the coordinator", a["transactionStates"][0]["errorCode"],
            NOT_COORDINATOR)
    a = s.call(t.node, s.api, v, transactionalIds=[t.id, t.id])
    if s.ours:
        s.check("named twice", [x["transactionalId"]
                                for x in a["transactionStates"]], [t.id])


@covers("ListTransactions")
def list_transactions(s, v):
    topic, t, idle = s.topic(), Txn(s), Txn(s, "idle")
    t.init()
    idle.init()
    t.begin(topic, 0)

    def names(label, node=None, **filters):
        fields = dict(stateFilters=[], producerIdFilters=[])
        fields.update(filters)
        a = s.ask(label, node or t.node, **fields)
        s.notes.pop()  # others' transactions are there, too
        s.check(label + ": error", a["errorCode"], 0)
        return {x["transactionalId"] for x in a["transactionStates"]}, a

    s.true("all", t.id in names("all")[0])
    got, a = names("by state", stateFilters=["Ongoing", "Sideways"])
    s.true("by state", t.id in got and idle.id not in got, got)
    s.check("a state that is none", a["unknownStateFilters"], ["Sideways"])
    s.check("by producer", names("by producer", producerIdFilters=[
        t.producer])[0], {t.id})
    s.true("of another coordinator", t.id not in names(
        "of another coordinator", elsewhere(t.node))[0])
    if v >= 1:
        s.check("for an hour", t.id in names(
            "for an hour", durationFilter=3600000)[0], False)
        s.true("at all", t.id in names("at all", durationFilter=0)[0])
    if v >= 2:
        s.check("by pattern", names("by pattern", transactionalIdPattern=t.id)
                [0], {t.id})
    t.end(False)
