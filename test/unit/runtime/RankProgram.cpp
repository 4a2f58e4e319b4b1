//===- RankProgram.cpp - A small program for any mesh ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "RankProgram.h"
#include "HostStatements.h"
#include "moire/rt/comm.h"
#include "moire/rt/kernels.h"
#include "moire/rt/optimizer.h"
#include "moire/rt/pieces.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <sstream>
#include <thread>

namespace moire::rt::test {

namespace {
constexpr int64_t kVocab = RankProgram::kVocab, kExperts = RankProgram::kExperts,
                  kRows = RankProgram::kBatch * RankProgram::kSeq;
enum { kEp = 2, kTp = 3 };                     // axes
enum { kOverDp, kOverEp, kOverTp, kOverData }; // groups
const int kAxisDp[] = {1}, kAxisEp[] = {2}, kAxisTp[] = {3}, kAxesData[] = {1, 2};
const GroupInfo kGroups[] = {{1, kAxisDp}, {1, kAxisEp}, {1, kAxisTp}, {2, kAxesData}};
const int64_t kBlocks[] = {8, 4};
const int64_t kTable[] = {kVocab, kVocab}, kBias[] = {kVocab}, kExpert[] = {kExperts, kVocab},
              kInput[] = {RankProgram::kBatch, RankProgram::kSeq};
const InputInfo kInputs[] = {{"input_ids", DType::i64, 2, kInput, Role::tokens, 0},
                             {"labels", DType::i64, 2, kInput, Role::labels, -1},
                             {"scale", DType::f32, 0, nullptr, Role::scale, -1}};
constexpr int64_t kRoom = 512; // elements of all pieces of a parameter, and more

/// A computation that takes long: STALL=rank,step,seconds.
void stall(const Context &ctx) {
  int rank = -1;
  long long step = 0;
  double seconds = 0;
  const char *text = std::getenv("STALL");
  if (text && std::sscanf(text, "%d,%lld,%lf", &rank, &step, &seconds) == 3 && ctx.comm &&
      ctx.hyper.step == step && axisIndex(ctx, 1) == rank) {
    std::fputs("stalls\n", stderr);
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  }
}

/// The column of the whole table that tp coordinate c has at its place j.
int64_t column(int64_t c, int64_t n, int64_t j) {
  const int64_t first = kBlocks[0] / n;
  return j < first ? c * first + j : kBlocks[0] + c * (kBlocks[1] / n) + j - first;
}

/// Parameter i, put together where the rank keeps a piece; room: of all pieces.
const float *valueOf(Context &ctx, int i, float *room) {
  const ParameterInfo &p = ctx.program->parameters[i];
  if (p.zero < 3)
    return ctx.param(p.offset);
  const int64_t members = ctx.comm->group(p.reduceGroup).size();
  allGather(ctx, p.reduceGroup, "all_gather of a parameter", ctx.param(p.offset), room, 1,
            pieceElements(shardElements(p), members), 1);
  return room;
}

/// Where a micro-batch's gradient of parameter i goes, zeros at first: from level 2 on `room`,
/// which sumGrad() then adds to the gradient.
float *gradOf(Context &ctx, int i, float *room) {
  const ParameterInfo &p = ctx.program->parameters[i];
  if (!isUpdated(ctx, p)) {
    // Nobody may look at it.
    const int64_t kept =
        p.zero >= 2 ? pieceElements(shardElements(p), ctx.comm->group(p.reduceGroup).size())
                    : shardElements(p);
    std::fill_n(ctx.grad(p.gradOffset), kept, std::numeric_limits<float>::quiet_NaN());
    return room;
  }
  if (p.zero >= 2)
    return std::fill_n(room, kRoom, 0.0f) - kRoom;
  float *grad = ctx.grad(p.gradOffset);
  if (ctx.first())
    std::fill_n(grad, shardElements(p), 0.0f);
  return grad;
}
void sumGrad(Context &ctx, int i, const float *room, float *piece) {
  const ParameterInfo &p = ctx.program->parameters[i];
  if (p.zero < 2 || !isUpdated(ctx, p))
    return;
  const int64_t n = pieceElements(shardElements(p), ctx.comm->group(p.reduceGroup).size());
  reduceScatter(ctx, p.reduceGroup, "reduce_scatter of a gradient", room, piece, 1, n, 1);
  for (int64_t j = 0; j < n; ++j)
    ctx.grad(p.gradOffset)[j] = (ctx.first() ? 0 : ctx.grad(p.gradOffset)[j]) + piece[j];
}

/// In the rank's queue; the gather of experts then comes behind it.
void gatherLogits(Context &ctx) {
  allGather(ctx, kOverTp, "all_gather of logits", ctx.at<float>(0), ctx.at<float>(1024), kRows,
            kVocab / ctx.program->axes[kTp].size, 1);
}

void statements(Context &ctx) {
  stall(ctx);
  const int64_t ep = ctx.program->axes[kEp].size, tp = ctx.program->axes[kTp].size;
  const int64_t columns = kVocab / tp, experts = kExperts / ep, mine = axisIndex(ctx, kTp);
  const auto *ids = ctx.input<int64_t>(0), *labels = ctx.input<int64_t>(1);
  const float *scale = ctx.input<float>(2);
  float *room = ctx.at<float>(8192);
  const float *table = valueOf(ctx, 0, room), *bias = valueOf(ctx, 1, room + kRoom);
  const float *ownExperts = valueOf(ctx, 2, room + 2 * kRoom);
  auto *part = ctx.at<float>(0), *gathered = ctx.at<float>(1024), *logits = ctx.at<float>(2048),
       *losses = ctx.at<float>(3072), *allExperts = ctx.at<float>(4096),
       *dexperts = ctx.at<float>(5120), *dmine = ctx.at<float>(6144);

  // Forward.
  for (int64_t r = 0; r < kRows; ++r)
    for (int64_t j = 0; j < columns; ++j)
      part[r * columns + j] = table[ids[r] * columns + j];
  startAsync(ctx, 0, gatherLogits);
  allGather(ctx, kOverEp, "all_gather of experts", ownExperts, allExperts, 1, experts, kVocab);
  waitAsync(ctx, 0);
  for (int64_t r = 0; r < kRows; ++r)
    for (int64_t c = 0; c < tp; ++c)
      for (int64_t j = 0; j < columns; ++j) {
        const int64_t v = column(c, tp, j);
        logits[r * kVocab + v] = gathered[r * kVocab + c * columns + j] + bias[v] +
                                 allExperts[ids[r] % kExperts * kVocab + v];
      }
  crossEntropyWithGrad(ctx, {kRows, kVocab}, logits, labels, scale, losses, nullptr, logits);
  double sum = 0;
  for (int64_t r = 0; r < kRows; ++r)
    sum += losses[r];
  const float scaled = float(sum) * *scale;
  loss(ctx, &scaled);
  if (!ctx.trains)
    return;

  // Backward: logits hold their gradient.
  float *dtable = gradOf(ctx, 0, room), *dbias = gradOf(ctx, 1, room + kRoom);
  float *downExperts = gradOf(ctx, 2, room + 2 * kRoom);
  std::fill_n(dexperts, kExperts * kVocab, 0.0f);
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t j = 0; j < columns; ++j)
      dtable[ids[r] * columns + j] += logits[r * kVocab + column(mine, tp, j)];
    for (int64_t v = 0; v < kVocab; ++v) {
      dbias[v] += logits[r * kVocab + v];
      dexperts[ids[r] % kExperts * kVocab + v] += logits[r * kVocab + v];
    }
  }
  reduceScatter(ctx, kOverEp, "reduce_scatter of experts", dexperts, dmine, 1, experts, kVocab);
  for (int64_t i = 0; i < experts * kVocab; ++i)
    downExperts[i] += dmine[i];
  for (int i = 0; i < 3; ++i)
    sumGrad(ctx, i, room + i * kRoom, room + 3 * kRoom);
}
void microStep(Context &ctx) { hostStatements(ctx, statements); }
} // namespace

