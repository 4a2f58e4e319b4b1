//===- space.h - Iteration spaces as the device walks them ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Host code of launch(): fewer dimensions, numbers that 32 bits hold.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_SPACE_H
#define MOIRE_RT_CUDA_SPACE_H

#include "moire/rt/cuda/pack.h"

namespace moire::rt::device {

/// What a kernel knows of the space: at most 2^31 threads.
struct Walk {
  int outerRank = 0;
  uint32_t threads = 0;
  Divider threadsPerRow;
  Divider dims[kMaxDims - 1];
  int64_t inner = 0;
  int64_t offset[kMaxDims] = {0}; ///< where this walk begins in the space
  const int32_t *first = nullptr; ///< the first row to compute, on the device; null: 0
  const int32_t *count = nullptr; ///< rows to compute, on the device; null: all
  int64_t perRow = 1;             ///< indices of the first dimension to a row
};

/// Most operands of one kernel: their parameters fill at most 4 KiB.
inline constexpr int kMaxOperands = 64;

/// The space with dimensions merged where every operand allows it, and the
/// operands' strides in it; the last one is the innermost dimension's.
class Shape {
public:
  explicit Shape(const Space &space)
      : rank(space.rank ? space.rank : 1), firstRow(space.first), countedRows(space.count),
        numRows(space.rows) {
    for (int d = 0; d < rank; ++d)
      dims[d] = space.dims[d];
    for (int d = 0; d < kMaxDims; ++d)
      number[d] = d;
  }
  template <typename T, int Inner, bool IsOutput>
  void add(const Operand<T, Inner, IsOutput> &op) {
    for (int d = 0; d + 1 < rank; ++d)
      strides[count][d] = op.strides[d];
    strides[count++][rank - 1] = op.innerStride(rank - 1);
  }
  void add(const IndexOperand &op) {
    pinned[op.dim] = true;
    ++count; // strides 0 never hinder a merge
  }
  /// Drops outer dimensions of size 1 and makes neighbours one.
  void merge() {
    for (int d = rank - 2; d >= 0; --d)
      if (!pinned[d] && (dims[d] == 1 || (!pinned[d + 1] && oneStep(d))))
        remove(d);
  }
  bool empty() const {
    for (int d = 0; d < rank; ++d)
      if (dims[d] == 0)
        return true;
    return false;
  }
  /// Whether no thread's `width` columns begin before the first row to compute and end in it.
  bool rowsTake(int width) const { return !firstRow || rank > 1 || dims[0] / numRows % width == 0; }

