//===- context.h - One rank's state ---------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A rank is an object: there is no global state in the runtime, so several
// ranks can live in one process. Generated code sees pointers only:
//
//     gemm(ctx, {…}, ctx.at<float>(4096), ctx.param(0), ctx.at<float>(8192));
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CONTEXT_H
#define MOIRE_RT_CONTEXT_H

#include "moire/rt/memory.h"
#include "moire/rt/program.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace moire::rt {

/// Hyper-parameters of one step; lr is already the schedule's value.
struct Hyper {
  double lr = 0;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weightDecay = 0;
  bool decayMatricesOnly = false; ///< parameters of rank < 2 do not decay
  double momentum = 0;
  double maxNorm = 0;   ///< gradients with a larger norm are scaled to it; 0: never
  double gradScale = 1; ///< clipping factor, multiplied into every gradient
  int64_t step = 1;     ///< 1 is the first
};

/// What the host reads of a step, once.
struct StepOutcome {
  double loss = 0; ///< sum over the micro-batches
  double norm = 0; ///< ‖g‖₂ before clipping
};

class Comm;       // comm.h
struct Ticket;     // comm.h
class DeviceLink; // cuda/link.h
struct LogitsTap; // loss.h
struct Device;    // of the target: lib/device.cpp, cuda/device.h

/// What generated code asks about the micro-batch that it works on.
struct TaskState {
  /// One per Program::inputs, in its order: the current micro-batch, in device
  /// memory.
  const void **inputs = nullptr;
  int64_t microBatch = 0; ///< index among this rank's of the step
  int64_t firstMicroBatch = 0; ///< that adds to the same gradients: with a pipeline its path's
  char *kept = nullptr; ///< with a pipeline: the slot of the task under way
  /// With a pipeline: lets what the task sends to another stage leave. See publish().
  std::function<void()> published;
  /// Of a task whose function several stages run: what the stage has for each parameter that the
  /// function names, and how the trace and errors call its collectives; else null.
  const StageParameter *own = nullptr;
  const char *const *names = nullptr;
  int64_t firstRouter = 0; ///< among Program::routers: the one that the function calls 0
  /// Rows [begin, end) of the micro-batch's `rows` are run; tokens of others go to no
  /// expert. rows 0: all of them.
  struct Part {
    int64_t begin = 0, end = 0, rows = 0;
    bool isFirst = true; ///< of its micro-batch
  } part;

  /// True for the first micro-batch of a step: gradients are set, not added to.
  bool first() const { return microBatch == firstMicroBatch && part.isFirst; }
  /// 0 for the first micro-batch of a step, else 1: the beta of the first write
  /// of a micro-step into a parameter's gradient. A parameter with several uses
  /// passes 1 at the later ones.
  float beta() const { return first() ? 0.0f : 1.0f; }
  /// Of a pipeline's task: what its micro-batch keeps.
  template <typename T> T *slot(int64_t byteOffset) const {
    return reinterpret_cast<T *>(kept + byteOffset);
  }
  template <typename T> const T *input(int64_t i) const {
    return static_cast<const T *>(inputs[i]);
  }
};

/// Called by generated code where what a task sends to another stage is complete, though the
/// function goes on. Messages with it may leave.
inline void publish(TaskState &task) {
  if (task.published)
    task.published();
}

struct Context : TaskState {
  /// Allocates all blocks of the program, and nothing per step afterwards.
  /// momentum: SGD keeps one. Throws RunError where the memory is too small.
  Context(const Program &program, int threads, bool momentum = false);
  /// One program in several sequence lengths: blocks are as large as any of them needs, the last
  /// one is used until use() says otherwise.
  Context(std::vector<const Program *> lengths, int threads, bool momentum = false);
  /// Without a program: for tests of kernels.
  explicit Context(int threads = 1);
  ~Context();
  Context(const Context &) = delete;

  /// What follows is the work of this one of `lengths`. Between steps alone.
  void use(const Program &length);

  const Program *program = nullptr;
  std::vector<const Program *> lengths; ///< that `program` may be
  int threads = 1;

  DeviceBlock params, grads;
  DeviceBlock m; ///< momentum buffer (SGD) or first moment (AdamW)
  DeviceBlock v; ///< second moment (AdamW)
  DeviceBlock arena;
  DeviceBlock tables; ///< the constants of `program`
  DeviceBlock shadows; ///< parameters rounded to bf16, made once a step
  DeviceBlock outcome; ///< a StepOutcome
  DeviceBlock scalars; ///< of hyper, as a GPU's optimizer reads them; empty on the CPU
  Block hostScalars;   ///< what is sent there
  /// Of a function that does two tasks at once: the second one. The context itself is the
  /// first one's.
  TaskState second;

  Hyper hyper;
  float scale = 1;        ///< 1/N, also what the input of Role::scale points to
  int64_t microBatches = 1; ///< this rank's of a step
  bool last = false;        ///< the micro-step is the step's last
  bool trains = true;       ///< false: Program::forward runs, for its loss alone
  uint64_t updates = ~uint64_t(0); ///< bit i: the step trains Program::updateGroups[i]
  /// By that index: which of the group's updates the step is, 1 the first. Empty: hyper.step.
  std::vector<int64_t> groupSteps;
  std::shared_ptr<Device> device;
  Comm *comm = nullptr; ///< to the other ranks; null: there is one
  std::shared_ptr<DeviceLink> link; ///< with comm, on a GPU: moves its memory to the others
  std::vector<Ticket> asyncs; ///< with comm: what the micro-step has started, by number
  std::vector<Ticket> sums;   ///< with comm: of buckets that the step has started, by number
  bool inJob = false; ///< on a GPU, while a job of startBeside() is given to its stream
  LogitsTap *tap = nullptr; ///< null: nobody asks for logits
  DeviceBlock losses; ///< with comm: a double for each micro-batch of the step
  /// Hears the nodes of the graph whose statements come next; empty: nobody asks. See node().
  std::function<void(const char *)> onNode;
  DeviceBlock loads;  ///< int64 for each expert of each router: countRows(); empty: not asked for

  template <typename T> T *at(int64_t byteOffset) const {
    return reinterpret_cast<T *>(arena.data() + byteOffset);
  }
  float *param(int64_t element) const { return params.as<float>() + element; }
  float *grad(int64_t element) const { return grads.as<float>() + element; }
  template <typename T> const T *table(int64_t byteOffset) const {
    return reinterpret_cast<const T *>(tables.data() + byteOffset);
  }
  template <typename T> T *shadow(int64_t byteOffset) const {
    return reinterpret_cast<T *>(shadows.data() + byteOffset);
  }

  /// Memory for a kernel's partial results, valid until the next call; grows to
  /// the largest request. Kernels that call one another must not both use it. Jobs
  /// that run beside have their own.
  void *scratch(int64_t bytes);
  int64_t scratchBytes() const { return scratchBlocks[0].size() + scratchBlocks[1].size(); }

private:
  DeviceBlock scratchBlocks[2]; ///< by inJob
  std::vector<DeviceBlock> otherTables; ///< of the other lengths; that of `program` is empty
  std::unique_ptr<const void *[]> inputStorage; ///< of both tasks
};

/// Called by generated code: the statements up to the next call come from this node of the ONNX
/// graph, or from these. `name` stays.
void node(Context &ctx, const char *name);

} // namespace moire::rt

#endif // MOIRE_RT_CONTEXT_H
