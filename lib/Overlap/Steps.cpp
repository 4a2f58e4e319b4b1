//===- Steps.cpp - The functions that make a micro-batch -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Steps.h"
#include "dialects/dist/Dist.h"
#include "moire/Pipe/PipelineProgram.h"

using namespace mlir;
using namespace moire;

llvm::SetVector<func::FuncOp> overlap::findSteps(ModuleOp module) {
  llvm::SetVector<func::FuncOp> steps;
  auto add = [&](StringRef name) {
    auto func = module.lookupSymbol<func::FuncOp>(name);
    if (func && func.getBody().hasOneBlock())
      steps.insert(func);
  };
  if (!dist::meshOf(module))
    return steps;
  add("micro_step");
  for (auto stage : module.getOps<pipe::StageOp>())
    for (std::optional<StringRef> name : {stage.getForward(), stage.getBackward(),
                                          stage.getBackwardInput(), stage.getBackwardWeight()})
      if (name)
        add(*name);
  for (auto func : module.getOps<func::FuncOp>())
    if (func->hasAttr(pipe::kPairAttr))
      steps.insert(func);
  return steps;
}
