"""Every command says so when its standard output cannot be written.

usage: check_output.py LEAT
"""

import os
import subprocess
import sys

LEAT = sys.argv[1]

# What needs no cluster.
COMMANDS = ["--version", "--help", "storage random-uuid", "storage --help",
            "topics --help", "produce --help", "consume --help",
            "groups --help", "configs --help", "quorum --help",
            "transactions --help", "broker-versions --help",
            "kafka-topics --version", "kafka-storage random-uuid"]

failures = 0


def run(command, **streams):
    return subprocess.run([LEAT, *command.split()], stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True, timeout=60,
                          **streams)


def expect(ok, command, where, done):
    global failures
    if not ok:
        failures += 1
        print("leat %s, %s: exit %d, %r" % (command, where, done.returncode,
                                            done.stderr))


def told(done, why):
    return (done.returncode == 1 and
            done.stderr.startswith("leat: not everything could be printed") and
            why in done.stderr and done.stderr.count("\n") == 1)


def nobody_reads(command):
    reader, writer = os.pipe()
    os.close(reader)
    done = run(command, stdout=writer)
    os.close(writer)
    return done


for command in COMMANDS:
    done = run(command, stdout=subprocess.DEVNULL)
    expect(done.returncode == 0 and not done.stderr, command, "to nowhere",
           done)
    with open("/dev/full", "w") as full:
        done = run(command, stdout=full)
    expect(told(done, "No space left on device"), command, "to a full disk",
           done)
    done = nobody_reads(command)
    expect(told(done, "Broken pipe"), command, "to nobody", done)
    done = run(command, preexec_fn=lambda: os.close(1))
    expect(told(done, "Bad file descriptor"), command, "closed", done)

with open("/dev/full", "w") as full:
    done = run("nosuch", stdout=full)
expect(done.returncode == 2, "nosuch", "with nothing to print", done)

print("%d commands, %d failures" % (len(COMMANDS), failures))
sys.exit(failures != 0)
