//===- Groups.cpp - Pass train-groups ------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/pipe/UpdateGroups.h"
#include "moire/Train/Passes.h"

namespace moire::train {
#define GEN_PASS_DEF_TRAINGROUPS
#include "lib/Train/Passes.h.inc"
} // namespace moire::train

using namespace mlir;
using namespace moire;

namespace {
struct TrainGroups : train::impl::TrainGroupsBase<TrainGroups> {
  using TrainGroupsBase::TrainGroupsBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    pipe::UpdateGroups asked;
    if (std::string error = asked.parse(groups); !error.empty()) {
      emitError(module.getLoc(), error);
      return signalPassFailure();
    }
    for (auto parameter : module.getOps<pipe::ParameterOp>()) {
      if (parameter.getFrozen())
        continue;
      StringRef group = asked.match(parameter.getTorchName().value_or(parameter.getSymName()));
      if (!group.empty())
        parameter.setGroup(group);
    }
    if (std::string error = asked.unmatched(); !error.empty()) {
      emitError(module.getLoc(), error);
      return signalPassFailure();
    }
  }
};
} // namespace
