//===- Movement.cpp - nn ops that move elements --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Ops.h"
#include "dialects/nn/NN.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire::interp;
namespace nn = moire::nn;

/// result[index] = source[base + <index, strides>].
static Tensor strided(const Tensor &source, RankedTensorType type, int64_t base,
                      ArrayRef<int64_t> strides) {
  Tensor result(type);
  dispatch(source, [&](auto t) {
    auto from = source.get<decltype(t)>();
    auto *to = result.edit<decltype(t)>().data();
    forEachIndex(type.getShape(), [&](ArrayRef<int64_t> index) {
      int64_t flat = base;
      for (auto [i, stride] : llvm::zip_equal(index, strides))
        flat += i * stride;
      *to++ = from[flat];
    });
  });
  return result;
}

static LogicalResult run(Call &call, nn::TransposeOp op) {
  SmallVector<int64_t> from = stridesOf(call.in(0).shape()), strides;
  for (int64_t p : op.getPermutation())
    strides.push_back(from[p]);
  call.yield(strided(call.in(0), call.resultType(), 0, strides));
  return success();
}

static LogicalResult run(Call &call, nn::BroadcastOp op) {
  SmallVector<int64_t> from = stridesOf(call.in(0).shape());
  SmallVector<int64_t> strides(call.resultType().getRank(), 0);
  for (auto [d, stride] : llvm::zip_equal(op.getDimensions(), from))
    strides[d] = stride;
  call.yield(strided(call.in(0), call.resultType(), 0, strides));
  return success();
}

static LogicalResult run(Call &call, nn::SliceOp op) {
  SmallVector<int64_t> strides = stridesOf(call.in(0).shape());
  int64_t base = 0;
  for (auto [i, stride] : llvm::enumerate(strides)) {
    base += op.getStarts()[i] * stride;
    stride *= op.getStrides()[i];
  }
  call.yield(strided(call.in(0), call.resultType(), base, strides));
  return success();
}

static LogicalResult run(Call &call, nn::ReverseOp op) {
  SmallVector<int64_t> strides = stridesOf(call.in(0).shape());
  int64_t base = 0;
  for (int64_t d : op.getDims()) {
    base += (call.in(0).shape()[d] - 1) * strides[d];
    strides[d] = -strides[d];
  }
  call.yield(strided(call.in(0), call.resultType(), base, strides));
  return success();
}

static LogicalResult run(Call &call, nn::PadOp op) {
  const Tensor &source = call.in(0);
  Tensor result = Tensor::splat(call.resultType(), op.getValue().convertToDouble());
  SmallVector<int64_t> strides = stridesOf(result.shape());
  dispatch(source, [&](auto t) {
    auto *from = source.get<decltype(t)>().data();
    auto to = result.edit<decltype(t)>();
    forEachIndex(source.shape(), [&](ArrayRef<int64_t> index) {
      int64_t flat = 0;
      for (auto [d, i] : llvm::enumerate(index))
        flat += (op.getLow()[d] + i * (op.getInterior()[d] + 1)) * strides[d];
      to[flat] = *from++;
    });
  });
  call.yield(std::move(result));
  return success();
}

static LogicalResult run(Call &call, nn::ConcatOp op) {
  Tensor result(call.resultType());
  SmallVector<int64_t> strides = stridesOf(result.shape());
  int64_t base = 0;
  for (const RuntimeValue &operand : call.operands) {
    const Tensor &source = operand.tensor();
    dispatch(source, [&](auto t) {
      auto *from = source.get<decltype(t)>().data();
      auto to = result.edit<decltype(t)>();
      forEachIndex(source.shape(), [&](ArrayRef<int64_t> index) {
        int64_t flat = base;
        for (auto [i, stride] : llvm::zip_equal(index, strides))
          flat += i * stride;
        to[flat] = *from++;
      });
    });
    base += source.shape()[op.getDim()] * strides[op.getDim()];
  }
  call.yield(std::move(result));
  return success();
}

static LogicalResult run(Call &call, nn::IotaOp op) {
  Tensor result(call.resultType());
  dispatch(result, [&](auto t) {
    auto *to = result.edit<decltype(t)>().data();
    forEachIndex(result.shape(), [&](ArrayRef<int64_t> index) { *to++ = index[op.getDim()]; });
  });
  call.yield(std::move(result));
  return success();
}

//===----------------------------------------------------------------------===//
// By index
//===----------------------------------------------------------------------===//

