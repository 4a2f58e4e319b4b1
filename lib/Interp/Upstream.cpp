//===- Upstream.cpp - The tensor dialect, where it appears ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Ops.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire::interp;

static LogicalResult fromScalars(Call &call) {
  Tensor result(call.resultType());
  bool one = call.operands.size() == 1;
  dispatch(result, [&](auto t) {
    auto to = result.edit<decltype(t)>();
    for (size_t i = 0; i < to.size(); ++i)
      to[i] = call.in(one ? 0 : i).template get<decltype(t)>()[0];
  });
  call.yield(std::move(result));
  return success();
}

static LogicalResult extract(Call &call) {
  const Tensor &source = call.in(0);
  int64_t flat = 0;
  for (auto [d, stride] : llvm::enumerate(stridesOf(source.shape()))) {
    int64_t i = call.in(d + 1).ints()[0];
    if (i < 0 || i >= source.shape()[d])
      return call.error("has index " + Twine(i) + " for dim " + Twine(d) + " of size " +
                        Twine(source.shape()[d]));
    flat += i * stride;
  }
  Tensor result(call.resultType());
  dispatch(source, [&](auto t) {
    result.edit<decltype(t)>()[0] = source.get<decltype(t)>()[flat];
  });
  call.yield(std::move(result));
  return success();
}

/// Copies between a tensor and its static window at offsets, by strides.
template <typename SliceOp>
static bool forEachInWindow(SliceOp op, ArrayRef<int64_t> whole,
                            llvm::function_ref<void(int64_t)> fn) {
  if (!op.getOffsets().empty() || !op.getSizes().empty() || !op.getStrides().empty())
    return false;
  SmallVector<int64_t> strides = stridesOf(whole);
  forEachIndex(op.getStaticSizes(), [&](ArrayRef<int64_t> index) {
    int64_t flat = 0;
    for (auto [d, i] : llvm::enumerate(index))
      flat += (op.getStaticOffsets()[d] + i * op.getStaticStrides()[d]) * strides[d];
    fn(flat);
  });
  return true;
}

static LogicalResult extractSlice(Call &call, tensor::ExtractSliceOp op) {
  const Tensor &source = call.in(0);
  Tensor result(call.resultType());
  bool done = dispatch(source, [&](auto t) {
    auto *to = result.edit<decltype(t)>().data();
    return forEachInWindow(op, source.shape(), [&](int64_t flat) {
      *to++ = source.get<decltype(t)>()[flat];
    });
  });
  if (!done)
    return call.error("must have a static window to be executed");
  call.yield(std::move(result));
  return success();
}

static LogicalResult insertSlice(Call &call, tensor::InsertSliceOp op) {
  const Tensor &source = call.in(0);
  Tensor result = call.in(1);
  bool done = dispatch(source, [&](auto t) {
    auto *from = source.get<decltype(t)>().data();
    auto to = result.edit<decltype(t)>();
    return forEachInWindow(op, result.shape(), [&](int64_t flat) { to[flat] = *from++; });
  });
  if (!done)
    return call.error("must have a static window to be executed");
  call.yield(std::move(result));
  return success();
}

std::optional<LogicalResult> moire::interp::evaluateUpstream(Call &call) {
  using Done = std::optional<LogicalResult>;
  if (call.op->getNumResults() == 1)
    if (auto type = dyn_cast<RankedTensorType>(call.op->getResult(0).getType());
        type && !type.hasStaticShape())
      return std::nullopt;
  return llvm::TypeSwitch<Operation *, Done>(call.op)
      .Case([&](tensor::EmptyOp) -> Done {
        call.yield(Tensor(call.resultType()));
        return success();
      })
      .Case<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::CastOp>([&](auto) -> Done {
        call.yield(call.in(0).reshaped(call.resultType().getShape()));
        return success();
      })
      .Case<tensor::SplatOp, tensor::FromElementsOp>([&](auto) -> Done { return fromScalars(call); })
      .Case([&](tensor::ExtractOp) -> Done { return extract(call); })
      .Case([&](tensor::ExtractSliceOp op) -> Done { return extractSlice(call, op); })
      .Case([&](tensor::InsertSliceOp op) -> Done { return insertSlice(call, op); })
      .Default(Done());
}
