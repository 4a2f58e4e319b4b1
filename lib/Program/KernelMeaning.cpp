//===- KernelMeaning.cpp - What a scalar kernel computes -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "KernelMeaning.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <cmath>

using namespace mlir;
using namespace moire;

/// What is yielded, before it is rounded to be stored.
static Value yielded(exec::KernelOp kernel) {
  Operation *yield = kernel.getBody().front().getTerminator();
  if (yield->getNumOperands() != 1)
    return {};
  Value value = yield->getOperand(0);
  if (auto rounding = value.getDefiningOp<arith::TruncFOp>())
    value = rounding.getIn();
  return value.getType().isF32() ? value : Value();
}

/// The value of `wanted` for these arguments, by the ops' own folding.
static std::optional<double> valueAt(exec::KernelOp kernel, Value wanted, ArrayRef<double> at) {
  Block &body = kernel.getBody().front();
  DenseMap<Value, Attribute> known;
  for (auto [argument, x] : llvm::zip(body.getArguments(), at))
    known[argument] = FloatAttr::get(argument.getType(), x);
  for (Operation &op : body.without_terminator()) {
    SmallVector<Attribute> operands;
    for (Value operand : op.getOperands())
      operands.push_back(known.lookup(operand));
    SmallVector<OpFoldResult> results;
    if (failed(op.fold(operands, results)) || results.size() != op.getNumResults())
      return std::nullopt;
    for (auto [result, folded] : llvm::zip(op.getResults(), results))
      known[result] =
          isa<Attribute>(folded) ? cast<Attribute>(folded) : known.lookup(cast<Value>(folded));
    if (op.getNumResults() == 1 && op.getResult(0) == wanted)
      break;
  }
  auto value = dyn_cast_or_null<FloatAttr>(known.lookup(wanted));
  return value ? std::optional(value.getValueAsDouble()) : std::nullopt;
}

/// Whether a kernel of `count` floats computes `wanted`, at points that bf16 holds
/// too; its last argument takes three values only.
static bool computes(exec::KernelOp kernel, unsigned count,
                     llvm::function_ref<double(double, double)> function) {
  auto isFloat = [](Type type) { return type.isF32() || type.isBF16(); };
  if (kernel.getBody().getNumArguments() != count ||
      !llvm::all_of(kernel.getBody().getArgumentTypes(), isFloat) || !yielded(kernel))
    return false;
  auto clone = cast<exec::KernelOp>(kernel->clone()); // folding may reorder operands
  Value wanted = yielded(clone);
  bool same = true;
  for (int i = -24; i <= 24; ++i)
    for (double y : {-1.5, 0.75, 2.0}) {
      double x = i * 0.25, right = function(x, y);
      auto value = valueAt(clone, wanted, ArrayRef<double>({x, y}).take_front(count));
      same = same && value && std::abs(*value - right) <= 4e-6 * std::max(1.0, std::abs(x));
    }
  clone->erase();
  return same;
}

bool program::isTanhGelu(exec::KernelOp kernel) {
  return computes(kernel, 1, [](double x, double) {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  });
}

bool program::isSwiglu(exec::KernelOp kernel) {
  return computes(kernel, 2,
                  [](double gate, double up) { return gate / (1 + std::exp(-gate)) * up; });
}

bool program::isAddition(exec::KernelOp kernel) {
  Block &body = kernel.getBody().front();
  if (body.getNumArguments() != 2 || !body.getTerminator()->getOperandTypes()[0].isF32())
    return false;
  Value value = yielded(kernel);
  auto add = value ? value.getDefiningOp<arith::AddFOp>() : arith::AddFOp();
  if (!add)
    return false;
  auto behind = [](Value v) {
    auto widening = v.getDefiningOp<arith::ExtFOp>();
    return widening ? widening.getIn() : v;
  };
  Value lhs = behind(add.getLhs()), rhs = behind(add.getRhs());
  return lhs != rhs && isa<BlockArgument>(lhs) && isa<BlockArgument>(rhs);
}
