#!/usr/bin/env python3
#===-- reference_bf16.py - PyTorch autocast losses of the corpus --*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Trains corpus models in PyTorch with bf16 autocast on the CPU and writes the losses.

    reference_bf16.py CORPUS [-o test/Corpus/bf16.json] [--entry NAME ...]

Per entry and optimizer: the six losses under autocast (float32 weights, the
corpus' data and hyper-parameters), and how far they spread when the weights move
by half a unit of bf16: eight runs with every weight times 1 + 2^-9 u, u uniform in
-1..1. A program that rounds at other places is such a neighbour, so utils/
check-corpus.py --precision bf16 takes its bound from the spread.

The models are built from the weights in the ONNX files; before anything is
written, their float32 losses must be those of the corpus. Needs the environment of
docs/reference-environment.md.
"""
import argparse
import json
import os
import sys

import onnx
import onnx.numpy_helper
import torch
import transformers

from compare_reference import LOSS_KEYS, Entry

ENTRIES = [
    "gpt2_dyn18", "llama_dyn18", "llama_dyn23", "llama_loss_dyn18", "bert_dyn18",
    "mixtral_batched_dyn18", "mixtral_contrib_moe_dyn20", "qwen3moe_batched_dyn23",
    "mixtral_deep_dyn18", "llama_bf16_ext_dyn20",
]
NEIGHBOURS = 8


def make_model(name, layers):
    """The corpus' architectures: hidden 32, four heads of 8, vocabulary 96."""
    tokens = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    sizes = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": layers,
             "num_attention_heads": 4, "max_position_embeddings": 64, **tokens}
    moe = {"num_experts_per_tok": 2, "num_key_value_heads": 2, "tie_word_embeddings": False,
           "use_cache": False}
    if name.startswith("gpt2"):
        config = transformers.GPT2Config(
            vocab_size=96, n_embd=32, n_layer=layers, n_head=4, n_positions=64, use_cache=False,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **tokens)
    elif name.startswith("llama"):
        config = transformers.LlamaConfig(intermediate_size=48, num_key_value_heads=2,
                                          tie_word_embeddings=False, use_cache=False, **sizes)
    elif name.startswith("bert"):
        config = transformers.BertConfig(intermediate_size=48, num_labels=3, type_vocab_size=2,
                                         hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
                                         **{**sizes, "pad_token_id": 0})
    elif name.startswith("mixtral"):
        config = transformers.MixtralConfig(intermediate_size=48, num_local_experts=8,
                                            sliding_window=None, **sizes, **moe)
    else:
        config = transformers.Qwen3MoeConfig(
            intermediate_size=48, moe_intermediate_size=24, num_experts=8, head_dim=8,
            norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[], **sizes, **moe)
    config._attn_implementation = "sdpa"
    config._experts_implementation = "batched_mm"
    if name.startswith("bert"):
        return transformers.BertForSequenceClassification(config)
    return transformers.AutoModelForCausalLM.from_config(config)


def untransform(tensors, entries, shape):
    """A parameter from the initializers that `param_map` lists for it."""
    result = None
    for entry in entries:
        tensor, kind = tensors[entry["initializer"]], entry["transform"]
        if kind == "same":
            return tensor
        if kind == "transpose_last2":
            return tensor.transpose(-1, -2)
        if kind == "reshape":
            return tensor.reshape(shape)
        if kind == "interleave_halves_dim1":
            return torch.cat([tensor[:, 0::2], tensor[:, 1::2]], dim=1)
        result = torch.empty(shape) if result is None else result
        index = int(kind[kind.index("[") + 1:-1])
        result[index] = tensor.transpose(-1, -2) if "transpose" in kind else tensor
    return result


