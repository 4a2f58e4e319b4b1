#!/usr/bin/env python3
#===-- check-exporting.py - Trains what the exporter writes -------*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Exports each family of utils/export_hf.py, trains it, and compares with PyTorch.

    ~/moire-ref/bin/python utils/check-exporting.py [--families gpt2 ...] [--build build]

Per family: a small model of fresh weights, saved by save_pretrained(), exported from
that folder, compiled, and trained six SGD steps (rate 0.1) on one padded batch; each
loss within 2e-4 of PyTorch's, the first within 1e-5, the last below the first. Also
the module that docs/exporting.md writes by hand, a graph without weights (--init),
and what is refused. Prints one line each; exits 1 where one fails, 77 (SKIPPED)
without the environment of docs/reference-environment.md. About two minutes a family.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

os.environ["HF_HUB_OFFLINE"] = "1"  # what is not here is refused at once
try:
    import numpy
    import onnx
    import torch
    import transformers

    import export_hf
    import onnx_export
except ImportError as missing:
    print(f"SKIPPED: no {missing.name}; docs/reference-environment.md installs it")
    sys.exit(77)

from compare_reference import read_jsonl

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BATCH, SEQ, STEPS, RATE = 4, 32, 6, 0.1
FIRST_TOLERANCE, TOLERANCE = 1e-5, 2e-4
SPECIAL = ["handwritten", "init", "refusals"]


class Failure(Exception):
    """One sentence about what differs."""


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Failure(f"{' '.join(command)}: {last[-1] if last else done.returncode}")


def write_batch(folder, inputs, labels, order):
    os.makedirs(folder)
    for name, values in [*inputs.items(), ("labels", labels)]:
        tensor = onnx.numpy_helper.from_array(values.numpy(), name)
        stem = f"input_{order.index(name)}" if name in order else name
        with open(os.path.join(folder, stem + ".pb"), "wb") as file:
            file.write(tensor.SerializeToString())


def loss_of(module, inputs, labels):
    """PyTorch's mean loss over the next tokens."""
    logits = onnx_export.logits_of(module, inputs)[:, :-1]
    return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1))


