//===- Memory.cpp - What a rank of the program holds ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "ProgramInfo.h"
#include "moire/Target/Program.h"

using namespace mlir;
using namespace moire;
using namespace moire::target;

FailureOr<int64_t> target::memoryOfRank(ModuleOp module, const EmitOptions &options) {
  const auto info = collectProgram(module, options);
  if (failed(info))
    return failure();
  const int64_t states = info->optimizer == "adamw" ? 2 : 0;
  auto bytes = [&](int64_t parameters, int64_t gradients, int64_t state, int64_t arena) {
    return 4 * (parameters + gradients + states * state) + info->shadowBytes + arena;
  };
  if (!info->pipeline)
    return bytes(info->paramElements,
                 info->hasGradOffsets() ? info->gradElements : info->paramElements,
                 info->divides() ? info->stateElements : info->paramElements, info->arenaBytes);
  int64_t most = 0;
  for (const StageRankEntry &rank : info->pipeline->ranks)
    most = std::max(most, bytes(rank.paramElements, rank.gradElements, rank.stateElements,
                                rank.arenaBytes));
  return most;
}
