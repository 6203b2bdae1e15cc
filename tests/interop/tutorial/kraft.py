"""The KRaft tutorial, line by line.

Three files that differ in node.id, listeners, advertised.listeners and
log.dirs, and the commands that the tutorials tell people to type, run by a
shell in a directory that has our scripts as bin/.  The ports are the
tutorial's, 9092-9094 and 19092-19094, unless something else has them.
"""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "python"))

from suite import Wrong, check, equal, finish, until  # noqa: E402

TOP = os.environ["LEAT_TOP"]
BUILD = os.environ["LEAT_BUILD"]
HOME = tempfile.mkdtemp(prefix="kraft-tutorial-")

PROPERTIES = """\
# The role of this server. Setting this puts us in KRaft mode
process.roles=broker,controller
node.id={node}
controller.quorum.voters=1@localhost:{c1},2@localhost:{c2},3@localhost:{c3}
listeners=PLAINTEXT://:{port},CONTROLLER://:{controller}
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,\
SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs={home}/kraft-combined-logs-{node}
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
"""


QUORUM = "controller.quorum.voters=1@localhost:{c1},2@localhost:{c2}," \
    "3@localhost:{c3}\n"
BOOTSTRAP = "controller.quorum.bootstrap.servers=localhost:{c1}," \
    "localhost:{c2},localhost:{c3}\n"


def free(ports):
    try:
        for port in ports:
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("", port))
        return True
    except OSError:
        return False


def choose_port():
    port = 9092
    while not free([port + i + j for i in range(4) for j in (0, 10000)]):
        port = random.randrange(11000, 22000, 10)
    return port


PORT = choose_port()
cluster_id = ""  # a variable of the shell that the lines are typed into
environment = dict(os.environ, LEAT_BIN_DIR=os.path.join(HOME, "programs"),
                   LOG_DIR=os.path.join(HOME, "logs"))


def prepare():
    os.mkdir(environment["LEAT_BIN_DIR"])
    for program in ("broker/leatd", "cli/leat"):
        os.symlink(os.path.join(BUILD, program),
                   os.path.join(environment["LEAT_BIN_DIR"],
                                os.path.basename(program)))
    os.symlink(os.path.join(TOP, "scripts"), os.path.join(HOME, "bin"))
    os.makedirs(os.path.join(HOME, "config", "kraft"))
    for node in (1, 2, 3, 4):
        path = os.path.join(HOME, "config", "kraft",
                            "server%d.properties" % node)
        text = PROPERTIES
        if node == 4:  # joins a quorum that exists (KIP-853)
            assert QUORUM in text
            text = text.replace(QUORUM, BOOTSTRAP)
        with open(path, "w") as file:
            file.write(text.format(
                node=node, home=HOME, port=PORT + node - 1,
                controller=PORT + 10000 + node - 1, c1=PORT + 10000,
                c2=PORT + 10001, c3=PORT + 10002))


