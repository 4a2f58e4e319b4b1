#!/usr/bin/env python3
#===-- compare_reference.py - Compare a run with PyTorch's numbers -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Compares losses, gradients and outputs of a run with a corpus entry's reference.

    compare_reference.py CORPUS/NAME [--optimizer sgd|adamw] [--log train.jsonl]
                         [--grads grads.safetensors] [--output NAME.pb] [--batch16]

Prints one line a comparison and, for gradients, one line a tensor; exits 1 when
one of them is outside its tolerance. Plain Python: neither numpy nor onnx.

The tolerances, and why they have this form:
  losses     |l - r| <= 2e-4 |r| at each of the six steps.
  gradients  |g - r| <= 1e-4 (|r| + 1e-3 |all r|) in the 2-norm: some gradients
             are zero in mathematics and rounding noise in both.
  outputs    |o - r| <= 1e-4 |r| in the 2-norm.
"""
import argparse
import array
import json
import math
import os
import struct
import sys

LOSS_TOLERANCE = 2e-4
GRAD_TOLERANCE = 1e-4
GRAD_FLOOR = 1e-3
OUTPUT_TOLERANCE = 1e-4
# Gradient norms of the later steps are taken at weights that already differ by
# rounding: they only have to show the same trajectory.
NORM_TOLERANCE = 2e-3

LOSS_KEYS = {
    "sgd": "sgd_lr0.1_losses",
    "adamw": "adamw_lr0.01_b0.9_0.95_wd0.1_losses",
}


class Tensor:
    """A tensor in memory: name, shape and a flat sequence of Python numbers."""

    def __init__(self, name, shape, values):
        self.name, self.shape, self.values = name, tuple(shape), values


#===----------------------------------------------------------------------===//
# Readers
#===----------------------------------------------------------------------===//


def decode(kind, raw):
    """Raw little-endian bytes of element kind `kind` as a flat sequence."""
    codes = {"f32": "f", "f64": "d", "i64": "q", "i32": "i", "bool": "B"}
    if kind in codes:
        return array.array(codes[kind], raw)
    if kind == "f16":
        return [v[0] for v in struct.iter_unpack("<e", raw)]
    if kind == "bf16":
        wide = b"".join(b"\0\0" + raw[i:i + 2] for i in range(0, len(raw), 2))
        return array.array("f", wide)
    raise ValueError(f"no reader for element kind {kind}")


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data):
    """Yields (field number, wire type, value) of one protobuf message."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            size = {1: 8, 5: 4}[wire]
            value, at = data[at:at + size], at + size
        yield key >> 3, wire, value


def packed(wire, value):
    """The varints of a repeated integer field, packed or not, as signed."""
    values, at = [], 0
    if wire == 0:
        values = [value]
    else:
        while at < len(value):
            item, at = varint(value, at)
            values.append(item)
    return [v - (1 << 64) if v >> 63 else v for v in values]


def read_tensor_proto(path):
    """The TensorProto in file `path`."""
    kinds = {1: "f32", 6: "i32", 7: "i64", 9: "bool", 10: "f16", 11: "f64", 16: "bf16"}
    with open(path, "rb") as file:
        data = file.read()
    shape, kind, name, values, raw = [], 0, "", [], None
    for number, wire, value in fields(data):
        if number == 1:
            shape += packed(wire, value)
        elif number == 2:
            kind = value
        elif number == 8:
            name = value.decode()
        elif number == 9:
            raw = value
        elif number == 4:
            values += array.array("f", value)
        elif number == 10:
            values += array.array("d", value)
        elif number in (5, 7):
            values += packed(wire, value)
    if kind not in kinds:
        raise ValueError(f"{path}: no reader for tensor type {kind}")
    return Tensor(name, shape, values if raw is None else decode(kinds[kind], raw))


