#!/usr/bin/env python3
#===-- plan_memory.py - What a program says that its ranks take -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Predicts the memory of ranks from a program in MLIR and compares it with a run.

The prediction is made of what the text says alone: places of buffers in the functions
that a rank runs, places of what stages keep, and the order of its tasks and messages. It
shares no code with what lays out the arena, nor with the trainer. With a batch ramp each
number of micro-batches has a schedule: the arena has room for the largest, what is touched
and in flight is that of the schedule which a step runs.

    plan_memory.py out/program.mlir memory.json      what a trainer wrote by --memory

Prints one line a rank, of a ramp one for each schedule; exits 1 where one differs.
"""
import collections
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


class Schedule:
    """Of one number of micro-batches, which is the sum of its paths'."""

    def __init__(self):
        self.ranks, self.paths, self.micro_batches = [], 0, 0

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

    def stages(self, rank):
        return {task.stage for action in self.ranks[rank][0] for task in action}


class Program:
    """A program in the exec dialect, or a pipeline's of an earlier phase, for its schedules.

    schedules: by their micro-batches; empty without a pipeline. ramp: (micro-batches, steps that
    are done before), empty where all steps have equally many."""

    def __init__(self, path):
        self.functions, self.stages, self.schedules, self.ramp = {}, [], {}, []
        function, schedule, actions, queue = None, None, None, None
        found = []
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
                elif word == "pipe.batch_ramp":
                    self.ramp = [(int(count), int(after)) for count, after
                                 in re.findall(r"(\d+) after (\d+)", line)]
                elif word == "pipe.schedule":
                    schedule, actions, queue = Schedule(), None, None
                    found.append(schedule)
                elif schedule and line.startswith("      path micro_batches "):
                    schedule.paths += 1
                    schedule.micro_batches += int(line.split()[2])
                elif schedule and word == "rank":
                    actions, queue = [], []
                    schedule.ranks.append((actions, queue))
                elif actions is not None and word in (
                        "overlap", "forward", "backward", "backward_input", "backward_weight"):
                    actions.append([Task(kind, int(stage), int(number), int(of or 0))
                                    for kind, stage, number, of in TASK.findall(line)])
                elif queue is not None and (message := MESSAGE.match(line.strip())):
                    way, what, stage, number, of = message.groups()
                    queue.append((way == "send", (what == "cotangent", int(of or 0), int(stage),
                                                  int(number))))

        self.schedules = {schedule.micro_batches: schedule for schedule in found}
        if len(found) != len(self.schedules):
            raise ValueError(f"{path} has two schedules of one number of micro-batches")

    def of_step(self, step):
        """Micro-batches of a round of the step; 1 is the first step."""
        if not self.ramp:
            return next(iter(self.schedules), 1)
        return [count for count, after in self.ramp if after < step][-1]

    def of_steps(self, number):
        """How many of the first steps have so many micro-batches."""
        return collections.Counter(self.of_step(step) for step in range(1, number + 1))

    def in_flight(self, rank, step=1):
        """As in a schedule, of the one that the step runs."""
        return self.schedules[self.of_step(step)].in_flight(rank)

    def paths(self):
        """Numbers of paths that its schedules have."""
        return {schedule.paths for schedule in self.schedules.values()}

    def num_ranks(self):
        """Of pp."""
        return max((len(schedule.ranks) for schedule in self.schedules.values()), default=1)

    def tied(self):
        """Parameters that several stages accumulate."""
        found = set()
        for kind in ("backward", "backward_weight"):
            names = {stage[kind] for stage in self.stages if kind in stage}
            every = [name for function in names for name in self.functions[function].gradients]
            found |= {name for name in every if every.count(name) > 1}
        return found

    def functions_of(self, schedule, rank):
        """Those that a rank runs: of an action with two tasks the one of both, if there is one."""
        pairs = {function.pair: name for name, function in self.functions.items() if function.pair}
        found = set()
        for action in schedule.ranks[rank][0]:
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

    def inboxes(self, schedule, rank):
        """(number, bytes of the largest) for messages that have come and wait, at the worst: the
        queue has got as far as the first message that has yet to be made. Both tasks of a pair
        take what they read when it begins; what each makes leaves in either order."""
        actions, queue = schedule.ranks[rank]
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

    def memory(self, rank, micro_batches=None):
        """What --memory should say of a rank of pp in steps of so many micro-batches (those of the
        first step)."""
        if not self.schedules:
            end = max(function.temporaries for function in self.functions.values())
            return {"arena": aligned(end), "temporaries": end}
        stages = sorted(set().union(*(schedule.stages(rank) for schedule in self.schedules.values())))
        rows = {count: self.memory_of(schedule, rank, stages) for count, schedule in self.schedules.items()}

        def most(what, held=None):
            return max((row if held is None else row["stages"][held])[what] for row in rows.values())

        # Room for the largest of each, whatever schedule has it.
        arena = aligned(most("temporaries")) + most("inboxes") * aligned(most("inbox"))
        arena += sum(most("slots", i) * aligned(self.slot(stage)) for i, stage in enumerate(stages))
        return {"arena": arena, **rows[micro_batches or self.of_step(1)]}

    def memory_of(self, schedule, rank, stages):
        """What a schedule touches and counts."""
        end = max(self.functions[name].temporaries for name in self.functions_of(schedule, rank))
        held = []
        for stage in stages:
            count = schedule.in_flight(rank, stage)
            held.append({"stage": stage, "slots": count, "slot": self.slot(stage) if count else 0,
                         "in_flight": count})
        number, size = self.inboxes(schedule, rank)
        return {"temporaries": end, "in_flight": schedule.in_flight(rank), "stages": held,
                "inboxes": number, "inbox": size, "messages_waiting": number}


