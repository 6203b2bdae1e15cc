"""Stopping processes that somebody else started."""

import glob
import os
import signal
import time


def _stands_still(pid):
    for path in glob.glob("/proc/%d/task/*/stat" % pid):
        try:
            with open(path) as file:
                if file.read().rpartition(")")[2].split()[0] != "T":
                    return False
        except (FileNotFoundError, ProcessLookupError):
            pass  # a thread that ended
    return True


def stop(pid, seconds=60):
    """SIGSTOP, which takes a while to reach every thread: until it has."""
    deadline = time.monotonic() + seconds
    os.kill(pid, signal.SIGSTOP)
    while not _stands_still(pid):
        if time.monotonic() > deadline:
            raise TimeoutError("process %d does not stop" % pid)
        time.sleep(0.001)
