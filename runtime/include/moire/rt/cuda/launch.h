//===- launch.h - Launching kernels and declaring shared memory -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What every kernel is written with, so that nvcc compiles it for a GPU and a
// C++ compiler, with MOIRE_CUDA_MODEL defined, for the execution model
// (cuda/model/model.h), where it is tested:
//
//     __global__ void __launch_bounds__(256) sum(int64_t n, const float *x, float *y) {
//       MOIRE_SHARED(float, partial, 8);              // float partial[8]
//       MOIRE_SHARED_MATRIX(float, tile, 32, 33);     // float tile[32][33]
//       MOIRE_SHARED_DYNAMIC(float4, rest);           // the launch's bytes
//       …
//     }
//     MOIRE_LAUNCH(streamOf(ctx), blocks, 256, sharedBytes, sum, n, x, y);
//
// A function takes a pointer to shared memory as SharedPtr<T>, and
// sharedCast<U>(p) sees its bytes as U's. In the model an element is a proxy:
// name the type of what is read from one (`float x = tile[i]`, not auto), and
// call members on a copy. In the macros a type holds no comma.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_LAUNCH_H
#define MOIRE_RT_CUDA_LAUNCH_H

#include "moire/rt/cuda/check.h"

#include <tuple>
#include <utility>

namespace moire::rt {

/// The stream of the rank; null in the model.
cudaStream_t streamOf(Context &ctx);

#if defined(MOIRE_CUDA_MODEL)

using LaunchSite = model::Site;

/// kernel<<<grid, block, sharedBytes, stream>>>(args…); an empty grid does
/// nothing. Called through MOIRE_LAUNCH.
template <typename... Params, typename... Args>
void launchKernel(LaunchSite site, cudaStream_t, dim3 grid, dim3 block,
                  size_t sharedBytes, void (*kernel)(Params...), Args &&...args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0)
    return;
  struct Call {
    void (*kernel)(Params...);
    std::tuple<Params...> args;
  } call = {kernel, std::tuple<Params...>(static_cast<Params>(args)...)};
  auto run = [site, grid, block, sharedBytes](Call &call) {
    model::run(site, grid, block, sharedBytes,
               [](void *data) {
                 auto *c = static_cast<Call *>(data);
                 std::apply(c->kernel, c->args);
               },
               &call);
  };
  if (model::captured) // with the arguments as they are now
    model::captured->push_back([run, call]() mutable { run(call); });
  else
    run(call);
}

#else

struct LaunchSite {
  const char *kernel, *file;
  int line;
};

template <typename... Params, typename... Args>
void launchKernel(LaunchSite site, cudaStream_t stream, dim3 grid, dim3 block,
                  size_t sharedBytes, void (*kernel)(Params...), Args &&...args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0)
    return;
  if (sharedBytes > 48 * 1024) // more must be asked for
    MOIRE_CUDA(cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(sharedBytes)));
  kernel<<<grid, block, sharedBytes, stream>>>(static_cast<Params>(args)...);
  if (cudaError_t status = cudaGetLastError())
    checkCuda(status, ("kernel '" + kernelName(site.kernel) + "'").c_str(), site.file,
              site.line);
}

template <typename T> using SharedPtr = T *;
template <typename U, typename T> __device__ __forceinline__ U *sharedCast(T *p) {
  return reinterpret_cast<U *>(p);
}
#define MOIRE_SHARED(T, name, n) __shared__ T name[n]
#define MOIRE_SHARED_MATRIX(T, name, rows, cols) __shared__ T name[rows][cols]
#define MOIRE_SHARED_DYNAMIC(T, name)                                          \
  extern __shared__ __align__(128) unsigned char moireDynamicShared[];         \
  T *const name = reinterpret_cast<T *>(moireDynamicShared)

#endif

} // namespace moire::rt

/// MOIRE_LAUNCH(stream, grid, block, sharedBytes, kernel, args…).
#define MOIRE_LAUNCH(stream, grid, block, sharedBytes, ...)                    \
  ::moire::rt::launchKernel({#__VA_ARGS__, __FILE__, __LINE__}, (stream),      \
                            (grid), (block), (sharedBytes), __VA_ARGS__)

#endif // MOIRE_RT_CUDA_LAUNCH_H
