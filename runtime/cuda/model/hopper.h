//===- hopper.h - Copy engine and tensor cores in the model ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What cuda/hopper.cuh does by instructions of sm_90a, done by loops, so that a
// kernel's tiles, descriptors, barriers and masks can be tested. What the device
// may do late is done late and what it may do early early: a copy happens when it
// is started, products when they are waited for. So a stage that is refilled too
// soon gives wrong numbers here. Not modelled: what the device makes of a wrong
// description beyond the layout written at `describe`, and memory fences.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_MODEL_HOPPER_H
#define MOIRE_RT_CUDA_MODEL_HOPPER_H

#include "cuda/model/model.h"

#include <cmath>
#include <initializer_list>

#define __grid_constant__

namespace moire::rt::hopper {

/// As an mbarrier: 8 bytes of shared memory.
struct Barrier {
  uint32_t phase;            ///< phases that have ended
  uint8_t expected, pending; ///< arrivals of a phase, and those still to come
  uint16_t lines;            ///< of 16 bytes still to come
};

struct TensorMap {
  const uint16_t *data;
  int64_t dims[4], box[4], pitch[4]; ///< the innermost first
};

uint32_t sharedAddress(const void *p);
char *alignedShared(SharedPtr<char> p, uint32_t alignment);

void initBarrier(Barrier *b, uint32_t count);
void arrive(Barrier *b);
void arriveExpecting(Barrier *b, uint32_t bytes);
void wait(Barrier *b, uint32_t parity);
inline void fenceBarriers() {}
inline void fenceAsync() {}
inline void prefetch(const TensorMap *) {}
void copyTile(const TensorMap *map, void *to, Barrier *b, int32_t x, int32_t y, int32_t z = 0,
              int32_t w = 0);

/// Done when it is started, as all copies.
void copyChunk(char *to, const void *from, bool valid);
inline void arriveAfterChunks(Barrier *b) { arrive(b); }
char *swizzledChunk(char *tile, int32_t row, int32_t chunk);

inline float exp2Fast(float x) { return std::exp2(x); }

void syncSome(int threads);
template <int id, int threads> void syncSome() { syncSome(threads); }
template <int> void takeRegisters() {}
template <int> void giveRegisters() {}

template <typename T> void pin(T &) {}
inline void beginProducts() {}
void commitProducts();
void waitProducts(int pending);
template <int pending> void waitProducts() { waitProducts(pending); }
uint64_t describe(const void *tile, uint32_t blockBytes);
/// Notes a product; d is written when it is waited for. registers: of a, or null.
void noteProduct(int n, bool transA, bool transB, float *d, const uint32_t *registers, uint64_t a,
                 uint64_t b);
template <int N> struct Wgmma {
  template <bool transA, bool transB>
  static void multiply(float (&d)[N / 2], uint64_t a, uint64_t b) {
    noteProduct(N, transA, transB, d, nullptr, a, b);
  }
  template <bool transB>
  static void multiply(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b) {
    noteProduct(N, false, transB, d, a, 0, b);
  }
};

} // namespace moire::rt::hopper

#endif // MOIRE_RT_CUDA_MODEL_HOPPER_H