def differences(program, path, partly=False, steps=None):
    """Sentences about what a trainer's --memory file says other than the program. partly: not all
    of a tensor need be touched, such as rows of experts that no token came to; of a number of
    micro-batches that one step had, neither: it has one pattern, which a value may equal. Messages
    wait at the worst in as many inboxes as there are; how many do is a matter of time. steps: of
    the run, by default as many as the rank with the most says."""
    with open(path) as file:
        rows = json.load(file)["ranks"]
    found, ranks = [], {}

    def compare(rank, what, got, want, most=False):
        if got > want or (got < want and not most):
            found.append(f"rank {rank}: {what} {got}, {'at most ' if most else ''}{want} predicted")

    for row in rows:
        ranks.setdefault(row["rank"], {})[row["micro_batches"]] = row["steps"]
    if not rows:
        found.append("no rank says anything")
    steps = steps or max((sum(had.values()) for had in ranks.values()), default=0)
    want = dict(program.of_steps(steps))
    for rank, had in ranks.items():
        if had != want:
            found.append(f"rank {rank}: steps by their micro-batches {had}, {want} predicted")
    for row in rows if not found else []:
        want, rank = program.memory(row["pp"], row["micro_batches"]), row["rank"]
        if program.ramp:
            rank = f"{rank} with {row['micro_batches']} micro-batches"
        some = partly or row["steps"] < 2
        compare(rank, "bytes of the arena", row["arena"], want["arena"])
        compare(rank, "bytes of temporaries touched", row["temporaries"], want["temporaries"], some)
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
            compare(rank, "bytes touched of a slot " + name, got["slot"], stage["slot"], some)
    return found


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    program = Program(sys.argv[1])
    found = differences(program, sys.argv[2])
    for rank in range(program.num_ranks()):
        for count in sorted(program.schedules) or [None]:
            of = f" with {count} micro-batches" if len(program.schedules) > 1 else ""
            print(f"rank {rank}{of}: {json.dumps(program.memory(rank, count))}")
    for sentence in found:
        print(sentence)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
