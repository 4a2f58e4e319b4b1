#!/usr/bin/env python3
#===-- check-memory.py - A trainer takes the memory that it says -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Compares what two ranks hold at most with what the compiler planned for them.

Trains utils/demo/moe-bytes.onnx under dp=2, as threads of one process, with a
micro-batch that takes about a gigabyte. The largest resident set of the process,
which the system counts, must be within 5 % of both ranks' planned memory.
Exits 1 where it is not.
"""
import argparse
import glob
import os
import re
import resource
import subprocess
import sys
import tempfile

RANKS, BATCH, LENGTH = 2, 88, 128
TOLERANCE = 0.05
UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9}
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="build folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="moire-memory-") as scratch:
        text, out = os.path.join(scratch, "text"), os.path.join(scratch, "out")
        with open(text, "wb") as file:
            for header in sorted(glob.glob("/usr/lib/llvm-19/include/mlir/IR/*.h")):
                with open(header, "rb") as part:
                    file.write(part.read())
        subprocess.run([os.path.join(args.build, "bin", "moirec"),
                        os.path.join(ROOT, "utils", "demo", "moe-bytes.onnx"), "--init", "--bind",
                        f"batch={BATCH},seq={LENGTH}", "--mesh", f"dp={RANKS}", "-o", out],
                       check=True)
        # From here on the largest child is the trainer: moirec and the C++ compiler stay below.
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        said = subprocess.run([os.path.join(out, "trainer"), "--data", text, "--steps", "1"],
                              check=True, capture_output=True, text=True).stdout
        resident = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    planned = re.search(r"^memory of a rank: ([\d.]+) (\w+) = ", said, re.MULTILINE)
    planned = RANKS * float(planned[1]) * UNITS[planned[2]]
    print(f"planned {planned / 1e9:.2f} GB for {RANKS} ranks, resident {resident / 1e9:.2f} GB "
          f"({100 * (resident / planned - 1):+.1f} %)")
    if resident <= before:
        sys.exit("error: the compiler took more than the trainer, so nothing was measured")
    sys.exit(0 if abs(resident / planned - 1) <= TOLERANCE else 1)


if __name__ == "__main__":
    main()