def read_safetensors(path):
    """All tensors of a safetensors file, by name."""
    kinds = {"F32": "f32", "F64": "f64", "F16": "f16", "BF16": "bf16", "I64": "i64", "I32": "i32"}
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8:8 + size]), data[8 + size:]
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            values = decode(kinds[entry["dtype"]], body[begin:end])
            tensors[name] = Tensor(name, entry["shape"], values)
    return tensors


def read_jsonl(path):
    with open(path) as file:
        return [json.loads(line) for line in file if line.strip()]


#===----------------------------------------------------------------------===//
# The reference
#===----------------------------------------------------------------------===//


class Entry:
    """One folder of the corpus."""

    def __init__(self, folder):
        self.folder = folder
        self.name = os.path.basename(os.path.normpath(folder))
        with open(os.path.join(folder, "train.json")) as file:
            self.train = json.load(file)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def bindings(self, data="test_data_set_0"):
        """Symbolic dimensions with the sizes that the inputs in `data` have."""
        sizes = {}
        for i, (_, dims) in enumerate(self.train["inputs"]):
            path = self.path(data, f"input_{i}.pb")
            if os.path.exists(path):
                shape = read_tensor_proto(path).shape
                sizes.update((d, s) for d, s in zip(dims, shape) if isinstance(d, str))
        return sizes

    def rows(self, data):
        return read_tensor_proto(self.path(data, "input_0.pb")).shape[0]

    def losses(self, optimizer, batch16=False):
        return self.sixteen()[LOSS_KEYS[optimizer]] if batch16 else self.train[LOSS_KEYS[optimizer]]

    def sixteen(self):
        with open(self.path("batch16", "losses.json")) as file:
            return json.load(file)

    def grads(self):
        """Reference gradients under the names that --dump-grads gives them: a
        first component that all parameters share (a wrapper's `m.`) is dropped;
        tied names count among all."""
        names = sorted(f[:-3] for f in os.listdir(self.path("grads")) if f.endswith(".pb"))
        everyone = names + self.train["tied_names"] + self.train["params_without_grad"]
        heads = {name.split(".")[0] + "." for name in everyone}
        cut = len(heads.pop()) if len(heads) == 1 else 0
        return {n[cut:]: read_tensor_proto(self.path("grads", n + ".pb")) for n in names}, cut


#===----------------------------------------------------------------------===//
# Comparisons. Each returns (worst error as a share of its tolerance's unit,
# list of sentences that say what is wrong).
#===----------------------------------------------------------------------===//


def norm(values):
    return math.sqrt(math.fsum(float(v) * v for v in values))


def distance(a, b):
    return math.sqrt(math.fsum((float(x) - y) ** 2 for x, y in zip(a, b)))


def finite_max(values):
    """max() that does not lose a NaN."""
    return math.nan if any(math.isnan(v) for v in values) else max(values, default=0.0)


def compare_series(what, got, want, tolerance):
    problems = []
    if len(got) < len(want):
        problems.append(f"{what}: {len(got)} steps logged, the reference has {len(want)}")
    errors = [abs(g - w) / abs(w) for g, w in zip(got, want)]
    for step, error in enumerate(errors):
        if not error <= tolerance:
            problems.append(f"{what} at step {step + 1}: {got[step]:.7g}, reference "
                            f"{want[step]:.7g}, relative error {error:.2e} over {tolerance:.0e}")
    return finite_max(errors), problems


def compare_losses(log, want, optimizer):
    """`log`: records of the JSONL; `want`: the reference losses of six steps."""
    return compare_series(f"{optimizer} loss", [r["loss"] for r in log], want, LOSS_TOLERANCE)


def compare_norms(log, want, optimizer):
    worst, problems = compare_series(f"{optimizer} gradient norm", [r["grad_norm"] for r in log[:1]],
                                     want[:1], LOSS_TOLERANCE)
    more, others = compare_series(f"{optimizer} gradient norm", [r["grad_norm"] for r in log],
                                  want, NORM_TOLERANCE)
    return finite_max([worst, more]), problems + others


