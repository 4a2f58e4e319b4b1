#!/usr/bin/env python3
#===-- export_bench_models.py - Make the benchmark's ONNX files -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Exports the benchmark's models: gpt2-124m.onnx and moe-512.onnx with weights, which go
to NAME.onnx.data beside the graph, and moe-s.onnx without, for moirec --init.

    export_bench_models.py FOLDER [--models gpt2-124m moe-512 moe-s]

Needs the environment of docs/reference-environment.md; about one minute and 3 GB of
memory a model, moe-s 10 GB.
"""
import argparse
import os
import sys

import torch

import onnx_export
from reference_models import MODELS, named


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--models", nargs="+", choices=sorted(MODELS), default=sorted(MODELS))
    args = parser.parse_args()
    for name in args.models:
        torch.manual_seed(0)
        model = named(name)
        inputs = onnx_export.padded_batch(model.config.vocab_size)
        try:
            print(onnx_export.write(model, inputs, os.path.join(args.folder, name + ".onnx"),
                                    weights=name != "moe-s"))
        except onnx_export.ExportError as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
