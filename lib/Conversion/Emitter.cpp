//===- Emitter.cpp - Builds nn, arith and math ops, folding as it goes ---===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Emitter.h"
#include "moire/Interp/Evaluator.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace moire;
using namespace moire::conversion;

/// Larger results stay ops: they would cost more memory than the op costs time.
static constexpr int64_t maxFoldedInts = int64_t(1) << 22;
static constexpr int64_t maxFoldedFloats = int64_t(1) << 16;
static constexpr int64_t maxRepeated = 64;

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

DimVector conversion::upTo(int64_t n) {
  DimVector dims;
  for (int64_t i = 0; i < n; ++i)
    dims.push_back(i);
  return dims;
}

std::string conversion::str(Dims dims) {
  std::string s;
  llvm::raw_string_ostream os(s);
  os << "[";
  llvm::interleaveComma(dims, os);
  os << "]";
  return os.str();
}

DenseElementsAttr conversion::constantOf(Value v) {
  auto op = v ? v.getDefiningOp<arith::ConstantOp>() : arith::ConstantOp();
  return op ? dyn_cast<DenseElementsAttr>(op.getValue()) : DenseElementsAttr();
}

std::optional<DimVector> conversion::intsOf(Value v) {
  auto attr = constantOf(v);
  if (!attr || !isa<IntegerType>(attr.getElementType()))
    return std::nullopt;
  bool isUnsigned = attr.getElementType().isInteger(1);
  DimVector out;
  out.reserve(attr.getNumElements());
  for (const APInt &i : attr.getValues<APInt>())
    out.push_back(isUnsigned ? (int64_t)i.getZExtValue() : i.getSExtValue());
  return out;
}

std::optional<double> conversion::uniformOf(Value v) {
  auto attr = constantOf(v);
  if (!attr || attr.empty())
    return std::nullopt;
  if (!attr.isSplat())
    return std::nullopt;
  if (isa<FloatType>(attr.getElementType()))
    return attr.getSplatValue<APFloat>().convertToDouble();
  const APInt i = attr.getSplatValue<APInt>();
  return attr.getElementType().isInteger(1) ? (int64_t)i.getZExtValue() : i.getSExtValue();
}

bool conversion::isNonNegative(Value v) {
  if (auto attr = constantOf(v)) {
    const auto isFine = [](const APInt &i) { return !i.isNegative(); };
    if (attr.isSplat()) // of any size
      return isFine(attr.getSplatValue<APInt>());
    return llvm::all_of(attr.getValues<APInt>(), isFine);
  }
  Operation *op = v.getDefiningOp();
  if (!op)
    return false;
  if (isa<nn::IotaOp, arith::ExtUIOp>(op))
    return true;
  if (isa<nn::TopKOp, nn::RouterOp>(op))
    return v == op->getResult(1);
  if (isa<nn::ReshapeOp, nn::TransposeOp, nn::BroadcastOp, nn::SliceOp, nn::ReverseOp>(op) ||
      isa<nn::GatherOp, nn::GatherElementsOp>(op))
    return isNonNegative(op->getOperand(0));
  // A remainder has the dividend's sign.
  if (isa<arith::RemSIOp>(op))
    return isNonNegative(op->getOperand(0));
  if (auto select = dyn_cast<arith::SelectOp>(op))
    return isNonNegative(select.getTrueValue()) && isNonNegative(select.getFalseValue());
  if (isa<arith::MaxSIOp>(op))
    return isNonNegative(op->getOperand(0)) || isNonNegative(op->getOperand(1));
  if (isa<nn::ConcatOp, arith::AddIOp, arith::MulIOp, arith::DivSIOp, arith::MinSIOp>(op))
    return llvm::all_of(op->getOperands(), isNonNegative);
  return false;
}

std::optional<DimVector> conversion::broadcastShape(Dims a, Dims b) {
  DimVector out(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < out.size(); ++i) {
    int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1)
      return std::nullopt;
    out[out.size() - 1 - i] = x == 1 ? y : x;
  }
  return out;
}

//===----------------------------------------------------------------------===//
// Building and folding
//===----------------------------------------------------------------------===//

Emitter::Emitter(func::FuncOp func)
    : loc(func.getLoc()), builder(OpBuilder::atBlockEnd(&func.front())) {}

