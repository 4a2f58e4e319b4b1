#!/usr/bin/env python3
#===-- check-plans.py - Every plan gives the numbers of one rank -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Trains corpus models under many plans and compares them with one rank.

A plan is a mesh, a size of the micro-batch and a number of micro-batches that
each rank accumulates; together they always take the same sixteen rows. Its
reference is one rank that runs the same micro-batches in the same order. Per
plan: six SGD losses within 1e-5, six AdamW losses within 1e-4, the first step's
gradients within 1e-6 (of the 2-norm), where tp is 1 the first loss equal to the
last bit; and the SGD losses are PyTorch's within 2e-4.

    check-plans.py                    all plans, executed by moire-run
    check-plans.py --binaries 10      a sample of ten, as compiled trainers

Prints one line a model; exits 1 where a plan differs, 77 without a corpus.
"""
import argparse
import concurrent.futures
import itertools
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import compare_reference as reference

ENTRIES = ["gpt2_dyn18", "llama_dyn18", "mixtral_batched_dyn18", "mixtral_deep_dyn18"]
ROWS = 16
TOLERANCE = {"sgd": 1e-5, "adamw": 1e-4}
GRAD_TOLERANCE, GRAD_FLOOR = 1e-6, 1e-3
FLAGS = {
    "sgd": ["--lr", "0.1"],
    "adamw": ["--lr", "0.01", "--beta1", "0.9", "--beta2", "0.95", "--eps", "1e-8",
              "--weight-decay", "0.1"],
}
SKIPPED = 77
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Failure(Exception):
    """A command that did not do what it should; the text is for the user."""


def run(command, output=None):
    """Runs `command`; on failure raises it with its error's last lines."""
    with open(output or os.devnull, "w") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        tail = "\n    ".join(done.stderr.strip().splitlines()[-4:])
        raise Failure(f"exit {done.returncode}: {shlex.join(command)}\n    {tail}")


