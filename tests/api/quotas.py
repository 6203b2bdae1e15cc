"""Client quotas: what is kept, and clients that are above them."""

import time

import records
import wire
from sweep import Wrong, covers, wait_for

PRODUCE, FETCH = "producer_byte_rate", "consumer_byte_rate"
REQUEST, MUTATION = "request_percentage", "controller_mutation_rate"
CONNECTION = "connection_creation_rate"
EXACT, DEFAULT, ANY = 0, 1, 2


def entity(**parts):
    return [{"entityType": k.replace("_", "-"), "entityName": v}
            for k, v in parts.items()]


def set_to(key, value):
    return {"key": key, "value": value, "remove": False}


def unset(key):
    return {"key": key, "value": 0.0, "remove": True}


def kept(s, **parts):
    """Values of exactly this entity, by every node once they agree."""
    def agreed():
        seen = []
        for node in s.nodes:
            a = s.call(node, "DescribeClientQuotas", 1, strict=True,
                       components=[{
                           "entityType": k.replace("_", "-"),
                           "matchType": DEFAULT if v is None else EXACT,
                           "match": v} for k, v in parts.items()])
            seen.append([{x["key"]: x["value"] for x in e["values"]}
                         for e in a["entries"]])
        return seen[0] if all(x == seen[0] for x in seen) else None
    got = []

    def look():
        got[:] = [agreed()]
        return got[0] is not None
    wait_for("the same quotas everywhere", look)
    return got[0][0] if got[0] else {}


def settled(s, label, want, **parts):
    got = []

    def there():
        got[:] = [kept(s, **parts)]
        return got[0] == want
    try:
        wait_for(label, there, 5)
    finally:
        s.check(label, got[0], want)


def alter(s, parts, *ops):
    a = s.call(1, "AlterClientQuotas", 1, validateOnly=False, entries=[
        {"entity": parts, "ops": list(ops)}])
    if a["entries"][0]["errorCode"]:
        raise Wrong("cannot set a quota: %s" % (a,))


@covers("AlterClientQuotas")
def alter_client_quotas(s, v):
    user, client = "u" + s.name(""), "c %;" + s.name("")

    def ask(label, want, entries, only=False):
        a = s.ask(label, 2, validateOnly=only, entries=[
            {"entity": e, "ops": list(ops)} for e, *ops in entries])
        s.check(label, [e["errorCode"] for e in a["entries"]], want)
        s.check(label + ": why", [bool(e["errorMessage"])
                                  for e in a["entries"]],
                [bool(x) for x in want])
        s.check(label + ": whom", [e["entity"] for e in a["entries"]],
                [e for i, (e, *_) in enumerate(entries)
                 if e not in [x for x, *_ in entries[:i]]])

    both = entity(user=user, client_id=client)
    ask("only validated", [0], [(both, set_to(PRODUCE, 5000.0))], True)
    settled(s, "nothing yet", {}, user=user, client_id=client)
    ask("two entities", [0, 0], [
        (both, set_to(PRODUCE, 5000.0), set_to(REQUEST, 12.5)),
        (entity(user=user), set_to(FETCH, 7.0), set_to(MUTATION, 0.5))])
    settled(s, "both", {PRODUCE: 5000.0, REQUEST: 12.5}, user=user,
            client_id=client)
    settled(s, "the user", {FETCH: 7.0, MUTATION: 0.5}, user=user)
    ask("one changes, one goes, one was not there", [0], [
        (both, set_to(PRODUCE, 6000.0), unset(REQUEST), unset(FETCH))])
    settled(s, "changed", {PRODUCE: 6000.0}, user=user, client_id=client)
    ask("an address", [0], [(entity(ip="192.0.2.77"),
                             set_to(CONNECTION, 3.0))])
    settled(s, "the address", {CONNECTION: 3.0}, ip="192.0.2.77")
    for label, parts, op in (
            ("nobody", [], set_to(PRODUCE, 1.0)),
            ("an unknown kind", entity(group="g"), set_to(PRODUCE, 1.0)),
            ("a kind twice", entity(user="a") * 2, set_to(PRODUCE, 1.0)),
            ("an empty name", entity(user=""), set_to(PRODUCE, 1.0)),
            ("an address and a user", entity(ip="192.0.2.7", user="a"),
             set_to(CONNECTION, 1.0)),
            ("no address", entity(ip="no such host"), set_to(CONNECTION, 1.0)),
            ("an unknown key", both, set_to("no_such_rate", 1.0)),
            ("a key of addresses", both, set_to(CONNECTION, 1.0)),
            ("a key of clients", entity(ip="192.0.2.7"),
             set_to(PRODUCE, 1.0)),
            ("zero", both, set_to(PRODUCE, 0.0)),
            ("below zero", both, set_to(FETCH, -1.0)),
            ("half a byte", both, set_to(FETCH, 1.5)),
            ("too many bytes", both, set_to(FETCH, 1e19)),
            ("too many connections", entity(ip="192.0.2.7"),
             set_to(CONNECTION, 2.0 ** 31))):
        ask(label, [42], [(parts, op)])
    ask("a key twice", [42], [(both, set_to(PRODUCE, 1.0),
                               set_to(PRODUCE, 2.0))])
    if s.ours:
        ask("an entity twice", [42], [(both, set_to(PRODUCE, 1.0)),
                                      (both, set_to(FETCH, 1.0))])
    ask("one good, one bad", [0, 42], [
        (entity(client_id=client), set_to(PRODUCE, 9.0)),
        (both, set_to(PRODUCE, 8.0), set_to(FETCH, 0.0))])
    settled(s, "the good one", {PRODUCE: 9.0}, client_id=client)
    settled(s, "not the bad one", {PRODUCE: 6000.0}, user=user,
            client_id=client)
    ask("all back", [0, 0, 0, 0], [
        (both, unset(PRODUCE)), (entity(client_id=client), unset(PRODUCE)),
        (entity(user=user), unset(FETCH), unset(MUTATION)),
        (entity(ip="192.0.2.77"), unset(CONNECTION))])
    settled(s, "gone", {}, user=user, client_id=client)


