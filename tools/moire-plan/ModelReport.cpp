//===- ModelReport.cpp - Predictions as text -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Models.h"
#include <ostream>

using namespace moire::plan;
using moire::planner::Memory;
using moire::planner::Prediction;

/// `pp=16,ep=64, 120 micro-batches of 1, dualpipe, recompute selective, fp8`.
static std::string describe(const moire::planner::Plan &plan) {
  return text(plan.mesh(), ", ", plan.microBatches,
              plan.microBatches == 1 ? " micro-batch of " : " micro-batches of ", plan.microBatch,
              ", ", plan.schedule.str(), ", recompute ", moire::cost::name(plan.recompute), ", ",
              plan.precision, ", zero ", plan.zero);
}

static std::string partsOf(const Prediction &prediction, const moire::cost::ModelCost &model,
                           int rank) {
  std::string names;
  const moire::scheduling::Problem &problem = prediction.problem;
  for (int stage = 0; stage < problem.numStages(); ++stage) {
    if (stage >= static_cast<int>(prediction.parts.size()))
      break;
    bool here = false;
    for (const std::vector<int> &path : problem.rankOf)
      here |= path[stage] == rank;
    const auto [begin, end] = prediction.parts[stage];
    if (!here || begin >= end)
      continue;
    names += (names.empty() ? "" : ", ") + model.parts[begin].name;
    if (end - begin > 1)
      names += " to " + model.parts[end - 1].name;
  }
  return names;
}

void moire::plan::writePrediction(std::ostream &out, const cost::ModelCost &model,
                                  const ClusterResult &result, const ReportOptions &options) {
  const Prediction &p = result.prediction;
  out << model.name << ", " << count(model.parameters) << " parameters ("
      << count(model.activeParameters) << " active), sequences of " << model.sequence << ", on "
      << p.devices() << (p.devices() == 1 ? " device" : " devices") << " of " << result.cluster.name
      << "\n"
      << describe(p.plan) << "\n\n";
  out << "  step                   " << secondsText(p.step.total()) << " = "
      << secondsText(p.step.pipeline) << " pipeline + " << secondsText(p.step.gradients)
      << " gradients + " << secondsText(p.step.optimizer) << " optimizer\n"
      << "  tokens                 " << thousands(p.tokensPerSecond) << " a second, "
      << thousands(p.tokensPerStep) << " a step\n"
      << "  model FLOPs            " << scaled(p.modelRate, "FLOP/s") << " a device, MFU "
      << percent(p.mfu) << "\n"
      << "  hardware FLOPs         " << scaled(p.hardwareRate, "FLOP/s") << " a device, HFU "
      << percent(p.hfu) << "\n"
      << "  bubble                 " << percent(p.bubble) << " of the pipeline\n"
      << "  exposed communication  " << percent(p.exposedCommunication) << " of the step\n"
      << "  memory                 " << bytes(p.memory[p.fullest].total()) << " on pipeline rank "
      << p.fullest << ", of " << bytes(p.memoryLimit) << (p.fits() ? "" : ": it does not fit")
      << "\n\n";
  Table table(
      {"rank", "parameters", "gradients", "optimizer", "activations", "workspace", "all", "holds"},
      1);
  for (size_t r = 0; r < p.memory.size(); ++r) {
    const Memory &m = p.memory[r];
    table.add({std::to_string(r), bytes(m.parameters), bytes(m.gradients), bytes(m.optimizer),
               bytes(m.activations), bytes(m.workspace), bytes(m.total()),
               partsOf(p, model, static_cast<int>(r))});
  }
  table.write(out);
  if (p.problem.ranks > 1) {
    out << "\n";
    Outcome outcome;
    outcome.problem = p.problem;
    outcome.schedule = p.schedule;
    outcome.timing = p.timing;
    writeFittingTimetable(out, outcome, options);
  }
}

void moire::plan::writeFound(std::ostream &out, const planner::Found &found) {
  out << "\nThe best of " << found.considered << " plans by estimate, " << found.simulated
      << " of them simulated.\n";
  auto write = [&](const char *title, const std::vector<planner::Candidate> &candidates) {
    if (candidates.empty())
      return;
    out << "\n" << title << "\n";
    Table table({"step", "plan", "because"}, 2);
    for (const planner::Candidate &candidate : candidates)
      table.add({secondsText(candidate.prediction.step.total()),
                 describe(candidate.prediction.plan), candidate.reason});
    table.write(out);
  };
  write("Runners-up:", found.runnersUp);
  write("Faster, but too large:", found.tooLarge);
}

void moire::plan::writeClusters(std::ostream &out, const std::vector<ClusterResult> &results,
                                double tokens) {
  if (results.size() == 1)
    out << "\n";
  if (tokens > 0)
    out << "For " << count(tokens) << " tokens:\n";
  std::vector<std::string> head = {"cluster", "devices", "step", "tokens/s", "MFU", "memory"};
  if (tokens > 0)
    head.insert(head.end(), {"days", "device hours", "price"});
  head.push_back("plan");
  Table table(head, 1);
  for (const ClusterResult &result : results) {
    const Prediction &p = result.prediction;
    std::vector<std::string> row = {result.cluster.name,     std::to_string(p.devices()),
                                    secondsText(p.step.total()), thousands(p.tokensPerSecond),
                                    percent(p.mfu),          bytes(p.memory[p.fullest].total())};
    if (tokens > 0) {
      char days[32];
      std::snprintf(days, sizeof days, "%.1f", result.training.seconds / 86400);
      row.insert(row.end(), {days, thousands(result.training.deviceHours),
                             result.training.price > 0
                                 ? thousands(result.training.price) + " " + result.cluster.currency
                                 : "not known"});
    }
    row.push_back(describe(p.plan));
    table.add(row);
  }
  table.write(out);
}
