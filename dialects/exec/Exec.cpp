//===- Exec.cpp - The exec dialect: places, kernels and launches ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/exec/Exec.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::exec;

#include "dialects/exec/ExecOpsDialect.cpp.inc"
#include "dialects/exec/ExecOpsEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/exec/ExecOpsAttributes.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/exec/ExecOps.cpp.inc"

void ExecDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/exec/ExecOpsAttributes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/exec/ExecOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Parts of rows
//===----------------------------------------------------------------------===//

Part moire::exec::partOf(Operation *op) {
  auto part = op->getAttrOfType<DenseI64ArrayAttr>(kPartAttr);
  return part ? Part{part[0], part[1], part[2]} : Part{};
}

LogicalResult ExecDialect::verifyOperationAttribute(Operation *op, NamedAttribute attribute) {
  if (attribute.getName() == kTrainingAttr &&
      (!isa<UnitAttr>(attribute.getValue()) || isPure(op) || isa<LossOp>(op)))
    return op->emitError("'") << kTrainingAttr
                              << "' is a unit, of a statement that is not the loss";
  if (attribute.getName() == kGroupsAttr) {
    auto groups = dyn_cast<ArrayAttr>(attribute.getValue());
    if (!groups || groups.empty() || isPure(op) || isa<LossOp>(op) ||
        !llvm::all_of(groups, [](Attribute name) { return isa<StringAttr>(name); }))
      return op->emitError("'") << kGroupsAttr
                                << "' must be names of groups, of a statement that is not the loss";
  }
  if (attribute.getName() == kInPartsAttr) {
    auto parts = dyn_cast<IntegerAttr>(attribute.getValue());
    if (!isa<AllToAllRowsOp>(op) || !parts || parts.getInt() < 2)
      return op->emitError("'") << kInPartsAttr
                                << "' must be 2 or more, of an exec.all_to_all_rows";
  }
  if (attribute.getName() != kPartAttr)
    return success();
  auto part = dyn_cast<DenseI64ArrayAttr>(attribute.getValue());
  if (!part || part.size() != 3 || part[0] < 0 || part[0] >= part[1] || part[2] < 0)
    return op->emitError("'") << kPartAttr
                              << "' must be a part, how many there are and of which exchange";
  Value routing;
  if (auto product = dyn_cast<GroupedGemmOp>(op))
    routing = product.getRouting();
  else if (auto values = dyn_cast<PerExpertOp>(op))
    routing = values.getRouting();
  else if (auto launch = dyn_cast<LaunchOp>(op))
    routing = launch.getRows();
  else if (isa<AllToAllRowsOp>(op))
    return success();
  if (!routing)
    return op->emitError("has no rows of experts, of which '") << kPartAttr << "' could be a part";
  const int64_t experts = cast<nn::RoutingType>(routing.getType()).getExperts();
  if (experts % part[1] != 0)
    return op->emitError() << experts << " experts have no " << part[1] << " equal parts";
  return success();
}

//===----------------------------------------------------------------------===//
// Places
//===----------------------------------------------------------------------===//

/// Strides of a static layout without offset. Upstream's getStridesAndOffset
/// and strided<> know no stride of 0: that is an affine map without the dim.
static bool staticStrides(MemRefType type, SmallVectorImpl<int64_t> &strides) {
  if (!type.hasStaticShape())
    return false;
  if (auto map = dyn_cast<AffineMapAttr>(type.getLayout()); map && !map.isIdentity()) {
    if (map.getAffineMap().getNumResults() != 1)
      return false;
    MLIRContext *context = type.getContext();
    for (int64_t d = 0; d < type.getRank(); ++d) {
      SmallVector<AffineExpr> unit(type.getRank(), getAffineConstantExpr(0, context));
      unit[d] = getAffineConstantExpr(1, context);
      auto step = dyn_cast<AffineConstantExpr>(map.getAffineMap().getResult(0).replaceDims(unit));
      if (!step)
        return false;
      strides.push_back(step.getValue());
    }
    return map.getAffineMap() == makeStridedLinearLayoutMap(strides, 0, context);
  }
  int64_t offset;
  return succeeded(getStridesAndOffset(type, strides, offset)) && offset == 0 &&
         !llvm::is_contained(strides, ShapedType::kDynamic);
}

bool exec::isPlace(Type type) {
  SmallVector<int64_t> strides;
  auto memref = dyn_cast<MemRefType>(type);
  return memref && staticStrides(memref, strides);
}

