//===- Loss.cpp - Turns @forward into @micro_step, which returns the loss ===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The loss of a step is  Σ losses / N,  N = labels that count in all its
// micro-batches. The runtime gives scale = 1 / N, so a micro-batch returns
// Σ losses * scale and gradients of micro-batches simply add.
//
// A file that holds its loss divides by its own count, n of one micro-batch.
// That division is taken back:  sum / n  ~~>  sum * scale. What stands beside
// such a mean (a router's auxiliary loss) is an average over micro-batches
// weighted by n:  aux  ~~>  aux * (n * scale). So are the losses of --aux-loss and
// --z-loss, whose n is that of all ranks' parts of the micro-batch.
//
//===----------------------------------------------------------------------===//
#include "LossChoice.h"
#include "RouterLoss.h"
#include "dialects/nn/NNBalance.h"
#include "moire/Interp/Evaluator.h"
#include "moire/Train/Passes.h"
#include "mlir/IR/Matchers.h"

namespace moire::train {
#define GEN_PASS_DEF_TRAINLOSS
#include "lib/Train/Passes.h.inc"
} // namespace moire::train

using namespace mlir;
using namespace moire;
using namespace moire::train;

namespace {

constexpr int64_t kIgnored = -100;

//===----------------------------------------------------------------------===//
// The count of labels inside a file
//===----------------------------------------------------------------------===//

enum class Count { all, skipFirst, none };

StringRef countName(Count count) {
  return count == Count::all ? "all" : count == Count::skipFirst ? "skip-first" : "none";
}

/// Executes what `value` is computed from with `labels` given; nothing where it
/// depends on anything else.
std::optional<double> evaluateFrom(Value value, BlockArgument labels,
                                   const interp::Tensor &given) {
  interp::EvaluatorOptions options;
  options.silent = true;
  interp::Evaluator evaluator(options);
  llvm::DenseMap<Value, interp::RuntimeValue> values;
  values[labels] = given;
  for (Operation *op : backwardSlice(value)) {
    SmallVector<interp::RuntimeValue> operands, results;
    for (Value operand : op->getOperands()) {
      if (!values.count(operand))
        return std::nullopt;
      operands.push_back(values[operand]);
    }
    if (failed(evaluator.evaluate(op, operands, results)))
      return std::nullopt;
    for (auto [result, v] : llvm::zip(op->getResults(), results))
      values[result] = v;
  }
  if (!values.count(value) || !values[value].isTensor())
    return std::nullopt;
  return values[value].tensor().floats().front();
}

/// Whether `value` is the number of labels that are not -100, of all or of all
/// but the first of each row. Exporters spell this in many ways, so it is found
/// out by counting on a few made-up labels.
Count whatCounts(Value value, BlockArgument labels) {
  auto type = cast<RankedTensorType>(labels.getType());
  if (type.getRank() == 0 || !type.getElementType().isInteger(64))
    return Count::none;
  int64_t row = type.getRank() > 1 ? type.getNumElements() / type.getDimSize(0) : 0;
  bool all = true, skipFirst = row > 0;
  uint64_t random = 1;
  for (int trial = 0; trial < 4; ++trial) {
    interp::Tensor given(type);
    int64_t countAll = 0, countLater = 0;
    auto elements = given.edit<int64_t>();
    for (size_t i = 0; i < elements.size(); ++i) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      // Every second label on average, but none of them is missed in trial 0.
      bool counts = trial == 0 || (random >> 40) % 2;
      elements[i] = counts ? 0 : kIgnored;
      countAll += counts;
      countLater += counts && row && i % row != 0;
    }
    auto n = evaluateFrom(value, labels, given);
    all &= n && *n == countAll;
    skipFirst &= n && *n == countLater;
  }
  return all ? Count::all : skipFirst ? Count::skipFirst : Count::none;
}

//===----------------------------------------------------------------------===//
// The rewrite
//===----------------------------------------------------------------------===//

class LossBuilder {
public:
  LossBuilder(func::FuncOp func, const LossChoice &choice, const TrainLossOptions &options,
              ArrayRef<Router> routers)
      : func(func), choice(choice), options(options), routers(routers), builder(func.getBody().front().getTerminator()),
        loc(choice.output.value.getLoc()),
        scalar(RankedTensorType::get({}, choice.output.type().getElementType())) {}

