//===- row.cuh - Rows held by a warp or a block ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Kernels that reduce over rows give each row to a team: a warp, which needs no
// barrier, or a block. A thread of the team has every kTeam-th vector of W
// columns; V vectors stay in registers, so that a row is read once; V = 0 reads
// it again from the cache for each pass. Sums are per thread in order of
// columns, then a tree of lanes, then warps in order: the shape decides it all.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_ROW_CUH
#define MOIRE_RT_CUDA_ROW_CUH

#include "cuda/warp.cuh"
#include "moire/rt/cuda/pack.h"

#include <algorithm>

namespace moire::rt::device {

/// How a kernel's threads share rows.
template <int TeamThreads, int BlockThreads, int Width, int Vectors> struct RowForm {
  static constexpr int kTeam = TeamThreads, kBlock = BlockThreads, kWidth = Width,
                       kVectors = Vectors;
  static constexpr int kTeams = kBlock / kTeam;
  /// The longest row, 0: any.
  static constexpr int64_t kMost = int64_t(kTeam) * kWidth * kVectors;
};

/// The threads of one row.
template <typename Form> class Team {
public:
  static constexpr int kWarps = Form::kTeam / kWarp;
  /// buffer: 64 floats of shared memory, used where a team is a block.
  __device__ __forceinline__ explicit Team(SharedPtr<float> buffer) : buffer(buffer) {}
  __device__ __forceinline__ static int lane() { return threadIdx.x % Form::kTeam; }
  __device__ __forceinline__ static int number() { return threadIdx.x / Form::kTeam; }

  __device__ __forceinline__ float sum(float v) {
    v = warpSum(v);
    if constexpr (kWarps > 1) {
      const SharedPtr<float> all = gather(v);
      v = all[0];
#pragma unroll
      for (int w = 1; w < kWarps; ++w)
        v += all[w];
    }
    return v;
  }
  __device__ __forceinline__ float max(float v) {
    v = warpMax(v);
    if constexpr (kWarps > 1) {
      const SharedPtr<float> all = gather(v);
      v = all[0];
#pragma unroll
      for (int w = 1; w < kWarps; ++w) {
        const float other = all[w];
        v = other > v ? other : v;
      }
    }
    return v;
  }

private:
  /// Two halves in turn: who is in one reduction has left the last but one.
  __device__ __forceinline__ SharedPtr<float> gather(float v) {
    const SharedPtr<float> half = buffer + 32 * turn;
    turn ^= 1;
    if (threadIdx.x % kWarp == 0)
      half[threadIdx.x / kWarp] = v;
    __syncthreads();
    return half;
  }
  SharedPtr<float> buffer;
  int turn = 0;
};

/// A thread's part of one row of T as floats.
template <typename T, typename Form> class RowPart {
public:
  static constexpr int W = Form::kWidth, V = Form::kVectors;
  __device__ __forceinline__ RowPart(const T *row, int cols) : row(row), cols(cols) {
    if constexpr (V > 0)
#pragma unroll
      for (int k = 0; k < V; ++k)
        if (column(k) < cols)
          load(column(k), v[k]);
  }
  /// f(column, W values, number of the vector) for the thread's vectors. With
  /// V > 0 f may change the values, and the number is a constant.
  template <typename F> __device__ __forceinline__ void each(F &&f) {
    if constexpr (V > 0) {
#pragma unroll
      for (int k = 0; k < V; ++k)
        if (column(k) < cols)
          f(column(k), v[k], k);
    } else {
      for (int i = Team<Form>::lane() * W; i < cols; i += Form::kTeam * W) {
        float values[W];
        load(i, values);
        f(i, values, 0);
      }
    }
  }
  /// The values of the thread's vector number k at column i, as each() gives them.
  __device__ __forceinline__ void get(int i, int k, float (&values)[W]) const {
    if constexpr (V > 0) {
#pragma unroll
      for (int j = 0; j < W; ++j)
        values[j] = v[k][j];
    } else {
      load(i, values);
    }
  }
  /// From now on the values that lie at `other`, which this thread wrote.
  __device__ __forceinline__ void readFrom(const T *other) { row = other; }

  __device__ __forceinline__ void load(int i, float (&values)[W]) const {
    Run<T, W> run;
    run.load(row + i);
#pragma unroll
    for (int j = 0; j < W; ++j)
      values[j] = float(run.at[j]);
  }

private:
  __device__ __forceinline__ static int column(int k) {
    return (k * Form::kTeam + Team<Form>::lane()) * W;
  }
  const T *row;
  int cols;
  float v[V > 0 ? V : 1][W];
};

template <int W, typename T>
__device__ __forceinline__ void loadRun(const T *p, float (&values)[W]) {
  Run<T, W> run;
  run.load(p);
#pragma unroll
  for (int j = 0; j < W; ++j)
    values[j] = float(run.at[j]);
}
template <int W, typename T>
__device__ __forceinline__ void storeRun(T *p, const float (&values)[W]) {
  Run<T, W> run;
#pragma unroll
  for (int j = 0; j < W; ++j)
    run.at[j] = T(values[j]);
  run.store(p);
}

/// Calls body(form) with the form for rows of `cols` columns, W at a time where
/// `wide`. A warp's 8 vectors, or a block's 4, leave room in the registers.
template <int W, typename Body> void withRowForm(int64_t cols, bool wide, Body &&body) {
  using Short = RowForm<32, 256, W, 2>;
  using Middle = RowForm<32, 256, W, 8>;
  using Long = RowForm<256, 256, W, 4>;
  if (!wide || cols % W)
    cols <= 2048 ? body(RowForm<32, 256, 1, 0>()) : body(RowForm<512, 512, 1, 0>());
  else if (cols <= Short::kMost)
    body(Short());
  else if (cols <= Middle::kMost)
    body(Middle());
  else if (cols <= Long::kMost)
    body(Long());
  else
    body(RowForm<512, 512, W, 0>());
}

template <typename Form> dim3 rowGrid(int64_t rows) {
  return dim3(unsigned((rows + Form::kTeams - 1) / Form::kTeams));
}

/// Whether all pointers (null too) allow accesses of W elements.
template <int W, typename... T> bool allAligned(const T *...p) {
  return (... && isAligned(p, kAccessBytes<T, W>));
}

} // namespace moire::rt::device

#endif // MOIRE_RT_CUDA_ROW_CUH
