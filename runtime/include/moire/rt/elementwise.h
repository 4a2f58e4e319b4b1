//===- elementwise.h - The loop around generated scalar expressions -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A fused elementwise kernel is a functor, the scalar expression of one
// iteration space; launch() is the loop around it:
//
//     // silu(%gate) * %up, and silu's derivative for the backward
//     struct Kernel7 {
//       MOIRE_FUNCTOR run(float gate, float up, float &y, float &d) {
//         float s = math::sigmoid(gate);
//         y = gate * s * up;
//         d = s * (1.0f + gate * (1.0f - s));
//       }
//     };
//     launch<Kernel7>(ctx, {512, 1024},
//                     in<1>(ctx.at<float>(0), {2048}),     // rows of 2048
//                     in<1>(ctx.at<float>(4096), {2048}),
//                     out<1>(ctx.at<float>(65536), {1024}),
//                     out<1>(ctx.at<float>(131072), {1024}));
//
// {512, 1024} is the iteration space, at most 6 dimensions, the last one runs
// fastest. in<I>(pointer, {strides}): I is the stride of the last dimension, a
// compile-time 0 (the same value for the row) or 1, or kStrided with the last
// dimension's stride at the end of the list; the list holds the strides of the
// other dimensions in elements (it may be left out where there are none: a
// space of one dimension, or all zero). index(d) is an input whose value is the
// coordinate along dimension d (int64_t). run() takes inputs by value in the
// order of launch's arguments, then outputs by reference. Types: float, double,
// int64_t, int32_t, bool for uint8_t memory, and float for bf16 memory, where
// outputs are rounded.
//
// filled({512, 1024}, count, rows) is a space whose first dimension is made of
// `rows` rows (of one or more indices each), of which the first *count are
// computed; what the kernel would write beyond them stays as it is. *count is read
// where the loop runs: on the device, of a GPU. filled({512, 1024}, first, count, rows) is
// the same of rows *first … *count - 1; index(d) is still the coordinate in the whole space.
//
// The loop is moire/rt/cpu/elementwise.h or, where CUDA is compiled,
// moire/rt/cuda/elementwise.h.
//
// An output may lie in the memory of an input with the same strides. Each
// element is computed once, by the same instructions wherever it lies: results
// do not depend on the number of threads.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_ELEMENTWISE_H
#define MOIRE_RT_ELEMENTWISE_H

#include "moire/rt/bf16.h"
#include "moire/rt/context.h"

#include <initializer_list>
#include <type_traits>

#if defined(__CUDACC__)
#define MOIRE_FUNCTOR static __host__ __device__ __forceinline__ void
#else
#define MOIRE_FUNCTOR static inline __attribute__((always_inline)) void
#endif

namespace moire::rt {

inline constexpr int kMaxDims = 6;
/// Inner stride known only at run time.
inline constexpr int kStrided = -1;

/// The iteration space.
struct Space {
  int64_t dims[kMaxDims] = {1, 1, 1, 1, 1, 1};
  int rank = 0;
  const int32_t *first = nullptr; ///< the first row to compute; null: 0
  const int32_t *count = nullptr; ///< rows that there are; null: all, and from 0
  int64_t rows = 1;               ///< of the first dimension
  Space(std::initializer_list<int64_t> list) {
    for (int64_t d : list)
      dims[rank++] = d;
  }
  int64_t inner() const { return rank ? dims[rank - 1] : 1; }
  int64_t outer() const {
    int64_t n = 1;
    for (int i = 0; i + 1 < rank; ++i)
      n *= dims[i];
    return n;
  }
};

inline Space filled(Space space, const int32_t *first, const int32_t *count, int64_t rows) {
  space.first = first;
  space.count = count;
  space.rows = rows;
  return space;
}
inline Space filled(Space space, const int32_t *count, int64_t rows) {
  return filled(space, nullptr, count, rows);
}

template <typename T, int Inner, bool IsOutput> struct Operand {
  using Value = std::conditional_t<
      std::is_same_v<T, uint8_t>, bool,
      std::conditional_t<std::is_same_v<T, bf16>, float, T>>;
  using Pointer = std::conditional_t<IsOutput, T *, const T *>;
  Pointer base;
  int64_t strides[kMaxDims] = {0, 0, 0, 0, 0, 0};

  /// Where row number `outer coordinates` starts.
  Pointer row(const int64_t *coordinates, int outerRank) const {
    Pointer p = base;
    for (int i = 0; i < outerRank; ++i)
      p += coordinates[i] * strides[i];
    return p;
  }
  int64_t innerStride(int outerRank) const {
    return Inner == kStrided ? strides[outerRank] : Inner;
  }
};

/// The coordinate along one dimension as an input.
struct IndexOperand {
  using Value = int64_t;
  int dim;
};

template <int Inner, typename T>
Operand<T, Inner, false> in(const T *base,
                            std::initializer_list<int64_t> strides = {}) {
  Operand<T, Inner, false> op{base};
  int i = 0;
  for (int64_t s : strides)
    op.strides[i++] = s;
  return op;
}
template <int Inner, typename T>
Operand<T, Inner, true> out(T *base,
                            std::initializer_list<int64_t> strides = {}) {
  static_assert(Inner != 0, "an output has one place for each element");
  Operand<T, Inner, true> op{base};
  int i = 0;
  for (int64_t s : strides)
    op.strides[i++] = s;
  return op;
}
inline IndexOperand index(int dim) { return {dim}; }

} // namespace moire::rt

#if defined(__CUDACC__) || defined(MOIRE_CUDA_MODEL)
#include "moire/rt/cuda/elementwise.h"
#else
#include "moire/rt/cpu/elementwise.h"
#endif

#endif // MOIRE_RT_ELEMENTWISE_H
