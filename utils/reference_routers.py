#!/usr/bin/env python3
#===-- reference_routers.py - Router losses and capacity in PyTorch -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Trains mixtures of experts in PyTorch with what transformers lacks and writes losses.

    reference_routers.py CORPUS [-o test/Corpus/routers.json]

Six SGD steps (rate 0.1) on the sixteen rows of mixtral_batched_dyn18, in float64, with
the load balance loss, the z-loss and experts of limited capacity as the papers state
them (Switch Transformers 2021, GShard 2020, ST-MoE 2022), each over all tokens of a
micro-batch. The gates' gradients at the first step are autograd's. utils/
check-routers.py compares. Needs the environment of docs/reference-environment.md.
"""
import argparse
import json
import math
import os

import torch
import transformers

from compare_reference import Entry
from reference_bf16 import load

MODEL = "mixtral_batched_dyn18"
# Micro-batches of a step, and what is asked for.
CASES = {
    "aux": (2, {"aux": 0.05}),
    "z": (2, {"z": 0.01}),
    "gshard": (2, {"factor": 1.0, "order": "gshard"}),
    "switch": (2, {"factor": 0.6, "order": "switch"}),
    "all": (1, {"aux": 0.05, "z": 0.01, "factor": 0.75, "order": "gshard"}),
}


def positions(indices, order, experts):
    """How many pairs of the same expert come before each pair: [T, K]."""
    taken, result = [0] * experts, torch.zeros_like(indices)
    tokens, k = indices.shape
    pairs = [(t, j) for t in range(tokens) for j in range(k)]
    if order == "gshard":
        pairs = [(t, j) for j in range(k) for t in range(tokens)]
    for t, j in pairs:
        expert = int(indices[t, j])
        result[t, j] = taken[expert]
        taken[expert] += 1
    return result


class Gate:
    """A gate whose choice is limited to the experts' capacity; keeps what it saw."""

    def __init__(self, gate, options):
        self.inner, self.options, self.dropped = gate.forward, options, 0
        gate.forward = self

    def __call__(self, hidden):
        logits, weights, indices = self.inner(hidden)
        tokens, k = indices.shape
        self.logits, self.indices = logits, indices
        if "factor" in self.options:
            experts = logits.shape[-1]
            slots = math.ceil(self.options["factor"] * tokens * k / experts)
            kept = positions(indices, self.options["order"], experts) < slots
            self.dropped += int((~kept).sum())
            weights = weights * kept
        return logits, weights, indices

    def losses(self):
        tokens, k = self.indices.shape
        experts = self.logits.shape[-1]
        pairs = torch.nn.functional.one_hot(self.indices, experts).sum((0, 1)) / (tokens * k)
        mean = torch.softmax(self.logits, -1).mean(0)
        aux = experts * (pairs * mean).sum()
        z = torch.logsumexp(self.logits, -1).square().mean()
        return self.options.get("aux", 0) * aux + self.options.get("z", 0) * z


def train(entry, accumulate, options):
    model, inputs, labels = load(entry, "batch16")
    model = model.double()
    gates = [Gate(layer.mlp.gate, options) for layer in model.model.layers]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    targets = labels[:, 1:]
    counted, size = int((targets != -100).sum()), len(labels) // accumulate
    losses, gradients = [], {}
    for step in range(6):
        optimizer.zero_grad()
        total = 0.0
        for a in range(accumulate):
            rows = slice(a * size, (a + 1) * size)
            logits = model(**{n: v[rows] for n, v in inputs.items()}).logits[:, :-1]
            loss = torch.nn.functional.cross_entropy(
                logits.reshape(-1, logits.shape[-1]), targets[rows].reshape(-1),
                ignore_index=-100, reduction="sum") / counted
            share = int((targets[rows] != -100).sum()) / counted
            loss = loss + share * sum(gate.losses() for gate in gates)
            loss.backward()
            total += loss.item()
        losses.append(total)
        if step == 0:
            gradients = {n: p.grad.flatten().tolist() for n, p in model.named_parameters()
                         if n.endswith("gate.weight")}
        optimizer.step()
    return {"accumulate": accumulate, "options": options, "losses": losses,
            "dropped": sum(gate.dropped for gate in gates), "gradients": gradients}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus")
    parser.add_argument("-o", default="test/Corpus/routers.json", metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    entry = Entry(os.path.join(args.corpus, MODEL))
    results = {name: train(entry, *case) for name, case in CASES.items()}
    for name, result in results.items():
        print(name, " ".join(f"{x:.6f}" for x in result["losses"]), result["dropped"], "dropped")
    rounded = json.loads(json.dumps(results), parse_float=lambda text: float(f"{float(text):.8g}"))
    with open(args.o, "w") as file:
        json.dump({"made_by": "utils/reference_routers.py", "torch": torch.__version__,
                   "transformers": transformers.__version__, "model": MODEL, "cases": rounded},
                  file)
        file.write("\n")


if __name__ == "__main__":
    main()
