#===-- reference_models.py - The PyTorch models of the benchmark ---*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""The models of the benchmark, as PyTorch users have them. Needs the environment of
docs/reference-environment.md."""
import transformers


def mixtral(experts, chosen=2, **sizes):
    """A decoder whose every block is a mixture of SwiGLU experts, top-`chosen`. `experts`
    is how PyTorch computes them: "eager" loops over the experts and gathers their
    rows, "batched_mm" copies weights per token (the form that exports well),
    "grouped_mm" sorts the rows and calls one grouped product."""
    config = transformers.MixtralConfig(
        num_experts_per_tok=chosen, use_cache=False, tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=None, pad_token_id=None, sliding_window=None, **sizes)
    config._attn_implementation = "sdpa"
    config._experts_implementation = experts
    return transformers.MixtralForCausalLM(config)


def moe_512(experts="batched_mm"):
    """The benchmark's mixture of experts: 215 million parameters, 67 million of
    them at work for a token."""
    return mixtral(experts, vocab_size=32000, hidden_size=512, intermediate_size=1792,
                   num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=4,
                   num_local_experts=8, max_position_embeddings=1024)


def moe_s(experts="batched_mm"):
    """Many small experts: 758 million parameters, 178 million of them at work for a token."""
    return mixtral(experts, chosen=4, vocab_size=50304, hidden_size=1024, intermediate_size=512,
                   num_hidden_layers=12, num_attention_heads=16, num_key_value_heads=16,
                   num_local_experts=32, max_position_embeddings=1024)


def gpt2_124m():
    """GPT-2 small with the head tied to the embedding, without dropout: the
    exported graph is the inference graph."""
    config = transformers.GPT2Config(use_cache=False, resid_pdrop=0.0, embd_pdrop=0.0,
                                     attn_pdrop=0.0)
    config._attn_implementation = "sdpa"
    return transformers.GPT2LMHeadModel(config)


def named(name, experts="batched_mm"):
    """A model of MODELS; `experts` of those that have some."""
    make = MODELS[name]
    return make() if make is gpt2_124m else make(experts)


MODELS = {"gpt2-124m": gpt2_124m, "moe-512": moe_512, "moe-s": moe_s}


def products(model, batch, seq):
    """The matrix products of a forward pass as (times, batch, rows, inner, columns),
    the experts' rows as if the router balanced them. A backward pass takes each
    twice: once for the input's and once for the weight's gradient."""
    c, rows = model.config, batch * seq
    if c.model_type == "gpt2":
        d, layers, heads = c.n_embd, c.n_layer, c.n_head
        blocks = [(1, rows, d, 3 * d), (1, rows, d, d), (1, rows, d, 4 * d), (1, rows, 4 * d, d)]
    else:
        d, layers, heads = c.hidden_size, c.num_hidden_layers, c.num_attention_heads
        kv = c.num_key_value_heads * (d // heads)
        routed = rows * c.num_experts_per_tok // c.num_local_experts
        experts = c.num_local_experts
        blocks = [(1, rows, d, d + 2 * kv), (1, rows, d, d),
                  (experts, routed, d, 2 * c.intermediate_size),
                  (experts, routed, c.intermediate_size, d)]
    blocks += [(batch * heads, seq, d // heads, seq), (batch * heads, seq, seq, d // heads)]
    return [(layers, *block) for block in blocks] + [(1, 1, rows, d, c.vocab_size)]
