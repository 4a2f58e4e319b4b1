#!/usr/bin/env python3
#===-- check-export.py - PyTorch to ONNX, trained, and back ------*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Exports small models from PyTorch, trains them, and gives the weights back to both.

Of each model: PyTorch exports it to ONNX; moirec compiles that; the trainer does five
steps and writes --export and --export-safetensors. Then the sixth step's loss of a
trainer that goes on must be, within 1e-5, the loss of onnxruntime on the exported file
and that of a fresh PyTorch model after load_state_dict(strict=True). A file in bf16
has rounded weights: onnxruntime is compared with a trainer that starts from that file,
and both with the unrounded loss within what half a unit of bf16 in each weight moves.

Needs the environment of docs/reference-environment.md; without it: SKIPPED, exit 77.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings

try:
    import numpy
    import onnx
    import onnxruntime
    import safetensors.torch
    import torch
    import transformers

    import reference_models as models
except ImportError as error:
    print(f"SKIPPED check-export: {error}; see docs/reference-environment.md")
    sys.exit(77)

BATCH, SEQ, VOCAB, STEPS, RATE = 2, 10, 96, 5, 0.1
TOLERANCE = 1e-5
# Relative; 2^-9 in every weight.
BF16_TOLERANCE = 2e-3
TINY = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64)


def gpt2():
    config = transformers.GPT2Config(vocab_size=VOCAB, n_positions=64, n_embd=32, n_layer=2, n_head=4,
                                     resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
                                     bos_token_id=None, eos_token_id=None)
    config._attn_implementation = "sdpa"
    return transformers.GPT2LMHeadModel(config)


def llama():
    config = transformers.LlamaConfig(num_hidden_layers=2, use_cache=False, bos_token_id=None,
                                      eos_token_id=None, pad_token_id=None, **TINY)
    config._attn_implementation = "eager"
    return transformers.LlamaForCausalLM(config)


def mixtral(layers):
    return models.mixtral("batched_mm", num_hidden_layers=layers, num_local_experts=8, **TINY)


class Logits(torch.nn.Module):
    """What the TorchScript exporter takes: positional tensors, one output."""

    def __init__(self, model):
        super().__init__()
        self.m = model

    def forward(self, input_ids, attention_mask, position_ids):
        return self.m(input_ids=input_ids, attention_mask=attention_mask,
                      position_ids=position_ids).logits


# Name: how the model is made, the exporter, the type of the weights, fresh norms as they are
# (all equal, so that the file has one initializer for all of them).
CASES = {
    "gpt2_tied": (gpt2, "dynamo", torch.float32, False),
    "gpt2_tied_legacy": (gpt2, "legacy", torch.float32, False),
    "llama_legacy": (llama, "legacy", torch.float32, False),
    "mixtral_batched": (lambda: mixtral(2), "dynamo", torch.float32, False),
    "mixtral_fresh": (lambda: mixtral(2), "dynamo", torch.float32, True),
    "mixtral_deep": (lambda: mixtral(8), "dynamo", torch.float32, False),
    "llama_bf16_external": (llama, "dynamo", torch.bfloat16, False),
}


def make(build, exporter, dtype, equal, seed):
    torch.manual_seed(seed)
    model = build().eval()
    if not equal:
        models.untie_norms(model)
    model = model.to(dtype)
    return Logits(model) if exporter == "legacy" else model


def export(model, exporter, dtype, path):
    inputs = models.example(BATCH, SEQ, VOCAB)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "legacy":
            torch.onnx.export(model, tuple(inputs.values()), path, dynamo=False, opset_version=17,
                              input_names=list(inputs), output_names=["logits"],
                              dynamic_axes={n: {0: "batch", 1: "seq"} for n in inputs})
        else:
            models.export(model, 20 if dtype == torch.bfloat16 else 18).save(
                path, external_data=dtype == torch.bfloat16)


def write_data(folder, names):
    """Inputs in the graph's order and labels, as a folder of tensors; the labels."""
    os.makedirs(folder)
    inputs = models.example(BATCH, SEQ, VOCAB)
    labels = inputs["input_ids"].clone()
    labels[inputs["attention_mask"] == 0] = -100
    for i, name in enumerate(names):
        onnx.save_tensor(onnx.numpy_helper.from_array(inputs[name].numpy(), name),
                         os.path.join(folder, f"input_{i}.pb"))
    onnx.save_tensor(onnx.numpy_helper.from_array(labels.numpy(), "labels"),
                     os.path.join(folder, "labels.pb"))
    return inputs, labels


def loss_of(logits, labels):
    return float(torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, VOCAB).double(), labels[:, 1:].reshape(-1), ignore_index=-100))


