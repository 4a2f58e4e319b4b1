#!/usr/bin/env python3
#===-- export_bench_models.py - Make the benchmark's ONNX files -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Exports the benchmark's models with weights: gpt2-124m.onnx and moe-512.onnx.

    export_bench_models.py FOLDER [--models gpt2-124m moe-512]

Weights go to NAME.onnx.data beside the graph. Needs the environment of docs/
reference-environment.md; about one minute and 3 GB of memory a model.
"""
import argparse
import os
import sys

import torch

import onnx_export
import reference_models

MODELS = {"gpt2-124m": reference_models.gpt2_124m, "moe-512": reference_models.moe_512}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--models", nargs="+", choices=sorted(MODELS), default=sorted(MODELS))
    args = parser.parse_args()
    for name in args.models:
        torch.manual_seed(0)
        model = MODELS[name]()
        inputs = onnx_export.padded_batch(model.config.vocab_size)
        try:
            print(onnx_export.write(model, inputs, os.path.join(args.folder, name + ".onnx")))
        except onnx_export.ExportError as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
