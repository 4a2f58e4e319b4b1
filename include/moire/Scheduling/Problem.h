//===- Problem.h - What a pipeline schedule has to do ----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A problem says what a training step consists of: stages, the ranks that hold
// them, micro-batches, costs and memory. It is plain data; a schedule (Schedule.h)
// is its answer. Times are in one unit throughout (seconds where a bandwidth is
// given), memory is in bytes; any other unit will do if it is used everywhere.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_SCHEDULING_PROBLEM_H
#define MOIRE_SCHEDULING_PROBLEM_H

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace moire::scheduling {

struct Action; // Schedule.h

/// The sentence that says why something is refused; nothing where all is well.
using Refusal = std::optional<std::string>;

/// Costs and bytes of one stage for one micro-batch.
struct StageCost {
  double forward = 1;        ///< F
  double backward = 2;       ///< B: cotangents of input and weights together
  double backwardInput = 1;  ///< b: cotangent of the input alone
  double backwardWeight = 1; ///< W: cotangents of the weights, after b

  /// Time of two tasks of this stage that overlap, of different micro-batches. 0: see actionCost.
  double forwardWithBackward = 0;      ///< F&B
  double forwardWithBackwardInput = 0; ///< F&b
  double twoForwards = 0;              ///< F&F
  double twoBackwards = 0;             ///< B&B
  double twoBackwardInputs = 0;        ///< b&b

  /// The part of `forward`, and of `backward` and `backwardInput`, that a network spends and
  /// that waits when the task runs alone (expert dispatch and combine).
  double forwardCollective = 0;
  double backwardCollective = 0;

  double parameterBytes = 0;  ///< parameters, gradients and optimizer state
  double activationBytes = 0; ///< from the start of F to the end of B
  /// What b leaves of `activationBytes` until W; negative: all of it.
  double weightResidualBytes = -1;
  double outputBytes = 0; ///< sent to the next stage; its cotangent has as many

  double residualBytes() const {
    return weightResidualBytes < 0 ? activationBytes : weightResidualBytes;
  }
};

/// A directed connection of two ranks. A transfer takes latency + bytes / bandwidth.
struct Link {
  double latency = 0;
  double bandwidth = std::numeric_limits<double>::infinity(); ///< bytes per unit of time
};

/// A schedule's name. `chunks` is V of interleaved:V.
struct Kind {
  enum Name {
    GPipe,
    OneFOneB,
    Interleaved,
    ZeroBubbleH1,
    ZeroBubbleH2,
    ZeroBubbleV,
    VHalf,
    DualPipe,
    DualPipeV,
    Auto
  } name = OneFOneB;
  int chunks = 1;

  /// Stages that one rank of this schedule computes.
  int stagesPerRank() const;
  /// Stages of the whole pipeline on `ranks` ranks.
  int stages(int ranks) const;
  std::string str() const;
};

/// The kind that `text` names (`gpipe 1f1b interleaved:V zb-h1 zb-h2 zb-v v-half dualpipe
/// dualpipev auto`); refuses any other name with the list of names.
Refusal parseKind(const std::string &text, Kind &kind);

/// All generators, with interleaved:2.
std::vector<Kind> generatorKinds();

/// The model and the machine, before anything is placed.
struct Workload {
  int ranks = 1;
  int microBatches = 1;
  /// The model from input to loss. Its parts are joined or cut evenly to the number of stages
  /// that a schedule takes.
  std::vector<StageCost> parts;
  /// Into how many equal pieces a part may be cut.
  int pieces = 4;
  Link link;
  /// Speed of a transfer while either of its ranks computes, as a fraction of its speed alone.
  /// Published traces show 0.5 to 0.7.
  double contention = 1;
  /// Bytes a rank may hold; 0: no limit.
  double memoryLimit = 0;
};

/// What has to be scheduled. A *path* is a way through all the stages: one everywhere but in
/// DualPipe, where half of the micro-batches enter at either end and each stage has two copies.
struct Problem {
  int ranks = 1;
  /// [path][stage] → rank.
  std::vector<std::vector<int>> rankOf;
  /// Micro-batches of each path.
  std::vector<int> microBatches;
  std::vector<StageCost> stages;
  Link link;
  /// [from * ranks + to], or empty where all links are `link`.
  std::vector<Link> links;
  double contention = 1;
  double memoryLimit = 0;
  /// Time of an action that is known better than by its stages' costs; negative where it is not.
  std::function<double(const Action &)> knownCost;
  /// The same of outputTime(), for task `i` of the action.
  std::function<double(const Action &, int i)> knownOutput;
  /// Whether the ops of an action are ordered for communication: in a B that is alone W hides the
  /// collectives of b, and what is sent leaves when it is made, which may be before the action's
  /// end. Else work inside an action goes one after another, and messages leave at its end.
  bool ordersOps = false;

  int numStages() const { return static_cast<int>(stages.size()); }
  int numPaths() const { return static_cast<int>(rankOf.size()); }
  int totalMicroBatches() const;
  const Link &linkOf(int from, int to) const {
    return links.empty() ? link : links[from * ranks + to];
  }
  /// Which of its rank's stages on this path `stage` is, counted from the input.
  int chunkOf(int path, int stage) const;
  /// The stage that is chunk `chunk` of `rank` on `path`, or -1.
  int stageOf(int path, int rank, int chunk) const;
  /// Bytes of parameters on a rank; a stage that two paths share counts once.
  double parameterBytes(int rank) const;
  bool unlimited() const { return memoryLimit <= 0; }
};

/// `workload` as `kind` places it: stage s on rank s mod P, for V placements stages r and 2P-1-r
/// on rank r, for DualPipe stage s on ranks s (first half of the micro-batches) and P-1-s.
/// Refuses what check refuses, and parts that cannot be made the stages it takes.
Refusal place(const Workload &workload, Kind kind, Problem &problem);

/// `workload` with `perRank` stages for each rank, laid in turns: down the ranks, up, down, up.
Refusal placeSnake(const Workload &workload, int perRank, Problem &problem);

/// Joins or cuts `parts` evenly to `count` stages.
Refusal cutStages(const Workload &workload, int count, std::vector<StageCost> &stages);

/// Whether `kind` can schedule `problem`: ranks, micro-batches, placement, costs, and a memory
/// limit that at least one micro-batch fits.
Refusal check(const Problem &problem, Kind kind);

/// The part of `check` that holds for any schedule.
Refusal check(const Problem &problem);

/// The part of it that looks at one stage.
Refusal check(const StageCost &cost, int stage);

} // namespace moire::scheduling

#endif // MOIRE_SCHEDULING_PROBLEM_H
