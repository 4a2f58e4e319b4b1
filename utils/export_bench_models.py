#!/usr/bin/env python3
#===-- export_bench_models.py - Make the benchmark's ONNX files -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Exports the benchmark's models with weights: gpt2-124m.onnx and moe-512.onnx.

    export_bench_models.py FOLDER [--models gpt2-124m moe-512] [--check]

Weights go to NAME.onnx.data beside the graph. --check compares onnxruntime
with PyTorch. Needs the environment of docs/reference-environment.md; about one
minute and 3 GB of memory a model.
"""
import argparse
import os
import warnings

import torch

import reference_models

MODELS = {"gpt2-124m": reference_models.gpt2_124m, "moe-512": reference_models.moe_512}


def difference(file, model):
    """Largest difference of the logits between onnxruntime and PyTorch."""
    import onnxruntime
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    inputs = reference_models.example(3, 37, model.config.vocab_size)
    with torch.no_grad():
        want = model(**inputs).logits.numpy()
    got = session.run(None, {k: v.numpy() for k, v in inputs.items()})[0]
    return abs(got - want).max()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--models", nargs="+", choices=sorted(MODELS), default=sorted(MODELS))
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    os.makedirs(args.folder, exist_ok=True)
    for name in args.models:
        torch.manual_seed(0)
        model = MODELS[name]()
        reference_models.untie_norms(model)
        file = os.path.join(args.folder, name + ".onnx")
        reference_models.export(model).save(file, external_data=True)
        count = sum(p.numel() for p in model.parameters())
        told = f"; onnxruntime differs by {difference(file, model):.1e}" if args.check else ""
        print(f"{file}: {count / 1e6:.1f} million parameters{told}")


if __name__ == "__main__":
    main()