static LogicalResult checkIndices(const Call &call, const Tensor &indices, int64_t size) {
  for (auto [at, i] : llvm::enumerate(indices.ints()))
    if (i < 0 || i >= size)
      return call.error("has index " + Twine(i) + " at position " + Twine(at) +
                        ", which must lie in 0.." + Twine(size - 1));
  return success();
}

static LogicalResult run(Call &call, nn::GatherOp op) {
  const Tensor &table = call.in(0), &indices = call.in(1);
  if (failed(checkIndices(call, indices, table.shape()[0])))
    return failure();
  Tensor result(call.resultType());
  int64_t row = stridesOf(table.shape())[0];
  dispatch(table, [&](auto t) {
    auto from = table.get<decltype(t)>();
    auto *to = result.edit<decltype(t)>().data();
    for (int64_t i : indices.ints())
      to = llvm::copy(from.slice(i * row, row), to);
  });
  call.yield(std::move(result));
  return success();
}

/// Writes or adds one element.
template <typename T>
static void store(T &to, T from, nn::ScatterKind kind) {
  to = kind == nn::ScatterKind::add ? to + from : from;
}

static LogicalResult run(Call &call, nn::ScatterOp op) {
  const Tensor &indices = call.in(1), &updates = call.in(2);
  Tensor result = call.in(0);
  if (failed(checkIndices(call, indices, result.shape()[0])))
    return failure();
  int64_t row = stridesOf(result.shape())[0];
  dispatch(updates, [&](auto t) {
    auto *from = updates.get<decltype(t)>().data();
    auto to = result.edit<decltype(t)>();
    for (int64_t i : indices.ints())
      for (int64_t j = 0; j < row; ++j)
        store(to[i * row + j], *from++, op.getKind());
  });
  call.yield(std::move(result));
  return success();
}

/// Calls fn(position among the indices, flat index into `shape`) for each index,
/// which replaces its own position along the axis.
template <typename Fn>
static void forEachElement(const Tensor &indices, ArrayRef<int64_t> shape, int64_t axis, Fn fn) {
  SmallVector<int64_t> strides = stridesOf(shape);
  int64_t at = 0;
  forEachIndex(indices.shape(), [&](ArrayRef<int64_t> index) {
    int64_t flat = (indices.ints()[at] - index[axis]) * strides[axis];
    for (auto [i, stride] : llvm::zip_equal(index, strides))
      flat += i * stride;
    fn(at++, flat);
  });
}

static LogicalResult run(Call &call, nn::GatherElementsOp op) {
  const Tensor &source = call.in(0), &indices = call.in(1);
  if (failed(checkIndices(call, indices, source.shape()[op.getAxis()])))
    return failure();
  Tensor result(call.resultType());
  dispatch(source, [&](auto t) {
    auto from = source.get<decltype(t)>();
    auto to = result.edit<decltype(t)>();
    forEachElement(indices, source.shape(), op.getAxis(),
                   [&](int64_t at, int64_t flat) { to[at] = from[flat]; });
  });
  call.yield(std::move(result));
  return success();
}

static LogicalResult run(Call &call, nn::ScatterElementsOp op) {
  const Tensor &indices = call.in(1), &updates = call.in(2);
  Tensor result = call.in(0);
  if (failed(checkIndices(call, indices, result.shape()[op.getAxis()])))
    return failure();
  dispatch(updates, [&](auto t) {
    auto from = updates.get<decltype(t)>();
    auto to = result.edit<decltype(t)>();
    forEachElement(indices, result.shape(), op.getAxis(), [&](int64_t at, int64_t flat) {
      store(to[flat], from[at], op.getKind());
    });
  });
  call.yield(std::move(result));
  return success();
}

std::optional<LogicalResult> moire::interp::evaluateMovement(Call &call) {
  using Done = std::optional<LogicalResult>;
  return llvm::TypeSwitch<Operation *, Done>(call.op)
      .Case([&](nn::ReshapeOp) -> Done {
        call.yield(call.in(0).reshaped(call.resultType().getShape()));
        return success();
      })
      .Case<nn::TransposeOp, nn::BroadcastOp, nn::SliceOp, nn::ReverseOp, nn::PadOp, nn::ConcatOp,
            nn::IotaOp, nn::GatherOp, nn::ScatterOp, nn::GatherElementsOp, nn::ScatterElementsOp>(
          [&](auto op) -> Done { return run(call, op); })
      .Default(Done());
}
