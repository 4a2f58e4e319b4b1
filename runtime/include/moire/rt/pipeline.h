//===- pipeline.h - What a pipelined program tells the runtime ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The micro-step of a program with an axis pp is cut into stages. A rank of pp runs tasks
// (a stage's function for one micro-batch) in a fixed order; beside them a thread of its
// own does its messages in a fixed order. Equal stages have the same functions, which find
// parameters in a table of the stage that runs (StageInfo::own).
// Micro-batches go along paths: each path visits all stages, from the first to the last
// and back, and says where each stage's tasks run (DualPipe has two paths).
//
//   slot   what one micro-batch keeps in a stage, from its forward to its backward.
//          A stage has several on a rank; a TaskInfo names its own.
//   inbox  a message that has come and that no task took yet: the tensors of
//          StageInfo::inputs or outputCotangents one after another. A message goes into
//          a free one as soon as it comes. The task that it is for copies it to its slot
//          when it starts. What two stages of one rank tell each other lies in one, too,
//          from the end of the first task on.
//
// A round is a schedule once; a step of --accumulate A does A rounds. A program with a
// ramp has a round for each number of micro-batches.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_PIPELINE_H
#define MOIRE_RT_PIPELINE_H

#include "moire/rt/program.h"

#include <vector>

namespace moire::rt {

enum class TaskKind : uint8_t {
  forward,
  backward,       ///< both of those below
  backwardInput,  ///< makes the cotangents that go to the stage before
  backwardWeight, ///< makes the rest, after backwardInput
};

/// A tensor in a stage's slot: what a micro-batch keeps between the stage's functions.
/// Multiples of 64, the offset from the slot's start. What is sent stays as it is until it
/// has left: at the latest before the slot's next forward.
struct KeptInfo {
  int64_t offset, bytes;
};

struct StageInfo {
  void (*functions[4])(Context &); ///< by TaskKind; null: no rank runs it
  int64_t slotBytes;               ///< a multiple of 64
  int64_t numInputs;
  const KeptInfo *inputs; ///< come from the stage before
  int64_t numOutputs;
  const KeptInfo *outputs; ///< go to the next: as many bytes each as its inputs
  int64_t numOutputCotangents;
  const KeptInfo *outputCotangents; ///< come from the next stage
  int64_t numInputCotangents;
  const KeptInfo *inputCotangents; ///< go to the stage before
  /// Of a stage whose functions are others', too: TaskState::own and names of its tasks.
  const StageParameter *own = nullptr;
  const char *const *names = nullptr;
  int64_t firstRouter = 0; ///< of its own among Program::routers
};

struct TaskInfo {
  TaskKind kind;
  int path, stage;
  int microBatch; ///< in its path
  int slot;       ///< of the stage's on this rank
  /// Does this task and the next one at once, which is ctx.second for it. Null: the stage's
  /// function does this one.
  void (*pair)(Context &) = nullptr;
};

/// A message in the one queue of a rank. It is sent when the task that makes it is done.
struct MessageInfo {
  bool send;
  bool cotangent; ///< of the stage's inputs, for the stage before; else its outputs
  int path;
  int stage; ///< that makes it
  int microBatch;
  int peer; ///< coordinate of pp; all other coordinates are this rank's
};

/// Slots of a stage on a rank.
struct HeldStageInfo {
  int stage;
  int64_t offset; ///< in the arena
  int64_t slots;
};

/// One of the gradients that are added up for a parameter, in the order listed.
struct CopyInfo {
  int path, stage;    ///< that made it
  int rank;           ///< coordinate of pp
  int64_t gradOffset; ///< in elements of that rank's grads
};

/// A schedule.
struct RoundInfo {
  int64_t total; ///< its micro-batches
  /// Of each path. Those of path p are numbered after those of paths before.
  const int64_t *microBatches;
};

/// What one rank of pp does in it.
struct RankRoundInfo {
  int64_t numTasks;
  const TaskInfo *tasks; ///< of an overlapped pair: one, then the other
  int64_t numMessages;
  const MessageInfo *messages;
};

/// What one rank of pp is. Fields that Program has, too, take the place of those.
struct PipelineRankInfo {
  int64_t arenaBytes; ///< temporaries, the slots of held stages, inboxes
  int64_t numPeak;
  const MemoryLine *peak;
  int64_t paramElements, gradElements, stateElements, shadowBytes;
  int64_t numParameters;
  const ParameterInfo *parameters; ///< that it holds, in model order
  const RankRoundInfo *rounds;     ///< as many as PipelineInfo has
  int64_t numStages;
  const HeldStageInfo *stages;
  int64_t inboxOffset; ///< in the arena
  int64_t inboxBytes;  ///< of each
  int64_t numInboxes;  ///< as many as the worst timing needs
  void (*prepare)(Context &);
  int64_t numBuckets = 0;
  const BucketInfo *buckets = nullptr;
};

struct PipelineInfo {
  int64_t numPaths;
  int64_t numRounds;
  const RoundInfo *rounds;
  int64_t numStages;
  const StageInfo *stages;
  int64_t numRanks;
  const PipelineRankInfo *ranks; ///< by coordinate of pp
};

//===----------------------------------------------------------------------===//
// What follows from it, also for programs without a pipeline
//===----------------------------------------------------------------------===//

/// The program as the rank of pp with this coordinate has it.
Program programOfRank(const Program &program, int64_t coordinate);
/// The logical parameters in model order, each as its first holder has it.
std::vector<const ParameterInfo *> allParameters(const Program &program);
/// What a round of the step after `done` steps is.
struct RoundOfStep {
  int64_t microBatches = 1; ///< of a rank
  int64_t round = 0;        ///< index of PipelineInfo::rounds
};
RoundOfStep roundAfter(const Program &program, int64_t done);
/// The most micro-batches of a rank in a round of any step.
int64_t mostMicroBatches(const Program &program);
/// How many a rank has in one round of each of the first `done` steps together.
int64_t microBatchesOfSteps(const Program &program, int64_t done);

} // namespace moire::rt

#endif // MOIRE_RT_PIPELINE_H