  LogicalResult run();

private:
  BlockArgument addArgument(Type type, StringRef name, StringRef role);
  Value constant(Type type, double value);
  Value sum(Value v);
  Value asScalar(Value v);
  Value multiply(Value a, Value b) { return builder.create<arith::MulFOp>(loc, a, b); }
  Value add(Value a, Value b) { return builder.create<arith::AddFOp>(loc, a, b); }

  Value crossEntropy();
  Value squaredError();
  Value lossInFile();
  arith::DivFOp findMean(Value v);
  Value rescale(Value v, arith::DivFOp mean, Value weight);
  Value addAux(Value loss);
  Value addRouterLosses(Value loss);
  /// Whether terms of the loss are weighted by the labels that count here.
  bool needsCount() const { return !choice.aux.empty() || !routers.empty(); }
  void describe();

  func::FuncOp func;
  const LossChoice &choice;
  const TrainLossOptions &options;
  ArrayRef<Router> routers; ///< that --aux-loss and --z-loss look at
  OpBuilder builder;
  Location loc;
  RankedTensorType scalar;

  BlockArgument labels, scale;
  Count count = Count::all;
  Value counted; ///< labels that count in this micro-batch; null: 1
  int64_t batch = 0, seq = 0, vocab = 0;
};

BlockArgument LossBuilder::addArgument(Type type, StringRef name, StringRef role) {
  auto attrs = builder.getDictionaryAttr(
      {builder.getNamedAttr("onnx.name", builder.getStringAttr(name)),
       builder.getNamedAttr("moire.role", builder.getStringAttr(role))});
  func.insertArgument(func.getNumArguments(), type, attrs, func.getLoc());
  return func.getArguments().back();
}

Value LossBuilder::constant(Type type, double value) {
  auto tensor = cast<RankedTensorType>(type);
  Attribute attr = isa<FloatType>(tensor.getElementType())
                       ? Attribute(builder.getFloatAttr(tensor.getElementType(), value))
                       : builder.getIntegerAttr(tensor.getElementType(), (int64_t)value);
  return builder.create<arith::ConstantOp>(loc, DenseElementsAttr::get(tensor, attr));
}

Value LossBuilder::sum(Value v) {
  int64_t rank = cast<RankedTensorType>(v.getType()).getRank();
  return builder.createOrFold<nn::ReduceOp>(loc, v, nn::ReduceKind::sum,
                                            llvm::to_vector(llvm::seq<int64_t>(0, rank)));
}

Value LossBuilder::asScalar(Value v) {
  return builder.createOrFold<nn::ReshapeOp>(
      loc, RankedTensorType::get({}, getElementTypeOrSelf(v)), v);
}

/// Cross-entropy of logits [..., V] against labels [...].
Value LossBuilder::crossEntropy() {
  auto type = choice.output.type();
  auto shape = type.getShape();
  auto labelType = RankedTensorType::get(shape.drop_back(), builder.getI64Type());
  labels = addArgument(labelType, "labels", "labels");
  scale = addArgument(scalar, "scale", "scale");
  batch = shape.front();
  seq = shape.size() > 2 ? shape[1] : 0;
  vocab = shape.back();

  int64_t rows = labelType.getNumElements();
  Value logits = builder.createOrFold<nn::ReshapeOp>(
      loc, type.clone(ArrayRef<int64_t>{rows, vocab}), choice.output.value);
  Value flat = builder.createOrFold<nn::ReshapeOp>(
      loc, labelType.clone(ArrayRef<int64_t>{rows}), labels);
  auto losses = builder.create<nn::CrossEntropyOp>(loc, logits, flat);
  if (needsCount()) {
    Value counts = builder.create<arith::CmpIOp>(loc, arith::CmpIPredicate::ne, flat,
                                                 constant(flat.getType(), kIgnored));
    Type each = losses.getLosses().getType();
    Value one = constant(each, 1), zero = constant(each, 0);
    counted = sum(builder.create<arith::SelectOp>(loc, counts, one, zero));
  }
  return multiply(sum(losses.getLosses()), scale);
}

