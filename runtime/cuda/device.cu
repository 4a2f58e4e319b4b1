//===- device.cu - The GPU as the device ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/device.h"
#include "cuda/fault.h"
#include "cuda/libraries.h"
#include "cuda/link.h"
#include "moire/rt/device.h"
#include "moire/rt/loss.h"
#include "train/convert.h"
#include "train/data.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace moire::rt {

cudaStream_t streamOf(Context &ctx) {
  return ctx.inJob ? ctx.device->jobs : ctx.device->stream;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

char *DeviceMemory::allocate(int64_t bytes) {
  void *memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, bytes);
  if (error != cudaSuccess)
    throw RunError("the GPU has no room for " + std::to_string(bytes) + " bytes (" +
                   cudaGetErrorString(error) + "); use a smaller batch or sequence in --bind");
  // The ranks' streams do not wait for the stream that this runs in.
  MOIRE_CUDA(cudaMemset(memory, 0, bytes));
  MOIRE_CUDA(cudaStreamSynchronize(nullptr));
  return static_cast<char *>(memory);
}
void DeviceMemory::release(char *memory, int64_t) { cudaFree(memory); }

void upload(Context &ctx, void *device, const void *host, int64_t bytes) {
  if (bytes <= 0)
    return;
  MOIRE_CUDA(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, streamOf(ctx)));
  MOIRE_CUDA(cudaStreamSynchronize(streamOf(ctx)));
}
void download(Context &ctx, void *host, const void *device, int64_t bytes) {
  if (bytes <= 0)
    return;
  MOIRE_CUDA(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, streamOf(ctx)));
  MOIRE_CUDA(cudaStreamSynchronize(streamOf(ctx)));
}

void send(Context &ctx, void *device, const void *host, int64_t bytes) {
  if (bytes > 0)
    MOIRE_CUDA(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, streamOf(ctx)));
}

HostCopy::HostCopy(Context &ctx, const DeviceBlock &block, bool read)
    : ctx(ctx), block(block), copy(block.size()), ptr(copy.data()) {
  if (read)
    download(ctx, ptr, block.data(), block.size());
}
void HostCopy::store() { upload(ctx, block.data(), ptr, block.size()); }

//===----------------------------------------------------------------------===//
// The device
//===----------------------------------------------------------------------===//

Device::Device(int number) : number(number) {
  MOIRE_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
}
Device::~Device() {
  steps.drop();
  libraries.reset();
  if (jobs) {
    cudaStreamDestroy(jobs);
    cudaEventDestroy(begin);
    for (cudaEvent_t end : ends)
      cudaEventDestroy(end);
  }
  cudaStreamDestroy(stream);
}

/// The library holds code for one architecture: say so before a kernel fails.
__global__ static void probe() {}

std::shared_ptr<Device> createDevice(int) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0)
    throw RunError(std::string("there is no GPU that CUDA can use (") +
                   (error == cudaSuccess ? "none found" : cudaGetErrorString(error)) +
                   "); run where there is one and nvidia-smi shows it, or compile with "
                   "--target cpu");
  int number = 0;
  MOIRE_CUDA(cudaGetDevice(&number));
  cudaFuncAttributes attributes;
  if (cudaFuncGetAttributes(&attributes, probe) != cudaSuccess) {
    cudaGetLastError();
    cudaDeviceProp p;
    MOIRE_CUDA(cudaGetDeviceProperties(&p, number));
    throw RunError("the program was compiled for another GPU than this " + std::string(p.name) +
                   " of architecture sm_" + std::to_string(p.major * 10 + p.minor) +
                   "; compile it again with --arch sm_" + std::to_string(p.major * 10 + p.minor));
  }
  return std::make_shared<Device>(number);
}

std::string describeDevice(const Context &ctx) {
  cudaDeviceProp p;
  MOIRE_CUDA(cudaGetDeviceProperties(&p, ctx.device->number));
  return p.name;
}

void chooseDevice(int localRank) {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess && count > 0) // else createDevice() says so
    MOIRE_CUDA(cudaSetDevice(localRank % count));
}

