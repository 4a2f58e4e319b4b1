//===- Passes.cpp - onnx-bind, onnx-to-nn and their pipeline -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Conversion/Passes.h"
#include "dialects/nn/NN.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

namespace moire::conversion {
#define GEN_PASS_DEF_ONNXBIND
#define GEN_PASS_DEF_ONNXTONN
#include "lib/Conversion/Passes.h.inc"
} // namespace moire::conversion

using namespace mlir;
using namespace moire;

namespace {
struct OnnxBind : conversion::impl::OnnxBindBase<OnnxBind> {
  using OnnxBindBase::OnnxBindBase;
  void runOnOperation() override {
    conversion::Bindings bindings;
    std::string error;
    std::vector<std::string> texts(sizes.begin(), sizes.end());
    if (failed(conversion::parseBindings(texts, bindings, error))) {
      emitError(UnknownLoc::get(&getContext())) << error;
      return signalPassFailure();
    }
    if (failed(conversion::bindDimensions(getOperation(), bindings)))
      signalPassFailure();
  }
};

/// What a trainer needs to write the model's files again: `moire.saved`, what PyTorch's
/// state_dict() calls the parameters, [symbol, name]; `moire.merged`, who reads initializers that
/// hold several parameters, [initializer, [symbol, op type, input]…].
void setExportAttributes(ModuleOp module, const frontend::ParameterTable &table) {
  Builder b(module.getContext());
  SmallVector<Attribute> saved, merged;
  for (const frontend::Parameter &p : table.parameters) {
    if (!p.saved || p.constant)
      continue;
    saved.push_back(b.getStrArrayAttr({p.symbol, p.torchName.empty() ? p.symbol : p.torchName}));
    if (!p.tiedName.empty())
      saved.push_back(b.getStrArrayAttr({p.symbol, p.tiedName}));
  }
  for (const frontend::MergedInitializer &m : table.merged) {
    SmallVector<Attribute> row = {b.getStringAttr(m.initializer)};
    for (const frontend::MergedInitializer::Use &use : m.uses)
      row.push_back(b.getArrayAttr({b.getStringAttr(use.symbol), b.getStringAttr(use.node),
                                    b.getI64IntegerAttr(use.input)}));
    merged.push_back(b.getArrayAttr(row));
  }
  module->setAttr("moire.saved", b.getArrayAttr(saved));
  if (!merged.empty())
    module->setAttr("moire.merged", b.getArrayAttr(merged));
}

struct OnnxToNN : conversion::impl::OnnxToNNBase<OnnxToNN> {
  using OnnxToNNBase::OnnxToNNBase;
  void runOnOperation() override {
    frontend::ParameterTable table = frontend::buildParameterTable(getOperation());
    std::string error;
    if (!freeze.empty() && table.freeze(freeze, error) < 0) {
      emitError(UnknownLoc::get(&getContext())) << error;
      return signalPassFailure();
    }
    if (failed(conversion::convertOnnxToNN(getOperation(), table)))
      return signalPassFailure();
    // What gradients are named without: a wrapper's name in front of all of them.
    getOperation()->setAttr("moire.name_prefix",
                            StringAttr::get(&getContext(), table.getSharedPrefix()));
    setExportAttributes(getOperation(), table);
  }
};
} // namespace

void conversion::buildConversionPipeline(OpPassManager &pm, const ConversionOptions &options) {
  OnnxBindOptions bind;
  bind.sizes = options.bind;
  pm.addPass(createOnnxBind(bind));
  OnnxToNNOptions toNN;
  toNN.freeze = options.freeze;
  pm.addPass(createOnnxToNN(toNN));
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

namespace {
struct PipelineOptions : PassPipelineOptions<PipelineOptions> {
  ListOption<std::string> bind{*this, "bind", llvm::cl::desc("NAME=SIZE per symbolic dimension")};
  Option<std::string> freeze{*this, "freeze", llvm::cl::desc("parameters not to train (regex)")};
};
} // namespace

void conversion::registerConversionPipelines() {
  PassPipelineRegistration<PipelineOptions>(
      "onnx-to-model", "The conversion part of the model phase: onnx to nn",
      [](OpPassManager &pm, const PipelineOptions &options) {
        ConversionOptions given;
        given.bind.assign(options.bind.begin(), options.bind.end());
        given.freeze = options.freeze;
        buildConversionPipeline(pm, given);
      });
}
