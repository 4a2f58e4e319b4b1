//===- Stages.cpp - Parts of a model as stages of a pipeline ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Stages.h"
#include <algorithm>
#include <limits>

using namespace moire::planner;
using namespace moire::cost;
using moire::scheduling::Kind;
using moire::scheduling::StageCost;

//===----------------------------------------------------------------------===//
// Cuts
//===----------------------------------------------------------------------===//

std::vector<std::pair<int, int>> moire::planner::cutParts(const std::vector<double> &times,
                                                          int count) {
  const int n = static_cast<int>(times.size());
  std::vector<double> sum(n + 1, 0);
  for (int i = 0; i < n; ++i)
    sum[i + 1] = sum[i] + times[i];
  const double infinite = std::numeric_limits<double>::infinity();

  // 1. The least longest stage: longest[c][i] for c stages of the first i parts.
  std::vector<double> longest(sum.begin(), sum.end());
  longest[0] = infinite;
  for (int c = 2; c <= count; ++c) {
    std::vector<double> next(n + 1, infinite);
    for (int i = c; i <= n; ++i)
      for (int j = i - 1; j >= c - 1 && sum[i] - sum[j] < next[i]; --j)
        next[i] = std::min(next[i], std::max(longest[j], sum[i] - sum[j]));
    longest = next;
  }
  const double most = longest[n] * (1 + 1e-9);

  // 2. Within it, the least sum of squares.
  std::vector<std::vector<int>> from(count + 1, std::vector<int>(n + 1, -1));
  std::vector<double> squares(n + 1, infinite);
  squares[0] = 0;
  for (int c = 1; c <= count; ++c) {
    std::vector<double> next(n + 1, infinite);
    for (int i = c; i <= n; ++i)
      for (int j = i - 1; j >= c - 1; --j) {
        const double time = sum[i] - sum[j];
        if (time > most)
          break;
        if (squares[j] + time * time < next[i] * (1 - 1e-12)) {
          next[i] = squares[j] + time * time;
          from[c][i] = j;
        }
      }
    squares = next;
  }
  std::vector<std::pair<int, int>> ranges(count);
  for (int c = count, i = n; c > 0; --c) {
    ranges[c - 1] = {from[c][i], i};
    i = from[c][i];
  }
  return ranges;
}

//===----------------------------------------------------------------------===//
// State
//===----------------------------------------------------------------------===//

/// DualPipe has each stage on two ranks.
static double copies(const Plan &plan) { return plan.schedule.name == Kind::DualPipe ? 2 : 1; }

double moire::planner::replicas(const Plan &plan) {
  return static_cast<double>(plan.dp) * plan.ep * copies(plan);
}

double moire::planner::expertReplicas(const Plan &plan) { return plan.dp * copies(plan); }

Group moire::planner::denseGroup(const Plan &plan) {
  return {static_cast<int>(replicas(plan)), plan.tp};
}

Group moire::planner::expertGroup(const Plan &plan) {
  return {static_cast<int>(expertReplicas(plan)), plan.tp * plan.ep};
}

State moire::planner::stateOf(const PartCost &part, const Plan &plan) {
  const bool f32 = plan.precision == "f32";
  const double weight = f32 ? 4 : 2;
  // In f32 the parameters are their own master copy.
  const double optimizer = std::max(0.0, plan.optimizerBytes - (f32 ? 4 : 0));
  State state;
  const std::pair<double, double> kinds[] = {{part.parameters, replicas(plan)},
                                             {part.expertParameters, expertReplicas(plan)}};
  for (const auto &[parameters, holders] : kinds) {
    state.parameters += parameters * weight / (plan.zero >= 3 ? holders : 1);
    state.gradients += parameters * plan.gradientBytes / (plan.zero >= 2 ? holders : 1);
    state.optimizer += parameters * optimizer / (plan.zero >= 1 ? holders : 1);
  }
  return state;
}

double moire::planner::dividedBufferOf(const PartCost &part, const Plan &plan) {
  const double weight = plan.precision == "f32" ? 4 : 2;
  const double divided = (replicas(plan) > 1 ? part.parameters : 0) +
                         (expertReplicas(plan) > 1 ? part.expertParameters : 0);
  return divided * ((plan.zero >= 2 ? plan.gradientBytes : 0) + (plan.zero >= 3 ? 2 * weight : 0));
}

std::vector<PartCost> moire::planner::heldParts(const ModelCost &model,
                                                const std::vector<PartCost> &parts,
                                                const std::vector<int> &held, const Plan &plan) {
  std::vector<PartCost> result;
  for (const int i : held)
    result.push_back(parts[i]);
  const int last = static_cast<int>(parts.size()) - 1;
  if (last > 0 && !held.empty() && held.front() == 0 && held.back() == last)
    result.back().parameters = std::max(0.0, result.back().parameters - model.tied / plan.tp);
  return result;
}

//===----------------------------------------------------------------------===//
// Stages
//===----------------------------------------------------------------------===//

bool moire::planner::overlapsExchanges(const Plan &plan) {
  return plan.schedule.name == Kind::DualPipe || plan.schedule.name == Kind::DualPipeV ||
         plan.schedule.name == Kind::Auto;
}

/// What a collective of `time` leaves uncovered that runs beside `compute`, where the network is
/// busy for `other` already.
static double uncovered(double time, double compute, double other, double contention) {
  return std::max(0.0, time - std::max(0.0, compute * contention - other));
}

StageCost moire::planner::stageOf(const std::vector<PartCost> &parts, std::pair<int, int> range,
                                  const Cluster &cluster, const Plan &plan) {
  StageCost stage{};
  stage.forward = stage.backward = stage.backwardInput = stage.backwardWeight = 0;
  for (int i = range.first; i < range.second; ++i) {
    const PartCost &part = parts[i];
    const PartTime &time = part.time;
    double forwardCollective = time.exchange + time.reduce;
    double backwardCollective = time.exchangeBack + time.reduceBack;
    if (plan.zero >= 2) {
      // Gradients leave after each backward; divided parameters come before each pass.
      const Group dense = denseGroup(plan), experts = expertGroup(plan);
      const double weight = plan.precision == "f32" ? 4 : 2;
      const double gather =
          plan.zero < 3 ? 0
                        : allGatherTime(cluster, dense, part.parameters * weight) +
                              allGatherTime(cluster, experts, part.expertParameters * weight);
      const double scatter =
          reduceScatterTime(cluster, dense, part.parameters * plan.gradientBytes) +
          reduceScatterTime(cluster, experts, part.expertParameters * plan.gradientBytes);
      const bool overlaps = overlapsExchanges(plan);
      forwardCollective +=
          uncovered(gather, time.forward, overlaps ? time.exchange : 0, cluster.contention);
      backwardCollective += uncovered(gather + scatter, part.backwardCompute(),
                                      overlaps ? time.exchangeBack : 0, cluster.contention);
    }
    stage.forward += time.forward + forwardCollective;
    stage.backwardInput += time.backwardInput + backwardCollective;
    stage.backwardWeight += time.backwardWeight;
    stage.forwardCollective += forwardCollective;
    stage.backwardCollective += backwardCollective;
    stage.parameterBytes += stateOf(part, plan).total();
    stage.activationBytes += part.activations;
  }
  stage.backward = stage.backwardInput + stage.backwardWeight;
  stage.outputBytes =
      range.second == static_cast<int>(parts.size()) ? 0 : parts[range.second - 1].output;
  return stage;
}
