#!/usr/bin/env python3
# Names the files that a generated folder's sources include and that are not in it.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Usage: missing-includes.py FOLDER. Includes in quotes only; CUDA's own are in <>."""
import os
import re
import sys

ROOT = sys.argv[1]
PLACES = [os.path.join(ROOT, p) for p in ("src", "runtime", "runtime/include", "runtime/lib")]
seen = 0
for folder, _, names in os.walk(ROOT):
    for name in names:
        if not name.endswith((".h", ".cuh", ".cpp", ".cu")):
            continue
        with open(os.path.join(folder, name)) as file:
            wanted = re.findall(r'^\s*#\s*include "([^"]+)"', file.read(), re.M)
        seen += len(wanted)
        for path in wanted:
            if not any(os.path.exists(os.path.join(p, path)) for p in [folder, *PLACES]):
                print(f"missing: {path}, which {name} includes")
print(f"{seen} includes")
