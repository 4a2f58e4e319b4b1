#!/usr/bin/env python3
#===-- check-corpus.py - Train the corpus and compare with PyTorch -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Compiles corpus models, trains them six steps, compares with PyTorch's record.

Per entry: six SGD losses (lr 0.1), six AdamW losses (lr 0.01, betas 0.9 0.95,
decay 0.1), every gradient of the first step, and where the entry has sixteen
rows the same losses with --accumulate. With --phase the interpreter executes
the IR of that phase instead of the compiled trainer: outputs for import and
model, losses and gradients from train on.

Prints one line an entry; exits 1 when one of them fails, 77 without a corpus.
"""
import argparse
import concurrent.futures
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import compare_reference as reference

ENTRIES = [
    "gpt2_dyn18", "llama_dyn18", "llama_dyn23", "llama_loss_dyn18", "bert_dyn18",
    "mixtral_batched_dyn18", "mixtral_contrib_moe_dyn20", "qwen3moe_batched_dyn23",
    "mixtral_deep_dyn18",
]
OUTPUT_PHASES = ["import", "model"]
TRAIN_PHASES = ["train", "kernels"]
FLAGS = {
    "sgd": ["--lr", "0.1"],
    "adamw": ["--lr", "0.01", "--beta1", "0.9", "--beta2", "0.95", "--eps", "1e-8",
              "--weight-decay", "0.1"],
}
# How far a bf16 loss may lie from PyTorch's, in units of the reference's spread: how
# far PyTorch's own moves when the weights move by half a unit of bf16
# (utils/reference_bf16.py). Two programs that round at other places are both that
# far from the exact one, so twice the spread; eight runs show two thirds of what
# more would. A wrong cast costs tens of units.
BF16_TOLERANCE = 3
# Relative distance from PyTorch's float32 losses that no run in bf16 stays under.
NARROW_DISTANCE = 5e-5
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Failure(Exception):
    """A command that did not do what it should; the text is for the user."""


def run(command, keep_output=None):
    """Runs `command`; on failure raises the command with its error's last lines."""
    out = open(keep_output, "w") if keep_output else subprocess.DEVNULL
    done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True)
    if keep_output:
        out.close()
    if done.returncode != 0:
        tail = "\n    ".join(done.stderr.strip().splitlines()[-6:])
        raise Failure(f"exit {done.returncode}: {shlex.join(command)}\n    {tail}")