def load(entry, folder="test_data_set_0"):
    """The model with the file's weights, the keyword arguments of a step and its labels."""
    file = onnx.load(entry.path("model.onnx"))
    tensors = {t.name: torch.tensor(onnx.numpy_helper.to_array(t).astype("float32"))
               for t in file.graph.initializer}
    # A file that holds its loss was exported from a wrapper: `m.`.
    where = {n.removeprefix("m."): sources for n, sources in entry.train["param_map"].items()}
    names = set(where)
    layers = len({n.split(".")[2 if "layers" in n or ".h." in n else 3] for n in names
                  if "layer." in n or "layers." in n or ".h." in n})
    model = make_model(entry.name, layers)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(untransform(tensors, where[name], parameter.shape).reshape(parameter.shape))
    inputs = {}
    for i, (name, _) in enumerate(entry.train["inputs"]):
        if name != "labels":
            with open(entry.path(folder, f"input_{i}.pb"), "rb") as data:
                value = onnx.numpy_helper.to_array(onnx.load_tensor_from_string(data.read()))
            inputs[name] = torch.tensor(value)
    with open(entry.path(folder, "labels.pb"), "rb") as data:
        labels = onnx.numpy_helper.to_array(onnx.load_tensor_from_string(data.read()))
    return model, inputs, torch.tensor(labels)


def loss_of(model, inputs, labels, autocast):
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = model(**inputs).logits
    if labels.dim() == 2:
        logits, labels = logits[:, :-1], labels[:, 1:]
    return torch.nn.functional.cross_entropy(logits.float().reshape(-1, logits.shape[-1]),
                                             labels.reshape(-1), ignore_index=-100)


def train(entry, optimizer, autocast, seed=None):
    """Six losses; `seed` moves the weights by up to half a unit of bf16."""
    model, inputs, labels = load(entry)
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                noise = 2 * torch.rand(parameter.shape, generator=generator) - 1
                parameter.mul_(1 + noise / 512)
    if optimizer == "sgd":
        steps = torch.optim.SGD(model.parameters(), lr=0.1)
    else:
        steps = torch.optim.AdamW(model.parameters(), lr=0.01, betas=(0.9, 0.95), eps=1e-8,
                                  weight_decay=0.1)
    losses = []
    for _ in range(6):
        steps.zero_grad()
        loss = loss_of(model, inputs, labels, autocast)
        loss.backward()
        steps.step()
        losses.append(loss.item())
    return losses


def reference(corpus, name):
    entry, result = Entry(os.path.join(corpus, name)), {}
    for optimizer in ("sgd", "adamw"):
        single = train(entry, optimizer, autocast=False)
        want = entry.losses(optimizer)
        # One token that takes another expert moves a loss by less than 1e-3. The
        # bf16 entry was trained wholly in bf16: only its beginning is the same.
        steps, tolerance = 1 if "bf16" in name else 6, 1e-3
        for step in range(steps):
            if not abs(single[step] - want[step]) <= tolerance * want[step]:
                sys.exit(f"error: {name}: float32 {optimizer} loss {single[step]:.6g} at step "
                         f"{step + 1} is not the corpus' {want[step]:.6g}; the model is another one")
        losses = train(entry, optimizer, autocast=True)
        runs = [train(entry, optimizer, autocast=True, seed=s) for s in range(NEIGHBOURS)]
        spread = [max(abs(run[i] - losses[i]) for run in runs) for i in range(6)]
        result[optimizer] = {"losses": losses, "spread": spread, "float32": single}
        print(name, optimizer, " ".join(f"{x:.5f}±{s:.1e}" for x, s in zip(losses, spread)),
              flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus")
    parser.add_argument("-o", default="test/Corpus/bf16.json", metavar="FILE")
    parser.add_argument("--entry", nargs="+", default=ENTRIES, metavar="NAME")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    results = {name: reference(args.corpus, name) for name in args.entry}
    os.makedirs(os.path.dirname(args.o) or ".", exist_ok=True)
    rounded = json.loads(json.dumps(results), parse_float=lambda text: float(f"{float(text):.7g}"))
    with open(args.o, "w") as file:
        json.dump({"made_by": "utils/reference_bf16.py", "torch": torch.__version__,
                   "transformers": transformers.__version__, "entries": rounded}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
