#!/usr/bin/env python3
#===-- plan_memory.py - What a program says that its ranks take -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Predicts the memory of ranks from a program in MLIR and compares it with a run.

The prediction is made of what the text says alone: places of buffers in the functions
that a rank runs, places of what stages keep, and the order of its tasks and messages. It
shares no code with what lays out the arena, nor with the trainer.

    plan_memory.py out/program.mlir memory.json      what a trainer wrote by --memory

Prints one line a rank; exits 1 where one differs.
"""
import json
import math
import re
import sys

BYTES = {"f64": 8, "i64": 8, "f32": 4, "i32": 4, "bf16": 2, "f16": 2, "i8": 1, "i1": 1}


def aligned(count):
    return (count + 63) // 64 * 64


def bytes_of(memref):
    """Of `2x10x32xf32`; what stands behind a comma says how it is laid out."""
    *shape, element = memref.split(",")[0].split("x")
    return math.prod(int(size) for size in shape) * BYTES[element]


class Function:
    """Ends of a function's buffers, and of what it keeps."""

    def __init__(self):
        self.temporaries = 0
        self.kept = {}  # (second task of a pair, role, number): (offset, bytes)
        self.pair = None
        self.gradients = set()  # parameters that it accumulates


class Task:
    def __init__(self, kind, stage, micro_batch, path):
        self.kind, self.stage, self.key = kind, stage, (path, stage, micro_batch)
        self.path, self.micro_batch = path, micro_batch
        self.forward = kind == "forward"
        self.accumulates = kind in ("backward", "backward_weight")
        # What goes to the stage beside it: (cotangent, path, stage, micro-batch).
        self.makes = None if kind == "backward_weight" else (not self.forward, path, stage, micro_batch)
        self.takes = None if kind == "backward_weight" else (
            not self.forward, path, stage + (-1 if self.forward else 1), micro_batch)


TASK = re.compile(r"(forward|backward|backward_input|backward_weight) stage (\d+) "
                  r"micro_batch (\d+)(?: path (\d+))?")
MESSAGE = re.compile(r"(send|receive) (activation|cotangent) stage (\d+) micro_batch (\d+)"
                     r"(?: path (\d+))?")


GRADIENT = re.compile(r"(?:pipe\.accumulate| = exec\.grad) @([\w.]+)")


