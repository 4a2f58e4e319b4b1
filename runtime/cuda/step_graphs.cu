//===- step_graphs.cu - Steps as CUDA graphs ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/step_graphs.h"
#include "cuda/fault.h"
#include "train/convert.h"
#include "train/data.h"
#include "train/micro_step.h"

#ifdef MOIRE_CUDA_MODEL
#include "cuda/model/jobs.h"
#else
#include "cuda/device.h"
#endif

namespace moire::rt {

bool runWholeStep(Context &ctx, int64_t graphNodes, const SetInputs &setInputs) {
  return ctx.device->steps.runWhole(ctx, graphNodes < 0 ? kGraphNodes : graphNodes, setInputs);
}
bool runWholeRounds(Context &ctx, int64_t graphNodes, const WholeRounds &rounds,
                    const SetInputs &setInputs) {
  return ctx.device->steps.runRounds(ctx, graphNodes < 0 ? kGraphNodes : graphNodes, rounds,
                                     setInputs);
}
void runMicroStep(Context &ctx, bool last) { ctx.device->steps.runMicroStep(ctx, last); }
std::string describeGraphs(const Context &ctx) { return ctx.device->steps.describe(ctx); }
void checkGraphNodes(int64_t) {}

void StepGraphs::checkScratch(Context &ctx) {
  if (scratch == ctx.scratch(0))
    return;
  drop();
  scratch = ctx.scratch(0);
}

void StepGraphs::checkStatements(Context &ctx) {
  if (program == ctx.program && updates == ctx.updates)
    return;
  program = ctx.program;
  updates = ctx.updates;
  drop();
  for (Graph &graph : micros)
    graph.ran = false;
  wholes.clear();
  nodesOfMicro = 0;
}

void StepGraphs::launch(Context &ctx, cudaGraphExec_t exec) {
  MOIRE_CUDA(cudaGraphLaunch(exec, streamOf(ctx)));
  ++launches;
  checkFaultsOfModel(ctx);
}

void StepGraphs::drop() {
  std::vector<Graph *> graphs = {&micros[0], &micros[1], &micros[2], &micros[3]};
  for (auto &[number, whole] : wholes)
    graphs.push_back(&whole.graph);
  for (Graph *graph : graphs) {
    if (graph->exec)
      cudaGraphExecDestroy(graph->exec);
    graph->exec = nullptr;
  }
}

std::unique_ptr<DeviceBlock[]> StepGraphs::makeInputs(const Context &ctx) const {
  const Program &program = *ctx.program;
  auto blocks = std::make_unique<DeviceBlock[]>(program.numInputs * ctx.microBatches);
  for (int64_t i = 0; i < program.numInputs * ctx.microBatches; ++i) {
    const InputInfo &input = program.inputs[i % program.numInputs];
    blocks[i] = DeviceBlock(elements(input) * bytesOf(input.dtype));
  }
  return blocks;
}

//===----------------------------------------------------------------------===//
// A whole step
//===----------------------------------------------------------------------===//

cudaGraph_t StepGraphs::capture(Context &ctx, const Work &work, const SetInputs &choose) {
  capturing = true;
  try {
    cudaGraph_t graph = captureGraph(ctx, [&] { work(choose); });
    capturing = false;
    return graph;
  } catch (...) {
    capturing = false;
    throw;
  }
}

void StepGraphs::captureWhole(Context &ctx, Whole &whole, const Work &work, const Work &sample,
                              const SetInputs &choose) {
  if (sample) { // for a step of thousands would be captured for nothing
    cudaGraph_t one = capture(ctx, sample, choose);
    whole.nodes = nodesOf(one) * ctx.microBatches;
    whole.isEstimated = true;
    MOIRE_CUDA(cudaGraphDestroy(one));
    whole.isTooLarge = whole.nodes > limit;
    if (whole.isTooLarge)
      return;
  }
  cudaGraph_t all = capture(ctx, work, choose);
  whole.nodes = nodesOf(all);
  whole.isEstimated = false;
  whole.isTooLarge = whole.nodes > limit;
  if (!whole.isTooLarge)
    MOIRE_CUDA(cudaGraphInstantiate(&whole.graph.exec, all, 0));
  MOIRE_CUDA(cudaGraphDestroy(all));
}

bool StepGraphs::runAsOne(Context &ctx, Whole &whole, const Work &work, const Work &sample,
                          const SetInputs &setInputs) {
  checkScratch(ctx);
  whole.isTooLarge |= limit == 0;
  if (!std::exchange(whole.graph.ran, true) || whole.isTooLarge)
    return false;
  const int64_t count = ctx.program->numInputs;
  // Of both tasks, behind one another.
  const std::vector<const void *> places(ctx.inputs, ctx.inputs + 2 * count);
  if (!whole.inputs)
    whole.inputs = makeInputs(ctx);
  const auto choose = [&](TaskState &task) {
    for (int64_t i = 0; i < count; ++i)
      task.inputs[i] = whole.inputs[task.microBatch * count + i].data();
  };
  if (!whole.graph.exec)
    captureWhole(ctx, whole, work, sample, choose);
  if (whole.graph.exec) {
    for (int64_t micro = 0; micro < ctx.microBatches; ++micro) {
      ctx.microBatch = micro;
      choose(ctx);
      setInputs(ctx);
    }
    launch(ctx, whole.graph.exec);
  } else {
    whole.inputs = nullptr;
  }
  std::copy(places.begin(), places.end(), ctx.inputs);
  return whole.graph.exec;
}

bool StepGraphs::runWhole(Context &ctx, int64_t most, const SetInputs &setInputs) {
  checkStatements(ctx);
  isPlain = false;
  if (ctx.microBatches == 1) // runMicroStep() makes it one graph
    return false;
  limit = most;
  const auto micros = [&ctx](int64_t end, const SetInputs &choose) {
    for (int64_t micro = 0; micro < end; ++micro) {
      ctx.microBatch = micro;
      ctx.part = {};
      choose(ctx);
      startMicroStep(ctx, /*last=*/micro + 1 == ctx.microBatches);
    }
  };
  Whole &whole = wholes[ctx.microBatches];
  if (runAsOne(
          ctx, whole, [&](const SetInputs &choose) { micros(ctx.microBatches, choose); },
          [&](const SetInputs &choose) { micros(1, choose); }, setInputs))
    return true;
  isPlain = !whole.isTooLarge; // it will be one
  return false;
}

bool StepGraphs::runRounds(Context &ctx, int64_t most, const WholeRounds &rounds,
                           const SetInputs &setInputs) {
  checkStatements(ctx);
  limit = most;
  const auto work = [&](const SetInputs &choose) {
    rounds.beginCapture();
    rounds.run(choose);
  };
  return runAsOne(ctx, wholes[rounds.number], work, nullptr, setInputs);
}

//===----------------------------------------------------------------------===//
// A micro-step
//===----------------------------------------------------------------------===//

void StepGraphs::runMicroStep(Context &ctx, bool last) {
  // The host takes part in collectives.
  if (ctx.comm || isPlain)
    return startMicroStep(ctx, last);
  checkStatements(ctx);
  checkScratch(ctx);
  Graph &graph = micros[(ctx.first() ? 0 : 1) + (last ? 2 : 0)];
  if (!graph.ran) {
    graph.ran = true;
    return startMicroStep(ctx, last);
  }
  if (!graph.exec) {
    cudaGraph_t captured = captureGraph(ctx, [&] { startMicroStep(ctx, last); });
    if (ctx.microBatches == 1)
      nodesOfMicro = nodesOf(captured);
    MOIRE_CUDA(cudaGraphInstantiate(&graph.exec, captured, 0));
    MOIRE_CUDA(cudaGraphDestroy(captured));
  }
  launch(ctx, graph.exec);
}

std::string StepGraphs::describe(const Context &ctx) const {
  const bool isPipeline = ctx.program && ctx.program->pipeline;
  if (!isPipeline && ctx.microBatches == 1)
    return nodesOfMicro ? "a step is one of " + std::to_string(nodesOfMicro) + " nodes" : "";
  const auto found = isPipeline ? wholes.begin() : wholes.find(ctx.microBatches);
  if (found == wholes.end())
    return "";
  const Whole &whole = found->second;
  const std::string nodes = std::to_string(whole.nodes) + " nodes";
  const std::string what = isPipeline
                               ? "the tasks and messages of a step"
                               : "a step of " + std::to_string(ctx.microBatches) + " micro-batches";
  if (whole.graph.exec)
    return what + (isPipeline ? " are one of " : " is one of ") + nodes;
  if (!whole.isTooLarge)
    return "";
  const std::string parts = isPipeline ? "parts of tasks" : "each micro-batch is one";
  if (whole.nodes == 0)
    return parts + ", as --graph-nodes 0 asks";
  return parts + "; " + (isPipeline ? what : "a step") + " would have " +
         (whole.isEstimated ? "some " : "") + nodes + ", more than --graph-nodes " +
         std::to_string(limit);
}

} // namespace moire::rt
