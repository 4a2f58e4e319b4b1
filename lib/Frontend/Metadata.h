//===- Metadata.h - What PyTorch's exporters say about nodes and values --===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_FRONTEND_METADATA_H
#define MOIRE_LIB_FRONTEND_METADATA_H

#include "mlir/IR/BuiltinAttributes.h"
#include "onnx.pb.h"
#include "llvm/ADT/StringRef.h"
#include <string>
#include <vector>

namespace moire::frontend {

namespace pb = ::onnx;

using Properties = google::protobuf::RepeatedPtrField<pb::StringStringEntryProto>;

/// The value of the first property of that name, or an empty string.
llvm::StringRef findProperty(const Properties &properties, llvm::StringRef key);

/// The strings of a Python list literal, "['a', "b"]" ~~> a b; what is no list
/// of strings gives nothing.
std::vector<std::string> parsePythonList(llvm::StringRef text);

/// Where a node comes from; each part may be empty.
struct NodeHints {
  std::string module;      // "model.layers.0.mlp"
  std::string moduleClass; // "MixtralSparseMoeBlock"
  std::string fxNode;      // "%mul = aten.mul.Tensor(%p_norm_weight, %x)"
  std::string sourceLine;  // "modeling_mixtral.py:153: return self.weight * …"
};
NodeHints getNodeHints(const pb::NodeProto &node);

/// What the IR calls a node: its name, or what tells most of it.
std::string getNodeLabel(const pb::NodeProto &node);

/// [[placeholder, kind, tensor]] out of the exported program's signature, in its
/// order; null where there is none. The kind UNSAVED_BUFFER is PyTorch's for a BUFFER that
/// is not in state_dict().
mlir::ArrayAttr parseSignature(llvm::StringRef text, mlir::MLIRContext *context);

} // namespace moire::frontend

#endif // MOIRE_LIB_FRONTEND_METADATA_H
