# check_order.py FOLDER KIND RANKS MICROBATCHES [VECTORS.json]: whether the tasks in the tables of an
# emitted program are, rank by rank, those of DualPipe (KIND dualpipe or dualpipev): the eight
# phases of the published code, and the recorded lists where there are some.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import json
import re
import sys

folder, kind, P, M = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
two_ends = kind == "dualpipe"
letters = {"forward": "F", "backward": "B", "backwardInput": "b", "backwardWeight": "W"}


def emitted(rank):
    """Tasks as [kind, lane, micro-batch]; two that one function does as ["FB", [F], [B]]."""
    source = open(folder + "/src/program.cpp").read()
    table = re.search(rf"TaskInfo tasks{rank}\[\] = \{{(.*?)\}};", source, re.S)[1]
    tasks = re.findall(r"\{TaskKind::(\w+), (\d+), (\d+), (\d+), (\d+)(?:, (\w+))?\}?", table)
    ops, open_pair = [], None
    for name, path, stage, number, _, pair in tasks:
        lane = int(path) if two_ends else int(int(stage) != rank)
        op = [letters[name], lane, int(number)]
        if open_pair:
            ops.append(["FB", open_pair[1:], op[1:]])
            assert open_pair[0] == "F" and op[0] == "B", (open_pair, op)
            open_pair = None
        elif pair:
            open_pair = op
        else:
            ops.append(op)
    assert not open_pair
    return ops


def published(r):
    h, H = (min(r, P - 1 - r), P // 2) if two_ends else (r, P)
    middle = r in (P // 2 - 1, P // 2) if two_ends else r == P - 1
    flip = int(two_ends and r >= P // 2)
    done = {(what, phase): 0 for what in "FB" for phase in (0, 1)}
    queue, ops = [], []

    def take(what, phase):
        done[what, phase] += 1
        return [phase ^ flip, done[what, phase] - 1]

    def F(phase):
        ops.append(["F"] + take("F", phase))

    def B(phase, split=False):
        number = take("B", phase)
        ops.append(["b" if split else "B"] + number)
        if split:
            queue.append(number)

    def W():
        ops.append(["W"] + queue.pop(0))

    def FB(x, y):
        ops.append(["FB", take("F", x), take("B", y)])

    for _ in range(2 * (H - h - 1)):
        F(0)
    for _ in range(h + 1):
        F(0), F(1)
    for _ in range(H - h - 1):
        B(1, True), W(), F(1)
    for i in range(M // 2 - P + h + 1 if two_ends else M - 2 * P + h + 1):
        if i == 0 and middle:
            F(0), B(1)
        else:
            FB(0, 1)
        FB(1, 0)
    for _ in range(H - h - 1):
        B(1), FB(1, 0)
    split = False
    for i in range(h + 1):
        split = split or (i == (h + 1) // 2 and h % 2 == 1)
        B(1, split)
        split = split or (i == (h + 1) // 2 and h % 2 == 0)
        B(0, split)
    for _ in range(H - h - 1):
        W(), B(0, True)
    for _ in range(h + 1):
        W()
    assert not queue
    return ops


recorded = None
if len(sys.argv) > 5:
    recorded = json.load(open(sys.argv[5]))[f"{kind}_P{P}_M{M}"]["ops"]
    assert len(recorded) == P
count = 0
for rank in range(P):
    ops = emitted(rank)
    for name, other in [("the phases", published(rank)), ("the record", recorded and recorded[rank])]:
        if other is not None and ops != other:
            at = next((i for i, (a, b) in enumerate(zip(ops, other)) if a != b), min(len(ops), len(other)))
            sys.exit(f"rank {rank}, action {at}: {ops[at:at + 1]}, but {name} have {other[at:at + 1]}")
    count += len(ops)
print(f"{count} actions as published")
