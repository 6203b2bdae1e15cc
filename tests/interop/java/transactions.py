"""Apache Kafka's transactional producer, and its tool kafka-transactions.

The producer of Transactions.java commits four of five transactions, each with
an offset of a group; two readers of committed records, Apache Kafka's and the
one of our tool, must see just those, and the group the last offset committed.
JARS is the directory of the jars, BOOTSTRAP the cluster.
"""

import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "python"))

from suite import BOOTSTRAP, RUN, Wrong, check, equal, finish  # noqa: E402

JARS = os.environ["JARS"]
SERVERS = ",".join(BOOTSTRAP)
HOME = tempfile.mkdtemp(prefix="java-transactions-")
TOPIC, ID, GROUP = ("java-txn-%s-%s" % (what, RUN)
                    for what in ("topic", "id", "group"))
COUNT, RECORDS = 50, 5
KEPT = [n for n in range(COUNT) if n % 5 != 4]

TOPICS = "org.apache.kafka.tools.TopicCommand"
CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
TRANSACTIONS = "org.apache.kafka.tools.TransactionsCommand"
FEATURES = "org.apache.kafka.tools.FeatureCommand"


def java(*words, seconds=120, fails=False):
    done = subprocess.run(
        ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
         "-Dlog4j2.configurationFile=" + os.path.join(HOME, "log4j2.xml"),
         "-cp", os.path.join(JARS, "*"), *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        timeout=seconds)
    if (done.returncode != 0) != fails:
        raise Wrong("%s ends with %d: %s" % (
            words[0], done.returncode,
            " ".join((done.stdout + done.stderr).split())[-400:]))
    return done.stdout + (done.stderr if fails else "")


def tool(name, *words, **options):
    return java(name, "--bootstrap-server", SERVERS, *words, **options)


def features():
    text = tool(FEATURES, "describe")
    level = re.search(r"transaction\.version.*FinalizedVersionLevel: (\d+)",
                      text)
    equal(level and level.group(1), "2", "transaction.version")


def produce():
    tool(TOPICS, "--create", "--topic", TOPIC, "--partitions", "3",
         "--replication-factor", "3")
    text = java(os.path.join(HERE, "Transactions.java"), SERVERS, TOPIC, ID,
                GROUP, str(COUNT), seconds=240)
    ended = re.findall(r"^(committed|aborted) (\d+)$", text, re.M)
    equal(ended, [("committed" if n in KEPT else "aborted", str(n))
                  for n in range(COUNT)], "what ended")
    return "%d transactions in %s attempts" % (
        COUNT, re.search(r"attempts (\d+)", text).group(1))


def read(isolation, timeout="8000"):
    text = tool(CONSUMER, "--topic", TOPIC, "--from-beginning",
                "--isolation-level", isolation, "--formatter-property",
                "print.key=true", "--timeout-ms", timeout)
    return sorted(line.split("\t")[0] for line in text.splitlines()
                  if line.startswith(("kept-", "gone-")))


def committed():
    equal(read("read_committed"), sorted(
        "kept-%d-%d" % (n, i) for n in KEPT for i in range(RECORDS)),
        "records that were committed")
    return "%d records" % (len(KEPT) * RECORDS)


def uncommitted():
    seen = set(read("read_uncommitted"))
    for n in range(COUNT):
        name = "kept" if n in KEPT else "gone"
        for i in range(RECORDS):
            if "%s-%d-%d" % (name, n, i) not in seen:
                raise Wrong("%s-%d-%d is not there" % (name, n, i))


def offset():
    text = tool(GROUPS, "--describe", "--group", GROUP)
    row = next(line.split() for line in text.splitlines() if TOPIC in line)
    equal(int(row[3]), KEPT[-1], "offset of the group")


def described():
    text = tool(TRANSACTIONS, "list")
    row = next(line.split("\t") for line in text.splitlines() if ID in line)
    state = "CompleteCommit" if COUNT - 1 in KEPT else "CompleteAbort"
    equal(row[3].strip(), state, "state")
    text = tool(TRANSACTIONS, "describe", "--transactional-id", ID)
    equal(text.splitlines()[1].split("\t")[4].strip(), state, "described")
    # An epoch for each transaction.
    epoch = int(text.splitlines()[1].split("\t")[3])
    if epoch < COUNT:
        raise Wrong("epoch %d after %d transactions" % (epoch, COUNT))
    return "epoch %d" % epoch


def terminated():
    tool(TRANSACTIONS, "forceTerminateTransaction", "--transactionalId", ID)
    text = tool(TRANSACTIONS, "abort", "--topic", TOPIC, "--partition", "0",
                "--start-offset", "1", fails=True)
    if "Could not find any open transactions" not in text:
        raise Wrong(text)
    text = tool(TRANSACTIONS, "find-hanging", "--topic", TOPIC)
    equal(len(text.splitlines()), 1, "lines of find-hanging")


def main():
    with open(os.path.join(HOME, "log4j2.xml"), "w") as file:
        file.write("<Configuration><Loggers><Root level='OFF'/></Loggers>"
                   "</Configuration>")
    check("transaction.version is on", features)
    check("commits and aborts, with offsets", produce, vital=True)
    check("committed records and no others", committed)
    check("aborted ones are there for who wants them", uncommitted)
    check("the group has the last committed offset", offset)
    check("kafka-transactions lists and describes", described)
    check("kafka-transactions terminates, finds nothing hanging", terminated)
    finish()


main()
