//===- hopper.cuh - Tensor cores and the copy engine of sm_90a ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The instructions that CUDA C++ has no name for (PTX ISA, chapters on mbarrier,
// cp.async.bulk.tensor and wgmma). Tiles in shared memory are 128 bytes wide,
// swizzled: 16-byte chunk c of row r lies at chunk c ^ (r % 8) (swizzledChunk).
// They begin at multiples of 1,024 bytes.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_CUDA_HOPPER_CUH
#define MOIRE_CUDA_HOPPER_CUH

#include "moire/rt/bf16.h"
#include "moire/rt/cuda/launch.h"

#include <initializer_list>

#ifdef MOIRE_CUDA_MODEL
#include "cuda/model/hopper.h"
#else
#include <cuda.h>
#endif

/// In device code: the instructions of this file exist.
#if defined(MOIRE_CUDA_MODEL) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define MOIRE_SM90A 1
#else
#define MOIRE_SM90A 0
#endif

namespace moire::rt::hopper {

#ifndef MOIRE_CUDA_MODEL

using Barrier = uint64_t;
using TensorMap = CUtensorMap;

/// An address in shared memory, in bytes, as the instructions want it.
__device__ inline uint32_t sharedAddress(const void *p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

/// Chunk `chunk` of 16 bytes of row `row` of a tile.
__device__ inline char *swizzledChunk(char *tile, int32_t row, int32_t chunk) {
  return tile + row * 128 + ((chunk ^ (row & 7)) << 4);
}

/// The first address from p on that is a multiple of `alignment`, a power of two.
__device__ inline char *alignedShared(char *p, uint32_t alignment) {
  return p + (-sharedAddress(p) & (alignment - 1));
}

//===----------------------------------------------------------------------===//
// Barriers in memory
//===----------------------------------------------------------------------===//

/// A phase ends after `count` arrivals and all the bytes that were announced.
__device__ inline void initBarrier(Barrier *barrier, uint32_t count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(sharedAddress(barrier)), "r"(count)
               : "memory");
}
/// Makes initialised barriers known to the copy engine; before a block barrier.
__device__ inline void fenceBarriers() {
  asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
}
__device__ inline void arrive(Barrier *barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(sharedAddress(barrier))
               : "memory");
}
/// Arrives and announces bytes that the copy engine will bring.
__device__ inline void arriveExpecting(Barrier *barrier, uint32_t bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(sharedAddress(barrier)),
      "r"(bytes)
      : "memory");
}
/// Waits until the phase of this parity has ended.
__device__ inline void wait(Barrier *barrier, uint32_t parity) {
  asm volatile("{\n"
               ".reg .pred done;\n"
               "again:\n"
               "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
               "@done bra finished;\n"
               "bra again;\n"
               "finished:\n"
               "}\n" ::"r"(sharedAddress(barrier)),
               "r"(parity)
               : "memory");
}

//===----------------------------------------------------------------------===//
// Copy engine
//===----------------------------------------------------------------------===//

