"""Ctrl-C ends a command soon, also when no broker answers; twice, at once.

usage: check_interrupts.py LEAT
"""

import signal
import socket
import subprocess
import sys
import time

LEAT = sys.argv[1]
COMMANDS = ["produce t", "consume t", "consume t --group g"]
SOON = 15  # seconds; without the signal it takes the 30 of --timeout, or ever

silent = socket.create_server(("127.0.0.1", 0))
BROKERS = {"refuses": "127.0.0.1:1",
           "is silent": "127.0.0.1:%d" % silent.getsockname()[1]}
failures = 0


def expect(ok, command, what, why):
    global failures
    if not ok:
        failures += 1
        print("leat %s, a broker that %s: %s" % (command, what, why))


def start(command, address):
    child = subprocess.Popen([LEAT, *command.split()], stdin=subprocess.PIPE,
                             stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL,
                             env={"LEAT_BOOTSTRAP": address})
    child.stdin.write(b"hello\n")
    child.stdin.flush()
    return child


def interrupts(child, field):
    """Whether SIGINT is in a set of signals of /proc/PID/status."""
    with open("/proc/%d/status" % child.pid) as file:
        for line in file:
            name, value = line.split(":", 1)
            if name == field:
                return bool(int(value, 16) >> (signal.SIGINT - 1) & 1)
    return False


def wait_until(child, condition):
    limit = time.monotonic() + SOON
    while child.poll() is None and not condition():
        if time.monotonic() > limit:
            sys.exit("a command does not catch its interrupt within %d s" %
                     SOON)
        time.sleep(0.01)


def is_ready(child):
    wait_until(child, lambda: interrupts(child, "SigCgt"))


def ends(child, number, seconds):
    child.send_signal(number)
    try:
        child.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        return False


children = [(command, what, start(command, address))
            for what, address in BROKERS.items() for command in COMMANDS]
for _, _, child in children:
    is_ready(child)
    child.send_signal(signal.SIGINT)
limit = time.monotonic() + SOON
for command, what, child in children:
    try:
        child.wait(max(0, limit - time.monotonic()))
    except subprocess.TimeoutExpired:
        expect(False, command, what, "goes on after Ctrl-C")
        child.kill()
        child.wait()

child = start("produce t", BROKERS["is silent"])
is_ready(child)
child.send_signal(signal.SIGINT)
wait_until(child, lambda: not interrupts(child, "ShdPnd"))
if child.poll() is None:
    expect(ends(child, signal.SIGINT, 2), "produce t", "is silent",
           "goes on after a second Ctrl-C")
    child.kill()
    child.wait()

print("%d commands, %d failures" % (2 * len(COMMANDS) + 1, failures))
sys.exit(failures != 0)
