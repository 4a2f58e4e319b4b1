//===- Pipeline.cpp - The passes of the overlap phase --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Overlap/Passes.h"

using namespace moire;

void overlap::buildOverlapPipeline(mlir::OpPassManager &passes, const std::string &rates) {
  passes.addPass(createOverlapPairs());
  passes.addPass(createAsyncCollectives());
  passes.addPass(createStartReductions());
  ScheduleOverlapOptions options;
  options.rates = rates;
  passes.addPass(createScheduleOverlap(options));
  SplitExchangesOptions parts;
  parts.rates = rates;
  passes.addPass(createSplitExchanges(parts));
  passes.addPass(createPublishOutputs());
  passes.addPass(createVerifyQueues());
}
