#!/usr/bin/env python3
#===-- bench-overlap.py - A step with and without overlap -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Compares a training step with and without collectives beside computation.

Ranks are threads with virtual time (docs/ranks.md), on a network on which rows to experts
take as long as the products of experts. The network follows from the prediction of moirec
--explain, whose rates are first scaled so that it computes as long as was measured.

    bench-overlap.py                          DeepSeek-V3's form, ep=4, of the corpus
    bench-overlap.py --model mixtral_deep_dyn18 --mesh ep=2 --bind batch=4,seq=256

Prints both steps beside their predictions.
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
MEASURED = re.compile(r"virtual time of a step: ([\d.e+-]+) ms; communication ([\d.e+-]+) ms, exposed "
                      r"with waiting for others ([\d.e+-]+) ms")


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"exit {done.returncode}: {' '.join(command)}\n{done.stderr.strip()}")
    return done.stdout


class Bench:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.rates = {"flops": 50.0, "memory": 5.0, "overhead": 1.0, "bandwidth": 1.0,
                      "latency": 0.0}
        self.model = os.path.join(args.corpus, args.model, "model.onnx")
        self.data = os.path.join(folder, "tokens.bin")
        values = random.Random(1)
        ids = [values.randrange(args.vocab) for _ in range(200000)]
        with open(self.data, "wb") as file:  # llm.c's format
            file.write(struct.pack("<256i", 20240520, 1, len(ids), *[0] * 253))
            file.write(struct.pack(f"<{len(ids)}H", *ids))

    def moirec(self, overlap, *flags):
        rates = ",".join(f"{name}={value:.6g}" for name, value in self.rates.items())
        return run([os.path.join(self.args.build, "bin", "moirec"), self.model, "--bind",
                    self.args.bind, "--mesh", self.args.mesh, "--optimizer", "sgd",
                    "--overlap-rates", rates, *([] if overlap else ["--no-overlap"]), *flags])

    def predict(self, overlap):
        """Milliseconds: a micro-batch, computing, waiting, moving, experts, rows."""
        found = PREDICTED.search(self.moirec(overlap, "--explain"))
        if not found:
            sys.exit("the model has no experts, or the mesh has no axis ep")
        return [float(value) for value in found.groups()]

    def measure(self, overlap):
        """Milliseconds of a step: all, moving, exposed."""
        name = os.path.join(self.folder, "on" if overlap else "off")
        self.moirec(overlap, "-o", name)
        network = f"latency=0,bandwidth={self.rates['bandwidth']:.6g}"
        runs = []
        for _ in range(self.args.runs):  # other work on the machine only makes one slower
            out = run([os.path.join(name, "trainer"), "--data", self.data, "--virtual-time",
                       "--network", network, "--steps", str(self.args.steps), "--accumulate",
                       str(self.args.accumulate), "--lr", "0.001"])
            runs.append([float(value) for value in MEASURED.search(out).groups()])
        return min(runs)

    def main(self):
        args = self.args
        # 1. Rates with which the prediction computes as long as the program does.
        step, _, exposed = self.measure(False)
        computing = (step - exposed) / args.accumulate
        scale = self.predict(False)[1] / computing
        for name, factor in (("flops", scale), ("memory", scale), ("overhead", 1 / scale)):
            self.rates[name] *= factor
        # 2. A network on which rows take as long as the experts' products.
        _, _, _, _, experts, rows = self.predict(False)
        self.rates["bandwidth"] *= rows / experts
        # 3. Both.
        print(f"{args.model}, {args.bind}, {args.mesh}, {args.accumulate} micro-batches a step; "
              f"bandwidth {self.rates['bandwidth']:.3g} GB/s of each rank")
        print(f"{'':24} {'step':>9} {'comm.':>9} {'exposed':>9} {'of comm.':>9}    "
              f"predicted: {'step':>9} {'exposed':>9}")
        times = []
        for overlap in (False, True):
            predicted = [value * args.accumulate for value in self.predict(overlap)]
            step, moving, exposed = self.measure(overlap)
            times.append(step)
            print(f"{'with overlap' if overlap else 'one after another':24} {step:6.2f} ms "
                  f"{moving:6.2f} ms {exposed:6.2f} ms {100 * exposed / moving:7.1f} %               "
                  f"{predicted[0]:6.2f} ms {predicted[2]:6.2f} ms")
        print(f"a step takes {100 * (1 - times[1] / times[0]):.1f} % less time")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    reference.add_folders(parser)
    parser.add_argument("--model", default="deepseek3_batched_dyn18")
    parser.add_argument("--bind", default="batch=4,seq=128")
    parser.add_argument("--mesh", default="ep=4")
    parser.add_argument("--vocab", type=int, default=96, help="tokens are drawn from so many")
    parser.add_argument("--accumulate", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--runs", type=int, default=3, help="the fastest of so many")
    arguments = parser.parse_args()
    reference.skip_without_corpus(arguments, "overlap")
    with tempfile.TemporaryDirectory(prefix="moire-overlap-") as scratch:
        Bench(arguments, scratch).main()
