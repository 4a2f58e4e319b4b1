//===- check.h - MOIRE_CUDA, for the sources of this folder --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/rt/cuda/check.h"
