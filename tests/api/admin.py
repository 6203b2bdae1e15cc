"""ApiVersions, configs, the cluster and its quorum."""

import records
import wire
from sweep import Wrong, covers, wait_for
from topics import BITS_CLUSTER, INT_MIN

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3


# ---- ApiVersions ----------------------------------------------------------


@covers("ApiVersions")
def api_versions(s, v):
    a = s.ask("versions", 1, clientSoftwareName="sweep",
              clientSoftwareVersion="1.0")
    s.check("error", a["errorCode"], 0)
    got = {k["apiKey"]: (k["minVersion"], k["maxVersion"])
           for k in a["apiKeys"]}
    s.check("the same in every version", got, {
        k["apiKey"]: (k["minVersion"], k["maxVersion"])
        for k in s.call(1, "ApiVersions", 0, place=s.place)["apiKeys"]})
    s.check("in order", [k["apiKey"] for k in a["apiKeys"]], sorted(got))
    if v >= 3:
        s.check("no migration", a["zkMigrationReady"], False)
        names = {f["name"]: (f["minVersion"], f["maxVersion"])
                 for f in a["supportedFeatures"]}
        # Version 3 leaves out features that may be absent (level 0).
        s.check("transaction.version", names.get("transaction.version"),
                (0, 2) if v >= 4 else None)
        s.check("share.version", names.get("share.version"), (1, 1))
        s.check("streams.version", names.get("streams.version"), (1, 1))
        s.true("finalized at", a["finalizedFeaturesEpoch"] >= 0,
               a["finalizedFeaturesEpoch"])
        for f in a["finalizedFeatures"] if v >= 4 else ():
            s.true("feature " + f["name"], f["name"] in names and
                   f["maxVersionLevel"] <= names[f["name"]][1], (f, names))
        s.check("a name of nobody", s.ask(
            "a name of nobody", 1, clientSoftwareName="",
            clientSoftwareVersion="")["errorCode"], 42)
        s.check("an odd name", s.ask(
            "an odd name", 1, clientSoftwareName="a b",
            clientSoftwareVersion="1")["errorCode"], 42)


@covers("ApiVersions")
def version_of_the_future(s, v):
    if v:
        return
    import struct
    c = wire.Connection(*s.nodes[1])
    body = struct.pack(">hhih", 18, 99, 7, 1) + b"x\0\2a\2b\0"
    c.socket.sendall(struct.pack(">i", len(body)) + body)
    size, = struct.unpack(">i", c.receive(4))
    data = c.receive(size)
    a = wire.decode(wire.APIS["ApiVersions"].response, 0, data[4:])
    s.check("version 99", (data[:4], a["errorCode"]), (b"\0\0\0\7", 35))
    s.check("version 99: which there are", [
        (k["minVersion"], k["maxVersion"]) for k in a["apiKeys"]
        if k["apiKey"] == 18], [s.served[18]])
    c.close()


# ---- features -------------------------------------------------------------

UPGRADE, SAFE = 1, 2
TRANSACTION = "transaction.version"


def finalized(s, node):
    a = s.call(node, "ApiVersions", 4, clientSoftwareName="sweep",
               clientSoftwareVersion="1.0")
    return {f["name"]: f["maxVersionLevel"] for f in a["finalizedFeatures"]}


def update_features(s, label, v, updates, validate=False):
    kinds = [dict(feature=name, maxVersionLevel=level,
                  **({"upgradeType": kind} if v else
                     {"allowDowngrade": kind == SAFE}))
             for name, level, kind in updates]
    more = {"validateOnly": validate} if v else {}
    return s.ask(label, 1, "UpdateFeatures", timeoutMs=10000,
                 featureUpdates=kinds, **more)


@covers("UpdateFeatures")
def change_features(s, v):
    level = finalized(s, 1)[TRANSACTION]
    for label, update in (
            ("above", (TRANSACTION, 9, UPGRADE)),
            ("below zero", (TRANSACTION, -1, SAFE)),
            ("down without saying so", (TRANSACTION, level - 1, UPGRADE)),
            ("of a fixed range", ("kraft.version", 0, SAFE)),
            ("unknown", ("no.such.version", 1, UPGRADE))):
        a = update_features(s, label, v, [update])
        s.check(label + ": error", a["errorCode"], 95)
        s.true(label + ": why", update[0] in a["errorMessage"],
               a["errorMessage"])
    if v:
        s.check("an odd type", update_features(
            s, "an odd type", v, [(TRANSACTION, level, 7)])["errorCode"], 95)
        s.check("validated", update_features(
            s, "validated", v, [(TRANSACTION, level - 1, SAFE)],
            True)["errorCode"], 0)
        s.check("validated: the same", finalized(s, 1)[TRANSACTION], level)
    for label, to, kind in (("down", level - 1, SAFE),
                            ("up", level, UPGRADE)):
        a = update_features(s, label, v, [(TRANSACTION, to, kind)])
        s.check(label + ": error", a["errorCode"], 0)
        if v < 2:
            s.check(label + ": results", [
                (r["feature"], r["errorCode"]) for r in a["results"]],
                [(TRANSACTION, 0)])
        for node in s.nodes:
            wait_for("level %d at node %d" % (to, node), lambda n=node:
                     finalized(s, n)[TRANSACTION] == to)