def reference_losses(module, inputs, labels):
    """PyTorch's losses before each of the SGD steps."""
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
    losses = []
    for _ in range(STEPS):
        loss = loss_of(module, inputs, labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def train(args, file, scratch, inputs, labels, flags=()):
    """The trainer's losses, and how many seconds compiling took."""
    order = [i.name for i in onnx.load(file, load_external_data=False).graph.input]
    data, out, log = (os.path.join(scratch, name) for name in ["data", "out", "log.jsonl"])
    write_batch(data, inputs, labels, order)
    start = time.time()
    run([os.path.join(args.build, "bin", "moirec"), file, "--bind", f"batch={BATCH},seq={SEQ}",
         "--optimizer", "sgd", "-o", out, *flags])
    compiled = time.time() - start
    run([os.path.join(out, "trainer"), "--data", data, "--steps", str(STEPS), "--lr", str(RATE),
         "--log", log])
    return [step["loss"] for step in read_jsonl(log)], compiled


def compare(losses, want):
    first = abs(losses[0] - want[0]) / want[0]
    worst = max(abs(a - b) / b for a, b in zip(losses, want))
    if len(losses) != STEPS or not first < FIRST_TOLERANCE or not worst < TOLERANCE:
        raise Failure(f"losses {losses} differ from PyTorch's {want} by {worst:.1e}")
    if not losses[-1] < losses[0]:
        raise Failure(f"the loss rose from {losses[0]:.4f} to {losses[-1]:.4f}")
    return worst


def train_and_compare(args, module, file, scratch, make_inputs):
    inputs = make_inputs(BATCH, SEQ)
    labels = inputs["input_ids"].clone()
    if "attention_mask" in inputs:
        labels[inputs["attention_mask"] == 0] = -100
    losses, compiled = train(args, file, scratch, inputs, labels)
    want = reference_losses(module, inputs, labels)
    worst = compare(losses, want)
    nodes = len(onnx.load(file, load_external_data=False).graph.node)
    count = sum(parameter.numel() for parameter in module.parameters())
    return (f"{nodes:5} nodes {count / 1e6:6.2f} M parameters  first loss {losses[0]:.6f}, PyTorch "
            f"{want[0]:.6f}  last {losses[-1]:.4f}, worst step {worst:.0e}", compiled)


def check_family(args, family, scratch):
    folder, file = os.path.join(scratch, family), os.path.join(scratch, family + ".onnx")
    module = export_hf.build(family, {})
    module.save_pretrained(folder)
    start = time.time()
    run([sys.executable, os.path.join(ROOT, "utils", "export_hf.py"), folder, "-o", file])
    exported = time.time() - start
    make_inputs = onnx_export.padded_batch(module.config.vocab_size)
    text, compiled = train_and_compare(args, module.eval(), file, scratch, make_inputs)
    return f"{text}  {exported:.0f} s to export, {compiled:.0f} s to compile"


def check_handwritten(args, scratch):
    """The Python of docs/exporting.md: it defines `module` and writes model.onnx."""
    with open(os.path.join(ROOT, "docs", "exporting.md")) as file:
        (block,) = re.findall(r"^```python\n(.*?)^```", file.read(), re.M | re.S)
    names = {}
    os.chdir(scratch)
    exec(compile(block, "docs/exporting.md", "exec"), names)
    text, _ = train_and_compare(args, names["module"], os.path.join(scratch, "model.onnx"), scratch,
                                onnx_export.token_ids(256))
    return text


def check_init(args, scratch):
    """A graph without weights trains from fresh ones."""
    file = os.path.join(scratch, "init.onnx")
    export_hf.main(["mixtral", "--config-only", "--no-weights", "--strip-traces", "--set",
                    "num_hidden_layers=2", "-o", file])
    if os.path.exists(file + ".data"):
        raise Failure("--no-weights wrote weights")
    inputs = onnx_export.padded_batch(256)(BATCH, SEQ)
    losses, _ = train(args, file, scratch, inputs, inputs["input_ids"], ["--init"])
    uniform = float(numpy.log(256))
    if not abs(losses[0] - uniform) < 0.3 or not losses[-1] < losses[0]:
        raise Failure(f"losses {losses} do not fall from about {uniform:.2f}, that of equal odds")
    return f"first loss {losses[0]:.4f}, last {losses[-1]:.4f}"


def check_refusals(args, scratch):
    """One sentence, code 1, no file."""
    quantized = os.path.join(scratch, "quantized")
    config = transformers.AutoConfig.for_model("llama", quantization_config={"quant_method": "fp8"})
    config.save_pretrained(quantized)
    cases = [
        (["nowhere/model"], "transformers does not load 'nowhere/model'"),
        (["gpt2"], "'gpt2' is a family, which has no weights"),
        (["gpt2", "--config-only", "--set", "layers=4"], "a gpt2 configuration has no 'layers'"),
        (["gpt2", "--config-only", "--set", "n_layer"], "--set n_layer has no value"),
        (["gpt2", "--config-only", "--set", "n_head=5"], "transformers does not load 'gpt2'"),
        (["gpt2", "--set", "n_layer=4"], "--set changes sizes"),
        ([quantized], "are quantized"),
    ]
    for arguments, sentence in cases:
        file = os.path.join(scratch, "refused.onnx")
        try:
            export_hf.main([*arguments, "-o", file])
        except SystemExit as stopped:
            text = str(stopped.code)
            if not text.startswith("error: ") or sentence not in text or "\n" in text:
                raise Failure(f"{' '.join(arguments)}: said '{text}' instead of '{sentence}'") from None
        else:
            raise Failure(f"{' '.join(arguments)} was not refused")
        if os.path.exists(file):
            raise Failure(f"{' '.join(arguments)} left {file} behind")
    return f"{len(cases)} sentences"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    choices = [*export_hf.FAMILIES, *SPECIAL]
    parser.add_argument("--families", nargs="+", choices=choices, default=choices)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    checks = {"handwritten": check_handwritten, "init": check_init, "refusals": check_refusals}
    failed = False
    for name in args.families:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                told = (checks[name](args, scratch) if name in checks
                        else check_family(args, name, scratch))
                print(f"{name:12} {told}", flush=True)
            except (Failure, onnx_export.ExportError) as failure:
                print(f"{name:12} FAILED: {failure}", flush=True)
                failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