std::string gpuIdentity(Context &ctx) {
  cudaDeviceProp p;
  MOIRE_CUDA(cudaGetDeviceProperties(&p, ctx.device->number));
  return std::string(p.uuid.bytes, sizeof p.uuid.bytes);
}

void checkMemory(const Context &, int64_t bytes) {
  size_t free = 0, total = 0;
  MOIRE_CUDA(cudaMemGetInfo(&free, &total));
  if (bytes > int64_t(free))
    throw RunError("the plan needs " + std::to_string(bytes) + " bytes of GPU memory, " +
                   std::to_string(free) + " of " + std::to_string(total) +
                   " are free; use a smaller batch or sequence in --bind");
}

MemoryInUse memoryInUse(const Context &) {
  size_t free = 0, total = 0;
  MOIRE_CUDA(cudaMemGetInfo(&free, &total));
  return {int64_t(total - free), 0};
}

static int64_t bytesOf(const InputInfo &input) { return elements(input) * bytesOf(input.dtype); }

/// A pipeline's functions may do two.
static int64_t tasksAtOnce(const Program &program) { return program.pipeline ? 2 : 1; }

int64_t reserveBytes(const std::vector<const Program *> &lengths) {
  const Program &program = *lengths.back();
  int64_t bytes = kWorkspaceBytes;
  for (int64_t i = 0; i < program.numInputs; ++i)
    bytes += mostBytesOfInput(lengths, i) * tasksAtOnce(program);
  return bytes;
}

void reserve(Context &ctx) {
  const Program &program = *ctx.program;
  const int64_t count = program.numInputs;
  auto inputs = std::make_unique<DeviceBlock[]>(count * tasksAtOnce(program));
  for (int64_t i = 0; i < count * tasksAtOnce(program); ++i) {
    inputs[i] = DeviceBlock(mostBytesOfInput(ctx.lengths, i % count));
    (i < count ? ctx.inputs[i] : ctx.second.inputs[i - count]) = inputs[i].data();
  }
  ctx.device->inputs = std::move(inputs);
  librariesOf(ctx);
}

//===----------------------------------------------------------------------===//
// Inputs and losses
//===----------------------------------------------------------------------===//

void setInput(Context &ctx, TaskState &task, int64_t index, const void *host, int64_t bytes) {
  const Program &program = *ctx.program;
  if (program.pipeline) {
    int64_t before = 0, all = 0;
    for (int64_t i = 0; i < program.numInputs; ++i) {
      all += bytesOf(program.inputs[i]);
      before += i < index ? bytesOf(program.inputs[i]) : 0;
    }
    PinnedBlock &staged = ctx.device->staged;
    // A step with more micro-batches than those before begins when all of these are done.
    if (staged.size() < all * ctx.microBatches)
      staged = PinnedBlock(all * ctx.microBatches);
    // Another task of the micro-batch may be copying: the same bytes.
    char *own = staged.data() + task.microBatch * all + before;
    std::memcpy(own, host, bytes);
    host = own;
  }
  send(ctx, const_cast<void *>(task.inputs[index]), host, bytes);
}

__global__ static void addLoss(const float *value, double *sum, bool first, double *own,
                               bool firstOfOwn) {
  *sum = (first ? 0.0 : *sum) + double(*value);
  if (own)
    *own = (firstOfOwn ? 0.0 : *own) + double(*value);
}
void loss(Context &ctx, const TaskState &task, const float *value) {
  double *own = ctx.losses.size() ? ctx.losses.as<double>() + task.microBatch : nullptr;
  MOIRE_LAUNCH(streamOf(ctx), 1, 1, 0, addLoss, value, &ctx.outcome.as<StepOutcome>()->loss,
               task.first(), own, task.part.isFirst);
}
void loss(Context &ctx, const float *value) { loss(ctx, ctx, value); }
StepOutcome outcomeOfStep(Context &ctx) {
  StepOutcome outcome;
  download(ctx, &outcome, ctx.outcome.data(), sizeof outcome); // waits for the step
  if (ctx.link)
    ctx.link->check();
  checkFaults(ctx);
  return outcome;
}

} // namespace moire::rt
