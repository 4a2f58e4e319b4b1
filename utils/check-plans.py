#!/usr/bin/env python3
#===-- check-plans.py - Every plan gives the numbers of one rank -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Trains corpus models under many plans and compares them with one rank.

A plan is a mesh, what its ranks divide (--zero), a size of the micro-batch, a
number of micro-batches that each rank accumulates, and for mixtures of experts
whether a capacity drops pairs, in which order; together the micro-batches always
take the same sixteen rows. Its reference is one rank that runs the same micro-batches
in the same order; where a capacity is over all ranks' tokens, one rank with all of
these in its micro-batch. Per plan: six SGD losses, clipped by the global norm, within 1e-5,
six AdamW losses within 1e-4, the first step's gradients within 1e-6 (of the
2-norm; of compiled trainers with tp or a capacity 2e-6), where tp is 1 and nothing is
dropped the first loss equal to the last bit; and unclipped SGD losses where nothing is
dropped are PyTorch's within 2e-4. A tp that does
not divide the heads must be refused, and the refusal must name one that does.

The micro-batches of a step of some pipelines change: "accumulate 4,8 1f1b" has 4 in the first
half of the steps and 8 in the second, "accumulate 4,16,8 1f1b" is of thirds (moirec
--batch-ramp; the largest step takes the sixteen rows, others the first ones). Their reference
is one rank with this ramp, and its reference one rank without: with a rate of 0 each step's
loss is to the last bit the one of a run that has the step's number, on the step's rows, and
of sixteen rows PyTorch's first one. The first step's loss and gradients are to the last bit
those of the same plan without a ramp (but for auto; of trainers with --exact).

Of pipelines also, to the last bit: losses and gradients of schedules with one direction
are those of another one on the same mesh; DualPipe's gradients are those of one rank that
adds up each direction's half (plan_bits.py). As many micro-batches are in flight on each
rank as the schedule of the step says; a trainer's arena has, and it touches, the bytes that
its program says (plan_memory.py), of a ramp in the steps of each number.

    check-plans.py                    all plans, executed by moire-run
    check-plans.py --binaries 10      a sample of ten, as compiled trainers: of each model's
                                      plans every second with AdamW, the others with SGD
    check-plans.py --binaries 3 --target cuda-model --steps 2
                                      the CUDA programs, executed by the model of a GPU,
                                      against one rank of the CPU target: SGD through the
                                      host, clipped SGD and AdamW by a model of NCCL
    check-plans.py --binaries 10 --target cuda --stage compile --keep DIR
                                      CUDA programs, which must compile without a warning
    check-plans.py --pp 2 4 8         pipelines, under every schedule
    check-plans.py --pp 2 4 --ramps only --sample 12
                                      twelve of those whose micro-batches of a step change
    check-plans.py --pp 2 --binaries 2 --exact
                                      trainers, also those that are compared to the last bit
    check-plans.py --defects          wrong programs and runtimes, which the above must tell

Prints one line a model; exits 1 where a plan differs, 77 without a corpus.
"""
import argparse
import concurrent.futures
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import compare_reference as reference
import plan_bits
import plan_memory
from plan_defects import PROGRAM_DEFECTS, RUNTIME_DEFECTS
from plan_space import DENSE, ENTRIES, FACTOR, NOT_CUT, ROWS, Plan, all_plans, schedules

TOLERANCE = {"sgd": 1e-5, "clipped sgd": 1e-5, "adamw": 1e-4}
GRAD_TOLERANCE, GRAD_FLOOR = 1e-6, 1e-3
FLAGS = {
    "sgd": ["--lr", "0.1"],
    "clipped sgd": ["--lr", "0.1", "--clip", "0.5"],
    "adamw": ["--lr", "0.01", "--beta1", "0.9", "--beta2", "0.95", "--eps", "1e-8",
              "--weight-decay", "0.1"],
}
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Failure(Exception):
    """A command that did not do what it should; the text is for the user."""


def run(command, output=None):
    """Runs `command`; on failure raises it with its error's last lines."""
    with open(output or os.devnull, "w") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        tail = "\n    ".join(done.stderr.strip().splitlines()[-4:])
        raise Failure(f"exit {done.returncode}: {shlex.join(command)}\n    {tail}")


