//===- onnx_file.h - The initializers of an ONNX file ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_ONNX_FILE_H
#define MOIRE_RT_ONNX_FILE_H

#include "train/mapped_file.h"
#include "train/tensor_file.h"

#include <functional>
#include <map>
#include <memory>
#include <string>

namespace moire::rt {

/// Finds initializers by name without a schema library: ModelProto.graph (7),
/// GraphProto.initializer (5), each a TensorProto. External data is mapped from
/// the file's own folder, never from outside it.
class OnnxFile {
public:
  explicit OnnxFile(const std::string &path);
  /// Null where there is none of the name; data always points to the bytes.
  const TensorView *find(const std::string &name) const;

private:
  MappedFile model;
  std::map<std::string, TensorView> initializers;
  std::map<std::string, std::unique_ptr<MappedFile>> externals;
};

/// Messages of an ONNX file that lead to tensors.
enum class OnnxMessage { none, model, graph, node, attribute, tensor, sparse, function, training };
/// What field `number` of a message holds.
OnnxMessage childOf(OnnxMessage parent, uint32_t number);

using UseTensor = std::function<void(Span message)>;
/// Every TensorProto of a ModelProto, also in nodes, in the graphs inside of them and in functions.
void eachTensor(const MappedFile &model, const UseTensor &use);

/// The folder of a path, with "/" at its end; "./" where it has none.
std::string folderOf(const std::string &path);
/// Whether a file name stays inside the folder that it is relative to.
bool staysInside(const std::string &relative);

} // namespace moire::rt

#endif // MOIRE_RT_ONNX_FILE_H