# ---- configs --------------------------------------------------------------


def described(s, label, kind, name, keys=None, node=1, version=None, **more):
    a = s.ask(label, node, "DescribeConfigs", version, resources=[{
        "resourceType": kind, "resourceName": name,
        "configurationKeys": keys}], **more)
    assert len(a["results"]) == 1, a
    r = a["results"][0]
    s.check(label + ": names it", (r["resourceType"], r["resourceName"]),
            (kind, name))
    return r, {c["name"]: c for c in r["configs"]}


@covers("DescribeConfigs")
def describe_topic_configs(s, v):
    topic = s.topic("t", 1, {"retention.ms": "777", "compression.type":
                             "lz4"})
    r, got = described(s, "a topic", TOPIC, topic, includeSynonyms=True,
                       includeDocumentation=True)
    s.check("a topic: error", (r["errorCode"], r["errorMessage"]), (0, ""))
    s.true("a topic: all configs", len(got) >= 30, len(got))
    c = got["retention.ms"]
    want = {"name": "retention.ms", "value": "777", "readOnly": False,
            "isSensitive": False}
    if v == 0:
        want["isDefault"] = False
    else:
        s.check("synonyms", [(x["name"], x["value"], x["source"])
                for x in c.pop("synonyms")], [
            ("retention.ms", "777", 1)])
        want["configSource"] = 1
    if v >= 3:
        want["configType"] = 5
        s.true("documentation", c.pop("documentation"))
    s.check("an override", c, want)
    c = got["segment.ms"]
    s.check("a default", (c["value"], c["isDefault"] if v == 0 else
                          c["configSource"]),
            ("604800000", True if v == 0 else 5))
    _, got = described(s, "two keys", TOPIC, topic,
                       ["compression.type", "no.such"])
    s.check("two keys", list(got), ["compression.type"])
    if v >= 1:
        s.check("no synonyms", got["compression.type"]["synonyms"], [])
    if v >= 3:
        s.check("no documentation",
                got["compression.type"]["documentation"], None)
    r, got = described(s, "unknown topic", TOPIC, topic + "-no")
    s.check("unknown topic", (r["errorCode"], got), (3, {}))
    r, got = described(s, "invalid topic", TOPIC, "a b")
    s.check("invalid topic", (r["errorCode"], got), (17, {}))


@covers("DescribeConfigs")
def describe_other_configs(s, v):
    if s.place == "broker":
        r, got = described(s, "a broker", BROKER, "2", node=2,
                           includeSynonyms=True)
        s.check("a broker: error", r["errorCode"], 0)
        s.true("a broker: all configs", len(got) > 150, len(got))
        s.check("a broker: node.id", (
            got["node.id"]["value"], got["node.id"]["readOnly"]),
            ("2", True))
        if v >= 1:
            s.check("a broker: from its file",
                    got["node.id"]["configSource"], 4)
        r, _ = described(s, "another broker", BROKER, "3", node=2)
        s.check("another broker", r["errorCode"], 42)
        r, _ = described(s, "no number", BROKER, "x", node=2)
        s.check("no number", r["errorCode"], 42)
        r, got = described(s, "client metrics", METRICS, "none-" + s.run)
        s.check("client metrics", r["errorCode"], 0)
        r, got = described(s, "a group", GROUP, "g-" + s.run)
        s.check("a group", r["errorCode"], 0)
        s.true("a group: configs", "consumer.session.timeout.ms" in got,
               list(got))
        if s.ours:
            a = s.ask("named twice", 2, resources=[
                dict(resourceType=kind, resourceName=name,
                     configurationKeys=["retention.ms", "node.id"] * 2)
                for kind, name in [(BROKER, "2"), (GROUP, "2")] * 2])
            s.check("named twice", [
                (x["resourceType"], [c["name"] for c in x["configs"]])
                for x in a["results"]], [(BROKER, ["node.id"]), (GROUP, [])])
    r, got = described(s, "all brokers", BROKER, "")
    s.check("all brokers", r["errorCode"], 0)
    r, _ = described(s, "unknown kind", 77, "x")
    s.check("unknown kind", r["errorCode"], 42)


LEVELS = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}


def levels(s, label, node=2, keys=None):
    _, got = described(s, label, LOGGER, str(node), keys, node,
                       s.version if s.api == "DescribeConfigs" else 1)
    return {name: c["value"] for name, c in got.items()}