class Runs:
    """Runs of one model: what executes them, and what they gave."""

    def __init__(self, args, name, scratch):
        self.args, self.scratch = args, scratch
        self.entry = reference.Entry(os.path.join(args.corpus, name))
        self.known, self.defect = {}, None
        self.in_flight = {}  # by program: on each rank of pp, by micro-batches of a step
        self.paths, self.tied = {}, {}  # by plan: directions of its schedules, tied parameters
        self.trainer = None  # of plans of many ranks, where one is built already

    def spoil(self, path):
        """Puts the defect into the program at `path`."""
        with open(path) as file:
            text = file.read()
        spoilt = self.defect(text)
        if spoilt == text:
            raise Failure("the defect finds no place in the program")
        with open(path, "w") as file:
            file.write(spoilt)

    def tool(self, name):
        return os.path.join(self.args.build, "bin", name)

    def compile_flags(self, plan, optimizer):
        sizes = {**self.entry.bindings(), "batch": plan.batch}
        return [self.entry.path("model.onnx"), "--bind",
                ",".join(f"{d}={n}" for d, n in sizes.items()), "--optimizer",
                optimizer.split()[-1], *plan.flags(), *plan.micro_batches(self.args.steps)]

    def execute(self, plan, optimizer, data=None, still=False):
        """Losses of all steps and, for SGD, the first step's gradients. None where nothing is run.
        data: of plan_bits, of which one step is done. still: parameters stay as they are."""
        stem = os.path.join(self.scratch, f"{plan}.{optimizer.split()[-1]}".replace(" ", ".")
                            .replace(",", "."))
        compile_flags = self.compile_flags(plan, optimizer)
        # Without a schedule and a ramp a program takes any number of micro-batches.
        folder = re.sub(r"\.accumulate\.\d+", "", stem) if plan.pp == 1 and not plan.ramps() else stem
        if self.trainer and plan.ranks > 1:
            folder = os.path.dirname(self.trainer)
            command = [self.trainer, "--ranks", str(plan.ranks)]
        elif self.args.binaries:
            # One program serves both: clipping is a flag of the trainer.
            if self.args.stage != "run" and not os.path.exists(folder):
                run([self.tool("moirec"), *compile_flags, "--target", self.target(plan), "-o", folder])
            command = [os.path.join(folder, "trainer")]
            if plan.ranks > 1:
                command += ["--ranks", str(plan.ranks)]
                if self.args.stage in ("compile", "build"):
                    return None
                if self.args.target == "cuda-model":
                    command += ["--gpu-link", "host" if optimizer == "sgd" else "nccl"]
            if self.args.stage == "run":  # the model may lie elsewhere than when it was compiled
                command += ["--weights", self.entry.path("model.onnx")]
        else:
            # Defects speak of the ops as distribute leaves them.
            phase = "distribute" if self.defect and plan.pp == 1 else "overlap"
            run([self.tool("moirec"), *compile_flags, f"--stop-after={phase}"], stem + ".mlir")
            if plan.pp > 1 and stem not in self.in_flight:
                self.in_flight[stem] = self.predict_in_flight(plan, stem + ".mlir")
            if self.defect and plan.ranks > 1:
                self.spoil(stem + ".mlir")
            command = [self.tool("moire-run"), stem + ".mlir"]
        kept = stem if optimizer in stem else stem + ".clipped"
        rounds, steps = plan.rounds(), self.args.steps
        if data:
            kept, steps = f"{stem}.{os.path.basename(data)}", 1
        flags = FLAGS[optimizer]
        if still:
            kept, flags = stem + ".still", ["--lr", "0", *flags[2:]]
        command += ["--data", data or self.entry.path("batch16"), "--accumulate", str(rounds),
                    "--steps", str(steps), *flags, "--log", kept + ".jsonl"]
        if optimizer == "sgd":
            command += ["--dump-grads", kept + ".safetensors"]
        if self.is_trainer(plan):
            # One thread a rank: how many there are decides in which order some sums are added.
            command += ["--memory", kept + ".memory", "--threads", str(plan.ranks)]
        if plan.ranks > 1 or self.args.stage != "run":  # else what the other stage left
            run(command)
        log = reference.read_jsonl(kept + ".jsonl")
        self.check_memory(plan, folder, stem, kept, log)
        grads = {}
        if optimizer == "sgd":
            grads = {name: tensor.values
                     for name, tensor in reference.read_safetensors(kept + ".safetensors").items()}
        return [row["loss"] for row in log], grads

    def predict_in_flight(self, plan, path):
        """The most micro-batches that each rank of pp holds, by the micro-batches of a step: as the
        compiler counts them, which must be as this script does."""
        run([self.tool("moire-plan"), path, "--json", path + ".json"])
        with open(path + ".json") as file:
            said = {schedule["micro_batches"]: [row["peak_activations"] for row in schedule["per_rank"]]
                    for schedule in json.load(file)["schedules"]}
        program = plan_memory.Program(path)
        self.paths[str(plan)], self.tied[str(plan)] = program.paths(), program.tied()
        counted = {count: [schedule.in_flight(rank) for rank in range(plan.pp)]
                   for count, schedule in program.schedules.items()}
        if said != counted:
            raise Failure(f"moire-plan says that ranks hold {said} micro-batches, the schedule in "
                          f"{path} {counted}")
        return said

    def check_memory(self, plan, folder, stem, kept, log):
        """Raises where a run took another memory than was predicted."""
        if self.is_trainer(plan):
            # One step alone has one pattern, which a value may equal; rows of experts that no
            # token came to are not touched.
            partly = self.entry.name not in DENSE or len(log) < 2
            program = plan_memory.Program(os.path.join(folder, "program.mlir"))
            self.paths[str(plan)], self.tied[str(plan)] = program.paths(), program.tied()
            found = plan_memory.differences(program, kept + ".memory", partly, len(log))
            steps = range(1, len(log) + 1)
            ramp = [program.of_step(step) for step in steps]
            want = [plan.of_step(step, self.args.steps) for step in steps]
            if ramp != want and (plan.ramps() or plan.pp > 1):
                found.append(f"the program has {ramp} micro-batches in its steps, not {want}")
            if found:
                raise Failure("memory: " + "; ".join(found[:3]))
        elif plan.pp > 1:
            for step, row in enumerate(log, 1):
                number = plan.of_step(step, self.args.steps)
                want = [count for count in self.in_flight[stem][number]
                        for _ in range(plan.ranks // plan.pp)]
                if row["in_flight"] != want:
                    raise Failure(f"in step {step} {row['in_flight']} micro-batches were in flight on "
                                  f"the ranks, the schedule of {number} says {want}")

    def is_trainer(self, plan):
        return bool(self.args.binaries or (self.trainer and plan.ranks > 1))

    def target(self, plan):
        """One rank is what plans are compared with."""
        return self.args.target if plan.ranks > 1 else "cpu"

    def alone(self, plan, optimizer):
        key = (str(plan.alone()), optimizer)
        if key not in self.known:
            self.known[key] = self.execute(plan.alone(), optimizer)
        return self.known[key]

    def check(self, plan, optimizer):
        """(worst relative error of a loss, of a gradient, problems)."""
        got, problems = self.execute(plan, optimizer), []
        if self.args.stage == "compile":
            return 0.0, 0.0, problems
        want, want_grads = self.alone(plan, optimizer)
        if plan.ramps() and optimizer != "clipped sgd":
            problems += self.cached((str(plan.alone()), optimizer, "steps"),
                                    lambda: self.check_ramp(plan.alone(), optimizer))
        if got is None:  # only built
            return 0.0, 0.0, problems
        losses, grads = got
        worst = max(abs(x / y - 1) for x, y in zip(losses, want, strict=True))
        if not worst <= TOLERANCE[optimizer]:
            problems.append(f"{optimizer} losses {losses} differ by {worst:.1e} from {want} of one rank")
        # One built by hand is compared with the interpreter, and a GPU's with the CPU's, whose
        # sums have an order of their own.
        own = self.trainer or self.args.target != "cpu"
        same = plan.tp == 1 and not plan.drops() and not own
        if same and losses[0] != want[0]:
            problems.append(f"the first loss {losses[0]!r} is not equal to {want[0]!r} of one rank")
        torch = self.entry.losses(optimizer.split()[-1], True)
        away = max(abs(x / y - 1) for x, y in zip(losses, torch))
        whole = not plan.drops() and not plan.ramps()  # PyTorch's steps have all sixteen rows
        if optimizer == "sgd" and whole and not away <= reference.LOSS_TOLERANCE:
            problems.append(f"losses {losses} differ by {away:.1e} from PyTorch's {torch}")
        worst_grad = 0.0
        if want_grads.keys() != grads.keys():
            problems.append(f"gradients of {sorted(grads)}, one rank has {sorted(want_grads)}")
        else:
            everything = reference.norm(reference.norm(values) for values in want_grads.values())
            for name, values in want_grads.items():
                error = reference.distance(grads[name], values)
                error /= reference.norm(values) + GRAD_FLOOR * everything
                worst_grad = max(worst_grad, error)
                # A compiled product adds in an order that depends on its shape, which tp
                # changes; under a capacity one rank has another number of rows.
                compiled = self.args.binaries and (plan.tp > 1 or plan.drops())
                if not error <= (2 if compiled else 1) * GRAD_TOLERANCE:
                    problems.append(f"gradient of {name} differs by {error:.1e}")
        if optimizer == "sgd" and plan.pp > 1 and (self.args.exact or not self.args.binaries):
            problems += self.check_bits(plan, losses, grads)
        return worst, worst_grad, [f"{plan}: {p}" for p in problems]

    def cached(self, key, make):
        if key not in self.known:
            self.known[key] = make()
        return self.known[key]

    def first_rows(self, number):
        """A folder with so many of the sixteen."""
        data = self.entry.path("batch16")
        return data if number == ROWS else plan_bits.write_first(data, ROWS, number, self.scratch)

    def check_ramp(self, alone, optimizer):
        """Problems of the one rank with a ramp that plans are compared with: what each step's loss
        would be at the first parameters is what runs without a ramp begin with."""
        problems, steps = [], self.args.steps
        still = self.execute(alone, optimizer, still=True)[0]
        first = {count: self.cached(
            (str(alone.constant(count)), optimizer, "first"),
            lambda count=count: self.execute(alone.constant(count), optimizer,
                                             self.first_rows(count * alone.batch))[0][0])
            for count in set(alone.counts)}
        want = [first[alone.of_step(step, steps)] for step in range(1, steps + 1)]
        if still != want:
            problems.append(f"{alone}: at the first parameters the steps' losses are {still}, of runs "
                            f"without a ramp {want}")
        if not alone.drops():
            torch = self.entry.losses(optimizer, True)[0]
            if not abs(first[alone.accumulate] / torch - 1) <= reference.LOSS_TOLERANCE:
                problems.append(f"{alone}: a step of all rows has the loss {first[alone.accumulate]}, "
                                f"PyTorch's is {torch}")
        return problems

    def check_first_step(self, plan, losses, grads):
        """Problems of a ramp's first step, which is that of the same plan without a ramp."""
        own = plan.constant(plan.counts[0])
        there, want = self.cached((str(own), "first"), lambda: self.execute(
            own, "sgd", self.first_rows(plan.counts[0] * plan.dp * plan.ep * plan.batch)))
        found = plan_bits.differences("the same plan without a ramp", grads, want)
        if losses[0] != there[0]:
            found.append(f"the first loss {losses[0]!r} is not {there[0]!r} of the plan without a ramp")
        return found

    def check_bits(self, plan, losses, grads):
        """Problems of numbers that another plan must give to the last bit."""
        legal = schedules(self.entry.name, plan.pp, plan.counts)
        first = []
        # What auto chooses depends on all numbers of the ramp.
        if plan.ramps() and plan.schedule != "auto":
            first = self.check_first_step(plan, losses, grads)
        kinds, other = [kind for kind in legal if kind in plan_bits.ONE_DIRECTION], None
        if plan.schedule in kinds:
            other = kinds[(kinds.index(plan.schedule) + 1) % len(kinds)]
        elif plan.schedule == "auto":
            if self.paths[str(plan)] == {1}:
                other = kinds[0]
            elif self.paths[str(plan)] == {2} and "dualpipe" in legal:
                other = "dualpipe"
            elif plan.ranks > plan.pp:
                return []
        if other:
            sibling = plan.among(other)
            there, want = self.cached((str(sibling), "sgd"), lambda: self.execute(sibling, "sgd"))
            found = plan_bits.differences(other, grads, want)
            if losses != there:
                found.append(f"losses {losses} are not those of {other}, {there}")
            return first + found
        if plan.ramps():
            return first
        # The sum over ranks comes after that of the directions: only without one can the halves
        # be runs of their own.
        own = Plan(1, 1, 1, plan.accumulate, pp=plan.pp, schedule=plan.schedule)
        half = Plan(1, 1, 1, plan.accumulate // 2)
        if self.args.binaries:
            # A trainer of one rank has other kernels, which add in another order: logits, say,
            # are not kept there. With one direction the stages are the same.
            half = Plan(1, 1, 1, plan.accumulate // 2, pp=plan.pp, schedule="1f1b")
        half.batch = own.batch

        def in_halves():
            whole, *halves = plan_bits.write_halves(self.entry.path("batch16"), ROWS, self.scratch)
            # Stages add up what they each make of a tied parameter; one rank adds it in each
            # micro-batch.
            sums = plan_bits.sum_of_halves(*(self.execute(half, "sgd", data)[1] for data in halves))
            got = self.execute(own, "sgd", whole)[1]
            sums = {name: values for name, values in sums.items()
                    if not any(f".{tied}".endswith(f".{name}") for tied in self.tied[str(own)])}
            return plan_bits.differences(f"{len(halves)} halves that {half} adds up", got, sums)

        return self.cached((str(own), "halves"), in_halves)


def check_refusal(args, name, scratch):
    """Problems with the refusal of a tp that does not divide the heads."""
    heads, runs = ENTRIES[name], Runs(args, name, scratch)
    command = [runs.tool("moirec"), runs.entry.path("model.onnx"), "--bind", "batch=1,seq=10",
               "--mesh", f"tp={2 * heads}", "--stop-after=distribute"]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode == 1 and f"{heads} " in done.stderr and f"tp = {heads}" in done.stderr:
        return []
    return [f"tp={2 * heads}: exit {done.returncode}, and no sentence that names {heads} heads and "
            f"tp = {heads}: {done.stderr.strip()}"]


#===----------------------------------------------------------------------===//
# Defects
#===----------------------------------------------------------------------===//


class SpoiltRuntime:
    """A generated folder of two ranks, each with experts of its own, built from its sources."""

    def __init__(self, args, scratch):
        self.args, self.plan = args, Plan(1, 2, 1, 2)
        self.runs = Runs(args, "mixtral_batched_dyn18", scratch)
        self.folder = os.path.join(scratch, "spoilt")
        run([self.runs.tool("moirec"), *self.runs.compile_flags(self.plan, "sgd"), "--source-only",
             "-o", self.folder])

    def problems(self, file, there, instead):
        """What the comparison says of this change of a runtime's file."""
        path = os.path.join(self.folder, "runtime", file)
        with open(path) as source:
            sound = source.read()
        if sound.count(there) != 1:
            raise Failure(f"'{there}' stands {sound.count(there)} times in {file}, not once")
        with open(path, "w") as source:
            source.write(sound.replace(there, instead))
        sources = sorted(os.listdir(os.path.join(self.folder, "src")))
        objects = [f"objects/src/{name[:-4]}.o" for name in sources if name.endswith(".cpp")]
        objects += [f"objects/runtime/{file[:-4]}.o"]
        run(["make", "-s", "-j2", "-C", self.folder, *objects])
        self.runs.trainer = os.path.join(self.folder, "trainer")
        # The object stands in front of the library, whose own is then not taken.
        run(["c++", "-fopenmp", "-o", self.runs.trainer,
             *[os.path.join(self.folder, name) for name in objects],
             os.path.join(self.args.build, "lib", "libmoire_rt.a"), "-ldnnl"])
        try:
            return self.runs.check(self.plan, "clipped sgd")[2]
        except Failure as failure:
            return [str(failure)]
        finally:
            self.runs.trainer = None
            os.remove(os.path.join(self.folder, "trainer"))
            with open(path, "w") as source:
                source.write(sound)


def check_program_defect(args, name, plan, defect):
    """What the comparisons say of a spoilt program."""
    with tempfile.TemporaryDirectory(prefix="moire-plans-") as scratch:
        runs = Runs(args, name, scratch)
        assert not runs.check(Plan(*plan), "sgd")[2], "the sound program differs, too"
        runs.defect = defect
        try:
            return runs.check(Plan(*plan), "sgd")[2]
        except Failure as failure:
            return [str(failure)]


def check_one_direction(args):
    """What the comparison with two halves says of a schedule that adds all in one order."""
    with tempfile.TemporaryDirectory(prefix="moire-plans-") as scratch:
        plan, runs = Plan(1, 1, 1, 4, pp=2, schedule="dualpipe"), Runs(args, "llama_dyn18", scratch)
        assert not runs.check_bits(plan, [], {}), "DualPipe differs, too"
        compile_flags, runs.known, runs.in_flight = runs.compile_flags, {}, {}
        runs.compile_flags = lambda plan, optimizer: [
            "1f1b" if flag == "dualpipe" else flag for flag in compile_flags(plan, optimizer)]
        return runs.check_bits(plan, [], {})


def check_late_reference(args):
    """What the comparison with runs without a ramp says of a reference whose ramp comes late."""
    with tempfile.TemporaryDirectory(prefix="moire-plans-") as scratch:
        alone, runs = Plan(1, 1, 1, (4, 8)), Runs(args, "llama_dyn18", scratch)
        assert not runs.check_ramp(alone, "sgd"), "the sound reference differs, too"
        late, compile_flags = f"8@{alone.steps_of_each(args.steps) + 1}", runs.compile_flags
        runs.compile_flags = lambda plan, optimizer: [
            re.sub(r"8@\d+", late, flag) for flag in compile_flags(plan, optimizer)]
        return runs.check_ramp(alone, "sgd")


def check_defects(args):
    """Number of defects that no comparison tells."""
    told = {what: check_program_defect(args, *rest) for what, *rest in PROGRAM_DEFECTS}
    told["DualPipe's gradients added as one direction's"] = check_one_direction(args)
    told["a reference whose ramp comes a step late"] = check_late_reference(args)
    with tempfile.TemporaryDirectory(prefix="moire-plans-") as scratch:
        runtime = SpoiltRuntime(args, scratch)
        file, there = RUNTIME_DEFECTS[0][1:3]
        problems = runtime.problems(file, there, there)
        assert not problems, f"the sound runtime differs, too: {problems[0]}"
        for what, *rest in RUNTIME_DEFECTS:
            told[what] = runtime.problems(*rest)
    for what, problems in told.items():
        print(f"{what}: {problems[0][:110] + '...' if problems else 'MISSED'}", flush=True)
    missed = sum(not problems for problems in told.values())
    print(f"{len(told) - missed} of {len(told)} defects are told")
    return missed


#===----------------------------------------------------------------------===//
# The command
#===----------------------------------------------------------------------===//


def check_entry(args, name, plans):
    """(lines to print, number of plans that differ)."""
    start = time.time()
    scratch = os.path.join(args.keep, name) if args.keep else tempfile.mkdtemp(prefix="moire-plans-")
    os.makedirs(scratch, exist_ok=True)
    runs = Runs(args, name, scratch)
    worst, worst_grad = {o: 0.0 for o in FLAGS}, 0.0
    problems = []
    if max(args.tp) > 1 and name not in NOT_CUT and args.stage == "both":
        problems = check_refusal(args, name, scratch)
    failed = len(problems)
    try:
        for number, plan in enumerate(plans):
            found = []
            # An optimizer is a program of its own, whose compilation takes the time of all else.
            of_binary = ["adamw"] if number % 2 else ["sgd", "clipped sgd"]
            for optimizer in of_binary if args.binaries else FLAGS:
                try:
                    error, grad, more = runs.check(plan, optimizer)
                    worst[optimizer] = max(worst[optimizer], error)
                    worst_grad = max(worst_grad, grad)
                    found += more
                except (Failure, OSError, ValueError, KeyError) as failure:
                    found.append(f"{plan}: {failure}")
            for left in [] if args.keep else os.listdir(scratch):
                if os.path.isdir(os.path.join(scratch, left)):
                    shutil.rmtree(os.path.join(scratch, left))
            failed += bool(found)
            problems += found
    finally:
        if not args.keep:
            shutil.rmtree(scratch, ignore_errors=True)
    verdict = "FAILED" if failed else "ok"
    lines = [f"{name:24s} {verdict:6s} {time.time() - start:5.1f} s  {len(plans)} plans  "
             + "".join(f"{o} {worst[o]:.1e}  " for o in FLAGS) + f"gradients {worst_grad:.1e}"]
    return lines + [f"  {problem}" for problem in problems[:20]], failed


def nccl(args):
    """How many of the CUDA trainers in --keep are linked with NCCL."""
    if args.target != "cuda" or args.stage == "run":
        return ""
    trainers = [os.path.join(folder, "trainer") for folder, _, files in os.walk(args.keep)
                if "trainer" in files and "dp=1.ep=1.tp=1." not in folder]
    linked = 0
    for trainer in trainers:
        with open(trainer, "rb") as file:
            linked += b"libnccl.so" in file.read()
    return f", {linked} of {len(trainers)} trainers link NCCL"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    reference.add_folders(parser)
    parser.add_argument("--entry", nargs="+", metavar="NAME", default=list(ENTRIES), choices=list(ENTRIES))
    parser.add_argument("--tp", nargs="+", type=int, default=[1, 2, 4], help="sizes of the axis tp")
    parser.add_argument("--pp", nargs="+", type=int, default=[1],
                        help="sizes of the axis pp, each with every schedule (1: no pipelines)")
    parser.add_argument("--ramps", default="also", choices=["also", "none", "only"],
                        help="pipelines whose micro-batches of a step change, e.g. \"accumulate 4,8 1f1b\"")
    parser.add_argument("--zero", nargs="+", type=int, default=[0, 1, 2, 3],
                        help="what ranks of dp and ep divide")
    parser.add_argument("--drop-order", nargs="+", default=["none", "gshard", "switch"],
                        choices=["none", "gshard", "switch"],
                        help=f"of a capacity of {FACTOR} pairs; none: experts take all")
    parser.add_argument("--only", nargs="+", metavar="WORDS", default=[],
                        help="plans whose name has all of these, e.g. pp=2,dp=1,ep=2,tp=1 \"accumulate 4 dualpipe\"")
    parser.add_argument("--sample", type=int, metavar="N", help="only N plans, chosen at random")
    parser.add_argument("--binaries", type=int, metavar="N",
                        help="N plans, chosen at random, as compiled trainers")
    parser.add_argument("--exact", action="store_true",
                        help="of --binaries of pipelines: compare with other trainers to the last "
                        "bit, too, which takes more of them")
    parser.add_argument("--target", default="cpu", choices=["cpu", "cuda", "cuda-model"],
                        help="of --binaries: what plans are compiled for; one rank is for the CPU")
    parser.add_argument("--stage", default="both", choices=["compile", "build", "run", "both"],
                        help="of --binaries, in --keep: compile the plans; besides run one rank; "
                        "only run the plans that are there")
    parser.add_argument("--keep", metavar="DIR", help="keep everything that is made in DIR")
    parser.add_argument("--steps", type=int, default=6, help="of each run (6)")
    parser.add_argument("--defects", action="store_true",
                        help="seed one defect after another, each of which must be told")
    parser.add_argument("--seed", type=int, default=1, help="of the choice")
    parser.add_argument("--jobs", type=int, default=1, help="models at the same time")
    args = parser.parse_args()
    reference.skip_without_corpus(args, "plans")
    if (args.target != "cpu" or args.stage != "both") and not args.binaries:
        sys.exit("error: --target and --stage are of compiled trainers; say how many plans by --binaries N")
    if args.stage != "both" and not args.keep:
        sys.exit(f"error: --stage {args.stage} needs --keep DIR, where the trainers lie")
    if args.stage != "run" and not os.path.exists(os.path.join(args.build, "bin", "moirec")):
        sys.exit(f"error: there is no bin/moirec in {args.build}; build first, or name the "
                 "build folder with --build")
    if args.defects:
        sys.exit(1 if check_defects(args) else 0)
    plans = [(name, plan) for name in args.entry
             for plan in all_plans(name, args.tp, args.zero, args.drop_order, args.pp, args.ramps)
             if all(f" {words} " in f" {plan} " for words in args.only)]
    if args.only and len(plans) < (args.sample or args.binaries or 1):
        sys.exit(f"error: {len(plans)} plans have {args.only} in their names, fewer than were asked for")
    if args.sample or args.binaries:
        plans = random.Random(args.seed).sample(plans, args.sample or args.binaries)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        chosen = [(name, [p for n, p in plans if n == name]) for name in args.entry]
        for lines, count in pool.map(lambda c: check_entry(args, *c), [c for c in chosen if c[1]]):
            print("\n".join(lines), flush=True)
            failed += count
    what = "compile" if args.stage in ("compile", "build") else "give the numbers of one rank"
    print(f"{len(plans) - failed} of {len(plans)} plans {what}{nccl(args)}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
