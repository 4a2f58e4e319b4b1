//===- Lowering.cpp - Places, views and the walk over the function -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Lowering.h"
#include "dialects/nn/NNBalance.h"
#include "dialects/pipe/Gradients.h"

using namespace mlir;
using namespace moire;
using namespace moire::program;

FlatSymbolRefAttr
KernelTable::get(Location loc, ArrayRef<Type> arguments,
                 llvm::function_ref<SmallVector<Value>(OpBuilder &, ValueRange)> build) {
  OpBuilder b(module.getContext());
  b.setInsertionPointToStart(module.getBody());
  if (last)
    b.setInsertionPointAfter(last);
  // Named last, so that equal kernels print alike; so do their places in a file, whatever the
  // tool prints.
  auto kernel = b.create<exec::KernelOp>(loc, "kernel");
  Operation *inserted = kernel;
  Block *block = new Block;
  kernel.getBody().push_back(block);
  for (Type type : arguments)
    block->addArgument(type, loc);
  OpBuilder inner = OpBuilder::atBlockBegin(block);
  inner.create<exec::YieldOp>(loc, build(inner, block->getArguments()));
  std::string text;
  llvm::raw_string_ostream os(text);
  kernel.print(os, OpPrintingFlags().useLocalScope().enableDebugInfo(false));
  auto [it, isNew] = names.try_emplace(text, "kernel" + std::to_string(names.size()));
  if (isNew) {
    kernel.setSymName(it->second);
    last = inserted;
  } else {
    kernel.erase();
  }
  return FlatSymbolRefAttr::get(module.getContext(), it->second);
}

Lowering::Lowering(func::FuncOp func, const Folds &folds, const Placement &placement,
                   KernelTable &kernels)
    : func(func), folds(folds), placement(placement), kernels(kernels), counted(func),
      builder(func.getContext()), loc(func.getLoc()) {}

//===----------------------------------------------------------------------===//
// Places
//===----------------------------------------------------------------------===//

Value Lowering::temporary(ArrayRef<int64_t> shape, Type element) {
  OpBuilder::InsertionGuard guard(builder);
  return builder.create<exec::BufferOp>(loc, MemRefType::get(shape, element));
}

/// Of a pair: the place is one of its second task.
static void markSecond(Value place, bool second) {
  if (second)
    place.getDefiningOp()->setAttr(pipe::kSecondAttr, UnitAttr::get(place.getContext()));
}

Value Lowering::gradPlace(FlatSymbolRefAttr parameter, bool second, RankedTensorType type) {
  Value &grad = grads[{parameter.getAsOpaquePointer(), second}];
  if (!grad) {
    grad = builder.create<exec::GradOp>(
        loc, MemRefType::get(type.getShape(), type.getElementType()), parameter);
    markSecond(grad, second);
  }
  return grad;
}

Value Lowering::rootPlace(int index) {
  index = placement.memory(index);
  Value &known = rootPlaces[index];
  if (known)
    return known;
  const Root &root = placement.root(index);
  auto type = MemRefType::get(root.shape, root.element);
  switch (root.kind) {
  case Root::Arena:
    return known = builder.create<exec::BufferOp>(loc, type);
  case Root::Param:
    known = builder.create<exec::ParamOp>(loc, type, root.parameter);
    markSecond(known, root.second);
    return known;
  case Root::Shadow:
    known = builder.create<exec::ShadowOp>(loc, type, root.parameter);
    markSecond(known, root.second);
    return known;
  case Root::Input:
    return known = body->getArgument(inputOf[cast<BlockArgument>(root.value).getArgNumber()]);
  case Root::Kept:
    return known = keptPlace(type, root.port);
  case Root::Constant: {
    auto value = cast<ElementsAttr>(root.value.getDefiningOp<arith::ConstantOp>().getValue());
    if (auto splat = splatValue(root.value))
      value = DenseElementsAttr::get(RankedTensorType::get(root.shape, root.element), splat);
    return known = builder.create<exec::ConstantOp>(loc, type, value);
  }
  case Root::Grad:
    break;
  }
  llvm_unreachable("gradients have places by parameter");
}

/// Room for a copy of a value that a stage keeps.
Value Lowering::keptPlace(Value value, pipe::Port port) {
  MemRefType type;
  if (isa<RankedTensorType>(value.getType()))
    type = MemRefType::get(shapeOf(value), elementOf(value));
  else
    type = cast<MemRefType>(place(value).getType());
  return keptPlace(type, port);
}

Value Lowering::keptPlace(MemRefType type, pipe::Port port) {
  auto kept = builder.create<exec::KeptOp>(loc, type, port.role, port.number);
  markSecond(kept, port.second);
  return kept;
}

/// Whether a result goes to another stage.
static bool isSent(pipe::Port port) {
  return port.role == pipe::kOutputAttr || port.role == pipe::kInputCotangentAttr;
}