bool exec::isDense(Type type) {
  auto memref = dyn_cast<MemRefType>(type);
  return memref && memref.hasStaticShape() && memref.getLayout().isIdentity();
}

bool exec::isF32OrBF16(Type type) {
  Type element = cast<MemRefType>(type).getElementType();
  return element.isF32() || element.isBF16();
}

SmallVector<int64_t> exec::stridesOf(MemRefType type) {
  SmallVector<int64_t> strides;
  bool known = staticStrides(type, strides);
  assert(known && "not a place");
  (void)known;
  return strides;
}

int64_t exec::elementBytes(Type element) {
  return std::max<int64_t>(1, element.getIntOrFloatBitWidth() / 8);
}

MemRefType exec::placeType(ArrayRef<int64_t> shape, ArrayRef<int64_t> strides, Type element) {
  // The stride of a dim of size 1 is never used: dense types stay bare.
  int64_t dense = 1;
  bool isDense = true;
  for (int i = shape.size() - 1; i >= 0; --i) {
    if (shape[i] != 1 && strides[i] != dense)
      isDense = false;
    dense *= shape[i];
  }
  if (isDense)
    return MemRefType::get(shape, element);
  SmallVector<int64_t> used(strides);
  for (auto [stride, size] : llvm::zip(used, shape))
    if (size == 1)
      stride = 1;
  if (llvm::is_contained(used, 0))
    return MemRefType::get(shape, element,
                           makeStridedLinearLayoutMap(used, 0, element.getContext()));
  return MemRefType::get(shape, element, StridedLayoutAttr::get(element.getContext(), 0, used));
}

Value exec::rootOf(Value place) {
  while (Operation *def = place.getDefiningOp()) {
    if (auto view = dyn_cast<ViewOp>(def))
      place = view.getSource();
    else if (auto routing = dyn_cast<RoutingOp>(def))
      place = routing.getSource();
    else
      break;
  }
  return place;
}

int64_t BufferOp::getBytes() {
  auto type = cast<MemRefType>(getType());
  return type.getNumElements() * elementBytes(type.getElementType());
}

LogicalResult BufferOp::verify() {
  if (auto offset = getOffset(); offset && *offset % 64)
    return emitOpError("offset ") << *offset << " must be a multiple of 64";
  return success();
}

static LogicalResult verifyParameter(Operation *op, FlatSymbolRefAttr name, MemRefType type,
                                     SymbolTableCollection &tables, bool gradient) {
  auto parameter = tables.lookupNearestSymbolFrom<pipe::ParameterOp>(op, name);
  if (!parameter)
    return op->emitOpError("names ") << name << ", which is not a pipe.parameter";
  auto expected = gradient ? parameter.getGradientType() : parameter.getHeldType();
  if (expected.getShape() != type.getShape())
    return op->emitOpError("type ")
           << type << " must have the shape of the parameter's " << expected;
  if (gradient && parameter.getFrozen())
    return op->emitOpError("parameter ") << name << " is frozen and has no gradient";
  return success();
}

LogicalResult ParamOp::verifySymbolUses(SymbolTableCollection &tables) {
  return verifyParameter(*this, getParameterAttr(), getType(), tables, false);
}
LogicalResult GradOp::verifySymbolUses(SymbolTableCollection &tables) {
  return verifyParameter(*this, getParameterAttr(), getType(), tables, true);
}

LogicalResult ShadowOp::verifySymbolUses(SymbolTableCollection &tables) {
  return verifyParameter(*this, getParameterAttr(), getType(), tables, false);
}

LogicalResult ConstantOp::verify() {
  auto value = cast<ShapedType>(getValue().getType());
  if (value.getShape() != getType().getShape() ||
      value.getElementType() != getType().getElementType())
    return emitOpError("value of type ") << value << " does not fit " << getType();
  return success();
}

LogicalResult ViewOp::verify() {
  auto source = getSource().getType(), result = getType();
  if (source.getElementType() != result.getElementType())
    return emitOpError("element type ")
           << result.getElementType() << " must be the source's " << source.getElementType();
  // First and last element that a place can reach, relative to its first one.
  auto extent = [](MemRefType type) {
    std::pair<int64_t, int64_t> range{0, 0};
    for (auto [size, stride] : llvm::zip(type.getShape(), stridesOf(type)))
      (stride < 0 ? range.first : range.second) += (size - 1) * stride;
    return range;
  };
  if (result.getNumElements() == 0)
    return success();
  auto [sourceLow, sourceHigh] = extent(source);
  auto [low, high] = extent(result);
  int64_t offset = getOffset();
  if (offset + low < sourceLow || offset + high > sourceHigh)
    return emitOpError("reaches elements ")
           << offset + low << ".." << offset + high << " but the source holds " << sourceLow << ".."
           << sourceHigh;
  return success();
}

