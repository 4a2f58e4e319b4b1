#!/usr/bin/env python3
#===-- byte-entropy.py - What counting bytes predicts --------------*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Prints the mean loss (nats a byte) on HELD of a model that only counts bytes of TRAIN,
and of one that counts pairs of bytes: what a model of bytes must be well below.

    byte-entropy.py TRAIN HELD

A byte that was never seen counts as seen once. Plain Python.
"""
import argparse
import collections
import math


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("train")
    parser.add_argument("held")
    args = parser.parse_args()
    texts = []
    for path in [args.train, args.held]:
        try:
            with open(path, "rb") as file:
                texts.append(file.read())
        except OSError as error:
            parser.exit(1, f"error: '{path}' cannot be read: {error.strerror}\n")
        if len(texts[-1]) < 2:
            parser.exit(1, f"error: '{path}' has {len(texts[-1])} bytes, 2 or more are needed\n")
    train, held = texts
    counts, pairs = collections.Counter(train), collections.Counter(zip(train, train[1:]))
    one = -sum(math.log((counts[b] + 1) / (len(train) + 256)) for b in held) / len(held)
    two = -sum(math.log((pairs[a, b] + 1) / (counts[a] + 256))
               for a, b in zip(held, held[1:])) / (len(held) - 1)
    print(f"{one:.3f} counting bytes, {two:.3f} counting pairs")


if __name__ == "__main__":
    main()
