//===- Estimate.cpp - A plan's time and memory by formulas -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Estimate.h"
#include <algorithm>
#include <tuple>

using namespace moire::planner;
using namespace moire::cost;
using moire::scheduling::Kind;
using moire::scheduling::StageCost;

/// Whether two parts cost the same, whatever their names.
static bool same(const Part &a, const Part &b) {
  const auto scalars = [](const Part &p) {
    return std::tie(p.attentionFlops, p.attentionFused, p.residualTraffic, p.splitTraffic,
                    p.routedTraffic, p.cheapTraffic, p.kernels, p.parameters,
                    p.replicatedParameters, p.expertParameters, p.recomputable, p.exchangeElements,
                    p.experts, p.topK, p.nodeLimit, p.reduceElements, p.outputElements);
  };
  const auto kept = [](const Activations &k) {
    return std::tie(k.residual, k.narrowResidual, k.split, k.narrowSplit, k.routed, k.narrowRouted,
                    k.wideResidual, k.wideSplit);
  };
  const auto product = [](const Product &p) {
    return std::tie(p.k, p.n, p.split, p.rowsPerToken, p.experts, p.cheap, p.wide);
  };
  return scalars(a) == scalars(b) &&
         std::equal(
             std::begin(a.kept), std::end(a.kept), std::begin(b.kept),
             [&](const Activations &x, const Activations &y) { return kept(x) == kept(y); }) &&
         std::equal(a.products.begin(), a.products.end(), b.products.begin(), b.products.end(),
                    [&](const Product &x, const Product &y) { return product(x) == product(y); });
}

Estimator::Estimator(const ModelCost &model, const Cluster &cluster, const Plan &plan)
    : model(model), cluster(cluster) {
  // Equal parts, which most layers are, are costed once.
  for (size_t i = 0; i < model.parts.size(); ++i) {
    const Part &part = model.parts[i];
    parts.push_back(i > 0 && same(part, model.parts[i - 1])
                        ? parts.back()
                        : costOfPart(model, part, cluster, plan));
  }
}

/// Makes `whole` and what goes with it those of the plan's zero.
void Estimator::divide(const Plan &plan) {
  if (plan.zero == zero && overlapsExchanges(plan) == overlaps)
    return;
  zero = plan.zero;
  overlaps = overlapsExchanges(plan);
  whole = stageOf(parts, {0, static_cast<int>(parts.size())}, cluster, plan);
  largest = longest = 0;
  for (PartCost &part : parts) {
    part.dividedBuffer = dividedBufferOf(part, plan);
    largest = std::max(largest, part.recomputed + (part.recomputed + part.activations) / 2 +
                                    part.exchangeBuffer + 4 * part.output + part.dividedBuffer);
    longest =
        std::max(longest, part.forwardCompute() + part.backwardCompute() + part.time.exchange +
                              part.time.exchangeBack + part.time.reduce + part.time.reduceBack);
  }
}

/// Activations of a rank at once, in those of all its stages for one micro-batch.
static double inFlight(Kind kind, double P, double M) {
  switch (kind.name) {
  case Kind::GPipe:
    return M;
  case Kind::Interleaved:
    return std::min(M, P + (P - 1) / kind.chunks);
  case Kind::ZeroBubbleH2:
    return std::min(M, 2 * P - 1);
  case Kind::VHalf:
    return std::min(M, P / 2 + 1);
  case Kind::DualPipe: // a stage of each direction; one micro-batch is on one of them
    return std::min(M, P + 1);
  case Kind::DualPipeV:
    return std::min(M, P + 0.5);
  default:
    return std::min(M, P);
  }
}

Estimated Estimator::estimate(const Plan &plan) {
  divide(plan);
  const double P = plan.pp, M = plan.microBatches;
  const Kind kind = plan.schedule;
  // One rank's share of the model; cuts between parts leave some ranks with more.
  const double stages = kind.stages(plan.pp);
  const double F = whole.forward / P, B = whole.backward / P, W = whole.backwardWeight / P;
  const double uneven = stages > 1 ? longest / 2 * (stages / P) : 0;
  const double collectives = (whole.forwardCollective + whole.backwardCollective) / P;
  const double compute = F + B - collectives;
  const double paired = std::max({compute, collectives / cluster.contention, F, B});
  double perMicroBatch = F + B + uneven, bubble = (P - 1) * (F + B);
  switch (kind.name) {
  case Kind::Interleaved:
    bubble /= kind.chunks;
    break;
  case Kind::ZeroBubbleH1:
    bubble = (P - 1) * std::max(0.0, F + B - 2 * W);
    break;
  case Kind::ZeroBubbleH2:
  case Kind::ZeroBubbleV:
    bubble = 0;
    break;
  case Kind::VHalf:
    bubble /= 2;
    break;
  case Kind::Auto:
    perMicroBatch = paired + uneven;
    bubble /= 4;
    break;
  case Kind::DualPipe:
  case Kind::DualPipeV: {
    perMicroBatch = paired + uneven;
    const double half = kind.name == Kind::DualPipe ? P / 2 - 1 : (P - 1) / 2;
    bubble = std::max(0.0, half * (paired + B - 3 * W)) + P * (F + B - paired) / 2;
    break;
  }
  default:
    break;
  }
  if (P == 1)
    bubble = 0;
  Estimated estimated;
  estimated.plan = plan;
  estimated.least = M * std::min(F + B, paired);

  double state = 0, reduce = 0, gathered = 0;
  const Group dense = denseGroup(plan), experts = expertGroup(plan);
  const double weight = plan.precision == "f32" ? 4 : 2;
  for (const PartCost &part : parts) {
    state += stateOf(part, plan).total();
    if (plan.zero == 1 || plan.zero == 2)
      gathered += allGatherTime(cluster, dense, part.parameters * weight) +
                  allGatherTime(cluster, experts, part.expertParameters * weight);
    if (plan.zero < 2)
      reduce += reduceScatterTime(cluster, dense, part.parameters * plan.gradientBytes) +
                reduceScatterTime(cluster, experts, part.expertParameters * plan.gradientBytes);
  }
  const double copies = kind.name == Kind::DualPipe ? 2 : 1;
  if (P == 1 && !parts.empty()) {
    PartCost shared;
    shared.parameters = std::min(parts.back().parameters, model.tied / plan.tp);
    state -= stateOf(shared, plan).total();
  }
  estimated.seconds = M * perMicroBatch + bubble + copies * (reduce * 0.75 + gathered) / P;
  estimated.memory = copies * state / P + inFlight(kind, P, M) * whole.activationBytes / P +
                     largest + cluster.device.reserved;
  return estimated;
}
