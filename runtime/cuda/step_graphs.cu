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
  if (program != ctx.program)
    inputs = nullptr; // places of its lengths
  program = ctx.program;
  updates = ctx.updates;
  drop();
  for (Graph &graph : micros)
    graph.ran = false;
  rounds.clear();
  nodes = 0;
  state = State::open;
}

void StepGraphs::launch(Context &ctx, cudaGraphExec_t exec) {
  MOIRE_CUDA(cudaGraphLaunch(exec, streamOf(ctx)));
  ++launches;
  checkFaultsOfModel(ctx);
}

void StepGraphs::drop() {
  std::vector<Graph *> graphs = {&whole, &micros[0], &micros[1], &micros[2], &micros[3]};
  for (auto &[number, of] : rounds)
    graphs.push_back(&of.graph);
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

void StepGraphs::choose(Context &ctx, int64_t micro) {
  ctx.microBatch = micro;
  ctx.part = {};
  for (int64_t i = 0; i < ctx.program->numInputs; ++i)
    ctx.inputs[i] = inputs[micro * ctx.program->numInputs + i].data();
}

cudaGraph_t StepGraphs::captureWhole(Context &ctx, int64_t most) {
  limit = most;
  // 1. One micro-batch, for a step of thousands would be captured for nothing.
  choose(ctx, 0);
  cudaGraph_t one = captureGraph(ctx, [&] { startMicroStep(ctx, false); });
  nodes = nodesOf(one) * ctx.microBatches;
  estimated = true;
  MOIRE_CUDA(cudaGraphDestroy(one));
  if (nodes > limit)
    return nullptr;
  // 2. All of them.
  cudaGraph_t all = captureGraph(ctx, [&] {
    for (int64_t micro = 0; micro < ctx.microBatches; ++micro) {
      choose(ctx, micro);
      startMicroStep(ctx, /*last=*/micro + 1 == ctx.microBatches);
    }
  });
  nodes = nodesOf(all);
  estimated = false;
  if (nodes <= limit)
    return all;
  MOIRE_CUDA(cudaGraphDestroy(all));
  return nullptr;
}

bool StepGraphs::runWhole(Context &ctx, int64_t most, const SetInputs &setInputs) {
  checkStatements(ctx);
  // A step of one micro-batch is one graph anyway. With a batch ramp steps have several numbers of
  // micro-batches, and a graph has one.
  if (state == State::micro || ctx.microBatches == 1 || ctx.program->numRamp > 1)
    return false;
  if (state == State::open) {
    state = most > 0 ? State::ranPlainly : State::micro;
    return false;
  }
  checkScratch(ctx);
  const Program &program = *ctx.program;
  const std::vector<const void *> places(ctx.inputs, ctx.inputs + program.numInputs);
  if (!inputs)
    inputs = makeInputs(ctx);
  if (!whole.exec) {
    if (cudaGraph_t graph = captureWhole(ctx, most)) {
      state = State::whole;
      MOIRE_CUDA(cudaGraphInstantiate(&whole.exec, graph, 0));
      MOIRE_CUDA(cudaGraphDestroy(graph));
    } else {
      state = State::micro;
      inputs = nullptr;
    }
  }
  if (whole.exec) {
    for (int64_t micro = 0; micro < ctx.microBatches; ++micro) {
      choose(ctx, micro);
      setInputs(ctx);
    }
    launch(ctx, whole.exec);
  }
  std::copy(places.begin(), places.end(), ctx.inputs);
  return state == State::whole;
}

//===----------------------------------------------------------------------===//
// A micro-step
//===----------------------------------------------------------------------===//

void StepGraphs::runMicroStep(Context &ctx, bool last) {
  // The host takes part in collectives.
  if (ctx.comm || state == State::ranPlainly)
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
      nodes = nodesOf(captured);
    MOIRE_CUDA(cudaGraphInstantiate(&graph.exec, captured, 0));
    MOIRE_CUDA(cudaGraphDestroy(captured));
  }
  launch(ctx, graph.exec);
}

//===----------------------------------------------------------------------===//
// A pipeline's tasks and messages
//===----------------------------------------------------------------------===//

void StepGraphs::captureRounds(Context &ctx, Rounds &of, const WholeRounds &work) {
  const int64_t count = ctx.program->numInputs;
  capturing = true;
  cudaGraph_t graph = nullptr;
  try {
    graph = captureGraph(ctx, [&] {
      work.beginCapture();
      work.run([&](TaskState &task) {
        for (int64_t i = 0; i < count; ++i)
          task.inputs[i] = of.inputs[task.microBatch * count + i].data();
      });
    });
  } catch (...) {
    capturing = false;
    throw;
  }
  capturing = false;
  of.nodes = nodesOf(graph);
  of.isTooLarge = of.nodes > limit;
  if (!of.isTooLarge)
    MOIRE_CUDA(cudaGraphInstantiate(&of.graph.exec, graph, 0));
  MOIRE_CUDA(cudaGraphDestroy(graph));
}

bool StepGraphs::runRounds(Context &ctx, int64_t most, const WholeRounds &work,
                           const SetInputs &setInputs) {
  limit = most;
  checkStatements(ctx);
  checkScratch(ctx);
  Rounds &of = rounds[work.number];
  const bool ranBefore = std::exchange(of.graph.ran, true);
  if (most == 0 || !ranBefore || of.isTooLarge)
    return false;
  const int64_t count = ctx.program->numInputs;
  // Of both tasks, behind one another.
  const std::vector<const void *> places(ctx.inputs, ctx.inputs + 2 * count);
  if (!of.inputs)
    of.inputs = makeInputs(ctx);
  if (!of.graph.exec)
    captureRounds(ctx, of, work);
  if (of.graph.exec) {
    for (int64_t micro = 0; micro < ctx.microBatches; ++micro) {
      ctx.microBatch = micro;
      for (int64_t i = 0; i < count; ++i)
        ctx.inputs[i] = of.inputs[micro * count + i].data();
      setInputs(ctx);
    }
    launch(ctx, of.graph.exec);
  } else {
    of.inputs = nullptr;
  }
  std::copy(places.begin(), places.end(), ctx.inputs);
  return of.graph.exec;
}

std::string StepGraphs::describe(const Context &ctx) const {
  if (!rounds.empty()) {
    const Rounds &of = rounds.begin()->second;
    if (of.nodes == 0)
      return "";
    const std::string count = std::to_string(of.nodes) + " nodes";
    return of.isTooLarge ? "parts of tasks; the tasks and messages of a step would have " + count +
                               ", more than --graph-nodes " + std::to_string(limit)
                         : "the tasks and messages of a step are one of " + count;
  }
  const std::string count = std::to_string(nodes);
  if (ctx.microBatches == 1)
    return nodes ? "a step is one of " + count + " nodes" : "";
  if (state == State::whole)
    return "a step of " + std::to_string(ctx.microBatches) + " micro-batches is one of " + count +
           " nodes";
  if (state != State::micro)
    return "";
  return "each micro-batch is one" +
         (nodes ? "; a step would have " + std::string(estimated ? "some " : "") + count +
                      " nodes, more than --graph-nodes " + std::to_string(limit)
                : std::string(", as --graph-nodes 0 asks"));
}

} // namespace moire::rt