Value LossBuilder::squaredError() {
  auto type = choice.output.type();
  labels = addArgument(type, "labels", "labels");
  scale = addArgument(scalar, "scale", "scale");
  batch = type.getRank() ? type.getDimSize(0) : 1;
  seq = type.getRank() > 2 ? type.getDimSize(1) : 0;
  if (needsCount())
    counted = constant(scalar, type.getNumElements());
  Value difference = builder.create<arith::SubFOp>(loc, choice.output.value, labels);
  return multiply(sum(multiply(difference, difference)), scale);
}

/// The division by a count of labels in a sum of terms, or null.
arith::DivFOp LossBuilder::findMean(Value v) {
  Operation *op = v.getDefiningOp();
  if (!op)
    return {};
  if (auto division = dyn_cast<arith::DivFOp>(op)) {
    if (labels && cast<RankedTensorType>(division.getType()).getNumElements() == 1) {
      count = whatCounts(division.getRhs(), labels);
      if (count != Count::none)
        return division;
    }
    return {};
  }
  if (!isa<arith::AddFOp, arith::MulFOp, nn::ReshapeOp>(op))
    return {};
  for (Value operand : op->getOperands())
    if (auto mean = findMean(operand))
      return mean;
  return {};
}

/// `v` with the mean in it turned into sum * scale and every other term
/// multiplied by `weight`.
Value LossBuilder::rescale(Value v, arith::DivFOp mean, Value weight) {
  Operation *op = v.getDefiningOp();
  if (op == mean)
    return multiply(asScalar(mean.getLhs()), scale);
  if (auto sum = dyn_cast_or_null<arith::AddFOp>(op)) {
    // Named, because C++ leaves the order of arguments open.
    Value left = rescale(sum.getLhs(), mean, weight);
    Value right = rescale(sum.getRhs(), mean, weight);
    return add(left, right);
  }
  if (auto reshape = dyn_cast_or_null<nn::ReshapeOp>(op);
      reshape && cast<RankedTensorType>(v.getType()).getNumElements() == 1)
    return rescale(reshape.getInput(), mean, weight);
  if (auto product = dyn_cast_or_null<arith::MulFOp>(op)) {
    if (matchPattern(product.getRhs(), m_Constant())) {
      Value inner = rescale(product.getLhs(), mean, weight);
      return multiply(inner, asScalar(product.getRhs()));
    }
  }
  return multiply(asScalar(v), weight);
}

Value LossBuilder::lossInFile() {
  // Labels: what a cross-entropy takes from an argument, or the input of that name.
  labels = findInput(func, "labels");
  for (Operation *op : backwardSlice(choice.output.value)) {
    auto losses = dyn_cast<nn::CrossEntropyOp>(op);
    if (!losses)
      continue;
    vocab = cast<RankedTensorType>(losses.getLogits().getType()).getDimSize(1);
    for (Operation *source : backwardSlice(losses.getLabels()))
      for (Value operand : source->getOperands())
        if (auto argument = dyn_cast<BlockArgument>(operand); argument && !labels)
          labels = argument;
    if (auto argument = dyn_cast<BlockArgument>(losses.getLabels()); argument && !labels)
      labels = argument;
  }
  if (labels) {
    auto type = cast<RankedTensorType>(labels.getType());
    batch = type.getRank() ? type.getDimSize(0) : 1;
    seq = type.getRank() > 1 ? type.getDimSize(1) : 0;
  }
  scale = addArgument(scalar, "scale", "scale");

  arith::DivFOp mean = findMean(choice.output.value);
  if (!mean) {
    count = Count::none;
    return multiply(asScalar(choice.output.value), scale);
  }
  counted = asScalar(mean.getRhs());
  Value weight = multiply(counted, scale);
  return rescale(choice.output.value, mean, weight);
}

Value LossBuilder::addAux(Value loss) {
  if (choice.aux.empty())
    return loss;
  Value weight = counted ? multiply(counted, scale) : Value(scale);
  for (const AuxTerm &term : choice.aux) {
    Value value = multiply(asScalar(term.output.value), constant(scalar, term.weight));
    loss = add(loss, multiply(value, weight));
  }
  return loss;
}