class Check:
    """All comparisons of one entry; `figures` are (label, worst error)."""

    def __init__(self, args, name, scratch):
        self.args, self.scratch = args, scratch
        self.entry = reference.Entry(os.path.join(args.corpus, name))
        self.figures, self.problems = [], []

    def narrow(self):
        return self.args.precision == "bf16"

    def compare_narrow(self, log, optimizer):
        """Losses under bf16 with PyTorch's under autocast; the figure is in units of
        the largest spread so far."""
        with open(os.path.join(ROOT, "test", "Corpus", "bf16.json")) as file:
            want = json.load(file)["entries"][self.entry.name][optimizer]
        got, problems, worst, spread = [r["loss"] for r in log], [], 0.0, 0.0
        if len(got) < len(want["losses"]):
            problems.append(f"{len(got)} steps logged, the reference has {len(want['losses'])}")
        for step, (g, w, s) in enumerate(zip(got, want["losses"], want["spread"])):
            spread = max(spread, s)
            units = abs(g - w) / spread
            worst = max(worst, units)
            if not units <= BF16_TOLERANCE:
                problems.append(f"{optimizer} loss at step {step + 1}: {g:.7g}, PyTorch's autocast "
                                f"{w:.7g}, {units:.1f} spreads of {spread:.1e} apart")
        # float32 would pass the above too: its distance from bf16 is one spread.
        away = max((abs(g / w - 1) for g, w in zip(got, want["float32"])), default=0)
        if away < NARROW_DISTANCE:
            problems.append(f"{optimizer} losses are float32's to {away:.1e}; "
                            f"bf16 is at least {NARROW_DISTANCE:.0e} away")
        return worst, problems

    def tool(self, name):
        return os.path.join(self.args.build, "bin", name)

    def bind(self, data="test_data_set_0"):
        """--bind of one micro-batch: the sizes of the test data, whose leading
        dimension is one atom also where more rows are accumulated."""
        sizes = self.entry.bindings(data)
        sizes.update({d: s for d, s in self.entry.bindings().items() if d == "batch"})
        text = ",".join(f"{dim}={size}" for dim, size in sizes.items())
        return ["--bind", text] if text else []

    def take(self, label, result):
        worst, problems = result
        self.figures.append((label, worst))
        self.problems += [f"{label}: {p}" for p in problems]

    def data_flags(self, data):
        rows, atom = self.entry.rows(data), self.entry.rows("test_data_set_0")
        more = ["--accumulate", str(rows // atom)] if rows != atom else []
        return ["--data", self.entry.path(data), *more]

    def train(self, label, command, optimizer, data, grads=False):
        """Runs six steps of `command` (a trainer, or the interpreter on a phase)."""
        stem = os.path.join(self.scratch, f"{label}.{optimizer}.{data}".replace(" ", "."))
        command = [*command, *self.data_flags(data), "--steps", "6", *FLAGS[optimizer],
                   "--log", stem + ".jsonl"]
        if grads:
            command += ["--dump-grads", stem + ".safetensors"]
        run(command)
        log, sixteen = reference.read_jsonl(stem + ".jsonl"), data == "batch16"
        if self.narrow():
            return self.take(label, self.compare_narrow(log, optimizer))
        want = self.entry.losses(optimizer, sixteen)
        self.take(label, reference.compare_losses(log, want, optimizer))
        if sixteen:
            key = reference.LOSS_KEYS[optimizer].replace("losses", "grad_norms")
            norms = reference.compare_norms(log, self.entry.sixteen()[key], optimizer)
            self.take(f"{label} norms", norms)
        if grads:
            dump = reference.read_safetensors(stem + ".safetensors")
            self.take(f"{label} grads", reference.compare_grads(self.entry, dump, self.args.verbose))

    def each_data(self):
        """The data folders to train on, with the label that they add."""
        yield "test_data_set_0", ""
        if (os.path.isdir(self.entry.path("batch16")) and not self.args.no_batch16
                and not self.narrow()):
            yield "batch16", "x16 "

    def compiled(self):
        """The trainer that moirec makes."""
        for optimizer in FLAGS:
            built = {}
            for data, label in self.each_data():
                bind = self.bind(data)
                key = " ".join(bind)
                if key not in built:
                    built[key] = os.path.join(self.scratch, f"{optimizer}.{len(built)}")
                    if self.args.stage != "run":
                        run([self.tool("moirec"), self.entry.path("model.onnx"), *bind,
                             "--target", self.args.target, "--optimizer", optimizer,
                             "--precision", self.args.precision,
                             "-o", built[key]])
                if self.args.stage == "build":
                    continue
                first = optimizer == "sgd" and not label and not self.narrow()
                command = [os.path.join(built[key], "trainer")]
                if self.args.stage == "run":  # the model may lie elsewhere than when it was compiled
                    command += ["--weights", self.entry.path("model.onnx")]
                self.train(label + optimizer, command, optimizer, data, grads=first)

    def interpreted(self, phase):
        """The interpreter on the IR of `phase`."""
        for optimizer in FLAGS:
            for data, label in self.each_data():
                file = os.path.join(self.scratch, f"{phase}.{optimizer}.{data}.mlir")
                run([self.tool("moirec"), self.entry.path("model.onnx"), *self.bind(data),
                     "--optimizer", optimizer, "--precision", self.args.precision,
                     f"--stop-after={phase}"], keep_output=file)
                command = [self.tool("moire-run"), file]
                if phase in OUTPUT_PHASES:
                    self.outputs(phase, command)
                    return
                first = optimizer == "sgd" and not label
                # In f64: the interpreter's rounding must not decide which of two
                # nearly equal experts a token takes (mixtral_deep, step 4).
                self.train(f"{phase} {label}{optimizer}",
                           [*command, *([] if self.narrow() else ["--f64"]), "--optimizer", optimizer],
                           optimizer, data, grads=first and not self.narrow())

    def outputs(self, phase, command):
        folder = os.path.join(self.scratch, phase + ".outputs")
        run([*command, "--data", self.entry.path("test_data_set_0"), "--outputs", folder])
        logits = self.entry.train.get("logits_output")
        tensors = [reference.read_tensor_proto(os.path.join(folder, f))
                   for f in sorted(os.listdir(folder)) if f.endswith(".pb")]
        named = [t for t in tensors if t.name == logits] or tensors[:1]
        if not named:
            raise Failure(f"moire-run wrote no output into {folder}")
        self.take(phase, reference.compare_output(self.entry, named[0]))

    def all(self):
        start = time.time()
        try:
            for phase in self.args.phase or ["trainer"]:
                if phase == "trainer":
                    self.compiled()
                else:
                    self.interpreted(phase)
        except (Failure, OSError, ValueError, KeyError) as error:
            self.problems.append(str(error))
        figures = "  ".join(f"{label} {worst:.1e}" for label, worst in self.figures)
        verdict = "FAILED" if self.problems else "ok"
        lines = [f"{self.entry.name:28s} {verdict:6s} {time.time() - start:5.1f} s  {figures}"]
        return lines + [f"  {problem}" for problem in self.problems]


def check(args, name):
    scratch = os.path.join(args.keep, name) if args.keep else tempfile.mkdtemp(prefix="moire-")
    os.makedirs(scratch, exist_ok=True)
    try:
        return Check(args, name, scratch).all()
    finally:
        if not args.keep:
            shutil.rmtree(scratch, ignore_errors=True)


def main():
    phases = ["trainer", *OUTPUT_PHASES, *TRAIN_PHASES]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    reference.add_folders(parser)
    parser.add_argument("--entry", nargs="+", metavar="NAME")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32",
                        help="bf16: losses against PyTorch's autocast")
    parser.add_argument("--phase", nargs="+", choices=[*phases, "all"],
                        help="what executes: trainer (default) or the IR after a phase")
    parser.add_argument("--target", default="cpu", choices=["cpu", "cuda", "cuda-model"],
                        help="what moirec compiles for")
    parser.add_argument("--stage", default="both", choices=["build", "run", "both"],
                        help="only compile the trainers into --keep, or only run those in --keep")
    parser.add_argument("--no-batch16", action="store_true", help="leave the sixteen rows out")
    parser.add_argument("--jobs", type=int, default=1, help="entries at the same time")
    parser.add_argument("--keep", metavar="DIR", help="keep everything that is made in DIR")
    parser.add_argument("--verbose", action="store_true", help="print each gradient's error")
    args = parser.parse_args()
    if not args.entry:
        # Of an entry with bf16 weights float32 losses tell nothing.
        args.entry = ENTRIES + (["llama_bf16_ext_dyn20"] if args.precision == "bf16" else [])
    if args.phase and "all" in args.phase:
        args.phase = phases
    reference.skip_without_corpus(args, "corpus")
    if args.stage != "both" and not args.keep:
        sys.exit(f"error: --stage {args.stage} needs --keep DIR, where the trainers lie")
    if args.stage != "run" and not os.path.exists(os.path.join(args.build, "bin", "moirec")):
        sys.exit(f"error: there is no bin/moirec in {args.build}; build first, or name the "
                 "build folder with --build")
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for lines in pool.map(lambda name: check(args, name), args.entry):
            print("\n".join(lines), flush=True)
            failed += " FAILED " in lines[0]
    what = "compile" if args.stage == "build" else "agree with PyTorch"
    print(f"{len(args.entry) - failed} of {len(args.entry)} corpus entries {what}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
