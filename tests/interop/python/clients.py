"""The checks that every Python client has in common.

A client is a few functions; its suite gives them to `suite`:

  create(topic)                     three partitions, three replicas
  produce(topic, numbers, codec)    records with keys and a header `number`
  consume(group, topic, count)      a list of (partition, offset, key, value,
                                    headers), committed before it returns
  Member(group, topic)              a member of a group that reads until
                                    leave(); it has `seen`, a set of keys, and
                                    `owned`, how many partitions it has
"""

from suite import PARTITIONS, RECORDS, RUN, Ledger, Wrong, check, equal
from suite import key, until


def header(i):
    return [("number", b"%d" % i)]


def topic_name(client, what):
    return "%s-%s-%s" % (client, what, RUN)


def follow(ledger, records):
    for partition, _, k, v, headers in records:
        ledger.add(partition, k, v, headers)


def suite(name, create, produce, consume, member, codecs):
    topic = topic_name(name, "records")

    def produce_all():
        create(topic)
        produce(topic, range(RECORDS), "none")

    def compressions():
        other = topic_name(name, "compressed")
        create(other)
        for n, codec in enumerate(codecs):
            produce(other, range(n * 600, n * 600 + 600), codec)
        count = len(codecs) * 600
        ledger = Ledger(headers=header)
        follow(ledger, consume(topic_name(name, "compressed"), other, count))
        return "%s: %d records" % (", ".join(codecs), ledger.count)

    def resume():
        group = topic_name(name, "resume")
        ledger = Ledger(headers=header)
        follow(ledger, consume(group, topic, 4000))
        before = ledger.count
        follow(ledger, consume(group, topic, RECORDS - before))
        equal(ledger.count, RECORDS, "records")
        return "%d then %d records, complete and in order" % (
            before, RECORDS - before)

    def share(*members):
        owned = [m.owned for m in members]
        return sum(owned) == PARTITIONS and all(owned)

    def rebalance(**options):
        group = topic_name(name, "-".join(["rebalance", *options.values()]))
        create(group)
        members = [member(group, group, **options)]

        def seen():
            for m in members:
                if m.error:
                    raise Wrong("a member ended: %r" % m.error)
            return len(set().union(*(m.seen for m in members)))

        try:
            until(lambda: share(members[0]), 40, "the first has not all")
            members.append(member(group, group, **options))
            until(lambda: share(*members), 40, "they do not share")
            produce(group, range(300), "none")
            until(lambda: seen() == 300, 40, lambda: "%d of 300" % seen())
            if not all(m.seen for m in members):
                raise Wrong("one member read nothing")
            members[1].leave()
            until(lambda: share(members[0]), 40, "the first has not all")
            produce(group, range(300, 600), "none")
            until(lambda: seen() == 600, 40, lambda: "%d of 600" % seen())
            equal(set().union(*(m.seen for m in members)),
                  {key(i) for i in range(600)}, "keys")
            return "%d and %d records" % tuple(len(m.seen) for m in members)
        finally:
            for m in members:
                m.leave()

    check("writes 10,000 records with keys and headers", produce_all,
          vital=True)
    check("resumes from committed offsets", resume)
    check("all compressions come back in order", compressions)
    check("a group rebalances when a second member joins and leaves",
          rebalance)
    return rebalance
