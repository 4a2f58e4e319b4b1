//===- Import.cpp - Makes imported graphs executable ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Import.h"
#include "dialects/onnx/Onnx.h"
#include "moire/Conversion/Passes.h"
#include "moire/Support/RunPasses.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace moire;

func::FuncOp findImportedGraph(ModuleOp module) {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  if (!main)
    return {};
  bool isOnnx = llvm::any_of(main.getBody().getOps(), [](Operation &op) {
    return isa_and_nonnull<onnx::OnnxDialect>(op.getDialect());
  });
  return isOnnx ? main : func::FuncOp();
}

/// "batch=2" for every dimension that is a plain name, "input_ids.0=2" for one
/// without a name; expressions of names follow from them.
static void bindFromData(func::FuncOp main, const interp::DataFolder &data,
                         std::vector<std::string> &bind) {
  for (auto [i, argument] : llvm::enumerate(main.getArguments())) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    auto input = main.getArgAttrOfType<StringAttr>(i, "onnx.name");
    const interp::Tensor *tensor = data.find(input ? input.getValue() : "", i);
    if (!type || !tensor || tensor->rank() != type.getRank())
      continue;
    auto dims = main.getArgAttrOfType<ArrayAttr>(i, "onnx.dims");
    for (auto [d, size] : llvm::enumerate(tensor->shape())) {
      if (!type.isDynamicDim(d))
        continue;
      std::string name;
      if (dims && d < dims.size())
        if (auto text = dyn_cast<StringAttr>(dims[d]))
          name = text.str();
      if (name.empty() && input)
        name = input.str() + "." + std::to_string(d);
      bool plain = !name.empty() && !llvm::isDigit(name[0]) && llvm::all_of(name, [](char c) {
        return llvm::isAlnum(c) || c == '_' || c == '.';
      });
      std::string prefix = name + "=";
      bool isGiven = llvm::any_of(bind, [&](StringRef b) { return b.starts_with(prefix); });
      if (plain && !isGiven)
        bind.push_back(prefix + std::to_string(size));
    }
  }
}

LogicalResult convertImportedGraph(ModuleOp module, const interp::DataFolder *data,
                                   std::vector<std::string> bind, StringRef crashReproducer) {
  if (data)
    bindFromData(findImportedGraph(module), *data, bind);
  conversion::ConversionOptions options;
  options.bind = std::move(bind);
  PassManager passes(module.getContext());
  conversion::buildConversionPipeline(passes, options);
  return runPasses(passes, module, crashReproducer);
}
