#===-- onnx_export.py - From a PyTorch module to an ONNX file ------*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Writes PyTorch modules as ONNX files that train well: parameters keep their names
and layouts, and onnxruntime's outputs are compared with PyTorch's.

    from onnx_export import token_ids, write
    write(module, token_ids(vocabulary), "model.onnx")

Needs the environment of docs/reference-environment.md; docs/exporting.md says why
each setting is as it is.
"""
import logging
import os
import tempfile
import warnings

import numpy
import onnx
import onnxruntime
import torch

TOLERANCE = 1e-4
ALIGNMENT = 64
# Sizes that the module is traced at, and others that the file is checked at.
TRACED, CHECKED = (2, 10), [(3, 37), (1, 5)]
# Per-node texts that hold paths of the exporting machine, or that only traces read.
TRACES = {"namespace", "pkg.torch.onnx.stack_trace", "pkg.torch.onnx.fx_node"}


class ExportError(Exception):
    """One sentence for the user."""


def padded_batch(vocabulary):
    """Inputs of Hugging Face's language models as a tokenizer gives them, as a function
    of batch and seq; the last row is padded on the right."""
    def make(batch, seq):
        mask = torch.ones(batch, seq, dtype=torch.int64)
        mask[-1, seq - 2:] = 0
        positions = torch.arange(seq).repeat(batch, 1)
        return {**token_ids(vocabulary)(batch, seq), "attention_mask": mask,
                "position_ids": positions}
    return make


def token_ids(vocabulary, name="input_ids"):
    """Random tokens as the one input `name` [batch, seq], as a function of both."""
    def make(batch, seq):
        generator = torch.Generator().manual_seed(2)
        return {name: torch.randint(vocabulary, (batch, seq), generator=generator)}
    return make


def logits_of(module, inputs):
    """The module's first output; of Hugging Face's models the logits."""
    result = module(**inputs)
    result = getattr(result, "logits", result)
    return result[0] if isinstance(result, (tuple, list)) else result


def own_names(module):
    """Each name of a parameter, tied ones too, with the name that PyTorch lists it by."""
    first = {id(parameter): name for name, parameter in module.named_parameters()}
    return {name: first[id(parameter)]
            for name, parameter in module.named_parameters(remove_duplicate=False)}


def trace(module, make_inputs, opset):
    """The ONNX program of `module`, its optimizer run on all but the parameters.

    The exporter's optimizer looks at weights: it folds transposes into them, which then
    have names like val_101, makes equal vectors of 1024 elements or fewer one tensor,
    which ties fresh norms, and drops biases that are zero. So they are inputs meanwhile.
    """
    inputs = make_inputs(*TRACED)
    dims = {0: torch.export.Dim("batch"), 1: torch.export.Dim("seq")}
    program = torch.onnx.export(
        module, (), kwargs=inputs, dynamo=True, opset_version=opset, optimize=False,
        verbose=False, dynamic_shapes={name: dims for name in inputs})
    graph, names = program.model.graph, own_names(module)
    parameters = [(value, value.const_value) for name, value in graph.initializers.items()
                  if name in names and value.uses()]
    for value, _ in parameters:
        del graph.initializers[value.name]
        value.const_value = None
        graph.inputs.append(value)
    program.optimize()
    graph = program.model.graph
    for value, tensor in parameters:
        if not value.uses():
            raise ExportError(f"PyTorch's exporter dropped the parameter '{value.name}', so that it "
                              "could not be trained; use another version of onnxscript")
        graph.inputs.remove(value)
        value.name = tensor.name = names[value.name]
        value.const_value = tensor
        graph.initializers.add(value)
    return program


def difference(file, module, make_inputs, limit=None):
    """Largest difference between onnxruntime and PyTorch at sizes that were not traced,
    relative to the largest output where that is above 1."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch, seq in CHECKED:
        inputs = make_inputs(batch, min(seq, limit or seq))
        try:
            with torch.no_grad():
                want = logits_of(module, inputs).numpy()
        except RuntimeError as error:
            raise ExportError(f"{type(module).__name__} cannot be computed at batch {batch} and sequence "
                              f"length {seq}: {reason(error)}") from error
        got = session.run(None, {name: value.numpy() for name, value in inputs.items()})[0]
        if got.shape != want.shape:
            raise ExportError(f"onnxruntime gives {got.shape} where PyTorch gives {want.shape}; "
                              "a size of the traced sample is fixed in the graph")
        worst = max(worst, float(numpy.abs(got - want).max() / max(1.0, numpy.abs(want).max())))
    return worst


def strip_traces(graph):
    for node in graph.node:
        kept = [entry for entry in node.metadata_props if entry.key not in TRACES]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)


def strip_weights(graph, module, location):
    """Makes every parameter a reference into `location`, which is not written."""
    offset, names = 0, {name for name, _ in module.named_parameters()}
    for tensor in graph.initializer:
        if tensor.name not in names:
            continue
        size = onnx.numpy_helper.to_array(tensor).nbytes
        for field in ["raw_data", "float_data", "external_data"]:
            tensor.ClearField(field)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in [("location", location), ("offset", offset), ("length", size)]:
            tensor.external_data.add(key=key, value=str(value))
        offset = (offset + size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def write(module, make_inputs, file, weights=True, traces=True, opset=18, limit=None):
    """Writes `module` to `file`, and its weights to `file`.data beside it.

    `make_inputs(batch, seq)` gives named input tensors whose first two dims are batch
    and seq; both stay symbolic. The module's first output must be its logits. Without
    `weights` the graph only refers to them; without `traces` it holds no Python stack
    traces. `limit` is the longest sequence. Returns a line of text about what was
    written; raises ExportError, and then leaves nothing behind.
    """
    module = module.eval()
    folder, name = os.path.split(os.path.abspath(file))
    os.makedirs(folder, exist_ok=True)
    quiet = logging.getLogger("onnx_ir"), logging.getLogger("torch.onnx")
    levels = [logger.level for logger in quiet]
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(dir=folder) as scratch:
        warnings.simplefilter("ignore")
        for logger in quiet:
            logger.setLevel(logging.ERROR)
        try:
            program = trace(module, make_inputs, opset)
        except torch.onnx.OnnxExporterError as error:
            raise ExportError(f"PyTorch cannot export {type(module).__name__}: {reason(error)}") from error
        finally:
            for logger, level in zip(quiet, levels):
                logger.setLevel(level)
        made = os.path.join(scratch, name)
        program.save(made, external_data=True)
        worst = difference(made, module, make_inputs, limit)
        if not worst < TOLERANCE:
            raise ExportError(f"onnxruntime and PyTorch differ by {worst:.1e} at another batch and "
                              f"sequence length, allowed is {TOLERANCE:.0e}; the graph depends on the "
                              "traced sample")
        proto = onnx.load(made, load_external_data=not weights)
        if not traces:
            strip_traces(proto.graph)
        if not weights:
            strip_weights(proto.graph, module, name + ".data")
        with open(made, "wb") as out:
            out.write(proto.SerializeToString())
        if weights:
            os.replace(made + ".data", file + ".data")
        os.replace(made, file)
    count = sum(parameter.numel() for parameter in module.parameters())
    return (f"{file}: {len(proto.graph.node)} nodes, {count / 1e6:.1f} million parameters"
            f"{'' if weights else ' (left out)'}; onnxruntime and PyTorch differ by {worst:.1e}")


def reason(error):
    """The innermost cause of an exporter's error, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    if "data-dependent" in str(error).lower():
        return ("its code branches on data, as experts in a loop do; write it with fixed shapes "
                "(recipe: docs/exporting.md#experts)")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
