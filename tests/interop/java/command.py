"""Apache Kafka's command-line tools, run by Java from its jars as their shell
scripts would.  JARS is the directory of the jars, BOOTSTRAP the cluster.
"""

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "python"))

from suite import BOOTSTRAP, Wrong, key, value  # noqa: E402

JARS = os.environ["JARS"]
SERVER = ["--bootstrap-server", ",".join(BOOTSTRAP)]
HOME = tempfile.mkdtemp(prefix="java-tools-")

PRODUCER = "org.apache.kafka.tools.ConsoleProducer"


def java(tool, *words):
    # Small and quick to start: these are short runs.
    return ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
            "-Dlog4j2.configurationFile=" + os.path.join(HOME, "log4j2.xml"),
            "-cp", os.path.join(JARS, "*"), tool, *words]


def write(name, text):
    path = os.path.join(HOME, name)
    with open(path, "w") as file:
        file.write(text)
    return path


write("log4j2.xml", """<Configuration status="OFF"><Loggers>
<Root level="OFF"/></Loggers></Configuration>""")


def tool(name, *words, stdin=None, fails=False):
    """What a tool prints; it has to succeed, or to fail."""
    done = subprocess.run(java(name, *words), input=stdin, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=120)
    if (done.returncode != 0) != fails:
        raise Wrong("%s ended with %d: %s" % (
            name.rpartition(".")[2], done.returncode, done.stdout[-600:]))
    # Its library for logging says that there is nothing to log with.
    return "".join(line for line in done.stdout.splitlines(True)
                   if not line.startswith("SLF4J"))


def produce(topic, numbers, *words):
    lines = "".join(
        "number:%d,client:java\t%s\t%s\n" % (
            i, key(i).decode(), value(i).decode()) for i in numbers)
    tool(PRODUCER, *SERVER, "--topic", topic,
         "--reader-property", "parse.key=true",
         "--reader-property", "parse.headers=true", *words, stdin=lines)
