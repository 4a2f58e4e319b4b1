#!/usr/bin/env bash
# Tokens a second of two ranks with one thread each against one rank with two threads.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Usage: utils/bench-ranks.sh [--build DIR] [--model FILE.onnx] [--bind TEXT] [--steps N] [--rounds N]
#   --model FILE   (utils/demo/moe-bytes.onnx, with fresh weights)
#   --bind TEXT    its micro-batch (batch=4,seq=128)
#   --steps N      steps of a run (20), of which the first is not counted
#   --rounds N     runs of each plan, alternating (3); the median is printed
#
# All take the same micro-batches: what two ranks share is accumulated by one. The last
# column is how long rank 0 was in collectives, waiting for the other rank included.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build model=utils/demo/moe-bytes.onnx bind=batch=4,seq=128 steps=20 rounds=3
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build=${2:?--build wants a folder}; shift 2 ;;
    --model) model=${2:?--model wants a file}; shift 2 ;;
    --bind) bind=${2:?--bind wants sizes}; shift 2 ;;
    --steps) steps=${2:?--steps wants a number}; shift 2 ;;
    --rounds) rounds=${2:?--rounds wants a number}; shift 2 ;;
    -h|--help) sed -n '2,13p' "$0" | cut -c3-; exit 0 ;;
    *) echo "error: unknown argument '$1'; utils/bench-ranks.sh --help lists them" >&2; exit 1 ;;
  esac
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat /usr/lib/llvm-19/include/mlir/IR/*.h >"$work/text"

# name, mesh, micro-batches that a rank accumulates, how it is started
plans=("one-rank - 2 alone" "threads dp=2 1 alone" "tcp dp=2 1 launch" "experts ep=2 1 alone" "tensors tp=2 2 alone")
for plan in "${plans[@]}"; do
  read -r name mesh _ how <<<"$plan"
  [ "$how" = alone ] || continue
  flags=(--init --bind "$bind" --optimizer adamw -o "$work/$name")
  [ "$mesh" = - ] || flags+=(--mesh "$mesh")
  "$build/bin/moirec" "$model" "${flags[@]}" >/dev/null
done

# Steps after the first; the median rate of a run.
rate() {
  tail -n +2 "$1" | sed 's/.*"tokens_per_second": *\([0-9.]*\).*/\1/' | sort -g |
    awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'
}
for ((round = 0; round < rounds; ++round)); do
  for plan in "${plans[@]}"; do
    read -r name mesh accumulate how <<<"$plan"
    run=("$work/$name/trainer")
    [ "$how" = alone ] || run=(utils/launch.sh 2 "$work/threads/trainer" --threads 1)
    [ "$how" != alone ] || run+=(--threads 2)
    "${run[@]}" --data "$work/text" --steps "$steps" --lr 1e-3 --accumulate "$accumulate" \
      --log "$work/$name.jsonl" >"$work/$name.out" 2>/dev/null
    rate "$work/$name.jsonl" >>"$work/$name.rates"
    sed -n 's/^rank 0: \(.*\) s of \(.*\) s in collectives.*/\1 \2/p' "$work/$name.out" |
      awk '{print 100 * $1 / $2}' >>"$work/$name.shares"
  done
done

median() { sort -g "$1" | awk '{v[NR] = $1} END {if (NR) printf "%.0f", v[int((NR + 1) / 2)]}'; }
echo "$model, $bind, median of $rounds runs of $steps steps, two threads in all"
printf '%-34s %12s %16s\n' plan "tokens/s" "in collectives"
for plan in "${plans[@]}"; do
  read -r name mesh accumulate how <<<"$plan"
  label="one rank, two micro-batches"
  [ "$mesh" = - ] || label="two ranks, $mesh, $([ "$how" = alone ] && echo threads || echo TCP)"
  share=$(median "$work/$name.shares")
  printf '%-34s %12s %16s\n' "$label" "$(median "$work/$name.rates")" "${share:+$share %}"
done
