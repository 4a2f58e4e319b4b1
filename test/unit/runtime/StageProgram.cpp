//===- StageProgram.cpp - A small program in stages -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "StageProgram.h"
#include "HostStatements.h"
#include "moire/rt/comm.h"
#include "moire/rt/kernels.h"
#include "moire/rt/pieces.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <thread>
#include <tuple>

namespace moire::rt::test {

namespace {
constexpr int64_t kVocab = StageProgram::kVocab, kWidth = StageProgram::kWidth,
                  kRows = StageProgram::kBatch * StageProgram::kSeq;
constexpr int64_t kTable[] = {kVocab, kWidth}, kMatrix[] = {kWidth, kWidth};
const int64_t kInput[] = {StageProgram::kBatch, StageProgram::kSeq};
const InputInfo kInputs[] = {{"input_ids", DType::i64, 2, kInput, Role::tokens, 0},
                             {"labels", DType::i64, 2, kInput, Role::labels, -1},
                             {"scale", DType::f32, 0, nullptr, Role::scale, -1}};
const int kAxisDp[] = {1};
const GroupInfo kGroups[] = {{1, kAxisDp}};

// A slot: what comes and goes, and what the last stage keeps.
constexpr int64_t kBytes = kRows * kWidth * 4;
static_assert(kBytes % 64 == 0 && kBytes > 8192); // so large that threads do not copy it twice
constexpr KeptInfo kX = {0, kBytes}, kY = {kBytes, kBytes}, kDy = {2 * kBytes, kBytes},
                   kDx = {3 * kBytes, kBytes};
constexpr int64_t kDlogits = 4 * kBytes, kSlot = kDlogits + (kRows * kVocab * 4 + 63) / 64 * 64;
constexpr int64_t kRoom = 4096; // of a gradient that is summed in each micro-batch, and its piece
constexpr int64_t kTemporaries = kRoom + 2 * kWidth * kWidth * 4;

/// to [n, m] = x [n, k] · y [k, m], y given transposed with yT.
void product(int64_t n, int64_t k, int64_t m, const float *x, const float *y, bool yT, float *to) {
  for (int64_t i = 0; i < n; ++i) {
    float *row = to + i * m;
    std::fill_n(row, m, 0.0f);
    for (int64_t l = 0; l < k; ++l)
      for (int64_t j = 0; j < m; ++j)
        row[j] += x[i * k + l] * (yT ? y[j * k + l] : y[l * m + j]);
  }
}
/// to [k, m] += x [n, k]ᵀ · y [n, m].
void addProduct(int64_t n, int64_t k, int64_t m, const float *x, const float *y, float *to) {
  float sum[kWidth];
  for (int64_t i = 0; i < k; ++i) {
    std::fill_n(sum, m, 0.0f);
    for (int64_t l = 0; l < n; ++l)
      for (int64_t j = 0; j < m; ++j)
        sum[j] += x[l * k + i] * y[l * m + j];
    for (int64_t j = 0; j < m; ++j)
      to[i * m + j] += sum[j];
  }
}
void lookUp(Context &ctx, const float *table, float *x) {
  for (int64_t r = 0; r < kRows; ++r)
    std::copy_n(table + ctx.input<int64_t>(0)[r] * kWidth, kWidth, x + r * kWidth);
}
void addLookedUp(Context &ctx, const float *dx, float *dtable) {
  for (int64_t r = 0; r < kRows; ++r)
    for (int64_t j = 0; j < kWidth; ++j)
      dtable[ctx.input<int64_t>(0)[r] * kWidth + j] += dx[r * kWidth + j];
}
void head(Context &ctx, const float *y, const float *table, float *dlogits) {
  auto *losses = ctx.at<float>(0);
  const float *scale = ctx.input<float>(2);
  product(kRows, kWidth, kVocab, y, table, true, dlogits);
  crossEntropyWithGrad(ctx, {kRows, kVocab}, dlogits, ctx.input<int64_t>(1), scale, losses, nullptr,
                       dlogits);
  double sum = 0;
  for (int64_t r = 0; r < kRows; ++r)
    sum += losses[r];
  const float scaled = float(sum) * *scale;
  loss(ctx, &scaled);
}

//===----------------------------------------------------------------------===//
// Stages
//===----------------------------------------------------------------------===//

const ParameterInfo &parameterOf(const Context &ctx, int index) {
  for (int64_t i = 0; i < ctx.program->numParameters; ++i)
    if (ctx.program->parameters[i].index == index)
      return ctx.program->parameters[i];
  throw RunError("a stage runs where its parameters are not");
}
float *gradOf(const Context &ctx, const ParameterInfo &p, int stage) {
  const int rank = ctx.comm ? int(axisIndex(ctx, 0)) : 0;
  for (int64_t k = 0; k < p.numCopies; ++k)
    if (p.copies[k].stage == stage && p.copies[k].rank == rank)
      return ctx.grad(p.copies[k].gradOffset);
  return ctx.grad(p.gradOffset);
}
/// add(to) adds the micro-batch's gradient: to what there is of the step, or from level 2 on
/// to zeros, of which the sum over the ranks of dp is then this rank's piece.
template <typename Add> void accumulate(Context &ctx, int index, int stage, Add add) {
  const ParameterInfo &p = parameterOf(ctx, index);
  const int64_t n = shardElements(p);
  float *grad = gradOf(ctx, p, stage);
  if (p.zero < 2) {
    if (ctx.first())
      std::fill_n(grad, n, 0.0f);
    return add(grad);
  }
  const int64_t members = ctx.comm->group(0).size(), piece = pieceElements(n, members);
  auto *room = ctx.at<float>(kRoom), *mine = room + members * piece;
  std::fill_n(room, members * piece, 0.0f);
  add(room);
  reduceScatter(ctx, 0, "reduce_scatter of a gradient", room, mine, 1, piece, 1);
  for (int64_t j = 0; j < piece; ++j)
    grad[j] = (ctx.first() ? 0 : grad[j]) + mine[j];
}
bool isLast(const Context &ctx, int stage) { return stage + 1 == ctx.program->pipeline->numStages; }

/// FAIL=rank,step: what a rank ends with by itself.
void failWhereAsked(const Context &ctx) {
  int rank = -1;
  long long step = 0;
  const char *text = std::getenv("FAIL");
  if (text && std::sscanf(text, "%d,%lld", &rank, &step) == 2 && ctx.comm &&
      ctx.comm->rank() == rank && ctx.hyper.step == step)
    throw RunError("a stage fails as asked");
}

template <int kStage> void forward(Context &ctx) {
  failWhereAsked(ctx);
  auto *x = ctx.slot<float>(kX.offset), *y = ctx.slot<float>(kY.offset);
  if (kStage == 0)
    lookUp(ctx, ctx.param(parameterOf(ctx, 0).offset), x);
  product(kRows, kWidth, kWidth, x, ctx.param(parameterOf(ctx, 1 + kStage).offset), false, y);
  if (isLast(ctx, kStage))
    head(ctx, y, ctx.param(parameterOf(ctx, 0).offset), ctx.slot<float>(kDlogits));
}
template <int kStage> void backwardInput(Context &ctx) {
  auto *dy = ctx.slot<float>(kDy.offset);
  if (isLast(ctx, kStage))
    product(kRows, kVocab, kWidth, ctx.slot<float>(kDlogits), ctx.param(parameterOf(ctx, 0).offset),
            false, dy);
  product(kRows, kWidth, kWidth, dy, ctx.param(parameterOf(ctx, 1 + kStage).offset), true,
          ctx.slot<float>(kDx.offset));
}
template <int kStage> void backwardWeight(Context &ctx) {
  accumulate(ctx, 1 + kStage, kStage, [&](float *to) {
    addProduct(kRows, kWidth, kWidth, ctx.slot<float>(kX.offset), ctx.slot<float>(kDy.offset), to);
  });
  if (kStage == 0)
    accumulate(ctx, 0, kStage,
               [&](float *to) { addLookedUp(ctx, ctx.slot<float>(kDx.offset), to); });
  if (isLast(ctx, kStage))
    accumulate(ctx, 0, kStage, [&](float *to) {
      addProduct(kRows, kVocab, kWidth, ctx.slot<float>(kDlogits), ctx.slot<float>(kY.offset), to);
    });
}
/// HOLD: stage 1 goes on with its backward only when stage 0, of the same process, has begun the
/// one that needs what was published.
std::atomic<int64_t> firstBackwards{0};
void holdWhereAsked(const Context &ctx, int stage) {
  if (!std::getenv("HOLD"))
    return;
  if (stage == 0)
    ++firstBackwards;
  const int64_t due = ctx.hyper.step * ctx.microBatches - ctx.microBatches + ctx.microBatch;
  for (int tries = 0; stage == 1 && firstBackwards <= due; ++tries) {
    if (tries == 10000)
      throw RunError("what stage 1 has published does not leave");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

template <void (*kBody)(Context &)> void onHost(Context &ctx) { hostStatements(ctx, kBody); }

template <int kStage> void backward(Context &ctx) {
  if (kStage == 0)
    holdWhereAsked(ctx, 0);
  hostStatements(ctx, backwardInput<kStage>);
  if (kStage > 0) {
    publish(ctx);
    holdWhereAsked(ctx, kStage);
  }
  hostStatements(ctx, backwardWeight<kStage>);
}

template <int kStage> StageInfo stageOf(int stages) {
  StageInfo s = {{onHost<forward<kStage>>, backward<kStage>, onHost<backwardInput<kStage>>,
                  onHost<backwardWeight<kStage>>},
                 kSlot,
                 0,
                 &kX,
                 0,
                 &kY,
                 0,
                 &kDy,
                 0,
                 &kDx};
  s.numInputs = s.numInputCotangents = kStage > 0;
  s.numOutputs = s.numOutputCotangents = kStage + 1 < stages;
  return s;
}

/// The model as a whole.
void wholeStatements(Context &ctx) {
  const Program &p = *ctx.program;
  const int stages = int(p.numParameters) - 1;
  const float *table = ctx.param(p.parameters[0].offset);
  float *x = ctx.at<float>(kTemporaries), *dlogits = x + 2 * (stages + 1) * kRows * kWidth,
        *dx = x + (stages + 1) * kRows * kWidth;
  auto at = [](float *base, int i) { return base + i * kRows * kWidth; };
  lookUp(ctx, table, x);
  for (int s = 0; s < stages; ++s)
    product(kRows, kWidth, kWidth, at(x, s), ctx.param(p.parameters[1 + s].offset), false,
            at(x, s + 1));
  head(ctx, at(x, stages), table, dlogits);
  if (!ctx.trains)
    return;
  if (ctx.first())
    std::fill_n(ctx.grad(0), p.gradElements, 0.0f);
  product(kRows, kVocab, kWidth, dlogits, table, false, at(dx, stages));
  addProduct(kRows, kVocab, kWidth, dlogits, at(x, stages), ctx.grad(p.parameters[0].offset));
  for (int s = stages; s-- > 0;) {
    addProduct(kRows, kWidth, kWidth, at(x, s), at(dx, s + 1),
               ctx.grad(p.parameters[1 + s].offset));
    product(kRows, kWidth, kWidth, at(dx, s + 1), ctx.param(p.parameters[1 + s].offset), true,
            at(dx, s));
  }
  addLookedUp(ctx, dx, ctx.grad(p.parameters[0].offset));
}
void microStep(Context &ctx) { hostStatements(ctx, wholeStatements); }
} // namespace

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

static int64_t elementsOf(int index) { return (index == 0 ? kVocab : kWidth) * kWidth; }

int Placement::ranks() const {
  int most = 0;
  for (const auto &path : rankOf)
    for (int rank : path)
      most = std::max(most, rank);
  return most + 1;
}

Placement placementOf(const std::string &name) {
  const std::string kind = name.substr(0, name.find(','));
  Placement p;
  if (kind == "1f1b")
    p = {{{0, 1}}, {4}};
  else if (kind == "v" || kind == "vw")
    p = {{{0, 1, 1, 0}}, {4}, kind == "vw"};
  else
    p = {{{0, 1}, {1, 0}}, {2, 2}};
  if (const size_t dp = name.find(",dp="); dp != std::string::npos)
    p.dp = std::atoi(name.c_str() + dp + 4);
  if (const size_t zero = name.find(",zero="); zero != std::string::npos)
    p.zero = std::atoi(name.c_str() + zero + 6);
  return p;
}

void StageProgram::describe() {
  p.abi = kAbiVersion;
  p.name = "stages";
  p.modelPath = "/none/model.onnx";
  p.init = true;
  p.optimizer = OptimizerKind::adamw;
  p.batch = kBatch;
  p.seq = kSeq;
  p.vocab = p.tokenVocab = kVocab;
  p.numInputs = 3;
  p.inputs = kInputs;
}

ParameterInfo StageProgram::parameter(int index, int64_t offset, int64_t gradOffset) {
  const std::string &name =
      names.emplace_back(index == 0 ? "m.table" : "m.a" + std::to_string(index - 1));
  ParameterInfo info = {};
  info.name = info.torchName = name.c_str();
  info.rank = 2;
  info.shape = index == 0 ? kTable : kMatrix;
  info.trainable = true;
  info.init = Init::normal;
  info.initStd = index == 0 ? 0.5f : 0.05f;
  info.offset = offset;
  info.reduceGroup = info.shardGroup = info.gradOffset = info.stateOffset = -1;
  info.counted = true;
  info.index = index;
  if (gradOffset >= 0)
    info.gradOffset = gradOffset;
  return info;
}

StageProgram::StageProgram(int stages) {
  describe();
  int64_t at = 0;
  for (int i = 0; i <= stages; ++i) {
    wholeParameters.push_back(parameter(i, at, -1));
    at += i == 0 ? kVocab * kWidth : kWidth * kWidth;
  }
  p.numParameters = stages + 1;
  p.parameters = wholeParameters.data();
  p.paramElements = p.gradElements = at;
  p.arenaBytes = kTemporaries + 2 * (stages + 1) * kBytes + kRows * kVocab * 4;
  p.microStep = p.forward = microStep;
}

std::unique_ptr<StageProgram> StageProgram::whole(int stages) {
  return std::unique_ptr<StageProgram>(new StageProgram(stages));
}

StageProgram::StageProgram(const Placement &placement) {
  describe();
  axes = {{"pp", placement.ranks()}, {"dp", placement.dp}};
  p.numAxes = 2;
  p.axes = axes.data();
  p.numGroups = 1;
  p.groups = kGroups;
  makeTables(placement);
  p.pipeline = &pipeline;
}

void StageProgram::makeTables(const Placement &placement) {
  const int stages = placement.stages();
  stageTables = {stageOf<0>(stages), stageOf<1>(stages), stageOf<2>(stages), stageOf<3>(stages)};
  stageTables.resize(stages);
  microBatches = placement.microBatches;
  tables.resize(placement.ranks());
  ranks.resize(placement.ranks());
  schedule(placement);
  // Where each parameter's gradients lie: one after another on each rank.
  std::vector<int64_t> gradients(placement.ranks());
  copies.resize(stages + 1);
  for (int index = 0; index <= stages; ++index)
    for (size_t path = 0; path < placement.rankOf.size(); ++path)
      for (int stage = 0; stage < stages; ++stage)
        if (index == 0 ? stage == 0 || stage + 1 == stages : stage == index - 1) {
          const int rank = placement.rankOf[path][stage];
          copies[index].push_back({int(path), stage, rank, gradients[rank]});
          gradients[rank] += placement.zero >= 2 ? pieceElements(elementsOf(index), placement.dp)
                                                 : elementsOf(index);
        }
  for (int rank = 0; rank < placement.ranks(); ++rank) {
    ranks[rank].gradElements = gradients[rank];
    hold(placement, rank);
  }
  round = {0, microBatches.data()};
  for (int64_t count : microBatches)
    round.total += count;
  pipeline = {int64_t(microBatches.size()),
              1,
              &round,
              stages,
              stageTables.data(),
              placement.ranks(),
              ranks.data()};
}

void StageProgram::hold(const Placement &placement, int rank) {
  RankTables &t = tables[rank];
  PipelineRankInfo &r = ranks[rank];
  for (size_t index = 0; index < copies.size(); ++index) {
    int64_t own = -1;
    int first = placement.ranks();
    for (const CopyInfo &copy : copies[index]) {
      first = std::min(first, copy.rank);
      if (copy.rank == rank && own < 0)
        own = copy.gradOffset;
    }
    if (own < 0)
      continue;
    ParameterInfo info = parameter(int(index), r.paramElements, own);
    const int64_t n = elementsOf(int(index)), piece = pieceElements(n, placement.dp);
    info.stateOffset = r.stateElements;
    r.stateElements += placement.zero ? piece : n;
    info.counted = rank == first;
    if (copies[index].size() > 1) {
      info.numCopies = int64_t(copies[index].size());
      info.copies = copies[index].data();
    }
    if (placement.dp > 1) {
      info.reduceGroup = 0;
      info.zero = placement.zero;
      if (placement.zero < 2)
        t.ranges.push_back({own, own + n, placement.zero ? piece : 0});
    }
    r.paramElements += n;
    t.parameters.push_back(info);
  }
  for (const RangeInfo &range : t.ranges)
    t.buckets.push_back({0, 1, &range});
  r.numBuckets = int64_t(t.buckets.size());
  r.buckets = t.buckets.data();
  r.numParameters = int64_t(t.parameters.size());
  r.parameters = t.parameters.data();
  t.round = {int64_t(t.tasks.size()), t.tasks.data(), int64_t(t.messages.size()),
             t.messages.data()};
  r.rounds = &t.round;
  int64_t at = kTemporaries;
  for (HeldStageInfo &held : t.held) {
    held.offset = at;
    at += held.slots * kSlot;
  }
  r.numStages = int64_t(t.held.size());
  r.stages = t.held.data();
  r.inboxOffset = at;
  r.inboxBytes = kBytes;
  r.numInboxes =
      placement.inboxes >= 0 ? placement.inboxes : int64_t(t.messages.size() + t.tasks.size());
  r.arenaBytes = at + r.numInboxes * kBytes;
}

/// All ranks in turn run a task whose inputs are there, a backward if they can. A message
/// stands in both queues in the order in which it is made, so that all can move.
void StageProgram::schedule(const Placement &placement) {
  using Key = std::tuple<bool, int, int, int>; // backward, path, stage, micro-batch
  const int stages = placement.stages();
  std::set<Key> made;
  std::map<std::tuple<int, int, int>, int> slotOf;   // of path, stage, micro-batch
  std::map<std::pair<int, int>, std::set<int>> used; // slots of rank and stage
  std::map<std::pair<int, int>, int64_t> most;
  auto runOne = [&](int rank) {
    for (bool backward : {true, false})
      for (int path = 0; path < int(placement.rankOf.size()); ++path)
        for (int stage = 0; stage < stages; ++stage)
          for (int m = 0; m < placement.microBatches[path]; ++m) {
            const int before = stage + (backward ? 1 : -1);
            if (placement.rankOf[path][stage] != rank || made.count({backward, path, stage, m}) ||
                (backward && !made.count({false, path, stage, m})) ||
                (before >= 0 && before < stages && !made.count({backward, path, before, m})))
              continue;
            auto &slots = used[{rank, stage}];
            int &slot = slotOf[{path, stage, m}];
            std::vector<TaskInfo> &tasks = tables[rank].tasks;
            if (!backward) {
              for (slot = 0; slots.count(slot); ++slot)
                ;
              slots.insert(slot);
              int64_t &count = most[{rank, stage}];
              count = std::max<int64_t>(count, slot + 1);
              tasks.push_back({TaskKind::forward, path, stage, m, slot});
            } else if (placement.split) {
              tasks.push_back({TaskKind::backwardInput, path, stage, m, slot});
              tasks.push_back({TaskKind::backwardWeight, path, stage, m, slot});
            } else {
              tasks.push_back({TaskKind::backward, path, stage, m, slot});
            }
            if (backward)
              slots.erase(slot);
            made.insert({backward, path, stage, m});
            const int after = stage + (backward ? -1 : 1);
            if (after < 0 || after >= stages || placement.rankOf[path][after] == rank)
              return true;
            const int peer = placement.rankOf[path][after];
            tables[rank].messages.push_back({true, backward, path, stage, m, peer});
            tables[peer].messages.push_back({false, backward, path, stage, m, rank});
            return true;
          }
    return false;
  };
  for (bool any = true; any;) {
    any = false;
    for (int rank = 0; rank < placement.ranks(); ++rank)
      any = runOne(rank) || any;
  }
  for (auto &[place, slots] : most)
    tables[place.first].held.push_back({place.second, 0, slots});
}

} // namespace moire::rt::test
