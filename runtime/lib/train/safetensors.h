//===- safetensors.h - Reading and writing safetensors --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Eight bytes of header length, a JSON header {name: {dtype, shape,
// data_offsets}}, then the tensors' bytes (huggingface/safetensors, "Format").
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_SAFETENSORS_H
#define MOIRE_RT_SAFETENSORS_H

#include "train/mapped_file.h"
#include "train/tensor_file.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace moire::rt {

/// All tensors of one file, or of the shards that an index names.
class Safetensors {
public:
  /// path: a .safetensors file, or a *.safetensors.index.json.
  explicit Safetensors(const std::string &path);
  const std::map<std::string, TensorView> &tensors() const { return all; }

private:
  void addFile(const std::string &path);
  std::vector<std::unique_ptr<MappedFile>> files;
  std::map<std::string, TensorView> all;
};

/// Where float32 tensors lie in a file, one behind another.
struct SafetensorsLayout {
  explicit SafetensorsLayout(const std::vector<std::pair<std::string, std::vector<int64_t>>> &tensors);
  std::string head;            ///< the file's first bytes, a multiple of 8
  std::vector<int64_t> places; ///< of each tensor, in bytes of the file
  int64_t bytes;               ///< of the file
};

struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  const float *data;
};
/// Writes float32 tensors in the order given, to a temporary file that is
/// renamed at the end. Throws RunError.
void writeSafetensors(const std::string &path,
                      const std::vector<NamedTensor> &tensors);

} // namespace moire::rt

#endif // MOIRE_RT_SAFETENSORS_H