@covers("DescribeConfigs")
def describe_loggers(s, v):
    if s.place != "broker":
        return
    r, got = described(s, "loggers", LOGGER, "2", node=2,
                       includeSynonyms=True, includeDocumentation=True)
    s.check("loggers: error", (r["errorCode"], bool(r["errorMessage"])),
            (0, False))
    s.true("loggers: their levels", {"root"} < set(got) and
           {c["value"] for c in got.values()} <= LEVELS, got)
    want = {"name": "root", "value": "INFO", "readOnly": False,
            "isSensitive": False}
    if v == 0:
        want["isDefault"] = False
    else:
        want.update(configSource=6, synonyms=[])
    if v >= 3:
        want.update(configType=0, documentation=None)
    s.check("loggers: root", got["root"], want)
    if s.ours:
        s.check("loggers: names", sorted(got), [
            "cleaner", "controller", "groups", "log", "raft", "replica",
            "root", "server", "share", "transactions"])
        s.check("loggers: root's level", set(levels(s, "all").values()),
                {"INFO"})
    s.check("loggers: one", list(levels(s, "one", keys=["root", "no.such"])),
            ["root"])
    for label, name in (("another's loggers", "3"), ("nobody's loggers", ""),
                        ("loggers of no number", "x")):
        r, got = described(s, label, LOGGER, name, node=2)
        s.check(label, (r["errorCode"], bool(r["errorMessage"]), got),
                (42, True, {}))


def value_of(s, topic, key):
    """(value, source) at every node, once they agree."""
    def agreed():
        seen = set()
        for n in s.nodes:
            a = s.call(n, "DescribeConfigs", 1, resources=[{
                "resourceType": TOPIC, "resourceName": topic,
                "configurationKeys": [key]}])
            c = a["results"][0]["configs"][0]
            seen.add((c["value"], c["configSource"]))
        return seen.pop() if len(seen) == 1 else None
    return wait_for("the same %s everywhere" % key, agreed)


def settled_value(s, label, topic, key, want):
    got = []

    def there():
        got[:] = [value_of(s, topic, key)]
        return got[0] == want
    try:
        wait_for(label, there, 5)
    finally:
        s.check(label, got[0], want)


@covers("AlterConfigs")
def alter_configs(s, v):
    topic = s.topic("t", 1, {"retention.ms": "5", "segment.ms": "99999"})

    def ask(label, want, configs, kind=TOPIC, name=topic, **more):
        node = int(name) if kind == BROKER and name.isdigit() else 2
        a = s.ask(label, node, resources=[{
            "resourceType": kind, "resourceName": name, "configs": [
                {"name": k, "value": x} for k, x in configs]}], **more)
        r = a["responses"][0]
        s.check(label, (r["errorCode"], r["resourceType"],
                        r["resourceName"]), (want, kind, name))
        s.check(label + ": why", bool(r["errorMessage"]), bool(want))

    ask("only validated", 0, [("retention.ms", "6")], validateOnly=True)
    s.check("only validated: as before", value_of(s, topic, "retention.ms"),
            ("5", 1))
    ask("replaces all", 0, [("retention.ms", "7")])
    settled_value(s, "replaces all: set", topic, "retention.ms", ("7", 1))
    settled_value(s, "replaces all: gone", topic, "segment.ms",
                  ("604800000", 5))
    ask("a wrong value", 40, [("retention.ms", "soon")])
    ask("an unknown config", 40, [("no.such", "1")])
    ask("a null value", 42, [("retention.ms", None)])
    ask("unknown topic", 3, [("retention.ms", "1")], name=topic + "-no")
    ask("unknown kind", 42, [("a", "1")], kind=77, name="x")
    ask("a broker that is none", 42, [("log.retention.ms", "1")],
        kind=BROKER, name="x")
    settled_value(s, "as before", topic, "retention.ms", ("7", 1))
    ask("loggers", 42, [("root", "INFO")], kind=LOGGER, name="2")
    ask("a broker", 0, [("log.retention.ms", "2000")], kind=BROKER, name="3")
    ask("a broker, back", 0, [], kind=BROKER, name="3")


