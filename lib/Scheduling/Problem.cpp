//===- Problem.cpp - Placement and checks of problems ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/Problem.h"
#include "Text.h"
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

using namespace moire::scheduling;

/// A schedule with so many forwards takes seconds and gigabytes.
static constexpr long kMostForwards = 1L << 22;
/// Above this sums of times and sizes may overflow.
static constexpr double kMostCost = 1e100;

//===----------------------------------------------------------------------===//
// Kinds
//===----------------------------------------------------------------------===//

static const std::pair<const char *, Kind::Name> kKindNames[] = {
    {"gpipe", Kind::GPipe},        {"1f1b", Kind::OneFOneB},       {"zb-h1", Kind::ZeroBubbleH1},
    {"zb-h2", Kind::ZeroBubbleH2}, {"zb-v", Kind::ZeroBubbleV},    {"v-half", Kind::VHalf},
    {"dualpipe", Kind::DualPipe},  {"dualpipev", Kind::DualPipeV}, {"auto", Kind::Auto}};

int Kind::stagesPerRank() const {
  switch (name) {
  case Interleaved:
    return chunks;
  case ZeroBubbleV:
  case VHalf:
  case DualPipe:
  case DualPipeV:
    return 2;
  default:
    return 1;
  }
}

int Kind::stages(int ranks) const { return name == DualPipe ? ranks : ranks * stagesPerRank(); }

std::string Kind::str() const {
  for (const auto &[text, value] : kKindNames)
    if (value == name)
      return text;
  return "interleaved:" + std::to_string(chunks);
}

Refusal moire::scheduling::parseKind(const std::string &text, Kind &kind) {
  const std::string interleaved = "interleaved:";
  if (text.compare(0, interleaved.size(), interleaved) == 0) {
    const std::string number = text.substr(interleaved.size());
    bool digits =
        !number.empty() && number.size() <= 3 &&
        std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits || std::stoi(number) < 1)
      return scheduling::text("'", text,
                              "' needs a number of chunks from 1 to 999 after the colon; ",
                              "use interleaved:2");
    kind = {Kind::Interleaved, std::stoi(number)};
    return {};
  }
  for (const auto &[name, value] : kKindNames)
    if (text == name) {
      kind = {value, 1};
      return {};
    }
  return scheduling::text("no schedule is named '", text,
                          "'; use one of gpipe, 1f1b, interleaved:V, ",
                          "zb-h1, zb-h2, zb-v, v-half, dualpipe, dualpipev, auto");
}

std::vector<Kind> moire::scheduling::generatorKinds() {
  std::vector<Kind> kinds;
  for (const auto &[name, value] : kKindNames)
    if (value != Kind::Auto)
      kinds.push_back({value, 1});
  kinds.insert(kinds.begin() + 2, {Kind::Interleaved, 2});
  return kinds;
}

//===----------------------------------------------------------------------===//
// Problem
//===----------------------------------------------------------------------===//

int Problem::totalMicroBatches() const {
  return std::accumulate(microBatches.begin(), microBatches.end(), 0);
}

int Problem::chunkOf(int path, int stage) const {
  int chunk = 0;
  for (int s = 0; s < stage; ++s)
    chunk += rankOf[path][s] == rankOf[path][stage];
  return chunk;
}

int Problem::stageOf(int path, int rank, int chunk) const {
  for (int s = 0; s < numStages(); ++s)
    if (rankOf[path][s] == rank && chunk-- == 0)
      return s;
  return -1;
}

double Problem::parameterBytes(int rank) const {
  std::set<int> held;
  for (const std::vector<int> &path : rankOf)
    for (int s = 0; s < numStages(); ++s)
      if (path[s] == rank)
        held.insert(s);
  double bytes = 0;
  for (int s : held)
    bytes += stages[s].parameterBytes;
  return bytes;
}

/// The fields of a stage's cost that grow with its size.
static constexpr double StageCost::*kExtensive[] = {
    &StageCost::forward,        &StageCost::backward,          &StageCost::backwardInput,
    &StageCost::backwardWeight, &StageCost::forwardCollective, &StageCost::backwardCollective,
    &StageCost::parameterBytes, &StageCost::activationBytes};
