"""What the checks stand on: a cluster's nodes, requests, verdicts, notes.

A suite is a function of the sweep and a version, written down with
@covers("Produce").  Its requests go through Sweep.ask(), which notes each
answer for comparing two servers; its claims through Sweep.check().
"""

import contextlib
import random
import re
import time

import wire

SUITES = {}  # API name -> functions, in the order of the files
FLEXIBLE_WAIT_SECONDS = 20
LAYOUT = ([1, 2, 3], [2, 3, 1], [3, 1, 2])  # replicas of every test topic

# Fields whose values differ from run to run or from cluster to cluster.
FLEETING = {
    "memberId", "clusterId", "port", "host", "sessionId",
    "throttleTimeMs", "topicId", "producerId", "logDir", "partitionSize",
    "totalBytes", "usableBytes", "logEndOffset",
    "lastFetchTimestamp", "lastCaughtUpTimestamp", "replicaDirectoryId",
    "leader", "clientHost", "logAppendTimeMs", "finalizedFeaturesEpoch",
}


def covers(*names):
    def put(function):
        for name in names:
            SUITES.setdefault(name, []).append(function)
        return function
    return put


class Wrong(Exception):
    """A check fails; the text says why."""


def wait_for(what, condition, seconds=FLEXIBLE_WAIT_SECONDS):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Wrong("%s: not within %d s" % (what, seconds))
        time.sleep(0.02)


