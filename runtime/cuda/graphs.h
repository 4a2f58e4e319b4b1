//===- graphs.h - Parts of stages' functions as CUDA graphs ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A part of a function gives the rank's stream kernels and nothing else: what the host takes
// part in, as in collectives, stands between parts. A graph's kernels keep their arguments.
// What differs between two runs of a part is
//
//   the stages of its tasks      places of their parameters and gradients
//   the slots of its tasks       places of what micro-batches keep
//   whether they are the first   gradients are set or added to
//
// and, between steps, which update groups are trained. Inputs are copied to one place, the loss is
// not in a part. So there is a graph for each of these; when other groups are trained all begin
// anew. A part runs plainly first, so that scratch memory, library handles and heuristics exist.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_GRAPHS_H
#define MOIRE_RT_CUDA_GRAPHS_H

#include "moire/rt/context.h"
#include "moire/rt/cuda/launch.h"

#include <functional>
#include <map>
#include <set>
#include <tuple>

namespace moire::rt {

/// What `work` gives the rank's stream, noted instead of done. Throws what `work` throws.
cudaGraph_t captureGraph(Context &ctx, const std::function<void()> &work);
/// Of a graph, kernels and copies.
int64_t nodesOf(cudaGraph_t graph);

class Graphs {
public:
  using Part = void (*)(Context &);
  Graphs() = default;
  ~Graphs() { drop(); }
  Graphs(const Graphs &) = delete;

  /// Captures the part or launches what was captured.
  void run(Context &ctx, Part part);
  int64_t captured() const { return int64_t(graphs.size()); }
  int64_t launched() const { return launches; }

private:
  /// Of a task: the stage's parameters, the slot, and whether it is the first.
  using TaskKey = std::tuple<const StageParameter *, const char *, bool>;
  using Key = std::tuple<Part, TaskKey, TaskKey>;
  void drop();

  std::set<Part> ran; ///< once plainly
  std::map<Key, cudaGraphExec_t> graphs;
  const void *scratch = nullptr; ///< that captured kernels point into
  uint64_t updates = 0;          ///< Context::updates of what was captured
  int64_t launches = 0;
};

} // namespace moire::rt

#endif // MOIRE_RT_CUDA_GRAPHS_H
