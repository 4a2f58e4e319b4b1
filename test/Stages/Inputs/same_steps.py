"""same_steps.py A.jsonl STEPS B.jsonl STEPS [TOLERANCE]: in these steps both logs have the same losses
and norms, to the last digit or to a relative tolerance. STEPS: as 1-3,5."""
import json
import sys


def numbers(path, steps):
    with open(path) as file:
        rows = {row["step"]: row for row in map(json.loads, file)}
    chosen = []
    for part in steps.split(","):
        first, _, last = part.partition("-")
        chosen += range(int(first), int(last or first) + 1)
    return [rows[step][what] for step in chosen for what in ("loss", "grad_norm")]


left, right = numbers(*sys.argv[1:3]), numbers(*sys.argv[3:5])
tolerance = float(sys.argv[5]) if len(sys.argv) > 5 else 0
assert len(left) == len(right), (left, right)
assert all(abs(x - y) <= tolerance * abs(y) for x, y in zip(left, right)), (left, right)
