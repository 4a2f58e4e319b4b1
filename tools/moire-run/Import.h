//===- Import.h - Makes imported graphs executable -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_MOIRE_RUN_IMPORT_H
#define MOIRE_TOOLS_MOIRE_RUN_IMPORT_H

#include "moire/Interp/TensorFiles.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

/// The graph of a module after the phase `import`, or null.
mlir::func::FuncOp findImportedGraph(mlir::ModuleOp module);

/// Converts it to nn in memory, without raising. Symbolic dimensions take the
/// sizes of the data's tensors; `bind` ("batch=2") gives the others. `crashReproducer`:
/// of runPasses.
mlir::LogicalResult convertImportedGraph(mlir::ModuleOp module,
                                         const moire::interp::DataFolder *data,
                                         std::vector<std::string> bind,
                                         llvm::StringRef crashReproducer);

#endif // MOIRE_TOOLS_MOIRE_RUN_IMPORT_H