@covers("IncrementalAlterConfigs")
def incremental_alter_configs(s, v):
    topic = s.topic("t", 1, {"retention.ms": "5", "segment.ms": "99999"})

    def ask(label, want, configs, kind=TOPIC, name=topic, **more):
        node = int(name) if kind == BROKER and name.isdigit() else 2
        a = s.ask(label, node, resources=[{
            "resourceType": kind, "resourceName": name, "configs": [
                {"name": k, "configOperation": o, "value": x}
                for k, o, x in configs]}], **more)
        r = a["responses"][0]
        s.check(label, (r["errorCode"], r["resourceType"],
                        r["resourceName"]), (want, kind, name))
        s.check(label + ": why", bool(r["errorMessage"]), bool(want))

    ask("only validated", 0, [("retention.ms", SET, "6")], validateOnly=True)
    s.check("only validated: as before", value_of(s, topic, "retention.ms"),
            ("5", 1))
    ask("sets and deletes", 0, [("retention.ms", SET, "7"),
                                ("segment.ms", DELETE, None)])
    settled_value(s, "sets", topic, "retention.ms", ("7", 1))
    settled_value(s, "deletes", topic, "segment.ms", ("604800000", 5))
    ask("appends", 0, [("cleanup.policy", APPEND, "compact")])
    settled_value(s, "appends: to the default", topic, "cleanup.policy",
                  ("delete,compact", 1))
    ask("subtracts", 0, [("cleanup.policy", SUBTRACT, "delete")])
    settled_value(s, "subtracts: from the override", topic, "cleanup.policy",
                  ("compact", 1))
    ask("appends to no list", 40, [("retention.ms", APPEND, "1")])
    ask("unknown operation", 42, [("retention.ms", 9, "1")])
    ask("twice the same", 42, [("retention.ms", SET, "1"),
                               ("retention.ms", SET, "2")])
    ask("a wrong value", 40, [("retention.ms", SET, "soon")])
    ask("an unknown config", 40, [("no.such", SET, "1")])
    ask("a null value", 42, [("retention.ms", SET, None)])
    ask("deletes what is not set", 0, [("max.message.bytes", DELETE, None)])
    ask("unknown topic", 3, [("retention.ms", SET, "1")], name=topic + "-no")
    ask("unknown kind", 42, [("a", SET, "1")], kind=77, name="x")
    ask("a read-only broker config", 42, [("node.id", SET, "9")],
        kind=BROKER, name="1")
    a = s.ask("twice the same resource", 2, resources=[{
        "resourceType": TOPIC, "resourceName": topic, "configs": [{
            "name": "retention.ms", "configOperation": SET, "value": "1"}]}]
        * 2)
    s.check("twice the same resource", [r["errorCode"]
                                        for r in a["responses"]], [42, 42])
    settled_value(s, "as before", topic, "retention.ms", ("7", 1))
    ask("one broker", 0, [("log.retention.ms", SET, "2000")], BROKER, "3")
    ask("all brokers", 0, [("log.retention.ms", SET, "3000")], BROKER, "")
    sources(s)
    ask("one broker, back", 0, [("log.retention.ms", DELETE, None)],
        BROKER, "3")
    ask("all brokers, back", 0, [("log.retention.ms", DELETE, None)],
        BROKER, "")


def sources(s):
    """The broker's own value, the cluster's and the default, in order."""
    want = [("log.retention.ms", "2000", 2), ("log.retention.ms", "3000", 3),
            ("log.retention.hours", "168", 5)]

    def there():
        a = s.call(3, "DescribeConfigs", 1, includeSynonyms=True, resources=[
            {"resourceType": BROKER, "resourceName": "3",
             "configurationKeys": ["log.retention.ms"]}])
        got[:] = [(x["name"], x["value"], x["source"]) for x in
                  a["results"][0]["configs"][0]["synonyms"]]
        return got == want
    got = []
    try:
        wait_for("the sources", there, 5)
    finally:
        s.check("sources of a broker's config", got, want)


def change(s, kind, name, key, value):
    """Sets one config, or deletes it, and says what the server says."""
    a = s.call(2, "IncrementalAlterConfigs", 1, resources=[{
        "resourceType": kind, "resourceName": name, "configs": [{
            "name": key, "configOperation": DELETE if value is None else SET,
            "value": value}]}])
    return a["responses"][0]["errorCode"]