Value LossBuilder::addRouterLosses(Value loss) {
  if (routers.empty())
    return loss;
  Value n = builder.create<nn::BatchSumOp>(loc, counted ? counted : constant(scalar, 1));
  Value terms = buildRouterLosses(builder, routers, options.auxLoss, options.zLoss);
  terms = nn::castElements(builder, loc, terms, scalar.getElementType());
  return add(loss, multiply(terms, multiply(n, scale)));
}

/// The module attributes that tell the runtime what to feed.
void LossBuilder::describe() {
  // Sizes of the data where the loss does not tell them: the first input of
  // token ids, and the table that they look up.
  BlockArgument tokens;
  for (StringRef name : {"input_ids", "decoder_input_ids"})
    tokens = tokens ? tokens : findInput(func, name);
  for (BlockArgument argument : func.getArguments()) {
    auto type = cast<RankedTensorType>(argument.getType());
    if (!tokens && type.getRank() == 2 && type.getElementType().isInteger(64) &&
        argument != labels)
      tokens = argument;
  }
  int64_t tokenVocab = 0;
  if (tokens) {
    auto type = cast<RankedTensorType>(tokens.getType());
    if (type.getRank() == 2) {
      batch = type.getDimSize(0);
      seq = seq ? seq : type.getDimSize(1);
    }
    func.walk([&](nn::GatherOp gather) {
      Value indices = gather.getIndices();
      while (auto reshape = indices.getDefiningOp<nn::ReshapeOp>())
        indices = reshape.getInput();
      if (indices == tokens && !tokenVocab)
        tokenVocab = cast<RankedTensorType>(gather.getTable().getType()).getDimSize(0);
    });
  }

  Operation *module = func->getParentOp();
  auto text = [&](StringRef name, StringRef value) {
    module->setAttr(name, builder.getStringAttr(value));
  };
  auto number = [&](StringRef name, int64_t value) {
    module->setAttr(name, builder.getI64IntegerAttr(value));
  };
  text("moire.loss", lossName(choice.kind));
  text("moire.labels", choice.kind == LossKind::nextToken ? "shifted" : "as-is");
  text("moire.count", countName(count));
  number("moire.batch", batch);
  number("moire.seq", seq);
  number("moire.vocab", vocab);
  number("moire.token_vocab", tokenVocab);
}

LogicalResult LossBuilder::run() {
  Value loss;
  switch (choice.kind) {
  case LossKind::nextToken:
  case LossKind::token:
  case LossKind::classes:
    loss = crossEntropy();
    break;
  case LossKind::mse:
    loss = squaredError();
    break;
  case LossKind::output:
    loss = lossInFile();
    break;
  }
  loss = addRouterLosses(addAux(loss));

  for (BlockArgument argument : func.getArguments())
    if (!func.getArgAttr(argument.getArgNumber(), "moire.role"))
      func.setArgAttr(argument.getArgNumber(), "moire.role",
                      builder.getStringAttr(argument == labels ? "labels" : "data"));
  describe();

  Operation *exit = func.getBody().front().getTerminator();
  exit->setOperands(loss);
  func.removeResAttrsAttr();
  func.setFunctionType(builder.getFunctionType(func.getArgumentTypes(), loss.getType()));
  func.setSymName("micro_step");
  return success();
}

struct TrainLoss : train::impl::TrainLossBase<TrainLoss> {
  using TrainLossBase::TrainLossBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto forward = module.lookupSymbol<func::FuncOp>("forward");
    if (!forward || !forward.getBody().hasOneBlock()) {
      emitError(module.getLoc(), "needs a function @forward of one block");
      return signalPassFailure();
    }
    auto choice = chooseLoss(forward, loss, std::vector<std::string>(aux.begin(), aux.end()));
    if (failed(choice))
      return signalPassFailure();
    SmallVector<Router> routers;
    if (auxLoss != 0 || zLoss != 0) {
      auto found = findRouters(forward, auxLoss != 0 ? "--aux-loss" : "--z-loss");
      if (failed(found))
        return signalPassFailure();
      routers = *found;
    }
    TrainLossOptions options;
    options.auxLoss = auxLoss;
    options.zLoss = zLoss;
    if (failed(LossBuilder(forward, *choice, options, routers).run()))
      signalPassFailure();
  }
};
} // namespace
