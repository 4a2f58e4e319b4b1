#!/usr/bin/env bash
# Gathers in ./gpu what utils/gpu-check.sh needs on a machine with a GPU.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Usage: utils/gpu-pack.sh [--build DIR] [--models-in DIR]
#   --build DIR       Moiré's build folder (build)
#   --models-in DIR   folder with gpt2-124m.onnx, moe-512.onnx and moe-s.onnx of
#                     utils/export_bench_models.py; without it no benchmarks
#
# Needs nvcc and the CUDA runtime (ninja -C build cuda), no GPU. The folder is ignored by git and holds
# one archive of trainers and corpus files, which gpu-check.sh unpacks: carry it with the checkout, the
# machine needs neither MLIR nor nvcc. Trainers hold the same kernels, so that many of them take little
# more room in the archive than one.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build models=
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build=${2:?--build wants a folder}; shift 2 ;;
    --models-in) models=${2:?--models-in wants a folder}; shift 2 ;;
    -h|--help) sed -n '2,16p' "$0" | cut -c3-; exit 0 ;;
    *) echo "error: unknown argument '$1'; utils/gpu-pack.sh --help lists them" >&2; exit 1 ;;
  esac
done
corpus=${MOIRE_CORPUS:-../shared/corpus}
entries=$(python3 -c 'import sys; sys.path.insert(0, "utils"); print(*__import__("importlib").import_module("check-corpus").ENTRIES)')
plan_entries="gpt2_dyn18 llama_dyn18 mixtral_batched_dyn18"
pipeline=(--entry mixtral_deep_dyn18 --pp 4 --tp 1 --zero 0 --drop-order none
  --only pp=4,dp=1,ep=2,tp=1 "accumulate 8 dualpipe" --binaries 1)

rm -rf gpu
mkdir -p gpu/corpus gpu/trainers gpu/plans gpu/pipelines gpu/bench
if [ -d "$corpus" ]; then
  for entry in $entries; do cp -rL "$corpus/$entry" gpu/corpus/; done
  chmod -R u+w gpu/corpus
  rc=0
  python3 utils/check-corpus.py --build "$build" --corpus gpu/corpus --target cuda --stage build --keep gpu/trainers || rc=$?
  [ $rc -eq 0 ] || exit $rc
else
  echo "gpu-pack: no corpus at $corpus, so none goes along; MOIRE_CORPUS names it"
fi
# Plans and a pipeline of several ranks, which share the GPU, and the runs of one CPU rank that they are
# compared with.
if [ -d "$corpus" ]; then
  for entry in $plan_entries mixtral_deep_dyn18; do [ -d "gpu/corpus/$entry" ] || cp -rL "$corpus/$entry" gpu/corpus/; done
  chmod -R u+w gpu/corpus
  # shellcheck disable=SC2086
  python3 utils/check-plans.py --build "$build" --corpus gpu/corpus --entry $plan_entries \
    --target cuda --binaries 6 --stage build --keep gpu/plans
  python3 utils/check-plans.py --build "$build" --corpus gpu/corpus "${pipeline[@]}" \
    --target cuda --stage build --keep gpu/pipelines
  rm -rf gpu/plans/*/dp=1.ep=1.tp=1.*/ gpu/pipelines/*/dp=1.ep=1.tp=1.*/
fi
for shape in gpt2-124m:batch=32,seq=1024 moe-512:batch=16,seq=1024 moe-s:batch=32,seq=1024; do
  name=${shape%%:*}
  for precision in f32 bf16; do
    [ -n "$models" ] && [ -f "$models/$name.onnx" ] || continue
    "$build/bin/moirec" "$models/$name.onnx" --init --bind "${shape#*:}" --optimizer adamw \
      --target cuda --precision $precision -o "gpu/bench/$name.$precision"
  done
done
# The kernels' tests and their benchmark.
for program in gpu-kernel-check cuda-bench; do
  found=$(find "$build" -name $program -type f -perm -u+x | head -1)
  [ -z "$found" ] || cp "$found" gpu/
done
# The sources stay behind.
find gpu/trainers gpu/plans gpu/pipelines gpu/bench -mindepth 2 -depth \( -type d -name src -o -type d -name runtime \) -exec rm -rf {} +
strip gpu/gpu-kernel-check gpu/cuda-bench gpu/trainers/*/*/trainer gpu/plans/*/*/trainer gpu/pipelines/*/*/trainer gpu/bench/*/trainer 2>/dev/null || true
unpacked=$(du -sm gpu | cut -f1)
archive=$(mktemp ./gpu-pack.XXXXXX)
trap 'rm -f "$archive"' EXIT
python3 - gpu "$archive" <<'END'
import lzma, sys, tarfile
# A dictionary that holds some trainers: what they have in common is there once.
with lzma.open(sys.argv[2], "wb", filters=[{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 27}]) as to:
    with tarfile.open(fileobj=to, mode="w|") as tar:
        tar.add(sys.argv[1], arcname=".")
END
rm -rf gpu
mkdir gpu
mv "$archive" gpu/pack.tar.xz
echo "gpu-pack: gpu/pack.tar.xz has $(du -m gpu/pack.tar.xz | cut -f1) MB, of $unpacked MB (at most 64 should travel)"
