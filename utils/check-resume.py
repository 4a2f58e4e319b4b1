#!/usr/bin/env python3
# Ends trainers at random moments and resumes them: the losses must be those of one run.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A trainer that writes a checkpoint every few steps is ended again and again, and started again
by the same command (--resume auto) until it is through. Its log must then be that of a run that
nobody ended, to the last bit. How it is ended, at a moment that --seed says:

  time    SIGKILL after a random time
  call    SIGKILL at a random call that changes the checkpoints' folder
  power   the same, and what was not synced is lost (test/unit/runtime/LosePower.cpp)
  full    from such a call on the disk is full: the trainer must say so and end with code 2
  term    SIGTERM: the trainer must write a checkpoint and end with code 3

On several ranks (processes over TCP) one of them gets SIGKILL after a random time: the others must
end with code 2, and the log must be the same. A copy of what is there is also resumed on another
plan; its losses must be within 1e-5.

At each start what was said to be written must still be there, and no checkpoint may be damaged.

--faults tries trainers that leave out fsync() or write under the final name: each must be told.
"""
import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

STEPS, EVERY = 40, 3
PLANS = [("dp=1", 8), ("dp=2", 4), ("dp=2,zero=2", 4), ("dp=2,ep=2", 2), ("dp=2,ep=2,zero=1", 2),
         ("dp=2,ep=2,zero=3", 2), ("dp=2,tp=2", 4), ("dp=4,zero=3", 2)]


class Wrong(Exception):
    """What a trainer did that it must not."""


def tokens(path):
    """An llm.c token file of small tokens."""
    import array
    rng = random.Random(3)
    ids = array.array("H", [rng.randrange(12) for _ in range(5000)])
    header = array.array("i", [20240520, 1, len(ids)] + [0] * 253)
    with open(path, "wb") as f:
        f.write(header.tobytes() + ids.tobytes())


def ranks_of(mesh):
    count = 1
    for axis in mesh.split(","):
        name, size = axis.split("=")
        count *= 1 if name == "zero" else int(size)
    return count


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def losses(log):
    steps = []
    with open(log) as f:
        for line in f:
            entry = json.loads(line)
            for name in ("tokens_per_second", "seconds", "memory", "memory_peak"):
                entry.pop(name)
            steps.append(entry)
    return steps


class Trainer:
    """One run of which nothing is left but its folder with checkpoints and its log."""

    def __init__(self, args, folder, mesh, accumulate, rng, options=()):
        self.args, self.folder, self.mesh, self.rng = args, folder, mesh, rng
        self.checkpoints = os.path.join(folder, "checkpoints")
        self.log = os.path.join(folder, "log.jsonl")
        self.announced = -1
        self.command = [os.path.join(args.build, "bin", "rank-program"), mesh,
                        "--data", args.data, "--steps", str(STEPS), "--accumulate", str(accumulate),
                        "--lr", "0.01", "--lr-schedule", "cosine", "--warmup", "5", "--clip", "0.5",
                        "--comm-timeout", "5", "--threads", "1", "--log", self.log, *options]
        self.processes = []

    def checkpointed(self):
        return self.command + ["--checkpoint", self.checkpoints, "--resume", "auto",
                               "--checkpoint-every", str(EVERY), "--keep", "2"]

    def start(self, env, ranks):
        command = self.checkpointed()
        port = free_port()
        self.processes = []
        for rank in range(ranks):
            own = dict(os.environ, **env)
            if ranks > 1:
                own.update(RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK=str(rank),
                           LOCAL_WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
            self.processes.append(subprocess.Popen(command, env=own, text=True, stdout=subprocess.PIPE,
                                                   stderr=subprocess.PIPE))

    def end(self):
        """Codes of all ranks, and what they said; looks at what rank 0 found at its start."""
        ends = [p.communicate(timeout=60) for p in self.processes]
        codes = [p.returncode for p in self.processes]
        out, err = ends[0]
        if "is damaged" in err or "whole" in err:
            raise Wrong(next(line for line in err.splitlines() if "is damaged" in line or "whole" in line))
        resumed = [line for line in out.splitlines() if line.startswith("resumed: ")]
        if self.announced >= 0 and "data: " in out:
            step = int(resumed[0].split("step-")[1].split(",")[0]) if resumed else -1
            if step < self.announced:
                raise Wrong(f"step {self.announced} was saved, but step {step} was resumed")
        for line in out.splitlines():
            if line.startswith("checkpoint: "):
                self.announced = max(self.announced, int(line.split("step-")[1]))
        return codes, [e for _, e in ends]

    def wait(self, seconds):
        try:
            self.processes[0].wait(seconds)
        except subprocess.TimeoutExpired:
            pass

    def interrupt(self, how, fault=""):
        """One start and its end. True: it was through before."""
        ranks = ranks_of(self.mesh) if how == "rank" else 1
        env = {}
        if how in ("call", "power", "full") or fault:
            env = {"LD_PRELOAD": os.path.join(self.args.build, "lib", "lose-power.so"),
                   "LOSE_FOLDER": self.checkpoints, "LOSE_MODE": how, "LOSE_FAULT": fault,
                   "LOSE_AT": str(self.rng.randrange(1, 400)), "LOSE_SEED": str(self.rng.randrange(1 << 30))}
            if how == "call":
                env["LOSE_MODE"] = "kill"
        dead = self.rng.randrange(ranks)
        moment = self.rng.uniform(0, self.args.within)
        self.start(env, ranks)
        if how in ("time", "rank", "term"):
            self.wait(moment)
            self.processes[dead].send_signal(signal.SIGTERM if how == "term" else signal.SIGKILL)
        codes, errors = self.end()
        if codes == [0] * ranks:
            return True
        right = {"time": [-9], "call": [-9], "power": [-9], "full": [2], "term": [3], "rank": [2]}[how]
        for rank, code in enumerate(codes):
            if how == "rank" and rank == dead:
                continue
            if how == "term" and code == -15 and moment < 0.2:
                continue  # before it listened
            if how == "full" and code == 1 and "cannot make the folder" in errors[rank]:
                continue  # full from the first call on: refused before the first step
            if code not in right and not (how == "rank" and code == 0):
                raise Wrong(f"{how}: rank {rank} ended with {code}: {errors[rank].strip()}")
            if how == "full" and "error: checkpoint of step" not in errors[rank] \
                    and "No space left on device" not in errors[rank]:
                raise Wrong(f"{how}: it said: {errors[rank].strip()}")
        return False

    def finish(self):
        self.start({}, 1)
        codes, errors = self.end()
        if codes != [0]:
            raise Wrong(f"it ended with {codes[0]}: {errors[0].strip()}")

    def compare(self, want):
        got = losses(self.log)
        if got != want:
            at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
            raise Wrong(f"its log has {len(got)} steps of {len(want)}, the first that differs is line {at + 1}: "
                        f"{got[at:at + 1]} instead of {want[at:at + 1]}")

    def compare_on(self, mesh, accumulate, want):
        """A copy goes on on another plan."""
        with tempfile.TemporaryDirectory(dir=self.args.folder) as folder:
            other = Trainer(self.args, folder, mesh, accumulate, self.rng)
            if os.path.exists(self.checkpoints):
                shutil.copytree(self.checkpoints, other.checkpoints)
                shutil.copy(self.log, other.log)
            other.finish()
            got = losses(other.log)
            if len(got) != len(want):
                raise Wrong(f"on {mesh} its log has {len(got)} steps of {len(want)}")
            for a, b in zip(got, want):
                if abs(a["loss"] - b["loss"]) > 1e-5 * abs(b["loss"]):
                    raise Wrong(f"on {mesh} the loss of step {a['step']} is {a['loss']} instead of {b['loss']}")


def uninterrupted(args, mesh, accumulate, cache={}):
    if mesh not in cache:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            t = Trainer(args, folder, mesh, accumulate, None)
            subprocess.run(t.command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            cache[mesh] = losses(t.log)
    return cache[mesh]


def chains(args, runs, plans, kinds, rng, fault=""):
    """Runs that are killed `runs` times in all; what was wrong, how often each end was done, and how
    often another plan went on."""
    wrong, done, others, number = [], {}, 0, 0
    kills = lambda: sum(n for how, n in done.items() if how not in ("full", "term"))
    while kills() < runs:
        mesh, accumulate = plans[number % len(plans)]
        options = ["--async-checkpoint"] if rng.random() < 0.4 else []
        number += 1
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            t = Trainer(args, folder, mesh, accumulate, rng, options)
            how = ""
            try:
                through = False
                for _ in range(8):
                    if through or kills() >= runs:
                        break
                    how = kinds[rng.randrange(len(kinds))]
                    through = t.interrupt(how, fault)
                    if not through:
                        done[how] = done.get(how, 0) + 1
                        if how == "rank":
                            other = rng.choice([p for p in PLANS if p[0] != mesh])
                            t.compare_on(*other, uninterrupted(args, mesh, accumulate))
                            others += 1
                if not through:
                    t.finish()
                t.compare(uninterrupted(args, mesh, accumulate))
            except Wrong as e:
                done[how] = done.get(how, 0) + 1
                wrong.append(f"run {number} ({mesh} {' '.join(options)}), {how}: {e}")
                if fault:
                    break
    return wrong, done, others


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", default="build", help="build tree")
    parser.add_argument("--runs", type=int, default=300, help="how often one rank gets SIGKILL")
    parser.add_argument("--rank-runs", type=int, default=100, help="how often one of several ranks is killed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--within", type=float, default=0.4, help="latest moment, seconds after the start")
    parser.add_argument("--faults", action="store_true", help="only the faulty trainers")
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    failed = 0
    with tempfile.TemporaryDirectory() as args.folder:
        args.data = os.path.join(args.folder, "tokens.bin")
        tokens(args.data)
        for fault, how in [("sync", "power"), ("rename", "call")]:
            wrong, done, _ = chains(args, 20, PLANS[:1], [how], random.Random(args.seed), fault)
            told = wrong[0].split(": ", 1)[1] if wrong else "NOTHING"
            print(f"without {fault}, after {sum(done.values())} kills: {told}")
            failed += not wrong
        if args.faults:
            return 1 if failed else 0
        for name, runs, plans, kinds in [
                ("one rank", args.runs, PLANS[:1], ["time", "call", "power", "full", "term"]),
                ("ranks as threads", args.rank_runs // 2, PLANS[1:], ["call", "power", "full", "term"]),
                ("ranks as processes", args.rank_runs, PLANS[1:], ["rank"])]:
            wrong, done, others = chains(args, runs, plans, kinds, random.Random(args.seed))
            for text in wrong:
                print("error: " + text, file=sys.stderr)
            failed += len(wrong)
            how = ", ".join(f"{k} {n}" for k, n in sorted(done.items()) if n)
            print(f"{name}: ended {sum(done.values())} times ({how}), {others} resumed on another plan, too; "
                  f"{len(wrong)} wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
