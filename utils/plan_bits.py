#===-- plan_bits.py - Plans whose numbers are equal to the last bit -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""What the schedules of a pipeline must give to the last bit, for check-plans.py.

Schedules with one direction add a parameter's gradients in the order of the micro-batches:
all of one mesh give the same bits. DualPipe has two directions: the first takes one half
of the micro-batches, the second the other. It gives the bits of one rank that adds up the
gradients of each half and then both, but for tied parameters, to which two stages add.

The one rank runs each half by itself, as a step of its own on half of the data. N, the
number of labels that count, has to be half as large then (some are left out for that), and
each half's gradients are twice those of the whole step: a power of two, which changes no
digit.
"""
import array
import os
import struct

import compare_reference as reference

# auto is what the search chose, one of both.
ONE_DIRECTION = ["gpipe", "1f1b", "zb-h1", "zb-h2", "interleaved:2", "zb-v", "v-half", "dualpipev"]
IGNORED = -100


def varint(value):
    value, out = value & (1 << 64) - 1, b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number, value):
    """Of a protobuf message: a number or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def write_tensor_proto(path, tensor, kind, code):
    """`kind`: ONNX's element type, `code`: Python's of an array."""
    with open(path, "wb") as file:
        file.write(b"".join(field(1, size) for size in tensor.shape) + field(2, kind)
                   + field(8, tensor.name.encode()) + field(9, array.array(code, tensor.values).tobytes()))


def element_kind(path):
    """ONNX's element type of a tensor in a file, and its code in Python."""
    with open(path, "rb") as file:
        kind = next(value for number, _, value in reference.fields(file.read()) if number == 2)
    return kind, {1: "f", 6: "i", 7: "q", 9: "B", 11: "d"}[kind]


def balance(labels, rows):
    """Lets as many labels count in the first half of the rows as in the second."""
    length = len(labels.values) // rows
    # The first of a row counts in some models and not in others.
    labels.values = [IGNORED if at % length == 0 else value for at, value in enumerate(labels.values)]
    middle = len(labels.values) // 2
    counted = [sum(value != IGNORED for value in half)
               for half in (labels.values[:middle], labels.values[middle:])]
    at = 0 if counted[0] > counted[1] else middle
    for _ in range(abs(counted[0] - counted[1])):
        while labels.values[at] == IGNORED:
            at += 1
        labels.values[at] = IGNORED


def write_halves(data, rows, folder):
    """Folders with the data, with the first and with the second half of its rows; some labels
    do not count, so that N of a half is half of N."""
    folders = [os.path.join(folder, name) for name in ("whole", "first-half", "second-half")]
    for name in sorted(os.listdir(data)):
        if not name.endswith(".pb") or name.startswith("output"):
            continue
        path = os.path.join(data, name)
        tensor = reference.read_tensor_proto(path)
        if name == "labels.pb":
            balance(tensor, rows)
        whole, size = tensor.values, len(tensor.values) // 2
        for part, values in zip(folders, (whole, whole[:size], whole[size:])):
            os.makedirs(part, exist_ok=True)
            if tensor.shape and tensor.shape[0] in (rows, rows // 2):
                tensor.values = values
                tensor.shape = (rows if values is whole else rows // 2, *tensor.shape[1:])
            write_tensor_proto(os.path.join(part, name), tensor, *element_kind(path))
    return folders


def write_first(data, rows, number, folder):
    """A folder with the first `number` of the rows, as they are."""
    part = os.path.join(folder, f"first-{number}-rows")
    os.makedirs(part, exist_ok=True)
    for name in sorted(os.listdir(data)):
        if not name.endswith(".pb") or name.startswith("output"):
            continue
        path = os.path.join(data, name)
        tensor = reference.read_tensor_proto(path)
        if tensor.shape and tensor.shape[0] == rows:
            tensor.values = tensor.values[:len(tensor.values) // rows * number]
            tensor.shape = (number, *tensor.shape[1:])
        write_tensor_proto(os.path.join(part, name), tensor, *element_kind(path))
    return part


def sum_of_halves(first, second):
    """Gradients of the whole step from those of the two steps, in float32."""
    # Of two floats a sum in double precision, rounded to float, is the float sum.
    return {name: array.array("f", (x / 2 + y / 2 for x, y in zip(values, second[name], strict=True)))
            for name, values in first.items()}


def bits(value):
    return struct.pack("<f", value).hex()


def differences(what, got, want):
    """At most one sentence about gradients that differ in any bit; zeros of both signs are equal."""
    first, tensors = "", 0
    for name, values in want.items():
        unlike = [i for i, (x, y) in enumerate(zip(got[name], values, strict=True)) if x != y]
        tensors += bool(unlike)
        if unlike and not first:
            at = unlike[0]
            first = (f"{len(unlike)} of {len(values)} elements of the gradient of {name} are not those "
                     f"of {what}: number {at} is {got[name][at]!r} ({bits(got[name][at])}), there "
                     f"{values[at]!r} ({bits(values[at])})")
    return [first + (f"; so are {tensors - 1} other tensors" if tensors > 1 else "")] if first else []
