"""Runs the trainers of curriculum.test in the folder argv[1], and compares their logs."""
import json
import os
import struct
import subprocess
import sys

root = sys.argv[1]


def tokens(name, ids):
    with open(f"{root}/{name}", "wb") as file:
        file.write(struct.pack("<256i", 20240520, 1, len(ids), *[0] * 253))
        file.write(struct.pack(f"<{len(ids)}H", *ids))
    return f"{root}/{name}"


def train(trainer, data, steps, *options, threads=1):
    log = f"{root}/log.jsonl"
    if os.path.exists(log):
        os.remove(log)
    run = [f"{root}/{trainer}/trainer", "--threads", str(threads), "--data", data, "--log", log]
    subprocess.run(
        [*run, "--steps", str(steps), *options], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with open(log) as file:
        return [json.loads(line) for line in file]


def numbers(log):
    return [(r["step"], r["loss"], r["grad_norm"], r["tokens"]) for r in log]


many = tokens("many.bin", [i * i % 7 for i in range(400)])

# 1. The longest, without --curriculum.
both = train("both", many, 6)
assert [r["seq"] for r in both] == [8] * 6, both
assert numbers(both) == numbers(train("long", many, 6))

# 2. The shorter one. Data whose rows of 4 are all alike, since the order is another.
period = [3, 1, 4, 1]
alike, one = tokens("alike.bin", (period * 3)[:9]), tokens("one.bin", (period * 2)[:5])
both = train("both", alike, 6, "--curriculum", "seq=4@0")
assert [r["seq"] for r in both] == [4] * 6, both
assert numbers(both) == numbers(train("short", one, 6))

# 3. A change, at a place where half a row of 8 is skipped, and back. All checkpoints of it are gone
# on from, by the same plan and by another.
change = ["--curriculum", "seq=4@0,8@3,4@5", "--accumulate", "3"]
whole = train("both", many, 7, *change, "--checkpoint", f"{root}/run", "--checkpoint-every", "1", "--keep", "9")
assert [r["seq"] for r in whole] == [4, 4, 4, 8, 8, 4, 4], whole
assert [r["tokens"] for r in whole] == [36] * 3 + [48] * 2 + [36] * 2, whole
assert [r["tokens_seen"] for r in whole][2:5] == [108, 112 + 48, 112 + 96], whole
for step in (2, 3, 4, 5):
    resume = ["--resume", f"{root}/run/step-{step:08d}"]
    again = train("both", many, 7, *change, *resume)
    assert numbers(again) == numbers(whole[step:]), (step, again, whole)
for step in (2, 3, 6):
    resume = ["--resume", f"{root}/run/step-{step:08d}"]
    again = train("stages", many, 7, *change[:2], *resume, threads=2)
    for mine, theirs in zip(again, whole[step:], strict=True):
        assert mine["seq"] == theirs["seq"] and mine["tokens"] == theirs["tokens"], (mine, theirs)
        assert abs(mine["loss"] / theirs["loss"] - 1) < 1e-5, (step, mine, theirs)

# 4. What is measured is the longest, whatever the step has.
watched = train("both", many, 4, *change, "--eval", many, "--eval-every", "1")
assert numbers([r for r in watched if "loss" in r]) == numbers(whole[:4])
assert [r["eval_rows"] for r in watched if "eval_loss" in r] == [49] * 4
for step in (2, 4):
    resume = ["--resume", f"{root}/run/step-{step:08d}", "--accumulate", "3"]
    alone = train("long", many, 9, "--eval", many, "--eval-only", *resume)
    assert alone[0]["eval_loss"] == watched[2 * step - 1]["eval_loss"], (step, alone, watched)
print("all agree")
