#!/usr/bin/env python3
#===-- gpu_check.py - All that only a GPU can show -*- python -*----------===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Runs the programs of ./gpu/pack.tar.xz (made by utils/gpu-pack.sh) on this machine's GPU.

0. Kernels: each against a plain double-precision loop; their rates at the end.
1. Numerics: six SGD and AdamW losses and all gradients of each corpus entry
   against PyTorch's record.
   Then several ranks on the one GPU, through the host, against one CPU rank.
2. compute-sanitizer (memcheck, racecheck) on the smallest programs.
3. Speed: the benchmark models' steps, and PyTorch's (eager, compile,
   max-autotune) on the same GPU in the same run, as a ratio.

Prints one table and writes gpu-check.json. Exit 77 without a GPU.
"""
import argparse
import json
import lzma
import os
import random
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
VOCAB = {"gpt2-124m": 50257, "moe-512": 32000, "moe-s": 50304}
SHAPE = {"gpt2-124m": (32, 1024), "moe-512": (16, 1024), "moe-s": (32, 1024)}
WARM_UP, STEPS = 4, 12
PLAN_ENTRIES = ["gpt2_dyn18", "llama_dyn18", "mixtral_batched_dyn18"]  # of gpu-pack.sh
SMALLEST = ["llama_dyn23", "mixtral_batched_dyn18"]
SKIPPED = 77


def output(command, limit, **kwargs):
    """(exit code, stdout + stderr); 124 where the time is up."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=max(1, limit), **kwargs)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        return 124, (late.stdout or b"").decode(errors="replace")


