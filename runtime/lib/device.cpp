//===- device.cpp - The CPU as the device ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/device.h"
#include "kernels/bgemm.h"
#include "moire/rt/loss.h"
#include "train/micro_step.h"

#ifdef MOIRE_CUDA_MODEL
#include "cuda/link.h"
#include "cuda/model/jobs.h"
#include "cuda/model/model.h"
#include "cuda/model/waits.h"
#include "train/convert.h"
#include "train/data.h"
#endif

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

namespace moire::rt {

char *DeviceMemory::allocate(int64_t bytes) { return HostMemory::allocate(bytes); }
void DeviceMemory::release(char *memory, int64_t bytes) { HostMemory::release(memory, bytes); }

#ifndef MOIRE_CUDA_MODEL
struct Device {};
#endif
std::shared_ptr<Device> createDevice(int) { return std::make_shared<Device>(); }
#ifdef MOIRE_CUDA_MODEL
std::string describeDevice(const Context &) {
  return "CUDA kernels executed on the CPU by the execution model";
}
#else
std::string describeDevice(const Context &ctx) {
  std::string text = std::to_string(ctx.threads) + (ctx.threads == 1 ? " thread" : " threads");
#ifndef MOIRE_CUDA_MODEL // which has one way only
  // Said once: whoever compares speeds should know.
  if (ctx.shadows.size())
    text += multipliesBf16() ? ", products of bf16 by oneDNN"
                             : ", products of bf16 widened to float: this processor has no AVX-512";
#endif
  return text;
}
#endif
void chooseDevice(int) {}
#ifdef MOIRE_CUDA_MODEL
std::string gpuIdentity(Context &) { return "the model"; } // so that it is shared
#else
void checkLink(GpuLink wish) {
  if (wish != GpuLink::automatic)
    throw InputError("--gpu-link is of programs for GPUs; compile with --target cuda, or leave "
                     "it out");
}
Connected connectDevices(Context &, GpuLink) { return {}; }
#endif
void checkMemory(const Context &, int64_t) {
  // The host pages: what fits is known only when it is used.
}
MemoryInUse memoryInUse(const Context &) {
  MemoryInUse use;
  std::ifstream status("/proc/self/status"); // "VmHWM:    123 kB"
  for (std::string key, rest; status >> key && std::getline(status, rest);)
    if (key == "VmRSS:" || key == "VmHWM:")
      (key == "VmRSS:" ? use.now : use.peak) = 1024 * std::atoll(rest.c_str());
  return use;
}
int64_t reserveBytes(const std::vector<const Program *> &) { return 0; }
#ifdef MOIRE_CUDA_MODEL
/// Places of their own, as on a GPU, where graphs find them.
void reserve(Context &ctx) {
  const int64_t count = ctx.program->numInputs;
  auto inputs = std::make_unique<DeviceBlock[]>(2 * count);
  for (int64_t i = 0; i < 2 * count; ++i) {
    inputs[i] = DeviceBlock(mostBytesOfInput(ctx.lengths, i % count));
    (i < count ? ctx.inputs[i] : ctx.second.inputs[i - count]) = inputs[i].data();
  }
  ctx.device->inputs = std::move(inputs);
}
void setInput(Context &ctx, TaskState &task, int64_t index, const void *host, int64_t bytes) {
  send(ctx, const_cast<void *>(task.inputs[index]), host, bytes);
}
#else
void reserve(Context &) {}
void setInput(Context &, TaskState &task, int64_t index, const void *host, int64_t) {
  task.inputs[index] = host;
}
#endif

static void copyAndWait(void *to, const void *from, int64_t bytes) {
  if (bytes <= 0)
    return;
#ifdef MOIRE_CUDA_MODEL
  ++model::hostWaits;
#endif
  std::memcpy(to, from, bytes);
}
void upload(Context &, void *device, const void *host, int64_t bytes) {
  copyAndWait(device, host, bytes);
}
void download(Context &, void *host, const void *device, int64_t bytes) {
  copyAndWait(host, device, bytes);
}

void send(Context &, void *device, const void *host, int64_t bytes) {
  if (bytes > 0)
    std::memcpy(device, host, bytes);
}

HostCopy::HostCopy(Context &ctx, const DeviceBlock &block, bool)
    : ctx(ctx), block(block), ptr(block.data()) {}
void HostCopy::store() {}

#ifndef MOIRE_CUDA_MODEL
bool runWholeStep(Context &, int64_t, const SetInputs &) { return false; }
bool runWholeRounds(Context &, int64_t, const WholeRounds &, const SetInputs &) { return false; }
std::string describeGraphs(const Context &) { return {}; }
void checkGraphNodes(int64_t wish) {
  if (wish >= 0)
    throw InputError("--graph-nodes is of programs for GPUs; compile with --target cuda, or leave "
                     "it out");
}
void runMicroStep(Context &ctx, bool last) { startMicroStep(ctx, last); }
#endif

static void addLoss(const float *value, double *sum, bool first, double *own, bool firstOfOwn) {
  *sum = (first ? 0 : *sum) + *value;
  if (own)
    *own = (firstOfOwn ? 0 : *own) + *value;
}
void loss(Context &ctx, const TaskState &task, const float *value) {
  double *sum = &ctx.outcome.as<StepOutcome>()->loss;
  double *own = ctx.losses.size() ? ctx.losses.as<double>() + task.microBatch : nullptr;
  const bool first = task.first(), firstOfOwn = task.part.isFirst;
#ifdef MOIRE_CUDA_MODEL
  if (model::captured) {
    model::captured->push_back([=] { addLoss(value, sum, first, own, firstOfOwn); });
    return;
  }
#endif
  addLoss(value, sum, first, own, firstOfOwn);
}
void loss(Context &ctx, const float *value) { loss(ctx, ctx, value); }
StepOutcome outcomeOfStep(Context &ctx) { return *ctx.outcome.as<StepOutcome>(); }

} // namespace moire::rt
