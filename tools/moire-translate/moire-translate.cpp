//===- moire-translate.cpp - Formats into MLIR and out of it -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Frontend/ImportOnnx.h"
#include "moire/Target/Program.h"
#include "mlir/Tools/mlir-translate/MlirTranslateMain.h"

int main(int argc, char **argv) {
  moire::frontend::registerImportOnnx();
  moire::target::registerExecToCpp();
  return mlir::failed(mlir::mlirTranslateMain(argc, argv, "Moiré: translates files\n"));
}
