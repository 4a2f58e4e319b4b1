//===- ModelFile.h - An ONNX file: its graph parsed, its weights in place -===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_FRONTEND_MODELFILE_H
#define MOIRE_LIB_FRONTEND_MODELFILE_H

#include "MappedFile.h"
#include "WireWalk.h"
#include "onnx.pb.h"
#include <google/protobuf/arena.h>

namespace moire::frontend {

namespace pb = ::onnx;

class ModelFile {
public:
  /// Null, with the rest of the sentence "'path' …" in `error`, where the file
  /// is not there, is not ONNX, or is damaged.
  static std::unique_ptr<ModelFile> open(const std::string &path, std::string &error);

  const pb::ModelProto &proto() const { return *model; }

  /// The place of a parsed tensor's raw data; the tensor must have some.
  Payload getPayload(const pb::TensorProto &tensor) const {
    uint64_t index = getPayloadIndex(tensor.raw_data());
    return index < payloads.size() ? payloads[index] : Payload{0, 0};
  }
  const MappedFile &mapped() const { return *file; }

private:
  std::unique_ptr<MappedFile> file;
  google::protobuf::Arena arena;
  pb::ModelProto *model = nullptr;
  std::vector<Payload> payloads;
};

} // namespace moire::frontend

#endif // MOIRE_LIB_FRONTEND_MODELFILE_H
