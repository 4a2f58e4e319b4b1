//===- vector_types.h - dim3, float4 and the API calls of the model -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_MODEL_VECTOR_TYPES_H
#define MOIRE_RT_CUDA_MODEL_VECTOR_TYPES_H

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#define MOIRE_VECTOR(T, Name)                                                  \
  struct alignas(2 * sizeof(T)) Name##2 {                                      \
    T x, y;                                                                    \
  };                                                                           \
  struct alignas(sizeof(T) == 8 ? 16 : 4 * sizeof(T)) Name##4 {                \
    T x, y, z, w;                                                              \
  };                                                                           \
  inline Name##2 make_##Name##2(T x, T y) { return {x, y}; }                   \
  inline Name##4 make_##Name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
MOIRE_VECTOR(float, float)
MOIRE_VECTOR(double, double)
MOIRE_VECTOR(int, int)
MOIRE_VECTOR(unsigned, uint)
MOIRE_VECTOR(short, short)
MOIRE_VECTOR(unsigned short, ushort)
#undef MOIRE_VECTOR

// The calls of the CUDA runtime that the sources of both make. Device memory is host
// memory; what the null stream is given is done at once, of others see stream.h.
namespace moire::rt::model {
class Stream;
}
using cudaStream_t = moire::rt::model::Stream *;
struct moireModelEvent;
using cudaEvent_t = moireModelEvent *;
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorMemoryAllocation = 2,
  cudaErrorStreamCaptureUnjoined = 904,
  cudaErrorStreamCaptureIsolation = 905,
};
enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
inline const char *cudaGetErrorString(cudaError_t e) {
  switch (e) {
  case cudaSuccess:
    return "no error";
  case cudaErrorMemoryAllocation:
    return "out of memory";
  case cudaErrorStreamCaptureUnjoined:
    return "capturing stream has unjoined work";
  case cudaErrorStreamCaptureIsolation:
    return "dependency created on uncaptured work in another stream";
  }
  return "unknown";
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaMalloc(void **p, size_t bytes) {
  *p = std::malloc(bytes);
  return *p || !bytes ? cudaSuccess : cudaErrorMemoryAllocation;
}
inline cudaError_t cudaFree(void *p) {
  std::free(p);
  return cudaSuccess;
}
inline cudaError_t cudaMallocHost(void **p, size_t bytes) { return cudaMalloc(p, bytes); }
inline cudaError_t cudaFreeHost(void *p) { return cudaFree(p); }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaGetDevice(int *number) {
  *number = 0;
  return cudaSuccess;
}
/// On the null stream, while it is captured, noted instead of done, as kernels are.
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream);
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2;
inline cudaError_t cudaDeviceGetStreamPriorityRange(int *lowest, int *highest) {
  *lowest = *highest = 0;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);

struct moireModelGraph;
using cudaGraph_t = moireModelGraph *;
using cudaGraphExec_t = moireModelGraph *;
enum cudaStreamCaptureMode { cudaStreamCaptureModeRelaxed = 2 };
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long);
using cudaGraphNode_t = void *;
/// With null for the nodes: their number.
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);

#endif // MOIRE_RT_CUDA_MODEL_VECTOR_TYPES_H
