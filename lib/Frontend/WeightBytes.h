//===- WeightBytes.h - Looking at stored weights, where that tells more --===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_FRONTEND_WEIGHTBYTES_H
#define MOIRE_LIB_FRONTEND_WEIGHTBYTES_H

#include "ExternalFiles.h"
#include "dialects/onnx/Onnx.h"

namespace moire::frontend {

/// The bytes behind `#onnx.external` of an imported module; none where the file
/// is not at hand or has become shorter.
class WeightBytes {
public:
  /// `modelPath`: moire.model_path of the module.
  explicit WeightBytes(llvm::StringRef modelPath);

  llvm::ArrayRef<uint8_t> get(onnx::InitializerOp op);

  /// Calls `visit` with the elements of a float tensor in order, until it returns
  /// false. True if it saw all of them; false also where they cannot be had.
  bool visitFloats(onnx::InitializerOp op, llvm::function_ref<bool(double)> visit);

  /// Every element has the same bits.
  bool isConstant(onnx::InitializerOp op);

  enum class Equal { no, yes, unknown };
  /// Bit for bit; with `transposed`, one against the other's transpose (rank 2).
  /// `quick` compares some hundred elements instead of all.
  Equal compare(onnx::InitializerOp a, onnx::InitializerOp b, bool transposed, bool quick);

private:
  const MappedFile *find(onnx::InitializerOp op);

  std::string modelPath, modelName;
  ExternalFiles files;
  std::unique_ptr<MappedFile> model;
};

} // namespace moire::frontend

#endif // MOIRE_LIB_FRONTEND_WEIGHTBYTES_H
