//===- Pipeline.cpp - The raising passes in their order ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "moire/Raise/Passes.h"

using namespace mlir;

void moire::raise::buildRaisePipeline(OpPassManager &pm) {
  OpPassManager &func = pm.nest<func::FuncOp>();
  func.addPass(createCanonicalizerPass());
  func.addPass(createCSEPass());
  func.addPass(createRaiseNorms());
  func.addPass(createRaiseRope());
  func.addPass(createRaiseAttention());
  func.addPass(createRaiseMoe());
  func.addPass(createRaiseViews());
  func.addPass(createCanonicalizerPass());
  func.addPass(createCSEPass());
}

void moire::raise::registerRaisePipeline() {
  PassPipelineRegistration<>("raise", "All raising passes in their order", buildRaisePipeline);
}