class Run:
    """The clock and the results."""

    def __init__(self, args):
        self.args, self.begin, self.rows, self.data = args, time.time(), [], {}

    def left(self):
        return self.args.minutes * 60 - (time.time() - self.begin)

    def row(self, what, result, figure=""):
        self.rows.append((what, result, figure))
        print(f"{what:44s} {result:8s} {figure}", flush=True)

    def corpus(self):
        trainers, corpus = os.path.join(ROOT, "gpu/trainers"), os.path.join(ROOT, "gpu/corpus")
        if not os.path.isdir(corpus) or not os.listdir(corpus):
            return self.row("corpus", "skipped", "gpu/corpus is empty")
        code, text = output([sys.executable, os.path.join(HERE, "check-corpus.py"), "--corpus",
                             corpus, "--target", "cuda", "--stage", "run", "--keep", trainers,
                             "--jobs", "4"], self.left())
        for line in text.splitlines():
            if " ok " in line or " FAILED " in line:
                name, verdict = line.split()[:2]
                self.row("corpus " + name, verdict, " ".join(line.split()[4:])[:90])
            elif line.startswith("  "):
                print(line)
        self.data["corpus"] = {"exit": code, "text": text}

    def plans(self):
        """Several ranks of one process that share the GPU."""
        self.ranks("plans", ["--entry", *PLAN_ENTRIES, "--binaries", "6"])
        # Eight ranks under DualPipe.
        self.ranks("pipelines", ["--entry", "mixtral_deep_dyn18", "--pp", "4", "--tp", "1",
                                 "--zero", "0", "--drop-order", "none", "--only",
                                 "pp=4,dp=1,ep=2,tp=1", "accumulate 8 dualpipe",
                                 "--binaries", "1"])

    def ranks(self, what, chosen):
        """The trainers in gpu/`what`, against one rank of the CPU target."""
        folder = os.path.join(ROOT, "gpu", what)
        if not os.path.isdir(folder):
            return self.row(what, "skipped", "no gpu/" + what)
        code, text = output([sys.executable, os.path.join(HERE, "check-plans.py"), "--corpus",
                             os.path.join(ROOT, "gpu/corpus"), *chosen, "--target", "cuda",
                             "--stage", "run", "--keep", folder], min(180, self.left()))
        for line in text.splitlines():
            if " ok " in line or " FAILED " in line:
                name, verdict = line.split()[:2]
                self.row(f"{what} {name}", verdict, " ".join(line.split()[4:])[:90])
            elif line.startswith("  "):
                print(line)
        if code not in (0, 1):
            self.row(what, "late" if code == 124 else "FAILED", text.strip()[-90:])
        self.data[what] = {"exit": code, "text": text}

    def sanitizer(self):
        tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
        for entry in SMALLEST:
            program = os.path.join(ROOT, "gpu/trainers", entry, "sgd.0/trainer")
            if not os.path.exists(tool) or not os.path.exists(program):
                self.row(f"sanitizer {entry}", "skipped", "no compute-sanitizer or no trainer")
                continue
            data = os.path.join(ROOT, "gpu/corpus", entry)
            for check in ["memcheck", "racecheck"]:
                code, text = output(
                    [tool, "--tool", check, "--error-exitcode", "9", program, "--steps", "2",
                     "--data", data + "/test_data_set_0", "--weights", data + "/model.onnx"],
                    min(90, self.left()))
                last = [line for line in text.splitlines() if "SUMMARY" in line or "error" in line]
                verdict = {0: "ok", 124: "late"}.get(code, "FAILED")
                self.row(f"{check} {entry}", verdict, last[-1][:80] if last else "")

    def kernels(self):
        """Each kernel against a plain double loop, a suite at a time: after an illegal access
        nothing more can be said of a process."""
        program = os.path.join(ROOT, "gpu/gpu-kernel-check")
        if not os.path.exists(program):
            return self.row("kernels", "skipped", "no gpu/gpu-kernel-check")
        _, names = output([program, "--gtest_list_tests"], 60)
        for suite in re.findall(r"^(\w+)\.$", names, re.M):
            code, text = output([program, "--gtest_brief=1", f"--gtest_filter={suite}.*"],
                                min(60, self.left()))
            wrong = [line for line in text.splitlines() if "Failure" in line or "FAILED" in line]
            verdict = {0: "ok", 124: "late"}.get(code, "FAILED")
            if verdict == "ok" and "SKIPPED" in text:
                verdict = "skipped"
            self.row("kernels " + suite, verdict, wrong[0][:90] if wrong else "")

    def rates(self, folder):
        """Worst first: where time is to be had."""
        program, path = os.path.join(ROOT, "gpu/cuda-bench"), os.path.join(folder, "rates.json")
        if not os.path.exists(program):
            return self.row("rates", "skipped", "no gpu/cuda-bench")
        code, text = output([program, "--json", path], min(120, self.left()))
        if code:
            return self.row("rates", "FAILED", text.strip().splitlines()[-1][:90])
        self.data["rates"] = json.load(open(path))
        for r in sorted(self.data["rates"], key=lambda r: r["share"]):
            self.row(r["kernel"], "", f"{r['us']:.0f} us, {r['rate']:.0f} {r['unit']}, "
                     f"{100 * r['share']:.0f} % of one H100's")

    def tokens(self, folder, name):
        """Random tokens in llm.c's format."""
        batch, seq = SHAPE[name]
        count = batch * seq * 6 + 1
        rng = random.Random(3)
        path = os.path.join(folder, name + ".bin")
        with open(path, "wb") as file:
            file.write(struct.pack("<256i", *([20240520, 1, count] + [0] * 253)))
            file.write(struct.pack(f"<{count}H", *(rng.randrange(VOCAB[name]) for _ in range(count))))
        return path

    def speed(self, folder):
        for name in self.args.models:
            batch, seq = SHAPE[name]
            rates = {}
            for precision in ["f32", "bf16"]:
                program = os.path.join(ROOT, "gpu/bench", f"{name}.{precision}", "trainer")
                if not os.path.exists(program):
                    self.row(f"{name} {precision}", "skipped", "no trainer in gpu/bench")
                    continue
                log = os.path.join(folder, f"{name}.{precision}.jsonl")
                start = time.time()
                code, text = output([program, "--data", self.tokens(folder, name), "--steps",
                                     str(WARM_UP + STEPS), "--lr", "1e-4", "--log", log],
                                    min(120, self.left()))
                self.record(rates, f"moire {precision}", name, code, text, log, time.time() - start)
            for mode in ["eager", "compile", "max-autotune"]:
                command = [self.args.python, os.path.join(HERE, "bench_torch.py"), name, "--device",
                           "cuda", "--precision", "bf16", "--mode", mode, "--batch", str(batch),
                           "--seq", str(seq), "--steps", str(WARM_UP + STEPS)]
                log = os.path.join(folder, f"{name}.{mode}.jsonl")
                start = time.time()
                code, text = output(command, min(150, self.left()))
                with open(log, "w") as file:
                    file.writelines(l + "\n" for l in text.splitlines() if l.startswith("{"))
                self.record(rates, f"pytorch {mode} bf16", name, code, text, log, time.time() - start)
            rivals = [rate for who, rate in rates.items() if who.startswith("pytorch")]
            if rivals and "moire bf16" in rates:
                ratio = rates["moire bf16"] / max(rivals)
                self.row(f"{name} ratio to the best PyTorch", f"{ratio:.2f}")
                self.data[f"{name} ratio"] = ratio

    def record(self, rates, who, name, code, text, log, seconds):
        records = []
        if os.path.exists(log):
            with open(log) as file:
                records = [json.loads(line) for line in file]
        if code != 0 or len(records) <= WARM_UP:
            tail = [line for line in text.splitlines() if line.strip()]
            return self.row(f"{name} {who}", "late" if code == 124 else "FAILED",
                            tail[-1][:90] if tail else "")
        rate = statistics.median(r["tokens_per_second"] for r in records[WARM_UP:])
        batch, seq = SHAPE[name]
        rates[who] = rate
        self.data[f"{name} {who}"] = {"tokens_per_second": rate, "records": records}
        self.row(f"{name} {who}", "ok", f"{batch * seq / rate * 1e3:.2f} ms a step, "
                 f"{rate:.0f} tokens/s, {seconds:.0f} s in all")