int64_t RoutingOp::elements(nn::RoutingType type) {
  // moire::rt::Routing::bytes / 4.
  int64_t rows = (type.getRows() + 15) / 16 * 16;
  return (type.getExperts() + 16) / 16 * 16 + 2 * rows;
}

LogicalResult RoutingOp::verify() {
  auto source = cast<MemRefType>(getSource().getType());
  if (!source.getElementType().isInteger(32) || source.getRank() != 1 ||
      source.getNumElements() != elements(getType()))
    return emitOpError("source ") << source << " must be memref<" << elements(getType())
                                  << "xi32> for " << getType();
  return success();
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

ParseResult KernelOp::parse(OpAsmParser &parser, OperationState &result) {
  StringAttr name;
  SmallVector<OpAsmParser::Argument> arguments;
  if (parser.parseSymbolName(name, getSymNameAttrName(result.name), result.attributes) ||
      parser.parseArgumentList(arguments, OpAsmParser::Delimiter::Paren, /*allowType=*/true) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  return parser.parseRegion(*result.addRegion(), arguments);
}

void KernelOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  printer << '(';
  llvm::interleaveComma(getBody().getArguments(), printer,
                        [&](BlockArgument arg) { printer.printRegionArgument(arg); });
  printer << ')';
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(), {getSymNameAttrName()});
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

LogicalResult KernelOp::verifyRegions() {
  Block &body = getBody().front();
  if (body.empty() || !isa<YieldOp>(body.back()))
    return emitOpError("must end in exec.yield");
  for (BlockArgument arg : body.getArguments())
    if (!arg.getType().isIntOrIndexOrFloat())
      return emitOpError("argument of type ") << arg.getType() << " must be a scalar";
  for (Operation &op : body.without_terminator())
    if (!isa<arith::ArithDialect, math::MathDialect>(op.getDialect()))
      return op.emitOpError("does not belong in a kernel: ops of arith and math do");
  return success();
}

LogicalResult LaunchOp::verify() {
  if (getOutputs().empty())
    return emitOpError("needs at least one output");
  auto shape = cast<MemRefType>(getOutputs().front().getType()).getShape();
  if (shape.size() > 6)
    return emitOpError("iteration space has rank ")
           << shape.size() << " but at most 6 are possible";
  for (ValueRange places : {ValueRange(getInputs()), ValueRange(getOutputs())})
    for (Value place : places)
      if (cast<MemRefType>(place.getType()).getShape() != shape)
        return emitOpError("operand ")
               << place.getType() << " must have the iteration space's shape";
  if (getRows()) {
    int64_t rows = cast<nn::RoutingType>(getRows().getType()).getRows();
    if (shape.empty() || shape[0] % rows != 0)
      return emitOpError("first size of the iteration space ")
             << getOutputs().front().getType() << " must be a multiple of the routing's " << rows
             << " rows";
  }
  for (int64_t dim : getIndex())
    if (dim < 0 || dim >= (int64_t)shape.size())
      return emitOpError("coordinate ") << dim << " must lie in 0.." << (int64_t)shape.size() - 1;
  return success();
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto kernel = tables.lookupNearestSymbolFrom<KernelOp>(*this, getKernelAttr());
  if (!kernel)
    return emitOpError("names ") << getKernelAttr() << ", which is not an exec.kernel";
  SmallVector<Type> expected(kernel.getBody().getArgumentTypes());
  llvm::append_range(expected, kernel.getBody().front().getTerminator()->getOperandTypes());
  SmallVector<Type> given;
  for (Value input : getInputs())
    given.push_back(cast<MemRefType>(input.getType()).getElementType());
  given.append(getIndex().size(), IntegerType::get(getContext(), 64));
  for (Value output : getOutputs())
    given.push_back(cast<MemRefType>(output.getType()).getElementType());
  if (expected.size() != given.size())
    return emitOpError("has ") << given.size() << " operands but kernel " << getKernelAttr()
                               << " takes " << expected.size();
  for (auto [i, e, g] : llvm::enumerate(expected, given))
    if (e != g)
      return emitOpError("operand ")
             << i << " has element type " << g << " but the kernel takes " << e;
  return success();
}
