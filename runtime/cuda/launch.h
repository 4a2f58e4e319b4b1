//===- launch.h - The launch helpers, for the sources of this folder ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/rt/cuda/launch.h"
