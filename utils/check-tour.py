#!/usr/bin/env python3
# Checks that the IR shown in docs/tour.md is what the phases make.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Usage: check-tour.py TOUR.md PHASES_DIR

A block fenced as ```mlir PHASE must stand in PHASES_DIR/N-PHASE.mlir line by line; a line of `...`
skips some. Locations, the hints of imported nodes and the numbers of values do not count.
"""
import glob
import re
import sys


def normal(line):
    line = re.sub(r" loc\((?:[^()]|\([^()]*\))*\)", "", line)
    line = re.sub(r" \{module = .*?\} :", " :", line)
    return re.sub(r"%[\w$.]+(?::\d+)?", "%", line).strip()


def find(block, lines, start):
    """The line after the first consecutive match of `block`, or None."""
    for i in range(start, len(lines) - len(block) + 1):
        if lines[i : i + len(block)] == block:
            return i + len(block)
    return None


def main():
    tour, folder = sys.argv[1:3]
    blocks = re.findall(r"^```mlir (\w+)\n(.*?)^```", open(tour).read(), re.M | re.S)
    if not blocks:
        sys.exit(f"error: {tour} shows no block of IR")
    for phase, text in blocks:
        (path,) = glob.glob(f"{folder}/*-{phase}.mlir")
        lines = [normal(line) for line in open(path)]
        position = 0
        for part in re.split(r"^\.\.\.$", text, flags=re.M):
            part = [normal(line) for line in part.strip().splitlines()]
            position = find(part, lines, position)
            if position is None:
                sys.exit(f"error: {tour}, phase {phase}: this is not in {path}:\n" + "\n".join(part))
    print(f"{len(blocks)} blocks of {tour} are current")


if __name__ == "__main__":
    main()
