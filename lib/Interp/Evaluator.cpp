//===- Evaluator.cpp - Executes ops on the CPU, one by one ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Ops.h"
#include "dialects/dist/Dist.h"
#include "dialects/nn/NN.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Matchers.h"
#include "moire/Interp/Ranks.h"

using namespace mlir;
using namespace moire;
using namespace moire::interp;

LogicalResult Evaluator::evaluate(Operation *op, ArrayRef<RuntimeValue> operands,
                                  SmallVectorImpl<RuntimeValue> &results) {
  results.clear();
  Call call{op, operands, results, options};
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    auto value = Tensor::fromAttribute(constant.getValue());
    if (failed(value))
      return call.error("has a value that the interpreter cannot read");
    results.push_back(std::move(*value));
    return success();
  }
  if (isa<linalg::GenericOp>(op))
    return runGeneric(op, operands, results);
  if (auto func = dyn_cast<func::CallOp>(op)) {
    auto callee = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(op, func.getCalleeAttr());
    return callee ? run(callee, operands, results) : call.error("calls an unknown function");
  }
  if (isa_and_nonnull<pipe::PipeDialect>(op->getDialect())) {
    if (!parameters)
      return call.error("needs the model's parameters, which are not at hand here");
    return parameters->evaluate(op, operands, results);
  }
  for (auto *group : {evaluateElementwise, evaluateMovement, evaluateContraction, evaluateExperts,
                      evaluateBalance, evaluateCollective, evaluateUpstream})
    if (std::optional<LogicalResult> done = group(call))
      return *done;
  if (isa<nn::DecomposableOpInterface>(op))
    return runComposite(op, operands, results);
  return call.error("cannot be executed by the interpreter");
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

LogicalResult Evaluator::run(func::FuncOp func, ArrayRef<RuntimeValue> arguments,
                             SmallVectorImpl<RuntimeValue> &results) {
  if (!func.getBody().hasOneBlock()) {
    if (!options.silent)
      func.emitError("function @") << func.getSymName() << " must have one block to be executed";
    return failure();
  }
  if (arguments.size() != func.getNumArguments()) {
    if (!options.silent)
      func.emitError("function @") << func.getSymName() << " takes " << func.getNumArguments()
                                   << " arguments but " << arguments.size() << " were given";
    return failure();
  }
  return runBlock(func.getBody().front(), arguments, results);
}