void Lowering::copyKept(std::optional<bool> only) {
  for (auto [value, port] : placement.keptCopies())
    if ((!only || (port.second == *only && isSent(port))) && copied.insert(port).second)
      copy(place(value), keptPlace(value, port));
}

void Lowering::lowerPublish(pipe::PublishOp op) {
  copyKept(op->hasAttr(pipe::kSecondAttr));
  SmallVector<Value> places;
  Operation *end = op->getBlock()->getTerminator();
  for (unsigned i : op.getPublished())
    places.push_back(keptPlace(end->getOperand(i), pipe::resultPort(func, i)));
  auto publish = builder.create<exec::PublishOp>(loc, places);
  if (op->hasAttr(pipe::kSecondAttr))
    publish->setAttr(pipe::kSecondAttr, builder.getUnitAttr());
}

Value Lowering::view(Value root, const Layout &layout) {
  auto source = cast<MemRefType>(root.getType());
  auto type = exec::placeType(layout.shape, layout.strides, source.getElementType());
  if (type == source && layout.offset == 0)
    return root;
  Value &known = views[{root.getAsOpaquePointer(), layout.offset,
                        std::vector<int64_t>(layout.shape.begin(), layout.shape.end()),
                        std::vector<int64_t>(layout.strides.begin(), layout.strides.end())}];
  if (!known)
    known = builder.create<exec::ViewOp>(loc, type, root, layout.offset);
  return known;
}

Value Lowering::place(Value tensor, const Layout &layout) {
  const Place &p = placement.of(tensor);
  const Root &root = placement.root(p.root);
  if (root.kind == Root::Grad) {
    auto parameter = SymbolTable::lookupNearestSymbolFrom<pipe::ParameterOp>(func, root.parameter);
    return view(gradPlace(root.parameter, root.second, parameter.getGradientType()), layout);
  }
  return view(rootPlace(p.root), layout);
}

Value Lowering::place(Value tensor) { return place(tensor, layout(tensor)); }

Value Lowering::routing(Value tensor) {
  Value &known = routings[tensor];
  if (!known)
    known = builder.create<exec::RoutingOp>(loc, tensor.getType(),
                                            rootPlace(placement.of(tensor).root));
  return known;
}

void Lowering::copy(Value from, Value to, exec::Mode mode) {
  builder.create<exec::CopyOp>(loc, from, to, mode);
}

Value Lowering::dense(Value tensor) {
  if (!tensor)
    return {};
  if (layout(tensor).isDense())
    return place(tensor);
  Value &known = denseCopies[tensor];
  if (!known) {
    known = temporary(shapeOf(tensor), elementOf(tensor));
    copy(place(tensor), known);
  }
  return known;
}

Value Lowering::contiguousRows(Value tensor) {
  return layout(tensor).lastIsContiguous() ? place(tensor) : dense(tensor);
}

Value Lowering::denseOut(Value tensor) {
  if (layout(tensor).isDense())
    return place(tensor);
  Value temp = temporary(shapeOf(tensor), elementOf(tensor));
  pending.push_back({temp, tensor});
  return temp;
}

Value Lowering::contiguousRowsOut(Value tensor) {
  return layout(tensor).lastIsContiguous() ? place(tensor) : denseOut(tensor);
}

Value Lowering::optionalOut(Value tensor) {
  return tensor.use_empty() ? Value() : denseOut(tensor);
}

//===----------------------------------------------------------------------===//
// The walk
//===----------------------------------------------------------------------===//

LogicalResult Lowering::run() {
  // 1. A new body with the inputs' places as arguments.
  Block *old = &func.getBody().front();
  SmallVector<Type> inputs;
  SmallVector<DictionaryAttr> attributes;
  for (BlockArgument argument : old->getArguments()) {
    inputOf.push_back(inputs.size());
    // What stages pass on is no argument in memory.
    if (!pipe::argumentPort(func, argument.getArgNumber()).role.empty())
      continue;
    auto tensor = cast<RankedTensorType>(argument.getType());
    inputs.push_back(MemRefType::get(tensor.getShape(), tensor.getElementType()));
    attributes.push_back(func.getArgAttrDict(argument.getArgNumber()));
  }
  body = new Block;
  func.getBody().push_back(body);
  body->addArguments(inputs, SmallVector<Location>(inputs.size(), func.getLoc()));
  builder.setInsertionPointToEnd(body);
  // 2. Statement by statement.
  for (Operation &op : *old) {
    loc = op.getLoc();
    // Folded away, or done elsewhere.
    bool inGradient = folds.gradientSums.contains(&op) &&
                      placement.root(placement.of(op.getResult(0)).root).kind == Root::Grad;
    if (folds.anchor(&op) != &op || inGradient)
      continue;
    if (failed(lower(&op)))
      return failure();
    for (auto [from, tensor] : pending)
      copy(from, place(tensor), mode(tensor));
    pending.clear();
  }
  builder.create<func::ReturnOp>(func.getLoc());
  // 3. The old body goes, from the last op to the first.
  while (!old->empty()) {
    old->back().dropAllUses();
    old->back().erase();
  }
  old->erase();
  func.setType(FunctionType::get(func.getContext(), inputs, {}));
  func.setAllArgAttrs(attributes);
  func.removeResAttrsAttr();
  return success();
}

