#!/usr/bin/env python3
# Kills one of several ranks over TCP at random moments: all others must end in time.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Each run starts RANKS processes of a trainer, sends SIGKILL to one of them at a random
moment from its start on, and looks at the others: each must have ended within the time
limit, with exit code 2 and one sentence that names the rank that was killed. Where a rank
dies before it met the others, they say who did not come.

The trainer is the one of the unit tests; --trainer and what follows it name another one,
which must not end by itself.
"""
import argparse
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time


def tokens(path):
    """An llm.c token file of small tokens."""
    import array
    ids = array.array("H", [i * i % 12 for i in range(20000)])
    header = array.array("i", [20240520, 1, len(ids)] + [0] * 253)
    with open(path, "wb") as f:
        f.write(header.tobytes() + ids.tobytes())


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(args, command, rng, folder):
    """One run; what is wrong with it, else None, and the seconds that the last rank took."""
    port = free_port()
    processes = []
    for rank in range(args.ranks):
        env = dict(os.environ, RANK=str(rank), WORLD_SIZE=str(args.ranks), LOCAL_RANK=str(rank),
                   LOCAL_WORLD_SIZE=str(args.ranks), MASTER_ADDR="127.0.0.1",
                   MASTER_PORT=str(port))
        err = open(os.path.join(folder, f"{rank}.err"), "w+")
        processes.append((subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=err), err))
    dead = rng.randrange(args.ranks)
    moment = rng.uniform(0, args.within)
    time.sleep(moment)
    processes[dead][0].kill()
    begin = time.monotonic()
    wrong = None
    for rank, (process, err) in enumerate(processes):
        try:
            code = process.wait(max(0.0, begin + args.limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = "none: it still ran"
        err.seek(0)
        text = err.read()
        err.close()
        if rank == dead:
            continue
        errors = re.findall(r"error: .*", text)
        # At the rendezvous the others hear it from rank 0, or miss rank 0 itself.
        told = len(errors) == 1 and (
            f"rank {dead} of {args.ranks} is lost in " in errors[0] or
            f"rank 0 of {args.ranks} is lost in the rendezvous" in errors[0] or
            re.search(rf"ranks came to .*, not rank (\d+, )*{dead}\b", errors[0]))
        if code != 2 or not told:
            wrong = wrong or f"rank {rank} ended with {code} and said: {text.strip() or 'nothing'}"
    took = time.monotonic() - begin
    return wrong and f"rank {dead} killed after {moment:.3f} s: {wrong}", took


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", default="build", help="build tree")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--within", type=float, default=1.0, help="latest moment, seconds after the start")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds in which all must end")
    parser.add_argument("--trainer", nargs=argparse.REMAINDER, help="the command of a rank")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    slowest = 0.0
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "tokens.bin")
        tokens(data)
        command = args.trainer or [os.path.join(args.build, "bin", "rank-program"), f"dp={args.ranks}",
                                   "--data", data, "--steps", "100000000"]
        for number in range(args.runs):
            wrong, took = run(args, command, rng, folder)
            slowest = max(slowest, took)
            if wrong:
                failed += 1
                print(f"run {number}: {wrong}", file=sys.stderr)
    print(f"{args.runs - failed} of {args.runs} runs ended as they should; the slowest took {slowest:.2f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
