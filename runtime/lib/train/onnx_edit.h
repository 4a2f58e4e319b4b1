//===- onnx_edit.h - Changing a few places of an ONNX file ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_ONNX_EDIT_H
#define MOIRE_RT_ONNX_EDIT_H

#include "train/mapped_file.h"
#include "train/tensor_file.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace moire::rt {

/// Bytes [begin, end) of a file become other ones.
struct Edit {
  int64_t begin, end;
  std::string bytes;
  int64_t growth() const { return int64_t(bytes.size()) - (end - begin); }
};

/// A field of a protobuf message as bytes.
std::string encodeField(uint32_t number, const std::string &bytes);
std::string encodeField(uint32_t number, uint64_t value);

/// An input of a node of the main graph.
struct NodeInput {
  std::string node;   ///< op type
  int64_t index;      ///< among the node's inputs
  int64_t begin, end; ///< of the field in the file
};
/// Where nodes name the value, in the file's order; nested: how many nodes of graphs inside of
/// nodes do.
struct ValueUses {
  std::vector<NodeInput> inputs;
  int64_t nested = 0;
};
ValueUses findUses(const MappedFile &model, const std::string &value);

/// An initializer of the main graph.
struct InitializerField {
  int64_t begin; ///< in the file, of the field
  TensorView place;
};
/// All of them, by name.
std::map<std::string, InitializerField> findInitializers(const MappedFile &model);
/// The names of the main graph's values, initializers among them.
std::set<std::string> namesOfValues(const MappedFile &model);

/// Adds to edits of whole fields those of the lengths of the messages around them; sorts them.
void fixLengths(const MappedFile &model, std::vector<Edit> &edits);

/// Where a byte of the file that no edit touches is afterwards. edits: sorted.
int64_t moved(const std::vector<Edit> &edits, int64_t offset);

} // namespace moire::rt

#endif // MOIRE_RT_ONNX_EDIT_H