static constexpr double StageCost::*kPairs[] = {
    &StageCost::forwardWithBackward, &StageCost::forwardWithBackwardInput, &StageCost::twoForwards,
    &StageCost::twoBackwards, &StageCost::twoBackwardInputs};

static StageCost join(const StageCost &a, const StageCost &b) {
  StageCost sum = a;
  for (auto field : kExtensive)
    sum.*field += b.*field;
  for (auto field : kPairs) // Known for both, or for neither.
    sum.*field = a.*field > 0 && b.*field > 0 ? a.*field + b.*field : 0;
  sum.weightResidualBytes = a.weightResidualBytes < 0 && b.weightResidualBytes < 0
                                ? -1
                                : a.residualBytes() + b.residualBytes();
  sum.outputBytes = b.outputBytes;
  return sum;
}

static StageCost piece(StageCost cost, int pieces) {
  for (auto field : kExtensive)
    cost.*field /= pieces;
  for (auto field : kPairs)
    cost.*field /= pieces;
  if (cost.weightResidualBytes > 0)
    cost.weightResidualBytes /= pieces;
  return cost;
}

Refusal moire::scheduling::cutStages(const Workload &workload, int count,
                                     std::vector<StageCost> &stages) {
  const int parts = static_cast<int>(workload.parts.size());
  stages.clear();
  if (parts < 1)
    return text("the model has 0 parts, ", count, " stages need at least 1");
  if (parts % count == 0) {
    for (int s = 0; s < count; ++s) {
      StageCost cost = workload.parts[s * (parts / count)];
      for (int i = 1; i < parts / count; ++i)
        cost = join(cost, workload.parts[s * (parts / count) + i]);
      stages.push_back(cost);
    }
    return {};
  }
  if (count % parts == 0 && count / parts <= workload.pieces) {
    for (int s = 0; s < count; ++s)
      stages.push_back(piece(workload.parts[s / (count / parts)], count / parts));
    return {};
  }
  std::string most = text("; use ", (parts / count + 1) * count, " parts");
  if (count % parts == 0)
    most = text("; allow ", count / parts, " pieces of a part, not ", workload.pieces);
  return text(parts, " parts of the model do not make ", count, " equal stages", most);
}

/// Everything of a workload but placement and micro-batches.
static Refusal begin(const Workload &workload, long stages, Problem &problem) {
  if (workload.ranks < 1)
    return text("a pipeline of ", workload.ranks, " ranks cannot be; use at least 1");
  if (stages * std::max(1, workload.microBatches) > kMostForwards)
    return text(stages, " stages with ", workload.microBatches, " micro-batches are ",
                stages * workload.microBatches, " forwards, more than the ", kMostForwards,
                " that are scheduled; use ",
                stages <= kMostForwards ? text(kMostForwards / stages, " micro-batches or fewer")
                                        : "fewer ranks");
  problem = Problem();
  problem.ranks = workload.ranks;
  problem.microBatches = {workload.microBatches};
  problem.link = workload.link;
  problem.contention = workload.contention;
  problem.memoryLimit = workload.memoryLimit;
  return cutStages(workload, static_cast<int>(stages), problem.stages);
}

Refusal moire::scheduling::place(const Workload &workload, Kind kind, Problem &problem) {
  const int P = workload.ranks, V = kind.stagesPerRank();
  if (kind.name == Kind::ZeroBubbleV || kind.name == Kind::VHalf || kind.name == Kind::DualPipeV) {
    if (Refusal refusal = placeSnake(workload, 2, problem))
      return refusal;
    return check(problem, kind);
  }
  if (Refusal refusal =
          begin(workload, kind.name == Kind::DualPipe ? P : static_cast<long>(P) * V, problem))
    return refusal;
  problem.rankOf.emplace_back();
  for (int s = 0; s < problem.numStages(); ++s)
    problem.rankOf[0].push_back(s % P);
  if (kind.name == Kind::DualPipe) {
    problem.rankOf.emplace_back(problem.rankOf[0].rbegin(), problem.rankOf[0].rend());
    const int M = workload.microBatches;
    if (M % 2)
      return text("dualpipe feeds ", M,
                  " micro-batches from two ends, which takes an even number; use ",
                  std::max(M + 1, 2 * P));
    problem.microBatches = {M / 2, M / 2};
  }
  return check(problem, kind);
}

