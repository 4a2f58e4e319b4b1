//===- ParameterReads.h - Initializers as reads of parameters ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_CONVERSION_PARAMETERREADS_H
#define MOIRE_LIB_CONVERSION_PARAMETERREADS_H

#include "Emitter.h"
#include "moire/Frontend/Parameters.h"

namespace moire::conversion {

/// The type of a value for a type of the file: bfloat16 and float16 are
/// computed in f32, all integers but bool in i64; null for what has no
/// arithmetic here (strings, complex, 8-bit floats).
mlir::Type convertElementType(mlir::Type element);
/// The same for the contents of a constant.
mlir::DenseElementsAttr convertElements(mlir::DenseElementsAttr attr);

/// Creates the module's pipe.parameters and reads them where the graph reads
/// initializers.
class ParameterReads {
public:
  ParameterReads(const frontend::ParameterTable &table, Emitter &emitter)
      : table(table), e(emitter), reads(table.parameters.size()) {}

  /// The value of an operand that an onnx.initializer defines; null, after an
  /// error, where its elements have no arithmetic here.
  Value get(mlir::OpOperand &operand);
  /// Creates a pipe.parameter for each one that is read in `module`.
  void createParameters(mlir::ModuleOp module);

private:
  Value read(unsigned parameter);

  const frontend::ParameterTable &table;
  Emitter &e;
  std::vector<Value> reads;
};

} // namespace moire::conversion

#endif // MOIRE_LIB_CONVERSION_PARAMETERREADS_H
