"""Committed offsets in one partition of __consumer_offsets, and how long a new
coordinator takes until it answers for them.

When a node dies, all that it led waits for the cluster to notice; what the
loading itself costs is the difference between a partition with many offsets
and one with a single one that the same node led, both asked every few
milliseconds.  Works with any cluster, by the protocol alone.
"""

import os
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "api"))
sys.dont_write_bytecode = True
import wire  # noqa: E402

OFFSETS = "__consumer_offsets"
COMMIT, FETCH, FIND = 8, 7, 2  # versions that both servers have
POLL_S = 0.002
INIT = 4
TXN_PARTITIONS = 50  # of __transaction_state
GIVE_UP_S = 120


class TooLate(Exception):
    """The cluster did not do in time what a figure needs."""


def java_hash(text):
    h = 0
    for c in text.encode():
        h = (31 * h + c) & 0xffffffff
    signed = h - (1 << 32) if h >> 31 else h
    return abs(signed) if h != 0x80000000 else 0


class Offsets:
    """`bootstrap` is a list of (host, port); the topic has so many partitions,
    and nobody consumes it."""

    def __init__(self, bootstrap, topic, partitions):
        self.bootstrap = bootstrap
        self.topic = topic
        self.partitions = partitions
        self.open = {}
        self.nodes = {}
        self.shards = 0  # partitions of __consumer_offsets
        self.leaders = {}

    def close(self):
        for connection in self.open.values():
            connection.close()
        self.open = {}

    def call(self, address, name, version, value):
        """None when there is no connection."""
        try:
            if address not in self.open:
                self.open[address] = wire.Connection(*address)
            return self.open[address].call(name, version, value)
        except (OSError, wire.Malformed):
            if address in self.open:
                self.open.pop(address).close()
            return None

    def look(self):
        """Who leads what; any node's answer."""
        for address in self.bootstrap:
            a = self.call(address, "Metadata", 4, {
                "topics": [{"name": OFFSETS}],
                "allowAutoTopicCreation": False})
            if a is None or not a["topics"][0]["partitions"]:
                continue
            self.nodes = {b["nodeId"]: (b["host"], b["port"])
                          for b in a["brokers"]}
            partitions = a["topics"][0]["partitions"]
            self.shards = len(partitions)
            self.leaders = {p["partitionIndex"]: p["leaderId"]
                            for p in partitions}
            return True
        return False

    def prepare(self):
        """Creates __consumer_offsets by asking for a coordinator."""
        deadline = time.monotonic() + GIVE_UP_S
        while True:
            for address in self.bootstrap:
                self.call(address, "FindCoordinator", FIND,
                          {"key": "first", "keyType": 0})
            if self.look() and all(l >= 0 for l in self.leaders.values()):
                return
            if time.monotonic() > deadline:
                raise TooLate("there are no coordinators")
            time.sleep(0.1)

    def groups(self, shard, count, prefix):
        """Names of so many groups whose offsets are in that partition."""
        names, n = [], 0
        while len(names) < count:
            name = "%s-%d" % (prefix, n)
            n += 1
            if java_hash(name) % self.shards == shard:
                names.append(name)
        return names

    def commit(self, shard, group, partitions):
        value = {"groupId": group, "topics": [{
            "name": self.topic, "partitions": [
                {"partitionIndex": p, "committedOffset": p,
                 "committedLeaderEpoch": -1, "committedMetadata": ""}
                for p in range(partitions)]}]}
        deadline = time.monotonic() + GIVE_UP_S
        while True:
            address = self.nodes.get(self.leaders[shard])
            a = address and self.call(address, "OffsetCommit", COMMIT, value)
            codes = {p["errorCode"] for t in a["topics"]
                     for p in t["partitions"]} if a else {None}
            if codes == {0}:
                return
            if time.monotonic() > deadline:
                raise TooLate("offsets are not taken: %s" % codes)
            time.sleep(0.05)
            self.look()

    def fill(self, shard, groups, partitions, prefix="bench"):
        """Returns the groups' names."""
        names = self.groups(shard, groups, prefix)
        for group in names:
            self.commit(shard, group, partitions)
        return names

    def transactional_ids(self, count):
        """So many producers with transactional ids introduce themselves."""
        deadline = time.monotonic() + GIVE_UP_S
        where = {}
        for n in range(count):
            name = "bench-%d" % n
            while True:
                node = where.get(java_hash(name) % TXN_PARTITIONS)
                a = node and self.call(node, "InitProducerId", INIT, {
                    "transactionalId": name, "transactionTimeoutMs": 60000,
                    "producerId": -1, "producerEpoch": -1})
                if a and a["errorCode"] == 0:
                    break
                if time.monotonic() > deadline:
                    raise TooLate("no coordinator takes transactional ids")
                a = self.call(self.bootstrap[0], "FindCoordinator", FIND,
                              {"key": name, "keyType": 1})
                if a and a["errorCode"] == 0:
                    where[java_hash(name) % TXN_PARTITIONS] = (a["host"],
                                                               a["port"])

    def configure(self, settings, topic=True):
        """Of the topic, or of all brokers."""
        a = self.call(self.bootstrap[0], "IncrementalAlterConfigs", 1, {
            "validateOnly": False, "resources": [{
                "resourceType": 2 if topic else 4,
                "resourceName": self.topic if topic else "", "configs": [
                    {"name": k, "value": str(v), "configOperation": 0}
                    for k, v in settings.items()]}]})
        if a is None or a["responses"][0]["errorCode"] != 0:
            raise TooLate("settings cannot be changed: %s" % a)

    def answers(self, address, group):
        """True if this node is the coordinator and has the offset."""
        a = self.call(address, "OffsetFetch", FETCH, {
            "groupId": group, "requireStable": False, "topics": [
                {"name": self.topic, "partitionIndexes": [0]}]})
        if a is None or a["errorCode"] != 0:
            return False
        p = a["topics"][0]["partitions"][0]
        return p["errorCode"] == 0 and p["committedOffset"] == 0

    def takeover(self, full, empty, dead):
        """Of a group in each partition: the time from when any node but `dead`
        answers for the one in the empty partition to when one answers for the
        one in the full one, in seconds."""
        others = [a for node, a in self.nodes.items() if node != dead]
        at = {}
        deadline = time.monotonic() + GIVE_UP_S
        while len(at) < 2:
            for group in (empty, full):
                if group not in at and any(self.answers(a, group)
                                           for a in others):
                    at[group] = time.monotonic()
            if time.monotonic() > deadline:
                raise TooLate("no coordinator took over")
            time.sleep(POLL_S)
        return max(0.0, at[full] - at[empty])

    def two_of_one_node(self):
        """Partitions of __consumer_offsets with the same leader."""
        self.look()
        for shard, leader in sorted(self.leaders.items()):
            for other in sorted(self.leaders):
                if other != shard and self.leaders[other] == leader:
                    return shard, other
        raise TooLate("no node leads two partitions of " + OFFSETS)
