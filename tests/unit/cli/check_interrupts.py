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


def ends(child, number, seconds):
    child.send_signal(number)
    try:
        child.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        return False


children = [(command, what, start(command, address))
            for what, address in BROKERS.items() for command in COMMANDS]
time.sleep(1)
for _, _, child in children:
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
time.sleep(1)
child.send_signal(signal.SIGINT)
time.sleep(0.5)
if child.poll() is None:
    expect(ends(child, signal.SIGINT, 2), "produce t", "is silent",
           "goes on after a second Ctrl-C")
    child.kill()
    child.wait()

print("%d commands, %d failures" % (2 * len(COMMANDS) + 1, failures))
sys.exit(failures != 0)