class Sweep:
    def __init__(self, bootstrap, controllers, ours=True, verbose=False):
        """`controllers` are the addresses of the controllers' listeners, by
        node id; empty: they are left out."""
        self.ours = ours  # a Leat cluster
        self.bootstrap = bootstrap
        self.controllers = controllers
        self.verbose = verbose
        self.passed = self.failed = 0
        self.notes = []
        self.api, self.version, self.place = "set-up", 0, "broker"
        self.anywhere = False  # ask controllers that are not active, too
        self.run = "r%05d" % random.randrange(100000)
        self.open = {}
        self.nodes = {}
        self.served = {}
        self.ids = {}

    # ---- nodes ----

    def connect(self):
        first = wire.Connection(*self.bootstrap)
        for b in first.call("Metadata", 1, {"topics": []})["brokers"]:
            self.nodes[b["nodeId"]] = (b["host"], b["port"])
        self.served = {k["apiKey"]: (k["minVersion"], k["maxVersion"])
                       for k in first.call("ApiVersions", 0, {})["apiKeys"]}
        first.close()

    def connection(self, node, place="broker", name=""):
        """One for each node and name; names are for requests that wait."""
        key = (place, node, name)
        if key not in self.open:
            address = (self.nodes if place == "broker"
                       else self.controllers)[node]
            self.open[key] = wire.Connection(*address)
        return self.open[key]

    def close(self):
        for connection in self.open.values():
            connection.close()

    def newest(self, name):
        """The newest version that both sides know."""
        api = wire.APIS[name]
        return min(self.served[api.key][1], api.request.versions[1])

    # ---- requests ----

    def call(self, node, name, version=None, place="broker", **fields):
        """A request that is not the point of the check."""
        version = self.newest(name) if version is None else version
        return self.connection(node, place).call(name, version, fields)

    def ask(self, label, node, name=None, version=None, connection="",
            **fields):
        """A request whose answer is noted.  Its API and version are the
        suite's if they are not given."""
        self.send(node, name, version, connection, **fields)
        return self.receive(label, node, name, version, connection)

    def server(self, node):
        """On the controllers' listener the active one takes requests."""
        if self.place == "broker" or self.api == "ApiVersions" or \
                self.anywhere:
            return node
        return self.active()

    def active(self):
        """The active controller's node id."""
        def known():
            a = self.call(1, "DescribeQuorum", 0, topics=[{
                "topicName": "__cluster_metadata",
                "partitions": [{"partitionIndex": 0}]}])
            return a["topics"] and \
                a["topics"][0]["partitions"][0]["leaderId"]
        return wait_for("an active controller", known)

    def send(self, node, name=None, version=None, connection="", **fields):
        name = name or self.api
        version = self.version if version is None else version
        self.connection(self.server(node), self.place, connection).send(
            name, version, fields)

    def receive(self, label, node, name=None, version=None, connection=""):
        name = name or self.api
        version = self.version if version is None else version
        key = (self.place, self.server(node), connection)
        try:
            answer = self.open[key].answer(name, version)
        except (OSError, wire.Malformed) as error:
            self.open.pop(key).close()
            raise Wrong("%s: %s" % (label, error)) from error
        self.notes.append(("%s: %s" % (self.title(), label),
                           self.plain(answer, name)))
        return answer

    def plain(self, value, name, field=""):
        """Of an answer, what two servers can have in common."""
        if field in FLEETING:
            return value if value in (None, "", -1, 0) else \
                "0" if value == bytes(16) else "*"
        if field == "highWatermark" and name == "DescribeQuorum":
            return "*"
        if isinstance(value, dict):
            return {k: self.plain(v, name, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self.plain(v, name, field) for v in value]
        if isinstance(value, bytes):
            return value.replace(self.run.encode(), b"RUN").hex()
        if isinstance(value, str):
            return re.sub("-no[0-9]*$", "-no", value.replace(self.run, "RUN"))
        return value

    # ---- verdicts ----

    def title(self):
        where = "" if self.place == "broker" else " (controller)"
        return "%s %d%s" % (self.api, self.version, where)

    def report(self, good, text):
        self.passed += good
        self.failed += not good
        if not good or self.verbose:
            print("%s %s" % ("ok" if good else "FAILED", text), flush=True)

    def check(self, label, got, want):
        text = "%s: %s" % (self.title(), label)
        self.report(got == want, text if got == want else
                    "%s: %r instead of %r" % (text, got, want))

    def true(self, label, good, detail=""):
        self.report(bool(good), "%s: %s%s" % (
            self.title(), label, "" if good else ": %s" % (detail,)))

    @contextlib.contextmanager
    def part(self, label):
        """Trouble inside is one failed check and does not end the suite."""
        try:
            yield
        except (Wrong, AssertionError, LookupError, OSError, ValueError,
                TypeError, wire.Malformed) as error:
            self.report(False, "%s: %s: %s: %s" % (
                self.title(), label, type(error).__name__, error))

    def sweep(self, name, versions, place="broker"):
        self.api, self.place = name, place
        for self.version in versions:
            for suite in SUITES.get(name, ()):
                with self.part(suite.__name__):
                    suite(self, self.version)

    # ---- topics ----

    def name(self, suffix):
        """A name that no other suite, version or run has."""
        where = "" if self.place == "broker" else "c"
        return "%s-%s%s%d-%s" % (self.run, self.api.lower(), where,
                                 self.version, suffix)

    def topic(self, suffix="t", partitions=3, configs=None, layout=LAYOUT):
        """Creates a topic whose partition p is led by LAYOUT[p][0]."""
        name = self.name(suffix)
        answer = self.call(1, "CreateTopics", 4, topics=[{
            "name": name, "numPartitions": -1, "replicationFactor": -1,
            "assignments": [{"partitionIndex": p, "brokerIds": layout[p]}
                            for p in range(partitions)],
            "configs": [{"name": k, "value": v}
                        for k, v in (configs or {}).items()]}])
        error = answer["topics"][0]["errorCode"]
        if error:
            raise Wrong("cannot create %s: error %d" % (name, error))
        wait_for("leaders of " + name, lambda: self.settled(name, partitions))
        return name

    def settled(self, name, partitions):
        """All nodes know the topic, its leaders lead, all replicas follow."""
        for node in self.nodes:
            topic = self.describe(name, node)
            if topic["errorCode"] or len(topic["partitions"]) != partitions:
                return False
            if any(len(p["isrNodes"]) != len(p["replicaNodes"]) or
                   p["leaderId"] != p["replicaNodes"][0]
                   for p in topic["partitions"]):
                return False
        for p in topic["partitions"]:
            ends = self.call(p["leaderId"], "ListOffsets", 1, replicaId=-1,
                             topics=[{"name": name, "partitions": [{
                                 "partitionIndex": p["partitionIndex"],
                                 "timestamp": -1}]}])
            if ends["topics"][0]["partitions"][0]["errorCode"]:
                return False
        return True

    def describe(self, name, node=1):
        answer = self.call(node, "Metadata", 12, topics=[
            {"name": name}], allowAutoTopicCreation=False)
        topic = answer["topics"][0]
        self.ids[name] = topic["topicId"]
        topic["partitions"].sort(key=lambda p: p["partitionIndex"])
        return topic

    def absent(self, name):
        return self.describe(name)["errorCode"] == 3

    def id(self, name):
        return self.ids.get(name, b"\x77" * 16)

    def produce(self, topic, partition, records):
        """Appends on the partition's leader; returns the first offset."""
        answer = self.call(
            LAYOUT[partition][0], "Produce", 9, acks=-1, timeoutMs=20000,
            topicData=[{"name": topic, "partitionData": [
                {"index": partition, "records": records}]}])
        p = answer["responses"][0]["partitionResponses"][0]
        if p["errorCode"]:
            raise Wrong("cannot produce to %s: %d" % (topic, p["errorCode"]))
        return p["baseOffset"]

    def contents(self, topic, partition, magic=2):
        """What Fetch 12 says is there."""
        import records
        answer = self.call(
            LAYOUT[partition][0], "Fetch", 12, maxWaitMs=0, minBytes=0,
            topics=[{"topic": topic, "partitions": [
                {"partition": partition, "fetchOffset": 0,
                 "partitionMaxBytes": 1 << 20}]}])
        data = answer["responses"][0]["partitions"][0]["records"] or b""
        return records.read(data, magic)