LogicalResult Lowering::lower(Operation *op) {
  if (isViewOp(op))
    return lowerView(op);
  if (auto generic = dyn_cast<linalg::GenericOp>(op))
    return lowerGeneric(generic);
  if (auto it = folds.bias.find(op); it != folds.bias.end())
    return lowerMatmul(it->second.matmul, it->second.bias, op->getResult(0), exec::Mode::overwrite);
  if (auto it = folds.productSum.find(op); it != folds.productSum.end())
    return lowerProductSum(op, it->second);
  if (folds.expertBias.count(op))
    return lowerExperts(op);
  if (isElementwise(op))
    return lowerElementwise(op);
  if (auto matmul = dyn_cast<nn::MatmulOp>(op))
    return lowerMatmul(matmul, {}, op->getResult(0), mode(op->getResult(0)));
  if (auto iota = dyn_cast<nn::IotaOp>(op))
    return lowerIota(iota);
  if (auto accumulate = dyn_cast<pipe::AccumulateOp>(op))
    return lowerAccumulate(accumulate);
  // These have a place wherever they are used.
  if (isa<pipe::ReadOp, arith::ConstantOp, tensor::EmptyOp>(op) || isShadow(op))
    return success();
  if (auto ret = dyn_cast<func::ReturnOp>(op)) {
    for (auto [i, value] : llvm::enumerate(ret.getOperands()))
      if (pipe::Port port = pipe::resultPort(func, i);
          port.role == pipe::kLossAttr || (i == 0 && port.role.empty())) {
        auto loss = builder.create<exec::LossOp>(loc, dense(value));
        if (port.second)
          loss->setAttr(pipe::kSecondAttr, builder.getUnitAttr());
      }
    copyKept();
    return success();
  }
  if (isa<nn::ConcatOp, nn::PadOp, nn::GatherOp, nn::ScatterOp, nn::GatherElementsOp,
          nn::ScatterElementsOp, nn::ReduceOp, nn::TopKOp, nn::CumsumOp>(op))
    return lowerMovement(op);
  if (isa<nn::LayerNormOp, nn::LayerNormGradOp, nn::RMSNormOp, nn::RMSNormGradOp, nn::SoftmaxOp,
          nn::SoftmaxGradOp, nn::CrossEntropyOp, nn::CrossEntropyGradOp>(op))
    return lowerRows(op);
  if (isa<nn::RopeOp, nn::AttentionOp, nn::AttentionGradOp>(op))
    return lowerAttention(op);
  if (isa<nn::ChoiceCountsOp, nn::CapacityOp, nn::RouterOp, nn::RouterGradOp, nn::RouteOp, nn::DispatchOp, nn::CombineOp,
          nn::CombineGradOp, nn::GroupedMatmulOp, nn::GroupedMatmulGradWeightOp, nn::PerExpertOp,
          nn::PerExpertSumOp>(op))
    return lowerExperts(op);
  if (isa<dist::AsyncOp, dist::WaitOp, pipe::StartReduceOp, pipe::PublishOp>(op))
    return lowerAsync(op);
  if (isa_and_nonnull<dist::DistDialect>(op->getDialect()))
    return lowerCollective(op);
  return op->emitError("has no statement in a CPU program");
}

LogicalResult Lowering::lowerView(Operation *op) {
  if (placement.direction(op) != Placement::Copy)
    return success();
  Value operand = op->getOperand(0), result = op->getResult(0);
  const Layout &from = layout(operand), &to = layout(result);
  if (auto window = applyView(op, from)) {
    Statement<exec::CopyOp>{builder, loc, place(operand, *window), place(result), mode(result)};
  } else if (auto window = invertView(op, to)) {
    Statement<exec::CopyOp>{builder, loc, place(operand), place(result, *window), mode(result)};
  } else {
    // A reshape between two layouts that it divides: by a dense copy.
    Value temp = temporary(shapeOf(operand), elementOf(operand));
    copy(place(operand), temp);
    Statement<exec::CopyOp>{builder, loc, view(temp, Layout::dense(shapeOf(result))), place(result),
                            mode(result)};
  }
  return success();
}

LogicalResult Lowering::lowerAccumulate(pipe::AccumulateOp op) {
  for (const Placement::Rest &rest : placement.rest(op)) {
    auto type = cast<RankedTensorType>(op.getGradient().getType());
    Statement<exec::CopyOp>{builder, loc, place(rest.value),
                            view(gradPlace(op.getParameterAttr(), op->hasAttr(pipe::kSecondAttr), type), rest.layout), rest.mode};
  }
  return success();
}
