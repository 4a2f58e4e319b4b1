//===- PartTime.cpp - What one part costs on one rank ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Stages.h"
#include <algorithm>

using namespace moire::planner;
using namespace moire::cost;

namespace {
/// One part on one rank, for one micro-batch.
struct Coster {
  const Cluster &cluster;
  const Device &device;
  const Plan &plan;
  const Part &part;
  const double tokens;
  const bool fp8, f32;

  Coster(const ModelCost &model, const Part &part, const Cluster &cluster, const Plan &plan)
      : cluster(cluster), device(cluster.device), plan(plan), part(part),
        tokens(static_cast<double>(plan.microBatch) * model.sequence), fp8(plan.precision == "fp8"),
        f32(plan.precision == "f32") {}

  double element() const { return f32 ? 4 : 2; }
  double narrow() const { return fp8 ? 1 : element(); }
  /// What tp divides only along the sequence.
  double residualShare() const { return plan.sequenceParallel ? plan.tp : 1; }
  double moveTime(double bytes) const {
    return bytes / (device.memoryBandwidth * device.efficiency.memory);
  }

  enum Pass { Forward, Input, Weight };
  double productTime(const Product &product, Pass pass) const;
  double attentionTime(bool backward) const;
  double trafficTime() const;
  double bytes(const Activations &kept) const;
  double exchangeTime() const;
  /// What of a sum over tp the products beside it do not cover: at least its first piece.
  double exposed(double reduce, double products) const {
    return plan.overlapReduce ? std::max(reduce / plan.tp, reduce - products * cluster.contention)
                              : reduce;
  }
};
} // namespace

double Coster::productTime(const Product &product, Pass pass) const {
  const double k = product.split == Product::Row ? product.k / plan.tp : product.k;
  const double n = product.split == Product::Column ? product.n / plan.tp : product.n;
  const double groups = product.experts > 0 ? static_cast<double>(product.experts) / plan.ep : 1;
  const double rows = tokens * product.rowsPerToken * (product.experts > 0 ? plan.imbalance : 1);
  const bool inFp8 = fp8 && !product.wide;
  // A cluster without bf16 computes what stays wide in what it has.
  const std::string dtype = inFp8 || !fp8                ? plan.precision
                            : device.flops.count("bf16") ? "bf16"
                                                         : "fp8";
  double rate = matmulRate(device, dtype, rows / groups, k, n);
  if (product.experts > 0)
    rate *= device.efficiency.grouped;
  if (pass == Weight && inFp8)
    rate *= device.efficiency.fp8WeightGradient;
  const double in = inFp8 ? 1 : element(), weights = groups * k * n;
  double moved = 0, quantized = 0;
  switch (pass) {
  case Forward:
    moved = weights * in + rows * (k * in + n * element());
    quantized = rows * k * (element() + in);
    break;
  case Input: // Both layouts of the cotangent: one for each product of the backward.
    moved = weights * in + rows * (n * in + k * element());
    quantized = rows * n * (element() + 2 * in);
    break;
  case Weight: // Adds to the gradient.
    moved = 2 * weights * plan.gradientBytes + rows * (k + n) * in;
    quantized = rows * k * 2 * in; // the input in its other layout
    break;
  }
  return std::max(2 * rows * k * n / rate, moveTime(moved)) + (inFp8 ? moveTime(quantized) : 0);
}

double Coster::attentionTime(bool backward) const {
  const std::string dtype = device.flops.count("bf16") && !f32 ? "bf16" : plan.precision;
  // The fused backward computes the scores again: five products to the forward's two.
  const double work = part.attentionFlops * tokens / plan.tp *
                      (!backward             ? 1
                       : part.attentionFused ? 2.5
                                             : 2);
  return work / (device.flops.at(dtype) *
                 (backward ? device.efficiency.attentionBackward : device.efficiency.attention));
}

double Coster::trafficTime() const {
  return moveTime(tokens * element() *
                  (part.residualTraffic / residualShare() + part.splitTraffic / plan.tp +
                   part.routedTraffic * plan.imbalance / plan.tp));
}

double Coster::bytes(const Activations &kept) const {
  return tokens * (element() * (kept.residual / residualShare() + kept.split / plan.tp +
                                kept.routed * plan.imbalance / plan.tp) +
                   narrow() * (kept.narrowResidual / residualShare() + kept.narrowSplit / plan.tp +
                               kept.narrowRouted * plan.imbalance / plan.tp) +
                   4 * (kept.wideResidual / residualShare() + kept.wideSplit / plan.tp));
}

