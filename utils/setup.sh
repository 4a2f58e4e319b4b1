#!/usr/bin/env bash
# Installs the Debian 12 packages that Moiré needs and the machine lacks.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Usage: utils/setup.sh [--check]
#   --check  only says what is missing (exit 1 if anything is)
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache          # to build; g++ also compiles the trainers
  clang-19 lld-19                       # build MLIR code in half the time of g++
  libmlir-19-dev mlir-19-tools          # MLIR: libraries, mlir-tblgen
  llvm-19-dev llvm-19-tools             # LLVM's CMake files; lit, FileCheck, not
  libprotobuf-dev protobuf-compiler     # to read ONNX files
  libdnnl-dev                           # oneDNN: matrix products on the CPU
  nlohmann-json3-dev libcli11-dev       # JSON and command lines
  libtomlplusplus-dev                   # TOML: descriptions of clusters, models and plans
  libgtest-dev                          # unit tests
  python3                               # lit and the comparison scripts
  zlib1g-dev libzstd-dev libxml2-dev libcurl4-openssl-dev libedit-dev # LLVM's CMake files look for these
)

case "${1:-}" in
  ""|--check) ;;
  -h|--help) sed -n '2,8p' "$0" | cut -c3-; exit 0 ;;
  *) echo "error: unknown argument '$1'; the only option is --check" >&2; exit 1 ;;
esac

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
    missing+=("$package")
done

# Where CUDA has cuDNN: its frontend, C++ headers in a Python wheel. Without them
# attention is by Moiré's own kernels.
cudnn_frontend() {
  [ -f /usr/local/cuda/include/cudnn.h ] && command -v python3 >/dev/null || return 0
  [ -f "$(python3 -c "import sysconfig; print(sysconfig.get_path('purelib'))")/include/cudnn_frontend.h" ] && return 0
  python3 -m pip install -q --no-deps --break-system-packages nvidia-cudnn-frontend==1.14.1 >/dev/null 2>&1 ||
    echo "setup: no cuDNN frontend: python3 -m pip cannot install nvidia-cudnn-frontend"
}

# Where CUDA is: its disassembler, to look at the matrix kernels' machine code.
disassembler() {
  local nvcc
  nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
  [ -x "$nvcc" ] && command -v python3 >/dev/null || return 0
  command -v nvdisasm >/dev/null || [ -x "${nvcc%/*}/nvdisasm" ] && return 0
  python3 -c 'import glob, sys; sys.exit(not any(glob.glob(p + "/nvidia/*/bin/nvdisasm") for p in sys.path))' &&
    return 0
  python3 -m pip install -q --no-deps --break-system-packages nvidia-cuda-nvdisasm==13.2.51 >/dev/null 2>&1 ||
    echo "setup: no nvdisasm: python3 -m pip cannot install nvidia-cuda-nvdisasm"
}

if [ ${#missing[@]} -eq 0 ]; then
  [ "${1:-}" = --check ] || { cudnn_frontend; disassembler; }
  echo "setup: all ${#packages[@]} packages are installed"
  exit 0
fi
echo "setup: missing: ${missing[*]}"
[ "${1:-}" = --check ] && exit 1

if ! command -v apt-get >/dev/null; then
  echo "error: no apt-get here; Moiré is set up on Debian 12, or install the packages above by hand" >&2
  exit 1
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "error: installing packages needs root; run utils/setup.sh as root or install sudo" >&2
    exit 1
  fi
  sudo=sudo
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "setup: installing ${#missing[@]} packages with apt-get"
if ! { $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive \
         apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "error: apt-get failed; its last lines are above" >&2
  exit 1
fi
cudnn_frontend
disassembler
echo "setup: done"