@covers("IncrementalAlterConfigs")
def groups_and_subscriptions(s, v):
    group, metrics = s.name("group"), s.name("metrics")

    def ask(label, want, kind, name, configs):
        a = s.ask(label, 2, resources=[{
            "resourceType": kind, "resourceName": name, "configs": [
                {"name": k, "configOperation": SET, "value": x}
                for k, x in configs]}])
        r = a["responses"][0]
        s.check(label, (r["errorCode"], bool(r["errorMessage"])),
                (want, bool(want)))

    def shown(kind, name, key):
        a = s.call(2, "DescribeConfigs", 4, includeSynonyms=True, resources=[{
            "resourceType": kind, "resourceName": name,
            "configurationKeys": [key]}])
        return [(c["value"], c["configSource"], c["readOnly"], [
            (x["name"], x["value"], x["source"]) for x in c["synonyms"]])
            for c in a["results"][0]["configs"]]

    def settled(label, want, *what):
        got = []

        def there():
            got[:] = [shown(*what)]
            return got[0] == want
        try:
            wait_for(label, there, 5)
        finally:
            s.check(label, got[0], want)

    key = "consumer.session.timeout.ms"
    ask("a group", 0, GROUP, group, [(key, "50000")])
    default = ("group." + key, "45000", 5)
    settled("a group's own", [("50000", 8, False, [(key, "50000", 8),
                                                   default])],
            GROUP, group, key)
    settled("another's", [("45000", 5, False, [default])],
            GROUP, group + "-no", key)
    ask("below the broker's limit", 40, GROUP, group, [(key, "44999")])
    ask("above it", 40, GROUP, group, [(key, "60001")])
    ask("no number", 40, GROUP, group, [(key, "soon")])
    ask("unknown key of a group", 40, GROUP, group, [("no.such", "1")])
    ask("no group", 42, GROUP, "", [(key, "50000")])
    ask("a subscription", 0, METRICS, metrics, [
        ("interval.ms", "1000"), ("match", "client_id=a.*")])
    settled("a subscription's", [("1000", 7, False, [
        ("interval.ms", "1000", 7)])], METRICS, metrics, "interval.ms")
    settled("what it has not set", [("", 5, False, [("metrics", "", 5)])],
            METRICS, metrics, "metrics")
    ask("too often", 42, METRICS, metrics, [("interval.ms", "99")])
    ask("unknown key of a subscription", 42, METRICS, metrics,
        [("no.such", "1")])
    ask("no such match", 40, METRICS, metrics, [("match", "colour=red")])
    ask("no subscription", 42, METRICS, "", [("interval.ms", "1000")])
    kinds = {(r["resourceType"], r["resourceName"]) for r in s.call(
        2, "ListConfigResources", 1, resourceTypes=[])["configResources"]}
    s.true("listed", {(GROUP, group), (METRICS, metrics)} <= kinds, kinds)
    for kind, name, key in ((GROUP, group, key),
                            (METRICS, metrics, "interval.ms"),
                            (METRICS, metrics, "match")):
        s.check("back: " + key, change(s, kind, name, key, None), 0)
    settled("back", [("300000", 5, False, [("interval.ms", "300000", 5)])],
            METRICS, metrics, "interval.ms")


@covers("IncrementalAlterConfigs")
def alter_loggers(s, v):
    if s.place != "broker" or not s.ours:
        return  # another's loggers have other names

    def resource(configs, kind=LOGGER, name="2"):
        return {"resourceType": kind, "resourceName": name, "configs": [
            {"name": k, "configOperation": o, "value": x}
            for k, o, x in configs]}

    def ask(label, want, *resources, **more):
        a = s.ask(label, 2, resources=list(resources), **more)
        s.check(label, [(r["resourceType"], r["resourceName"], r["errorCode"])
                        for r in a["responses"]],
                [(r["resourceType"], r["resourceName"], code)
                 for r, code in zip(resources, want)])
        s.check(label + ": why", [bool(r["errorMessage"])
                                  for r in a["responses"]],
                [code != 0 for code in want])

    def shown(label, want):
        got = levels(s, label)
        s.check(label, {n: level for n, level in got.items()
                        if level != "INFO"}, want)

    ask("only validated", [0], resource([("raft", SET, "WARN")]),
        validateOnly=True)
    shown("only validated: as before", {})
    ask("some loggers", [0], resource([("raft", SET, "WARN"),
                                       ("share", SET, "DEBUG")]))
    shown("some loggers: set", {"raft": "WARN", "share": "DEBUG"})
    s.check("this node's only", set(levels(s, "another's", 3).values()),
            {"INFO"})
    ask("root's", [0], resource([("root", SET, "ERROR"),
                                 ("share", DELETE, None)]))
    got = levels(s, "all but one have root's")
    s.check("all but one have root's", {n for n, level in got.items()
                                        if level != "ERROR"}, {"raft"})
    ask("root's, back", [0], resource([("root", SET, "INFO"),
                                       ("raft", DELETE, "")]))
    shown("back", {})
    for label, want, configs in (
            ("an unknown logger", 40, [("no.such", SET, "INFO")]),
            ("no name", 40, [("", SET, "INFO")]),
            ("an unknown one's deletion", 40, [("no.such", DELETE, None)]),
            ("an unknown level", 40, [("raft", SET, "LOUD")]),
            ("a level in small letters", 40, [("raft", SET, "debug")]),
            ("no level", 42, [("raft", SET, None)]),
            ("root's deletion", 42, [("root", DELETE, None)]),
            ("appends", 42, [("raft", APPEND, "WARN")]),
            ("subtracts", 42, [("raft", SUBTRACT, "INFO")]),
            ("an unknown operation", 42, [("raft", 9, "WARN")]),
            ("a logger twice", 42, [("raft", SET, "WARN"),
                                    ("raft", SET, "WARN")]),
            ("one that is wrong", 40, [("raft", SET, "WARN"),
                                       ("groups", SET, "warn")])):
        ask(label, [want], resource(configs))
    for name in ("3", "", "x", "02"):
        ask("loggers of node '%s'" % name, [42],
            resource([("raft", SET, "WARN")], name=name))
    ask("twice the same node's", [42, 42], resource([("raft", SET, "WARN")]),
        resource([("log", SET, "WARN")]))
    shown("refused: as before", {})

    topic = s.topic("lt", 1)
    mixed = [resource([("retention.ms", SET, "7")], TOPIC, topic),
             resource([("raft", SET, "WARN")]),
             resource([("retention.ms", SET, "7")], TOPIC, topic + "-no")]
    ask("with others", [0, 0, 3], *mixed, validateOnly=True)
    shown("with others: validated", {})
    ask("with others", [0, 0, 3], *mixed)
    shown("with others: set", {"raft": "WARN"})
    settled_value(s, "with others: a topic", topic, "retention.ms", ("7", 1))
    ask("with others, back", [3, 40, 0],
        resource([("retention.ms", SET, "7")], TOPIC, topic + "-no"),
        resource([("raft", SET, "warn")], name="2"),
        resource([("retention.ms", DELETE, None)], TOPIC, topic))
    ask("back", [0], resource([("raft", DELETE, None)]))
    shown("all is back", {})