def unpack():
    """The archive's files into ./gpu, unless they are there from it already."""
    folder = os.path.join(ROOT, "gpu")
    archive, mark = os.path.join(folder, "pack.tar.xz"), os.path.join(folder, "unpacked")
    if not os.path.exists(archive):
        sys.exit("error: there is no gpu/pack.tar.xz; make it with utils/gpu-pack.sh")
    stamp = str(os.stat(archive).st_mtime_ns)
    if os.path.exists(mark) and open(mark).read() == stamp:
        return
    for entry in os.scandir(folder):  # of an older archive
        if entry.is_dir():
            shutil.rmtree(entry.path)
        elif entry.path != archive:
            os.remove(entry.path)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder)
    except (tarfile.TarError, EOFError, OSError, lzma.LZMAError) as error:
        sys.exit(f"error: gpu/pack.tar.xz cannot be unpacked: {error}; make it again with utils/gpu-pack.sh")
    with open(mark, "w") as file:
        file.write(stamp)


def main():
    parser = argparse.ArgumentParser(prog="gpu-check.sh", description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="gpu-check", help="folder for gpu-check.json")
    parser.add_argument("--minutes", type=float, default=9, help="all of it takes at most this")
    parser.add_argument("--models", nargs="+", choices=list(VOCAB), default=list(VOCAB),
                        help="of those in gpu/bench, whose steps are timed")
    parser.add_argument("--speed-only", action="store_true",
                        help="leaves out what the numbers are compared with")
    parser.add_argument("--python", default=sys.executable, help="Python with PyTorch")
    args = parser.parse_args()
    if not shutil.which("nvidia-smi"):
        print("SKIPPED gpu-check: there is no nvidia-smi, so no GPU")
        sys.exit(SKIPPED)
    unpack()
    run = Run(args)
    _, name = output(["nvidia-smi", "--query-gpu=name,memory.total,driver_version",
                      "--format=csv,noheader"], 30)
    run.row("GPU", "", name.strip())
    run.data["gpu"] = name.strip()
    if not args.speed_only:
        run.kernels()
        run.corpus()
        run.plans()
        run.sanitizer()
    with tempfile.TemporaryDirectory(prefix="moire-gpu-") as folder:
        run.rates(folder)
        run.speed(folder)
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "gpu-check.json"), "w") as file:
        json.dump({"rows": run.rows, "data": run.data}, file, indent=1)
    failed = sum(result == "FAILED" for _, result, _ in run.rows)
    print(f"{len(run.rows)} rows, {failed} failed, {time.time() - run.begin:.0f} s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
