"""What cannot be read is told, not taken for empty.

usage: check_inputs.py LEAT
"""

import os
import subprocess
import sys

LEAT = sys.argv[1]
# Nobody answers there; what is tested comes before anybody is asked.
KAFKA = "--bootstrap-server 127.0.0.1:1"

DIRECTORY = "/: Is a directory"
MISSING = "/nonexistent: No such file or directory"
CASES = [(line % path, why) for path, why in (("/", DIRECTORY),
                                              ("/nonexistent", MISSING))
         for line in (
             "topics list --command-config %s",
             "storage info --config %s",
             "kafka-topics --list --command-config %s " + KAFKA,
             "kafka-console-producer --topic t --producer.config %s " + KAFKA,
             "kafka-console-consumer --topic t --consumer.config %s " + KAFKA)]

failures = 0


def expect(ok, what, done):
    global failures
    if not ok:
        failures += 1
        print("%s: exit %s, %r" % (what, done.returncode, done.stderr[:200]))


def run(line, **streams):
    try:
        return subprocess.run([LEAT, *line.split()], capture_output=True,
                              text=True, timeout=20,
                              env={"LEAT_BOOTSTRAP": "127.0.0.1:1"}, **streams)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(line, None, "", "no end")


for line, why in CASES:
    done = run(line, stdin=subprocess.DEVNULL)
    expect(done.returncode not in (0, None) and
           "cannot read " + why in done.stderr, "leat " + line, done)

directory = os.open("/", os.O_RDONLY)
done = run("produce t", stdin=directory)
expect(done.returncode == 1 and "leat: cannot write to t: standard input "
       "cannot be read: Is a directory" in done.stderr,
       "leat produce t < /", done)
done = run("produce t", preexec_fn=lambda: os.close(0))
expect(done.returncode == 1 and "standard input cannot be read: Bad file "
       "descriptor" in done.stderr, "leat produce t <&-", done)

# Nothing came, but not because nothing was there.
done = run("consume t --timeout-ms 1000", stdin=subprocess.DEVNULL)
expect(done.returncode == 1 and "leat: cannot read t: 127.0.0.1:1: Connection "
       "refused" in done.stderr, "leat consume of nobody", done)

print("%d inputs, %d failures" % (len(CASES) + 3, failures))
sys.exit(failures != 0)