SmallVector<Value> Emitter::finishAll(Operation *op) {
  SmallVector<Value> results(op->getResults());
  bool foldable = op->getNumOperands() || isa<nn::IotaOp>(op);
  for (Value operand : op->getOperands())
    foldable &= (bool)constantOf(operand);
  bool splats = foldable;
  for (Value operand : op->getOperands())
    splats &= foldable && constantOf(operand).isSplat();
  // A mask or table repeated over the batch says less than the repetition.
  bool repeats = isa<nn::BroadcastOp>(op) && !elementOf(results[0]).isInteger(64);
  for (Value result : results) {
    auto type = dyn_cast<RankedTensorType>(result.getType());
    if (repeats && type.getNumElements() > maxRepeated)
      foldable &= splats;
    int64_t limit = type && isa<FloatType>(type.getElementType()) ? maxFoldedFloats : maxFoldedInts;
    // A splat stays small whatever its shape.
    foldable &= type && (splats || type.getNumElements() <= limit);
  }
  // Also op->fold, for what has one known operand (x and true = x).
  SmallVector<OpFoldResult> folded;
  if (!foldable || splats) {
    // An op that folds in place (constants to the right) may fold again.
    bool success = true;
    for (int tries = 0; tries < 3 && success && folded.empty(); ++tries) {
      SmallVector<Attribute> operands;
      for (Value operand : op->getOperands())
        operands.push_back(constantOf(operand));
      success = succeeded(op->fold(operands, folded));
    }
    if (success && folded.size() == results.size()) {
      bool done = true;
      for (auto [i, f] : llvm::enumerate(folded)) {
        if (auto value = dyn_cast<Value>(f)) {
          done &= value.getType() == results[i].getType();
          results[i] = value;
        } else if (auto dense = dyn_cast<DenseElementsAttr>(llvm::cast<Attribute>(f))) {
          results[i] = constant(dense);
        } else {
          done = false;
        }
      }
      if (done) {
        op->erase();
        return results;
      }
      results.assign(op->result_begin(), op->result_end());
    }
  }
  for (Value result : results)
    foldable &= !isa<RankedTensorType>(result.getType()) ||
                typeOf(result).getNumElements() <= maxFoldedInts;
  if (!foldable)
    return results;
  if (auto values = interp::foldConstant(op)) {
    for (auto [i, value] : llvm::enumerate(*values))
      results[i] = constant(llvm::cast<DenseElementsAttr>(value));
    op->erase();
  }
  return results;
}

Value Emitter::constant(DenseElementsAttr attr) {
  Value &v = known[attr];
  if (v)
    return v;
  OpBuilder::InsertionGuard guard(builder);
  if (lastConstant)
    builder.setInsertionPointAfter(lastConstant);
  else
    builder.setInsertionPointToStart(builder.getBlock());
  lastConstant = builder.create<arith::ConstantOp>(builder.getUnknownLoc(), attr);
  return v = lastConstant->getResult(0);
}

Value Emitter::splat(RankedTensorType type, double value) {
  Type element = type.getElementType();
  if (auto f = dyn_cast<FloatType>(element)) {
    APFloat a(value);
    bool lossy;
    a.convert(f.getFloatSemantics(), APFloat::rmNearestTiesToEven, &lossy);
    return constant(DenseElementsAttr::get(type, a));
  }
  return constant(DenseElementsAttr::get(
      type, APInt(element.getIntOrFloatBitWidth(), (uint64_t)(int64_t)value, /*isSigned=*/true)));
}

Value Emitter::ints(Dims values, Dims shape) {
  return constant(DenseElementsAttr::get(tensor(shape, i64()), values));
}
Value Emitter::ints(Dims values) { return ints(values, {(int64_t)values.size()}); }

Value Emitter::iota(Dims shape, int64_t dim, Type element) {
  return create<nn::IotaOp>(tensor(shape, element), builder.getI64IntegerAttr(dim));
}

//===----------------------------------------------------------------------===//
// Data movement
//===----------------------------------------------------------------------===//

Value Emitter::reshape(Value v, Dims shape) {
  if (!v || shapeOf(v) == shape)
    return v;
  if (product(shape) != typeOf(v).getNumElements()) {
    emitError(loc) << "shape " << str(shape) << " does not hold the " << typeOf(v).getNumElements()
                   << " elements of " << str(shapeOf(v));
    return {};
  }
  if (auto inner = v.getDefiningOp<nn::ReshapeOp>())
    return reshape(inner.getInput(), shape);
  return create<nn::ReshapeOp>(tensor(shape, elementOf(v)), v);
}

Value Emitter::flatten(Value v, int64_t axis) {
  return v ? reshape(v, {product(shapeOf(v).take_front(axis)), product(shapeOf(v).drop_front(axis))})
           : v;
}

Value Emitter::transpose(Value v, Dims permutation) {
  if (!v || permutation == Dims(upTo(permutation.size())))
    return v;
  return infer<nn::TransposeOp>(v, permutation);
}

