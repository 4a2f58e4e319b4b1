//===- Conversion.h - From the onnx dialect to nn ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_CONVERSION_CONVERSION_H
#define MOIRE_CONVERSION_CONVERSION_H

#include "moire/Frontend/Parameters.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace moire::conversion {

/// Sizes of symbolic dimensions by name.
using Bindings = std::map<std::string, int64_t, std::less<>>;

/// "batch=2" texts as bindings; on failure `error` is a sentence that names the
/// wrong one.
llvm::LogicalResult parseBindings(llvm::ArrayRef<std::string> texts, Bindings &bindings,
                                  std::string &error);

/// The value of a dimension such as `2*batch*seq` or `(seq + 1) // 2`. On
/// failure `error` tells the name that is not bound, or what is malformed.
std::optional<int64_t> evaluateDim(llvm::StringRef expression, const Bindings &bindings,
                                   std::string &error);

/// Makes the types of @main's arguments static. Emits one error that names all
/// dimensions without a size.
llvm::LogicalResult bindDimensions(mlir::ModuleOp module, const Bindings &bindings);

/// Refuses graphs that look right and are wrong for training: key-value caches,
/// loops over the experts that one sample hit, scatters that lose duplicates.
/// Emits one error for each kind.
llvm::LogicalResult checkTrainable(mlir::func::FuncOp main);

/// Replaces @main by @forward in nn, arith and math, and creates the module's
/// pipe.parameters. Emits all errors it can find.
llvm::LogicalResult convertOnnxToNN(mlir::ModuleOp module, const frontend::ParameterTable &table);

/// Op types with a meaning, sorted, outside ai.onnx with their domain.
std::vector<std::string> getSupportedOpTypes();

} // namespace moire::conversion

#endif // MOIRE_CONVERSION_CONVERSION_H
