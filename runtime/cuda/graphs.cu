//===- graphs.cu - Parts of stages' functions as CUDA graphs --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/fault.h"
#include "cuda/graphs.h"
#include "moire/rt/device.h"

#ifdef MOIRE_CUDA_MODEL
#include "cuda/model/jobs.h"
#else
#include "cuda/device.h"
#endif

namespace moire::rt {

void replay(Context &ctx, void (*part)(Context &)) { ctx.device->parts.run(ctx, part); }

cudaGraph_t captureGraph(Context &ctx, const std::function<void()> &work) {
  cudaGraph_t captured = nullptr;
  // Relaxed: other ranks of the process may allocate meanwhile.
  MOIRE_CUDA(cudaStreamBeginCapture(streamOf(ctx), cudaStreamCaptureModeRelaxed));
  try {
    work();
  } catch (...) {
    cudaStreamEndCapture(streamOf(ctx), &captured);
    if (captured)
      cudaGraphDestroy(captured);
    throw;
  }
  MOIRE_CUDA(cudaStreamEndCapture(streamOf(ctx), &captured));
  return captured;
}

int64_t nodesOf(cudaGraph_t graph) {
  size_t count = 0;
  MOIRE_CUDA(cudaGraphGetNodes(graph, nullptr, &count));
  return int64_t(count);
}

void Graphs::run(Context &ctx, Part part) {
  if (ctx.device->steps.isCapturing()) // a step, which it is a part of
    return part(ctx);
  if (scratch != ctx.scratch(0)) { // it has grown since: graphs point to the old one
    drop();
    scratch = ctx.scratch(0);
  }
  if (updates != ctx.updates) { // other statements
    drop();
    ran.clear();
    updates = ctx.updates;
  }
  if (ran.insert(part).second)
    return part(ctx);
  const TaskState &second = ctx.second;
  cudaGraphExec_t &exec = graphs[{part,
                                  {ctx.own, ctx.kept, ctx.first()},
                                  {second.own, second.kept, second.kept && second.first()}}];
  if (!exec) {
    cudaGraph_t captured = captureGraph(ctx, [&] { part(ctx); });
    MOIRE_CUDA(cudaGraphInstantiate(&exec, captured, 0));
    MOIRE_CUDA(cudaGraphDestroy(captured));
  }
  MOIRE_CUDA(cudaGraphLaunch(exec, streamOf(ctx)));
  ++launches;
  checkFaultsOfModel(ctx);
}

void Graphs::drop() {
  for (auto &[key, exec] : graphs)
    if (exec)
      cudaGraphExecDestroy(exec);
  graphs.clear();
}

} // namespace moire::rt
