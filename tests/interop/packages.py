"""Clients that come from npm, Maven, PyPI and the Go proxy, in .cache/interop, by
the versions that the package-lock.json and the pom.xml of a folder,
python/requirements.txt and go/go.sum fix.  Runs may install at the same time.
"""

import glob
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.join(os.path.dirname(os.path.dirname(HERE)), ".cache",
                     "interop")

# One thread installs, the others wait for it; one may need another's.
INSTALLING = threading.RLock()


class Unable(Exception):
    """Something that a suite needs is not there."""


def call(argv, what, **options):
    """Runs a helper program; its output is shown when it fails."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unable("%s: %s" % (what, error)) from None
    if done.returncode:
        tail = " ".join(done.stdout.split()[-60:])
        raise Unable("%s failed: %s" % (what, tail))


def cached(kind, files, install):
    """Directory of installed files, made again when one of `files` changes."""
    digest = hashlib.sha256()
    for name in files:
        with open(os.path.join(HERE, name), "rb") as file:
            digest.update(file.read())
    home = os.path.join(CACHE, "%s-%s" % (kind, digest.hexdigest()[:12]))
    with INSTALLING:
        if os.path.isdir(home):
            return home
        os.makedirs(CACHE, exist_ok=True)
        made = tempfile.mkdtemp(prefix=kind + "-", dir=CACHE)
        try:
            for name in files:
                shutil.copy(os.path.join(HERE, name), made)
            install(made)
            move(made, home)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        return home


def move(made, home):
    try:
        os.rename(made, home)
    except OSError:
        if not os.path.isdir(home):
            raise
        shutil.rmtree(made)  # another process was faster


def node_modules():
    """Where npm has put the clients of node/package-lock.json."""
    files = ["node/package.json", "node/package-lock.json", "node/.npmrc"]
    home = cached("node", files, lambda made: call(
        ["npm", "ci", "--no-progress"], "npm ci", cwd=made, timeout=600))
    return os.path.join(home, "node_modules")


def maven(kind, folder, programs=(), options=()):
    """Where Maven has put the jars of a folder's pom.xml, and the classes of
    its programs."""
    files = [os.path.join(folder, name) for name in ("pom.xml", *programs)]

    def install(made):
        call(["mvn", "--batch-mode", "--quiet",
              "dependency:copy-dependencies", "-DoutputDirectory=jars",
              *options], "mvn", cwd=made, timeout=600)
        if programs:
            call(["javac", "-Xlint:all", "-Werror", "-proc:none", "-cp",
                  "jars/*", "-d", "classes", *programs], "javac", cwd=made,
                 timeout=300)

    home = cached(kind, files, install)
    return {"JARS": os.path.join(home, "jars"),
            "CLASSES": os.path.join(home, "classes")}


def python_modules():
    """Where pip has put the clients of python/requirements.txt."""
    home = cached("python", ["python/requirements.txt"], lambda made: call(
        ["/usr/bin/python3", "-m", "pip", "install", "--quiet", "--no-deps",
         "--only-binary", ":all:", "--require-hashes",
         "--disable-pip-version-check", "--root-user-action", "ignore",
         "--target", "modules", "-r", "requirements.txt"], "pip", cwd=made,
        timeout=600))
    return os.path.join(home, "modules")


def confluent_javascript():
    """Where npm has put @confluentinc/kafka-javascript.  It is C++ over
    librdkafka, whose C part is taken from PyPI's confluent-kafka: compiling
    that, too, would take minutes.  Node.js comes with its headers, or Debian
    has them in libnode-dev."""
    files = ["node/confluent/package.json", "node/confluent/package-lock.json",
             "node/.npmrc", "python/requirements.txt"]

    def install(made):
        call(["npm", "ci", "--no-progress"], "npm ci", cwd=made, timeout=600)
        modules = os.path.join(made, "node_modules")
        home = os.path.join(modules, "@confluentinc", "kafka-javascript")
        sources = os.path.join(home, "deps", "librdkafka")
        built = os.path.join(home, "build", "Release")
        os.makedirs(built)
        library = shutil.copy(glob.glob(os.path.join(
            python_modules(), "confluent_kafka.libs", "librdkafka-*"))[0],
            built)
        # What its configure would write is for the C part.
        open(os.path.join(sources, "config.h"), "w").close()
        call(["g++", "-std=c++20", "-O1", "-w", "-fPIC", "-shared",
              "-I" + node_headers(), "-I" + os.path.join(modules, "nan"),
              "-I" + home, "-I" + os.path.join(sources, "src"),
              "-I" + os.path.join(sources, "src-cpp"),
              "-DNODE_GYP_MODULE_NAME=confluent-kafka-javascript",
              *sorted(glob.glob(os.path.join(home, "src", "*.cc"))),
              *sorted(glob.glob(os.path.join(sources, "src-cpp", "*.cpp"))),
              library, "-Wl,-rpath,$ORIGIN", "-o",
              os.path.join(built, "confluent-kafka-javascript.node")], "g++",
             timeout=900)

    return os.path.join(cached("confluent-javascript", files, install),
                        "node_modules")


def node_headers():
    node = subprocess.run(["node", "-p", "process.execPath"], text=True,
                          stdout=subprocess.PIPE, check=True).stdout.strip()
    home = os.path.join(os.path.dirname(os.path.dirname(node)), "include",
                        "node")
    if not os.path.exists(os.path.join(home, "node.h")):
        raise Unable("Node.js has no headers in %s; install libnode-dev" % home)
    return home


GO = ["go/go.mod", "go/go.sum", "go/suite.go", "go/franz.go", "go/sarama.go",
      "go/kafkago.go"]


def go_command(home):
    """A Go that is new enough for go/go.mod.  Debian 12's does not know yet how
    to fetch a newer one, but it can fetch the module that holds it."""
    with open(os.path.join(HERE, "go", "go.mod")) as file:
        wanted = re.search(r"^go (\S+)", file.read(), re.MULTILINE)[1]
    said = subprocess.run(["go", "version"], stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    if tuple(map(int, re.search(r"go(\d+)\.(\d+)", said).groups())) >= (1, 21):
        return "go"
    module = "golang.org/toolchain@v0.0.1-go%s.linux-amd64" % wanted
    # It cannot read a go.mod that asks for more than it is, either.
    apart = os.path.join(home, "toolchain")
    os.mkdir(apart)
    with open(os.path.join(apart, "go.mod"), "w") as file:
        file.write("module toolchain\n")
    environment = dict(os.environ, GOFLAGS="-mod=mod -modcacherw",
                       GOMODCACHE=os.path.join(home, "modules"))
    call(["go", "mod", "download", module], "go mod download", cwd=apart,
         env=environment, timeout=600)
    root = os.path.join(home, "modules", module)
    for folder in ("bin", os.path.join("pkg", "tool", "linux_amd64")):
        for name in os.listdir(os.path.join(root, folder)):
            os.chmod(os.path.join(root, folder, name), 0o755)
    return os.path.join(root, "bin", "go")


def go_program():
    """The program of the Go suites."""
    def install(made):
        call([go_command(made), "build", "-mod=readonly", "-o", "interop",
              "."], "go build", cwd=made, timeout=1500)

    return os.path.join(cached("go", GO, install), "interop")
