//===- Contractions.cpp - Products, reductions, order --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Ops.h"
#include "dialects/nn/NN.h"
#include "llvm/ADT/TypeSwitch.h"
#include <algorithm>
#include <limits>
#include <numeric>

using namespace mlir;
using namespace moire::interp;
namespace nn = moire::nn;

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

static LogicalResult run(Call &call, nn::MatmulOp op) {
  const Tensor &lhs = call.in(0), &rhs = call.in(1);
  Tensor result(call.resultType());
  auto shape = result.shape();
  int64_t m = shape[shape.size() - 2], n = shape.back();
  int64_t k = op.getTransposeLhs() ? lhs.shape()[lhs.rank() - 2] : lhs.shape().back();
  // The stride of each index in either operand.
  int64_t lhsM = k, lhsK = 1, rhsK = n, rhsN = 1;
  if (op.getTransposeLhs())
    std::tie(lhsM, lhsK) = std::make_pair(int64_t(1), m);
  if (op.getTransposeRhs())
    std::tie(rhsK, rhsN) = std::make_pair(int64_t(1), k);

  int64_t batches = result.size() == 0 ? 0 : result.size() / (m * n);
  const double *a = lhs.floats().data(), *b = rhs.floats().data();
  double *c = result.edit<double>().data();
  for (int64_t batch = 0; batch < batches; ++batch, a += m * k, c += m * n) {
    // j runs innermost where rhs is contiguous in it, else p does.
    for (int64_t i = 0; i < m; ++i) {
      if (op.getTransposeRhs()) {
        for (int64_t j = 0; j < n; ++j) {
          double sum = 0;
          for (int64_t p = 0; p < k; ++p)
            sum += a[i * lhsM + p * lhsK] * b[p * rhsK + j * rhsN];
          c[i * n + j] = sum;
        }
      } else {
        for (int64_t p = 0; p < k; ++p)
          for (int64_t j = 0; j < n; ++j)
            c[i * n + j] += a[i * lhsM + p * lhsK] * b[p * rhsK + j * rhsN];
      }
    }
    if (rhs.rank() > 2)
      b += k * n;
  }
  call.yield(std::move(result));
  return success();
}

//===----------------------------------------------------------------------===//
// Reductions and running sums
//===----------------------------------------------------------------------===//

template <typename T>
static T identity(nn::ReduceKind kind) {
  using Limits = std::numeric_limits<T>;
  switch (kind) {
  case nn::ReduceKind::sum: return 0;
  case nn::ReduceKind::prod: return 1;
  case nn::ReduceKind::max: return Limits::has_infinity ? -Limits::infinity() : Limits::min();
  case nn::ReduceKind::min: return Limits::has_infinity ? Limits::infinity() : Limits::max();
  }
  return 0;
}

template <typename T>
static T combine(nn::ReduceKind kind, T a, T b) {
  switch (kind) {
  case nn::ReduceKind::sum: return a + b;
  case nn::ReduceKind::prod: return a * b;
  // A NaN stays.
  case nn::ReduceKind::max: return a > b || a != a ? a : b;
  case nn::ReduceKind::min: return a < b || a != a ? a : b;
  }
  return a;
}

static LogicalResult run(Call &call, nn::ReduceOp op) {
  const Tensor &source = call.in(0);
  Tensor result(call.resultType());
  SmallVector<int64_t> kept = stridesOf(result.shape()), strides;
  unsigned next = 0;
  for (int64_t d = 0; d < source.rank(); ++d)
    strides.push_back(llvm::is_contained(op.getDims(), d) ? 0 : kept[next++]);
  dispatch(source, [&](auto t) {
    using T = decltype(t);
    auto *from = source.get<T>().data();
    auto to = result.edit<T>();
    std::fill(to.begin(), to.end(), identity<T>(op.getKind()));
    forEachIndex(source.shape(), [&](ArrayRef<int64_t> index) {
      int64_t flat = 0;
      for (auto [i, stride] : llvm::zip_equal(index, strides))
        flat += i * stride;
      to[flat] = combine<T>(op.getKind(), to[flat], *from++);
    });
  });
  call.yield(std::move(result));
  return success();
}

static LogicalResult run(Call &call, nn::CumsumOp op) {
  const Tensor &source = call.in(0);
  Tensor result(call.resultType());
  int64_t axis = op.getAxis(), size = source.shape()[axis];
  int64_t stride = stridesOf(source.shape())[axis];
  SmallVector<int64_t> rest(source.shape());
  rest[axis] = 1;
  SmallVector<int64_t> strides = stridesOf(source.shape());
  dispatch(source, [&](auto t) {
    using T = decltype(t);
    auto from = source.get<T>();
    auto to = result.edit<T>();
    forEachIndex(rest, [&](ArrayRef<int64_t> index) {
      int64_t base = 0;
      for (auto [i, s] : llvm::zip_equal(index, strides))
        base += i * s;
      T sum = 0;
      for (int64_t i = 0; i < size; ++i) {
        int64_t at = base + (op.getReverse() ? size - 1 - i : i) * stride;
        T value = from[at];
        to[at] = op.getExclusive() ? sum : sum + value;
        sum += value;
      }
    });
  });
  call.yield(std::move(result));
  return success();
}

//===----------------------------------------------------------------------===//
// Order
//===----------------------------------------------------------------------===//

static LogicalResult run(Call &call, nn::TopKOp op) {
  const Tensor &source = call.in(0);
  Tensor values(call.resultType(0)), indices(call.resultType(1));
  int64_t size = source.shape().back(), k = op.getK();
  int64_t rows = size ? source.size() / size : 0;
  auto index = indices.edit<int64_t>();
  dispatch(source, [&](auto t) {
    using T = decltype(t);
    auto value = values.edit<T>();
    std::vector<int64_t> order(size);
    for (int64_t row = 0; row < rows; ++row) {
      ArrayRef<T> from = source.get<T>().slice(row * size, size);
      std::iota(order.begin(), order.end(), 0);
      // Stable, so that of equal ones the lower index comes first. A NaN
      // counts as the largest, as in PyTorch.
      auto less = [&](T a, T b) { return a < b || (b != b && a == a); };
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        return op.getSmallest() ? less(from[a], from[b]) : less(from[b], from[a]);
      });
      for (int64_t i = 0; i < k; ++i) {
        index[row * k + i] = order[i];
        value[row * k + i] = from[order[i]];
      }
    }
  });
  call.yield(std::move(values));
  call.yield(std::move(indices));
  return success();
}

std::optional<LogicalResult> moire::interp::evaluateContraction(Call &call) {
  using Done = std::optional<LogicalResult>;
  return llvm::TypeSwitch<Operation *, Done>(call.op)
      .Case<nn::MatmulOp, nn::ReduceOp, nn::CumsumOp, nn::TopKOp>(
          [&](auto op) -> Done { return run(call, op); })
      .Default(Done());
}
