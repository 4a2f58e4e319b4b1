//===- fault.cu - What a kernel found wrong -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/fault.h"

#ifndef MOIRE_CUDA_MODEL
#include "cuda/libraries.h"
#endif

#include <cstdlib>
#include <string>
#include <utility>

namespace moire::rt {

#ifdef MOIRE_CUDA_MODEL
Fault *faultOf(Context &) {
  static thread_local Fault fault = {};
  return &fault;
}
void checkFaultsOfModel(Context &ctx) { checkFaults(ctx); }
#else
Fault *faultOf(Context &ctx) { return librariesOf(ctx).fault; }
void checkFaultsOfModel(Context &ctx) {
  static const char *const blocking = std::getenv("CUDA_LAUNCH_BLOCKING");
  if (blocking && *blocking == '1')
    checkFaults(ctx);
}
#endif

void checkFaults(Context &ctx) {
  const Fault f = std::exchange(*faultOf(ctx), Fault{});
  switch (FaultKind(f.kind)) {
  case FaultKind::none:
    return;
  case FaultKind::expert:
    throw RunError("expert " + std::to_string(f.value) + " chosen by token " +
                   std::to_string(f.where) + " is outside 0.." + std::to_string(f.limit));
  case FaultKind::label:
    throw RunError("label " + std::to_string(f.value) + " at " +
                   (f.seq ? "row " + std::to_string(f.where / f.seq) + ", position " +
                                std::to_string(f.where % f.seq)
                          : "position " + std::to_string(f.where)) +
                   " is outside the vocabulary 0.." + std::to_string(f.limit - 1) +
                   "; use labels below " + std::to_string(f.limit) + ", or " +
                   std::to_string(f.ignore) + " for one that does not count");
  case FaultKind::gatherIndex:
  case FaultKind::scatterIndex:
    throw RunError(std::string(f.kind == int32_t(FaultKind::gatherIndex) ? "gather" : "scatter") +
                   " index " + std::to_string(f.value) + " at position " + std::to_string(f.where) +
                   " is outside 0.." + std::to_string(f.limit - 1));
  }
}

} // namespace moire::rt
