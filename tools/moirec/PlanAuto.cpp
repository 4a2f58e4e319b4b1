//===- PlanAuto.cpp - moirec --plan auto ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "PlanAuto.h"
#include "moire/CostFromIR/CostFromIR.h"
#include "moire/CostModel/Share.h"
#include "moire/Planner/Search.h"
#include "moire/Support/Diagnostics.h"
#include "moire/Support/Dialects.h"
#include "llvm/Support/Format.h"

using namespace moire;

/// Holds the search to the axes of --mesh. What is no mesh is refused as without a plan.
static std::string holdAxes(const std::string &mesh, planner::SearchOptions &search) {
  search.pp = {1};
  llvm::SmallVector<llvm::StringRef> parts;
  llvm::StringRef(mesh).split(parts, ',', -1, /*KeepEmpty=*/false);
  for (llvm::StringRef part : parts) {
    auto [name, text] = part.split('=');
    std::vector<int> *axis = name == "dp"   ? &search.dp
                             : name == "ep" ? &search.ep
                             : name == "tp" ? &search.tp
                                            : nullptr;
    int size = 0;
    if (!axis || text.getAsInteger(10, size) || size < 1 || size > planner::kMostOfAxis)
      return "--mesh '" + part.str() +
             "' does not hold an axis of --plan auto; write dp, ep or tp with a size of 1 to " +
             std::to_string(planner::kMostOfAxis) + ", for example tp=1";
    if (!axis->empty())
      return "--mesh names axis '" + name.str() + "' twice";
    *axis = {size};
  }
  return {};
}

std::optional<std::string> moire::searchPlan(const AutoPlan &request,
                                             const CompileOptions &options, planner::Plan &plan,
                                             std::string &report) {
  planner::SearchOptions search;
  if (std::string error = holdAxes(options.mesh, search); !error.empty())
    return error;
  std::string path;
  cost::Cluster cluster;
  if (auto refusal = cost::resolve(cost::shareFolder(), "clusters", request.cluster, path))
    return *refusal;
  if (auto refusal = cost::readCluster(path, cluster))
    return *refusal;
  if (request.gpus > 0)
    if (auto refusal = cost::resize(cluster, request.gpus))
      return *refusal;

  // The model of one rank: what it is distributed to is the question.
  CompileOptions alone = options;
  alone.mesh.clear();
  alone.zero = 0;
  alone.dumpPhases.clear();
  alone.explain = false;
  alone.stopAfter = Phase::program;
  mlir::DialectRegistry registry;
  registerDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  UserDiagnostics diagnostics(&context);
  const std::optional<ImportedCost> cost = importCost(alone, context);
  if (!cost)
    return std::string();

  search.base.precision = options.precision;
  // A master copy, in f32 the parameter itself, and AdamW's moments.
  search.base.optimizerBytes = options.optimizer == "sgd" ? 4 : 12;
  search.schedules = {{scheduling::Kind::OneFOneB, 1}};
  search.searchSchedules = false;
  search.recompute = {cost::Recompute::None};
  search.microBatch = {
      static_cast<int>(std::max<int64_t>(1, cost->tokens / std::max(1, cost->model.sequence)))};
  if (request.zero)
    search.zero = {*request.zero};
  const long batch = request.globalBatch > 0
                         ? request.globalBatch
                         : static_cast<long>(search.microBatch.front()) * cluster.devices();
  planner::Found found;
  if (auto refusal = planner::search(cost->model, cluster, batch, search, found))
    return *refusal;
  plan = found.best.plan;
  const planner::Memory &memory = found.best.memory[found.best.fullest];
  llvm::raw_string_ostream out(report);
  out << "plan: " << (plan.ranks() > 1 ? plan.mesh() : "one rank") << " on '" << cluster.name
      << "', " << plan.microBatches
      << (plan.microBatches == 1 ? " micro-batch of " : " micro-batches of ") << plan.microBatch
      << llvm::format("; predicted %.3g s a step, %.3g GB of %.3g GB a device; fastest of %ld plans",
                      found.best.step.total(), memory.total() / 1e9, found.best.memoryLimit / 1e9,
                      found.considered);
  return std::nullopt;
}
