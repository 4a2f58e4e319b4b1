#!/usr/bin/env python3
#===-- bench-overlap.py - A step with and without overlap -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Compares a training step with and without collectives beside computation.

moire-run executes both in virtual time (docs/ranks.md): what ops take follows from rates,
so that the same figures come out every time. The network's bandwidth is such that rows to
experts take as long as the products of experts.

    bench-overlap.py                          DeepSeek-V3's form, ep=4, of the corpus
    bench-overlap.py --model mixtral_deep_dyn18 --mesh dp=2,ep=2 --zero 3 --bind batch=4,seq=64
    bench-overlap.py --model mixtral_deep_dyn18 --mesh pp=4,ep=2 --schedule dualpipe --accumulate 16
                                              a pipeline: the exchanges of one micro-batch under
                                              the products of another
    bench-overlap.py --trainer                measures compiled trainers, too: ranks are threads
                                              whose processor time is counted; the rates are
                                              scaled so that they compute as long as measured

Prints both steps beside the predictions of moirec --explain for their micro-batches; of a
pipeline, whose schedule is simulated with the overlap that its kind has, for the step.
"""
import argparse
import os
import random
import re
import struct
import subprocess
import sys
import tempfile

import compare_reference as reference

PREDICTED = re.compile(r"predicted for a micro-batch: ([\d.]+) ms, of which it computes ([\d.]+) ms "
                       r"and waits for collectives ([\d.]+) ms; these take ([\d.]+) ms in all; "
                       r"products of experts take ([\d.]+) ms, their rows on the way ([\d.]+) ms")
STEP = re.compile(r"predicted for a step of \d+ micro-batches: ([\d.]+) ms")
MEASURED = re.compile(r"virtual time of a step: ([\d.e+-]+) ms; communication ([\d.e+-]+) ms, exposed "
                      r"with waiting for others ([\d.e+-]+) ms")


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"exit {done.returncode}: {' '.join(command)}\n{done.stderr.strip()}")
    return done.stdout


def write_ids(path, name, rows, length, vocab):
    """Random tokens [rows, length] as an ONNX TensorProto."""
    values = random.Random(1)
    raw = struct.pack(f"<{rows * length}q", *[values.randrange(vocab) for _ in range(rows * length)])

    def varint(n):
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)

    with open(path, "wb") as file:  # dims, data_type INT64, name, raw_data
        file.write(b"".join([b"\x08" + varint(rows), b"\x08" + varint(length), b"\x10\x07",
                             b"\x42" + varint(len(name)) + name.encode(),
                             b"\x4a" + varint(len(raw)) + raw]))


class Bench:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.rates = {"flops": 50.0, "memory": 5.0, "overhead": 1.0, "bandwidth": 1.0,
                      "latency": 0.0}
        self.model = os.path.join(args.corpus, args.model, "model.onnx")
        sizes = dict(item.split("=") for item in args.bind.split(","))
        shards = 1
        for axis in args.mesh.split(","):
            shards *= int(axis[3:]) if axis[:2] in ("dp", "ep") else 1
        for file, name in (("input_0.pb", "input_ids"), ("labels.pb", "labels")):
            write_ids(os.path.join(folder, file), name,
                      int(sizes["batch"]) * args.accumulate * shards, int(sizes["seq"]), args.vocab)

    def rates_text(self):
        return ",".join(f"{name}={value:.6g}" for name, value in self.rates.items())

    def moirec(self, overlap, *flags, pipelined=True):
        zero = ["--zero", str(self.args.zero)] if self.args.zero else []
        mesh = self.args.mesh
        if self.args.schedule and pipelined:
            zero += ["--schedule", self.args.schedule, "--microbatches", str(self.args.accumulate)]
        elif self.args.schedule:
            mesh = ",".join(axis for axis in mesh.split(",") if axis[:2] != "pp")
        return run([os.path.join(self.args.build, "bin", "moirec"), self.model, "--bind",
                    self.args.bind, "--mesh", mesh, *zero, "--optimizer", "sgd",
                    "--overlap-rates", self.rates_text(), *([] if overlap else ["--no-overlap"]),
                    *flags])

    def predict(self, overlap):
        """Milliseconds: a micro-batch, computing, waiting, moving, experts, rows."""
        found = PREDICTED.search(self.moirec(overlap, "--explain", pipelined=False))
        if not found:
            sys.exit("the model has no experts, or the mesh has no axis ep")
        return [float(value) for value in found.groups()]

    def clock(self, overlap, *flags):
        """Milliseconds of a step of the slowest rank: all, moving, exposed, late."""
        program = os.path.join(self.folder, "step.mlir")
        log = os.path.join(self.folder, "step.jsonl")
        self.moirec(overlap, "--stop-after=overlap", "-o", program)
        run([os.path.join(self.args.build, "bin", "moire-run"), program, "--data", self.folder,
             "--accumulate", "1" if self.args.schedule else str(self.args.accumulate), "--lr",
             "0.001", "--log", log,
             "--virtual-time", "--overlap-rates", self.rates_text(), *flags])
        line = reference.read_jsonl(log)[-1]
        times = line["virtual_ms"][line["slowest"]]
        return [times[name] for name in ("step", "collectives", "exposed", "late")]

    def compare_pipelines(self):
        print(f"{'ms':18} {'rows':14} {'step':>9} {'predicted':>9} {'comm.':>8} {'exposed':>8} {'late':>8}")
        for overlap in (False, True):
            predicted = float(STEP.search(self.moirec(overlap, "--explain")).group(1))
            for even in (True, False):
                step, moving, exposed, late = self.clock(overlap, *(["--even-rows"] if even else []))
                print(f"{'with overlap' if overlap else 'one after another':18} "
                      f"{'spread evenly' if even else 'as they come':14} {step:9.2f} {predicted:9.2f} "
                      f"{moving:8.2f} {exposed:8.2f} {late:8.2f}   exposed: "
                      f"{100 * exposed / moving:.1f} % of communication", flush=True)

    def measure(self, overlap):
        """Milliseconds of a trainer's step: all, moving, exposed."""
        name = os.path.join(self.folder, "on" if overlap else "off")
        self.moirec(overlap, "-o", name)
        network = f"latency=0,bandwidth={self.rates['bandwidth']:.6g}"
        runs = []
        for _ in range(self.args.runs):  # other work on the machine only makes one slower
            out = run([os.path.join(name, "trainer"), "--data", self.folder, "--virtual-time",
                       "--network", network, "--steps", str(self.args.steps), "--accumulate",
                       str(self.args.accumulate), "--lr", "0.001"])
            runs.append([float(value) for value in MEASURED.search(out).groups()])
        return min(runs)

    def main(self):
        args = self.args
        # 1. Rates with which the prediction computes as long as the program does.
        if args.trainer:
            step, _, exposed = self.measure(False)
            computing = (step - exposed) / args.accumulate
            scale = self.predict(False)[1] / computing
            for name, factor in (("flops", scale), ("memory", scale), ("overhead", 1 / scale)):
                self.rates[name] *= factor
        # 2. A network on which rows take as long as the experts' products.
        _, _, _, _, experts, rows = self.predict(False)
        self.rates["bandwidth"] *= rows / experts
        # 3. Both.
        print(f"{args.model}, {args.bind}, {args.mesh}, zero {args.zero}, {args.accumulate} "
              f"micro-batches a step; {self.rates_text()}")
        if args.schedule:
            return self.compare_pipelines()
        print(f"{'ms':18} {'step':>9} {'comm.':>8} {'exposed':>8} {'for others':>11}   "
              f"predicted: {'step':>8} {'exposed':>8}" + args.trainer * "   measured: step    exposed")
        times = []
        for overlap in (False, True):
            predicted = [value * args.accumulate for value in self.predict(overlap)]
            step, moving, exposed, late = self.clock(overlap)
            times.append(step)
            line = (f"{'with overlap' if overlap else 'one after another':18} {step:9.2f} "
                    f"{moving:8.2f} {exposed:8.2f} {late:11.2f}              "
                    f"{predicted[0]:8.2f} {predicted[2]:8.2f}")
            if args.trainer:
                measured = self.measure(overlap)
                line += f"           {measured[0]:6.2f}   {measured[2]:6.2f}"
            print(line, flush=True)
        print(f"a step takes {100 * (1 - times[1] / times[0]):.1f} % less time")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    reference.add_folders(parser)
    parser.add_argument("--model", default="deepseek3_batched_dyn18")
    parser.add_argument("--bind", default="batch=4,seq=128")
    parser.add_argument("--mesh", default="ep=4")
    parser.add_argument("--schedule", help="of a mesh with pp; --accumulate is then its micro-batches")
    parser.add_argument("--zero", type=int, default=0)
    parser.add_argument("--vocab", type=int, default=96, help="tokens are drawn from so many")
    parser.add_argument("--accumulate", type=int, default=4)
    parser.add_argument("--trainer", action="store_true", help="measure compiled trainers, too")
    parser.add_argument("--steps", type=int, default=6, help="of a trainer")
    parser.add_argument("--runs", type=int, default=3, help="of a trainer: the fastest of so many")
    arguments = parser.parse_args()
    reference.skip_without_corpus(arguments, "overlap")
    with tempfile.TemporaryDirectory(prefix="moire-overlap-") as scratch:
        Bench(arguments, scratch).main()
