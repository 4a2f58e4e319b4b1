//===- ParameterNames.h - What names and ATen calls tell of a weight -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_FRONTEND_PARAMETERNAMES_H
#define MOIRE_LIB_FRONTEND_PARAMETERNAMES_H

#include "dialects/onnx/Onnx.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"

namespace moire::frontend {

/// "%y = aten.linear.default(%x, %p_w; dtype: f32)" in parts.
struct FxCall {
  llvm::StringRef target;                   // "aten.linear.default"
  llvm::SmallVector<llvm::StringRef> names; // "x", "p_w"

  explicit FxCall(llvm::StringRef text);
};

/// What PyTorch's exported program says of its inputs.
class Signature {
public:
  explicit Signature(mlir::ModuleOp module);

  struct Entry {
    llvm::StringRef placeholder, kind, target;
    unsigned order;
    bool isParameter() const { return kind == "PARAMETER"; }
    bool isSaved() const { return isParameter() || kind == "BUFFER"; }
    /// A tensor of the model that is not trained.
    bool isBuffer() const { return !isParameter() && !target.empty(); }
  };
  bool empty() const { return entries.empty(); }
  llvm::ArrayRef<Entry> all() const { return entries; }
  /// By "p_fc_weight" and by "fc.weight"; null where unknown.
  const Entry *findPlaceholder(llvm::StringRef name) const;
  const Entry *findTarget(llvm::StringRef name) const;

private:
  std::vector<Entry> entries;
  llvm::StringMap<unsigned> byPlaceholder, byTarget;
};

/// How a folded initializer was made of one parameter.
struct Folding {
  enum Kind { same, transpose, reshape, select, expand, unknown } kind = same;
  /// Of the parameter; for select, without the dim that was selected from.
  llvm::SmallVector<int64_t> shape;
};
/// From the initializer's own name, the names folded into it and the calls of
/// its users (`transposes`: a user sees the parameter's transpose).
Folding inferFolding(onnx::InitializerOp op, const Signature &signature);

/// The number at the end of "select_12", 0 where there is none.
int64_t getNameNumber(llvm::StringRef name);

/// Names that exporters make up: "onnx::MatMul_579", "val_101".
bool isMadeUp(llvm::StringRef name);

/// Names of buffers in well-known model code, for files without metadata.
bool isBufferName(llvm::StringRef name);

/// The PyTorch name of a legacy export's made-up weight, from its only use: the
/// module's path and the part that the operand plays; empty where unknown.
///     onnx::MatMul_307, operand 1 of /m/blocks.0/qkv/MatMul  ~~>  m.blocks.0.qkv.weight
std::string nameByModule(mlir::OpOperand &use);

} // namespace moire::frontend

#endif // MOIRE_LIB_FRONTEND_PARAMETERNAMES_H
