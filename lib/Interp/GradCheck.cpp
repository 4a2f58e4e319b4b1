//===- GradCheck.cpp - Derivatives against central differences -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Interp/GradCheck.h"
#include "dialects/nn/NN.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include <cmath>
#include <random>

using namespace mlir;
using namespace moire::interp;
using Values = SmallVector<RuntimeValue>;

Tensor moire::interp::randomTensor(RankedTensorType type, uint64_t seed, double low, double high) {
  std::mt19937_64 engine(seed);
  // Not std::uniform_real_distribution, whose sequence is the library's own.
  auto next = [&] { return low + (high - low) * (static_cast<double>(engine() >> 11) * 0x1p-53); };
  Tensor tensor(type);
  dispatch(tensor, [&](auto t) {
    for (auto &x : tensor.edit<decltype(t)>())
      x = static_cast<decltype(t)>(std::is_same_v<decltype(t), double> ? next() : std::floor(next()));
  });
  return tensor;
}

static bool isFloatTensor(const RuntimeValue &value) {
  return value.isTensor() && value.tensor().isFloat();
}
static bool isFloatTensor(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && isa<FloatType>(tensor.getElementType());
}

static Evaluator evaluatorInF64() {
  EvaluatorOptions options;
  options.f64 = true;
  return Evaluator(options);
}

namespace {
/// L as a function of the arguments.
struct Loss {
  func::FuncOp primal;
  Values cotangents; // of the float results
  Evaluator evaluator = evaluatorInF64();

  std::optional<double> operator()(ArrayRef<RuntimeValue> arguments) {
    Values results;
    if (failed(evaluator.run(primal, arguments, results)))
      return std::nullopt;
    double sum = 0;
    unsigned next = 0;
    for (const RuntimeValue &result : results)
      if (isFloatTensor(result))
        for (auto [c, y] : llvm::zip_equal(cotangents[next++].tensor().floats(), result.tensor().floats()))
          // An infinite result (the log-sum-exp of an empty row) is no
          // function of anything.
          sum += std::isinf(y) ? 0 : c * y;
    return sum;
  }

  /// (L(x + h) - L(x - h)) / 2h for one element of one argument.
  std::optional<double> quotient(Values arguments, unsigned which, int64_t element, double step) {
    double value[2];
    for (int side = 0; side < 2; ++side) {
      Tensor moved = arguments[which].tensor();
      moved.edit<double>()[element] += side ? step : -step;
      Values probe = arguments;
      probe[which] = moved;
      std::optional<double> loss = (*this)(probe);
      if (!loss)
        return std::nullopt;
      value[side] = *loss;
    }
    return (value[1] - value[0]) / (2 * step);
  }
};
} // namespace

std::string moire::interp::checkGradients(func::FuncOp primal, func::FuncOp adjoint,
                                          ArrayRef<RuntimeValue> arguments,
                                          GradCheckOptions options) {
  Loss loss{primal, {}};
  for (Type type : primal.getResultTypes())
    if (isFloatTensor(type))
      loss.cotangents.push_back(
          randomTensor(cast<RankedTensorType>(type), options.seed++ * 7919 + 1));

  Values held(arguments), gradients;
  Values adjointArguments = held;
  adjointArguments.append(loss.cotangents);
  Evaluator evaluator = evaluatorInF64();
  if (failed(evaluator.run(adjoint, adjointArguments, gradients)))
    return "the adjoint function cannot be executed";

  unsigned next = 0;
  for (unsigned which = 0; which < held.size(); ++which) {
    if (!isFloatTensor(held[which]))
      continue;
    if (next == gradients.size())
      return "the adjoint function returns too few gradients";
    const Tensor &gradient = gradients[next++].tensor();
    int64_t size = held[which].tensor().size();
    if (gradient.size() != size)
      return llvm::formatv("the gradient of argument {0} has {1} elements but the argument has {2}",
                           which, gradient.size(), size);
    int64_t stride = options.samples ? std::max<int64_t>(1, size / options.samples) : 1;
    std::vector<std::optional<double>> quotients;
    double largest = 0;
    int64_t kinks = 0;
    for (int64_t i = 0; i < size; i += stride) {
      auto wide = loss.quotient(held, which, i, options.step);
      auto narrow = loss.quotient(held, which, i, options.step / 8);
      if (!wide || !narrow)
        return "the primal function cannot be executed";
      bool kink = options.skipKinks && std::fabs(*wide - *narrow) > 1e-3 * (std::fabs(*wide) + 1e-3);
      kinks += kink;
      quotients.push_back(kink ? std::nullopt : wide);
      if (!kink)
        largest = std::max(largest, std::fabs(*wide));
    }
    if (kinks * 4 > static_cast<int64_t>(quotients.size()))
      return llvm::formatv("argument {0} has kinks at {1} of {2} elements", which, kinks,
                           quotients.size());
    for (auto [sample, quotient] : llvm::enumerate(quotients)) {
      double got = gradient.floats()[sample * stride];
      // Written so that a NaN is a difference.
      if (quotient && !(std::fabs(got - *quotient) <=
                        options.tolerance * (std::fabs(*quotient) + largest + 1e-3)))
        return llvm::formatv("argument {0}, element {1}: the gradient is {2:e} but the difference "
                             "quotient is {3:e}", which, sample * stride, got, *quotient);
    }
  }
  return "";
}

