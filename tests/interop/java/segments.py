"""The files that stopped nodes leave behind, as Apache Kafka sees them.

kafka-dump-log reads every segment, index and producer snapshot of each node,
and the replicas of a partition hold the same bytes.  DATA is the directory of
a cluster of scripts/cluster, JARS that of Kafka's jars.
"""

import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "python"))

from suite import Wrong, check, finish  # noqa: E402

JARS = os.environ["JARS"]
DATA = os.environ["DATA"]
DUMP = "org.apache.kafka.tools.DumpLogSegments"
COMPLAINTS = re.compile(
    r"isvalid: false|Found \d+ invalid|Mismatches in|timestamp mismatch|"
    r"out of order|Index entries are not|Exception|Non-?consecutive",
    re.IGNORECASE)


def files(node, kind):
    """Files of a kind with something in them."""
    found = glob.glob(os.path.join(DATA, "data-%d" % node, "*-*",
                                   "*." + kind))
    return sorted(f for f in found if os.path.getsize(f))


def dump(kind, *words):
    """Lets kafka-dump-log read all files of a kind on all nodes."""
    count = 0
    for node in (1, 2, 3):
        found = files(node, kind)
        count += len(found)
        done = subprocess.run(
            ["java", "-Xmx512m", "-cp", os.path.join(JARS, "*"), DUMP, *words,
             "--files", ",".join(found)], text=True, timeout=300,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wrong = COMPLAINTS.search(done.stdout)
        if done.returncode or wrong:
            at = wrong.start() if wrong else max(0, len(done.stdout) - 400)
            dumped = re.findall(r"^Dumping (\S+)", done.stdout[:at],
                                re.MULTILINE)
            raise Wrong("%s: %s" % (dumped[-1] if dumped else "at once",
                                    done.stdout[at:at + 300]))
        read = len(re.findall(r"^Dumping ", done.stdout, re.MULTILINE))
        if read != len(found):
            raise Wrong("it read %d of %d files" % (read, len(found)))
    if not count:
        raise Wrong("there are none")
    return "%d files" % count


def replicas_agree():
    """A follower that was cut off holds less, never something else."""
    copies = {}
    for node in (1, 2, 3):
        for path in files(node, "log"):
            name = os.path.relpath(path, os.path.join(DATA,
                                                      "data-%d" % node))
            copies.setdefault(name, []).append(path)
    compared = 0
    for name, paths in sorted(copies.items()):
        contents = []
        for path in paths:
            with open(path, "rb") as file:
                contents.append(file.read())
        common = min(map(len, contents))
        if any(c[:common] != contents[0][:common] for c in contents):
            raise Wrong("the replicas of %s differ" % name)
        compared += len(contents) > 1
    if not compared:
        raise Wrong("there are no two replicas")
    return "%d segments" % compared


check("kafka-dump-log --deep-iteration reads every segment",
      lambda: dump("log", "--deep-iteration"))
check("kafka-dump-log finds every offset index right",
      lambda: dump("index", "--index-sanity-check"))
check("kafka-dump-log finds every index entry's batch",
      lambda: dump("index"))
check("kafka-dump-log finds every time index right",
      lambda: dump("timeindex"))
check("kafka-dump-log reads every producer snapshot",
      lambda: dump("snapshot"))
check("the replicas of each partition hold the same bytes", replicas_agree)
finish()