double Coster::exchangeTime() const {
  if (part.exchangeElements == 0)
    return 0;
  const Group group{plan.ep, plan.tp};
  // Dispatch sends what the experts' products take, with a scale of four bytes for each 128
  // values in fp8; combine sums in the wide type.
  const double dispatched = fp8 ? 1 + 4.0 / 128 : element();
  Exchange exchange{tokens * plan.imbalance / plan.tp, part.exchangeElements * dispatched,
                    part.topK, part.nodeLimit};
  double time = moire::cost::exchangeTime(cluster, group, exchange);
  exchange.bytesPerToken = part.exchangeElements * element();
  return time + moire::cost::exchangeTime(cluster, group, exchange);
}

PartTime moire::planner::timeOf(const ModelCost &model, const Part &part, const Cluster &cluster,
                                const Plan &plan) {
  const Coster coster(model, part, cluster, plan);
  PartTime time;
  double cheap = 0;
  for (const Product &product : part.products) {
    const double forward = coster.productTime(product, Coster::Forward);
    time.products += forward;
    cheap += product.cheap ? forward : 0;
    time.backwardInput += coster.productTime(product, Coster::Input);
    time.backwardWeight += coster.productTime(product, Coster::Weight);
  }
  const double products = time.backwardInput + time.backwardWeight;
  time.attention = coster.attentionTime(false);
  time.traffic = coster.trafficTime();
  const double launches = part.kernels * cluster.device.kernelOverhead +
                          (part.experts > 0 ? cluster.device.expertOverhead : 0);
  time.forward = time.products + time.attention + time.traffic + launches;
  time.backwardInput += coster.attentionTime(true) + 2 * time.traffic + 2 * launches;
  time.exchange = time.exchangeBack = coster.exchangeTime();
  const double reduce =
      allReduceTime(cluster, {plan.tp, 1}, part.reduceElements * coster.tokens * coster.element());
  time.reduce = coster.exposed(reduce, time.products);
  time.reduceBack = coster.exposed(reduce, products);
  if (plan.recompute == Recompute::Full && part.recomputable) {
    time.backwardInput += time.forward;
    time.exchangeBack += time.exchange;
    time.reduceBack += time.reduce;
  } else if (plan.recompute == Recompute::Selective) {
    time.backwardInput +=
        cheap + coster.moveTime(coster.tokens * coster.element() * part.cheapTraffic / plan.tp);
    if (!part.attentionFused)
      time.backwardInput += time.attention;
  }
  return time;
}

PartCost moire::planner::costOfPart(const ModelCost &model, const Part &part,
                                    const Cluster &cluster, const Plan &plan) {
  const Coster coster(model, part, cluster, plan);
  PartCost cost;
  cost.time = timeOf(model, part, cluster, plan);
  cost.activations = coster.bytes(part.kept[static_cast<int>(plan.recompute)]);
  cost.recomputed = std::max(0.0, coster.bytes(part.kept[0]) - cost.activations);
  cost.output = coster.tokens * part.outputElements * coster.element() / plan.tp;
  if (part.exchangeElements > 0 && plan.ep > 1)
    cost.exchangeBuffer = 2 * coster.tokens * part.exchangeElements * coster.element() *
                          std::min(part.topK, plan.ep) * plan.imbalance / plan.tp;
  cost.parameters = part.parameters / plan.tp + part.replicatedParameters;
  cost.expertParameters = part.expertParameters / plan.ep / plan.tp;
  cost.dividedBuffer = dividedBufferOf(cost, plan);
  for (const Product &product : part.products)
    if (plan.recompute == Recompute::Full ? part.recomputable
                                          : plan.recompute == Recompute::Selective && product.cheap)
      cost.recomputeFlops += product.flopsPerToken();
  if ((plan.recompute == Recompute::Full && part.recomputable) ||
      (plan.recompute == Recompute::Selective && !part.attentionFused))
    cost.recomputeFlops += part.attentionFlops;
  return cost;
}

std::vector<PartCost> moire::planner::costOfParts(const ModelCost &model, const Cluster &cluster,
                                                  const Plan &plan) {
  std::vector<PartCost> costs;
  for (const Part &part : model.parts)
    costs.push_back(costOfPart(model, part, cluster, plan));
  return costs;
}
