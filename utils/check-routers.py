#!/usr/bin/env python3
#===-- check-routers.py - Router losses and capacity under plans --*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Compares --aux-loss, --z-loss and --capacity-factor with PyTorch, and --expert-slots with one rank.

What these take over a whole micro-batch must be the same however many ranks hold it:
a plan of dp x ep ranks with micro-batches of b rows gives what one rank gives with
b x dp x ep rows. Per case of test/Corpus/routers.json and plan: six SGD losses within
1e-6 of PyTorch's in float64, the first gradients of the gates within 1e-5 of autograd's
(moire-run --f64); with --binaries 2e-6 and 1e-5. A model without stored losses is compared
with one rank.

    check-routers.py               all plans, executed by moire-run
    check-routers.py --binaries 3  a sample of three, as compiled trainers
    check-routers.py --slots       --expert-slots: parts of micro-batches give one rank's numbers
    check-routers.py --slots --target cuda-model --steps 2
                                   of a CUDA program, executed by the model of a GPU
    check-routers.py --defects     a wrong program, which the above must tell

Exits 1 where a plan differs, 77 without a corpus.
"""
import argparse
import itertools
import json
import os
import random
import re
import sys
import tempfile

import compare_reference as reference
from importlib import import_module

plans = import_module("check-plans")
ROOT, ROWS = plans.ROOT, plans.ROWS
FLAGS = {"aux": "--aux-loss", "z": "--z-loss", "factor": "--capacity-factor",
         "order": "--drop-order"}


def read_cases():
    """(name, model, micro-batches, options, reference or None)."""
    with open(os.path.join(ROOT, "test", "Corpus", "routers.json")) as file:
        stored = json.load(file)
    cases = [(name, stored["model"], case["accumulate"], case["options"], case)
             for name, case in stored["cases"].items()]
    # No PyTorch of these is stored.
    return cases + [("groups", "deepseek3_batched_dyn18", 2,
                     {"aux": 0.05, "z": 0.01, "factor": 0.75, "order": "switch"}, None)]


def meshes(accumulate):
    for dp, ep, tp in itertools.product((1, 2, 4), (1, 2, 4), (1, 2)):
        if dp * ep * accumulate <= ROWS:
            yield plans.Plan(dp, ep, tp, accumulate)


def once_per_rank(text):
    """Every rank counts its own tokens alone: a mean of its own, as often as there are ranks."""
    text = re.sub(r"dist\.all_reduce (%\w+) over \[\"dp\", \"ep\"\] : (tensor<8xf32>)",
                  r"nn.reshape \1 : \2 -> \2", text)
    return text.replace("dense<8.000000e+01> : tensor<f32>", "dense<2.000000e+01> : tensor<f32>")


class Runs:
    def __init__(self, args, model, options, scratch):
        self.args, self.scratch, self.defect, self.said = args, scratch, None, ""
        self.entry = reference.Entry(os.path.join(args.corpus, model))
        self.flags = [word for key, value in options.items() for word in (FLAGS[key], str(value))]

    def execute(self, plan):
        """Losses of six SGD steps and the first step's gradients."""
        stem = os.path.join(self.scratch, f"run{len(os.listdir(self.scratch))}")
        sizes = {**self.entry.bindings(), "batch": plan.batch}
        compile_flags = [self.entry.path("model.onnx"), "--bind",
                         ",".join(f"{d}={n}" for d, n in sizes.items()), "--optimizer", "sgd",
                         *plan.mesh(), *self.flags]
        tool = os.path.join(self.args.build, "bin")
        if self.args.binaries:
            target = self.args.target if plan.ranks > 1 else "cpu"
            plans.run([f"{tool}/moirec", *compile_flags, "--target", target, "-o", stem])
            command = [f"{stem}/trainer", *(["--ranks", str(plan.ranks)] if plan.ranks > 1 else [])]
            if target != "cpu":
                command += ["--gpu-link", "nccl"]
        else:
            plans.run([f"{tool}/moirec", *compile_flags, "--stop-after=distribute"], stem + ".mlir")
            if self.defect and plan.ranks > 1:
                with open(stem + ".mlir") as file:
                    text = file.read()
                assert self.defect(text) != text, "the defect finds no place in the program"
                with open(stem + ".mlir", "w") as file:
                    file.write(self.defect(text))
            command = [f"{tool}/moire-run", stem + ".mlir", "--f64"]
        output = stem + ".txt"
        plans.run([*command, "--data", self.entry.path("batch16"), "--accumulate",
                   str(plan.accumulate), "--steps", str(self.args.steps), "--lr", "0.1", "--log", stem + ".jsonl",
                   "--dump-grads", stem + ".safetensors"], output)
        with open(output) as file:
            self.said = file.read()
        losses = [row["loss"] for row in reference.read_jsonl(stem + ".jsonl")]
        grads = {name: list(tensor.values)
                 for name, tensor in reference.read_safetensors(stem + ".safetensors").items()}
        return losses, grads

    def check(self, plan, want_losses, want_grads):
        """(error of losses, error of gradients, problems)."""
        losses, grads = self.execute(plan)
        worst = max(abs(x / y - 1) for x, y in zip(losses, want_losses, strict=True))
        worst_grad = max(reference.distance(grads[name], want) / reference.norm(want)
                         for name, want in want_grads.items())
        allowed, allowed_grad = (2e-6, 1e-5) if self.args.binaries else (1e-6, 1e-5)
        problems = []
        if not worst <= allowed:
            problems.append(f"{plan}: losses {losses} differ by {worst:.1e} from {want_losses}")
        if not worst_grad <= allowed_grad:
            problems.append(f"{plan}: gradients differ by {worst_grad:.1e}")
        return worst, worst_grad, problems


