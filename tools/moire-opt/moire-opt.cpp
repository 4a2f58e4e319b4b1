//===- moire-opt.cpp - Every pass of Moiré on MLIR files -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NNPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "moire/Conversion/Passes.h"
#include "moire/Distribute/Passes.h"
#include "moire/Overlap/Passes.h"
#include "moire/Pipe/Passes.h"
#include "moire/Program/Passes.h"
#include "moire/Raise/Passes.h"
#include "moire/Stages/Passes.h"
#include "moire/Support/Dialects.h"
#include "moire/Train/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  moire::registerDialects(registry);
  mlir::registerCanonicalizerPass();
  mlir::registerCSEPass();
  mlir::registerSymbolDCEPass();
  moire::conversion::registerConversionPasses();
  moire::conversion::registerConversionPipelines();
  moire::distribute::registerDistributePasses();
  moire::nn::registerNNPasses();
  moire::overlap::registerOverlapPasses();
  moire::pipe::registerPipePasses();
  moire::program::registerProgramPasses();
  moire::raise::registerRaisePasses();
  moire::raise::registerRaisePipeline();
  moire::stages::registerStagesPasses();
  moire::train::registerTrainPasses();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "Moiré: runs passes over MLIR files\n", registry));
}
