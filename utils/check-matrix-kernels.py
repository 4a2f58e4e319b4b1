#!/usr/bin/env python3
# Inspects the compiled kernels that are meant for the tensor cores.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles runtime/cuda/*_wgmma*.cu for sm_90a and looks at each kernel: wgmma in the PTX, HGMMA in
the machine code, nothing in local memory, products not made to wait for one another.

Exit status 1 where a kernel fails, 77 where nvcc is missing. Without nvdisasm (pip install
nvidia-cuda-nvdisasm) the machine code is not looked at."""
import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FLAGS = ["-std=c++17", "-O3", "--fmad=false", "-gencode=arch=compute_90a,code=sm_90a"]


def find_tool(name):
    """Of PATH, of CUDA's folder, or of NVIDIA's Python wheels."""
    wheels = [f"{p}/nvidia/*/bin/{name}" for p in sys.path]
    found = [shutil.which(name), f"/usr/local/cuda/bin/{name}", *(m for w in wheels for m in glob.glob(w))]
    return next((f for f in found if f and os.access(f, os.X_OK)), None)


def short_name(mangled):
    """groupedKernel<256, Form 1, float> of a mangled name."""
    plain = subprocess.run(["c++filt", mangled], capture_output=True, text=True).stdout.strip()
    plain = re.sub(r"moire::rt::|\(anonymous namespace\)::|_GLOBAL__N_\w+::", "", plain)
    name = re.match(r"(?:void )?([\w:]+(?:<.*?>)?)\(", plain)
    name = name.group(1) if name else plain
    name = name.replace("(bool)1", "true").replace("(bool)0", "false").replace("(int)", "")
    return re.sub(r"\((\w+)\)", r"\1 ", name)


def compile_file(nvcc, source, folder):
    """Paths of PTX and cubin, and what the assembler said."""
    base = os.path.join(folder, os.path.splitext(os.path.basename(source))[0])
    os.mkdir(base)
    include = ["-I", f"{ROOT}/runtime", "-I", f"{ROOT}/runtime/include"]
    cubin = f"{base}/kernels.cubin"
    run = subprocess.run([nvcc, *FLAGS, *include, "-Xptxas", "-v", "--keep", "--keep-dir", base, "-cubin",
                          "-o", cubin, source], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"error: {os.path.basename(source)} does not compile:\n{run.stdout}{run.stderr}")
    (ptx,) = glob.glob(f"{base}/*.ptx")
    return ptx, cubin, run.stdout + run.stderr


def per_kernel(text, start):
    """Pieces of `text` by the name that `start` finds at their beginnings."""
    marks = list(re.finditer(start, text, re.M))
    ends = [m.start() for m in marks[1:]] + [len(text)]
    pieces = {}
    for mark, end in zip(marks, ends):
        pieces[mark.group(1)] = pieces.get(mark.group(1), "") + text[mark.end():end]
    return pieces


def inspect(nvcc, nvdisasm, source, folder):
    ptx_path, cubin, said = compile_file(nvcc, source, folder)
    ptx = per_kernel(open(ptx_path).read(), r"^(?:\.weak |\.visible )?\.entry (\w+)\(")
    report = per_kernel(said, r"Compiling entry function '(\w+)'")
    sass = {}
    if nvdisasm:
        text = subprocess.run([nvdisasm, "-c", cubin], capture_output=True, text=True, check=True).stdout
        sass = per_kernel(text, r"^\.text\.(\w+):")
    rows = []
    for kernel, code in ptx.items():
        assembler, machine = report[kernel], sass.get(kernel)
        numbers = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", assembler)
        stack, stores, loads = map(int, numbers.groups())
        registers = int(re.search(r"Used (\d+) registers", assembler).group(1))
        wgmma = len(re.findall(r"\bwgmma\.mma_async", code))
        hgmma = len(re.findall(r"\bHGMMA\b", machine)) if machine else None
        local = len(re.findall(r"\b(?:LDL|STL)\b", machine)) if machine else None
        # What the assembler says of one kernel comes before its compilation.
        notes = [n for n in re.findall(r"\((C75\d\d)\)[^\n]*'(\w+)'", said) if n[1] == kernel]
        faults = []
        if not wgmma:
            faults.append("no wgmma in the PTX")
        if hgmma == 0:
            faults.append("no HGMMA in the machine code")
        if stores or loads:
            faults.append(f"spills {stores + loads} bytes")
        if stack or local:
            faults.append(f"{stack} bytes of local memory")
        if notes:
            faults.append("products wait for one another (" + notes[0][0] + ")")
        rows.append((os.path.basename(source), short_name(kernel), wgmma, "-" if hgmma is None else hgmma,
                     registers, stores + loads, stack, ", ".join(faults) or "ok"))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-j", "--jobs", type=int, default=2, help="files compiled at once (2)")
    parser.add_argument("sources", nargs="*", help="other files than runtime/cuda/*_wgmma*.cu")
    args = parser.parse_args()
    nvcc = find_tool("nvcc")
    if not nvcc:
        print("there is no nvcc; install CUDA (13.0 was tried)")
        return 77
    nvdisasm = find_tool("nvdisasm")
    sources = args.sources or sorted(glob.glob(f"{ROOT}/runtime/cuda/*_wgmma*.cu"))
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        rows = [row for rows in pool.map(lambda s: inspect(nvcc, nvdisasm, s, folder), sources) for row in rows]
    head = ("file", "kernel", "wgmma", "HGMMA", "registers", "spilled", "stack", "")
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        left = [str(row[i]).ljust(widths[i]) for i in (0, 1)]
        print("  ".join([*left, *(str(row[i]).rjust(widths[i]) for i in range(2, 7)), row[7]]).rstrip())
    if not nvdisasm:
        print("no nvdisasm: the machine code was not looked at")
    bad = sum(row[-1] != "ok" for row in rows)
    print(f"{len(rows)} kernels, {bad} with faults")
    return 1 if bad or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