LogicalResult Evaluator::runBlock(Block &block, ArrayRef<RuntimeValue> arguments,
                                  SmallVectorImpl<RuntimeValue> &results) {
  llvm::DenseMap<Value, RuntimeValue> values;
  // Uses left of each value: a tensor is dropped after its last reader, so that
  // a model runs in about the memory that it needs.
  llvm::DenseMap<Value, int64_t> uses;
  auto define = [&](Value value, const RuntimeValue &held) {
    int64_t count = std::distance(value.use_begin(), value.use_end());
    if (!count)
      return;
    uses[value] = count;
    values[value] = held;
  };
  for (auto [argument, held] : llvm::zip_equal(block.getArguments(), arguments))
    define(argument, held);

  auto read = [&](Operation &op, SmallVectorImpl<RuntimeValue> &operands) -> LogicalResult {
    for (Value operand : op.getOperands()) {
      auto held = values.find(operand);
      if (held == values.end()) {
        if (!options.silent)
          op.emitOpError("reads a value that is defined outside its block");
        return failure();
      }
      operands.push_back(held->second);
      if (--uses[operand] == 0)
        values.erase(held);
    }
    return success();
  };
  Clock *clock = options.membership && !inComposite ? options.membership->clock : nullptr;
  auto execute = [&](Operation &op) -> LogicalResult {
    SmallVector<RuntimeValue> operands, opResults;
    if (failed(read(op, operands)))
      return failure();
    if (clock && failed(clock->pass(&op, operands)))
      return failure();
    if (isa<dist::WaitOp>(op))
      opResults.assign(operands.begin(), operands.begin() + op.getNumResults());
    else if (failed(evaluate(&op, operands, opResults)))
      return failure();
    if (options.trace)
      options.trace(&op, opResults);
    for (auto [result, held] : llvm::zip_equal(op.getResults(), opResults))
      define(result, held);
    return success();
  };

  for (Operation &op : block) {
    if (op.hasTrait<OpTrait::IsTerminator>())
      return read(op, results);
    auto async = dyn_cast<dist::AsyncOp>(op);
    if (!async) {
      if (failed(execute(op)))
        return failure();
      continue;
    }
    // Its body reads this block's values, and what it does is done at once.
    Block &body = async.getBody().front();
    for (Operation &inner : body.without_terminator())
      if (failed(execute(inner)))
        return failure();
    SmallVector<RuntimeValue> yielded;
    if (failed(read(body.back(), yielded)))
      return failure();
    yielded.resize(async.getNumResults()); // a future of none holds nothing
    for (auto [future, held] : llvm::zip_equal(async.getFutures(), yielded))
      define(future, held);
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Composite ops
//===----------------------------------------------------------------------===//

LogicalResult Evaluator::runComposite(Operation *op, ArrayRef<RuntimeValue> operands,
                                      SmallVectorImpl<RuntimeValue> &results) {
  std::vector<const void *> key = {op->getName().getAsOpaquePointer(),
                                   op->getAttrDictionary().getAsOpaquePointer()};
  for (Type type : op->getOperandTypes())
    key.push_back(type.getAsOpaquePointer());
  for (Type type : op->getResultTypes())
    key.push_back(type.getAsOpaquePointer());

  auto [entry, isNew] = decompositions.try_emplace(std::move(key));
  if (isNew) {
    op->getContext()->loadDialect<func::FuncDialect>();
    // func @decomposed(operands) { return decompose(op(operands)) }
    OpBuilder builder(op->getContext());
    entry->second = ModuleOp::create(op->getLoc());
    builder.setInsertionPointToEnd(entry->second->getBody());
    auto func = builder.create<func::FuncOp>(
        op->getLoc(), "decomposed",
        builder.getFunctionType(op->getOperandTypes(), op->getResultTypes()));
    Block *body = func.addEntryBlock();
    IRMapping mapping;
    for (auto [operand, argument] : llvm::zip_equal(op->getOperands(), body->getArguments()))
      mapping.map(operand, argument);
    builder.setInsertionPointToEnd(body);
    // An operand used twice maps to its last argument, which holds the same value.
    Operation *copy = builder.clone(*op, mapping);
    builder.setInsertionPoint(copy);
    // All results have a reader, so that none is left out.
    builder.setInsertionPointAfter(copy);
    Operation *end = builder.create<func::ReturnOp>(op->getLoc(), copy->getResults());
    builder.setInsertionPoint(copy);
    SmallVector<Value> parts = nn::decompose(cast<nn::DecomposableOpInterface>(copy), builder);
    if (parts.size() != copy->getNumResults() || llvm::is_contained(parts, Value())) {
      decompositions.erase(entry);
      return Call{op, operands, results, options}.error("has no decomposition yet");
    }
    end->setOperands(parts);
    copy->erase();
  }
  auto func = *entry->second->getOps<func::FuncOp>().begin();
  // The trace speaks of the program's own ops.
  auto trace = std::exchange(options.trace, nullptr);
  const bool outer = std::exchange(inComposite, true);
  LogicalResult result = run(func, operands, results);
  options.trace = std::move(trace);
  inComposite = outer;
  return result;
}

//===----------------------------------------------------------------------===//
// linalg.generic
//===----------------------------------------------------------------------===//

/// Calls fn(flat index into `shape`) for each point of the iteration space.
static void forEachPoint(ArrayRef<int64_t> domain, AffineMap map, ArrayRef<int64_t> shape,
                         llvm::function_ref<void(int64_t)> fn) {
  SmallVector<int64_t> strides = stridesOf(shape);
  // Results that are a dim or a constant cover nearly all maps; the others go
  // through the affine evaluator.
  bool simple = llvm::all_of(
      map.getResults(), [](AffineExpr e) { return isa<AffineDimExpr, AffineConstantExpr>(e); });
  SmallVector<int64_t> domainStrides(domain.size(), 0);
  int64_t base = 0;
  if (simple)
    for (auto [stride, expr] : llvm::zip_equal(strides, map.getResults())) {
      if (auto dim = dyn_cast<AffineDimExpr>(expr))
        domainStrides[dim.getPosition()] += stride;
      else
        base += stride * cast<AffineConstantExpr>(expr).getValue();
    }
  forEachIndex(domain, [&](ArrayRef<int64_t> index) {
    int64_t flat = base;
    if (simple) {
      for (auto [i, stride] : llvm::zip_equal(index, domainStrides))
        flat += i * stride;
    } else {
      for (auto [i, stride] : llvm::zip_equal(map.compose(index), strides))
        flat += i * stride;
    }
    fn(flat);
  });
}

// The region's ops are elementwise, so they run on whole tensors over the
// iteration space: operands are gathered by their maps, results scattered.
LogicalResult Evaluator::runGeneric(Operation *op, ArrayRef<RuntimeValue> operands,
                                    SmallVectorImpl<RuntimeValue> &results) {
  auto generic = cast<linalg::GenericOp>(op);
  Call call{op, operands, results, options};
  if (generic.getNumParallelLoops() != generic.getNumLoops())
    return call.error("must have parallel iterators only to be executed");
  SmallVector<int64_t> domain = generic.getStaticLoopRanges();
  SmallVector<AffineMap> maps = generic.getIndexingMapsArray();
  llvm::DenseMap<Value, RuntimeValue> values;
  Block *body = generic.getBody();

  for (auto [i, argument] : llvm::enumerate(body->getArguments())) {
    AffineMap map = maps[i];
    if (argument.use_empty())
      continue;
    const Tensor &source = operands[i].tensor();
    Tensor gathered(source.elementType(), domain);
    dispatch(source, [&](auto t) {
      auto from = source.get<decltype(t)>();
      auto *to = gathered.edit<decltype(t)>().data();
      forEachPoint(domain, map, source.shape(), [&](int64_t flat) { *to++ = from[flat]; });
    });
    values[argument] = gathered;
  }
  for (Operation &inner : *body) {
    SmallVector<RuntimeValue> innerOperands, innerResults;
    for (Value operand : inner.getOperands()) {
      if (!values.count(operand))
        return call.error("reads a value that is defined outside its region");
      innerOperands.push_back(values[operand]);
    }
    if (auto index = dyn_cast<linalg::IndexOp>(inner)) {
      Tensor iota(index.getType(), domain);
      int64_t *to = iota.edit<int64_t>().data();
      forEachIndex(domain, [&](ArrayRef<int64_t> at) { *to++ = at[index.getDim()]; });
      innerResults.push_back(iota);
    } else if (auto constant = dyn_cast<arith::ConstantOp>(inner)) {
      auto scalar = Tensor::fromAttribute(constant.getValue());
      if (failed(scalar))
        return call.error("holds a constant that is not a scalar");
      Tensor spread(scalar->elementType(), domain);
      dispatch(*scalar, [&](auto t) {
        auto to = spread.edit<decltype(t)>();
        std::fill(to.begin(), to.end(), scalar->template get<decltype(t)>()[0]);
      });
      innerResults.push_back(spread);
    } else if (auto yield = dyn_cast<linalg::YieldOp>(inner)) {
      for (size_t i = 0; i < innerOperands.size(); ++i) {
        const Tensor &computed = innerOperands[i].tensor();
        Tensor out = operands[generic.getNumDpsInputs() + i].tensor();
        dispatch(computed, [&](auto t) {
          auto *from = computed.get<decltype(t)>().data();
          auto to = out.edit<decltype(t)>();
          forEachPoint(domain, maps[generic.getNumDpsInputs() + i], out.shape(),
                       [&](int64_t flat) { to[flat] = *from++; });
        });
        results.push_back(out);
      }
    } else {
      Call innerCall{&inner, innerOperands, innerResults, options};
      std::optional<LogicalResult> done = evaluateElementwise(innerCall);
      if (!done)
        return innerCall.error("cannot be executed inside linalg.generic");
      if (failed(*done))
        return failure();
    }
    for (auto [result, value] : llvm::zip(inner.getResults(), innerResults))
      values[result] = value;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Constant folding
//===----------------------------------------------------------------------===//

std::optional<SmallVector<Attribute>> moire::interp::foldConstant(Operation *op,
                                                                  ArrayRef<Attribute> operands) {
  if (!op->getNumResults() || op->hasTrait<OpTrait::IsTerminator>() || !isMemoryEffectFree(op) ||
      isa_and_nonnull<pipe::PipeDialect, dist::DistDialect>(op->getDialect()))
    return std::nullopt;
  SmallVector<RuntimeValue> values, results;
  for (Attribute operand : operands) {
    FailureOr<Tensor> value = Tensor::fromAttribute(operand);
    if (failed(value))
      return std::nullopt;
    values.push_back(std::move(*value));
  }
  EvaluatorOptions options;
  options.silent = true;
  Evaluator evaluator(options);
  if (failed(evaluator.evaluate(op, values, results)))
    return std::nullopt;
  SmallVector<Attribute> attributes;
  for (auto [result, value] : llvm::zip_equal(op->getResults(), results)) {
    if (!value.isTensor())
      return std::nullopt;
    if (isa<RankedTensorType>(result.getType()))
      attributes.push_back(value.tensor().toAttribute());
    else
      attributes.push_back(value.tensor().toScalarAttribute());
  }
  return attributes;
}

std::optional<SmallVector<Attribute>> moire::interp::foldConstant(Operation *op) {
  SmallVector<Attribute> operands;
  for (Value operand : op->getOperands()) {
    Attribute attribute;
    if (!matchPattern(operand, m_Constant(&attribute)))
      return std::nullopt;
    operands.push_back(attribute);
  }
  return foldConstant(op, operands);
}