  int rank, count = 0;
  int64_t dims[kMaxDims];
  int64_t strides[kMaxOperands][kMaxDims] = {};
  bool pinned[kMaxDims] = {}; ///< an index operand reads its coordinate
  int number[kMaxDims];       ///< of an original dimension, now
  const int32_t *firstRow;    ///< Space::first
  const int32_t *countedRows; ///< Space::count: the first dimension keeps whole rows
  int64_t numRows;

private:
  bool oneStep(int d) const {
    for (int i = 0; i < count; ++i)
      if (strides[i][d] != dims[d + 1] * strides[i][d + 1])
        return false;
    return true;
  }
  /// Dimension d goes into d + 1.
  void remove(int d) {
    dims[d + 1] *= dims[d];
    for (int e = d; e + 1 < rank; ++e) {
      dims[e] = dims[e + 1];
      pinned[e] = pinned[e + 1];
      for (int i = 0; i < count; ++i)
        strides[i][e] = strides[i][e + 1];
    }
    pinned[--rank] = false;
    for (int &n : number)
      n -= n > d;
  }
};

/// Calls body(walk, first coordinates) for pieces that cover the shape, one
/// unless it has 2^31 threads or more.
template <typename Body>
void forEachWalk(const Shape &shape, int width, Body &&body, int64_t *first = nullptr,
                 const int64_t *part = nullptr) {
  constexpr int64_t kMost = int64_t(1) << 31;
  int64_t zero[kMaxDims] = {0};
  first = first ? first : zero;
  int64_t dims[kMaxDims];
  int64_t threads = 1;
  const int last = shape.rank - 1;
  for (int d = 0; d < shape.rank; ++d) {
    dims[d] = part ? part[d] : shape.dims[d];
    threads *= d == last ? (dims[d] + width - 1) / width : dims[d];
  }
  if (threads >= kMost) {
    int cut = 0;
    while (dims[cut] == 1)
      ++cut;
    const int64_t whole = dims[cut], half = cut == last ? whole / 2 / width * width : whole / 2;
    dims[cut] = half;
    forEachWalk(shape, width, body, first, dims);
    dims[cut] = whole - half;
    first[cut] += half;
    forEachWalk(shape, width, body, first, dims);
    first[cut] -= half;
    return;
  }
  Walk walk;
  walk.outerRank = last;
  walk.threads = uint32_t(threads);
  walk.threadsPerRow = Divider(uint32_t((dims[last] + width - 1) / width));
  for (int d = 0; d < last; ++d)
    walk.dims[d] = Divider(uint32_t(dims[d]));
  walk.inner = dims[last];
  walk.first = shape.firstRow;
  walk.count = shape.countedRows;
  walk.perRow = shape.dims[0] / shape.numRows;
  for (int d = 0; d < shape.rank; ++d)
    walk.offset[d] = first[d];
  body(walk, first);
}

/// The operand with the shape's strides, the innermost one in the last place,
/// from `first` on.
template <typename T, int Inner, bool IsOutput>
Operand<T, Inner, IsOutput> placed(Operand<T, Inner, IsOutput> op, const Shape &shape, int number,
                                   const int64_t *first) {
  const int last = shape.rank - 1;
  for (int d = 0; d < last; ++d)
    op.strides[d] = shape.strides[number][d];
  op.strides[kMaxDims - 1] = shape.strides[number][last];
  for (int d = 0; d <= last; ++d)
    op.base += first[d] * shape.strides[number][d];
  return op;
}
inline IndexOperand placed(IndexOperand op, const Shape &shape, int, const int64_t *) {
  return {shape.number[op.dim]};
}

//===----------------------------------------------------------------------===//
// How many columns a thread computes
//===----------------------------------------------------------------------===//

template <typename T, int Inner, bool IsOutput>
constexpr int contiguousBytes(const Operand<T, Inner, IsOutput> *) {
  return Inner == 1 ? int(sizeof(T)) : 0;
}
constexpr int contiguousBytes(const IndexOperand *) { return 0; }

/// 16 bytes of the narrowest contiguous operand; bytes (masks) count only where
/// there is nothing else, and many operands leave fewer registers for each.
template <typename... Ops> constexpr int widthOf() {
  int least = 0;
  bool bytes = false;
  for (int size : {contiguousBytes(static_cast<const Ops *>(nullptr))...}) {
    bytes |= size == 1;
    if (size > 1 && (least == 0 || size < least))
      least = size;
  }
  int width = least ? 16 / least : bytes ? 16 : 1;
  if (sizeof...(Ops) > 8 && width > 4)
    width = 4;
  return width;
}

/// Whether the operand's rows can be accessed W columns at a time.
template <int W, typename T, int Inner, bool IsOutput>
bool isAligned(const Operand<T, Inner, IsOutput> &op, const Shape &shape, int number) {
  if (Inner != 1)
    return true;
  constexpr int kBytes = kAccessBytes<T, W>;
  bool is = isAligned(op.base, kBytes);
  for (int d = 0; d + 1 < shape.rank; ++d)
    is &= shape.strides[number][d] * int64_t(sizeof(T)) % kBytes == 0;
  return is;
}
template <int W> bool isAligned(const IndexOperand &, const Shape &, int) { return true; }

} // namespace moire::rt::device

#endif // MOIRE_RT_CUDA_SPACE_H
