#!/usr/bin/env bash
# Compiles a small byte-level MoE transformer and trains it on text of this machine.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Usage: utils/demo.sh [--steps N] [--out DIR]
#   --steps N   optimizer steps (300; about two minutes on two cores)
#   --out DIR   where the generated program and the log go (build/demo)
set -euo pipefail
cd "$(dirname "$0")/.."
steps=300 out=build/demo
while [ $# -gt 0 ]; do
  case "$1" in
    --steps) steps=${2:?--steps wants a number}; shift 2 ;;
    --out) out=${2:?--out wants a folder}; shift 2 ;;
    -h|--help) sed -n '2,8p' "$0" | cut -c3-; exit 0 ;;
    *) echo "error: unknown argument '$1'; utils/demo.sh --help lists them" >&2; exit 1 ;;
  esac
done

utils/setup.sh
utils/build.sh moirec

mkdir -p "$out"
text=$out/text.txt
# MLIR's own headers came with the set-up: some megabytes of English and C++.
cat /usr/lib/llvm-19/include/mlir/IR/*.h /usr/lib/llvm-19/include/mlir/Dialect/Linalg/*/*.h >"$text"
echo "demo: $(wc -c <"$text") bytes of text in $text"

build/bin/moirec utils/demo/moe-bytes.onnx --init --bind batch=8,seq=128 \
  --optimizer adamw -o "$out/program"
log=$out/train.jsonl
"$out/program/trainer" --data "$text" --steps "$steps" --lr 2e-3 --warmup 20 --lr-schedule cosine \
  --clip 1 --log "$log"

first=$(head -n 1 "$log" | sed 's/.*"loss": *\([0-9.]*\).*/\1/')
last=$(tail -n 10 "$log" | sed 's/.*"loss": *\([0-9.]*\).*/\1/' | awk '{s += $1} END {printf "%.3f", s / NR}')
echo "demo: loss $first at step 1, $last over the last ten of $steps steps (log: $log)"
awk -v a="$first" -v b="$last" 'BEGIN { exit !(b < a - 1) }' || {
  echo "error: the loss fell from $first to only $last; a drop of 1 or more was expected" >&2
  exit 1
}
