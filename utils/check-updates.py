#!/usr/bin/env python3
#===-- check-updates.py - Groups that rest against PyTorch --------*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Lets groups of parameters rest as PyTorch does with gradients that are None.

    ~/moire-ref/bin/python utils/check-updates.py [--build build]

A small Mixtral of fresh weights is compiled with --groups and trained eight AdamW steps
(rate 0.001, clipped) in which groups come and go by --update-schedule: on one rank, and
under several plans. Each loss within 2e-5 of PyTorch's, each trained weight within
2e-5; and with --freeze-below the norms of the updates within 1e-3. Prints a line each;
exits 1 where one fails, 77 (SKIPPED) without the environment of
docs/reference-environment.md. About two minutes.
"""
import argparse
import os
import sys
import tempfile
from importlib import import_module

exporting = import_module("check-exporting")  # SKIPPED where something is missing
import export_hf
import onnx
import onnx_export
import safetensors.torch
import torch
from compare_reference import read_jsonl

BATCH, SEQ, STEPS, RATE, EPS, CLIP = 4, 32, 8, 1e-3, 1e-5, 0.5
LOSS, WEIGHT, NORM = 2e-5, 2e-5, 1e-3
GROUPS = "attention=self_attn,experts=experts,embeddings=embed_tokens|lm_head"
SCHEDULE = "experts@0,none@2,attention+embeddings@3,all@5,attention@7"
PLANS = [[], ["--mesh", "dp=2", "--zero", "2"], ["--mesh", "ep=2,tp=2", "--zero", "1"],
         ["--mesh", "pp=2,ep=2", "--schedule", "1f1b", "--microbatches", "2"]]


def group_of(name):
    if "self_attn" in name:
        return "attention"
    if "experts" in name:
        return "experts"
    return "embeddings" if "embed_tokens" in name or "lm_head" in name else None


def trained_in(step):
    """The groups of a step, 1 being the first."""
    chosen = ""
    for entry in SCHEDULE.split(","):
        names, after = entry.split("@")
        if int(after) < step:
            chosen = names
    every = {"attention", "experts", "embeddings"}
    return every if chosen == "all" else set() if chosen == "none" else set(chosen.split("+"))


def reference(module, inputs, labels):
    """PyTorch's losses, and by step and group the norm of what AdamW added over that of the
    parameters; weights stay in the module."""
    named = list(module.named_parameters())
    optimizer = torch.optim.AdamW(module.parameters(), lr=RATE, eps=EPS, weight_decay=0)
    losses, norms = [], []
    for step in range(1, STEPS + 1):
        loss = exporting.loss_of(module, inputs, labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        for name, parameter in named:
            if group_of(name) not in trained_in(step) | {None}:
                parameter.grad = None
        torch.nn.utils.clip_grad_norm_(module.parameters(), CLIP)
        before = {name: parameter.detach().clone() for name, parameter in named}
        optimizer.step()
        norms.append({})
        for group in trained_in(step):
            own = [(name, parameter) for name, parameter in named if group_of(name) == group]
            moved = sum((p.detach() - before[n]).double().square().sum() for n, p in own)
            norms[-1][group] = (moved / sum(p.detach().double().square().sum() for _, p in own)).sqrt().item()
    return losses, norms


def check(args, flags, module, file, scratch, inputs, want):
    losses, norms = want
    out, data, log = (os.path.join(scratch, name) for name in ["out", "data", "log.jsonl"])
    weights = os.path.join(scratch, "trained.safetensors")
    # Of a pipeline each micro-batch has its part of the rows; of data ranks, too.
    ranks = 2 if "dp=2" in flags or any("ep=2" in flag for flag in flags) else 1
    micros = 2 if "--microbatches" in flags else 1
    exporting.run([os.path.join(args.build, "bin", "moirec"), file, "--bind",
                   f"batch={BATCH // ranks // micros},seq={SEQ}", "--groups", GROUPS, "-o", out, *flags])
    exporting.run([os.path.join(out, "trainer"), "--data", data, "--steps", str(STEPS), "--lr", str(RATE),
                   "--eps", str(EPS), "--weight-decay", "0", "--clip", str(CLIP), "--log", log,
                   "--update-schedule", SCHEDULE, "--freeze-below", "1e-30",
                   "--export-safetensors", weights])
    steps = read_jsonl(log)
    worst = max(abs(step["loss"] - loss) / loss for step, loss in zip(steps, losses))
    if len(steps) != STEPS or not worst < LOSS:
        raise exporting.Failure(f"losses {[step['loss'] for step in steps]} differ from PyTorch's {losses}")
    norm = 0
    for number, step in enumerate(steps, 1):
        for group in step["groups"]:
            if group["trained"] != (group["name"] in trained_in(number)):
                raise exporting.Failure(f"step {number} has {group}")
            if group["trained"]:
                expected = norms[number - 1][group["name"]]
                norm = max(norm, abs(group["update_norm"] - expected) / expected)
    if not norm < NORM:
        raise exporting.Failure(f"a norm of updates differs by {norm:.1e}")
    mine = safetensors.torch.load_file(weights)
    state = module.state_dict()
    if set(mine) != set(state):
        raise exporting.Failure(f"weights are {sorted(set(mine) ^ set(state))} apart")
    far = max((mine[name] - value).abs().max().item() for name, value in state.items())
    if not far < WEIGHT:
        raise exporting.Failure(f"a weight is {far:.1e} from PyTorch's")
    return f"losses within {worst:.0e}, norms of updates {norm:.0e}, weights {far:.0e}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.path.join(exporting.ROOT, "build"))
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        module = export_hf.build("mixtral", {})
        folder, file = os.path.join(scratch, "mixtral"), os.path.join(scratch, "mixtral.onnx")
        module.save_pretrained(folder)
        exporting.run([sys.executable, os.path.join(exporting.ROOT, "utils", "export_hf.py"), folder, "-o", file])
        inputs = onnx_export.padded_batch(module.config.vocab_size)(BATCH, SEQ)
        labels = inputs["input_ids"].clone()
        labels[inputs["attention_mask"] == 0] = -100
        order = [i.name for i in onnx.load(file, load_external_data=False).graph.input]
        exporting.write_batch(os.path.join(scratch, "data"), inputs, labels, order)
        want = reference(module.eval(), inputs, labels)
        for flags in PLANS:
            title = " ".join(flags) or "one rank"
            try:
                print(f"{title}: {check(args, flags, module, file, scratch, inputs, want)}", flush=True)
            except exporting.Failure as failure:
                print(f"{title}: FAILED: {failure}", flush=True)
                failed = True
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