class Program:
    """A program in the exec dialect, or a pipeline's of an earlier phase, for its schedule."""

    def __init__(self, path):
        self.functions, self.stages, self.ranks, self.paths = {}, [], [], 0
        function, actions, queue = None, None, None
        with open(path) as file:
            for line in file:
                word = line.split(maxsplit=1)[0] if line.strip() else ""
                if word == "func.func":
                    function = self.functions[re.search(r"@(\w+)", line)[1]] = Function()
                    if pair := re.search(r"pipe\.pair = \[@(\w+), @(\w+)\]", line):
                        function.pair = pair.groups()
                elif " = exec.buffer at " in line:
                    at, memref = re.search(r"at (\d+).*? : memref<([^>]*)>", line).groups()
                    function.temporaries = max(function.temporaries, int(at) + bytes_of(memref))
                elif " = exec.kept " in line:
                    role, number, at, memref = re.search(
                        r'"pipe\.(\w+)" (\d+) at (\d+).*? : memref<([^>]*)>', line).groups()
                    key = ("pipe.second" in line, role, int(number))
                    function.kept[key] = (int(at), bytes_of(memref))
                elif gradient := GRADIENT.search(line) if function else None:
                    function.gradients.add(gradient[1])
                elif word == "pipe.stage":
                    self.stages.append(dict(re.findall(
                        r"(forward|backward|backward_input|backward_weight) @(\w+)", line)))
                elif line.startswith("      path micro_batches "):
                    self.paths += 1
                elif word == "rank":
                    actions, queue = [], []
                    self.ranks.append((actions, queue))
                elif actions is not None and word in (
                        "overlap", "forward", "backward", "backward_input", "backward_weight"):
                    actions.append([Task(kind, int(stage), int(number), int(of or 0))
                                    for kind, stage, number, of in TASK.findall(line)])
                elif queue is not None and (message := MESSAGE.match(line.strip())):
                    way, what, stage, number, of = message.groups()
                    queue.append((way == "send", (what == "cotangent", int(of or 0), int(stage),
                                                  int(number))))

    def in_flight(self, rank, stage=None):
        """The most micro-batches of a rank (of its stage) from their forward to the end of their
        backward; both tasks of an action are under way at once."""
        now = most = 0
        for action in self.ranks[rank][0]:
            tasks = [task for task in action if stage in (None, task.stage)]
            now += sum(task.forward for task in tasks)
            most = max(most, now)
            now -= sum(task.accumulates for task in tasks)
        return most

    def tied(self):
        """Parameters that several stages accumulate."""
        found = set()
        for kind in ("backward", "backward_weight"):
            names = {stage[kind] for stage in self.stages if kind in stage}
            every = [name for function in names for name in self.functions[function].gradients]
            found |= {name for name in every if every.count(name) > 1}
        return found

    def functions_of(self, rank):
        """Those that a rank runs: of an action with two tasks the one of both, if there is one."""
        pairs = {function.pair: name for name, function in self.functions.items() if function.pair}
        found = set()
        for action in self.ranks[rank][0]:
            names = tuple(self.stages[task.stage][task.kind] for task in action)
            found |= {pairs[names]} if names in pairs else set(names)
        return found

    def slot(self, stage):
        """Bytes up to the end of the last tensor that a stage keeps."""
        return max((at + count for name in self.stages[stage].values()
                    for at, count in self.functions[name].kept.values()), default=0)

    def message(self, key):
        """Bytes of a message's tensors, each on a boundary of its own."""
        cotangent, _, stage, _ = key
        role = "input_cotangent" if cotangent else "output"
        kept = {}
        for name in self.stages[stage].values():
            kept |= {(found, number): count for (second, found, number), (_, count)
                     in self.functions[name].kept.items() if found == role and not second}
        return sum(aligned(count) for count in kept.values())

    def inboxes(self, rank):
        """(number, bytes of the largest) for messages that have come and wait, at the worst: the
        queue has got as far as the first message that has yet to be made. Both tasks of a pair
        take what they read when it begins; what each makes leaves in either order."""
        actions, queue = self.ranks[rank]
        pairs = {function.pair for function in self.functions.values() if function.pair}
        most, own = 0, []
        for swap in (False, True):
            # When it is made, and taken, counted in tasks.
            made, taken, number = {}, {}, 0
            for action in actions:
                joined = tuple(self.stages[task.stage][task.kind] for task in action) in pairs
                order = [1, 0] if joined and swap else [0, 1]
                for place, task in enumerate(action):
                    if task.makes:
                        made[task.makes] = number + order[place]
                        taken[task.takes] = number + (0 if joined else place)
                number += len(action)
            # Two stages of one rank tell each other without a message.
            own = [key for key in made if key in taken]
            for now in range(number + 1):
                waiting = sum(made[key] < now <= taken[key] for key in own)
                for send, key in queue:
                    if send and made[key] >= now:
                        break
                    waiting += not send and taken[key] >= now
                most = max(most, waiting)
        came = [key for send, key in queue if not send] + own
        return most, max((self.message(key) for key in came), default=0)

    def memory(self, rank):
        """What --memory should say of a rank of pp."""
        if not self.ranks:
            end = max(function.temporaries for function in self.functions.values())
            return {"arena": aligned(end), "temporaries": end}
        end = max(self.functions[name].temporaries for name in self.functions_of(rank))
        stages = sorted({task.stage for action in self.ranks[rank][0] for task in action})
        held = [{"stage": stage, "slots": self.in_flight(rank, stage), "slot": self.slot(stage),
                 "in_flight": self.in_flight(rank, stage)} for stage in stages]
        number, size = self.inboxes(rank)
        return {"arena": aligned(end) + number * aligned(size)
                         + sum(stage["slots"] * aligned(stage["slot"]) for stage in held),
                "temporaries": end, "in_flight": self.in_flight(rank), "stages": held,
                "inboxes": number, "inbox": size, "messages_waiting": number}


def differences(program, path, partly=False):
    """Sentences about what a trainer's --memory file says other than the program. partly: not all
    of a tensor need be touched, such as rows of experts that no token came to. Messages wait at
    the worst in as many inboxes as there are; how many do is a matter of time."""
    with open(path) as file:
        ranks = json.load(file)["ranks"]
    found = []

    def compare(rank, what, got, want, most=False):
        if got > want or (got < want and not most):
            found.append(f"rank {rank}: {what} {got}, {'at most ' if most else ''}{want} predicted")

    for row in ranks:
        want, rank = program.memory(row["pp"]), row["rank"]
        compare(rank, "bytes of the arena", row["arena"], want["arena"])
        compare(rank, "bytes of temporaries touched", row["temporaries"], want["temporaries"], partly)
        if "stages" not in want:
            continue
        compare(rank, "micro-batches in flight", row["in_flight"], want["in_flight"])
        for what in ("inboxes", "inbox", "messages_waiting"):
            compare(rank, what, row[what], want[what], most=True)
        for got, stage in zip(row["stages"], want["stages"], strict=True):
            name = f"of stage {stage['stage']}"
            compare(rank, "number " + name, got["stage"], stage["stage"])
            compare(rank, "slots touched " + name, got["slots"], stage["slots"])
            compare(rank, "micro-batches in flight " + name, got["in_flight"], stage["in_flight"])
            compare(rank, "bytes touched of a slot " + name, got["slot"], stage["slot"], partly)
    return found


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    program = Program(sys.argv[1])
    found = differences(program, sys.argv[2])
    for rank in range(max(1, len(program.ranks))):
        print(f"rank {rank}: {json.dumps(program.memory(rank))}")
    for sentence in found:
        print(sentence)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