def check_case(args, case, chosen):
    """Number of plans that differ."""
    name, model, accumulate, options, want = case
    failed, worst, worst_grad = 0, 0.0, 0.0
    with tempfile.TemporaryDirectory(prefix="moire-routers-") as scratch:
        runs = Runs(args, model, options, scratch)
        if want:
            losses, grads = want["losses"], want["gradients"]
        else:
            losses, grads = runs.execute(plans.Plan(1, 1, 1, accumulate))
        for plan in chosen:
            try:
                error, error_grad, problems = runs.check(plan, losses, grads)
            except plans.Failure as failure:
                error, error_grad, problems = 0, 0, [f"{plan}: {failure}"]
            worst, worst_grad = max(worst, error), max(worst_grad, error_grad)
            failed += bool(problems)
            for problem in problems:
                print(f"  {problem}")
    print(f"{name:8s} {'FAILED' if failed else 'ok':6s} {len(chosen)} plans  losses {worst:.1e}  "
          f"gradients {worst_grad:.1e}", flush=True)
    return failed


def check_slots(args):
    """1 unless experts with few slots run micro-batches in parts and give one rank's numbers."""
    model, plan, problems = "mixtral_batched_dyn18", plans.Plan(1, 4, 1, 1), []
    args.binaries = 1
    with tempfile.TemporaryDirectory(prefix="moire-routers-") as scratch:
        runs = Runs(args, model, {}, scratch)
        # The same parts of the work: one rank accumulates the ranks' micro-batches.
        losses, grads = runs.execute(plans.Plan(1, 1, 1, 4))
        runs.flags = ["--expert-slots", "1.1"]
        problems = runs.check(plan, losses, grads)[2]
        ran = re.search(r"experts' slots: (\d+) micro-batches .* all ran in (\d+) parts", runs.said)
        if not ran or int(ran.group(2)) <= args.steps:
            problems.append(f"no micro-batch ran in parts: {runs.said!r}")
        runs.flags = ["--expert-slots", "0.2"]
        try:
            runs.execute(plan)
            problems.append("a row that finds no room is not refused")
        except plans.Failure as failure:
            if "compile with a larger --expert-slots" not in str(failure):
                problems.append(f"a row that finds no room: {failure}")
    for problem in problems:
        print(f"  {problem}")
    print(f"slots    {'FAILED' if problems else 'ok'}     {ran.group(0) if ran else ''}")
    return bool(problems)


def check_defects(args, cases):
    """1 where the wrong program is not told."""
    _, model, accumulate, options, want = next(case for case in cases if case[0] == "aux")
    plan = plans.Plan(2, 2, 1, accumulate)
    with tempfile.TemporaryDirectory(prefix="moire-routers-") as scratch:
        runs = Runs(args, model, options, scratch)
        assert not runs.check(plan, want["losses"], want["gradients"])[2], "the sound program differs"
        runs.defect = once_per_rank
        problems = runs.check(plan, want["losses"], want["gradients"])[2]
    told = problems[0][:110] + "..." if problems else "MISSED"
    print(f"auxiliary loss counted once per rank: {told}")
    return not problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    reference.add_folders(parser)
    parser.add_argument("--case", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--sample", type=int, metavar="N", help="only N plans a case, at random")
    parser.add_argument("--binaries", type=int, metavar="N",
                        help="N plans of all cases, chosen at random, as compiled trainers")
    parser.add_argument("--slots", action="store_true",
                        help="a compiled trainer whose experts have too few slots")
    parser.add_argument("--target", default="cpu", choices=["cpu", "cuda-model"],
                        help="of --slots: what the ranks are compiled for")
    parser.add_argument("--steps", type=int, default=6, help="of --slots (6)")
    parser.add_argument("--defects", action="store_true", help="seed a defect, which must be told")
    parser.add_argument("--seed", type=int, default=1, help="of the choice")
    args = parser.parse_args()
    reference.skip_without_corpus(args, "routers")
    cases = read_cases()
    if args.slots:
        sys.exit(check_slots(args))
    if args.defects:
        sys.exit(check_defects(args, cases))
    chosen = [(case, plan) for case in cases for plan in meshes(case[2])
              if not args.case or case[0] in args.case]
    generator = random.Random(args.seed)
    if args.binaries:
        chosen = generator.sample(chosen, args.binaries)
    failed = 0
    for case in cases:
        own = [plan for other, plan in chosen if other is case]
        if args.sample and len(own) > args.sample:
            own = generator.sample(own, args.sample)
        if own:
            failed += check_case(args, case, own)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
