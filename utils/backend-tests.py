#!/usr/bin/env python3
"""Runs ONNX's own backend tests of single ops through Moiré's model phase.

    backend-tests.py [--data DIR] [--bin DIR] [--update] [FILTER...]

Each test is a graph of one op (or an op's function body), its inputs and its
outputs. A test passes where the graph is imported, converted and executed by
moire-run and all outputs agree (rtol 1e-3). What is not expected to pass is
listed, by reason, in test/Conversion/Inputs/backend-expected.txt; a difference
to that list in either direction is an error. --update writes the list anew.

The data is Debian's package libonnx-testdata (any folder with data/node works):
    apt-get install libonnx-testdata      # or: apt-get download and dpkg -x
"""
import argparse
import collections
import concurrent.futures
import os
import re
import shutil
import struct
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
EXPECTED = os.path.join(ROOT, "test/Conversion/Inputs/backend-expected.txt")
DATA = "/usr/share/libonnx-testdata/data"


# --- TensorProto, as far as small integer tensors need it -------------------

def fields(data):
    """(number, value) of each field: an int or bytes."""
    def varint(at):
        value = shift = 0
        while True:
            byte = data[at]
            value |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                return value, at
    at = 0
    while at < len(data):
        key, at = varint(at)
        kind = key & 7
        if kind == 0:
            value, at = varint(at)
        elif kind == 2:
            size, at = varint(at)
            value, at = data[at:at + size], at + size
        else:
            size = 8 if kind == 1 else 4
            value, at = data[at:at + size], at + size
        yield key >> 3, value


def small_tensor(path):
    """(shape, values) of a tensor of rank 0, or of integers of rank 1; else None."""
    dims, kind, values = [], 0, []
    with open(path, "rb") as f:
        data = f.read()
    signed = lambda v: v - (1 << 64) if v >> 63 else v
    for number, value in fields(data):
        if number == 1:  # dims, packed or not
            dims += [value] if isinstance(value, int) else [v for v in value]
        elif number == 2:
            kind = value
        elif number in (5, 7):  # int32_data, int64_data
            if isinstance(value, int):
                values.append(signed(value))
            else:
                values += [signed(v) for v in unpack_varints(value)]
        elif number == 9:  # raw_data
            code = {1: "f", 6: "i", 7: "q", 9: "?", 11: "d"}.get(kind)
            if code:
                values = [v[0] for v in struct.iter_unpack("<" + code, value)]
    integer = kind in (6, 7)
    return (dims, values) if (values or integer) and len(dims) <= integer else None


def unpack_varints(data):
    value = shift = 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield value
            value = shift = 0


# --- One test ----------------------------------------------------------------

def bake_inputs(text, folder):
    """Makes constants of the inputs of rank 0, and of integers of rank 1.

    The tests give shapes, axes and sizes as inputs of the graph, which a
    compiler to static shapes cannot have.
    """
    match = re.search(r"func\.func @main\((.*)\).*\{\n", text)
    if not match:
        return text
    names = re.findall(r"(%\w+): tensor<(?:f32|f64|i1|(?:\d+x)?i(?:32|64))>", match.group(1))
    order = re.findall(r"(%\w+): ", match.group(1))
    head, body = text[:match.end()], text[match.end():]
    constants = ""
    for name in names:
        path = os.path.join(folder, "input_%d.pb" % order.index(name))
        tensor = small_tensor(path) if os.path.exists(path) else None
        if not tensor:
            continue
        dims, values = tensor
        width = re.search(re.escape(name) + r": tensor<(?:\d+x)?(\w+)>", match.group(1)).group(1)
        kind = "tensor<%s%s>" % ("".join("%dx" % d for d in dims), width)
        words = [str(v).lower() for v in values]
        literal = "[%s]" % ", ".join(words) if dims else words[0]
        if dims == [0]:
            literal = ""
        constants += '    %%baked%s = onnx.initializer "%s" {value = dense<%s> : %s} : %s\n' % (
            name[1:], name[1:], literal, kind, kind)
        body = re.sub(re.escape(name) + r"\b", "%baked" + name[1:], body)
    return head + constants + body


