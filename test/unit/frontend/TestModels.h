//===- TestModels.h - Small models for the front end's tests -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TEST_FRONTEND_TESTMODELS_H
#define MOIRE_TEST_FRONTEND_TESTMODELS_H

#include "moire/Frontend/ImportOnnx.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "onnx.pb.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <cstring>
#include <fstream>

namespace moire::test {

/// A folder that is removed with its files.
class Folder {
public:
  Folder() { llvm::sys::fs::createUniqueDirectory("moire-frontend", path); }
  ~Folder() { llvm::sys::fs::remove_directories(path); }
  std::string file(llvm::StringRef name) const { return (path + "/" + name).str(); }
  std::string write(llvm::StringRef name, llvm::StringRef bytes) const {
    std::ofstream(file(name), std::ios::binary).write(bytes.data(), bytes.size());
    return file(name);
  }

private:
  llvm::SmallString<128> path;
};

/// Imports a file and keeps what was said instead of printing it.
struct Import {
  mlir::MLIRContext &context;
  std::string errors;
  unsigned count = 0;
  mlir::OwningOpRef<mlir::ModuleOp> module;

  Import(mlir::MLIRContext &context, llvm::StringRef path,
         const frontend::ImportOptions &options = {})
      : context(context) {
    mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
      errors += diagnostic.str() + "\n";
      ++count;
      return mlir::success();
    });
    module = frontend::importOnnx(path, &context, options);
  }
};

inline void addFloats(::onnx::TensorProto &tensor, llvm::StringRef name,
                      llvm::ArrayRef<int64_t> dims, llvm::ArrayRef<float> values) {
  tensor.set_name(name.str());
  tensor.set_data_type(::onnx::TensorProto::FLOAT);
  for (int64_t dim : dims)
    tensor.add_dims(dim);
  tensor.set_raw_data(values.data(), values.size() * sizeof(float));
}

inline void addValue(::onnx::ValueInfoProto &value, llvm::StringRef name,
                     llvm::ArrayRef<int64_t> dims) {
  value.set_name(name.str());
  auto *type = value.mutable_type()->mutable_tensor_type();
  type->set_elem_type(::onnx::TensorProto::FLOAT);
  for (int64_t dim : dims)
    if (auto *d = type->mutable_shape()->add_dim(); dim >= 0)
      d->set_dim_value(dim);
    else
      d->set_dim_param("batch");
}

inline ::onnx::NodeProto &addNode(::onnx::GraphProto &graph, llvm::StringRef type,
                                  llvm::ArrayRef<const char *> inputs, const char *output,
                                  llvm::StringRef name = "") {
  ::onnx::NodeProto &node = *graph.add_node();
  node.set_op_type(type.str());
  node.set_name(name.str());
  for (const char *input : inputs)
    node.add_input(input);
  node.add_output(output);
  return node;
}

inline ::onnx::ModelProto makeModel() {
  ::onnx::ModelProto model;
  model.set_ir_version(8);
  model.set_producer_name("test");
  model.add_opset_import()->set_version(17);
  return model;
}

/// y = Gemm(x, w, b), an If with two graphs, and a function call.
inline ::onnx::ModelProto makeSmallModel() {
  ::onnx::ModelProto model = makeModel();
  ::onnx::GraphProto &graph = *model.mutable_graph();
  addValue(*graph.add_input(), "x", {-1, 2});
  addValue(*graph.add_output(), "z", {-1, 3});
  addFloats(*graph.add_initializer(), "w", {3, 2}, {1, 2, 3, 4, 5, 6});
  addFloats(*graph.add_initializer(), "b", {3}, {7, 8, 9});
  ::onnx::TensorProto &flag = *graph.add_initializer();
  flag.set_name("flag");
  flag.set_data_type(::onnx::TensorProto::BOOL);
  flag.add_int32_data(1);
  auto &gemm = addNode(graph, "Gemm", {"x", "w", "b"}, "y", "/fc/Gemm");
  auto &transB = *gemm.add_attribute();
  transB.set_name("transB");
  transB.set_type(::onnx::AttributeProto::INT);
  transB.set_i(1);
  auto &choice = addNode(graph, "If", {"flag"}, "chosen", "/If");
  for (const char *name : {"then_branch", "else_branch"}) {
    auto &branch = *choice.add_attribute();
    branch.set_name(name);
    branch.set_type(::onnx::AttributeProto::GRAPH);
    branch.mutable_g()->set_name(name);
    addNode(*branch.mutable_g(), name[0] == 't' ? "Relu" : "Neg", {"y"}, "r");
    addValue(*branch.mutable_g()->add_output(), "r", {-1, 3});
  }
  addNode(graph, "Twice", {"chosen"}, "z", "/twice").set_domain("local");
  model.add_opset_import()->set_domain("local");
  ::onnx::FunctionProto &function = *model.add_functions();
  function.set_name("Twice");
  function.set_domain("local");
  function.add_input("a");
  function.add_output("b");
  function.add_opset_import()->set_version(16);
  auto &add = *function.add_node();
  add.set_op_type("Add");
  add.add_input("a");
  add.add_input("a");
  add.add_output("b");
  return model;
}

} // namespace moire::test

#endif // MOIRE_TEST_FRONTEND_TESTMODELS_H
