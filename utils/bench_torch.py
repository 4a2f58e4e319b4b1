#!/usr/bin/env python3
#===-- bench_torch.py - One training run of PyTorch on the CPU ----*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Trains a benchmark model with AdamW on random tokens, on the CPU or a GPU.

    bench_torch.py gpt2-124m|moe-512|moe-s [--mode eager|compile|max-autotune|gemm]
                   [--experts FORM] [--device cpu|cuda] [--precision f32|bf16]

Prints one JSON object a step: step, loss, seconds, tokens_per_second. The first
step warms up (and compiles). --mode gemm trains nothing: it times the model's
matrix products alone, the floor that no implementation with this GEMM passes.
"""
import argparse
import json
import time
import warnings

import torch

import reference_models


def train(args):
    """PyTorch as its users run it, with the fused form of AdamW; bf16 by autocast."""
    torch.manual_seed(0)
    torch.set_default_device(args.device)
    model = reference_models.named(args.model, args.experts)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    forward = model
    if args.mode != "eager":
        forward = torch.compile(
            model, mode="max-autotune" if args.mode == "max-autotune" else None)
    bf16 = torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16")
    vocab, tokens = model.config.vocab_size, args.batch * args.seq
    for step in range(1, args.steps + 1):
        ids = torch.randint(vocab, (args.batch, args.seq + 1))
        start = time.perf_counter()
        with bf16:
            logits = forward(input_ids=ids[:, :-1]).logits
            loss = torch.nn.functional.cross_entropy(logits.view(-1, vocab),
                                                     ids[:, 1:].reshape(-1))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if args.device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        print(json.dumps({"step": step, "loss": loss.item(), "seconds": seconds,
                          "tokens_per_second": tokens / seconds}), flush=True)


def gemm(args):
    """Times each product of forward and backward by itself, best of some calls."""
    with torch.device("meta"):
        model = reference_models.named(args.model)
    seconds = flops = 0
    for times, batch, m, k, n in reference_models.products(model, args.batch, args.seq):
        x, w, dy = torch.randn(batch, m, k), torch.randn(batch, k, n), torch.randn(batch, m, n)
        for a, b in [(x, w), (dy, w.mT), (x.mT, dy)]:
            torch.bmm(a, b)
            taken = []
            while len(taken) < 3 or sum(taken) < 0.05:
                start = time.perf_counter()
                torch.bmm(a, b)
                taken.append(time.perf_counter() - start)
            seconds += times * min(taken)
            flops += times * 2 * batch * m * k * n
    print(json.dumps({"step": 1, "seconds": seconds, "gigaflops": flops / 1e9,
                      "tokens_per_second": args.batch * args.seq / seconds}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", choices=list(reference_models.MODELS))
    parser.add_argument("--mode", choices=["eager", "compile", "max-autotune", "gemm"], default="eager")
    parser.add_argument("--experts", choices=["eager", "grouped_mm", "batched_mm"],
                        default="grouped_mm", help="form of the expert layer in PyTorch")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seq", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(args.threads)
    gemm(args) if args.mode == "gemm" else train(args)


if __name__ == "__main__":
    main()