//===----------------------------------------------------------------------===//
// One op
//===----------------------------------------------------------------------===//

/// (arguments..., cotangents of the returned float results) -> gradients of the
/// float arguments, those that are not `wanted` being zeros.
static func::FuncOp buildAdjoint(func::FuncOp func, Operation *op, ArrayRef<bool> wanted) {
  OpBuilder b(func);
  b.setInsertionPointAfter(func);
  SmallVector<Type> argumentTypes(func.getArgumentTypes()), gradientTypes;
  for (Type type : func.getResultTypes())
    if (isFloatTensor(type))
      argumentTypes.push_back(type);
  for (Type type : func.getArgumentTypes())
    if (isFloatTensor(type))
      gradientTypes.push_back(type);
  auto adjoint = b.create<func::FuncOp>(func.getLoc(), (func.getSymName() + "_adjoint").str(),
                                        b.getFunctionType(argumentTypes, gradientTypes));
  Block *body = adjoint.addEntryBlock();
  b.setInsertionPointToEnd(body);
  IRMapping mapping;
  for (auto [from, to] : llvm::zip(func.getArguments(), body->getArguments()))
    mapping.map(from, to);
  Operation *copy = nullptr;
  for (Operation &inner : func.getBody().front().without_terminator()) {
    Operation *cloned = b.clone(inner, mapping);
    if (&inner == op)
      copy = cloned;
  }
  SmallVector<Value> cotangents(op->getNumResults());
  unsigned next = func.getNumArguments();
  for (Value returned : func.getBody().front().getTerminator()->getOperands())
    if (isFloatTensor(returned.getType()))
      cotangents[cast<OpResult>(returned).getResultNumber()] = body->getArgument(next++);
  SmallVector<Value> perOperand =
      cast<moire::nn::DifferentiableOpInterface>(copy).buildAdjoint(b, cotangents, wanted);

  // An argument that is several operands gets the sum.
  SmallVector<Value> gradients;
  for (auto [i, argument] : llvm::enumerate(func.getArguments())) {
    if (!isFloatTensor(argument.getType()))
      continue;
    Value sum;
    for (auto [operand, gradient] : llvm::zip_equal(op->getOperands(), perOperand))
      if (operand == argument && gradient)
        sum = sum ? b.create<arith::AddFOp>(func.getLoc(), sum, gradient) : gradient;
    if (!sum) {
      auto type = cast<RankedTensorType>(argument.getType());
      sum = b.create<arith::ConstantOp>(func.getLoc(), cast<TypedAttr>(b.getZeroAttr(type)));
    }
    gradients.push_back(sum);
  }
  b.create<func::ReturnOp>(func.getLoc(), gradients);
  return adjoint;
}

std::string moire::interp::checkOpGradients(func::FuncOp func, ArrayRef<RuntimeValue> arguments,
                                            GradCheckOptions options) {
  Operation *op = nullptr;
  for (Operation &inner : func.getBody().front().without_terminator())
    if (!inner.hasTrait<OpTrait::ConstantLike>())
      op = &inner;
  if (!op || !isa<moire::nn::DifferentiableOpInterface>(op))
    return "the function holds no differentiable op";

  SmallVector<bool> differentiable;
  for (Value operand : op->getOperands())
    differentiable.push_back(isFloatTensor(operand.getType()) && isa<BlockArgument>(operand));
  func::FuncOp whole = buildAdjoint(func, op, differentiable);
  std::string wrong = checkGradients(func, whole, arguments, options);
  if (!wrong.empty())
    return wrong;

  // Each operand alone: another branch of an adjoint's code.
  Values primal(arguments), all;
  for (Type type : func.getResultTypes())
    if (isFloatTensor(type))
      primal.push_back(randomTensor(cast<RankedTensorType>(type), options.seed + 17));
  Evaluator evaluator = evaluatorInF64();
  if (failed(evaluator.run(whole, primal, all)))
    return "the adjoint function cannot be executed";
  for (unsigned i = 0; i < op->getNumOperands(); ++i) {
    auto argument = dyn_cast<BlockArgument>(op->getOperand(i));
    if (!differentiable[i] || llvm::count(op->getOperands(), op->getOperand(i)) > 1)
      continue;
    SmallVector<bool> wanted(op->getNumOperands(), false);
    wanted[i] = true;
    func::FuncOp single = buildAdjoint(func, op, wanted);
    Values alone;
    LogicalResult ran = evaluator.run(single, primal, alone);
    single.erase();
    if (failed(ran))
      return "the adjoint function of one operand cannot be executed";
    unsigned position = llvm::count_if(func.getArgumentTypes().take_front(argument.getArgNumber()),
                                       [](Type type) { return isFloatTensor(type); });
    if (alone[position].tensor().floats() != all[position].tensor().floats())
      return llvm::formatv("operand {0}: its gradient differs when no other is wanted", i);
  }
  whole.erase();
  return "";
}
