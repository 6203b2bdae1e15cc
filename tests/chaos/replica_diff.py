#!/usr/bin/env python3
"""Compares the replicas of partitions in the data directories of nodes.

usage: replica_diff.py DATA-DIRECTORY DATA-DIRECTORY... [--topic NAME]

Segments may roll at different places, so what is compared is the batches from
the first to the last, byte for byte.  Offsets must follow each other without a
hole, and each change of leader epoch must be in leader-epoch-checkpoint.
Meant for a cluster at rest with complete in-sync replicas, where the high
watermark is the end of all logs.
"""

import argparse
import hashlib
import os
import struct
import sys

HEADER = struct.Struct(">qiibIhi")  # to lastOffsetDelta
HEADER_BYTES = 61


class Damaged(Exception):
    """A log is not a sequence of batches."""


class Log:
    """One replica's batches: [(base offset, next offset, epoch, digest)]."""

    def __init__(self, directory):
        self.directory = directory
        self.batches = []
        names = sorted(n for n in os.listdir(directory)
                       if n.endswith(".log"))
        for name in names:
            self.read_segment(os.path.join(directory, name))
        self.end = self.batches[-1][1] if self.batches else \
            int(names[-1][:-4]) if names else 0

    def read_segment(self, path):
        with open(path, "rb") as file:
            data = file.read()
        if int(os.path.basename(path)[:-4]) != (
                self.batches[-1][1] if self.batches
                else int(os.path.basename(path)[:-4])):
            raise Damaged("%s does not begin where the segment before ends" %
                          path)
        at = 0
        while at < len(data):
            if len(data) - at < HEADER_BYTES:
                raise Damaged("%s: a torn batch at %d" % (path, at))
            base, length, epoch, magic, _, _, last = \
                HEADER.unpack_from(data, at)
            size = length + 12
            if magic != 2 or size < HEADER_BYTES or at + size > len(data):
                raise Damaged("%s: a damaged batch at %d" % (path, at))
            digest = hashlib.blake2b(data[at:at + size],
                                     digest_size=16).digest()
            if self.batches and base != self.batches[-1][1]:
                raise Damaged("%s: offset %d follows %d" %
                              (path, base, self.batches[-1][1] - 1))
            if self.batches and epoch < self.batches[-1][2]:
                raise Damaged("%s: offset %d goes back to epoch %d" %
                              (path, base, epoch))
            self.batches.append((base, base + last + 1, epoch, digest))
            at += size

    def check_epochs(self):
        """leader-epoch-checkpoint: version, count, then EPOCH OFFSET."""
        path = os.path.join(self.directory, "leader-epoch-checkpoint")
        try:
            with open(path) as file:
                lines = file.read().split("\n")[2:]
        except FileNotFoundError:
            lines = []
        known = [tuple(map(int, line.split())) for line in lines if line]
        before = None
        for base, _, epoch, _ in self.batches:
            if epoch != before and (epoch, base) not in known and \
                    before is not None:
                raise Damaged("%s: epoch %d begins at %d, not so in %s" %
                              (self.directory, epoch, base, known))
            before = epoch


def difference(a, b):
    """None, or a sentence about the first difference of two logs."""
    for one, two in zip(a.batches, b.batches):
        if one != two:
            return "%s and %s differ at offset %d (epochs %d and %d)" % (
                a.directory, b.directory, one[0], one[2], two[2])
    if a.end != b.end:
        return "%s ends at %d, %s at %d" % (a.directory, a.end,
                                            b.directory, b.end)
    if len(a.batches) != len(b.batches):
        return "%s and %s do not begin together" % (a.directory, b.directory)
    return None


def partitions_in(directories, topic=None):
    """{partition's directory name: [paths]}"""
    found = {}
    for directory in directories:
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            base, _, number = name.rpartition("-")
            if not number.isdigit() or not os.path.isdir(path) or \
                    topic and base != topic:
                continue
            found.setdefault(name, []).append(path)
    return found


def compare(directories, topic=None):
    """(replicas compared, [sentences])"""
    wrong = []
    count = 0
    for paths in partitions_in(directories, topic).values():
        try:
            logs = [Log(path) for path in paths]
            for log in logs:
                log.check_epochs()
        except (Damaged, FileNotFoundError) as error:
            wrong.append(str(error))
            continue
        count += len(logs)
        wrong += [d for d in (difference(logs[0], log) for log in logs[1:])
                  if d]
    return count, wrong


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("directories", nargs="+")
    parser.add_argument("--topic")
    options = parser.parse_args()
    count, wrong = compare(options.directories, options.topic)
    for sentence in wrong:
        print(sentence)
    print("%d replicas compared, %d differences" % (count, len(wrong)))
    return 1 if wrong or not count else 0


if __name__ == "__main__":
    sys.exit(main())
