//===- step_graphs.h - Steps as CUDA graphs -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Of one rank. A step is one graph where that has not too many nodes: all micro-batches, each
// reading inputs in a place of its own, and the update. Else each micro-batch is one, of one of
// four kinds. What is captured ran plainly before, so that scratch memory, library handles
// and heuristics exist.
//
//     step 1             plainly, to be captured as a whole
//     step 2             captured: as a whole, or where that is too large each kind after
//                        its next plain run
//     from then on       replayed
//
// With a batch ramp this is so for each number of micro-batches. Of a rank of a pipeline the tasks
// and messages of a step are one graph where it has not too many nodes; sums and the update come
// behind it.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_STEP_GRAPHS_H
#define MOIRE_RT_CUDA_STEP_GRAPHS_H

#include "cuda/graphs.h"
#include "moire/rt/device.h"

#include <functional>
#include <map>
#include <memory>
#include <string>

namespace moire::rt {

class StepGraphs {
public:
  StepGraphs() = default;
  ~StepGraphs() { drop(); }
  StepGraphs(const StepGraphs &) = delete;

  /// See moire/rt/device.h.
  bool runWhole(Context &ctx, int64_t limit, const SetInputs &setInputs);
  void runMicroStep(Context &ctx, bool last);
  bool runRounds(Context &ctx, int64_t limit, const WholeRounds &work, const SetInputs &setInputs);
  /// Whether a part that is run now becomes part of a step's graph.
  bool isCapturing() const { return capturing; }
  std::string describe(const Context &ctx) const;

  int64_t launched() const { return launches; }
  void drop();

private:
  struct Graph {
    bool ran = false; ///< once plainly
    cudaGraphExec_t exec = nullptr;
  };
  /// A step, of a pipeline its tasks and messages.
  struct Whole {
    Graph graph;
    std::unique_ptr<DeviceBlock[]> inputs; ///< [micro-batches][inputs]
    int64_t nodes = 0;                     ///< known or estimated
    bool isEstimated = false, isTooLarge = false;
  };
  /// Gives something to the stream; what it is called with chooses a task's inputs.
  using Work = std::function<void(const SetInputs &)>;

  /// Starts all of `work` as one graph; false in its first step, and where that is too large.
  /// sample: as much as one micro-batch of it, if any.
  bool runAsOne(Context &ctx, Whole &whole, const Work &work, const Work &sample,
                const SetInputs &setInputs);
  cudaGraph_t capture(Context &ctx, const Work &work, const SetInputs &choose);
  /// Captures `work` where it is not too large.
  void captureWhole(Context &ctx, Whole &whole, const Work &work, const Work &sample,
                    const SetInputs &choose);
  std::unique_ptr<DeviceBlock[]> makeInputs(const Context &ctx) const;
  void launch(Context &ctx, cudaGraphExec_t exec);
  /// Where what was captured before points to scratch memory that is no more.
  void checkScratch(Context &ctx);
  /// Where the step has other statements: of another length, or for other update groups.
  void checkStatements(Context &ctx);

  std::map<int64_t, Whole> wholes; ///< by number of micro-batches, of a pipeline by its round's
  /// The micro-step by whether it is the first of a step, which sets the gradients, and the last
  /// one, which ends with the optimizer: [0] first, [1] neither, [2] both, [3] last.
  Graph micros[4];
  bool isPlain = false;             ///< micro-steps of this step are no graphs
  bool capturing = false;           ///< a whole step
  const void *scratch = nullptr;    ///< that captured kernels point into
  const Program *program = nullptr; ///< and Context::updates: of what was captured
  uint64_t updates = 0;
  int64_t limit = 0;        ///< nodes that a whole step may have
  int64_t nodesOfMicro = 0; ///< of a step of one micro-batch
  int64_t launches = 0;
};

} // namespace moire::rt

#endif // MOIRE_RT_CUDA_STEP_GRAPHS_H
