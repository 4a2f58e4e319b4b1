//===- BatchRamp.cpp - Pass batch-ramp -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/pipe/PipeSchedule.h"
#include "moire/Pipe/Passes.h"

namespace moire::pipe {
#define GEN_PASS_DEF_BATCHRAMP
#include "lib/Pipe/Passes.h.inc"
} // namespace moire::pipe

using namespace mlir;
using namespace moire;

namespace {
struct BatchRampPass : pipe::impl::BatchRampBase<BatchRampPass> {
  using BatchRampBase::BatchRampBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    scheduling::Ramp ramp;
    if (scheduling::Refusal refusal = scheduling::parseRamp(entries, ramp)) {
      emitError(module.getLoc()) << "the batch ramp " << *refusal;
      return signalPassFailure();
    }
    OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
    builder.create<pipe::BatchRampOp>(module.getLoc(), ramp);
  }
};
} // namespace
