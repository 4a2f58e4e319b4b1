//===- stream.cpp - The stream of a rank in the model ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/cuda/launch.h"

namespace moire::rt {

cudaStream_t streamOf(Context &) { return nullptr; }

} // namespace moire::rt