def first_error(text):
    """The first error's sentence without its place."""
    for line in text.splitlines():
        if "error: " in line:
            line = line.split("error: ", 1)[1]
            line = re.sub(r"^loc\([^)]*\): ", "", line)
            line = re.sub(r"^'[^']*model\.onnx': ", "", line)
            line = re.sub(r"'/[^']*/([^/']*)'", r"'\1'", line)
            return re.sub(r" \(\d+ nodes?.*$", "", line)
    return text.strip()[-200:]


def run_test(binaries, folder):
    """Empty where the test passes, else the reason."""
    data = os.path.join(folder, "test_data_set_0")
    tool = lambda name: os.path.join(binaries, name)
    run = lambda args, text=None: subprocess.run(args, input=text, capture_output=True, text=True)
    imported = run([tool("moire-translate"), "--import-onnx", os.path.join(folder, "model.onnx")])
    if imported.returncode:
        return "import: " + first_error(imported.stderr)
    texts = [imported.stdout, bake_inputs(imported.stdout, data)]
    for text in texts if texts[0] != texts[1] else texts[:1]:
        model = run([tool("moire-opt"), "--onnx-to-model"], text)
        if model.returncode == 0:
            break
    if model.returncode < 0:
        return "model: crash %d" % model.returncode
    if model.returncode:
        return "model: " + first_error(model.stderr)
    outputs = [f for f in os.listdir(data) if f.startswith("output_")]
    for name in sorted(outputs):
        index = name[len("output_"):-len(".pb")]
        expect = "%s:%s" % (os.path.join(data, name), index)
        got = run([tool("moire-run"), "-", "--data", data, "--expect", expect, "--rtol", "1e-3",
                   "--atol", "1e-6"], model.stdout)
        if got.returncode:
            return "run: " + first_error(got.stderr)
    return ""


# --- All tests ---------------------------------------------------------------

def read_expected():
    """test -> reason"""
    expected, reason = {}, ""
    if not os.path.exists(EXPECTED):
        return expected
    with open(EXPECTED) as f:
        for line in f:
            line = line.rstrip("\n")
            if line.startswith("  "):
                for test in line.split():
                    expected[test] = reason
            elif line and not line.startswith("#"):
                reason = line
    return expected


def write_expected(failed):
    by_reason = collections.defaultdict(list)
    for test, reason in failed.items():
        by_reason[reason].append(test)
    os.makedirs(os.path.dirname(EXPECTED), exist_ok=True)
    with open(EXPECTED, "w") as f:
        f.write("# Backend tests that do not pass, by reason. Written by backend-tests.py --update.\n")
        for reason in sorted(by_reason):
            f.write("\n%s\n" % reason)
            for test in sorted(by_reason[reason]):
                f.write("  %s\n" % test)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("MOIRE_ONNX_TESTDATA", DATA))
    parser.add_argument("--bin", help="folder of Moiré's tools (default: the PATH's, else build/bin)")
    parser.add_argument("--update", action="store_true", help="write the list of failures anew")
    parser.add_argument("--verbose", action="store_true", help="print each failure's reason")
    parser.add_argument("filter", nargs="*", help="run only tests whose names contain one of these")
    args = parser.parse_args()
    found = shutil.which("moire-opt")
    binaries = args.bin or (os.path.dirname(found) if found else os.path.join(ROOT, "build/bin"))
    nodes = os.path.join(args.data, "node")
    if not os.path.isdir(nodes):
        print("no backend tests in '%s'; install libonnx-testdata or give --data" % nodes)
        return 1
    tests = sorted(t for t in os.listdir(nodes)
                   if not args.filter or any(f in t for f in args.filter))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        reasons = list(pool.map(lambda t: run_test(binaries, os.path.join(nodes, t)), tests))
    failed = {t: r for t, r in zip(tests, reasons) if r}
    print("%d of %d backend tests pass" % (len(tests) - len(failed), len(tests)))
    if args.update:
        write_expected(failed)
        return 0
    expected = {t: r for t, r in read_expected().items() if t in set(tests)}
    for test in sorted(failed):
        if args.verbose or test not in expected:
            print("FAIL: %s: %s" % (test, failed[test]))
    for test in sorted(set(expected) - set(failed)):
        print("PASS, but expected to fail: %s (%s)" % (test, expected[test]))
    return int(set(expected) != set(failed))


if __name__ == "__main__":
    sys.exit(main())
