//===- Pipelines.cpp - The passes of phases kernels and program ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NNPasses.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "moire/Program/Passes.h"

using namespace mlir;

void moire::program::buildKernelsPipeline(OpPassManager &pm) {
  // Small and once a layer: no kernels of their own.
  const std::string small[] = {"nn.batch_sum", "nn.log_sum_exp"};
  pm.addNestedPass<func::FuncOp>(nn::createNNDecompose({small}));
  // No CSE: it would merge what train-recompute repeats with the original again.
  pm.addNestedPass<func::FuncOp>(createFuse());
}

void moire::program::buildProgramPipeline(OpPassManager &pm, int64_t logitsLimit, bool epilogues) {
  pm.addPass(createLowerToExec());
  pm.addPass(createChunkLogits({logitsLimit}));
  if (epilogues)
    pm.addPass(createFuseEpilogues());
  pm.addPass(createSplitParts());
  pm.addPass(createMarkTraining());
  pm.addPass(createMarkGroups());
  pm.addPass(createPackArena());
  pm.addPass(createPackSlots());
  pm.addPass(createVerifyArena());
}
