"""Writes an llm.c token file that holds token 3 a thousand times."""
import struct
import sys

count = 1000
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<256i", 20240520, 1, count, *[0] * 253))
    file.write(struct.pack(f"<{count}H", *[3] * count))
