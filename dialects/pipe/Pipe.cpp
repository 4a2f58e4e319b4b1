//===- Pipe.cpp - Registration and verifiers of the pipe dialect ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/pipe/Pipe.h"
#include "dialects/pipe/Gradients.h"
#include "dialects/pipe/PipeSchedule.h"
#include "dialects/pipe/UpdateGroups.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire::pipe;

#include "dialects/pipe/PipeOpsDialect.cpp.inc"
#include "dialects/pipe/PipeOpsEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/pipe/PipeOpsAttributes.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/pipe/PipeOps.cpp.inc"

void PipeDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/pipe/PipeOpsAttributes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/pipe/PipeOps.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/pipe/ScheduleOps.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/pipe/GradientOps.cpp.inc"
      >();
  addBalanceOps();
}

/// Whether `axes` are of the mesh, each once.
static LogicalResult checkAxes(Operation *op, ArrayAttr axes) {
  moire::dist::MeshAttr mesh = moire::dist::meshOf(op);
  for (auto [i, axis] : llvm::enumerate(axes)) {
    if (!mesh || !llvm::is_contained(mesh.getAxes(), axis))
      return op->emitOpError("names axis ") << axis << ", which is not in the mesh " << mesh;
    if (llvm::is_contained(axes.getValue().take_front(i), axis))
      return op->emitOpError("names axis ") << axis << " twice";
  }
  return success();
}

static LogicalResult verifyZero(ParameterOp op) {
  ArrayAttr axes = op.getZeroAxesAttr();
  if (op.getZero().has_value() != static_cast<bool>(axes))
    return op.emitOpError("must have zero and zero_axes together");
  if (!axes)
    return success();
  if (op.getZeroLevel() < 1 || op.getZeroLevel() > 3)
    return op.emitOpError("zero is ") << op.getZeroLevel() << " but must be 1, 2 or 3";
  if (op.getFrozen())
    return op.emitOpError("is frozen and cannot have zero: it has neither gradient nor state");
  if (axes.empty())
    return op.emitOpError("needs an axis to divide it over");
  if (failed(checkAxes(op, axes)))
    return failure();
  for (auto axis : axes.getAsRange<StringAttr>())
    if (op.getShardingAttr() && op.getShardingAttr().isSplitBy(axis))
      return op.emitOpError("is divided over axis ") << axis << ", which splits it";
  return success();
}

LogicalResult ParameterOp::verify() {
  auto type = cast<RankedTensorType>(getType());
  if (!type.hasStaticShape() || !isa<FloatType>(type.getElementType()))
    return emitOpError("type ") << type << " must be a float tensor of static shape";
  if (getSources().empty())
    return emitOpError("needs at least one source");
  SmallVector<bool> covered(type.getRank() ? type.getDimSize(0) : 0, false);
  bool sliced = false;
  for (auto source : getSources().getAsRange<SourceAttr>()) {
    if (source.getTransform() != Transform::slice &&
        source.getTransform() != Transform::slice_transpose)
      continue;
    sliced = true;
    if (source.getIndex() < 0 || source.getIndex() >= (int64_t)covered.size())
      return emitOpError("slice ")
             << source.getIndex() << " must lie in 0.." << (int64_t)covered.size() - 1;
    covered[source.getIndex()] = true;
  }
  for (auto [i, c] : llvm::enumerate(covered))
    if (sliced && !c)
      return emitOpError("slice ") << i << " of " << covered.size() << " has no source";
  if (dist::ShardingAttr sharding = getShardingAttr()) {
    if (!sharding.getUnreduced().empty())
      return emitOpError("cannot be unreduced");
    if (failed(sharding.getLocalType(type, dist::meshOf(*this), [&] { return emitOpError(); })))
      return failure();
  }
  if (getGroup()) {
    if (getFrozen())
      return emitOpError("is frozen and cannot be in group '")
             << *getGroup() << "': no step trains it";
    if (std::string why = refusalOfGroup(*getGroup()); !why.empty())
      return emitOpError("group ") << why;
  }
  return verifyZero(*this);
}