static DimVector lastPermutation(int64_t rank, int64_t axis) {
  DimVector perm;
  for (int64_t i = 0; i < rank; ++i)
    if (i != axis)
      perm.push_back(i);
  perm.push_back(axis);
  return perm;
}

Value Emitter::moveToLast(Value v, int64_t axis) {
  return v ? transpose(v, lastPermutation(rankOf(v), axis)) : v;
}
Value Emitter::moveFromLast(Value v, int64_t axis) {
  if (!v)
    return v;
  DimVector perm = lastPermutation(rankOf(v), axis), inverse(perm.size());
  for (auto [i, p] : llvm::enumerate(perm))
    inverse[p] = i;
  return transpose(v, inverse);
}

Value Emitter::broadcastTo(Value v, Dims shape) {
  if (!v || shapeOf(v) == shape)
    return v;
  Dims from = shapeOf(v);
  int64_t lead = (int64_t)shape.size() - (int64_t)from.size();
  DimVector kept, dimensions;
  bool fits = lead >= 0;
  for (size_t i = 0; fits && i < from.size(); ++i) {
    if (from[i] == shape[i + lead]) {
      kept.push_back(from[i]);
      dimensions.push_back(i + lead);
    } else {
      fits = from[i] == 1;
    }
  }
  if (!fits) {
    emitError(loc) << "shape " << str(from) << " cannot be broadcast to " << str(shape);
    return {};
  }
  if (product(from) == product(shape))
    return reshape(v, shape);
  return create<nn::BroadcastOp>(tensor(shape, elementOf(v)), reshape(v, kept), dimensions);
}

bool Emitter::broadcastBoth(Value &a, Value &b) {
  if (!a || !b)
    return false;
  auto shape = broadcastShape(shapeOf(a), shapeOf(b));
  if (!shape) {
    emitError(loc) << "operand shapes " << str(shapeOf(a)) << " and " << str(shapeOf(b))
                   << " cannot be broadcast to each other";
    return false;
  }
  a = broadcastTo(a, *shape);
  b = broadcastTo(b, *shape);
  return a && b;
}

Value Emitter::slice(Value v, Dims starts, Dims limits, Dims strides) {
  DimVector ones(starts.size(), 1);
  if (strides.empty())
    strides = ones;
  if (!v || (limits == shapeOf(v) && llvm::all_of(starts, [](int64_t s) { return s == 0; }) &&
             llvm::all_of(strides, [](int64_t s) { return s == 1; })))
    return v;
  return infer<nn::SliceOp>(v, starts, limits, strides);
}

Value Emitter::sliceDim(Value v, int64_t dim, int64_t start, int64_t limit, int64_t stride) {
  if (!v)
    return v;
  DimVector starts(rankOf(v), 0), limits(shapeOf(v)), strides(rankOf(v), 1);
  starts[dim] = start;
  limits[dim] = limit;
  strides[dim] = stride;
  return slice(v, starts, limits, strides);
}

Value Emitter::concat(ArrayRef<Value> values, int64_t dim) {
  if (llvm::is_contained(values, Value()))
    return {};
  return values.size() == 1 ? values[0]
                            : infer<nn::ConcatOp>(ValueRange(values), builder.getI64IntegerAttr(dim));
}

Value Emitter::reduce(nn::ReduceKind kind, Value v, Dims dims, bool keep) {
  if (!v || dims.empty())
    return v;
  DimVector kept(shapeOf(v));
  for (int64_t d : dims)
    kept[d] = 1;
  Value r = infer<nn::ReduceOp>(v, kind, dims);
  return keep ? reshape(r, kept) : r;
}

Value Emitter::mean(Value v, Dims dims, bool keep) {
  if (!v)
    return v;
  int64_t count = 1;
  for (int64_t d : dims)
    count *= shapeOf(v)[d];
  Value sum = reduce(nn::ReduceKind::sum, v, dims, keep);
  return isFloat(v) ? scale(sum, 1.0 / count) : div(sum, like(sum, count));
}

Value Emitter::matmul(Value lhs, Value rhs, bool transposeLhs, bool transposeRhs) {
  return infer<nn::MatmulOp>(lhs, rhs, transposeLhs, transposeRhs);
}

Value Emitter::softmax(Value v, int64_t axis) {
  return v ? moveFromLast(infer<nn::SoftmaxOp>(moveToLast(v, axis)), axis) : v;
}