class Plan:
    """A mesh with the work of a step: `batch` rows a micro-batch, `accumulate` of them."""

    def __init__(self, dp, ep, tp, accumulate):
        self.dp, self.ep, self.tp, self.accumulate = dp, ep, tp, accumulate
        self.batch = ROWS // (dp * ep * accumulate)
        self.ranks = dp * ep * tp

    def mesh(self):
        axes = [f"{axis}={getattr(self, axis)}" for axis in ("dp", "ep", "tp")]
        return ["--mesh", ",".join(axes)] if self.ranks > 1 else []

    def __str__(self):
        return (f"dp={self.dp},ep={self.ep},tp={self.tp} batch {self.batch} "
                f"accumulate {self.accumulate}")

    def alone(self):
        """The reference: one rank with the same micro-batches."""
        return Plan(1, 1, 1, ROWS // self.batch)


def all_plans(tp):
    """All plans of more than one rank whose micro-batches are whole rows."""
    for dp, ep, t, accumulate in itertools.product((1, 2, 4), (1, 2, 4, 8), tp, (1, 2, 4)):
        if dp * ep * accumulate <= ROWS and dp * ep * t > 1:
            yield Plan(dp, ep, t, accumulate)


class Runs:
    """Runs of one model: what executes them, and what they gave."""

    def __init__(self, args, name, scratch):
        self.args, self.scratch = args, scratch
        self.entry = reference.Entry(os.path.join(args.corpus, name))
        self.known = {}

    def tool(self, name):
        return os.path.join(self.args.build, "bin", name)

    def execute(self, plan, optimizer):
        """Losses of six steps and, for SGD, the first step's gradients."""
        stem = os.path.join(self.scratch, f"{plan}.{optimizer}".replace(" ", ".").replace(",", "."))
        sizes = {**self.entry.bindings(), "batch": plan.batch}
        compile_flags = [self.entry.path("model.onnx"), "--bind",
                         ",".join(f"{d}={n}" for d, n in sizes.items()),
                         "--optimizer", optimizer, *plan.mesh()]
        if self.args.binaries:
            run([self.tool("moirec"), *compile_flags, "-o", stem])
            command = [os.path.join(stem, "trainer")]
            if plan.ranks > 1:
                command += ["--ranks", str(plan.ranks)]
        else:
            run([self.tool("moirec"), *compile_flags, "--stop-after=distribute"], stem + ".mlir")
            command = [self.tool("moire-run"), stem + ".mlir"]
        command += ["--data", self.entry.path("batch16"), "--accumulate", str(plan.accumulate),
                    "--steps", "6", *FLAGS[optimizer], "--log", stem + ".jsonl"]
        if optimizer == "sgd":
            command += ["--dump-grads", stem + ".safetensors"]
        run(command)
        losses = [row["loss"] for row in reference.read_jsonl(stem + ".jsonl")]
        grads = {}
        if optimizer == "sgd":
            grads = {name: tensor.values
                     for name, tensor in reference.read_safetensors(stem + ".safetensors").items()}
        if self.args.binaries:
            shutil.rmtree(stem)
        return losses, grads

    def alone(self, plan, optimizer):
        key = (plan.batch, optimizer)
        if key not in self.known:
            self.known[key] = self.execute(plan.alone(), optimizer)
        return self.known[key]

    def check(self, plan, optimizer):
        """(worst relative error of a loss, of a gradient, problems)."""
        losses, grads = self.execute(plan, optimizer)
        want, want_grads = self.alone(plan, optimizer)
        problems = []
        worst = max(abs(x / y - 1) for x, y in zip(losses, want, strict=True))
        if not worst <= TOLERANCE[optimizer]:
            problems.append(f"{optimizer} losses {losses} differ by {worst:.1e} from {want} of one rank")
        if plan.tp == 1 and losses[0] != want[0]:
            problems.append(f"the first loss {losses[0]!r} is not equal to {want[0]!r} of one rank")
        torch = self.entry.losses(optimizer, True)
        away = max(abs(x / y - 1) for x, y in zip(losses, torch))
        if optimizer == "sgd" and not away <= reference.LOSS_TOLERANCE:
            problems.append(f"losses {losses} differ by {away:.1e} from PyTorch's {torch}")
        worst_grad = 0.0
        if want_grads.keys() != grads.keys():
            problems.append(f"gradients of {sorted(grads)}, one rank has {sorted(want_grads)}")
        else:
            everything = reference.norm(reference.norm(values) for values in want_grads.values())
            for name, values in want_grads.items():
                error = reference.distance(grads[name], values)
                error /= reference.norm(values) + GRAD_FLOOR * everything
                worst_grad = max(worst_grad, error)
                if not error <= GRAD_TOLERANCE:
                    problems.append(f"gradient of {name} differs by {error:.1e}")
        return worst, worst_grad, [f"{plan}: {p}" for p in problems]


def check_entry(args, name, plans):
    """(lines to print, number of plans that differ)."""
    start, scratch = time.time(), tempfile.mkdtemp(prefix="moire-plans-")
    runs = Runs(args, name, scratch)
    worst, worst_grad, problems, failed = {o: 0.0 for o in FLAGS}, 0.0, [], 0
    try:
        for plan in plans:
            found = []
            for optimizer in FLAGS:
                try:
                    error, grad, more = runs.check(plan, optimizer)
                    worst[optimizer] = max(worst[optimizer], error)
                    worst_grad = max(worst_grad, grad)
                    found += more
                except (Failure, OSError, ValueError, KeyError) as failure:
                    found.append(f"{plan}: {failure}")
            failed += bool(found)
            problems += found
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    verdict = "FAILED" if failed else "ok"
    lines = [f"{name:24s} {verdict:6s} {time.time() - start:5.1f} s  {len(plans)} plans  "
             f"sgd {worst['sgd']:.1e}  adamw {worst['adamw']:.1e}  gradients {worst_grad:.1e}"]
    return lines + [f"  {problem}" for problem in problems[:20]], failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="build folder")
    parser.add_argument("--corpus", metavar="DIR",
                        default=os.environ.get("MOIRE_CORPUS",
                                               os.path.join(ROOT, "..", "shared", "corpus")),
                        help="default: $MOIRE_CORPUS, else ../shared/corpus")
    parser.add_argument("--entry", nargs="+", metavar="NAME", default=ENTRIES)
    parser.add_argument("--tp", nargs="+", type=int, default=[1], help="sizes of the axis tp")
    parser.add_argument("--sample", type=int, metavar="N", help="only N plans, chosen at random")
    parser.add_argument("--binaries", type=int, metavar="N",
                        help="N plans, chosen at random, as compiled trainers")
    parser.add_argument("--seed", type=int, default=1, help="of the choice")
    parser.add_argument("--jobs", type=int, default=1, help="models at the same time")
    args = parser.parse_args()
    if not os.path.isdir(args.corpus):
        print(f"SKIPPED plans: there is no folder {os.path.normpath(args.corpus)}; "
              "give its place with --corpus")
        sys.exit(SKIPPED)
    if not os.path.exists(os.path.join(args.build, "bin", "moirec")):
        sys.exit(f"error: there is no bin/moirec in {args.build}; build first, or name the "
                 "build folder with --build")
    plans = [(name, plan) for name in args.entry for plan in all_plans(args.tp)]
    if args.sample or args.binaries:
        plans = random.Random(args.seed).sample(plans, args.sample or args.binaries)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        chosen = [(name, [p for n, p in plans if n == name]) for name in args.entry]
        for lines, count in pool.map(lambda c: check_entry(args, *c), [c for c in chosen if c[1]]):
            print("\n".join(lines), flush=True)
            failed += count
    print(f"{len(plans) - failed} of {len(plans)} plans give the numbers of one rank")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
