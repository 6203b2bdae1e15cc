"""Numbers that an option cannot mean are refused before anybody is asked.

usage: check_numbers.py LEAT
"""

import subprocess
import sys

LEAT = sys.argv[1]

# The command, its exit code, what it says.
CASES = [
    ("topics create t -r 65539", 2, "--replicas needs a number from 1 to 32767"),
    ("topics create t -r 0", 2, "--replicas needs a number from 1 to 32767"),
    ("topics create t -r -1", 2, "--replicas needs a number from 1 to 32767"),
    ("topics create t -p 0", 2, "--partitions needs a number, 1 or more"),
    ("topics alter t -p -5", 2, "--partitions needs a number, 1 or more"),
    ("consume t -p -1", 2, "--partition needs a number, 0 or more"),
    ("consume t -n -1", 2, "--max-messages needs a number, 0 or more"),
    ("consume t -p 4294967296", 2, "--partition needs a number, 0 or more"),
    ("produce t -p -3", 2, "--partition needs a number, 0 or more"),
    ("produce t --batch-bytes 0", 2, "--batch-bytes needs a number, 1 or more"),
    ("topics list --timeout 0", 2, "--timeout needs a number, 1 or more"),
    ("topics list --timeout 4294967297", 2, "--timeout needs a number"),
    ("transactions abort --producer-epoch 65536", 2,
     "--producer-epoch needs a number from 0 to 32767"),
    ("transactions producers -t t -p -1", 2, "--partition needs a number"),
    ("quorum remove-controller --id -1", 2, "--id needs a number, 0 or more"),
    ("kafka-transactions --bootstrap-server x:1 abort --producer-epoch 65536",
     1, "--producer-epoch needs a number from -32768 to 32767"),
    ("kafka-console-consumer --bootstrap-server x:1 --topic t --partition -1",
     1, "--partition needs a number, 0 or more"),
    ("kafka-console-consumer --bootstrap-server x:1 --topic t "
     "--consumer-property session.timeout.ms=4294967297", 1,
     "Invalid value 4294967297 for configuration session.timeout.ms: Not a "
     "number of type INT"),
    ("kafka-console-producer --bootstrap-server x:1 --topic t "
     "--producer-property batch.size=16k", 1,
     "Invalid value 16k for configuration batch.size: Not a number of type "
     "INT"),
    ("kafka-console-producer --bootstrap-server x:1 --topic t "
     "--producer-property batch.size=-1", 1,
     "Invalid value -1 for configuration batch.size: Value must be at least 0"),
]

failures = 0
for line, code, words in CASES:
    try:
        done = subprocess.run([LEAT, *line.split()], capture_output=True,
                              stdin=subprocess.DEVNULL, text=True, timeout=10,
                              env={"LEAT_BOOTSTRAP": "127.0.0.1:1"})
    except subprocess.TimeoutExpired:
        failures += 1
        print("leat %s: was not refused at once" % line)
        continue
    if done.returncode != code or words not in done.stderr:
        failures += 1
        print("leat %s: exit %d, %r" % (line, done.returncode,
                                        done.stderr[:200]))

print("%d command lines, %d failures" % (len(CASES), failures))
sys.exit(failures != 0)
