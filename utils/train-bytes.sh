#!/usr/bin/env bash
# Trains a byte-level MoE of 10.4 million parameters on text of this machine and
# measures it on text that it has not seen.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Usage: utils/train-bytes.sh [--steps N] [--out DIR]
#   --steps N   optimizer steps of 1024 bytes (1000)
#   --out DIR   where text, program, log, weights and picture go (build/train-bytes)
set -euo pipefail
cd "$(dirname "$0")/.."
steps=1000 out=build/train-bytes
while [ $# -gt 0 ]; do
  case "$1" in
    --steps) steps=${2:?--steps wants a number}; shift 2 ;;
    --out) out=${2:?--out wants a folder}; shift 2 ;;
    -h|--help) sed -n '2,9p' "$0" | cut -c3-; exit 0 ;;
    *) echo "error: unknown argument '$1'; utils/train-bytes.sh --help lists them" >&2; exit 1 ;;
  esac
done

utils/setup.sh
utils/build.sh moirec

# 1. The text: MLIR's headers, which came with the set-up; every twentieth file is held out.
mkdir -p "$out"
find -L /usr/lib/llvm-19/include/mlir -name '*.h' | LC_ALL=C sort >"$out/files"
awk 'NR % 20' "$out/files" | xargs cat >"$out/train.txt"
awk 'NR % 20 == 0' "$out/files" | xargs cat >"$out/held.txt"
echo "train-bytes: $(wc -c <"$out/train.txt") bytes to train on, $(wc -c <"$out/held.txt") held out"
counted=$(python3 utils/byte-entropy.py "$out/train.txt" "$out/held.txt")
echo "train-bytes: loss on the held-out text by $counted"

# 2. Train; the curve is measured on a part of the held-out text, the end on all of it.
build/bin/moirec utils/demo/moe-bytes-10m.onnx --init --bind batch=8,seq=128 \
  --optimizer adamw -o "$out/program"
log=$out/train.jsonl weights=$out/moe-bytes-10m.safetensors
"$out/program/trainer" --data "$out/train.txt" --eval "$out/held.txt" --eval-every 100 --eval-rows 256 \
  --steps "$steps" --lr 1.5e-3 --warmup 50 --lr-schedule cosine --clip 1 --log "$log" \
  --export-safetensors "$weights"
"$out/program/trainer" --weights "$weights" --eval "$out/held.txt" --eval-only --log "$out/eval.jsonl"

# 3. Look.
python3 utils/plot-log.py "$log" --field loss,eval_loss --smooth 10 -o "$out/loss.svg"
"$out/program/trainer" --weights "$weights" --sample '/// Returns true if ' --tokens 200
last=$(sed -n 's/.*"eval_loss": *\([0-9.]*\).*/\1/p' "$out/eval.jsonl")
echo "train-bytes: loss $last on the held-out text, by $counted (curve: $out/loss.svg)"
awk -v loss="$last" -v unigram="${counted%% *}" 'BEGIN { exit !(loss < unigram - 0.5) }' || {
  echo "error: the held-out loss $last is not well below $counted; train longer than $steps steps" >&2
  exit 1
}
