//===- Passes.h - From the onnx dialect to nn ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_CONVERSION_PASSES_H
#define MOIRE_CONVERSION_PASSES_H

#include "moire/Conversion/Conversion.h"
#include "mlir/Pass/Pass.h"

namespace moire::conversion {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "lib/Conversion/Passes.h.inc"

struct ConversionOptions {
  /// "batch=2": sizes of the inputs' symbolic dimensions.
  std::vector<std::string> bind;
  /// Parameters whose names match this regular expression are not trained.
  std::string freeze;
};

/// onnx-bind, onnx-to-nn, canonicalization, common subexpressions, and the
/// removal of parameters that nobody reads.
void buildConversionPipeline(mlir::OpPassManager &pm, const ConversionOptions &options);

/// Registers the pipeline above as `onnx-to-model` for moire-opt.
void registerConversionPipelines();

} // namespace moire::conversion

#endif // MOIRE_CONVERSION_PASSES_H
