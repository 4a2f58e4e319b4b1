//===- device.h - What the trainer asks of the device ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The trainer's own code runs on the host; parameters, gradients and
// activations lie where the kernels run. On the CPU target both are one memory
// and these functions cost nothing. Each target implements them:
// lib/device.cpp, cuda/device.cu.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_DEVICE_H
#define MOIRE_RT_DEVICE_H

#include "moire/rt/context.h"

#include <functional>

namespace moire::rt {

/// What a context keeps for its device, e.g. a stream and library handles.
std::shared_ptr<Device> createDevice(int threads);
/// One line for the log: what computes.
std::string describeDevice(const Context &ctx);
/// Before this thread makes a context: which of the machine's devices it uses, by the
/// rank's number among those of the machine.
void chooseDevice(int localRank);

/// How GPU memory goes to other ranks: by NCCL where each rank has a GPU of its own and
/// else through the host, or as the user wishes.
enum class GpuLink : uint8_t { automatic, nccl, host };
/// Throws InputError where the program cannot do what is wished.
void checkLink(GpuLink wish);
struct Connected {
  std::string how;       ///< for the log; empty: kernels' memory is the host's
  bool hostWaits = true; ///< a collective is done when it returns
};
/// Once ctx.comm is there, by all ranks at the same time: connects their devices.
Connected connectDevices(Context &ctx, GpuLink wish = GpuLink::automatic);
/// Throws RunError, before anything is allocated, where `bytes` do not fit.
void checkMemory(const Context &ctx, int64_t bytes);
/// What the target needs besides the context's blocks: a place for each input, the
/// libraries' workspace. Its bytes, for the largest of some lengths, and its allocation.
int64_t reserveBytes(const std::vector<const Program *> &lengths);
void reserve(Context &ctx);

/// Bytes, now and at most so far: of the process where kernels' memory is the host's, else of
/// all that the GPU holds, which has no peak (0).
struct MemoryInUse {
  int64_t now = 0, peak = 0;
};
MemoryInUse memoryInUse(const Context &ctx);

/// Copies between host and device memory; done when they return.
void upload(Context &ctx, void *device, const void *host, int64_t bytes);
void download(Context &ctx, void *host, const void *device, int64_t bytes);

/// Copies to the device, after what was started before and without waiting; the
/// host's bytes must stay as they are until the step has ended.
void send(Context &ctx, void *device, const void *host, int64_t bytes);

/// A block's contents on the host: the block itself on the CPU, else a copy.
class HostCopy {
public:
  /// read: the copy starts with the block's contents, else with anything.
  HostCopy(Context &ctx, const DeviceBlock &block, bool read);
  char *data() const { return ptr; }
  template <typename T> T *as() const { return reinterpret_cast<T *>(ptr); }
  /// Writes the copy back.
  void store();

private:
  Context &ctx;
  const DeviceBlock &block;
  Block copy;
  char *ptr;
};

/// Makes `bytes` at `host` the input number `index` of the next micro-step, or of a task (ctx
/// itself or ctx.second). They must stay as they are until outcomeOfStep returns.
void setInput(Context &ctx, TaskState &task, int64_t index, const void *host, int64_t bytes);
/// Does a part of a stage's function that gives the rank's stream kernels and nothing else: on
/// a GPU as a graph, one for each slot. Of programs for GPUs.
void replay(Context &ctx, void (*part)(Context &));
/// Sets the inputs of a task's micro-batch.
using SetInputs = std::function<void(TaskState &)>;
/// Nodes that a CUDA graph of a whole step may have, where --graph-nodes does not say.
inline constexpr int64_t kGraphNodes = 20000;
/// Without other ranks: starts all ctx.microBatches micro-steps of a step, and the update, as one
/// CUDA graph. False where that is not done: on the CPU, in the first step, where the graph would
/// have more than graphNodes nodes (less than 0: kGraphNodes), or with one micro-batch, which
/// runMicroStep does as one graph.
bool runWholeStep(Context &ctx, int64_t graphNodes, const SetInputs &setInputs);
/// The tasks and messages of a step of a pipeline, which need no host between them.
struct WholeRounds {
  int64_t number;                             ///< of the round that is run, once or several times
  std::function<void()> beginCapture;         ///< called within a capture, before `run`
  std::function<void(const SetInputs &)> run; ///< gives all of it to the rank's stream
};
/// Starts them as one CUDA graph; false where that is not done: on the CPU, in the first step of
/// each number, or where the graph would have more than graphNodes nodes (less than 0:
/// kGraphNodes).
bool runWholeRounds(Context &ctx, int64_t graphNodes, const WholeRounds &rounds,
                    const SetInputs &setInputs);
/// For the log: what of a step is a graph. Empty: not known yet, or no GPU.
std::string describeGraphs(const Context &ctx);
/// Throws InputError where --graph-nodes is given (0 or more) and the program is not for GPUs.
void checkGraphNodes(int64_t wish);
/// Starts the program's micro-step number ctx.microBatch; after the last one of a
/// step also endStep().
void runMicroStep(Context &ctx, bool last);
/// Starts the forward of micro-batch ctx.microBatch alone, for its loss; ctx.trains is false.
void runForward(Context &ctx);
/// Waits for the step. Throws RunError for what a kernel found wrong, e.g. a
/// label out of range.
StepOutcome outcomeOfStep(Context &ctx);

} // namespace moire::rt

#endif // MOIRE_RT_DEVICE_H
