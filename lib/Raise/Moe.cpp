//===- Moe.cpp - Experts' matrices gathered per token to routed rows -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Matchers.h"
#include "moire/Raise/Passes.h"

namespace moire::raise {
#define GEN_PASS_DEF_RAISEMOE
#include "lib/Raise/Passes.h.inc"
} // namespace moire::raise

using namespace mlir;
using namespace moire;
using namespace moire::raise;

namespace {
struct RaiseMoePass : raise::impl::RaiseMoeBase<RaiseMoePass> {
  void runOnOperation() override {}
};
} // namespace
