//===- ImportOnnx.h - ONNX files become onnx dialect modules -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_FRONTEND_IMPORTONNX_H
#define MOIRE_FRONTEND_IMPORTONNX_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include <optional>
#include <string>

namespace moire::frontend {

struct ImportOptions {
  /// Import a graph whose external weight files are not there (for --init). The
  /// file in `#onnx.external` is then empty.
  bool allowMissingWeights = false;
  /// Where to cut the model into stages, as moirec's --stages says it; the module then has a
  /// moire.stage_cuts. Not set: nowhere.
  std::optional<std::string> stages;
  /// Float tensors up to this many bytes are also kept as values in the IR.
  int64_t valueLimit = 64 << 10;
  /// The same for integer and boolean tensors, which the model phase computes
  /// shapes and masks with.
  int64_t integerLimit = 64 << 20;
};

/// Reads an ONNX file into a module with one function @main (see the onnx
/// dialect). On a broken file: emits one error and returns null. The weights'
/// bytes stay in their files.
mlir::OwningOpRef<mlir::ModuleOp> importOnnx(llvm::StringRef path, mlir::MLIRContext *context,
                                             const ImportOptions &options = {});

/// Registers --import-onnx for moire-translate.
void registerImportOnnx();

} // namespace moire::frontend

#endif // MOIRE_FRONTEND_IMPORTONNX_H
