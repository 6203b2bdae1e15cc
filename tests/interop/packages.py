"""Clients that come from npm, Maven and PyPI, in .cache/interop, by the versions
that node/package-lock.json, java/pom.xml and python/requirements.txt fix.  Runs
may install at the same time.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.join(os.path.dirname(os.path.dirname(HERE)), ".cache",
                     "interop")

# One thread installs, the others wait for it.
INSTALLING = threading.Lock()


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


def python_modules():
    """Where pip has put the clients of python/requirements.txt."""
    home = cached("python", ["python/requirements.txt"], lambda made: call(
        ["/usr/bin/python3", "-m", "pip", "install", "--quiet", "--no-deps",
         "--only-binary", ":all:", "--require-hashes",
         "--disable-pip-version-check", "--root-user-action", "ignore",
         "--target", "modules", "-r", "requirements.txt"], "pip", cwd=made,
        timeout=600))
    return os.path.join(home, "modules")
