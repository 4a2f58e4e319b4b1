#!/usr/bin/env python3
#===-- export_demo_model.py - Make the demo's graph without weights -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Exports the demo's byte-level mixture of experts to ONNX, without its weights.

    export_demo_model.py [utils/demo/moe-bytes.onnx]

The graph is checked with onnxruntime against PyTorch at another batch and
sequence length first. Then every parameter becomes a reference into a weight
file that is not written: the trainer starts from fresh weights (--init).
Needs the environment of docs/reference-environment.md.
"""
import argparse
import os
import sys
import warnings

import numpy
import onnx
import onnxruntime
import torch

import reference_models

# Per-node texts that the demo does without; scopes and classes stay.
DROPPED = {"namespace", "pkg.torch.onnx.stack_trace", "pkg.torch.onnx.fx_node"}
TOLERANCE = 1e-4
ALIGNMENT = 64


def check(file, model, vocab):
    """Largest difference of the logits between onnxruntime and PyTorch."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch, seq in [(2, 10), (3, 37)]:
        inputs = reference_models.example(batch, seq, vocab)
        with torch.no_grad():
            want = model(**inputs).logits.numpy()
        got = session.run(None, {k: v.numpy() for k, v in inputs.items()})[0]
        worst = max(worst, float(numpy.abs(got - want).max()))
    return worst


def strip_metadata(graph):
    for node in graph.node:
        kept = [m for m in node.metadata_props if m.key not in DROPPED]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)


def parameters_of(graph, model):
    """Initializers that hold parameters: by their own kind, or, where a transpose
    was folded into them, by the name that they come from."""
    names = [f"'{name}'" for name, _ in model.named_parameters()]
    for value in graph.value_info:
        for entry in value.metadata_props:
            if entry.key.endswith("InputSpec.kind") and entry.value == "PARAMETER":
                yield value.name
            if entry.key.endswith("folded_from") and any(n in entry.value for n in names):
                yield value.name


def strip_weights(graph, parameters, location):
    """Replaces `parameters` by references to `location`; returns (count, bytes)."""
    offset, count = 0, 0
    for tensor in graph.initializer:
        if tensor.name not in parameters:
            continue
        size = onnx.numpy_helper.to_array(tensor).nbytes
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in [("location", location), ("offset", offset), ("length", size)]:
            tensor.external_data.add(key=key, value=str(value))
        offset, count = (offset + size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT, count + 1
    return count, offset


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", nargs="?", default=os.path.join(here, "demo", "moe-bytes.onnx"))
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    model = reference_models.moe_bytes()
    reference_models.untie_norms(model)
    program = reference_models.export(model)
    os.makedirs(os.path.dirname(os.path.abspath(args.file)), exist_ok=True)
    program.save(args.file)
    onnx.checker.check_model(args.file)
    worst = check(args.file, model, model.config.vocab_size)
    if not worst < TOLERANCE:
        os.remove(args.file)
        sys.exit(f"error: onnxruntime and PyTorch differ by {worst:.2e}, allowed is {TOLERANCE:.0e}")
    proto = onnx.load(args.file)
    strip_metadata(proto.graph)
    parameters = set(parameters_of(proto.graph, model))
    count, size = strip_weights(proto.graph, parameters, os.path.basename(args.file) + ".data")
    onnx.save(proto, args.file)
    print(f"{args.file}: {os.path.getsize(args.file)} bytes, {len(proto.graph.node)} nodes, "
          f"{count} parameter tensors of {size} bytes left out; onnxruntime and PyTorch "
          f"differ by {worst:.1e}")


if __name__ == "__main__":
    main()