@covers("DescribeClientQuotas")
def describe_client_quotas(s, v):
    user, client = "u" + s.name(""), "c" + s.name("")
    mine = [entity(user=user), entity(client_id=client),
            entity(user=user, client_id=client),
            entity(user=user, client_id=None),
            entity(user=None, client_id=client)]
    for parts in mine:
        alter(s, parts, set_to(PRODUCE, 1e9))
    settled(s, "the last", {PRODUCE: 1e9}, user=None, client_id=client)

    def ask(label, want, *components, strict=False, error=0):
        a = s.ask(label, 1, strict=strict, components=[
            {"entityType": k, "matchType": m, "match": x}
            for k, m, x in components])
        s.check(label + ": error", (a["errorCode"], bool(a["errorMessage"])),
                (error, error != 0))
        if error:
            s.check(label, a["entries"], None)
            return

        def key(parts):
            return sorted((p["entityType"], p["entityName"] or "")
                          for p in parts)
        got = [e for e in a["entries"] if e["entity"] in mine or
               list(reversed(e["entity"])) in mine]
        s.check(label, sorted(key(e["entity"]) for e in got),
                sorted(key(parts) for parts in want))
        s.check(label + ": values", [e["values"] for e in got], [
            [{"key": PRODUCE, "value": 1e9}]] * len(want))

    ask("everything", mine)
    ask("nothing", [], strict=True)
    ask("the user", [mine[0], mine[2], mine[3]], ("user", EXACT, user))
    ask("the user alone", [mine[0]], ("user", EXACT, user), strict=True)
    ask("any client id of the user", [mine[2], mine[3]],
        ("user", EXACT, user), ("client-id", ANY, None))
    ask("the default client id", [mine[3]], ("client-id", DEFAULT, None),
        ("user", EXACT, user))
    ask("any user of the client id", [mine[2], mine[4]],
        ("user", ANY, None), ("client-id", EXACT, client), strict=True)
    ask("nobody", [], ("user", EXACT, "no such"))
    ask("no kind", [], ("", EXACT, "x"), error=42)
    ask("an unknown kind", [], ("group", EXACT, "x"), error=35)
    ask("a kind twice", [], ("user", EXACT, "x"), ("user", EXACT, "y"),
        error=42)
    ask("exactly nothing", [], ("user", EXACT, None), error=42)
    ask("a default with a name", [], ("user", DEFAULT, "x"), error=42)
    ask("any with a name", [], ("user", ANY, "x"), error=42)
    ask("an unknown match", [], ("user", 9, None), error=42)
    ask("an address and a user", [], ("user", ANY, None), ("ip", ANY, None),
        error=42)
    for parts in mine:
        alter(s, parts, unset(PRODUCE))


# ---- above a quota --------------------------------------------------------

BURST_SECONDS = 10  # quota.window.num less one, of a second each


class Client:
    """With a client id of its own, and how long it was told to pause."""

    def __init__(self, s, node, client_id):
        self.connection = wire.Connection(*s.nodes[node], client_id=client_id)

    def call(self, name, version, **fields):
        return self.connection.call(name, version, fields)


def limited(s, rate, **ops):
    """A client id with this quota, known to every node."""
    client_id = s.name("limited")
    alter(s, entity(client_id=client_id), set_to(rate[0], rate[1]))
    settled(s, "the quota is there", {rate[0]: rate[1]}, client_id=client_id)
    return client_id


def pause(s, label, client, told_ms, ask):
    """The next answer comes only once the time is over."""
    began = time.monotonic()
    ask()
    took = time.monotonic() - began
    s.true(label, took > told_ms / 1000 * 0.8 - 0.05,
           "%.2f s instead of %.2f" % (took, told_ms / 1000))