@covers("IncrementalAlterConfigs")
def of_a_listener(s, v):
    """listener.name.NAME.KEY counts before KEY, wherever they are set."""
    if v != 1 or s.place != "broker" or not s.ours:
        return
    key = "max.connections"
    own = "listener.name.plaintext." + key

    def settled(label, value, source, synonyms):
        def there():
            a = s.call(3, "DescribeConfigs", 4, includeSynonyms=True,
                       resources=[{"resourceType": BROKER, "resourceName": "3",
                                   "configurationKeys": [own]}])
            got[:] = [(c["value"], c["configSource"], c["configType"],
                       c["isSensitive"],
                       [(x["name"], x["value"], x["source"])
                        for x in c["synonyms"]])
                      for c in a["results"][0]["configs"]]
            return got == want
        got, want = [], [(value, source, 3, False, synonyms)]
        try:
            wait_for(label, there, 5)
        finally:
            s.check(label, got, want)

    default = [(key, "2147483647", 5)]
    file = [(own, "100000", 4)]
    settled("the file's", "100000", 4, file + default)
    s.check("for all", change(s, BROKER, "", own, "90000"), 0)
    s.check("for one", change(s, BROKER, "3", own, "80000"), 0)
    s.check("all listeners", change(s, BROKER, "3", key, "70000"), 0)
    settled("changed", "80000", 2, [(own, "80000", 2), (key, "70000", 2),
                                    (own, "90000", 3)] + file + default)
    for label, value in (("nobody", "0"), ("fewer", "-1"), ("some", "some")):
        s.check(label, change(s, BROKER, "3", own, value), 42)
    s.check("a listener of nobody's", change(
        s, BROKER, "3", "listener.name.nobody." + key, "1"), 0)
    for name, k in (("3", "listener.name.nobody." + key), ("3", key),
                    ("3", own), ("", own)):
        s.check("back", change(s, BROKER, name, k, None), 0)
    settled("as before", "100000", 4, file + default)


@covers("IncrementalAlterConfigs")
def while_it_runs(s, v):
    """Keys of brokers that count at once."""
    if v != 1 or s.place != "broker" or not s.ours:
        return
    topic = s.topic("live", 1)

    def produce():
        try:
            s.produce(topic, 0, records.batch([(None, b"x" * 3000)]))
            return True
        except Wrong:
            return False

    def room(address, want):
        """Whether one more connection from there is served."""
        c = wire.Connection(*s.nodes[3], source=address)
        try:
            c.call("ApiVersions", 0, {})
            got = True
        except OSError:
            got = False
        if got != want or not got:
            c.close()
        return c if got and want else got == want

    s.true("a batch", produce())
    s.check("message.max.bytes", change(s, BROKER, "1", "message.max.bytes",
                                        "2000"), 0)
    wait_for("a batch that is too large", lambda: not produce(), 5)
    s.check("back", change(s, BROKER, "1", "message.max.bytes", None), 0)
    wait_for("one that is not", produce, 5)

    key = "max.connections.per.ip.overrides"
    s.check("one connection", change(s, BROKER, "3", key, "127.0.0.2:1"), 0)
    first = []

    def refuses():
        """A first one has room, a second has none."""
        if not first:
            first.append(room("127.0.0.2", True))
        return room("127.0.0.2", False)
    wait_for("no room for a second", refuses, 5)
    s.check("back", change(s, BROKER, "3", key, None), 0)
    second = wait_for("room again", lambda: room("127.0.0.2", True), 5)
    for c in first + [second]:
        c.close()