Value Emitter::logSoftmax(Value v, int64_t axis) {
  if (!v)
    return v;
  Value max = broadcastTo(reduce(nn::ReduceKind::max, v, {axis}, true), shapeOf(v));
  Value centred = sub(v, max);
  Value sum = reduce(nn::ReduceKind::sum, unary<math::ExpOp>(centred), {axis}, true);
  return sub(centred, unary<math::LogOp>(sum));
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

template <typename FloatOp, typename IntOp>
Value Emitter::binary(Value a, Value b) {
  if (!broadcastBoth(a, b))
    return {};
  if (elementOf(a) != elementOf(b)) {
    emitError(loc) << "operands of element types " << elementOf(a) << " and " << elementOf(b)
                   << " must have one type";
    return {};
  }
  return isFloat(a) ? create<FloatOp>(a, b) : create<IntOp>(a, b);
}

Value Emitter::add(Value a, Value b) { return binary<arith::AddFOp, arith::AddIOp>(a, b); }
Value Emitter::sub(Value a, Value b) { return binary<arith::SubFOp, arith::SubIOp>(a, b); }
Value Emitter::mul(Value a, Value b) { return binary<arith::MulFOp, arith::MulIOp>(a, b); }
Value Emitter::div(Value a, Value b) { return binary<arith::DivFOp, arith::DivSIOp>(a, b); }
Value Emitter::maximum(Value a, Value b) {
  return binary<arith::MaximumFOp, arith::MaxSIOp>(a, b);
}
Value Emitter::minimum(Value a, Value b) {
  return binary<arith::MinimumFOp, arith::MinSIOp>(a, b);
}

template <typename IntOp>
static Value logical(Emitter &e, Value a, Value b) {
  if (a && b && (isFloat(a) || elementOf(a) != elementOf(b))) {
    emitError(e.loc) << "operands of element types " << elementOf(a) << " and " << elementOf(b)
                     << " must both be bool or both be integers";
    return {};
  }
  return e.broadcastBoth(a, b) ? e.create<IntOp>(a, b) : Value();
}
Value Emitter::logicalAnd(Value a, Value b) { return logical<arith::AndIOp>(*this, a, b); }
Value Emitter::logicalOr(Value a, Value b) { return logical<arith::OrIOp>(*this, a, b); }
Value Emitter::logicalNot(Value v) { return v ? create<arith::XOrIOp>(v, like(v, -1)) : v; }

Value Emitter::compare(arith::CmpFPredicate f, arith::CmpIPredicate i, Value a, Value b) {
  if (!broadcastBoth(a, b))
    return {};
  if (elementOf(a) != elementOf(b)) {
    emitError(loc) << "operands of element types " << elementOf(a) << " and " << elementOf(b)
                   << " must have one type";
    return {};
  }
  return isFloat(a) ? create<arith::CmpFOp>(f, a, b) : create<arith::CmpIOp>(i, a, b);
}

Value Emitter::select(Value condition, Value a, Value b) {
  if (!broadcastBoth(a, b) || !broadcastBoth(condition, a) || !broadcastBoth(condition, b))
    return {};
  if (!isBool(condition)) {
    emitError(loc) << "the condition of element type " << elementOf(condition) << " must be bool";
    return {};
  }
  if (elementOf(a) != elementOf(b)) {
    emitError(loc) << "operands of element types " << elementOf(a) << " and " << elementOf(b)
                   << " must have one type";
    return {};
  }
  return create<arith::SelectOp>(condition, a, b);
}

Value Emitter::cast(Value v, Type element) {
  if (!v || elementOf(v) == element)
    return v;
  Type to = tensor(shapeOf(v), element);
  bool toFloat = isa<FloatType>(element);
  if (element.isInteger(1)) {
    Value zero = like(v, 0);
    return compare(arith::CmpFPredicate::UNE, arith::CmpIPredicate::ne, v, zero);
  }
  if (isFloat(v) && toFloat) {
    if (elementOf(v).getIntOrFloatBitWidth() < element.getIntOrFloatBitWidth())
      return create<arith::ExtFOp>(to, v);
    return create<arith::TruncFOp>(to, v);
  }
  if (isFloat(v))
    return create<arith::FPToSIOp>(to, v);
  if (toFloat)
    return isBool(v) ? create<arith::UIToFPOp>(to, v) : create<arith::SIToFPOp>(to, v);
  return isBool(v) ? create<arith::ExtUIOp>(to, v) : create<arith::ExtSIOp>(to, v);
}

Value Emitter::scale(Value v, double factor) {
  return !v || factor == 1.0 ? v : mul(v, like(v, factor));
}
Value Emitter::shift(Value v, double offset) {
  return !v || offset == 0.0 ? v : add(v, like(v, offset));
}

Value Emitter::negate(Value v) {
  if (!v)
    return v;
  return isFloat(v) ? create<arith::NegFOp>(v) : sub(like(v, 0), v);
}