def in_float32(model):
    """The ONNX model with bf16 as float32: onnxruntime has few kernels for bf16 on the CPU."""
    bf16, f32 = onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT

    def widen(tensor):
        if tensor.data_type == bf16:
            wide = onnx.numpy_helper.to_array(tensor).astype(numpy.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(wide, tensor.name))

    for tensor in model.graph.initializer:
        widen(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i == bf16:
                attribute.i = f32
            if attribute.HasField("t"):
                widen(attribute.t)
    del model.graph.value_info[:]
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.tensor_type.elem_type == bf16:
            value.type.tensor_type.elem_type = f32
    return model


def runtime_loss(path, inputs, labels):
    model = in_float32(onnx.load(path))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = {i.name for i in session.get_inputs()}
    logits = session.run(None, {n: v.numpy() for n, v in inputs.items() if n in names})[0]
    return loss_of(torch.from_numpy(logits), labels)


def torch_loss(model, path, inputs, labels):
    model.float().load_state_dict(safetensors.torch.load_file(path), strict=True)
    with torch.no_grad():
        out = model(**inputs)
    return loss_of(out if torch.is_tensor(out) else out.logits, labels)


class Circle:
    def __init__(self, args, name, scratch):
        self.args, self.name, self.scratch = args, name, scratch

    def path(self, *parts):
        return os.path.join(self.scratch, *parts)

    def run(self, *command):
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError(" ".join(command) + "\n    " + "\n    ".join(done.stderr.splitlines()[-6:]))

    def loss(self, steps, *flags):
        self.run(self.path("out", "trainer"), "--data", self.path("data"), "--steps", str(steps), "--lr",
                 str(RATE), "--log", self.path("log.jsonl"), *flags)
        with open(self.path("log.jsonl")) as file:
            return json.loads(file.readlines()[-1])["loss"]

    def all(self):
        build, exporter, dtype, equal = CASES[self.name]
        os.makedirs(self.path("trained"))
        original = self.path("model.onnx")
        export(make(build, exporter, dtype, equal, seed=1), exporter, dtype, original)
        graph = onnx.load(original, load_external_data=False).graph
        inputs, labels = write_data(self.path("data"), [i.name for i in graph.input])
        self.run(os.path.join(self.args.build, "bin", "moirec"), original, "--bind",
                 f"batch={BATCH},seq={SEQ}", "--optimizer", "sgd", "-o", self.path("out"))
        exported, tensors = self.path("trained", "model.onnx"), self.path("trained.safetensors")
        first = self.loss(1)
        self.loss(STEPS, "--export", exported, "--export-safetensors", tensors)
        ours = self.loss(STEPS + 1)
        if not ours < first - 0.1:
            raise RuntimeError(f"nothing was learnt: the loss went from {first} to {ours}")
        distances = []

        def compare(what, got, want, tolerance):
            distances.append(f"{what} {abs(got - want) / want:.1e}")
            if not abs(got - want) <= tolerance * want:
                raise RuntimeError(f"{what}'s loss is {got}, ours {want}: more than {tolerance} apart")

        if dtype == torch.bfloat16:
            rounded = self.loss(1, "--weights", exported)
            compare("rounded", rounded, ours, BF16_TOLERANCE)
            compare("onnxruntime", runtime_loss(exported, inputs, labels), rounded, TOLERANCE)
        else:
            compare("onnxruntime", runtime_loss(exported, inputs, labels), ours, TOLERANCE)
        fresh = make(build, exporter, dtype, equal, seed=2)
        compare("PyTorch", torch_loss(fresh, tensors, inputs, labels), ours, TOLERANCE)
        return f"loss {first:.4f} -> {ours:.4f}; " + ", ".join(distances)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--build", default=os.path.join(root, "build"), help="build folder")
    parser.add_argument("--case", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--keep", metavar="DIR", help="keep everything that is made in DIR")
    args = parser.parse_args()
    failed = 0
    for name in args.case:
        scratch = os.path.join(args.keep, name) if args.keep else tempfile.mkdtemp(prefix="moire-")
        os.makedirs(scratch, exist_ok=True)
        start = time.time()
        try:
            verdict, text = "ok", Circle(args, name, scratch).all()
        except (RuntimeError, OSError, ValueError) as error:
            verdict, text, failed = "FAILED", str(error), failed + 1
        finally:
            if not args.keep:
                shutil.rmtree(scratch, ignore_errors=True)
        print(f"{name:22s} {verdict:6s} {time.time() - start:5.1f} s  {text}", flush=True)
    print(f"{len(args.case) - failed} of {len(args.case)} models come back to onnxruntime and PyTorch")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