@covers("ListConfigResources")
def list_config_resources(s, v):
    a = s.ask("client metrics", 1, resourceTypes=[METRICS])
    s.check("client metrics", (a["errorCode"], a["configResources"]), (0, []))
    if v < 1:
        return
    topic = s.topic("t", 1)

    def find(label, kinds):
        a = s.call(1, "ListConfigResources", 1, resourceTypes=kinds)
        s.check(label + ": error", a["errorCode"], 0)
        return {(r["resourceType"], r["resourceName"])
                for r in a["configResources"]}

    brokers = {(BROKER, str(n)) for n in s.nodes}
    s.true("topics", (TOPIC, topic) in find("topics", [TOPIC]))
    got = find("brokers", [BROKER])
    s.true("brokers", brokers <= got, got)
    loggers = {(LOGGER, str(n)) for n in s.nodes}
    got = find("loggers", [LOGGER])
    s.check("loggers", got, loggers)
    got = find("everything", [])
    s.true("everything", brokers | loggers | {(TOPIC, topic)} <= got, got)
    a = s.ask("unknown kind", 1, resourceTypes=[77])
    s.check("unknown kind", (a["errorCode"], a["configResources"]), (35, []))


# ---- cluster and quorum ---------------------------------------------------


@covers("DescribeCluster")
def describe_cluster(s, v):
    kind = 1 if s.place == "broker" else 2
    a = s.ask("the cluster", 1, endpointType=kind)
    s.check("error", (a["errorCode"], a["errorMessage"]), (0, None))
    s.true("cluster id", len(a["clusterId"]) == 22, a["clusterId"])
    nodes = s.nodes if s.place == "broker" else s.controllers
    if s.place == "broker" or v >= 1:
        s.check("nodes", sorted((b["brokerId"], (b["host"], b["port"]))
                                for b in a["brokers"]), sorted(nodes.items()))
    s.check("racks", {b["rack"] for b in a["brokers"]}, {None})
    s.true("controller", a["controllerId"] in s.nodes, a["controllerId"])
    s.check("operations", a["clusterAuthorizedOperations"], INT_MIN)
    if v >= 1:
        s.check("kind", a["endpointType"], kind)
    if v >= 2:
        s.check("fenced", [b["isFenced"] for b in a["brokers"]], [False] * 3)
    a = s.ask("operations", 1, endpointType=kind,
              includeClusterAuthorizedOperations=True)
    s.check("operations, asked for", a["clusterAuthorizedOperations"],
            BITS_CLUSTER)
    if s.place == "controller":
        s.anywhere = True
        for node in s.controllers:
            a = s.ask("controller %d" % node, node, endpointType=kind)
            s.check("every controller answers", (
                a["errorCode"], a["controllerId"]), (0, s.active()))
        s.anywhere = False
    if v >= 1:
        a = s.ask("the other kind", 1, endpointType=3 - kind)
        s.check("the other kind", a["errorCode"], 114)
        a = s.ask("no such kind", 1, endpointType=9)
        s.check("no such kind", a["errorCode"], 115)


@covers("DescribeQuorum")
def describe_quorum(s, v):
    def ask(label, topic="__cluster_metadata", index=0):
        return s.ask(label, 2, topics=[{"topicName": topic, "partitions": [
            {"partitionIndex": index}]}])

    a = ask("the quorum")
    s.check("error", a["errorCode"], 0)
    p = a["topics"][0]["partitions"][0]
    s.check("topic", (a["topics"][0]["topicName"], p["partitionIndex"],
                      p["errorCode"]), ("__cluster_metadata", 0, 0))
    s.true("leader", p["leaderId"] in s.nodes and p["leaderEpoch"] > 0, p)
    s.check("voters", sorted(r["replicaId"] for r in p["currentVoters"]),
            [1, 2, 3])
    s.true("high watermark", 0 < p["highWatermark"] <= max(
        r["logEndOffset"] for r in p["currentVoters"]), p)
    if v >= 1:
        s.true("times", all(r["lastCaughtUpTimestamp"] > 0
                            for r in p["currentVoters"]), p)
    if v >= 2:
        s.check("nodes", sorted(n["nodeId"] for n in a["nodes"]), [1, 2, 3])
        s.check("listeners", {x["name"] for n in a["nodes"]
                              for x in n["listeners"]}, {"CONTROLLER"})
        if s.controllers:
            s.check("addresses", sorted(
                (n["nodeId"], (x["host"], x["port"])) for n in a["nodes"]
                for x in n["listeners"]), sorted(s.controllers.items()))
    a = ask("another topic", "no-such")
    b = ask("another partition", index=5)
    s.check("another topic", a["topics"][0]["partitions"][0]["errorCode"]
            if a["topics"] else a["errorCode"], 3)
    s.check("another partition", b["topics"][0]["partitions"][0]["errorCode"]
            if b["topics"] else b["errorCode"], 3)


