#!/usr/bin/env python3
#===-- check-weights.py - Trained weights go back and come again -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Trains corpus models under plans, exports their weights and takes them in again.

Of each model and plan:
  same      a trainer that exports without a step gives the model's own bytes.
  onnx      after three steps it exports; a trainer that starts with these weights
            gives the fourth step's loss to the last bit (a file in bf16: within
            what rounding the weights moves it).
  tensors   the same with --export-safetensors, of every file to the last bit.
  plan      one rank that starts with the tensors exports the bytes that the plan's
            ranks did.
  again     moirec compiles the exported model, whose trainer gives the same loss
            and exports its own bytes.

Prints one line each; exits 1 when one fails, 77 without a corpus. Plain Python.
"""
import argparse
import concurrent.futures
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
import time

import compare_reference as reference

# Entry, plan, whether the exported model is compiled again.
PLANS = [
    ("gpt2_dyn18", "--mesh pp=2 --microbatches 4", True),           # tied over two stages
    ("gpt2_legacy17", "", True),                                    # tied, no metadata
    ("mixtral_fresh_dyn18", "", True),                              # merged norms
    ("mixtral_batched_dyn18", "--mesh ep=2,tp=2 --zero 3", True),
    ("mixtral_batched_dyn18", "--mesh dp=2,ep=2 --zero 3", False),
    ("mixtral_deep_dyn18", "--mesh pp=2,ep=2 --microbatches 4 --schedule dualpipe", False),
    ("llama_dyn18", "--mesh dp=2,tp=2 --zero 2", False),
    ("llama_dyn18", "--mesh pp=2,dp=2 --microbatches 4 --zero 2", False),
    ("mixtral_batched_dyn18", "--mesh ep=4 --zero 1", False),
    ("gptoss_batched_dyn18", "--mesh ep=2,tp=2", False),
    ("deepseek3_batched_dyn18", "--mesh ep=2 --router-bias-rate 0.01", False),
    ("llama_bf16_ext_dyn20", "", True),
]
SAMPLE = [PLANS[3]]
# Relative: half a unit of bf16 (2^-9) in every weight moves the loss by less.
BF16_TOLERANCE = 2e-3


class Failure(Exception):
    """A command that did not do what it should; the text is for the user."""


def run(command):
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        tail = "\n    ".join(done.stderr.strip().splitlines()[-6:])
        raise Failure(f"exit {done.returncode}: {' '.join(command)}\n    {tail}")


class Refused(Failure):
    """moirec does not compile the model."""


class Check:
    """One model under one plan."""

    def __init__(self, args, name, plan, again, scratch):
        self.args, self.plan, self.again, self.scratch = args, plan.split(), again, scratch
        self.entry = reference.Entry(os.path.join(args.corpus, name))
        axes = dict(a.split("=") for a in self.plan[1].split(",")) if "--mesh" in self.plan else {}
        self.ranks = 1
        for size in axes.values():
            self.ranks *= int(size)
        shards = int(axes.get("dp", 1)) * int(axes.get("ep", 1))
        self.data = "batch16" if axes else "test_data_set_0"
        self.sizes = {**self.entry.bindings(self.data)}
        self.flags = ["--lr", "0.1", "--threads", str(self.ranks), "--ranks", str(self.ranks),
                      "--data", self.entry.path(self.data)]
        if axes:
            # Sixteen rows of a step, two of them in a micro-batch where the plan leaves as many.
            per_rank = 16 // shards
            micros = 4 if "pp" in axes else 1
            self.sizes["batch"] = min(2, per_rank // micros)
            if shards == 4 and "pp" in axes:
                self.sizes["batch"] = 1
            self.flags += ["--accumulate", str(per_rank // micros // self.sizes["batch"])]

    def path(self, *parts):
        return os.path.join(self.scratch, *parts)

    def compile(self, model, plan, folder):
        bind = ",".join(f"{dim}={size}" for dim, size in self.sizes.items())
        try:
            run([os.path.join(self.args.build, "bin", "moirec"), model,
                 *(["--bind", bind] if bind else []), "--optimizer", "sgd", *plan, "-o",
                 self.path(folder)])
        except Failure as failure:
            raise Refused(str(failure)) if str(failure).startswith("exit 1:") else failure
        return self.path(folder, "trainer")

    def export(self, trainer, folder, *flags):
        os.makedirs(self.path(folder), exist_ok=True)
        run([trainer, *flags, "--export", self.path(folder, "model.onnx")])
        return self.path(folder, "model.onnx")

    def loss(self, trainer, steps, *flags):
        log = self.path("log.jsonl")
        run([trainer, *self.flags, "--steps", str(steps), "--log", log, *flags])
        return reference.read_jsonl(log)[-1]["loss"]

    def want_same_files(self, folder, other, what):
        names = sorted(os.listdir(self.path(folder)))
        for name in names:
            if not filecmp.cmp(self.path(folder, name), os.path.join(other, name), shallow=False):
                raise Failure(f"{what}: {name} is another file")
        if "model.onnx" not in names:
            raise Failure(f"{what}: there is no model.onnx but {names}")

    def want_loss(self, got, want, what, rounded=False):
        tolerance = BF16_TOLERANCE * want if rounded and "bf16" in self.entry.name else 0
        if not abs(got - want) <= tolerance:
            raise Failure(f"{what}: the loss is {got!r} instead of {want!r}")

    def all(self):
        trainer = self.compile(self.entry.path("model.onnx"), self.plan, "first")
        self.export(trainer, "same", "--steps", "0")
        self.want_same_files("same", self.entry.folder, "same")

        tensors = self.path("weights.safetensors")
        model = self.export(trainer, "trained", *self.flags, "--steps", "3",
                            "--export-safetensors", tensors)
        want = self.loss(trainer, 4)
        self.want_loss(self.loss(trainer, 1, "--weights", tensors), want, "tensors")
        self.want_loss(self.loss(trainer, 1, "--weights", model), want, "onnx", rounded=True)
        if self.ranks > 1:
            alone = self.compile(self.entry.path("model.onnx"), [], "alone")
            self.export(alone, "alone-trained", "--steps", "0", "--weights", tensors)
            self.want_same_files("trained", self.path("alone-trained"), "plan")
        if self.again:
            again = self.compile(model, self.plan, "second")
            self.want_loss(self.loss(again, 1), want, "again", rounded=True)
            self.export(again, "again", "--steps", "0")
            self.want_same_files("again", self.path("trained"), "again")


def check(args, name, plan, again, may_refuse=False):
    scratch, start, problem = tempfile.mkdtemp(prefix="moire-"), time.time(), None
    try:
        Check(args, name, plan, again, scratch).all()
    except Refused as error:
        if may_refuse:
            return f"{name:28s} is refused by moirec"
        problem = str(error)
    except (Failure, OSError, ValueError, KeyError) as error:
        problem = str(error)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    line = (f"{name:28s} {'FAILED' if problem else 'ok':6s} {time.time() - start:5.1f} s  "
            f"{plan or 'one rank'}{', compiled again' if again else ''}")
    return line + (f"\n  {problem}" if problem else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    reference.add_folders(parser)
    parser.add_argument("--all", action="store_true", help="also every entry on one rank")
    parser.add_argument("--sample", action="store_true", help="one plan")
    parser.add_argument("--entry", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--jobs", type=int, default=1, help="plans at the same time")
    args = parser.parse_args()
    reference.skip_without_corpus(args, "weights")
    plans = SAMPLE if args.sample else list(PLANS)
    if args.all:
        known = {name for name, plan, _ in PLANS if not plan}
        plans += [(name, "", False, True) for name in sorted(os.listdir(args.corpus))
                  if name not in known and os.path.exists(os.path.join(args.corpus, name, "train.json"))]
    plans = [p for p in plans if not args.entry or p[0] in args.entry]
    failed = refused = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for line in pool.map(lambda plan: check(args, *plan), plans):
            print(line, flush=True)
            failed += " FAILED " in line
            refused += line.endswith("is refused by moirec")
    print(f"{len(plans) - failed - refused} of {len(plans) - refused} plans give weights back")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
