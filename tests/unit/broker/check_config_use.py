#!/usr/bin/env python3
"""docs/configuration.md says "used" of a key exactly if the server reads the
field that holds it.

usage: check_config_use.py SOURCE_ROOT"""

import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
header = (root / "broker/config.h").read_text()
fields = re.findall(r'X\(\s*\w+,\s*(\w+),\s*\\?\s*"([^"]+)"', header)
page = (root / "docs/configuration.md").read_text()
effects = {}
for key, effect in re.findall(r"^\| `([^`]+)` \|.*\| (used|no effect) \|", page, re.M):
    effects.setdefault(key, effect)

readers = ""
for folder in ("broker", "controller", "raft"):
    for path in sorted((root / folder).rglob("*.[ch]")):
        if not (folder == "broker" and path.name.startswith("config")):
            readers += path.read_text()

faults = []
if len(fields) < 40:
    faults.append("broker/config.h: SERVER_CONFIG_FIELDS cannot be read")
for field, key in fields:
    read = re.search(r"(->|\.)" + field + r"\b", readers) is not None
    effect = effects.get(key)
    if read and effect != "used":
        faults.append(f"{key} is read as {field}, but the table says {effect}")
    if not read and effect == "used":
        faults.append(f"{key} is called used, but nobody reads {field}")
for fault in faults:
    print(fault)
sys.exit(1 if faults else 0)
