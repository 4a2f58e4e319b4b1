"""ramp_data.py DIR: tokens.bin, 4000 tokens, and the folders rowsN of their first N rows of 4."""
import os
import random
import struct
import sys

VOCAB, SEQ = 8, 4
dir = sys.argv[1]
gen = random.Random(5)
tokens = [gen.randrange(VOCAB) for _ in range(4000)]
with open(f"{dir}/tokens.bin", "wb") as file:
    file.write(struct.pack("<256i", 20240520, 1, len(tokens), *[0] * 253))
    file.write(struct.pack(f"<{len(tokens)}H", *tokens))


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def tensor(name, rows):
    """A TensorProto of int64 [rows, SEQ]."""
    data = struct.pack(f"<{rows * SEQ}q", *tokens[:rows * SEQ])
    fields = b"".join(b"\x08" + varint(size) for size in (rows, SEQ)) + b"\x10\x07"
    return (fields + b"\x42" + varint(len(name)) + name.encode() + b"\x4a" + varint(len(data)) + data)


for rows in (2, 4, 6, 8, 12, 16):
    os.makedirs(f"{dir}/rows{rows}")
    for file, name in (("input_0", "input_ids"), ("labels", "labels")):
        with open(f"{dir}/rows{rows}/{file}.pb", "wb") as out:
            out.write(tensor(name, rows))
