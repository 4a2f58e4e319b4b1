#!/usr/bin/env bash
#===-- gpu-check.sh - All that only a GPU can show, in one command --------===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===------------------------------------------------------------------------===#
# utils/gpu-check.sh [--out DIR] [--minutes M] [--models NAME…] [--speed-only] [--python FILE]
# On a machine with a GPU, with the folder that utils/gpu-pack.sh made: numerics
# against PyTorch's record, compute-sanitizer on the small programs, then Moiré's
# steps against PyTorch's on the same GPU. See gpu_check.py.
exec "${PYTHON:-python3}" "$(dirname "$0")/gpu_check.py" "$@"
