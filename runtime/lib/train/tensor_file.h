//===- tensor_file.h - ONNX TensorProto -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_TENSOR_FILE_H
#define MOIRE_RT_TENSOR_FILE_H

#include "moire/rt/program.h"
#include "train/wire.h"

#include <string>
#include <vector>

namespace moire::rt {

/// A TensorProto; its values are bytes inside the file, or decoded ones.
struct TensorView {
  TensorView() = default;
  TensorView(TensorView &&) = default; // a moved vector keeps its memory
  TensorView &operator=(TensorView &&) = default;

  std::string name;
  std::vector<int64_t> dims;
  DType type = DType::f32;
  Span data;                        ///< little-endian, elements() · bytesOf(type)
  std::vector<unsigned char> owned; ///< what data points to if it was decoded
  bool external = false;            ///< values lie in file at offset, length
  std::string file;
  int64_t offset = 0, length = -1;

  int64_t elements() const {
    int64_t n = 1;
    for (int64_t d : dims)
      n *= d;
    return n;
  }
};

/// TensorProto.DataType.
uint64_t codeOf(DType type);

/// Where a TensorProto's values lie, of any type: fills in name, dims, external, file, offset and
/// length. No more than that is looked at.
TensorView parsePlace(Span message, const std::string &what);

/// Parses one message. `what` is the file's name for errors, which are
/// InputErrors: not protobuf, unknown type, values that do not fit the shape.
TensorView parseTensor(Span message, const std::string &what);

std::string shapeText(const std::vector<int64_t> &dims);

} // namespace moire::rt

#endif // MOIRE_RT_TENSOR_FILE_H
