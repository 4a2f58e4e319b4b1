#!/usr/bin/env python3
#===-- bench_cpu.py - Moiré against PyTorch on the same cores -----*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Alternates rounds of Moiré's trainer and of PyTorch on the same threads.

Each round starts every contender once, one after the other, so that a change of
the machine's speed meets all of them. Prints step time, tokens per second, peak
memory and, as the result, Moiré's speed as a multiple of the best PyTorch form:
the median over the rounds. PyTorch runs eager and compiled; of the forms of an
expert layer the first round chooses the fastest. Steps start after a warm-up.
"""
import argparse
import json
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
# The first step allocates and compiles, the second may compile again for shapes
# that the router changed.
WARM_UP = 2
# The copying form of the experts (batched_mm) wants 45 GB at these sizes.
FORMS = {"gpt2-124m": [""], "moe-512": ["eager", "grouped_mm"]}
VOCAB = {"gpt2-124m": 50257, "moe-512": 32000}


def run(command, threads, **kwargs):
    """Runs `command`; returns (stdout lines, peak resident memory in bytes)."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), TORCHINDUCTOR_COMPILE_THREADS="1")
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(command, stdout=out, stderr=err, env=environment, **kwargs)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if child.returncode != 0:
            tail = "".join(err.readlines()[-8:])
            sys.exit(f"error: exit {child.returncode} of {' '.join(command)}\n{tail}")
        return out.readlines(), usage.ru_maxrss * 1024


class Contender:
    """One program that trains the model; collects tokens per second by round."""

    def __init__(self, name, start):
        self.name, self.start = name, start
        self.rates, self.peak = [], 0

    def round(self):
        rates, peak = self.start()
        self.rates.append(statistics.median(rates))
        self.peak = max(self.peak, peak)

    def rate(self):
        return statistics.median(self.rates)


def write_tokens(path, vocab, count):
    """Random tokens in llm.c's format: a header of 256 int32, then uint16."""
    rng = random.Random(3)
    header = [20240520, 1, count] + [0] * 253
    with open(path, "wb") as file:
        file.write(struct.pack("<256i", *header))
        file.write(struct.pack(f"<{count}H", *(rng.randrange(vocab) for _ in range(count))))


def rates_of(records):
    """tokens_per_second of the steps after the warm-up."""
    return [r["tokens_per_second"] for r in records[WARM_UP:]]


def moire(args, name, scratch):
    """Compiles the model; returns the contender that runs its trainer."""
    graph = os.path.join(args.models_in, name + ".onnx")
    out, tokens = os.path.join(scratch, name), os.path.join(scratch, name + ".bin")
    bind = f"batch={args.batch},seq={args.seq}"
    _, peak = run([os.path.join(args.build, "bin", "moirec"), graph, "--bind", bind,
                   "--optimizer", "adamw", "-o", out], args.threads)
    print(f"{name}: moirec took at most {peak / 1e6:.0f} MB", flush=True)
    steps = args.steps + WARM_UP
    write_tokens(tokens, VOCAB[name], args.batch * (args.seq + 1) * (steps + 1))

    def start():
        log = os.path.join(scratch, name + ".jsonl")
        if os.path.exists(log):
            os.remove(log)
        _, peak = run([os.path.join(out, "trainer"), "--data", tokens, "--steps", str(steps),
                       "--lr", "1e-4", "--log", log], args.threads)
        with open(log) as file:
            return rates_of([json.loads(line) for line in file]), peak

    return Contender("moire", start)


def pytorch(args, name, mode, form=""):
    command = [args.python, os.path.join(HERE, "bench_torch.py"), name, "--mode", mode,
               "--batch", str(args.batch), "--seq", str(args.seq),
               "--steps", str(args.steps + WARM_UP), "--threads", str(args.threads)]
    if form:
        command += ["--experts", form]

    def start():
        lines, peak = run(command, args.threads)
        records = [json.loads(line) for line in lines if line.startswith("{")]
        return (rates_of(records) if mode != "gemm" else [records[0]["tokens_per_second"]]), peak

    return Contender(f"pytorch {mode}" + (f" ({form} experts)" if form else ""), start)


def measure(args, name, scratch):
    """All rounds of one model; returns the ratio."""
    ours = [moire(args, name, scratch)] if args.build else []
    theirs = [[pytorch(args, name, mode, form) for form in FORMS[name]] for mode in args.modes]
    floor = [pytorch(args, name, "gemm")]
    tokens = args.batch * args.seq
    for number in range(args.rounds):
        for contender in ours + sum(theirs, []) + floor:
            contender.round()
            print(f"{name} round {number + 1}: {contender.name} "
                  f"{tokens / contender.rates[-1]:.2f} s a step", flush=True)
        if number == 0:
            theirs = [[max(forms, key=Contender.rate)] for forms in theirs]
    print(f"\n{name}, batch {args.batch}, sequence {args.seq}, {args.threads} threads, "
          f"median of {args.rounds} rounds of {args.steps} steps")
    print(f"  {'':36s}  s a step  tokens/s   peak GB")
    for contender in ours + sum(theirs, []) + floor:
        peak = "" if contender in floor else f"{contender.peak / 1e9:9.2f}"
        title = "matrix products alone (PyTorch's)" if contender in floor else contender.name
        rate = max(contender.rates) if contender in floor else contender.rate()
        print(f"  {title:36s} {tokens / rate:9.3f} {rate:9.1f} {peak}")
    if not ours:
        return None
    rivals = sum(theirs, [])
    ratios = [mine / max(rival.rates[i] for rival in rivals)
              for i, mine in enumerate(ours[0].rates)]
    ratio = statistics.median(ratios)
    print(f"  ratio Moiré / best PyTorch: {ratio:.2f} (rounds: "
          f"{', '.join(f'{r:.2f}' for r in ratios)})\n", flush=True)
    return ratio


def main():
    parser = argparse.ArgumentParser(prog="bench-cpu.sh", description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"),
                        help="build folder; an empty name leaves Moiré out")
    parser.add_argument("--python", default=os.path.expanduser("~/moire-ref/bin/python"),
                        help="Python of the reference environment")
    parser.add_argument("--models-in", metavar="DIR", help="folder with the exported models")
    parser.add_argument("--models", nargs="+", choices=sorted(FORMS), default=sorted(FORMS))
    parser.add_argument("--modes", nargs="+", choices=["eager", "compile"],
                        default=["eager", "compile"])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seq", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="steps a round after the warm-up")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    probe = [args.python, "-c", "import torch, transformers"]
    if (not os.path.exists(args.python)
            or subprocess.run(probe, capture_output=True).returncode != 0):
        print(f"SKIPPED bench-cpu: {args.python} has no PyTorch with transformers; make it as "
              "docs/reference-environment.md says and name it with --python")
        return
    with tempfile.TemporaryDirectory(prefix="moire-bench-") as scratch:
        args.models_in = args.models_in or os.path.join(scratch, "models")
        missing = [m for m in args.models
                   if not os.path.exists(os.path.join(args.models_in, m + ".onnx"))]
        if missing and args.build:
            print(f"exporting {', '.join(missing)} to {args.models_in}", flush=True)
            run([args.python, os.path.join(HERE, "export_bench_models.py"), args.models_in,
                 "--models", *missing], args.threads)
        ratios = {name: measure(args, name, scratch) for name in args.models}
    for name, ratio in ratios.items():
        if ratio is not None:
            print(f"{name}: {ratio:.2f} times PyTorch's speed")


if __name__ == "__main__":
    main()
