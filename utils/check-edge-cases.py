#!/usr/bin/env python3
#===-- check-edge-cases.py - Sizes and routings at their limits -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Trains an MoE on many ranks where almost nothing is to be done, or all by one.

Micro-batches of one token; odd sizes that nothing divides; and data in which
all tokens are the same, so that every rank sends all of its rows to the same
experts, the others get none, and some ranks have nothing to multiply. Each is
trained by the compiled program under a mesh, and compared with one rank that
runs the same micro-batches: losses of six SGD steps within 1e-5 (of the first
one, where they have fallen below it), first gradients within 1e-6 (of the
2-norm). That experts went without tokens is read from the gradients: theirs
are zero.

Prints a line a case; exits 1 where one differs, 77 without a corpus.
"""
import argparse
import os
import random
import shlex
import struct
import subprocess
import sys
import tempfile
import time

import compare_reference as reference

ENTRY, VOCABULARY, EXPERTS, CHOICES = "mixtral_batched_dyn18", 96, 8, 2
# Batch, length, mesh.
CASES = [(1, 1, "dp=2,ep=4"), (3, 7, "dp=1,ep=2,tp=2")]
STEPS, ACCUMULATE = 6, 2
LOSS_TOLERANCE, GRAD_TOLERANCE = 1e-5, 1e-6
TIMEOUT = 120  # seconds; a hang is a failure


class Failure(Exception):
    """What went wrong; the text is for the user."""


def run(command):
    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise Failure(f"no end after {TIMEOUT} s: {shlex.join(command)}") from None
    if done.returncode != 0:
        raise Failure(f"exit {done.returncode}: {shlex.join(command)}\n    {done.stderr.strip()}")


def write_tokens(path, tokens):
    """A token file of llm.c: 256 words of header, then 16 bits a token."""
    with open(path, "wb") as file:
        file.write(struct.pack("<256i", 20240520, 1, len(tokens), *[0] * 253))
        file.write(struct.pack(f"<{len(tokens)}H", *tokens))


def train(trainer, data, ranks, accumulate):
    """(losses, first gradients by name)."""
    log, grads = trainer + ".jsonl", trainer + ".safetensors"
    for left in (log, grads):
        if os.path.exists(left):
            os.remove(left)
    run([trainer, "--data", data, "--steps", str(STEPS), "--lr", "0.1", "--ranks", str(ranks),
         "--accumulate", str(accumulate), "--log", log, "--dump-grads", grads])
    losses = [row["loss"] for row in reference.read_jsonl(log)]
    return losses, {n: t.values for n, t in reference.read_safetensors(grads).items()}


def idle_experts(grads):
    """Of each weight of experts, how many have a zero gradient."""
    idle = []
    for name, values in grads.items():
        if "experts" in name:
            size = len(values) // EXPERTS
            idle.append(sum(not any(values[e * size:(e + 1) * size]) for e in range(EXPERTS)))
    return idle


def compare(got, want, floor):
    """The worst relative error of a loss and of a gradient; raises where one is too large.

    `floor`: of a gradient's norm, in units of the norm of all gradients."""
    (losses, grads), (want_losses, want_grads) = got, want
    # A model that has learned its one token has next to no loss: that is not measured by itself.
    worst = max(abs(x - y) / max(y, want_losses[0])
                for x, y in zip(losses, want_losses, strict=True))
    if not worst <= LOSS_TOLERANCE:
        raise Failure(f"losses {losses} differ by {worst:.1e} from {want_losses} of one rank")
    if grads.keys() != want_grads.keys():
        raise Failure(f"gradients of {sorted(grads)}, one rank has {sorted(want_grads)}")
    everything = reference.norm(reference.norm(values) for values in want_grads.values())
    worst_grad = 0.0
    for name, values in want_grads.items():
        error = reference.distance(grads[name], values)
        error /= reference.norm(values) + floor * everything
        worst_grad = max(worst_grad, error)
        if not error <= GRAD_TOLERANCE:
            raise Failure(f"gradient of {name} differs by {error:.1e} from one rank's")
    return worst, worst_grad


def check_case(args, scratch, case):
    """Number of failures."""
    batch, length, mesh = case
    sizes = dict(axis.split("=") for axis in mesh.split(","))
    shards = int(sizes.get("dp", 1)) * int(sizes.get("ep", 1))
    ranks = shards * int(sizes.get("tp", 1))
    model = os.path.join(args.corpus, ENTRY, "model.onnx")
    folders = {}
    for name, flags in (("alone", []), ("plan", ["--mesh", mesh])):
        folders[name] = os.path.join(scratch, f"{name}-{batch}-{length}")
        run([os.path.join(args.build, "bin", "moirec"), model, "--bind",
             f"batch={batch},seq={length}", "--optimizer", "sgd", *flags, "-o", folders[name]])
    failed = 0
    chance = random.Random(args.seed)
    needed = STEPS * ACCUMULATE * shards * batch * length + 1
    # Where all keys are the same, gradients of query and key are differences of equal numbers:
    # nothing but rounding, to be small beside the others.
    kinds = [("random tokens", [chance.randrange(VOCABULARY) for _ in range(needed)], 1e-3),
             ("one token", [chance.randrange(VOCABULARY)] * needed, 1)]
    for kind, tokens, floor in kinds:
        start = time.time()
        data = os.path.join(scratch, "tokens.bin")
        write_tokens(data, tokens)
        try:
            want = train(os.path.join(folders["alone"], "trainer"), data, 1, ACCUMULATE * shards)
            got = train(os.path.join(folders["plan"], "trainer"), data, ranks, ACCUMULATE)
            loss, grad = compare(got, want, floor)
            idle = idle_experts(got[1])
            if kind == "one token" and idle != [EXPERTS - CHOICES] * len(idle):
                raise Failure(f"{idle} of {EXPERTS} experts are without tokens; all tokens are the "
                              f"same, so {EXPERTS - CHOICES} should be")
            verdict = f"ok      losses {loss:.1e}  gradients {grad:.1e}"
            verdict += f"  idle experts {min(idle)}-{max(idle)} of {EXPERTS}"
        except Failure as failure:
            failed += 1
            verdict = f"FAILED  {failure}"
        print(f"batch {batch}, length {length}, {mesh}, {kind}: {verdict}  "
              f"{time.time() - start:.1f} s", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    reference.add_folders(parser)
    parser.add_argument("--seed", type=int, default=1, help="of the tokens")
    args = parser.parse_args()
    reference.skip_without_corpus(args, "edge cases")
    with tempfile.TemporaryDirectory(prefix="moire-edges-") as scratch:
        failed = sum(check_case(args, scratch, case) for case in CASES)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