Refusal moire::scheduling::placeSnake(const Workload &workload, int perRank, Problem &problem) {
  const int P = workload.ranks;
  if (Refusal refusal = begin(workload, static_cast<long>(P) * perRank, problem))
    return refusal;
  problem.rankOf.emplace_back();
  for (int s = 0; s < problem.numStages(); ++s)
    problem.rankOf[0].push_back(s / P % 2 ? P - 1 - s % P : s % P);
  return check(problem);
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

Refusal moire::scheduling::check(const StageCost &cost, int stage) {
  static constexpr std::pair<double StageCost::*, const char *> kNames[] = {
      {&StageCost::forward, "forward cost"},
      {&StageCost::backward, "backward cost"},
      {&StageCost::backwardInput, "input-gradient cost"},
      {&StageCost::backwardWeight, "weight-gradient cost"},
      {&StageCost::forwardWithBackward, "F&B cost"},
      {&StageCost::forwardWithBackwardInput, "F&b cost"},
      {&StageCost::twoForwards, "F&F cost"},
      {&StageCost::twoBackwards, "B&B cost"},
      {&StageCost::twoBackwardInputs, "b&b cost"},
      {&StageCost::forwardCollective, "forward collective cost"},
      {&StageCost::backwardCollective, "backward collective cost"},
      {&StageCost::parameterBytes, "parameter bytes"},
      {&StageCost::activationBytes, "activation bytes"},
      {&StageCost::outputBytes, "output bytes"}};
  for (const auto &[field, name] : kNames)
    if (!std::isfinite(cost.*field) || cost.*field < 0)
      return text(name, " ", cost.*field, " of stage ", stage,
                  " is not a finite number of at least 0");
    else if (cost.*field > kMostCost)
      return text(name, " ", cost.*field, " of stage ", stage, " is above ", kMostCost,
                  ", the most that adds up; use another unit");
  if (cost.forwardCollective > cost.forward)
    return text("forward collective cost ", cost.forwardCollective, " of stage ", stage,
                " is above its forward cost ", cost.forward, "; it is a part of it");
  if (cost.backwardCollective > std::min(cost.backward, cost.backwardInput))
    return text("backward collective cost ", cost.backwardCollective, " of stage ", stage,
                " is above its backward cost ", std::min(cost.backward, cost.backwardInput),
                "; it is a part of it");
  if (!(cost.residualBytes() <= cost.activationBytes))
    return text("stage ", stage, " keeps ", cost.residualBytes(),
                " bytes from b to W, more than its ", cost.activationBytes,
                " bytes of activations; use at most these");
  return {};
}

static Refusal checkLink(const Link &link) {
  if (!std::isfinite(link.latency) || link.latency < 0)
    return text("link latency ", link.latency, " is not a finite number of at least 0");
  if (link.latency > kMostCost)
    return text("link latency ", link.latency, " is above ", kMostCost,
                ", the most that adds up; use another unit");
  if (!(link.bandwidth > 0))
    return text("link bandwidth ", link.bandwidth, " is not above 0");
  return {};
}

Refusal moire::scheduling::check(const Problem &problem) {
  const int P = problem.ranks, S = problem.numStages();
  if (P < 1 || S < 1)
    return text("a pipeline of ", P, " ranks and ", S, " stages cannot be; use at least 1 of each");
  if (problem.rankOf.empty() || problem.rankOf.size() != problem.microBatches.size())
    return text(problem.microBatches.size(), " micro-batch counts for ", problem.rankOf.size(),
                " paths; give one for each path, and at least one path");
  for (int path = 0; path < problem.numPaths(); ++path) {
    if (static_cast<int>(problem.rankOf[path].size()) != S)
      return text("path ", path, " places ", problem.rankOf[path].size(), " stages of ", S,
                  "; give a rank for each");
    for (int s = 0; s < S; ++s)
      if (problem.rankOf[path][s] < 0 || problem.rankOf[path][s] >= P)
        return text("stage ", s, " is on rank ", problem.rankOf[path][s], " of ", P, "; use 0 to ",
                    P - 1);
    if (problem.microBatches[path] < 1)
      return text("path ", path, " has ", problem.microBatches[path],
                  " micro-batches; use at least 1");
  }
  for (int s = 0; s < S; ++s)
    if (Refusal refusal = check(problem.stages[s], s))
      return refusal;
  if (!problem.links.empty() && static_cast<int>(problem.links.size()) != P * P)
    return text(problem.links.size(), " links for ", P, " ranks; give ", P * P, " or none");
  for (const Link &link : problem.links)
    if (Refusal refusal = checkLink(link))
      return refusal;
  if (Refusal refusal = checkLink(problem.link))
    return refusal;
  if (!(problem.contention > 0 && problem.contention <= 1))
    return text("contention factor ", problem.contention, " is not above 0 and at most 1");
  if (!std::isfinite(problem.memoryLimit) || problem.memoryLimit < 0)
    return text("memory limit ", problem.memoryLimit, " is not a finite number of at least 0");
  if (problem.unlimited())
    return {};
  // A micro-batch that is alone still has all its activations of a rank alive before its first B.
  for (int rank = 0; rank < P; ++rank) {
    double most = 0;
    for (int path = 0; path < problem.numPaths(); ++path) {
      double sum = 0;
      for (int s = 0; s < S; ++s)
        if (problem.rankOf[path][s] == rank)
          sum += problem.stages[s].activationBytes;
      most = std::max(most, sum);
    }
    const double need = problem.parameterBytes(rank) + most;
    if (need > problem.memoryLimit)
      return text("rank ", rank, " needs ", need,
                  " bytes for its parameters and one micro-batch, above the limit of ",
                  problem.memoryLimit, "; use a limit of ", need, " or more ranks");
  }
  return {};
}

/// The placement that place() gives this kind.
static bool placedFor(const Problem &problem, Kind kind) {
  const int P = problem.ranks;
  const bool snake =
      kind.name == Kind::ZeroBubbleV || kind.name == Kind::VHalf || kind.name == Kind::DualPipeV;
  for (int path = 0; path < problem.numPaths(); ++path)
    for (int s = 0; s < problem.numStages(); ++s) {
      int rank = snake && s >= P ? 2 * P - 1 - s : s % P;
      if (path == 1)
        rank = P - 1 - rank;
      if (problem.rankOf[path][s] != rank)
        return false;
    }
  return true;
}

Refusal moire::scheduling::check(const Problem &problem, Kind kind) {
  if (Refusal refusal = check(problem))
    return refusal;
  if (kind.name == Kind::Auto)
    return {};
  const int P = problem.ranks, M = problem.totalMicroBatches();
  const int paths = kind.name == Kind::DualPipe ? 2 : 1;
  if (kind.name == Kind::DualPipe && P % 2)
    return P == 1 ? text("dualpipe needs an even number of ranks, not 1; use 2, or dualpipev")
                  : text("dualpipe needs an even number of ranks, not ", P, "; use ", P - 1, " or ",
                         P + 1);
  if (problem.numStages() != kind.stages(P))
    return text(kind.str(), " on ", P, " ranks takes ", kind.stages(P), " stages, not ",
                problem.numStages(), "; use ", kind.stages(P));
  if (problem.numPaths() != paths)
    return text(kind.str(), " takes ", paths, paths == 1 ? " path" : " paths",
                " through the stages, not ", problem.numPaths(), "; use ", paths);
  if (!placedFor(problem, kind))
    return text("the stages are not on the ranks where ", kind.str(), " has them; use place()");
  const bool dual = kind.name == Kind::DualPipe || kind.name == Kind::DualPipeV;
  if (dual && M < 2 * P)
    return text(kind.str(), " on ", P, " ranks needs at least ", 2 * P, " micro-batches, not ", M,
                "; use ", 2 * P);
  if (kind.name == Kind::DualPipe && problem.microBatches[0] != problem.microBatches[1])
    return text("dualpipe needs as many micro-batches from either end, not ",
                problem.microBatches[0], " and ", problem.microBatches[1], "; use ", (M + 1) / 2,
                " each");
  if (kind.name == Kind::Interleaved && kind.chunks > 1 && M % P)
    return text(kind.str(), " on ", P, " ranks needs a multiple of ", P, " micro-batches, not ", M,
                "; use ", M < P ? text(P) : text(M / P * P, " or ", (M / P + 1) * P));
  return {};
}
