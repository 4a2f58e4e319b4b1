//===- Pipe.cpp - Registration and verifiers of the pipe dialect ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/pipe/Pipe.h"
#include "dialects/pipe/PipeSchedule.h"
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
  addBalanceOps();
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
  dist::ShardingAttr sharding = getShardingAttr();
  if (!sharding)
    return success();
  if (!sharding.getUnreduced().empty())
    return emitOpError("cannot be unreduced");
  return sharding.getLocalType(type, dist::meshOf(*this), [&] { return emitOpError(); });
}

RankedTensorType ParameterOp::getLocalType() {
  auto type = cast<RankedTensorType>(getType());
  dist::ShardingAttr sharding = getShardingAttr();
  return sharding ? *sharding.getLocalType(type, dist::meshOf(*this), [&] { return emitOpError(); })
                  : type;
}

/// The parameter that a symbol use names, or an error.
static FailureOr<ParameterOp> lookUp(Operation *op, FlatSymbolRefAttr name,
                                     SymbolTableCollection &tables) {
  auto parameter = tables.lookupNearestSymbolFrom<ParameterOp>(op, name);
  if (!parameter)
    return op->emitOpError("names ") << name << ", which is not a pipe.parameter", failure();
  return parameter;
}

static LogicalResult checkType(Operation *op, ParameterOp parameter, Type type) {
  if (parameter.getLocalType() != type)
    return op->emitOpError("type ")
           << type << " must be the parameter's " << parameter.getLocalType();
  return success();
}

static LogicalResult checkTrained(Operation *op, ParameterOp parameter) {
  if (parameter.getFrozen())
    return op->emitOpError("parameter @") << parameter.getSymName() << " is frozen";
  return success();
}

LogicalResult ReadOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto parameter = lookUp(*this, getParameterAttr(), tables);
  return failed(parameter) ? failure() : checkType(*this, *parameter, getType());
}

LogicalResult AccumulateOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto parameter = lookUp(*this, getParameterAttr(), tables);
  if (failed(parameter) || failed(checkTrained(*this, *parameter)))
    return failure();
  return checkType(*this, *parameter, getGradient().getType());
}

LogicalResult UpdateOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto parameter = lookUp(*this, getParameterAttr(), tables);
  return failed(parameter) ? failure() : checkTrained(*this, *parameter);
}

LogicalResult ReduceGradsOp::verifySymbolUses(SymbolTableCollection &tables) {
  dist::MeshAttr mesh = dist::meshOf(*this);
  for (auto [i, axis] : llvm::enumerate(getAxes())) {
    if (!mesh || !llvm::is_contained(mesh.getAxes(), axis))
      return emitOpError("names axis ") << axis << ", which is not in the mesh " << mesh;
    if (llvm::is_contained(getAxes().getValue().take_front(i), axis))
      return emitOpError("names axis ") << axis << " twice";
  }
  for (auto name : getParameters().getAsRange<FlatSymbolRefAttr>()) {
    auto parameter = lookUp(*this, name, tables);
    if (failed(parameter) || failed(checkTrained(*this, *parameter)))
      return failure();
    dist::ShardingAttr sharding = parameter->getShardingAttr();
    for (auto axis : getAxes().getAsRange<StringAttr>())
      if (sharding && sharding.isSplitBy(axis))
        return emitOpError("sums ") << name << " over axis " << axis << ", which splits it";
  }
  return success();
}
