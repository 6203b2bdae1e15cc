"""A cluster whose nodes a suite kills, and topics in plain text.

BOOTSTRAP says where it listens, node I at the I-th address; CLUSTER is its
directory for scripts/cluster.  Text goes in and out by kcat: `dump` and
`size` see committed records only.
"""

import os
import random
import re
import subprocess

from suite import BOOTSTRAP, PARTITIONS, REPLICAS, Wrong, until

TOP = os.environ["LEAT_TOP"]
LEAT = os.path.join(os.environ["LEAT_BUILD"], "cli", "leat")


def run(*words, stdin=None, seconds=120):
    """What a program prints; it has to succeed."""
    done = subprocess.run(words, input=stdin, text=True, timeout=seconds,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise Wrong("%s ended with %d: %s" % (
            " ".join(words[:3]), done.returncode, done.stderr[-400:]))
    return done.stdout


def feed(bootstrap, topic, lines):
    """Writes "KEY:VALUE" lines, each acknowledged by all in-sync replicas."""
    run("kcat", "-P", "-b", bootstrap, "-t", topic, "-K:", "-E",
        "-X", "enable.idempotence=true", "-X", "linger.ms=5",
        stdin="".join(line + "\n" for line in lines))


def dump(bootstrap, topic):
    """(partition, offset, key, value) of all records, by partition and order."""
    out = run("kcat", "-C", "-b", bootstrap, "-t", topic, "-o", "beginning",
              "-e", "-q", "-f", r"%p\t%o\t%k\t%s\n")
    found = []
    for line in out.splitlines():
        partition, offset, key, value = line.split("\t", 3)
        found.append((int(partition), int(offset), key, value))
    return sorted(found, key=lambda record: record[:2])


class Nodes:
    def __init__(self, bootstrap=None, directory=None):
        self.addresses = bootstrap.split(",") if bootstrap else BOOTSTRAP
        self.bootstrap = ",".join(self.addresses)
        self.directory = directory or os.environ.get("CLUSTER")
        self.numbers = range(1, len(self.addresses) + 1)
        # Those to kill in a round: one of them, all where there is time.
        self.victims = (self.numbers if int(os.environ.get("LONG") or 1) > 1
                        else [random.choice(self.numbers)])

    def command(self, *words):
        run(os.path.join(TOP, "scripts", "cluster"), *words, "--dir",
            self.directory)

    def kill(self, node):
        self.command("kill", str(node))

    def start(self, node):
        self.command("start", str(node))

    def leat(self, *words):
        return run(LEAT, *words, "--bootstrap", self.bootstrap)

    def create(self, topic, *words, partitions=PARTITIONS):
        self.leat("topics", "create", topic, "--partitions", str(partitions),
                  "--replicas", str(REPLICAS), *words)

    def size(self, topic, partitions=PARTITIONS):
        """Sum of the last stable offsets."""
        asked = [word for p in range(partitions)
                 for word in ("-t", "%s:%d:-1" % (topic, p))]
        out = run("kcat", "-Q", "-b", self.bootstrap, *asked)
        return sum(int(line.split()[-1]) for line in out.splitlines())

    def await_in_sync(self, seconds=60):
        """All replicas of all partitions are in sync."""
        def lacking():
            out = run("kcat", "-L", "-b", self.bootstrap)
            found = re.findall(r"replicas: (\S*), isrs: ([0-9,]*)", out)
            return [pair for pair in found
                    if sorted(pair[0].split(",")) != sorted(pair[1].split(","))]

        until(lambda: not lacking(), seconds,
              lambda: "not in sync: %s" % lacking()[:2])
