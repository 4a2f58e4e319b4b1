//===- fault.cu - What a kernel found wrong -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/fault.h"

#ifndef MOIRE_CUDA_MODEL
#include "cuda/libraries.h"
#endif

#include <string>
#include <utility>

namespace moire::rt {

#ifdef MOIRE_CUDA_MODEL
Fault *faultOf(Context &) {
  static thread_local Fault fault = {};
  return &fault;
}
#else
Fault *faultOf(Context &ctx) { return librariesOf(ctx).fault; }
#endif

void checkFaults(Context &ctx) {
  const Fault f = std::exchange(*faultOf(ctx), Fault{});
  switch (FaultKind(f.kind)) {
  case FaultKind::none:
    return;
  case FaultKind::expert:
    throw RunError("expert " + std::to_string(f.value) + " chosen by token " +
                   std::to_string(f.where) + " is outside 0.." + std::to_string(f.limit));
  }
}

} // namespace moire::rt
