"""Compares a log of bigram.textproto's training with the closed form.

Only row 3 of the table is used: logit a for token 3, b for each of the 7 others,
both 0 at first. The loss is -log p, p = e^a / (e^a + 7 e^b), the same at every
position; SGD moves a by lr (1 - p) and each b by -lr (1 - p) / 7.
"""
import json
import math
import sys

rate = float(sys.argv[2])
a = b = 0.0
steps = [json.loads(line) for line in open(sys.argv[1])]
assert steps, "the log is empty"
for number, step in enumerate(steps, 1):
    p = math.exp(a) / (math.exp(a) + 7 * math.exp(b))
    loss, norm = -math.log(p), math.hypot(1 - p, (1 - p) / math.sqrt(7))
    for name, expected in (("step", number), ("loss", loss), ("grad_norm", norm)):
        assert abs(step[name] - expected) <= 1e-6 * abs(expected), (number, name, step[name], expected)
    a += rate * (1 - p)
    b -= rate * (1 - p) / 7
print(f"{len(steps)} losses agree")
