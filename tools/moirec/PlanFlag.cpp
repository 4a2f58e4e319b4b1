//===- PlanFlag.cpp - moirec --plan ---------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "PlanFlag.h"

using namespace moire;

std::string moire::applyPlan(const planner::Plan &plan, const std::string &name,
                             CompileOptions &options, std::string &warnings) {
  const std::string file = "'" + name + "'";
  if (plan.precision != "f32" && plan.precision != "bf16")
    return "the plan " + file + " has precision = \"" + plan.precision +
           "\"; programs have f32 and bf16";
  if (plan.ranks() > 1)
    options.mesh = "pp=" + std::to_string(plan.pp) + ",dp=" + std::to_string(plan.dp) + ",ep=" + std::to_string(plan.ep) +
                   ",tp=" + std::to_string(plan.tp);
  if (plan.pp > 1) {
    options.schedule = plan.schedule.str();
    options.microBatches = plan.microBatches;
  }
  options.precision = plan.precision;
  // Ranks of tp alone hold nothing alike.
  options.zero = plan.dp * plan.ep > 1 ? plan.zero : 0;
  if (plan.recompute != cost::Recompute::None)
    warnings +=
        std::string("the plan has recompute = \"") + cost::name(plan.recompute) +
        "\", but what is computed again is the compiler's own choice: other memory, the same "
        "numbers\n";
  return {};
}

std::string moire::checkBatch(mlir::ModuleOp module, const planner::Plan &plan) {
  auto batch = module->getAttrOfType<mlir::IntegerAttr>("moire.batch");
  if (!batch || batch.getInt() == plan.microBatch)
    return {};
  return "the plan's micro-batch has " + std::to_string(plan.microBatch) +
         " sequences, --bind gives " + std::to_string(batch.getInt()) + "; bind the batch to " +
         std::to_string(plan.microBatch);
}

std::string moire::howToRun(const planner::Plan &plan, const std::string &output) {
  // A schedule holds its micro-batches.
  const std::string accumulate =
      plan.pp > 1 ? "" : " --accumulate " + std::to_string(plan.microBatches);
  return "plan: " + std::to_string(plan.ranks()) + (plan.ranks() == 1 ? " rank; " : " ranks; ") +
         output + "/trainer" + accumulate + " takes its " + std::to_string(plan.globalBatch()) +
         " sequences a step";
}
