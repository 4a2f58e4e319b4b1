//===- Layout.cpp - Strided windows and what view ops make of them -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Layout.h"
#include "llvm/ADT/STLExtras.h"

using namespace llvm;
using namespace moire::program;

Layout Layout::dense(ArrayRef<int64_t> shape) {
  Layout layout;
  layout.shape.assign(shape.begin(), shape.end());
  layout.strides.resize(shape.size());
  int64_t stride = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    layout.strides[i] = stride;
    stride *= shape[i];
  }
  return layout;
}

bool Layout::isDense() const {
  int64_t stride = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    if (shape[i] != 1 && strides[i] != stride)
      return false;
    stride *= shape[i];
  }
  return true;
}

int64_t Layout::numElements() const {
  int64_t n = 1;
  for (int64_t size : shape)
    n *= size;
  return n;
}

bool Layout::operator==(const Layout &other) const {
  if (offset != other.offset || shape != other.shape)
    return false;
  for (auto [size, a, b] : zip(shape, strides, other.strides))
    if (size != 1 && a != b)
      return false;
  return true;
}

std::optional<Layout> Layout::reshape(ArrayRef<int64_t> newShape) const {
  Layout result;
  result.offset = offset;
  result.shape.assign(newShape.begin(), newShape.end());
  result.strides.assign(newShape.size(), 0);
  if (numElements() == 0)
    return dense(newShape);
  // Old dims that are traversed as one: [size, stride of the last].
  SmallVector<std::pair<int64_t, int64_t>> runs;
  for (auto [size, stride] : zip(shape, strides)) {
    if (size == 1)
      continue;
    if (!runs.empty() && runs.back().second == stride * size) {
      runs.back().first *= size;
      runs.back().second = stride;
    } else {
      runs.push_back({size, stride});
    }
  }
  // New dims must split the runs, from the last to the first.
  int run = runs.size() - 1;
  int64_t left = run >= 0 ? runs[run].first : 1, stride = run >= 0 ? runs[run].second : 1;
  for (int i = newShape.size() - 1; i >= 0; --i) {
    if (newShape[i] == 1) {
      result.strides[i] = stride;
      continue;
    }
    while (left == 1) {
      if (--run < 0)
        return std::nullopt;
      left = runs[run].first;
      stride = runs[run].second;
    }
    if (left % newShape[i])
      return std::nullopt;
    result.strides[i] = stride;
    stride *= newShape[i];
    left /= newShape[i];
  }
  return result;
}

Layout Layout::transpose(ArrayRef<int64_t> permutation) const {
  Layout result;
  result.offset = offset;
  for (int64_t p : permutation) {
    result.shape.push_back(shape[p]);
    result.strides.push_back(strides[p]);
  }
  return result;
}

Layout Layout::untranspose(ArrayRef<int64_t> permutation) const {
  SmallVector<int64_t> inverse(permutation.size());
  for (auto [i, p] : enumerate(permutation))
    inverse[p] = i;
  return transpose(inverse);
}

Layout Layout::slice(ArrayRef<int64_t> starts, ArrayRef<int64_t> limits,
                     ArrayRef<int64_t> steps) const {
  Layout result = *this;
  for (size_t i = 0; i < shape.size(); ++i) {
    result.offset += starts[i] * strides[i];
    result.shape[i] = (limits[i] - starts[i] + steps[i] - 1) / steps[i];
    result.strides[i] = strides[i] * steps[i];
  }
  return result;
}

Layout Layout::broadcast(ArrayRef<int64_t> dimensions, ArrayRef<int64_t> newShape) const {
  Layout result;
  result.offset = offset;
  result.shape.assign(newShape.begin(), newShape.end());
  result.strides.assign(newShape.size(), 0);
  for (auto [i, d] : enumerate(dimensions))
    result.strides[d] = strides[i];
  return result;
}

Layout Layout::reverse(ArrayRef<int64_t> dims) const {
  Layout result = *this;
  for (int64_t d : dims) {
    if (shape[d] == 0)
      continue;
    result.offset += (shape[d] - 1) * strides[d];
    result.strides[d] = -strides[d];
  }
  return result;
}
