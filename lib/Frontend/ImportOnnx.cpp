//===- ImportOnnx.cpp - ONNX files become onnx dialect modules -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Frontend/ImportOnnx.h"
#include "Importer.h"
#include "StageCuts.h"
#include "Types.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Tools/mlir-translate/Translation.h"
#include "moire/Frontend/Parameters.h"
#include "moire/Support/Dialects.h"
#include "moire/Support/Recipes.h"
#include "moire/Support/StageCuts.h"
#include "runtime/include/moire/rt/checksum.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;
using namespace moire;
using namespace moire::frontend;

// What the importer was written for; the model phase knows each op's versions.
static constexpr int64_t minIr = 3, maxIr = 13, minOpset = 7, maxOpset = 25;

Importer::Importer(const ModelFile &file, StringRef path, const ImportOptions &options,
                   MLIRContext *context)
    : model(file.proto()), path(path), context(context), builder(context),
      externalFiles(llvm::sys::path::parent_path(path).str()),
      tensors(file, externalFiles, llvm::sys::path::filename(path), options, context) {}

LogicalResult Importer::fail(const Twine &message) {
  return emitError(UnknownLoc::get(context)) << "'" << path << "': " << message.str();
}

LogicalResult Importer::readOpsets() {
  if (model.ir_version() < minIr || model.ir_version() > maxIr)
    return fail("IR version " + Twine(model.ir_version()) + " is not supported; versions " +
                Twine(minIr) + " to " + Twine(maxIr) + " are" + recipe("opset"));
  for (const pb::OperatorSetIdProto &opset : model.opset_import()) {
    StringRef domain = getDomainKey(opset.domain());
    if (domain == "ai.onnx" && (opset.version() < minOpset || opset.version() > maxOpset))
      return fail("opset " + Twine(opset.version()) + " is not supported; " + Twine(minOpset) +
                  " to " + Twine(maxOpset) + " are: export with opset_version=18" +
                  recipe("opset"));
    mainBody.opsets[domain] = opset.version();
  }
  return success();
}

/// onnx.name, and onnx.dims where a dimension has a name.
DictionaryAttr Importer::describeValue(const pb::ValueInfoProto &value) {
  NamedAttrList attributes;
  attributes.set("onnx.name", builder.getStringAttr(value.name()));
  SmallVector<StringRef> dims;
  for (const auto &dim : value.type().tensor_type().shape().dim())
    dims.push_back(dim.dim_param());
  if (llvm::any_of(dims, [](StringRef dim) { return !dim.empty(); }))
    attributes.set("onnx.dims", builder.getStrArrayAttr(dims));
  return attributes.getDictionary(context);
}

LogicalResult Importer::importMain(ModuleOp module) {
  const pb::GraphProto &graph = model.graph();
  llvm::StringSet<> initialized;
  for (const pb::TensorProto &tensor : graph.initializer())
    initialized.insert(tensor.name());
  for (const pb::SparseTensorProto &tensor : graph.sparse_initializer())
    initialized.insert(tensor.values().name());
  for (const pb::ValueInfoProto &value : graph.value_info())
    valueInfos[value.name()] = &value;
  signature = parseSignature(findProperty(graph.metadata_props(),
                                          "pkg.torch.export.ExportedProgram.graph_signature"),
                             context);
  if (signature)
    for (auto entry : signature.getAsRange<ArrayAttr>())
      if (cast<StringAttr>(entry[1]).getValue() == "PARAMETER")
        parameters.insert(cast<StringAttr>(entry[2]).getValue());

  // 1. The arguments: an input with an initializer is a weight (before IR 4 all
  // of them were listed so).
  SmallVector<Type> argumentTypes;
  SmallVector<DictionaryAttr> argumentAttributes, resultAttributes;
  SmallVector<StringRef> argumentNames;
  for (const pb::ValueInfoProto &input : graph.input()) {
    if (initialized.contains(input.name()))
      continue;
    argumentNames.push_back(input.name());
    argumentTypes.push_back(convertType(input.type(), context));
    argumentAttributes.push_back(describeValue(input));
  }
  for (const pb::ValueInfoProto &output : graph.output())
    resultAttributes.push_back(describeValue(output));
  auto function = builder.create<func::FuncOp>(
      builder.getUnknownLoc(), "main", builder.getFunctionType(argumentTypes, {}),
      ArrayRef<NamedAttribute>(), argumentAttributes);
  Block *block = function.addEntryBlock();
  builder.setInsertionPointToStart(block);

  // 2. The body.
  Scope scope;
  for (auto [name, argument] : llvm::zip(argumentNames, block->getArguments()))
    if (failed(define(name, argument, scope)))
      return failure();
  if (failed(importGraphBody(graph, scope, mainBody)))
    return failure();

  // 3. The results. Their types are the values', and where the file does not
  // tell those, what it says of the output.
  SmallVector<Value> results;
  for (const pb::ValueInfoProto &output : graph.output()) {
    FailureOr<Value> value = lookUp(output.name(), scope, "the graph's output list");
    if (failed(value))
      return failure();
    results.push_back(*value);
  }
  builder.create<func::ReturnOp>(builder.getUnknownLoc(), results);
  function.setType(builder.getFunctionType(argumentTypes, ValueRange(results).getTypes()));
  function.setAllResultAttrs(resultAttributes);
  return success();
}

