#!/usr/bin/env python3
"""check_evaluation.py STEPS.jsonl EVAL.jsonl…: each evaluation's loss is the mean of the steps'.
check_evaluation.py --same ALONE.jsonl WATCHED.jsonl: the steps of both are the same, and the
second log has evaluations."""
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import json
import sys


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def losses(path, key="loss"):
    return [line[key] for line in read(path) if key in line]


if sys.argv[1] == "--same":
    alone, watched = sys.argv[2:]
    if losses(alone) != losses(watched) or not losses(alone):
        sys.exit(f"{losses(alone)} differ from {losses(watched)}")
    if [line["step"] for line in read(watched) if "eval_loss" in line] != [2, 4]:
        sys.exit(f"{watched} has not two evaluations")
else:
    steps = losses(sys.argv[1])
    for path in sys.argv[2:]:
        (loss,) = losses(path, "eval_loss")
        if not abs(loss * len(steps) / sum(steps) - 1) < 1e-6:
            sys.exit(f"{path}: {loss} is not the mean of {steps}")
