# chain.py LAYERS > FILE.textproto: residual layers between a table and a head, 8 tokens.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import random
import sys

layers = int(sys.argv[1])
random.seed(layers)


def weight(name):
    data = ",".join(f"{random.uniform(-0.5, 0.5):.3f}" for _ in range(64))
    return f'initializer {{ name: "{name}" data_type: 1 dims: 8 dims: 8 float_data: [{data}] }}\n'


def value(name, kind, sizes):
    dims = "".join(f"dim {{ {size} }} " for size in sizes)
    return f'{{ name: "{name}" type {{ tensor_type {{ elem_type: {kind} shape {{ {dims}}} }} }} }}\n'


def node(name, op, inputs, output):
    read = " ".join(f'input: "{i}"' for i in inputs)
    return f'node {{ name: "{name}" op_type: "{op}" {read} output: "{output}" }}\n'


sizes = ['dim_param: "batch"', 'dim_param: "seq"']
text = 'ir_version: 11\nopset_import { domain: "" version: 18 }\ngraph {\n'
text += "input " + value("input_ids", 7, sizes)
text += "output " + value("logits", 1, sizes + ["dim_value: 8"])
for name in ["embedding", "head"] + [f"layers.{i}" for i in range(layers)]:
    text += weight(name + ".weight")
text += node("/embedding/Gather", "Gather", ["embedding.weight", "input_ids"], "x0")
for i in range(layers):
    text += node(f"/layers.{i}/MatMul", "MatMul", [f"x{i}", f"layers.{i}.weight"], f"y{i}")
    text += node(f"/layers.{i}/Add", "Add", [f"x{i}", f"y{i}"], f"x{i + 1}")
text += node("/head/MatMul", "MatMul", [f"x{layers}", "head.weight"], "logits")
print(text + "}")
