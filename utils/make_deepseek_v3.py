#!/usr/bin/env python3
#===-- make_deepseek_v3.py - An ONNX graph of DeepSeek-V3's shape -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Writes the graph of DeepSeek-V3, or of a smaller model of its form, as ONNX.

    make_deepseek_v3.py v3.onnx                                    # 61 layers, 671 billion parameters
    make_deepseek_v3.py small.onnx --layers 4 --dense-layers 1 --hidden 64 … --weights random --data batch

The nodes are those that PyTorch's exporter writes for transformers' DeepseekV3ForCausalLM
with experts as batched products. Weights lie in FILE.data: with `--weights sparse` it has the
length that they take and no content, so that 2.7 TB take no room on disk; with `random` it is
written. --data writes a batch of random tokens, the last row padded, as moire-run reads it.
--check compares onnxruntime on that batch with PyTorch on the same weights, and says PyTorch's
losses under SGD; that alone needs the environment of docs/reference-environment.md.
"""
import argparse
import array
import math
import os
import random
import struct
import sys

FLOAT, INT64, BOOL = 1, 7, 9
ALIGNMENT = 4096
ENDLESS = (1 << 63) - 1

# What fields of ONNX's messages are numbered.
MODEL = {"ir_version": 1, "producer_name": 2, "producer_version": 3, "graph": 7, "opset_import": 8}
GRAPH = {"node": 1, "name": 2, "initializer": 5, "input": 11, "output": 12, "value_info": 13}
NODE = {"input": 1, "output": 2, "name": 3, "op_type": 4, "attribute": 5, "metadata_props": 9}
ATTRIBUTE = {"name": 1, "f": 2, "i": 3, "s": 4, "t": 5, "ints": 8, "type": 20}
TENSOR = {"dims": 1, "data_type": 2, "name": 8, "raw_data": 9, "external_data": 13,
          "data_location": 14}


#===----------------------------------------------------------------------===//
# Protobuf
#===----------------------------------------------------------------------===//

def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """One field: an int as varint, a float in 32 bits, text and messages with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def message(numbers, **fields):
    """A message; a list is a repeated field."""
    out = []
    for name, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            out.append(field(numbers[name], item))
    return b"".join(out)


def entry(key, value):
    """A StringStringEntryProto."""
    return field(1, key) + field(2, value)


def value_info(name, kind, shape, properties=()):
    dims = b"".join(field(1, field(2 if isinstance(d, str) else 1, d)) for d in shape)
    tensor = field(1, kind) + field(2, dims)
    return (field(1, name) + field(2, field(1, tensor)) +
            b"".join(field(4, entry(*p)) for p in properties))


def attribute(name, value):
    if isinstance(value, float):
        return message(ATTRIBUTE, name=name, f=value, type=1)
    if isinstance(value, int):
        return message(ATTRIBUTE, name=name, i=value, type=2)
    if isinstance(value, str):
        return message(ATTRIBUTE, name=name, s=value, type=3)
    if isinstance(value, bytes):
        return message(ATTRIBUTE, name=name, t=value, type=4)
    return message(ATTRIBUTE, name=name, ints=value, type=7)


#===----------------------------------------------------------------------===//
# The graph
#===----------------------------------------------------------------------===//

