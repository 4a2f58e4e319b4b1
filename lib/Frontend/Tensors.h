//===- Tensors.h - TensorProtos become places and values -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_FRONTEND_TENSORS_H
#define MOIRE_LIB_FRONTEND_TENSORS_H

#include "ExternalFiles.h"
#include "ModelFile.h"
#include "dialects/onnx/Onnx.h"
#include "moire/Frontend/ImportOnnx.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace moire::frontend {

struct ImportedTensor {
  mlir::RankedTensorType type;
  onnx::ExternalAttr external; // null: not in one piece in a file
  mlir::DenseElementsAttr value; // null: large, or not of a type with values here
};

class TensorImporter {
public:
  /// `fileName`: the model's own, relative to its folder.
  TensorImporter(const ModelFile &model, ExternalFiles &files, llvm::StringRef fileName,
                 const ImportOptions &options, mlir::MLIRContext *context)
      : model(model), files(files), fileName(mlir::StringAttr::get(context, fileName)),
        options(options), context(context) {}

  /// On failure, the rest of the sentence "tensor 'name' …" is in `error`.
  /// Without `wantValue`, what lies in a file is left there.
  std::optional<ImportedTensor> import(const pb::TensorProto &tensor, std::string &error,
                                       bool wantValue = true);
  /// The same for a sparse tensor, as a dense value.
  std::optional<ImportedTensor> import(const pb::SparseTensorProto &tensor, std::string &error);

private:
  bool getShape(const google::protobuf::RepeatedField<int64_t> &dims, int32_t dataType,
                ImportedTensor &result, std::string &error);
  bool findExternal(const pb::TensorProto &tensor, int64_t bytes, ImportedTensor &result,
                    const MappedFile *&source, std::string &error);

  const ModelFile &model;
  ExternalFiles &files;
  mlir::StringAttr fileName;
  const ImportOptions &options;
  mlir::MLIRContext *context;
};

} // namespace moire::frontend

#endif // MOIRE_LIB_FRONTEND_TENSORS_H
