"""Nodes that must not start, and what they say."""

import contextlib
import os
import re
import shutil
import subprocess

import world
from world import expect, expect_equal


class _Stranger:
    """A copy of a node's configuration with other keys, in its own place."""

    def __init__(self, cluster, name="stranger", **keys):
        self.cluster = cluster
        self.home = os.path.join(cluster.home, name)
        shutil.rmtree(self.home, ignore_errors=True)
        os.mkdir(self.home)
        self.data = os.path.join(self.home, "data")
        with open(os.path.join(cluster.dir, "node-3.properties")) as file:
            text = file.read()
        port = world.free_port()
        self.keys = dict(line.split("=", 1) for line in text.splitlines()
                         if "=" in line and not line.startswith("#"))
        self.keys.update({
            "process.roles": "broker", "node.id": "7", "log.dirs": self.data,
            "listeners": "PLAINTEXT://127.0.0.1:%d" % port,
            "advertised.listeners": "PLAINTEXT://127.0.0.1:%d" % port})
        self.keys.update({k.replace("_", "."): v for k, v in keys.items()})
        self.file = os.path.join(self.home, "stranger.properties")
        with open(self.file, "w") as file:
            file.writelines("%s=%s\n" % item for item in self.keys.items())

    def format(self, cluster_id=None):
        leat = os.path.join(world.BUILD, "cli", "leat")
        if cluster_id is None:
            cluster_id = subprocess.check_output(
                [leat, "storage", "random-uuid"], text=True).strip()
        subprocess.run([leat, "storage", "format", "-t", cluster_id, "-c",
                        self.file], check=True, stdout=subprocess.DEVNULL)

    @contextlib.contextmanager
    def running(self):
        """Yields what tells the output so far."""
        path = os.path.join(self.home, "output")
        with open(path, "w") as file:
            process = subprocess.Popen([world.LEATD, self.file], stdout=file,
                                       stderr=subprocess.STDOUT,
                                       env=self.cluster.environment)

        def output():
            with open(path) as written:
                return written.read()
        try:
            yield output
        finally:
            process.kill()
            process.wait()
        expect(not world.REPORTS.search(output()), output()[-1500:])

    def refuses(self, *patterns):
        """Ends by itself with an error that matches all patterns."""
        try:
            done = subprocess.run(
                [world.LEATD, self.file], env=self.cluster.environment,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                timeout=30)
        except subprocess.TimeoutExpired as error:
            raise world.Failure("it runs: " + str(error.output)[-400:])
        expect(not world.REPORTS.search(done.stdout), done.stdout[-1500:])
        expect_equal(done.returncode, 1, "exit code (%s)" % done.stdout[-300:])
        for pattern in patterns:
            expect(re.search(pattern, done.stdout), "no", repr(pattern), "in",
                   done.stdout[-400:])


def _cluster_id(cluster):
    with open(os.path.join(cluster.dir, "cluster.conf")) as file:
        return re.search(r"^id=(.*)$", file.read(), re.M)[1]


def node_formatted_for_another_cluster(cluster):
    s = _Stranger(cluster)
    s.format()
    s.refuses("formatted for cluster", _cluster_id(cluster))


def log_dirs_of_two_clusters(cluster):
    s = _Stranger(cluster)
    s.format(_cluster_id(cluster))
    second = os.path.join(s.home, "second")
    shutil.copytree(s.data, second)
    meta = os.path.join(second, "meta.properties")
    with open(meta) as file:
        text = file.read()
    with open(meta, "w") as file:
        file.write(text.replace(_cluster_id(cluster),
                                "AAAAAAAAAAAAAAAAAAAAAA"))
    with open(s.file, "a") as file:
        file.write("log.dirs=%s,%s\n" % (s.data, second))
    s.refuses("second belongs to cluster AAAAAAAAAAAAAAAAAAAAAA")


def controller_formatted_for_another_cluster(cluster):
    """A voter by its configuration, a stranger by its directory."""
    cluster.stop(3)
    own, aside = cluster.data(3), os.path.join(cluster.home, "aside")
    os.rename(own, aside)
    s = _Stranger(cluster)
    shutil.copy(os.path.join(cluster.dir, "node-3.properties"), s.file)
    s.format()
    s.refuses("formatted for cluster", _cluster_id(cluster))
    shutil.rmtree(own)
    os.rename(aside, own)
    cluster.start(3)


def second_process_on_the_same_log_dir(cluster):
    for node in (1, 2, 3):
        port = world.free_port()
        s = _Stranger(
            cluster, log_dirs=cluster.data(node), node_id=str(node),
            process_roles="broker,controller",
            listeners="PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d" % (
                port, port + 1))
        s.refuses("in use by another process", "data-%d" % node)


def second_process_with_the_same_file(cluster):
    s = _Stranger(cluster)
    shutil.copy(os.path.join(cluster.dir, "node-2.properties"), s.file)
    s.refuses("in use")


def log_dir_of_another_node(cluster):
    s = _Stranger(cluster)
    s.format(_cluster_id(cluster))
    with open(s.file, "a") as file:
        file.write("node.id=8\n")
    s.refuses("formatted for node 7", "'node.id' is 8")


def port_that_is_taken(cluster):
    s = _Stranger(cluster, listeners="PLAINTEXT://127.0.0.1:%d" % cluster.port)
    s.format(_cluster_id(cluster))
    s.refuses(str(cluster.port), "in use")


def log_dir_that_is_not_formatted(cluster):
    s = _Stranger(cluster)
    s.refuses("not formatted", "kafka-storage.sh format")


def log_dir_that_is_a_file(cluster):
    s = _Stranger(cluster)
    with open(s.data, "w"):
        pass
    s.refuses(s.data)


def damaged_meta_properties(cluster):
    s = _Stranger(cluster)
    s.format(_cluster_id(cluster))
    meta = os.path.join(s.data, "meta.properties")
    with open(meta, "rb") as file:
        good = file.read()
    for text in (b"", b"\0" * 100, os.urandom(200), b"node.id=7\nversion=1\n",
                 good.replace(b"version=1", b"version=99"),
                 good.replace(b"node.id=7", b"node.id=seven")):
        with open(meta, "wb") as file:
            file.write(text)
        s.refuses("meta.properties")


def damaged_configuration(cluster):
    s = _Stranger(cluster)
    s.format(_cluster_id(cluster))
    with open(s.file) as file:
        good = file.read()
    for line in ("node.id=-5", "listeners=PLAINTEXT://:99999",
                 "num.partitions=many", "process.roles=king"):
        with open(s.file, "w") as file:
            file.write(good + line + "\n")
        s.refuses(re.escape(line.split("=")[0]))


def node_id_that_is_taken(cluster):
    """Only the registered process counts as node 7."""
    first, second = _Stranger(cluster), _Stranger(cluster, "second")
    for s in (first, second):
        s.format(_cluster_id(cluster))
    with first.running() as output:
        world.wait_for("node 7", lambda: "is ready" in output())
        with second.running() as refused:
            world.wait_for("a refusal", lambda: re.search(
                "[Aa]nother broker is registered", refused()))
            expect("is ready" not in refused(), "a second node 7 is let in")
