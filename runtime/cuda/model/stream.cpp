//===- stream.cpp - The model as the device -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/cuda/launch.h"
#include "moire/rt/device.h"

namespace moire::rt {

cudaStream_t streamOf(Context &) { return nullptr; }
std::string describeDevice(const Context &) {
  return "the kernels of CUDA on one thread, by the execution model";
}

} // namespace moire::rt