@covers("Produce")
def produce_above_quota(s, v):
    if v != 9 or s.place != "broker":
        return
    topic = s.topic("quota", 1)
    client_id = limited(s, (PRODUCE, 20000.0))
    client = Client(s, 1, client_id)
    # Three are within the burst; the fourth is above it by two seconds.
    batch = records.batch([(None, b"x" * 60000)])

    def produce():
        return client.call("Produce", 9, acks=-1, timeoutMs=20000, topicData=[
            {"name": topic, "partitionData": [
                {"index": 0, "records": batch}]}])

    told = []
    for _ in range(6):
        a = produce()
        s.check("it is appended", a["responses"][0]["partitionResponses"][0]
                ["errorCode"], 0)
        told.append(a["throttleTimeMs"])
        if told[-1]:
            break
    s.check("first a burst", told[:3], [0, 0, 0])
    s.true("then a pause of what is too much", 500 < told[-1] < 6000, told)
    pause(s, "and it is kept", client, told[-1], lambda: client.call(
        "ApiVersions", 0))
    client.connection.close()
    alter(s, entity(client_id=client_id), unset(PRODUCE))


@covers("Fetch")
def fetch_above_quota(s, v):
    if v != 12 or s.place != "broker":
        return
    topic = s.topic("quota", 1)
    # Three are within the burst; the fourth is above it by a second or two.
    for _ in range(6):
        s.produce(topic, 0, records.batch([(None, b"x" * 58000)]))
    client_id = limited(s, (FETCH, 20000.0))
    client = Client(s, 1, client_id)

    def fetch(offset):
        return client.call("Fetch", 12, maxWaitMs=1000, minBytes=1, maxBytes=
                           60000, topics=[{"topic": topic, "partitions": [
                               {"partition": 0, "fetchOffset": offset,
                                "currentLeaderEpoch": -1,
                                "partitionMaxBytes": 60000}]}])
    offset = 0
    for _ in range(6):
        a = fetch(offset)
        if a["throttleTimeMs"]:
            break
        offset += len(records.read(a["responses"][0]["partitions"][0]
                                   ["records"], 2))
    s.true("first a burst", 3 <= offset <= 5, offset)
    s.check("then nothing", a["responses"], [])
    s.true("and a pause", 500 < a["throttleTimeMs"] < 6000,
           a["throttleTimeMs"])
    began = time.monotonic()
    told = a["throttleTimeMs"]
    a = fetch(offset)
    s.true("which is kept", time.monotonic() - began > told / 1000 * 0.8,
           told)
    s.true("and then it goes on", a["responses"] and
           a["responses"][0]["partitions"][0]["records"], a)
    client.connection.close()
    alter(s, entity(client_id=client_id), unset(FETCH))


@covers("CreateTopics")
def create_above_quota(s, v):
    if v not in (5, 7) or s.place != "broker":
        return
    client_id = limited(s, (MUTATION, 0.5))
    client = Client(s, 1, client_id)
    names = [s.name("limited%d" % i) for i in range(3)]

    def create(name, partitions):
        a = client.call("CreateTopics", v, timeoutMs=20000, topics=[{
            "name": name, "numPartitions": partitions,
            "replicationFactor": 1}])
        return a["topics"][0]["errorCode"], a["throttleTimeMs"]

    s.check("a burst", create(names[0], 4), (0, 0))
    error, told = create(names[1], 4)
    s.check("one that passes it is created", error, 0)
    if v < 6:
        s.true("older versions are told to pause", 2000 < told < 5100, told)
    else:
        error, told = create(names[2], 1)
        s.check("newer ones are refused the next", error, 89)
        s.true("and told how long to pause", 2000 < told < 5100, told)
    client.connection.close()
    alter(s, entity(client_id=client_id), unset(MUTATION))


@covers("AlterClientQuotas")
def connections_above_quota(s, v):
    if v != 1 or s.place != "broker" or not s.ours:
        return
    address = "127.0.0.3"

    def connect():
        c = wire.Connection(*s.nodes[2], source=address)
        try:
            c.call("ApiVersions", 0, {})
            return True
        except OSError:
            return False
        finally:
            c.close()
    alter(s, entity(ip=address), set_to(CONNECTION, 1.0))
    settled(s, "the quota is there", {CONNECTION: 1.0}, ip=address)
    served = 0
    while served < 30 and connect():
        served += 1
    s.true("a burst, then no more", BURST_SECONDS - 2 <= served <= 20, served)
    s.true("one a second later", wait_for("room", connect, 5))
    alter(s, entity(ip=address), unset(CONNECTION))
    settled(s, "no quota", {}, ip=address)
    s.check("any number again", [connect() for _ in range(15)], [True] * 15)