RankedTensorType ParameterOp::getLocalType() {
  auto type = cast<RankedTensorType>(getType());
  dist::ShardingAttr sharding = getShardingAttr();
  return sharding ? *sharding.getLocalType(type, dist::meshOf(*this), [&] { return emitOpError(); })
                  : type;
}

RankedTensorType ParameterOp::getPieceType() {
  RankedTensorType local = getLocalType();
  int64_t members = dist::meshOf(*this).getSize(getZeroAxesAttr());
  int64_t size = llvm::alignTo(llvm::divideCeil(local.getNumElements(), members), 16);
  return RankedTensorType::get({size}, local.getElementType());
}

std::pair<int64_t, int64_t> ParameterOp::getPiece(int64_t index) {
  int64_t size = getPieceType().getNumElements(), all = getLocalType().getNumElements();
  return {std::min(all, index * size), std::min(all, (index + 1) * size)};
}

/// The parameter that a symbol use names, or an error.
static FailureOr<ParameterOp> lookUp(Operation *op, FlatSymbolRefAttr name,
                                     SymbolTableCollection &tables) {
  auto parameter = tables.lookupNearestSymbolFrom<ParameterOp>(op, name);
  if (!parameter)
    return op->emitOpError("names ") << name << ", which is not a pipe.parameter", failure();
  return parameter;
}

static LogicalResult checkType(Operation *op, Type type, Type wanted) {
  if (type != wanted)
    return op->emitOpError("type ") << type << " must be the parameter's " << wanted;
  return success();
}

static LogicalResult checkTrained(Operation *op, ParameterOp parameter) {
  if (parameter.getFrozen())
    return op->emitOpError("parameter @") << parameter.getSymName() << " is frozen";
  return success();
}

LogicalResult ReadOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto parameter = lookUp(*this, getParameterAttr(), tables);
  return failed(parameter) ? failure() : checkType(*this, getType(), parameter->getHeldType());
}

LogicalResult AccumulateOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto parameter = lookUp(*this, getParameterAttr(), tables);
  if (failed(parameter) || failed(checkTrained(*this, *parameter)))
    return failure();
  return checkType(*this, getGradient().getType(), parameter->getGradientType());
}

LogicalResult UpdateOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto parameter = lookUp(*this, getParameterAttr(), tables);
  return failed(parameter) ? failure() : checkTrained(*this, *parameter);
}

LogicalResult ReduceGradsOp::verifySymbolUses(SymbolTableCollection &tables) {
  if (failed(checkAxes(*this, getAxes())))
    return failure();
  for (auto name : getParameters().getAsRange<FlatSymbolRefAttr>()) {
    auto parameter = lookUp(*this, name, tables);
    if (failed(parameter) || failed(checkTrained(*this, *parameter)))
      return failure();
    dist::ShardingAttr sharding = parameter->getShardingAttr();
    for (auto axis : getAxes().getAsRange<StringAttr>())
      if (sharding && sharding.isSplitBy(axis))
        return emitOpError("sums ") << name << " over axis " << axis << ", which splits it";
    if (getScatter() &&
        (parameter->getZeroLevel() != 1 || parameter->getZeroAxesAttr() != getAxes()))
      return emitOpError("scatters ") << name << ", which must have zero 1 over the same axes";
    if (!getScatter() && parameter->getZeroLevel() > 0)
      return emitOpError("sums all of ") << name << ", of which each rank keeps a piece (zero "
                                         << parameter->getZeroLevel() << ")";
  }
  return success();
}

LogicalResult GatherOp::verifySymbolUses(SymbolTableCollection &tables) {
  for (auto name : getParameters().getAsRange<FlatSymbolRefAttr>()) {
    auto parameter = lookUp(*this, name, tables);
    if (failed(parameter))
      return failure();
    if (parameter->getZeroLevel() < 1 || parameter->getZeroLevel() > 2 ||
        parameter->getZeroAxesAttr() != getAxes())
      return emitOpError("gathers ") << name << ", which must have zero 1 or 2 over the same axes";
  }
  return success();
}
