"""Topics that cannot be."""

import wire
from world import expect, expect_equal

BAD_NAMES = ("", ".", "..", "a/b", "../../etc", "a b", "a:b", "a\0b", "ä",
             "x" * 250, "a\nb", "*")


def invalid_names(cluster):
    with cluster.connect() as c:
        for name in BAD_NAMES:
            expect_equal(c.create(name), wire.INVALID_TOPIC_EXCEPTION,
                         "creating %r" % name[:20])


def longest_valid_name(cluster):
    name = "x" * 249
    cluster.create(name)
    cluster.produce(name, [b"works"])


def names_that_differ_only_in_dots_and_underscores(cluster):
    cluster.create("same.name")
    with cluster.connect() as c:
        expect_equal(c.create("same_name"), wire.INVALID_TOPIC_EXCEPTION,
                     "creating same_name beside same.name")


def invalid_names_are_not_created_by_asking_for_them(cluster):
    with cluster.connect() as c:
        for name in BAD_NAMES[1:]:
            error, _ = c.metadata([name])[name]
            expect_equal(error, wire.INVALID_TOPIC_EXCEPTION,
                         "metadata of %r" % name[:20])


def name_that_is_not_utf_8(cluster):
    with cluster.connect() as c:
        body = wire.array([wire.string(b"\xff\xfe")])
        try:
            c.call(wire.METADATA, 1, body)
        except wire.Closed:
            pass


def replication_factor_above_the_brokers(cluster):
    with cluster.connect() as c:
        for replicas in (4, 100, 32767):
            expect_equal(c.create("many-replicas", replicas=replicas),
                         wire.INVALID_REPLICATION_FACTOR,
                         "creating with %d replicas" % replicas)


def replication_factor_below_one(cluster):
    with cluster.connect() as c:
        for replicas in (0, -2, -32768):
            expect_equal(c.create("no-replicas", replicas=replicas),
                         wire.INVALID_REPLICATION_FACTOR,
                         "creating with %d replicas" % replicas)


def partitions_below_one(cluster):
    with cluster.connect() as c:
        for partitions in (0, -2, -2**31):
            expect_equal(c.create("no-partitions", partitions=partitions),
                         wire.INVALID_PARTITIONS,
                         "creating with %d partitions" % partitions)


def more_partitions_than_one_request_may_make(cluster):
    before = cluster.memory_mb(1)
    with cluster.connect() as c:
        for partitions in (10001, 1000000, 2**31 - 1):
            error = c.create("many-partitions", partitions=partitions)
            expect(error in (wire.INVALID_PARTITIONS, wire.POLICY_VIOLATION,
                             wire.INVALID_REQUEST), "creating with",
                   partitions, "partitions answers", error)
    expect(cluster.memory_mb(1) < before + 100, "it took memory")


def same_topic_twice_in_one_request(cluster):
    with cluster.connect() as c:
        expect_equal(c.create("twice", copies=2), wire.INVALID_REQUEST,
                     "creating twice")


def topic_that_exists(cluster):
    cluster.create("exists")
    with cluster.connect() as c:
        expect_equal(c.create("exists"), wire.TOPIC_ALREADY_EXISTS,
                     "creating again")


def configs_that_do_not_exist(cluster):
    with cluster.connect() as c:
        for key, value in (("no.such.key", "1"), ("retention.ms", "soon"),
                           ("min.insync.replicas", "0"),
                           ("cleanup.policy", "burn"), ("", "")):
            expect_equal(c.create("configured", configs=[(key, value)]), 40,
                         "creating with %s=%s" % (key, value))
