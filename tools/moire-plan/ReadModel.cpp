//===- ReadModel.cpp - A model's cost from its shape or its IR -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Models.h"
#include "moire/CostModel/Share.h"
#include "mlir/IR/Diagnostics.h"
#include "moire/CostFromIR/CostFromIR.h"
#include "moire/Support/Dialects.h"

using namespace moire::plan;

/// Sizes beyond this are mistakes that would be computed with for hours.
static constexpr long long kMostOfDimension = 1 << 24;

static Refusal checkSizes(const std::vector<std::string> &bindings) {
  for (const std::string &binding : bindings)
    if (const size_t equals = binding.find('='); equals != std::string::npos)
      if (std::strtoll(binding.c_str() + equals + 1, nullptr, 10) > kMostOfDimension)
        return text("--bind ", binding, " is more than the ", kMostOfDimension,
                    " that are planned for; use ", binding.substr(0, equals + 1), kMostOfDimension,
                    " or less");
  return {};
}

static Refusal readOnnx(const ModelRequest &request, moire::planner::Plan &plan,
                        bool microBatchGiven, moire::cost::ModelCost &model) {
  if (Refusal refusal = checkSizes(request.bind))
    return refusal;
  moire::CompileOptions options;
  options.model = request.model;
  options.bind = request.bind;
  options.precision = plan.precision == "f32" ? "f32" : "bf16";
  mlir::DialectRegistry registry;
  moire::registerDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  std::string sentence;
  mlir::ScopedDiagnosticHandler first(&context, [&](mlir::Diagnostic &diagnostic) {
    if (sentence.empty() && diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error)
      sentence = diagnostic.str();
  });
  const std::optional<moire::ImportedCost> cost = moire::importCost(options, context);
  if (!cost)
    return sentence.empty() ? text("cannot compile '", request.model, "' to cost it") : sentence;
  model = cost->model;
  if (!microBatchGiven)
    plan.microBatch =
        static_cast<int>(std::max<int64_t>(1, cost->tokens / std::max(1, model.sequence)));
  return {};
}

Refusal moire::plan::readModel(const ModelRequest &request, planner::Plan &plan,
                               bool microBatchGiven, cost::ModelCost &model) {
  const std::string &name = request.model;
  if (name.size() > 5 && name.compare(name.size() - 5, 5, ".onnx") == 0) {
    if (request.sequence > 0)
      return text(
          "--sequence ", request.sequence, " is for shapes; '", name,
          "' takes its length from --bind, for example --bind batch=1,seq=", request.sequence);
    return readOnnx(request, plan, microBatchGiven, model);
  }
  if (!request.bind.empty())
    return text("--bind ", request.bind[0], " is for ONNX files; '", name,
                "' is a shape, whose length --sequence gives");
  std::string path;
  if (Refusal refusal = cost::resolve(request.share, "models", name, path))
    return refusal;
  cost::ModelShape shape;
  if (Refusal refusal = readShape(path, shape))
    return refusal;
  model = costOf(shape, request.sequence);
  return {};
}
