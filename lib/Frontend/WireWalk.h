//===- WireWalk.h - Weights' places found on the protobuf wire -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_FRONTEND_WIREWALK_H
#define MOIRE_LIB_FRONTEND_WIREWALK_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include <string>
#include <vector>

namespace moire::frontend {

/// Bytes of the model file that are some tensor's elements.
struct Payload {
  int64_t offset, length;
};

/// The model without its weights. Every raw_data is replaced by 8 bytes, the
/// little-endian index of a payload; float_data and double_data in one packed
/// piece, which are the same bytes on the wire, become such a raw_data too.
/// Documentation, training information and all but the innermost frame of
/// stack traces (a fifth of an exported graph) are left out.
struct SlimModel {
  std::string bytes;
  std::vector<Payload> payloads;
};

/// Walks the wire format of a ModelProto. On failure returns false, with the
/// rest of the sentence "'file' …" in `error`. `passed` hears of every payload
/// that was stepped over.
bool slimModel(llvm::ArrayRef<uint8_t> file, SlimModel &model, std::string &error,
               llvm::function_ref<void(Payload)> passed = {});

/// The payload's index that a slim raw_data holds.
uint64_t getPayloadIndex(llvm::StringRef rawData);

} // namespace moire::frontend

#endif // MOIRE_LIB_FRONTEND_WIREWALK_H