void RankProgram::makeGroups() {
  static const char *const names[] = {"table", "experts"};
  p.numUpdateGroups = 2;
  p.updateGroups = names;
  params[0].updateGroup = 0;
  params[2].updateGroup = 1;
}

RankProgram::RankProgram(const std::string &mesh, int zero)
    : axes{{"pp", 1}, {"dp", 1}, {"ep", 1}, {"tp", 1}} {
  std::istringstream list(mesh);
  for (std::string axis; std::getline(list, axis, ',');)
    for (AxisInfo &a : axes)
      if (axis.compare(0, 3, std::string(a.name) + "=") == 0)
        a.size = std::stoll(axis.substr(3));
  tableShape[0] = kVocab;
  tableShape[1] = kVocab / axes[kTp].size;
  expertShape[0] = kExperts / axes[kEp].size;
  expertShape[1] = kVocab;
  params[0] = {"table",
               "m.table",
               2,
               tableShape,
               true,
               Init::normal,
               0.5f,
               0,
               0,
               nullptr,
               kTable,
               1,
               {{1, kTp, 2, kBlocks}, {}},
               kOverData,
               kOverTp};
  params[1] = {"bias", "m.bias", 1, kBias, true, Init::normal, 0.5f, 0, 0, nullptr};
  params[1].reduceGroup = kOverData;
  params[2] = {"experts",
               "m.experts",
               2,
               expertShape,
               true,
               Init::normal,
               0.5f,
               0,
               0,
               nullptr,
               kExpert,
               1,
               {{0, kEp, 0, nullptr}, {}},
               kOverDp,
               kOverEp};
  p.abi = kAbiVersion;
  p.name = "ranks";
  p.modelPath = "/none/model.onnx";
  p.init = true;
  p.optimizer = OptimizerKind::adamw;
  p.batch = kBatch;
  p.seq = kSeq;
  p.vocab = p.tokenVocab = kVocab;
  p.arenaBytes = 8192 + 4 * kRoom * 4;
  int64_t at[3] = {};
  for (ParameterInfo &param : params) {
    const int64_t members = (param.reduceGroup == kOverData ? axes[kEp].size : 1) * axes[1].size;
    const int64_t n = shardElements(param), whole = (n + 15) / 16 * 16;
    param.zero = members > 1 ? zero : 0;
    int64_t *to[3] = {&param.stateOffset, &param.gradOffset, &param.offset};
    for (int block = 0; block < 3; ++block) {
      *to[block] = at[block];
      at[block] += param.zero > block ? pieceElements(n, members) : whole;
    }
  }
  // A bucket each, as many as there are sums.
  for (const ParameterInfo &param : params) {
    if (param.zero > 1)
      continue;
    const int64_t members = (param.reduceGroup == kOverData ? axes[kEp].size : 1) * axes[1].size;
    const int64_t n = shardElements(param), begin = param.gradOffset;
    RangeInfo &range = ranges[p.numBuckets];
    range = {begin, begin + n, param.zero == 1 ? pieceElements(n, members) : 0};
    buckets[p.numBuckets++] = {param.reduceGroup, 1, &range};
  }
  p.buckets = buckets;
  p.stateElements = at[0];
  p.gradElements = at[1];
  p.paramElements = at[2];
  p.numParameters = 3;
  p.parameters = params;
  p.numInputs = 3;
  p.inputs = kInputs;
  p.microStep = p.forward = microStep;
  p.numAxes = 4;
  p.axes = axes;
  p.numGroups = 4;
  p.groups = kGroups;
}

} // namespace moire::rt::test
