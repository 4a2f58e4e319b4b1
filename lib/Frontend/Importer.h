//===- Importer.h - The walk from a parsed file to onnx ops --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_FRONTEND_IMPORTER_H
#define MOIRE_LIB_FRONTEND_IMPORTER_H

#include "Metadata.h"
#include "Tensors.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringSet.h"

namespace moire::frontend {

/// Value names of a graph or a function body. A graph inside a node sees the
/// names around it, a function body only its own.
struct Scope {
  Scope *parent = nullptr;
  llvm::StringMap<mlir::Value> values;
  /// What the file says of the types of names that nodes define.
  llvm::StringMap<const pb::TypeProto *> types;
};

/// What holds for all nodes of one function body or of the main graph.
struct Body {
  llvm::StringMap<int64_t> opsets;
  /// The attributes of the call that `ref_attr_name` refers to.
  llvm::StringMap<const pb::AttributeProto *> arguments;
  /// Where the body is inlined, for names: "" in the main graph.
  std::string location, module;
  unsigned depth = 0;
};

class Importer {
public:
  Importer(const ModelFile &file, llvm::StringRef path, const ImportOptions &options,
           mlir::MLIRContext *context);

  /// The module, or null after one error.
  mlir::OwningOpRef<mlir::ModuleOp> import();

private:
  // ImportOnnx.cpp: the frame.
  mlir::LogicalResult readOpsets();
  mlir::LogicalResult importMain(mlir::ModuleOp module);
  void describe(mlir::ModuleOp module);
  mlir::DictionaryAttr describeValue(const pb::ValueInfoProto &value);

  // ImportNodes.cpp: what is inside.
  mlir::LogicalResult importGraphBody(const pb::GraphProto &graph, Scope &scope, Body &body);
  mlir::LogicalResult importInitializer(const pb::TensorProto &tensor, llvm::StringRef name,
                                        Scope &scope);
  /// What PyTorch trains is not folded as a constant, however small.
  bool isParameter(llvm::StringRef name);
  mlir::LogicalResult addInitializer(const ImportedTensor &tensor, llvm::StringRef name,
                                     Scope &scope, mlir::Location location,
                                     bool fromNode = false);
  mlir::LogicalResult importNode(const pb::NodeProto &node, Scope &scope, Body &body);
  mlir::LogicalResult importCall(const pb::NodeProto &node, const pb::FunctionProto &function,
                                 Scope &scope, Body &body);
  /// 1: it was a Constant or an Identity of an initializer and is done, 0: it
  /// was not, -1: it failed.
  int importAsInitializer(const pb::NodeProto &node, Scope &scope, Body &body);
  mlir::LogicalResult importSubgraph(const pb::GraphProto &graph, mlir::Region &region,
                                     Scope &scope, Body &body);
  mlir::LogicalResult importAttribute(const pb::AttributeProto &attribute, llvm::StringRef name,
                                      llvm::StringRef nodeName, mlir::Attribute &result);
  mlir::LogicalResult define(llvm::StringRef name, mlir::Value value, Scope &scope);
  mlir::FailureOr<mlir::Value> lookUp(llvm::StringRef name, Scope &scope, llvm::StringRef user);
  mlir::Value getAbsent(mlir::Location location);
  const pb::AttributeProto *resolve(const pb::AttributeProto &attribute, Body &body);
  void addHints(const pb::NodeProto &node, const Body &body, mlir::NamedAttrList &attributes);
  mlir::Location getLocation(const pb::NodeProto &node, const Body &body);

  mlir::LogicalResult fail(const llvm::Twine &message);

  const pb::ModelProto &model;
  std::string path;
  mlir::MLIRContext *context;
  mlir::OpBuilder builder;
  ExternalFiles externalFiles;
  TensorImporter tensors;
  llvm::StringMap<const pb::FunctionProto *> functions;
  llvm::StringMap<const pb::ValueInfoProto *> valueInfos; // of the main graph
  mlir::ArrayAttr signature;    // may be null
  llvm::StringSet<> parameters; // what the signature calls PARAMETER
  Body mainBody;
  int64_t nodeCount = 0;
};

/// "ai.onnx" for the default domain, which files spell in two ways.
inline llvm::StringRef getDomainKey(llvm::StringRef domain) {
  return domain.empty() ? "ai.onnx" : domain;
}

} // namespace moire::frontend

#endif // MOIRE_LIB_FRONTEND_IMPORTER_H