# ---- who votes ------------------------------------------------------------


def voters(s):
    a = s.call(1, "DescribeQuorum", 0, topics=[{
        "topicName": "__cluster_metadata",
        "partitions": [{"partitionIndex": 0}]}])
    return {r["replicaId"] for r in
            a["topics"][0]["partitions"][0]["currentVoters"]}


def listener(host, port, name="CONTROLLER"):
    return [{"name": name, "host": host, "port": port}]


def add_back(s, node):
    s.call(1, "AddRaftVoter", clusterId=None, timeoutMs=10000, voterId=node,
           voterDirectoryId=bytes([node] * 16),
           listeners=listener(*s.controllers[node]))
    s.check("it votes again", voters(s), {1, 2, 3})


@covers("AddRaftVoter")
def add_raft_voter(s, v):
    def ask(label, **fields):
        given = {"clusterId": None, "timeoutMs": 10000, "voterId": 9,
                 "voterDirectoryId": b"9" * 16,
                 "listeners": listener("127.0.0.1", 1), **fields}
        return s.ask(label, 2, **given)["errorCode"]

    s.check("another cluster", ask("another cluster", clusterId="x"), 104)
    s.check("no voter", ask("no voter", voterId=-1), 42)
    s.check("no directory", ask("no directory",
                                voterDirectoryId=bytes(16)), 42)
    s.check("no address", ask("no address", listeners=[]), 42)
    s.check("another listener", ask("another listener", listeners=listener(
        "127.0.0.1", 1, "PLAINTEXT")), 42)
    s.check("a voter", ask("a voter", voterId=2), 126)
    if not s.ours or not s.controllers:
        return
    s.check("nobody there", ask("nobody there", timeoutMs=200), 7)
    node = min({1, 2, 3} - {s.active()})
    s.check("removed", s.call(1, "RemoveRaftVoter", clusterId=None,
                              voterId=node, voterDirectoryId=bytes(
                                  [node] * 16))["errorCode"], 0)
    s.check("it does not vote", voters(s), {1, 2, 3} - {node})
    more = {"ackWhenCommitted": False} if v >= 1 else {}
    s.check("added", ask("added", voterId=node, voterDirectoryId=bytes(
        [node] * 16), listeners=listener(*s.controllers[node]), **more), 0)
    wait_for("its vote", lambda: voters(s) == {1, 2, 3})


@covers("RemoveRaftVoter")
def remove_raft_voter(s, v):
    def ask(label, **fields):
        given = {"clusterId": None, "voterId": 9,
                 "voterDirectoryId": b"9" * 16, **fields}
        return s.ask(label, 2, **given)["errorCode"]

    s.check("another cluster", ask("another cluster", clusterId="x"), 104)
    s.check("no voter", ask("no voter", voterId=-1), 42)

    def in_turn(label, **fields):  # the change before it may not be over
        codes = []

        def is_its_turn():
            codes.append(ask(label, **fields))
            return codes[-1] != 7

        wait_for("a change of voters", is_its_turn)
        return codes[-1]

    s.check("unknown", in_turn("unknown"), 127)
    if not s.ours or not s.controllers:
        return
    node = s.active()
    s.check("the active one", in_turn("the active one", voterId=node,
                                      voterDirectoryId=bytes([node] * 16)), 0)
    wait_for("another leader", lambda: s.active() not in (-1, node))
    s.check("it does not vote", voters(s), {1, 2, 3} - {node})
    add_back(s, node)


@covers("UpdateRaftVoter")
def update_raft_voter(s, v):
    a = s.call(1, "DescribeQuorum", 0, topics=[{
        "topicName": "__cluster_metadata",
        "partitions": [{"partitionIndex": 0}]}])
    epoch = a["topics"][0]["partitions"][0]["leaderEpoch"]

    def ask(label, **fields):
        given = {"clusterId": None, "currentLeaderEpoch": epoch, "voterId": 9,
                 "voterDirectoryId": b"9" * 16,
                 "listeners": listener("127.0.0.1", 1), **fields}
        return s.ask(label, 2, **given)["errorCode"]

    s.check("another cluster", ask("another cluster", clusterId="x"), 104)
    s.check("an old epoch", ask("an old epoch", currentLeaderEpoch=0), 74)
    s.check("a future epoch", ask("a future epoch",
                                  currentLeaderEpoch=epoch + 1), 75)
    s.check("no address", ask("no address", listeners=[]), 42)
    s.check("unknown", ask("unknown"), 127)
    if s.ours:
        node = min({1, 2, 3} - {s.active()})
        s.check("where it is", ask("where it is", voterId=node,
                                   voterDirectoryId=bytes([node] * 16),
                                   listeners=listener(
                                       *s.controllers[node])), 0)
        s.check("it votes", voters(s), {1, 2, 3})