def compare_grads(entry, got, verbose=False):
    """`got`: tensors of --dump-grads. The error is |g-r| / (|r| + 1e-3 |all r|)."""
    want, cut = entry.grads()
    total = math.sqrt(math.fsum(norm(r.values) ** 2 for r in want.values()))
    problems, errors = [], []
    for name, r in want.items():
        if name not in got:
            problems.append(f"gradient of {name} is missing in the dump")
            continue
        g = got[name]
        if g.shape != r.shape:
            problems.append(f"gradient of {name} has shape {list(g.shape)}, reference {list(r.shape)}")
            continue
        error = distance(g.values, r.values) / (norm(r.values) + GRAD_FLOOR * total)
        errors.append(error)
        if not error <= GRAD_TOLERANCE:
            problems.append(f"gradient of {name}: error {error:.2e} over {GRAD_TOLERANCE:.0e} "
                            f"(norm {norm(g.values):.6g}, reference {norm(r.values):.6g})")
        if verbose:
            print(f"  {name:58s} norm {norm(r.values):.4e} error {error:.2e}")
    without = {name[cut:] for name in entry.train["params_without_grad"]}
    for name in sorted(set(got) - set(want) - without):
        problems.append(f"gradient of {name} is in the dump and not in the reference")
    return finite_max(errors), problems


def compare_output(entry, got):
    """`got`: the logits that a run wrote."""
    want = read_tensor_proto(entry.path("test_data_set_0", "output_0.pb"))
    if got.shape != want.shape:
        return math.inf, [f"output has shape {list(got.shape)}, reference {list(want.shape)}"]
    error = distance(got.values, want.values) / norm(want.values)
    ok = error <= OUTPUT_TOLERANCE
    return error, [] if ok else [f"output: relative error {error:.2e} over {OUTPUT_TOLERANCE:.0e}"]


def add_folders(parser):
    """--build and --corpus, of scripts that compile what lies in the corpus."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--build", default=os.path.join(root, "build"), help="build folder")
    parser.add_argument("--corpus", metavar="DIR",
                        default=os.environ.get("MOIRE_CORPUS",
                                               os.path.join(root, "..", "shared", "corpus")),
                        help="default: $MOIRE_CORPUS, else ../shared/corpus")


def skip_without_corpus(args, what):
    """Ends with exit code 77 where there is no corpus."""
    if not os.path.isdir(args.corpus):
        print(f"SKIPPED {what}: there is no folder {os.path.normpath(args.corpus)}; "
              "give its place with --corpus")
        sys.exit(77)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("entry", help="folder of the corpus entry")
    parser.add_argument("--optimizer", choices=sorted(LOSS_KEYS), default="sgd")
    parser.add_argument("--batch16", action="store_true", help="the sixteen-row reference")
    parser.add_argument("--log", metavar="FILE.jsonl")
    parser.add_argument("--grads", metavar="FILE.safetensors")
    parser.add_argument("--output", metavar="FILE.pb")
    args = parser.parse_args()
    entry, results = Entry(args.entry), []
    if args.log:
        log = read_jsonl(args.log)
        results.append(("losses", *compare_losses(log, entry.losses(args.optimizer, args.batch16),
                                                  args.optimizer)))
    if args.grads:
        results.append(("gradients", *compare_grads(entry, read_safetensors(args.grads), True)))
    if args.output:
        results.append(("output", *compare_output(entry, read_tensor_proto(args.output))))
    if not results:
        parser.error("nothing to compare: give --log, --grads or --output")
    for what, worst, problems in results:
        print(f"{entry.name} {what}: worst error {worst:.2e}, {'FAILED' if problems else 'ok'}")
        for problem in problems:
            print(f"  {problem}")
    sys.exit(1 if any(problems for _, _, problems in results) else 0)


if __name__ == "__main__":
    main()