__device__ inline void prefetch(const TensorMap *map) {
  asm volatile("prefetch.tensormap [%0];\n" ::"l"(reinterpret_cast<uint64_t>(map)) : "memory");
}
/// Copies the map's box at (x, y), (x, y, z) or (x, y, z, w), x innermost, to
/// shared memory.
/// What lies outside of the tensor is zero. Bytes are counted on the barrier.
__device__ inline void copyTile(const TensorMap *map, void *to, Barrier *barrier, int32_t x,
                                int32_t y) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
               " [%0], [%1, {%3, %4}], [%2];\n" ::"r"(sharedAddress(to)),
               "l"(reinterpret_cast<uint64_t>(map)), "r"(sharedAddress(barrier)), "r"(x), "r"(y)
               : "memory");
}
__device__ inline void copyTile(const TensorMap *map, void *to, Barrier *barrier, int32_t x,
                                int32_t y, int32_t z) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
               " [%0], [%1, {%3, %4, %5}], [%2];\n" ::"r"(sharedAddress(to)),
               "l"(reinterpret_cast<uint64_t>(map)), "r"(sharedAddress(barrier)), "r"(x), "r"(y),
               "r"(z)
               : "memory");
}
__device__ inline void copyTile(const TensorMap *map, void *to, Barrier *barrier, int32_t x,
                                int32_t y, int32_t z, int32_t w) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes"
               " [%0], [%1, {%3, %4, %5, %6}], [%2];\n" ::"r"(sharedAddress(to)),
               "l"(reinterpret_cast<uint64_t>(map)), "r"(sharedAddress(barrier)), "r"(x), "r"(y),
               "r"(z), "r"(w)
               : "memory");
}
/// Copies 16 bytes to shared memory without waiting, or zeros there where `valid` is false;
/// `from` is then not read.
__device__ inline void copyChunk(void *to, const void *from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(sharedAddress(to)),
               "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}
/// Arrives when this thread's copyChunks so far are done. Their bytes are not counted on the
/// barrier, and they are ordinary writes: who waits and then lets the tensor cores read them calls
/// fenceAsync before.
__device__ inline void arriveAfterChunks(Barrier *barrier) {
  asm volatile(
      "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];\n" ::"r"(sharedAddress(barrier))
      : "memory");
}
/// Orders this thread's ordinary writes to shared memory before what the tensor
/// cores and the copy engine do after the next barrier.
__device__ inline void fenceAsync() {
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}
/// A barrier of `threads` threads of the block; id 0 is __syncthreads'.
template <int id, int threads> __device__ inline void syncSome() {
  asm volatile("bar.sync %0, %1;\n" ::"n"(id), "n"(threads) : "memory");
}

/// 2^x, about 2 ulp; subnormal results are 0.
__device__ inline float exp2Fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

//===----------------------------------------------------------------------===//
// Warpgroups
//===----------------------------------------------------------------------===//

/// Changes how many registers each thread of the warpgroup has.
template <int count> __device__ inline void takeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(count));
}
template <int count> __device__ inline void giveRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(count));
}

/// Keeps the compiler from computing x later than here: what a product reads from
/// registers must be there before beginProducts, which does not name them.
__device__ inline void pin(uint32_t &x) { asm volatile("" : "+r"(x)::"memory"); }
__device__ inline void pin(float &x) { asm volatile("" : "+f"(x)::"memory"); }

/// Before the first product that uses accumulators that were written.
__device__ inline void beginProducts() { asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory"); }
/// Ends a batch of products.
__device__ inline void commitProducts() {
  asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}
/// Waits until at most `pending` batches are unfinished.
template <int pending> __device__ inline void waitProducts() {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(pending) : "memory");
}

/// What the tensor cores are told of a tile of shared memory. Rows of 128 bytes
/// hold 64 values of the reduced dim (then 8 rows are one group, groups lie
/// 1,024 bytes apart and `blockBytes` is not used), or of the other one (then
/// rows run over the reduced dim in groups of 8, and 64 values further is
/// `blockBytes` further).
__device__ inline uint64_t describe(const void *tile, uint32_t blockBytes) {
  const uint64_t address = (sharedAddress(tile) & 0x3ffff) >> 4;
  const uint64_t swizzle128 = 1;
  return swizzle128 << 62 | uint64_t(1024 >> 4) << 32 | uint64_t(blockBytes >> 4) << 16 | address;
}

/// d [64, N] += op(a) [64, 16] · op(b) [16, N] by the four warps of a warpgroup:
/// d[4 i + 2 h + c] of lane l of warp w is row 16 w + 8 h + l / 4, column 8 i +
/// 2 (l % 4) + c. transA: rows of a run over k; transB: rows of b run over k.
/// a in registers: a[2 j + h] holds, lower bits first, columns 8 j + 2 (l % 4)
/// and the next one of row 16 w + 8 h + l / 4.
template <int N> struct Wgmma;

#define MOIRE_D8(i)                                                                                \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]),      \
      "+f"(d[i + 6]), "+f"(d[i + 7])

