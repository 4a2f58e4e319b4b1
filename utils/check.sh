#!/usr/bin/env bash
# Builds Moiré and passes every test: lit, unit, corpus, CUDA without a GPU.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Usage: utils/check.sh
# Sets up the machine first (utils/setup.sh). Tests that need the corpus of real
# exports say SKIPPED when neither ../shared/corpus nor $MOIRE_CORPUS is there, those
# that need nvcc when it is missing.
set -uo pipefail
cd "$(dirname "$0")/.."
start=$SECONDS
passed=0 failed=0 skipped=0

# step NAME COMMAND…: runs one part, counts it, prints its time. Exit 77: skipped.
step() {
  local name=$1 before=$SECONDS rc=0
  shift
  echo "==> $name"
  "$@" || rc=$?
  case $rc in
    0) passed=$((passed + 1)); echo "<== $name: passed in $((SECONDS - before)) s" ;;
    77) skipped=$((skipped + 1)); echo "<== $name: SKIPPED" ;;
    *) failed=$((failed + 1)); echo "<== $name: FAILED (exit $rc) after $((SECONDS - before)) s" ;;
  esac
  return $rc
}

# halves BINARY…: tests that compute on one core, in two halves side by side.
halves() {
  local rc=0 half binary pids=()
  for half in 0 1; do
    (
      export GTEST_TOTAL_SHARDS=2 GTEST_SHARD_INDEX=$half
      for binary in "$@"; do "$binary" --gtest_brief=1 || rc=1; done
      exit $rc
    ) &
    pids+=($!)
  done
  for half in "${pids[@]}"; do wait "$half" || rc=1; done
  return $rc
}

unit_tests() {
  local rc=0 binary
  halves build/bin/scheduling-tests build/bin/planner-tests || rc=1
  for binary in build/bin/*-tests; do
    case $binary in
      */cuda-model-tests) ;; # by itself, below
      */scheduling-tests | */planner-tests) ;;
      *) "$binary" --gtest_brief=1 || rc=1 ;;
    esac
  done
  return $rc
}

cuda_runtime() { ninja -C build cuda && halves build/bin/cuda-model-tests; }

compile_for_cuda() {
  if ! command -v nvcc >/dev/null && [ ! -x /usr/local/cuda/bin/nvcc ]; then
    echo "there is no nvcc; install CUDA (13.0 was tried)"
    return 77
  fi
  local out rc=0
  out=$(mktemp -d)
  python3 utils/check-corpus.py --build build --target cuda --stage build --no-batch16 --keep "$out" \
    --entry gpt2_dyn18 llama_dyn23 llama_loss_dyn18 bert_dyn18 mixtral_contrib_moe_dyn20 \
    qwen3moe_batched_dyn23 mixtral_deep_dyn18 || rc=$?
  python3 utils/check-plans.py --build build --target cuda --stage compile --binaries 1 --seed 3 \
    --entry llama_dyn18 mixtral_batched_dyn18 --tp 1 2 --keep "$out/plans" || rc=$?
  python3 utils/check-plans.py --build build --target cuda --stage compile --binaries 1 \
    --entry mixtral_deep_dyn18 --pp 4 --tp 1 --zero 0 --drop-order none \
    --only pp=4,dp=1,ep=2,tp=1 "accumulate 8 dualpipe" --keep "$out/plans" || rc=$?
  rm -rf "$out"
  return $rc
}

step "set-up" utils/setup.sh || exit 1
step "build" utils/build.sh || exit 1
step "lit" ninja -C build check-lit
step "unit tests: compiled" ninja -C build unit-tests
step "unit tests" unit_tests
step "ranks: one of four killed at a random moment" python3 utils/check-killed-ranks.py --build build --runs 20
step "checkpoints: trainers ended at random moments, and faulty ones" python3 utils/check-resume.py \
  --build build --runs 25 --rank-runs 8
step "plans: meshes of dp, ep and tp against one rank and PyTorch, by moire-run" python3 utils/check-plans.py \
  --build build --sample 20 --jobs 2
step "plans: pipelines under every schedule, by moire-run" python3 utils/check-plans.py --build build \
  --pp 2 4 8 --sample 8 --jobs 2
step "plans: compiled trainers" python3 utils/check-plans.py --build build --binaries 10 \
  --jobs 2
step "plans: compiled pipelines" python3 utils/check-plans.py --build build --pp 2 4 --binaries 5 --jobs 2 \
  --seed 5
step "plans: a compiled DualPipe's gradients to the last bit" python3 utils/check-plans.py --build build \
  --pp 2 --binaries 1 --exact --steps 2 --entry llama_dyn18 --only pp=2,dp=1,ep=1,tp=1 "accumulate 4 dualpipe"
step "ranks: one token, one expert, odd sizes" python3 utils/check-edge-cases.py --build build
step "ranks: resident memory is what was planned" python3 utils/check-memory.py --build build
step "plans: seeded defects are told" python3 utils/check-plans.py --build build --defects
step "weights: out of a plan, and in again" python3 utils/check-weights.py --build build --sample
step "routers: losses, capacity and biases under plans, against PyTorch" python3 utils/check-routers.py \
  --build build --sample 3
step "routers: compiled trainers" python3 utils/check-routers.py --build build --binaries 2
step "routers: micro-batches in parts" python3 utils/check-routers.py --build build --slots
step "routers: a seeded defect is told" python3 utils/check-routers.py --build build --defects
step "a generated folder builds alone" utils/check-standalone.sh build
step "corpus: trainers, and the interpreter after each phase, against PyTorch" python3 utils/check-corpus.py --build build --phase all
step "corpus: bf16, trainers and interpreter, against PyTorch's autocast" python3 utils/check-corpus.py \
  --build build --precision bf16 --phase trainer kernels
step "CUDA runtime: compiled, and its kernels in the model of a GPU" cuda_runtime
step "corpus: CUDA programs, executed by the model of a GPU, against PyTorch" python3 utils/check-corpus.py \
  --build build --target cuda-model --no-batch16 --entry llama_dyn23 bert_dyn18 mixtral_contrib_moe_dyn20
step "plans: a CUDA program of many ranks, executed by the model of a GPU, against one CPU rank" \
  python3 utils/check-plans.py --build build --binaries 1 --target cuda-model --steps 2 \
  --entry mixtral_batched_dyn18 --tp 1 2 --zero 2 3 --seed 1
step "plans: a CUDA pipeline, executed by the model of a GPU, against one CPU rank" \
  python3 utils/check-plans.py --build build --binaries 1 --target cuda-model --steps 2 \
  --entry mixtral_batched_dyn18 --pp 2 --tp 1 --zero 0 --drop-order none \
  --only pp=2,dp=1,ep=2,tp=1 "accumulate 4 dualpipe"
step "plans: a CUDA pipeline without collectives, a whole step as one graph" \
  python3 utils/check-plans.py --build build --binaries 1 --target cuda-model --steps 2 \
  --entry mixtral_batched_dyn18 --pp 2 --tp 1 --zero 0 --drop-order none \
  --only pp=2,dp=1,ep=1,tp=1 "accumulate 4 dualpipe"
step "routers: micro-batches of a CUDA program in parts" python3 utils/check-routers.py --build build \
  --slots --target cuda-model --steps 2
step "corpus: CUDA programs compile without a warning" compile_for_cuda
step "matrix kernels: tensor cores used, nothing in local memory" python3 utils/check-matrix-kernels.py
step "demo" utils/demo.sh --steps 120

echo "check: $((SECONDS - start)) s"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
