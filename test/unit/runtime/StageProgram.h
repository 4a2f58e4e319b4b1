//===- StageProgram.h - A small program in stages -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the compiler emits for a pipeline, by hand: a token's row of `table` goes through a
// matrix `a<s>` in each stage, and the logits are its products with the rows of `table`, so
// that the first and the last stage share that one. Loss: the next token's cross-entropy. The
// same model as one micro-step, in loops of its own, is the reference.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RUNTIME_STAGEPROGRAM_H
#define MOIRE_RUNTIME_STAGEPROGRAM_H

#include "moire/rt/pipeline.h"

#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace moire::rt::test {

/// Where stages are and how many micro-batches come along each path.
struct Placement {
  std::vector<std::vector<int>> rankOf; ///< by path and stage
  std::vector<int64_t> microBatches;    ///< by path
  bool split = false;                   ///< backwards in two
  int dp = 1;
  int zero = 0; ///< to 2
  int64_t inboxes = -1; ///< of a rank; -1: enough

  int ranks() const;
  int stages() const { return int(rankOf[0].size()); }
};
/// "1f1b": two stages on two ranks; "v": four stages there and back, "vw" in two backwards;
/// "dual": two paths in opposite directions; each may
/// end in ",dp=N,zero=N".
Placement placementOf(const std::string &name);

class StageProgram {
public:
  static constexpr int64_t kVocab = 12, kWidth = 384, kBatch = 2, kSeq = 3;

  explicit StageProgram(const Placement &placement);
  /// The model of so many stages as a whole, on one rank.
  static std::unique_ptr<StageProgram> whole(int stages);
  StageProgram(const StageProgram &) = delete;

  Program p = {};

private:
  explicit StageProgram(int stages);
  void describe();
  ParameterInfo parameter(int index, int64_t offset, int64_t gradOffset);
  void makeTables(const Placement &placement);
  void schedule(const Placement &placement);
  void hold(const Placement &placement, int rank);

  struct RankTables {
    std::vector<ParameterInfo> parameters;
    std::vector<TaskInfo> tasks;
    std::vector<MessageInfo> messages;
    RankRoundInfo round = {};
    std::vector<HeldStageInfo> held;
    std::vector<RangeInfo> ranges;
    std::vector<BucketInfo> buckets;
  };
  std::deque<std::string> names;
  std::deque<std::vector<CopyInfo>> copies; ///< by parameter
  std::vector<AxisInfo> axes;
  std::vector<StageInfo> stageTables;
  std::vector<RankTables> tables;
  std::vector<PipelineRankInfo> ranks;
  std::vector<int64_t> microBatches;
  RoundInfo round = {};
  std::vector<ParameterInfo> wholeParameters;
  PipelineInfo pipeline = {};
};

} // namespace moire::rt::test

#endif
