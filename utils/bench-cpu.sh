#!/usr/bin/env bash
#===-- bench-cpu.sh - Moiré against PyTorch on the same cores -------------===#
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===------------------------------------------------------------------------===#
# utils/bench-cpu.sh [--build DIR] [--python FILE] [--models-in DIR] [--batch B]
#                    [--seq T] [--rounds N] [--steps N] [--threads N] [--models NAME…]
# Step time, tokens per second and peak memory of Moiré's trainer and of PyTorch
# (eager and torch.compile), alternating in one run; see bench_cpu.py.
exec python3 "$(dirname "$0")/bench_cpu.py" "$@"
