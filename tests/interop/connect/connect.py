"""Kafka Connect in distributed mode: two workers copy a file through a topic.

The file source writes a growing file into a topic, exactly once, and the file
sink writes the topic into another file.  Each worker is killed once while the
file grows, and a node with it.  In the end committed records of the topic are
the file's lines, each once and in order.  The sink has each line at least
once: Connect commits a sink's offsets after it has written, so a killed
worker's last lines are written again by the next one, in order.

CLUSTER is a cluster of this suite's own, JARS are Connect's, LONG is a number
of rounds of kills.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "python"))

from nodes import Nodes, dump  # noqa: E402
from suite import RUN, Wrong, check, equal, finish, until  # noqa: E402

ROUNDS = int(os.environ.get("LONG") or 1)
HOME = tempfile.mkdtemp(prefix="connect-")
SOURCE = os.path.join(HOME, "source.txt")
SINK = os.path.join(HOME, "sink.txt")
TOPIC = "lines-" + RUN
BURST = 500  # lines written at once
SECONDS = 120


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Worker:
    def __init__(self, name):
        self.name = name
        self.log = os.path.join(HOME, name + ".log")
        self.port = free_port()
        self.process = None
        self.file = os.path.join(HOME, name + ".properties")
        with open(self.file, "w") as file:
            file.write("\n".join("%s=%s" % pair for pair in self.keys()))

    def keys(self):
        text = "org.apache.kafka.connect.storage.StringConverter"
        yield "bootstrap.servers", nodes.bootstrap
        yield "group.id", "connect-" + RUN
        yield "key.converter", text
        yield "value.converter", text
        for what in ("config", "offset", "status"):
            yield what + ".storage.topic", "connect-%s-%s" % (what, RUN)
            yield what + ".storage.replication.factor", 3
        yield "offset.storage.partitions", 5
        yield "offset.flush.interval.ms", 500
        yield "exactly.once.source.support", "enabled"
        yield "listeners", "http://127.0.0.1:%d" % self.port
        yield "session.timeout.ms", 6000
        yield "heartbeat.interval.ms", 500
        # What a dead worker did goes to the other at once.
        yield "scheduled.rebalance.max.delay.ms", 0
        # Else the sink sees what a killed source did not commit.
        yield "consumer.isolation.level", "read_committed"
        yield "plugin.discovery", "only_scan"

    def start(self):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1",
                 "-XX:+UseSerialGC",
                 "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp",
                 os.path.join(os.environ["JARS"], "*"),
                 "org.apache.kafka.connect.cli.ConnectDistributed",
                 self.file], stdout=log, stderr=log)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.process.terminate()
        return self.process.wait(60)

    def call(self, method, path, body=None):
        """A call of its REST interface; None while it cannot answer."""
        request = urllib.request.Request(
            "http://127.0.0.1:%d%s" % (self.port, path), method=method,
            data=json.dumps(body).encode() if body else None,
            headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None


def write_lines(n):
    global written
    with open(SOURCE, "a") as file:
        for i in range(written, written + n):
            file.write("line-%06d\n" % i)
    written += n


def sunk():
    """Numbers of the lines in the sink's file, as they stand there."""
    if not os.path.exists(SINK):
        return []
    with open(SINK) as file:
        text = file.read()
    # A killed worker may have left a line without its end.
    if not re.fullmatch(r"(line-\d{6}|\n)*(l[ine-]*\d*)?", text):
        raise Wrong("the sink has other lines")
    return [int(n) for n in re.findall(r"line-(\d{6})", text)]


def await_sink():
    def lacking():
        return set(range(written)) - set(sunk())

    until(lambda: not lacking(), SECONDS,
          lambda: "%d of %d lines did not come" % (len(lacking()), written))


def live():
    return next(w for w in workers if w.process.poll() is None)


def tasks():
    """{connector: worker of its task}, when all run."""
    found = {}
    for name in ("source", "sink"):
        status = live().call("GET", "/connectors/%s/status" % name)
        if (not status or status["connector"]["state"] != "RUNNING" or
                [t["state"] for t in status["tasks"]] != ["RUNNING"]):
            return None
        found[name] = status["tasks"][0]["worker_id"]
    return found


# ---- checks ----


def begin():
    nodes.create(TOPIC, partitions=1)
    write_lines(BURST)
    for worker in workers:
        worker.start()
    config = {
        "source": {
            "connector.class":
                "org.apache.kafka.connect.file.FileStreamSourceConnector",
            "file": SOURCE, "topic": TOPIC, "batch.size": 50},
        "sink": {
            "connector.class":
                "org.apache.kafka.connect.file.FileStreamSinkConnector",
            "file": SINK, "topics": TOPIC}}
    for name, keys in config.items():
        until(lambda: workers[0].call(
            "PUT", "/connectors/%s/config" % name,
            dict(keys, **{"tasks.max": 1})), SECONDS,
            "the workers do not answer")
    until(tasks, SECONDS, "the connectors do not run")
    await_sink()
    return "%d lines" % written


def kill_worker(name):
    """The worker with this connector's task dies while lines are written."""
    at = until(tasks, SECONDS, "the connectors do not run")[name]
    worker = next(w for w in workers if at.endswith(":%d" % w.port))
    write_lines(BURST)
    time.sleep(0.3)
    worker.kill()
    write_lines(BURST)
    await_sink()
    worker.start()
    until(lambda: worker.call("GET", "/"), SECONDS, "it does not answer")
    write_lines(BURST)
    await_sink()
    return "%d lines" % written


def kill_nodes():
    for node in nodes.victims:
        nodes.kill(node)
        write_lines(BURST)
        await_sink()
        nodes.start(node)
        nodes.await_in_sync()
        write_lines(BURST)
        await_sink()
    return "nodes %s" % list(nodes.victims)


def kill_all():
    """Both workers die; what they knew is in their topics."""
    write_lines(BURST)
    for worker in workers:
        worker.kill()
    write_lines(BURST)
    for worker in workers:
        worker.start()
    until(tasks, SECONDS, "the connectors do not run again")
    await_sink()


def compare_topic():
    found = [value for _, _, _, value in dump(nodes.bootstrap, TOPIC)]
    wanted = ["line-%06d" % i for i in range(written)]
    if found != wanted:
        raise Wrong("%d lines, %d different, not %d" % (
            len(found), len(set(found)), written))
    return "%d lines" % len(found)


def compare_sink():
    numbers = sunk()
    newest, again = -1, 0
    for n in numbers:
        if n > newest + 1:
            raise Wrong("line %d stands before line %d" % (n, newest + 1))
        again += n <= newest
        newest = max(n, newest)
    equal(newest, written - 1, "last line")
    return "%d lines, %d of them again" % (written, again)


def close():
    for worker in workers:
        worker.close()


nodes = Nodes()
written = 0
workers = [Worker("worker-1"), Worker("worker-2")]
try:
    check("a file goes through a topic into a file", begin, vital=True)
    for n in range(ROUNDS):
        which = " (%d)" % (n + 1) if ROUNDS > 1 else ""
        check("goes on when the source's worker is killed" + which,
              lambda: kill_worker("source"))
        check("goes on when the sink's worker is killed" + which,
              lambda: kill_worker("sink"))
        check("goes on when nodes are killed" + which, kill_nodes)
        check("goes on when both workers are killed" + which, kill_all)
    check("the workers stop when asked to", close)
    check("the topic has each line exactly once, in order", compare_topic)
    check("the sink has each line at least once, in order", compare_sink)
finally:
    for worker in workers:
        if worker.process and worker.process.poll() is None:
            worker.process.send_signal(signal.SIGKILL)
finish()
