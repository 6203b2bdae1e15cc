#!/usr/bin/env python3
"""Every area that log lines are written in is a logger, and every logger but
root is such an area.

usage: check_log_areas.py SOURCE_ROOT"""

import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
text = (root / "base/log.c").read_text()
table = re.search(r"loggers\[\] = \{(.*?)\};", text, re.S)
loggers = set(re.findall(r'"(\w+)"', table.group(1)))
areas = {}
for folder in ("base", "broker", "controller", "raft", "cli"):
    for path in sorted((root / folder).rglob("*.[ch]")):
        if folder == "base" and path.name in ("log.h", "log.c"):
            continue
        for area in re.findall(
                r'(?:\blog_(?:debug|info|warn|error)\(|\blog_line\(\s*LOG_\w+,'
                r'|\.area =)\s*"(\w+)"', path.read_text()):
            areas.setdefault(area, path.name)

faults = ["%s: lines in \"%s\", which base/log.c does not know" % (path, area)
          for area, path in areas.items() if area not in loggers]
faults += ["base/log.c: no line is written in \"%s\"" % name
           for name in loggers - set(areas) - {"root"}]
if not areas:
    faults.append("no log lines were found")
for fault in faults:
    print(fault)
sys.exit(1 if faults else 0)
