#!/usr/bin/env python3
#===-- export_hf.py - Hugging Face models as ONNX for training ----*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Exports a causal language model of Hugging Face transformers to ONNX for moirec.

    export_hf.py FOLDER|HUB_NAME -o model.onnx            with its weights
    export_hf.py FOLDER|FAMILY --config-only -o model.onnx [--set hidden_size=256 ...]

FOLDER is what save_pretrained() wrote. FAMILY is gpt2, llama, mixtral, qwen3_moe,
deepseek_v3 or gpt_oss, at byte-sized defaults that --set changes. --config-only gives
random weights, --no-weights a graph without them, to be trained with moirec --init.
The file is compared with PyTorch by onnxruntime at another batch and sequence length.
docs/exporting.md has a recipe a family; needs docs/reference-environment.md.
"""
import argparse
import json
import os
import sys

import torch
import transformers

from onnx_export import ExportError, padded_batch, write

# A model of bytes in each family, small enough to export and train in minutes.
DECODER = {"vocab_size": 256, "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
           "max_position_embeddings": 1024}
NO_SPECIAL_TOKENS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
FAMILIES = {
    "gpt2": {"vocab_size": 256, "n_embd": 128, "n_layer": 4, "n_head": 4, "n_positions": 1024},
    "llama": {**DECODER, "intermediate_size": 384, "num_key_value_heads": 2},
    "mixtral": {**DECODER, "intermediate_size": 256, "num_key_value_heads": 2, "num_local_experts": 8,
                "num_experts_per_tok": 2, "sliding_window": None},
    "qwen3_moe": {**DECODER, "num_key_value_heads": 2, "head_dim": 32, "num_experts": 8,
                  "num_experts_per_tok": 2, "moe_intermediate_size": 256, "intermediate_size": 384},
    "deepseek_v3": {**DECODER, "num_key_value_heads": 4, "q_lora_rank": 64, "kv_lora_rank": 32,
                    "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32,
                    "n_routed_experts": 8, "n_group": 4, "topk_group": 2, "num_experts_per_tok": 2,
                    "moe_intermediate_size": 128, "intermediate_size": 384, "first_k_dense_replace": 1},
    "gpt_oss": {**DECODER, "num_key_value_heads": 2, "head_dim": 32, "num_local_experts": 8,
                "num_experts_per_tok": 2, "intermediate_size": 256, "sliding_window": 64},
}
# Attention sinks have no form in scaled_dot_product_attention.
EAGER_ATTENTION = {"gpt_oss"}


def parse_settings(texts):
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ExportError(f"--set {text} has no value; write NAME=VALUE, as num_hidden_layers=4")
        try:
            settings[key] = json.loads(value)
        except json.JSONDecodeError:
            settings[key] = value
    return settings


def configure(source, settings):
    """The configuration of a family or a folder with `settings` put in, and what every
    export for training wants: no cache, no dropout, experts as batched products."""
    if source in FAMILIES and not os.path.isdir(source):
        kind, values = source, {**FAMILIES[source], **NO_SPECIAL_TOKENS}
    else:
        config = transformers.AutoConfig.from_pretrained(source)
        kind, values = config.model_type, config.to_dict()
    known = transformers.AutoConfig.for_model(kind)
    for key in settings:
        if not hasattr(known, key):
            raise ExportError(f"a {kind} configuration has no '{key}'; it has "
                              f"{', '.join(sorted(known.to_dict()))}")
    if values.get("quantization_config"):
        raise ExportError(f"the weights of {source} are quantized, which cannot be trained; load them "
                          "dequantized, save_pretrained() them, and export that folder")
    # A list of one entry a layer is made anew for another number of layers.
    if "num_hidden_layers" in settings:
        values.pop("layer_types", None)
    values.pop("model_type", None)
    values.update({key: 0.0 for key in vars(known) if key.endswith(("_dropout", "_pdrop"))})
    values.update(settings, use_cache=False)
    config = transformers.AutoConfig.for_model(kind, **values)
    config._attn_implementation = "eager" if kind in EAGER_ATTENTION else "sdpa"
    config._experts_implementation = "batched_mm"
    return config


def build(source, settings, config_only=True, seed=0):
    """The model of `source` in float32; of fresh weights with `config_only`."""
    if settings and not config_only:
        raise ExportError("--set changes sizes, which weights do not follow; give --config-only with it")
    if not config_only and source in FAMILIES and not os.path.isdir(source):
        raise ExportError(f"'{source}' is a family, which has no weights; give --config-only with it, or "
                          "name a folder or a model on the hub")
    transformers.utils.logging.set_verbosity_error()
    try:
        config = configure(source, settings)
        if config_only:
            torch.manual_seed(seed)
            return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        return transformers.AutoModelForCausalLM.from_pretrained(
            source, config=config, dtype=torch.float32)
    except ExportError:
        raise
    except Exception as error:  # transformers raises classes of many libraries
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(f"transformers does not load '{source}': {first}") from error


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="folder, name on the hub, or with --config-only a family")
    parser.add_argument("-o", "--output", required=True, metavar="FILE.onnx")
    parser.add_argument("--config-only", action="store_true", help="fresh weights by transformers")
    parser.add_argument("--no-weights", action="store_true", help="write the graph alone")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
                        help="entries of the configuration")
    parser.add_argument("--strip-traces", action="store_true",
                        help="leave Python stack traces out: a smaller file, moirec's messages name no "
                        "line of Python")
    parser.add_argument("--opset", type=int, default=18)
    parser.add_argument("--seed", type=int, default=0, help="of --config-only")
    args = parser.parse_args(arguments)
    try:
        model = build(args.source, parse_settings(args.set), args.config_only, args.seed)
        print(write(model, padded_batch(model.config.vocab_size), args.output, not args.no_weights,
                    not args.strip_traces, args.opset,
                    getattr(model.config, "max_position_embeddings", None)))
    except (ExportError, OSError) as error:
        sys.exit(f"error: {error}")
    init = " --init" if args.no_weights else ""
    print(f"next: build/bin/moirec {args.output}{init} --bind batch=8,seq=128 --optimizer adamw -o out")


if __name__ == "__main__":
    main()