def type_in(line, stdin="", fails=False, seconds=60):
    """Types a line of the tutorial into a shell; returns what is printed."""
    line = line.replace("9092", str(PORT))
    shell = "KAFKA_CLUSTER_ID=%s\n%s" % (cluster_id, line)
    done = subprocess.run(["bash", "-c", shell], input=stdin, cwd=HOME,
                          env=environment, timeout=seconds, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if (done.returncode != 0) != fails:
        raise Wrong("'%s' ended with %d: %s" % (line, done.returncode,
                                                done.stdout[-500:]))
    return done.stdout


def nodes():
    """Pids of the leatd that run our files."""
    pids = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/cmdline" % name, "rb") as file:
                words = file.read().split(b"\0")
            cwd = os.readlink("/proc/%s/cwd" % name)
        except OSError:
            continue
        if words[0].endswith(b"/leatd") and cwd == HOME:
            pids.append(int(name))
    return pids


def stop(how):
    for pid in nodes():
        os.kill(pid, how)


def zookeeper():
    out = type_in("bin/zookeeper-server-start.sh config/zookeeper.properties")
    if "ZooKeeper" not in out:
        raise Wrong("it printed %r" % out)
    out = type_in("bin/kafka-topics.sh --create --zookeeper localhost:2181 "
                  "--replication-factor 1 --partitions 1 --topic test",
                  fails=True)
    if "--bootstrap-server" not in out:
        raise Wrong("it printed %r" % out)


def random_uuid():
    global cluster_id
    uuid = type_in("bin/kafka-storage.sh random-uuid").strip()
    if not re.fullmatch(r"[A-Za-z0-9_-]{22}", uuid):
        raise Wrong("it printed %r" % uuid)
    cluster_id = uuid
    return uuid


def unformatted():
    out = type_in("bin/kafka-server-start.sh config/kraft/server1.properties",
                  fails=True)
    if "format" not in out:
        raise Wrong("it printed %r" % out)


def format_nodes():
    for node in (1, 2, 3):
        out = type_in("bin/kafka-storage.sh format -t $KAFKA_CLUSTER_ID "
                      "-c config/kraft/server%d.properties" % node)
        if "Formatting" not in out:
            raise Wrong("it printed %r" % out)
    out = type_in("bin/kafka-storage.sh format -t $KAFKA_CLUSTER_ID "
                  "-c config/kraft/server1.properties", fails=True)
    if "already formatted" not in out:
        raise Wrong("a second time, it printed %r" % out)


def start_nodes():
    for node in (1, 2, 3):
        type_in("bin/kafka-server-start.sh -daemon "
                "config/kraft/server%d.properties" % node)
    until(lambda: len(nodes()) == 3, 10, "not three servers")


def early():
    """A tool that is typed before the cluster answers waits for it."""
    type_in("bin/kafka-topics.sh --list --bootstrap-server localhost:9092")


def wait_started():
    """The tutorials say: look into the log."""

    def started():
        with open(os.path.join(environment["LOG_DIR"],
                               "kafkaServer.out")) as log:
            return log.read().count("Kafka Server started") == 3

    until(started, 30, "not three started servers")


def create_topic():
    out = type_in("bin/kafka-topics.sh --create --topic kraft-test "
                  "--partitions 3 --replication-factor 3 "
                  "--bootstrap-server localhost:9092")
    equal(out.strip(), "Created topic kraft-test.", "printed")


def list_and_describe():
    out = type_in("bin/kafka-topics.sh --list "
                  "--bootstrap-server localhost:9092")
    equal("kraft-test" in out.split(), True, "listed")

    def in_sync():
        out = type_in("bin/kafka-topics.sh --bootstrap-server localhost:9092 "
                      "--describe --topic kraft-test")
        found = re.findall(r"Topic: kraft-test\tPartition: (\d)\tLeader: \d"
                           r"\tReplicas: (\S+)\tIsr: (\S+)", out)
        return [f[0] for f in found] == ["0", "1", "2"] and all(
            len(f[1]) == len(f[2]) == 5 for f in found)

    until(in_sync, 20, "not three partitions with three replicas in sync")


def produce():
    type_in("bin/kafka-console-producer.sh --broker-list localhost:9092 "
            "--topic kraft-test", stdin="message 1\nmessage 2\nmessage 3\n")


def consume():
    out = type_in("bin/kafka-console-consumer.sh "
                  "--bootstrap-server localhost:9092 --topic kraft-test "
                  "--from-beginning --max-messages 3 --timeout-ms 20000")
    lines = [line for line in out.splitlines()
             if not line.startswith("Processed")]
    equal(sorted(lines), ["message 1", "message 2", "message 3"], "printed")


def groups():
    type_in("bin/kafka-console-consumer.sh --bootstrap-server localhost:9092 "
            "--topic kraft-test --group readers --from-beginning "
            "--max-messages 3 --timeout-ms 20000")
    out = type_in("bin/kafka-consumer-groups.sh --describe --group readers "
                  "--bootstrap-server localhost:9092")
    rows = [line.split() for line in out.splitlines() if "kraft-test" in line]
    equal((len(rows), sum(int(row[5]) for row in rows)), (3, 0),
          "partitions and lag")
    out = type_in("bin/kafka-consumer-groups.sh --list "
                  "--bootstrap-server localhost:9092")
    equal("readers" in out.split(), True, "listed")


def configs():
    type_in("bin/kafka-configs.sh --bootstrap-server localhost:9092 --alter "
            "--entity-type topics --entity-name kraft-test "
            "--add-config retention.ms=3600000")
    out = type_in("bin/kafka-configs.sh --bootstrap-server localhost:9092 "
                  "--describe --entity-type topics --entity-name kraft-test")
    if "retention.ms=3600000" not in out:
        raise Wrong("described as %r" % out)


def voters():
    out = type_in("bin/kafka-metadata-quorum.sh "
                  "--bootstrap-server localhost:9092 describe --status")
    line = re.search(r"CurrentVoters: +(\[.*\])", out)
    if line is None:
        raise Wrong("it printed %r" % out)
    return {v["id"]: v for v in json.loads(line[1])}


def new_controller():
    """KIP-853: a fourth server takes the place of the first in the quorum."""
    out = type_in("bin/kafka-storage.sh format -t $KAFKA_CLUSTER_ID "
                  "--no-initial-controllers "
                  "-c config/kraft/server4.properties")
    if "Formatting" not in out:
        raise Wrong("it printed %r" % out)
    type_in("bin/kafka-server-start.sh -daemon "
            "config/kraft/server4.properties")
    equal(sorted(voters()), [1, 2, 3], "voters")
    add = "bin/kafka-metadata-quorum.sh --bootstrap-server localhost:9092 " \
        "--command-config config/kraft/server4.properties add-controller"
    out = type_in(add + " --dry-run")
    if not out.startswith("DRY RUN of adding controller 4 with directory id "):
        raise Wrong("it printed %r" % out)
    equal(sorted(voters()), [1, 2, 3], "voters")
    out = type_in(add)
    said = re.fullmatch(r"Added controller 4 with directory id (\S+) and "
                        r"endpoints: CONTROLLER://localhost:\d+\n", out)
    if said is None:
        raise Wrong("it printed %r" % out)
    equal(voters()[4]["directoryId"], said[1], "directory id")
    type_in(add, fails=True)
    remove = "bin/kafka-metadata-quorum.sh --bootstrap-server " \
        "localhost:9092 remove-controller --controller-id %d " \
        "--controller-directory-id " + said[1]
    equal(type_in(remove % 1), "Removed  KRaft controller 1 with directory "
          "id %s\n" % said[1], "printed")
    equal(sorted(voters()), [2, 3, 4], "voters")
    type_in(remove % 1, fails=True)


def survives():
    """The tutorials go on: stop a server and read what was written."""
    words = [p for p in nodes() if b"server2.properties" in open(
        "/proc/%d/cmdline" % p, "rb").read()]
    equal(len(words), 1, "server 2")
    os.kill(words[0], signal.SIGKILL)
    until(lambda: len(nodes()) == 3, 10, "server 2 still runs")
    produce()
    out = type_in("bin/kafka-console-consumer.sh "
                  "--bootstrap-server localhost:9092 --topic kraft-test "
                  "--from-beginning --max-messages 6 --timeout-ms 30000")
    lines = [line for line in out.splitlines() if line.startswith("message")]
    equal(sorted(lines), sorted(["message 1", "message 2", "message 3"] * 2),
          "printed")


def end():
    stop(signal.SIGTERM)
    until(lambda: not nodes(), 30, "a server does not stop")


try:
    prepare()
    check("zookeeper-server-start.sh and --zookeeper say what to do",
          zookeeper)
    check("kafka-storage.sh random-uuid", random_uuid, vital=True)
    check("kafka-server-start.sh refuses what is not formatted", unformatted)
    check("kafka-storage.sh format -t -c", format_nodes, vital=True)
    check("kafka-server-start.sh -daemon, three times", start_nodes,
          vital=True)
    check("kafka-topics.sh waits for a cluster that starts", early)
    check("the log tells that the servers have started", wait_started,
          vital=True)
    check("kafka-topics.sh --create on port %d" % PORT, create_topic,
          vital=True)
    check("kafka-topics.sh --list and --describe", list_and_describe)
    check("kafka-console-producer.sh", produce)
    check("kafka-console-consumer.sh --from-beginning", consume)
    check("kafka-consumer-groups.sh --describe and --list", groups)
    check("kafka-configs.sh --alter and --describe", configs)
    check("kafka-metadata-quorum.sh add-controller and remove-controller",
          new_controller)
    check("with one server killed the others take and give records",
          survives)
    check("the servers stop on SIGTERM", end)
finally:
    stop(signal.SIGKILL)
    until(lambda: not nodes(), 10, "a server cannot be killed")
    if not os.environ.get("KEEP"):
        shutil.rmtree(HOME, ignore_errors=True)
finish()