// clang-format off
template <> struct Wgmma<64> {
  template <bool transA, bool transB>
  __device__ static void multiply(float (&d)[32], uint64_t a, uint64_t b) {
    asm volatile("{.reg .pred add; setp.eq.u32 add, 0, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
                 "}, %32, %33, add, 1, 1, %34, %35;}\n"
                 : MOIRE_D8(0), MOIRE_D8(8), MOIRE_D8(16), MOIRE_D8(24)
                 : "l"(a), "l"(b), "n"(int(transA)), "n"(int(transB)));
  }
  template <bool transB>
  __device__ static void multiply(float (&d)[32], const uint32_t (&a)[4], uint64_t b) {
    asm volatile("{.reg .pred add; setp.eq.u32 add, 0, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
                 "}, {%32, %33, %34, %35}, %36, add, 1, 1, %37;}\n"
                 : MOIRE_D8(0), MOIRE_D8(8), MOIRE_D8(16), MOIRE_D8(24)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(int(transB)));
  }
};
template <> struct Wgmma<128> {
  template <bool transA, bool transB>
  __device__ static void multiply(float (&d)[64], uint64_t a, uint64_t b) {
    asm volatile("{.reg .pred add; setp.eq.u32 add, 0, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
                 "}, %64, %65, add, 1, 1, %66, %67;}\n"
                 : MOIRE_D8(0), MOIRE_D8(8), MOIRE_D8(16), MOIRE_D8(24),
                   MOIRE_D8(32), MOIRE_D8(40), MOIRE_D8(48), MOIRE_D8(56)
                 : "l"(a), "l"(b), "n"(int(transA)), "n"(int(transB)));
  }
  template <bool transB>
  __device__ static void multiply(float (&d)[64], const uint32_t (&a)[4], uint64_t b) {
    asm volatile("{.reg .pred add; setp.eq.u32 add, 0, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
                 "}, {%64, %65, %66, %67}, %68, add, 1, 1, %69;}\n"
                 : MOIRE_D8(0), MOIRE_D8(8), MOIRE_D8(16), MOIRE_D8(24),
                   MOIRE_D8(32), MOIRE_D8(40), MOIRE_D8(48), MOIRE_D8(56)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(int(transB)));
  }
};
template <> struct Wgmma<256> {
  template <bool transA, bool transB>
  __device__ static void multiply(float (&d)[128], uint64_t a, uint64_t b) {
    asm volatile("{.reg .pred add; setp.eq.u32 add, 0, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
                 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
                 "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
                 "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
                 "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
                 "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
                 "}, %128, %129, add, 1, 1, %130, %131;}\n"
                 : MOIRE_D8(0), MOIRE_D8(8), MOIRE_D8(16), MOIRE_D8(24),
                   MOIRE_D8(32), MOIRE_D8(40), MOIRE_D8(48), MOIRE_D8(56),
                   MOIRE_D8(64), MOIRE_D8(72), MOIRE_D8(80), MOIRE_D8(88),
                   MOIRE_D8(96), MOIRE_D8(104), MOIRE_D8(112), MOIRE_D8(120)
                 : "l"(a), "l"(b), "n"(int(transA)), "n"(int(transB)));
  }
};
// clang-format on

#undef MOIRE_D8

#endif // MOIRE_CUDA_MODEL

/// A description for the copy engine of an array of `dims`, the innermost first,
/// of which boxes of `box` elements are copied; the innermost of a box is 64.
/// pitches: elements between neighbours of all dims but the innermost; empty:
/// dense. They must be multiples of 8, and data of 16 bytes.
TensorMap tensorMap(Context &ctx, const bf16 *data, std::initializer_list<int64_t> dims,
                    std::initializer_list<int64_t> box,
                    std::initializer_list<int64_t> pitches = {});
int multiprocessorsOf(Context &ctx);
/// Whether the kernels were compiled for sm_90a: for other architectures they are
/// empty and must not be launched.
bool hasTensorCores(Context &ctx);

} // namespace moire::rt::hopper

#endif // MOIRE_CUDA_HOPPER_CUH
