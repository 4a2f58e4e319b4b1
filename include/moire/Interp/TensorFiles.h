//===- TensorFiles.h - Tensors in files ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_INTERP_TENSORFILES_H
#define MOIRE_INTERP_TENSORFILES_H

#include "moire/Interp/Tensor.h"
#include "llvm/ADT/StringRef.h"
#include <map>
#include <optional>
#include <string>

namespace moire::interp {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// Reads a file that is one TensorProto (the ONNX backend tests' layout). On
/// failure nothing, and a sentence in `error`.
std::optional<NamedTensor> readTensorProto(llvm::StringRef path, mlir::MLIRContext *context,
                                           std::string &error);

/// False, with a sentence in `error`, where the file cannot be written.
bool writeTensorProto(llvm::StringRef path, const NamedTensor &tensor, std::string &error);
bool writeSafetensors(llvm::StringRef path, llvm::ArrayRef<NamedTensor> tensors,
                      std::string &error);

/// A folder of input_N.pb and, where it has one, labels.pb.
struct DataFolder {
  std::string path;
  std::map<int, NamedTensor> inputs;
  std::optional<NamedTensor> labels;

  /// The graph input of this name, or the one at this position where the file
  /// bears no name. Null where there is none.
  const Tensor *find(llvm::StringRef name, int position) const;
};

std::optional<DataFolder> readDataFolder(llvm::StringRef path, mlir::MLIRContext *context,
                                         std::string &error);

} // namespace moire::interp

#endif // MOIRE_INTERP_TENSORFILES_H
