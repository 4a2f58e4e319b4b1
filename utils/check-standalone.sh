#!/usr/bin/env bash
# Builds a generated folder elsewhere, with make and with CMake, without Moiré.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Usage: utils/check-standalone.sh [BUILD]
#   BUILD   Moiré's build folder (build); its moirec writes the folder to copy
#
# The trainers that come out must give the losses of the closed form, as the one
# does that moirec compiled. The runtime is compiled twice, by make without
# optimization, which takes a third of the time.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${1:-build}")
inputs=$PWD/test/Target/Inputs
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

protoc --encode=onnx.ModelProto -I lib/Frontend onnx.proto <"$inputs/bigram.textproto" >"$work/bigram.onnx"
"$build/bin/moirec" "$work/bigram.onnx" --bind batch=2,seq=5 --optimizer sgd --source-only -o "$work/out"
python3 "$inputs/bigram_tokens.py" "$work/tokens.bin"

# check NAME TRAINER: three steps, compared with the closed form.
check() {
  "$2" --data "$work/tokens.bin" --steps 3 --lr 0.5 --log "$work/$1.jsonl" >/dev/null
  echo "$1: $(python3 "$inputs/check_bigram.py" "$work/$1.jsonl" 0.5)"
}

cp -r "$work/out" "$work/with-make"
make -C "$work/with-make" -j2 INCLUDE="-Iruntime/include -Iruntime/lib -O0" >"$work/make.log" 2>&1 || { tail -n 20 "$work/make.log" >&2; exit 1; }
check make "$work/with-make/trainer"
rm -rf "$work/with-make"

cp -r "$work/out" "$work/with-cmake"
{ cmake -S "$work/with-cmake" -B "$work/build" && cmake --build "$work/build" -j2; } >"$work/cmake.log" 2>&1 ||
  { tail -n 20 "$work/cmake.log" >&2; exit 1; }
check cmake "$work/build/trainer"
