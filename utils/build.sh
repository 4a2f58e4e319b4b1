#!/usr/bin/env bash
# Configures and builds Moiré into ./build, binaries in build/bin.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Usage: utils/build.sh [ninja targets]
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -f build/build.ninja ]; then
  # clang and lld build MLIR code in half the time of g++; trainers and their
  # runtime are compiled with g++ all the same.
  compiler=()
  if [ -z "${CXX:-}" ] && command -v clang++-19 ld.lld-19 >/dev/null; then
    compiler=(-DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19 -DLLVM_USE_LINKER=lld)
  fi
  cmake -G Ninja -B build -DCMAKE_BUILD_TYPE=Release "${compiler[@]}" >build-configure.log 2>&1 || {
    tail -n 30 build-configure.log >&2
    echo "error: cmake failed; build-configure.log has all of it, utils/setup.sh installs what is missing" >&2
    exit 1
  }
  mv build-configure.log build/configure.log
fi
exec ninja -C build "$@"
