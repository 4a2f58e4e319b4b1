//===- CostFromIR.cpp - What an ONNX model costs, from its IR ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Parts.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace moire;

std::optional<ImportedCost> moire::importCost(const CompileOptions &given, MLIRContext &context) {
  CompileOptions options = given;
  options.init = true; // no weight is read
  options.stopAfter = Phase::model;
  OwningOpRef<ModuleOp> model = runPhases(options, context);
  if (!model)
    return {};
  auto forward = model->lookupSymbol<func::FuncOp>("forward");
  if (!forward) {
    emitError(model->getLoc()) << "the model has no function @forward to cost";
    return {};
  }
  const Parts parts = cutForward(forward);
  ImportedCost result;
  result.model.name = llvm::sys::path::stem(options.model).str();
  // The parameters' names are the model module's, which lives until the end.
  const ParameterParts parameters = costForward(*model, parts, result);

  options.stopAfter = Phase::program;
  OwningOpRef<ModuleOp> program = runPhases(options, context);
  if (!program)
    return {};
  costProgram(*program, parts, parameters, options.precision == "bf16" ? 2 : 4, result);
  cost::addTotals(result.model);
  return result;
}