class Graph:
    """Nodes and initializers under way. Values are their names."""

    def __init__(self):
        self.nodes, self.initializers, self.infos = [], [], []
        self.scope = []           # modules around what is added
        self.constants = {}       # (kind, shape, bytes) → name
        self.parameters = []      # (name, shape, offset, PyTorch's name, transposed)
        self.bytes = 0            # of the weight file
        self.count = 0

    def add(self, op, inputs, outputs=1, **attributes):
        names = [f"v{self.count + i}" for i in range(outputs)]
        self.count += outputs
        path = [".".join(self.scope[:i]) for i in range(len(self.scope) + 1)]
        properties = [entry("pkg.torch.onnx.name_scopes", repr(path + [names[0]]))] if self.scope else []
        self.nodes.append(message(
            NODE, input=inputs, output=names, name="/".join(["", *self.scope, op]) + "_" + names[0],
            op_type=op,
            attribute=[attribute(k, v) for k, v in attributes.items()], metadata_props=properties))
        return names[0] if outputs == 1 else names

    def constant(self, values, kind=INT64, shape=None):
        """A small tensor in the file; a number alone is a scalar."""
        shape = ([len(values)] if isinstance(values, (list, tuple)) else []) if shape is None else shape
        values = list(values) if isinstance(values, (list, tuple)) else [values]
        raw = struct.pack("<%d%s" % (len(values), {FLOAT: "f", INT64: "q", BOOL: "?"}[kind]), *values)
        key = (kind, tuple(shape), raw)
        if key not in self.constants:
            self.constants[key] = f"c{len(self.constants)}"
            self.initializers.append(message(TENSOR, dims=shape, data_type=kind,
                                             name=self.constants[key], raw_data=raw))
        return self.constants[key]

    def number(self, value):
        return self.constant(float(value), FLOAT)

    def weight(self, leaf, shape, transposed=False, kind="PARAMETER"):
        """A weight of the module that is under way. `transposed`: the file has the transpose of
        what PyTorch has, as the exporter folds it."""
        name = ".".join(self.scope + [leaf])
        size = 4 * math.prod(shape)
        external = [("location", None), ("offset", self.bytes), ("length", size)]
        self.parameters.append((name, shape, self.bytes, transposed))
        self.initializers.append((name, shape, external))
        properties = [("pkg.torch.export.graph_signature.InputSpec.kind", kind),
                      ("pkg.torch.onnx.original_node_name", "p_" + name.replace(".", "_"))]
        self.infos.append(value_info(name, FLOAT, shape, properties))
        self.bytes += -(-size // ALIGNMENT) * ALIGNMENT
        return name

    def module(self, *names):
        return Scope(self, list(names))

    def model(self, location, inputs, outputs):
        tensors = []
        for item in self.initializers:
            if isinstance(item, tuple):
                name, shape, external = item
                item = message(TENSOR, dims=shape, data_type=FLOAT, name=name,
                               external_data=[entry(k, location if v is None else str(v))
                                              for k, v in external], data_location=1)
            tensors.append(item)
        graph = message(GRAPH, node=self.nodes, name="main_graph", initializer=tensors,
                        input=inputs, output=outputs, value_info=self.infos)
        return message(MODEL, ir_version=10, producer_name="make_deepseek_v3", producer_version="1",
                       graph=graph, opset_import=[field(1, "") + field(2, 18)])


class Scope:
    def __init__(self, graph, names):
        self.graph, self.names = graph, names

    def __enter__(self):
        self.graph.scope += self.names

    def __exit__(self, *_):
        del self.graph.scope[-len(self.names):]


class DeepSeek:
    """DeepseekV3ForCausalLM, node by node."""

    def __init__(self, config):
        self.c, self.g = config, Graph()

    def ints(self, *values):
        return self.g.constant(list(values))

    def linear(self, leaf, x, inner, outer):
        with self.g.module(leaf):
            return self.g.add("MatMul", [x, self.g.weight("weight", [inner, outer], True)])

    def norm(self, leaf, x, width):
        g = self.g
        with g.module(leaf):
            square = g.add("Pow", [x, g.number(2)])
            mean = g.add("ReduceMean", [square, self.ints(-1)], keepdims=1, noop_with_empty_axes=0)
            root = g.add("Sqrt", [g.add("Add", [mean, g.number(1e-6)])])
            scaled = g.add("Mul", [x, g.add("Reciprocal", [root])])
            return g.add("Mul", [g.weight("weight", [width]), scaled])

    def prepare(self):
        """Sizes as values, the mask, the rotary tables."""
        g, i = self.g, self.ints
        seq = g.add("Shape", ["attention_mask"], start=1, end=2)
        self.seq, self.batch = seq, g.add("Shape", ["position_ids"], start=0, end=1)
        seq0, batch0 = g.add("Squeeze", [seq]), g.add("Squeeze", [self.batch])
        zero, one = g.constant(0), g.constant(1)
        with g.module("model"):
            self.hidden = self.embed()
            mask = g.add("Cast", ["attention_mask"], to=BOOL)
            rows = g.add("Unsqueeze", [g.add("Range", [zero, batch0, one]), i(1, 2)])
            rows = g.add("Unsqueeze", [rows, i(3)])
            keys = g.add("Unsqueeze", [g.add("Range", [zero, seq0, one]), i(0, 1)])
            queries = g.add("Unsqueeze", [keys, i(3)])
            keys = g.add("Unsqueeze", [keys, i(2)])
            causal = g.add("And", [g.constant(True, BOOL), g.add("LessOrEqual", [keys, queries])])
            both = g.add("Shape", [g.add("Max", [rows, keys])], start=0)
            index = g.add("Concat", [g.add("Unsqueeze", [g.add("Expand", [rows, both]), i(-1)]),
                                     g.add("Unsqueeze", [g.add("Expand", [keys, both]), i(-1)])],
                          axis=-1)
            seen = g.add("And", [causal, g.add("GatherND", [mask, index], batch_dims=0)])
            self.mask = g.add("Where", [seen, g.number(0), g.number(-3.4028234663852886e38)])
            with g.module("rotary_emb"):
                half = self.c.rope_dim // 2
                inverse = g.constant([self.c.theta ** (-k / half) for k in range(half)], FLOAT,
                                     [1, half, 1])
                g.infos.append(value_info(inverse, FLOAT, [1, half, 1], [
                    ("pkg.torch.export.graph_signature.InputSpec.kind", "BUFFER")]))
                times = g.add("Expand", [inverse, g.add("Concat", [self.batch, i(1), i(1)], axis=0)])
                at = g.add("Cast", [g.add("Unsqueeze", ["position_ids", i(1)])], to=FLOAT)
                angles = g.add("Transpose", [g.add("MatMul", [times, at])], perm=[0, 2, 1])
                angles = g.add("Concat", [angles, angles], axis=-1)
                self.cos, self.sin = g.add("Cos", [angles]), g.add("Sin", [angles])

    def embed(self):
        g = self.g
        with g.module("embed_tokens"):
            return g.add("Gather", [g.weight("weight", [self.c.vocab, self.c.hidden]), "input_ids"],
                         axis=0)

    def rotate(self, x, cos, sin):
        """Pairs of neighbours are turned; the turned ones come out as two halves."""
        g, i = self.g, self.ints
        even, odd = (g.add("Slice", [x, i(k), i(ENDLESS), i(3), i(2)]) for k in (0, 1))
        first = g.add("Sub", [g.add("Mul", [even, cos]), g.add("Mul", [odd, sin])])
        second = g.add("Add", [g.add("Mul", [odd, cos]), g.add("Mul", [even, sin])])
        return g.add("Concat", [first, second], axis=-1)

    def attention(self, x):
        """Latent attention: queries and keys from low-rank products, one rotary key for all heads."""
        c, g, i = self.c, self.g, self.ints
        heads = g.add("Concat", [self.batch, self.seq, i(-1), i(c.nope_dim + c.rope_dim)], axis=0)
        query = self.norm("q_a_layernorm", self.linear("q_a_proj", x, c.hidden, c.q_rank), c.q_rank)
        query = self.linear("q_b_proj", query, c.q_rank, c.heads * (c.nope_dim + c.rope_dim))
        query = g.add("Transpose", [g.add("Reshape", [query, heads], allowzero=1)], perm=[0, 2, 1, 3])
        plain, turned = g.add("Split", [query, i(c.nope_dim, c.rope_dim)], 2, axis=3)
        latent = self.linear("kv_a_proj_with_mqa", x, c.hidden, c.kv_rank + c.rope_dim)
        latent, key = g.add("Split", [latent, i(c.kv_rank, c.rope_dim)], 2, axis=2)
        latent = self.norm("kv_a_layernorm", latent, c.kv_rank)
        latent = self.linear("kv_b_proj", latent, c.kv_rank, c.heads * (c.nope_dim + c.v_dim))
        heads = g.add("Concat", [self.batch, self.seq, i(-1), i(c.nope_dim + c.v_dim)], axis=0)
        latent = g.add("Transpose", [g.add("Reshape", [latent, heads], allowzero=1)],
                       perm=[0, 2, 1, 3])
        keys, values = g.add("Split", [latent, i(c.nope_dim, c.v_dim)], 2, axis=3)
        one = g.add("Concat", [self.batch, i(1), self.seq, i(c.rope_dim)], axis=0)
        key = g.add("Reshape", [key, one], allowzero=1)
        cos, sin = (g.add("Unsqueeze", [g.add("Slice", [t, i(0), i(c.rope_dim // 2), i(2), i(1)]), i(1)])
                    for t in (self.cos, self.sin))
        turned, key = self.rotate(turned, cos, sin), self.rotate(key, cos, sin)
        key = g.add("Expand", [key, g.add("Concat", [self.batch, i(c.heads), self.seq, i(1)], axis=0)])
        query = g.add("Concat", [plain, turned], axis=-1)
        keys = g.add("Concat", [keys, key], axis=-1)
        shape = g.add("Shape", [keys], start=0)
        width = g.add("Slice", [shape, i(-1), i(ENDLESS)])
        length = g.add("Slice", [shape, i(-2), i(-1)])
        before = g.add("Slice", [shape, i(-ENDLESS - 1), i(-2)])
        keys = g.add("Reshape", [keys, g.add("Concat", [i(-1), length, width], axis=0)], allowzero=0)
        keys = g.add("Reshape", [g.add("Transpose", [keys], perm=[0, 2, 1]),
                                 g.add("Concat", [before, width, length], axis=0)], allowzero=0)
        root = g.number((c.nope_dim + c.rope_dim) ** -0.25)
        scores = g.add("MatMul", [g.add("Mul", [query, root]), g.add("Mul", [keys, root])])
        share = g.add("Softmax", [g.add("Add", [scores, self.mask])], axis=-1)
        share = g.add("Where", [g.add("IsNaN", [share]), g.number(0), share])
        out = g.add("Transpose", [g.add("MatMul", [share, values])], perm=[0, 2, 1, 3])
        out = g.add("Reshape", [out, g.add("Concat", [self.batch, self.seq, i(-1)], axis=0)],
                    allowzero=1)
        return self.linear("o_proj", out, c.heads * c.v_dim, c.hidden)

    def dense(self, x, width):
        g, c = self.g, self.c
        gate = self.linear("gate_proj", x, c.hidden, width)
        gate = g.add("Mul", [gate, g.add("Sigmoid", [gate])])
        up = self.linear("up_proj", x, c.hidden, width)
        return self.linear("down_proj", g.add("Mul", [gate, up]), width, c.hidden)

    def route(self, rows):
        """Sigmoid scores; the best groups by their two best biased scores, in these the best experts;
        weights are the plain scores."""
        c, g, i = self.c, self.g, self.ints
        with g.module("gate"):
            logits = g.add("Gemm", [rows, g.weight("weight", [c.experts, c.hidden])],
                           alpha=1.0, beta=1.0, transA=0, transB=1)
            scores = g.add("Sigmoid", [logits])
            bias = g.weight("e_score_correction_bias", [c.experts], kind="BUFFER")
            biased = g.add("Add", [scores, bias])
        of_group = c.experts // c.groups
        grouped = g.add("Reshape", [biased, i(-1, c.groups, of_group)], allowzero=1)
        best, _ = g.add("TopK", [grouped, i(2)], 2, axis=-1, largest=1, sorted=1)
        best = g.add("ReduceSum", [best, i(-1)], keepdims=0, noop_with_empty_axes=0)
        _, groups = g.add("TopK", [best, i(c.groups_per_token)], 2, axis=-1, largest=1, sorted=0)
        zeros = g.add("Expand", [g.number(0), g.add("Shape", [best], start=0)])
        one = message(TENSOR, dims=[1], data_type=FLOAT, raw_data=struct.pack("<f", 1.0))
        ones = g.add("ConstantOfShape", [g.add("Shape", [groups], start=0)], value=one)
        kept = g.add("ScatterElements", [zeros, groups, ones], axis=1, reduction="none")
        kept = g.add("Expand", [g.add("Unsqueeze", [kept, i(-1)]), i(1, c.groups, of_group)])
        kept = g.add("Cast", [g.add("Reshape", [kept, i(-1, c.experts)], allowzero=1)], to=BOOL)
        masked = g.add("Where", [g.add("Not", [kept]), g.number(-math.inf), biased])
        _, chosen = g.add("TopK", [masked, i(c.experts_per_token)], 2, axis=-1, largest=1, sorted=0)
        weights = g.add("GatherElements", [scores, chosen], axis=1)
        total = g.add("ReduceSum", [weights, i(-1)], keepdims=1, noop_with_empty_axes=0)
        total = g.add("Add", [total, g.number(1e-20)])
        return chosen, g.add("Mul", [g.add("Div", [weights, total]), g.number(c.scaling)])

    def experts(self, rows, chosen, weights):
        c, g, i = self.c, self.g, self.ints
        k = c.experts_per_token
        with g.module("experts"):
            many = g.add("Expand", [g.add("Unsqueeze", [rows, i(1)]), i(1, k, 1)])
            many = g.add("Reshape", [many, i(-1, c.hidden)], allowzero=0)
            weights = g.add("Reshape", [weights, i(-1)], allowzero=1)
            chosen = g.add("Reshape", [chosen, i(-1)], allowzero=1)
            chosen = g.add("Clip", [chosen, g.constant(0), g.constant(c.experts - 1)])
            chosen = g.add("Unsqueeze", [chosen, i(-1)])
            up = g.weight("gate_up_proj", [c.experts, 2 * c.expert_width, c.hidden])
            up = g.add("MatMul", [g.add("GatherND", [up, chosen], batch_dims=0),
                                  g.add("Unsqueeze", [many, i(-1)])])
            gate, up = g.add("Split", [g.add("Squeeze", [up, i(-1)])], 2, axis=1, num_outputs=2)
            inner = g.add("Mul", [g.add("Mul", [gate, g.add("Sigmoid", [gate])]), up])
            down = g.weight("down_proj", [c.experts, c.hidden, c.expert_width])
            down = g.add("MatMul", [g.add("GatherND", [down, chosen], batch_dims=0),
                                    g.add("Unsqueeze", [inner, i(-1)])])
            down = g.add("Squeeze", [down, i(-1)])
            down = g.add("Mul", [down, g.add("Unsqueeze", [weights, i(-1)])])
            down = g.add("Reshape", [down, i(-1, k, c.hidden)], allowzero=1)
            return g.add("ReduceSum", [down, i(1)], keepdims=0, noop_with_empty_axes=0)

    def mixture(self, x):
        c, g, i = self.c, self.g, self.ints
        rows = g.add("Reshape", [x, i(-1, c.hidden)], allowzero=1)
        out = self.experts(rows, *self.route(rows))
        shape = g.add("Concat", [self.batch, self.seq, i(c.hidden)], axis=0)
        out = g.add("Reshape", [out, shape], allowzero=1)
        with g.module("shared_experts"):
            return g.add("Add", [out, self.dense(x, c.shared * c.expert_width)])

    def build(self, location):
        c, g = self.c, self.g
        self.prepare()
        x = self.hidden
        with g.module("model"):
            for layer in range(c.layers):
                with g.module("layers", str(layer)):
                    y = self.norm("input_layernorm", x, c.hidden)
                    with g.module("self_attn"):
                        y = self.attention(y)
                    x = g.add("Add", [x, y])
                    y = self.norm("post_attention_layernorm", x, c.hidden)
                    with g.module("mlp"):
                        y = self.dense(y, c.width) if layer < c.dense_layers else self.mixture(y)
                    x = g.add("Add", [x, y])
            x = self.norm("norm", x, c.hidden)
        logits = self.linear("lm_head", x, c.hidden, c.vocab)
        inputs = [value_info(name, INT64, ["batch", "seq"])
                  for name in ("input_ids", "attention_mask", "position_ids")]
        return g.model(location, inputs,
                       [value_info(logits, FLOAT, ["batch", "seq", c.vocab])])


#===----------------------------------------------------------------------===//
# Weights
#===----------------------------------------------------------------------===//

def write_random(path, graph, seed):
    """Normal numbers: norms around one, all else with the deviation of one over the root of the
    number of terms in a product."""
    draw = random.Random(seed)
    with open(path, "wb") as file:
        for name, shape, offset, transposed in graph.parameters:
            norm, bias = "norm" in name, name.endswith("bias")
            fan = shape[-1] if len(shape) == 3 or not transposed else shape[0]
            deviation = 0.05 if norm or bias else fan ** -0.5
            values = array.array("f", (draw.gauss(1 if norm else 0, deviation)
                                       for _ in range(math.prod(shape))))
            if sys.byteorder == "big":
                values.byteswap()
            file.seek(offset)
            values.tofile(file)
        file.truncate(graph.bytes)


def write_data(folder, config, seed):
    """Tokens, mask, positions and labels as a folder of tensors; returns them as rows."""
    c, draw = config, random.Random(seed + 1)
    ids = [[int(draw.random() * c.vocab) for _ in range(c.seq)] for _ in range(c.batch)]
    mask = [[1] * c.seq for _ in ids]
    mask[-1] = [int(at < c.seq - 2) for at in range(c.seq)]
    labels = [[token if seen else -100 for token, seen in zip(*row)] for row in zip(ids, mask)]
    tensors = {"input_ids": ids, "attention_mask": mask,
               "position_ids": [list(range(c.seq)) for _ in ids], "labels": labels}
    os.makedirs(folder, exist_ok=True)
    for number, (name, rows) in enumerate(tensors.items()):
        leaf = name if name == "labels" else f"input_{number}"
        raw = b"".join(struct.pack("<%dq" % c.seq, *row) for row in rows)
        with open(os.path.join(folder, leaf + ".pb"), "wb") as file:
            file.write(message(TENSOR, dims=[c.batch, c.seq], data_type=INT64, name=name, raw_data=raw))
    return tensors


#===----------------------------------------------------------------------===//
# Reference
#===----------------------------------------------------------------------===//

def reference_of(path, model):
    """PyTorch's model with the weights of the file."""
    import numpy
    import torch
    import transformers
    c = model.c
    reference = transformers.DeepseekV3ForCausalLM(transformers.DeepseekV3Config(
        vocab_size=c.vocab, hidden_size=c.hidden, intermediate_size=c.width,
        moe_intermediate_size=c.expert_width, num_hidden_layers=c.layers,
        num_attention_heads=c.heads, num_key_value_heads=c.heads, n_shared_experts=c.shared,
        n_routed_experts=c.experts, routed_scaling_factor=c.scaling, kv_lora_rank=c.kv_rank,
        q_lora_rank=c.q_rank, qk_rope_head_dim=c.rope_dim, v_head_dim=c.v_dim,
        qk_nope_head_dim=c.nope_dim, n_group=c.groups, topk_group=c.groups_per_token,
        num_experts_per_tok=c.experts_per_token, first_k_dense_replace=c.dense_layers,
        use_cache=False, tie_word_embeddings=False, rope_theta=c.theta, bos_token_id=None,
        eos_token_id=None, pad_token_id=None)).eval()
    data = numpy.memmap(path + ".data", dtype="<f4", mode="r")
    state = {}
    for name, shape, offset, transposed in model.g.parameters:
        value = numpy.array(data[offset // 4:offset // 4 + math.prod(shape)]).reshape(shape)
        state[name] = torch.from_numpy(value.T.copy() if transposed else value)
    missing, unknown = reference.load_state_dict(state, strict=False)
    if unknown or [name for name in missing if "rotary" not in name]:
        sys.exit(f"error: PyTorch's model has other parameters: {missing[:3]} {unknown[:3]}")
    return reference


def check(path, model, tensors, steps=3, rate=0.1):
    """The largest difference of logits between onnxruntime and PyTorch, and PyTorch's losses under
    plain SGD."""
    import onnxruntime
    import torch
    reference = reference_of(path, model)
    inputs = {name: torch.tensor(rows) for name, rows in tensors.items()}
    labels = inputs.pop("labels")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    got = torch.from_numpy(session.run(None, {k: v.numpy() for k, v in inputs.items()})[0])
    optimizer = torch.optim.SGD(reference.parameters(), lr=rate)
    worst, losses = 0, []
    for step in range(steps):
        logits = reference(**inputs).logits
        if step == 0:
            worst = (got - logits).detach()[inputs["attention_mask"] == 1].abs().max().item()
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1),
                                                 labels[:, 1:].flatten())
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return worst, losses


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("file")
    for name, default, what in [
            ("layers", 61, "blocks"), ("dense-layers", 3, "of these, the first ones without experts"),
            ("hidden", 7168, "width of the residual stream"), ("vocab", 129280, "tokens"),
            ("heads", 128, "of attention"), ("q-rank", 1536, "of queries"),
            ("kv-rank", 512, "of keys and values"), ("nope-dim", 128, "of a head, not rotated"),
            ("rope-dim", 64, "of a head, rotated"), ("v-dim", 128, "of a head's values"),
            ("width", 18432, "of dense blocks"), ("expert-width", 2048, "of an expert"),
            ("experts", 256, "of a block"), ("experts-per-token", 8, "that are routed to"),
            ("shared", 1, "experts that every token takes"),
            ("groups", 8, "of experts"), ("groups-per-token", 4, "that are routed to")]:
        parser.add_argument("--" + name, type=int, default=default, help=what)
    parser.add_argument("--scaling", type=float, default=2.5, help="of routed experts' weights")
    parser.add_argument("--theta", type=float, default=10000.0, help="base of rotary angles")
    parser.add_argument("--weights", choices=["sparse", "random"], default="sparse")
    parser.add_argument("--seed", type=int, default=0, help="of random weights")
    parser.add_argument("--data", metavar="FOLDER", help="also write a batch of tokens")
    parser.add_argument("--batch", type=int, default=8, help="rows of it")
    parser.add_argument("--seq", type=int, default=12, help="tokens of a row")
    parser.add_argument("--check", action="store_true", help="compare with PyTorch on that batch")
    c = parser.parse_args()
    if c.experts % c.groups or c.experts // c.groups < 2:
        sys.exit(f"error: {c.experts} experts in {c.groups} groups: each needs as many, two at least; "
                 f"use --experts {2 * c.groups}")
    if c.experts_per_token > c.experts // c.groups * c.groups_per_token:
        sys.exit(f"error: {c.experts_per_token} experts a token, but its {c.groups_per_token} groups "
                 f"have {c.experts // c.groups * c.groups_per_token}; use more --groups-per-token")
    if c.check and (not c.data or c.weights != "random"):
        sys.exit("error: --check compares numbers; give --weights random and --data FOLDER")
    model = DeepSeek(c)
    proto = model.build(os.path.basename(c.file) + ".data")
    with open(c.file, "wb") as file:
        file.write(proto)
    if c.weights == "random":
        write_random(c.file + ".data", model.g, c.seed)
    else:
        with open(c.file + ".data", "wb") as file:
            file.truncate(model.g.bytes)
    count = sum(math.prod(shape) for _, shape, _, _ in model.g.parameters)
    print(f"{c.file}: {len(model.g.nodes)} nodes, {count / 1e9:.3f} billion parameters, "
          f"{model.g.bytes / 1e9:.1f} GB of weights ({c.weights})")
    tensors = write_data(c.data, c, c.seed) if c.data else {}
    if c.check:
        worst, losses = check(c.file, model, tensors)
        print(f"onnxruntime and PyTorch differ by {worst:.1e}; PyTorch's losses under SGD with 0.1: "
              + ", ".join(f"{loss:.6f}" for loss in losses))
        if not worst < 1e-4:
            sys.exit("error: allowed is 1e-4")


if __name__ == "__main__":
    main()