/// The module's attributes: what the file says of itself, and which files the
/// weights lie in.
void Importer::describe(ModuleOp module) {
  Builder b(context);
  module->setAttr("onnx.ir_version", b.getI64IntegerAttr(model.ir_version()));
  NamedAttrList opsets;
  for (const auto &opset : mainBody.opsets)
    opsets.set(opset.getKey(), b.getI64IntegerAttr(opset.getValue()));
  module->setAttr("onnx.opsets", opsets.getDictionary(context));
  if (!model.producer_name().empty())
    module->setAttr("onnx.producer",
                    b.getStringAttr(model.producer_name() + " " + model.producer_version()));
  if (signature)
    module->setAttr("onnx.graph_signature", signature);

  SmallString<256> absolute(path);
  llvm::sys::fs::make_absolute(absolute);
  module->setAttr("moire.model_path", b.getStringAttr(absolute));
  llvm::SetVector<StringAttr> names;
  names.insert(b.getStringAttr(llvm::sys::path::filename(path)));
  module.walk([&](onnx::InitializerOp op) {
    if (op.getExternal() && !op.getExternal()->getFile().empty())
      names.insert(op.getExternal()->getFile());
  });
  SmallVector<Attribute> files;
  for (StringAttr name : names) {
    SmallString<256> file(llvm::sys::path::parent_path(absolute));
    llvm::sys::path::append(file, name.getValue());
    rt::FileChecksum checksum = rt::fileChecksum(file.c_str());
    files.push_back(b.getDictionaryAttr(
        {b.getNamedAttr("path", name),
         b.getNamedAttr("bytes", b.getI64IntegerAttr(checksum.bytes)),
         b.getNamedAttr("checksum", b.getI64IntegerAttr(static_cast<int64_t>(checksum.sum)))}));
    if (files.size() == 1)
      module->setAttr("moire.model_checksum", cast<DictionaryAttr>(files[0]).get("checksum"));
  }
  module->setAttr("moire.files", b.getArrayAttr(files));
}

OwningOpRef<ModuleOp> Importer::import() {
  if (failed(readOpsets()))
    return nullptr;
  for (const pb::FunctionProto &function : model.functions())
    functions[getDomainKey(function.domain()).str() + "::" + function.name() +
              "::" + function.overload()] = &function;
  OwningOpRef<ModuleOp> module = ModuleOp::create(builder.getUnknownLoc());
  builder.setInsertionPointToStart(module->getBody());
  if (failed(importMain(*module)))
    return nullptr;
  describe(*module);
  // What the checks above let through must still be sound IR.
  if (failed(verify(*module)))
    return nullptr;
  return module;
}

OwningOpRef<ModuleOp> moire::frontend::importOnnx(StringRef path, MLIRContext *context,
                                                  const ImportOptions &options) {
  context->loadDialect<func::FuncDialect, onnx::OnnxDialect>();
  std::string error;
  std::unique_ptr<ModelFile> file = ModelFile::open(path.str(), error);
  if (!file) {
    emitError(UnknownLoc::get(context)) << "'" << path << "' " << error;
    return nullptr;
  }
  OwningOpRef<ModuleOp> module = Importer(*file, path, options, context).import();
  if (!module || !options.stages)
    return module;
  if (DictionaryAttr cuts = readStageCuts(file->proto(), *options.stages, context, error)) {
    (*module)->setAttr(kStageCutsAttr, cuts);
  } else if (!error.empty()) {
    emitError(UnknownLoc::get(context)) << error;
    return nullptr;
  }
  return module;
}

void moire::frontend::registerImportOnnx() {
  static llvm::cl::opt<bool> allowMissing(
      "allow-missing-weights",
      llvm::cl::desc("Import an ONNX graph whose external weight files are not there"));
  static TranslateToMLIRRegistration registration(
      "import-onnx", "Import an ONNX file into the onnx dialect",
      [](llvm::SourceMgr &source, MLIRContext *context) -> OwningOpRef<Operation *> {
        ImportOptions options;
        options.allowMissingWeights = allowMissing;
        // The file is opened again: its place on the disk is part of the result.
        return importOnnx(
            source.getMemoryBuffer(source.getMainFileID())->getBufferIdentifier(), context,
            options);
      },
      [](DialectRegistry &registry) { registerDialects(registry); });

  static TranslateFromMLIRRegistration explain(
      "explain-params", "Print the parameter table of an imported module",
      [](Operation *op, raw_ostream &os) -> LogicalResult {
        auto module = dyn_cast<ModuleOp>(op);
        if (!module)
          return op->emitError("must be a module");
        buildParameterTable(module).print(os);
        return success();
      },
      [](DialectRegistry &registry) { registerDialects(registry); });
}
