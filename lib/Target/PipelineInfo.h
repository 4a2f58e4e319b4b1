//===- PipelineInfo.h - What the tables of a pipeline are made of --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TARGET_PIPELINEINFO_H
#define MOIRE_LIB_TARGET_PIPELINEINFO_H

#include "dialects/exec/Exec.h"
#include "moire/Pipe/PipelineProgram.h"

namespace moire::target {

struct ProgramInfo;

/// Elements of the grads block that are summed together.
struct BucketEntry {
  int group;
  struct Range {
    int64_t begin, end;
    int64_t piece; ///< of a sum of which each member gets its piece; 0: of which all get all
  };
  std::vector<Range> ranges;
};

/// What is live where the arena is fullest.
struct PeakLine {
  std::string what;
  int64_t bytes = 0;
};

/// A stage: what a slot of it holds.
struct StageEntry {
  int64_t slotBytes = 0;
  struct Kept {
    int64_t offset, bytes;
  };
  /// By role and in the order of their numbers.
  std::map<llvm::StringRef, std::vector<Kept>> kept;
  /// Of a stage whose functions others run, too, and which had them first: the parameters that
  /// they name, in model order.
  std::vector<unsigned> named;
  size_t firstRouter = 0; ///< among ProgramInfo::routers
  /// Bytes of a message of these, each tensor at a multiple of 64.
  int64_t messageBytes(llvm::StringRef role) const;
};

/// What one rank of pp holds and does.
struct StageRankEntry {
  /// By parameter, in elements; -1: it does not hold it.
  std::vector<int64_t> offset, gradOffset, stateOffset;
  std::map<std::pair<unsigned, int>, int64_t> copyOffset; ///< of gradients, by parameter and stage
  int64_t paramElements = 0, gradElements = 0, stateElements = 0;
  std::vector<BucketEntry> buckets;
  struct Task {
    scheduling::Task task;
    int slot = 0;
    mlir::func::FuncOp pair = {}; ///< does this task and the next one; null: this one alone
  };
  std::vector<std::vector<Task>> tasks; ///< by round
  struct Held {
    int stage;
    int64_t offset, slots; ///< as many as any round needs
  };
  std::vector<Held> held;
  int64_t temporaryBytes = 0, arenaBytes = 0;
  int64_t inboxOffset = 0, inboxBytes = 0, numInboxes = 0;
  std::vector<PeakLine> peak;
};

struct PipelineEntry {
  pipe::PipelineProgram program;
  std::vector<StageEntry> stages;
  std::vector<StageRankEntry> ranks; ///< by coordinate of pp
  /// The first rank that runs a stage; all that do have the same places for what it reads.
  int rankOf(int stage) const { return program.rankOf()[0][stage]; }
  /// The stages that run the functions of a stage, ascending; statements find the parameters of
  /// several in a table of the stage's.
  llvm::SmallVector<int> sharersOf(int stage) const;
  bool isShared(int stage) const { return sharersOf(stage).size() > 1; }
};

/// Gives every rank its places of parameters, slots and inboxes. Errors are located.
mlir::LogicalResult layOutPipeline(ProgramInfo &info);

} // namespace moire::target

#endif // MOIRE_LIB_TARGET_PIPELINEINFO_H
