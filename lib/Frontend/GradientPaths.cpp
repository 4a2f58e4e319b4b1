//===- GradientPaths.cpp - Which operands of a graph a gradient reaches --===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "GradientPaths.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::frontend;

/// The operands of an ONNX op that its derivative exists for, as a bit set. Ops
/// that are not listed count with all operands.
static uint32_t getDifferentiableOperands(StringRef opType) {
  constexpr uint32_t none = 0, all = ~0u, first = 1;
  return llvm::StringSwitch<uint32_t>(opType)
      .Cases("Shape", "Size", "ArgMax", "ArgMin", "NonZero", "OneHot", "Range", none)
      .Cases("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", none)
      .Cases("And", "Or", "Xor", "Not", "IsNaN", "IsInf", "ConstantOfShape", none)
      .Cases("Sign", "Floor", "Ceil", "Round", "EyeLike", "RandomNormalLike", none)
      .Cases("RandomUniformLike", "Bernoulli", "Multinomial", "Unique", none)
      .Cases("Gather", "GatherElements", "GatherND", "Slice", "Reshape", "Expand", first)
      .Cases("Unsqueeze", "Squeeze", "Tile", "Split", "Pad", "TopK", "CumSum", "Clip", first)
      .Cases("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", first)
      .Cases("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare", first)
      .Cases("Trilu", "Resize", "Dropout", "Pow", "CastLike", "Mod", first)
      .Cases("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss", "RotaryEmbedding", first)
      .Case("Where", 0b110)
      .Cases("ScatterND", "ScatterElements", "Scatter", 0b101)
      .Cases("BatchNormalization", "Attention", 0b111)
      .Default(all);
}

bool moire::frontend::isDifferentiable(onnx::NodeOp node, unsigned i) {
  if (node.getDomain())
    return true;
  if (node.getOpType() == "Cast") {
    // To float, float16, double, bfloat16.
    int64_t to = node.getInt("to", 1);
    return to == 1 || to == 10 || to == 11 || to == 16;
  }
  return i >= 32 || (getDifferentiableOperands(node.getOpType()) >> i & 1);
}

/// Results that are positions, masks or statistics.
static bool isDifferentiableResult(onnx::NodeOp node, unsigned i) {
  if (i == 0 || node.getDomain())
    return true;
  StringRef type = node.getOpType();
  return type == "Split" || type == "LSTM" || type == "GRU" || type == "If" || type == "Loop" ||
         type == "Scan" || type == "Attention" || type == "SoftmaxCrossEntropyLoss";
}

static bool mayBeFloat(Type type) {
  if (auto shaped = dyn_cast<ShapedType>(type))
    return isa<FloatType>(shaped.getElementType());
  return isa<onnx::OpaqueType>(type); // the file does not tell
}

GradientPaths::GradientPaths(Operation *function) {
  SmallVector<Value> work;
  auto reach = [&](Value value) {
    if (mayBeFloat(value.getType()) && reached.insert(value).second)
      work.push_back(value);
  };
  function->walk([&](func::ReturnOp op) {
    for (Value result : op.getOperands())
      reach(result);
  });
  while (!work.empty()) {
    Value value = work.pop_back_val();
    auto node = value.getDefiningOp<onnx::NodeOp>();
    if (!node || !isDifferentiableResult(node, cast<OpResult>(value).getResultNumber()))
      continue;
    for (auto [i, input] : llvm::enumerate(node.getInputs()))
      if (isDifferentiable(node, i))
        reach(input);
    // What a graph inside computes may all reach the node's results.
    for (Region &graph : node.getGraphs())
      graph.walk([&](Operation *op) {
        auto inner = dyn_cast<onnx::NodeOp>(op);
        for (OpOperand &operand : op->getOpOperands())
          if (!inner || isDifferentiable(inner, operand.getOperandNumber()))
            reach(operand.get());
      });
  }
}

bool GradientPaths::reaches(OpOperand &operand) const {
  if (!reached.contains(operand.get()))
    return false;
  // The value is reached through some use; is it through this one?
  auto node = dyn_cast<onnx::NodeOp>(operand.getOwner());
  if (!node)
    return true;
  if (!isDifferentiable(node, operand.getOperandNumber()))
    return false;
  if (!node.getGraphs().empty() || node->getParentOfType<onnx::NodeOp>())
    return true;
  return llvm::any_of(llvm::enumerate(node.getOutputs()), [&](auto result) {
    return reached.contains(result.value()) && isDifferentiableResult(node, result.index());
  });
}
