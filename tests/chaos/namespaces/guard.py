#!/usr/bin/env python3
"""Takes down what a run has put up, whatever becomes of the run.

Told line by line on standard input what there is (`namespace NAME`,
`mount PATH`, `throttle MAJOR:MINOR`), it waits for the end of its input, which
comes when the run closes it or dies, by SIGKILL even.  Then it ends the processes that are left
in the namespaces, unmounts, and removes the namespaces.
"""

import os
import signal
import subprocess
import sys
import time

THROTTLE = "/sys/fs/cgroup/blkio/blkio.throttle.write_iops_device"


def quiet(*argv):
    """The output, or None if it fails or takes too long."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as child:
        try:
            out, _ = child.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.returncode = -signal.SIGKILL  # not waited for
    return out if child.returncode == 0 else None


def inhabitants(namespaces, spared):
    found = []
    for name in namespaces:
        found += map(int, (quiet("ip", "netns", "pids", name) or "").split())
    return [pid for pid in found if pid not in spared]


def end_all(namespaces, spared):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        left = inhabitants(namespaces, spared)
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    there = {"namespace": [], "mount": [], "throttle": []}
    for line in sys.stdin:
        kind, what = line.rstrip("\n").split(" ", 1)
        there[kind].append(what)
    for device in there["throttle"]:
        with open(THROTTLE, "w") as file:
            file.write(device + " 0")
    end_all(there["namespace"], (os.getpid(), int(sys.argv[1])))
    for path in there["mount"]:
        if quiet("umount", path) is None:
            quiet("umount", "--lazy", path)
    for name in there["namespace"]:
        quiet("ip", "netns", "del", name)


if __name__ == "__main__":
    main()
