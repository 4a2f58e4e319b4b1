//===- gradients.cpp - The end of a step on many ranks --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/gradients.h"
#include "moire/rt/collectives.h"
#include "moire/rt/comm.h"
#include "moire/rt/device.h"
#include "moire/rt/optimizer.h"
#include "moire/rt/pieces.h"
#include "moire/rt/pipeline.h"

#include <algorithm>
#include <cmath>

namespace moire::rt {

namespace {
constexpr int64_t kBucket = 25'000'000 / sizeof(float) / 16 * 16; ///< elements at once

void sumRange(Context &ctx, int group, int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end; at += kBucket)
    allReduce(ctx, group, "all_reduce of gradients", ctx.grad(at), ctx.grad(at),
              std::min(kBucket, end - at));
}
void sumBucket(Context &ctx, const BucketInfo &bucket) {
  if (bucket.numRanges > 0 && bucket.ranges[0].piece > 0)
    return reducePieces(ctx, bucket.group, "reduce_scatter of gradients", bucket.ranges,
                        bucket.numRanges);
  for (int64_t i = 0; i < bucket.numRanges; ++i)
    sumRange(ctx, bucket.group, bucket.ranges[i].begin, bucket.ranges[i].end);
}

/// Whether one of the parameters whose gradients are in the bucket is trained in the step.
bool isSummed(const Context &ctx, const BucketInfo &bucket) {
  const Program &p = *ctx.program;
  if (p.numUpdateGroups == 0)
    return true;
  return std::any_of(p.parameters, p.parameters + p.numParameters, [&](const ParameterInfo &of) {
    const int64_t at = of.gradOffset < 0 ? of.offset : of.gradOffset;
    return isUpdated(ctx, of) &&
           std::any_of(bucket.ranges, bucket.ranges + bucket.numRanges,
                       [&](const RangeInfo &r) { return r.begin <= at && at < r.end; });
  });
}
} // namespace

void startReduce(Context &ctx, int bucket) {
  if (!ctx.comm || !ctx.last || !isSummed(ctx, ctx.program->buckets[bucket]))
    return;
  ctx.sums.resize(ctx.program->numBuckets);
  ctx.sums[bucket] =
      startBeside(ctx, [&ctx, bucket] { sumBucket(ctx, ctx.program->buckets[bucket]); });
}

void reduceStep(Context &ctx) {
  for (int64_t b = 0; b < ctx.program->numBuckets; ++b) {
    if (size_t(b) < ctx.sums.size() && ctx.sums[b].number > 0)
      waitBeside(ctx, ctx.sums[b]);
    else if (isSummed(ctx, ctx.program->buckets[b]))
      sumBucket(ctx, ctx.program->buckets[b]);
  }
  ctx.sums.clear();
  sumLosses(ctx);
}

void sumLosses(Context &ctx) {
  const int64_t accumulate = ctx.microBatches;
  std::vector<double> own(accumulate);
  download(ctx, own.data(), ctx.losses.data(), accumulate * int64_t(sizeof(double)));
  double sum = 0;
  if (!ctx.comm) {
    for (double loss : own)
      sum += loss;
    upload(ctx, &ctx.outcome.as<StepOutcome>()->loss, &sum, sizeof sum);
    return;
  }
  // Atom number a · S + s lies at shard s, in its accumulation a. With a pipeline one rank of
  // pp has its loss and the others 0, which changes no bit.
  Comm &comm = *ctx.comm;
  const Group data = comm.groupOver(ctx.program->pipeline ? "pp,dp,ep" : "dp,ep");
  const int64_t shards = comm.groupOver("dp,ep").size();
  std::vector<double> all(data.size() * accumulate);
  comm.allGather(data, "all_gather of losses", own.data(), all.data(), 1,
                 accumulate * int64_t(sizeof(double)));
  for (int64_t a = 0; a < accumulate; ++a)
    for (int64_t s = 0; s < shards; ++s)
      for (int64_t member = s; member < data.size(); member += shards)
        sum += all[member * accumulate + a];
  upload(ctx, &ctx.outcome.as<StepOutcome>()->loss, &sum, sizeof sum);
}

/// Sums squares of the parameters for which `groupOf` gives a group, over it.
template <typename GroupOf> static void sumOver(Context &ctx, double *squares, GroupOf groupOf) {
  Comm &comm = *ctx.comm;
  const Program &p = *ctx.program;
  for (int group = 0; group < int(p.numGroups); ++group) {
    std::vector<int64_t> which;
    std::vector<double> values;
    for (int64_t i = 0; i < p.numParameters; ++i)
      if (p.parameters[i].trainable && groupOf(p.parameters[i]) == group) {
        which.push_back(i);
        values.push_back(squares[i]);
      }
    comm.allReduce(comm.group(group), "all_reduce of the gradient norm", values.data(),
                   values.data(), int64_t(values.size()));
    for (size_t i = 0; i < which.size(); ++i)
      squares[which[i]] = values[i];
  }
}

void sumShards(Context &ctx, double *squares) {
  sumOver(ctx, squares, [](const ParameterInfo &p) { return p.zero ? p.reduceGroup : -1; });
  sumOver(ctx, squares, [](const ParameterInfo &p) { return p.shardGroup; });
}

std::vector<double> gatherStages(Context &ctx, const std::vector<double> &squares) {
  const Program &p = *ctx.program;
  if (!p.pipeline)
    return squares;
  std::vector<double> all(allParameters(p).size());
  for (int64_t i = 0; i < p.numParameters; ++i)
    if (p.parameters[i].counted)
      all[p.parameters[i].index] = squares[i];
  // One rank has each, the others 0.
  if (ctx.comm)
    ctx.comm->allReduce(ctx.comm->groupOver("pp"), "all_reduce of the gradient norm", all.data(),
                        all.data(), int64_t(all.size()));
  return all;
}

double sumStages(Context &ctx, const std::vector<double> &squares) {
  double sum = 0;
  for (double square : gatherStages(ctx, squares))
    sum += square;
  return sum;
}

std::vector<GroupNorms> groupNorms(Context &ctx, std::vector<double> updates,
                                   std::vector<double> values) {
  const Program &p = *ctx.program;
  const std::vector<const ParameterInfo *> parameters = allParameters(p);
  std::vector<GroupNorms> norms(p.numUpdateGroups);
  for (auto [squares, norm] :
       {std::pair(&updates, &GroupNorms::update), {&values, &GroupNorms::value}}) {
    if (ctx.comm)
      sumShards(ctx, squares->data());
    const std::vector<double> all = gatherStages(ctx, *squares);
    for (size_t i = 0; i < all.size(); ++i)
      if (parameters[i]->updateGroup >= 0)
        norms[parameters[i]->updateGroup].*norm += all[i];
    for (GroupNorms &group : norms)
      group.*norm = std::sqrt(group.*norm);
  }
  return norms;
}

} // namespace moire::rt
