//===- Dist.cpp - Registration and verifiers of the dist dialect ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/dist/Dist.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"
#include <numeric>

using namespace mlir;
using namespace moire::dist;
namespace nn = moire::nn;

#include "dialects/dist/DistOpsDialect.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/dist/DistOpsAttributes.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/dist/DistOpsTypes.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/dist/DistOps.cpp.inc"

void DistDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/dist/DistOpsAttributes.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/dist/DistOpsTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/dist/DistOps.cpp.inc"
      >();
}

MeshAttr moire::dist::meshOf(Operation *op) {
  for (; op; op = op->getParentOp())
    if (auto mesh = op->getAttrOfType<MeshAttr>(kMeshAttr))
      return mesh;
  return {};
}

ArrayAttr moire::dist::axesOf(Operation *op) {
  if (isa<SplitOp, AxisIndexOp>(op))
    return {};
  if (auto rows = dyn_cast<AllToAllRowsOp>(op))
    return rows.getExchange().getType().getAxes();
  return op->getAttrOfType<ArrayAttr>("axes");
}

bool moire::dist::isCollective(Operation *op) {
  ArrayAttr axes = axesOf(op);
  return axes && !axes.empty();
}

LogicalResult DistDialect::verifyOperationAttribute(Operation *op, NamedAttribute attribute) {
  if (attribute.getName() != kMeshAttr)
    return op->emitError("unknown attribute '")
           << attribute.getName().getValue() << "' of the dist dialect";
  if (!isa<ModuleOp>(op) || !isa<MeshAttr>(attribute.getValue()))
    return op->emitError("'") << kMeshAttr << "' must be a #dist.mesh of a module";
  return success();
}

//===----------------------------------------------------------------------===//
// #dist.mesh
//===----------------------------------------------------------------------===//

static const StringLiteral kAxes[] = {"pp", "dp", "ep", "tp"};

Attribute MeshAttr::parse(AsmParser &parser, Type) {
  SmallVector<StringAttr> axes;
  SmallVector<int64_t> sizes;
  auto parseAxis = [&]() -> ParseResult {
    StringRef name;
    if (parser.parseKeyword(&name) || parser.parseEqual() ||
        parser.parseInteger(sizes.emplace_back()))
      return failure();
    axes.push_back(StringAttr::get(parser.getContext(), name));
    return success();
  };
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::LessGreater, parseAxis))
    return {};
  return parser.getChecked<MeshAttr>(loc, parser.getContext(), axes, sizes);
}

void MeshAttr::print(AsmPrinter &printer) const {
  printer << '<';
  llvm::interleaveComma(llvm::zip_equal(getAxes(), getSizes()), printer, [&](auto axis) {
    printer << std::get<0>(axis).getValue() << " = " << std::get<1>(axis);
  });
  printer << '>';
}

LogicalResult MeshAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                               ArrayRef<StringAttr> axes, ArrayRef<int64_t> sizes) {
  const StringLiteral *next = std::begin(kAxes);
  for (auto [axis, size] : llvm::zip_equal(axes, sizes)) {
    next = std::find(next, std::end(kAxes), axis.getValue());
    if (next == std::end(kAxes))
      return emitError() << "axis '" << axis.getValue()
                         << "' is not the next of a mesh: pp, dp, ep, tp, in this order";
    ++next;
    if (size < 1)
      return emitError() << "axis '" << axis.getValue() << "' has size " << size
                         << "; it must be 1 or more";
  }
  return success();
}

int64_t MeshAttr::getRanks() const {
  return std::accumulate(getSizes().begin(), getSizes().end(), int64_t(1), std::multiplies<>());
}

int64_t MeshAttr::getSize(StringRef axis) const {
  for (auto [name, size] : llvm::zip_equal(getAxes(), getSizes()))
    if (name.getValue() == axis)
      return size;
  return 1;
}

int64_t MeshAttr::getSize(ArrayAttr axes) const {
  int64_t size = 1;
  for (auto axis : axes.getAsRange<StringAttr>())
    size *= getSize(axis.getValue());
  return size;
}

int64_t MeshAttr::getCoordinate(int64_t rank, StringRef axis) const {
  for (int64_t i = (int64_t)getAxes().size() - 1; i >= 0; --i) {
    if (getAxes()[i].getValue() == axis)
      return rank % getSizes()[i];
    rank /= getSizes()[i];
  }
  return 0;
}

SmallVector<int64_t> MeshAttr::getGroup(int64_t rank, ArrayAttr axes) const {
  SmallVector<int64_t> group;
  for (int64_t other = 0; other < getRanks(); ++other)
    if (llvm::all_of(getAxes(), [&](StringAttr axis) {
          return llvm::is_contained(axes, Attribute(axis)) ||
                 getCoordinate(rank, axis) == getCoordinate(other, axis);
        }))
      group.push_back(other);
  return group;
}

//===----------------------------------------------------------------------===//
// #dist.sharding
//===----------------------------------------------------------------------===//

static ParseResult parseAxes(AsmParser &parser, SmallVectorImpl<StringAttr> &axes) {
  return parser.parseCommaSeparatedList(AsmParser::Delimiter::Square,
                                        [&] { return parser.parseAttribute(axes.emplace_back()); });
}

Attribute ShardingAttr::parse(AsmParser &parser, Type) {
  MLIRContext *context = parser.getContext();
  SmallVector<ArrayAttr> dims;
  SmallVector<DenseI64ArrayAttr> blocks;
  SmallVector<StringAttr> unreduced;
  SMLoc loc = parser.getCurrentLocation();
  auto parseDim = [&]() -> ParseResult {
    SmallVector<StringAttr> axes;
    if (parseAxes(parser, axes))
      return failure();
    dims.push_back(ArrayAttr::get(context, SmallVector<Attribute>(axes.begin(), axes.end())));
    return success();
  };
  auto parseBlocks = [&]() -> ParseResult {
    SmallVector<int64_t> sizes;
    if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square,
                                       [&] { return parser.parseInteger(sizes.emplace_back()); }))
      return failure();
    blocks.push_back(DenseI64ArrayAttr::get(context, sizes));
    return success();
  };
  if (parser.parseLess() || parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseDim))
    return {};
  if (succeeded(parser.parseOptionalKeyword("blocks")) &&
      parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseBlocks))
    return {};
  if (succeeded(parser.parseOptionalKeyword("unreduced")) && parseAxes(parser, unreduced))
    return {};
  if (parser.parseGreater())
    return {};
  return parser.getChecked<ShardingAttr>(loc, context, dims, blocks, unreduced);
}

void ShardingAttr::print(AsmPrinter &printer) const {
  auto printList = [&](auto list, auto each) {
    printer << '[';
    llvm::interleaveComma(list, printer, each);
    printer << ']';
  };
  auto printAttr = [&](Attribute axis) { printer << axis; };
  printer << '<';
  printList(getDims(), [&](ArrayAttr axes) { printList(axes, printAttr); });
  if (!getBlocks().empty()) {
    printer << " blocks ";
    printList(getBlocks(), [&](DenseI64ArrayAttr sizes) {
      printList(sizes.asArrayRef(), [&](int64_t size) { printer << size; });
    });
  }
  if (!getUnreduced().empty()) {
    printer << " unreduced ";
    printList(getUnreduced(), printAttr);
  }
  printer << '>';
}

LogicalResult ShardingAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   ArrayRef<ArrayAttr> dims, ArrayRef<DenseI64ArrayAttr> blocks,
                                   ArrayRef<StringAttr> unreduced) {
  SmallVector<Attribute> seen(unreduced.begin(), unreduced.end());
  for (ArrayAttr axes : dims)
    seen.append(axes.begin(), axes.end());
  for (auto [i, axis] : llvm::enumerate(seen)) {
    auto name = llvm::dyn_cast<StringAttr>(axis);
    if (!name || !llvm::is_contained(kAxes, name.getValue()))
      return emitError() << axis << " is not an axis of a mesh: pp, dp, ep, tp";
    if (llvm::is_contained(ArrayRef(seen).take_front(i), axis))
      return emitError() << "axis " << axis << " appears twice";
  }
  if (!blocks.empty() && blocks.size() != dims.size())
    return emitError() << "blocks are given for " << blocks.size() << " dims of " << dims.size();
  return success();
}

bool ShardingAttr::isReplicated() const {
  return getUnreduced().empty() && llvm::all_of(getDims(), [](ArrayAttr a) { return a.empty(); });
}

bool ShardingAttr::isSplitBy(StringRef axis) const {
  return llvm::any_of(getDims(), [&](ArrayAttr axes) {
    return llvm::is_contained(axes, Attribute(StringAttr::get(getContext(), axis)));
  });
}

SmallVector<int64_t> ShardingAttr::getBlocksOf(unsigned dim, int64_t size) const {
  if (getBlocks().empty() || getBlocks()[dim].empty())
    return {size};
  return SmallVector<int64_t>(getBlocks()[dim].asArrayRef());
}

FailureOr<RankedTensorType>
ShardingAttr::getLocalType(RankedTensorType type, MeshAttr mesh,
                           function_ref<InFlightDiagnostic()> emitError) const {
  if ((int64_t)getDims().size() != type.getRank())
    return emitError() << "the sharding has " << getDims().size() << " dims, the tensor "
                       << type.getRank(),
           failure();
  SmallVector<int64_t> shape(type.getShape());
  for (auto [dim, axes] : llvm::enumerate(getDims())) {
    int64_t parts = mesh ? mesh.getSize(axes) : 1;
    SmallVector<int64_t> blocks = getBlocksOf(dim, shape[dim]);
    if (std::accumulate(blocks.begin(), blocks.end(), int64_t(0)) != shape[dim])
      return emitError() << "the blocks of dim " << dim << " do not add up to its size "
                         << shape[dim],
             failure();
    for (int64_t block : blocks)
      if (block % parts != 0)
        return emitError() << "dim " << dim << " of size " << block << " cannot be cut into "
                           << parts << " equal pieces",
               failure();
    shape[dim] /= parts;
  }
  return RankedTensorType::get(shape, type.getElementType());
}

SmallVector<std::pair<int64_t, int64_t>>
ShardingAttr::getRanges(unsigned dim, int64_t size, MeshAttr mesh, int64_t rank) const {
  int64_t parts = 1, index = 0;
  for (auto axis : getDims()[dim].getAsRange<StringAttr>()) {
    int64_t n = mesh ? mesh.getSize(axis.getValue()) : 1;
    index = index * n + (mesh ? mesh.getCoordinate(rank, axis.getValue()) : 0);
    parts *= n;
  }
  SmallVector<std::pair<int64_t, int64_t>> ranges;
  int64_t begin = 0;
  for (int64_t block : getBlocksOf(dim, size)) {
    int64_t piece = block / parts;
    ranges.push_back({begin + index * piece, begin + (index + 1) * piece});
    begin += block;
  }
  return ranges;
}

ShardingAttr ShardingAttr::replicated(MLIRContext *context, int64_t rank) {
  SmallVector<ArrayAttr> dims(rank, ArrayAttr::get(context, {}));
  return get(context, dims, {}, {});
}

ShardingAttr ShardingAttr::split(MLIRContext *context, int64_t rank, unsigned dim, StringRef axis,
                                 ArrayRef<int64_t> blocks) {
  SmallVector<ArrayAttr> dims(rank, ArrayAttr::get(context, {}));
  dims[dim] = ArrayAttr::get(context, StringAttr::get(context, axis));
  SmallVector<DenseI64ArrayAttr> sizes;
  if (!blocks.empty()) {
    sizes.assign(rank, DenseI64ArrayAttr::get(context, {}));
    sizes[dim] = DenseI64ArrayAttr::get(context, blocks);
  }
  return get(context, dims, sizes, {});
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

/// Ranks of the group that `axes` name, or an error.
static FailureOr<int64_t> groupSize(Operation *op, ArrayAttr axes) {
  MeshAttr mesh = meshOf(op);
  if (!mesh)
    return op->emitOpError("needs a mesh; the module has no '") << kMeshAttr << "'", failure();
  for (auto [i, axis] : llvm::enumerate(axes)) {
    if (!llvm::is_contained(mesh.getAxes(), axis))
      return op->emitOpError("names axis ") << axis << ", which is not in the mesh " << mesh,
             failure();
    if (llvm::is_contained(axes.getValue().take_front(i), axis))
      return op->emitOpError("names axis ") << axis << " twice", failure();
  }
  return mesh.getSize(axes);
}

/// `result` must be `input` with dim multiplied or divided by the group's ranks.
static LogicalResult verifyDim(Operation *op, Type inputType, Type resultType, int64_t dim,
                               ArrayAttr axes, bool multiply) {
  auto ranks = groupSize(op, axes);
  if (failed(ranks))
    return failure();
  auto input = cast<RankedTensorType>(inputType);
  if (dim < 0 || dim >= input.getRank())
    return op->emitOpError("dim ") << dim << " must lie in 0.." << input.getRank() - 1;
  SmallVector<int64_t> shape(input.getShape());
  if (!multiply && shape[dim] % *ranks != 0)
    return op->emitOpError("dim ") << dim << " of size " << shape[dim]
                                   << " is no multiple of the group's " << *ranks << " ranks";
  shape[dim] = multiply ? shape[dim] * *ranks : shape[dim] / *ranks;
  auto expected = RankedTensorType::get(shape, input.getElementType());
  if (expected != resultType)
    return op->emitOpError("result ") << resultType << " must be " << expected;
  return success();
}

LogicalResult AllReduceOp::verify() { return groupSize(*this, getAxes()); }
LogicalResult AxisIndexOp::verify() { return groupSize(*this, getAxes()); }
LogicalResult ReduceScatterOp::verify() {
  return verifyDim(*this, getInput().getType(), getType(), getDim(), getAxes(), false);
}
LogicalResult SplitOp::verify() {
  return verifyDim(*this, getInput().getType(), getType(), getDim(), getAxes(), false);
}
LogicalResult AllGatherOp::verify() {
  return verifyDim(*this, getInput().getType(), getType(), getDim(), getAxes(), true);
}

/// The types of an exchange's results.
static std::pair<nn::RoutingType, ExchangeType> exchangeTypes(nn::RoutingType routing,
                                                              ArrayAttr axes, int64_t ranks) {
  MLIRContext *context = routing.getContext();
  int64_t local = routing.getExperts() / ranks;
  // A token chooses an expert at most once, so at most all of a rank's experts.
  int64_t received = ranks * routing.getTokens() * std::min(routing.getK(), local);
  return {nn::RoutingType::get(context, received, 1, local),
          ExchangeType::get(context, axes, routing.getRows(), received)};
}

void ExchangeOp::build(OpBuilder &builder, OperationState &state, Value routing, ArrayAttr axes,
                       int64_t ranks) {
  auto [local, exchange] = exchangeTypes(cast<nn::RoutingType>(routing.getType()), axes, ranks);
  build(builder, state, local, exchange, routing, axes);
}

LogicalResult ExchangeOp::verify() {
  auto ranks = groupSize(*this, getAxes());
  if (failed(ranks))
    return failure();
  nn::RoutingType routing = getRouting().getType();
  if (routing.getExperts() % *ranks != 0)
    return emitOpError() << routing.getExperts() << " experts cannot be held by " << *ranks
                         << " ranks in equal numbers";
  auto [local, exchange] = exchangeTypes(routing, getAxes(), *ranks);
  // Slots of a stated size are fewer than the rows that can come.
  const int64_t slots = getLocal().getType().getTokens();
  if (slots >= 1 && slots < local.getTokens()) {
    local = nn::RoutingType::get(getContext(), slots, 1, local.getExperts());
    exchange = ExchangeType::get(getContext(), getAxes(), exchange.getSent(), slots);
  }
  if (getLocal().getType() != local)
    return emitOpError("local routing ") << getLocal().getType() << " must be " << local;
  if (getExchange().getType() != exchange)
    return emitOpError("exchange ") << getExchange().getType() << " must be " << exchange;
  return success();
}

static RankedTensorType rowsType(Type rows, ExchangeType exchange, bool back) {
  auto type = cast<RankedTensorType>(rows);
  SmallVector<int64_t> shape(type.getShape());
  shape[0] = back ? exchange.getSent() : exchange.getReceived();
  return RankedTensorType::get(shape, type.getElementType());
}

void AllToAllRowsOp::build(OpBuilder &builder, OperationState &state, Value rows, Value exchange,
                           bool back) {
  auto type = cast<ExchangeType>(exchange.getType());
  build(builder, state, rowsType(rows.getType(), type, back), rows, exchange, back, /*parts=*/1);
}

LogicalResult AllToAllRowsOp::verify() {
  ExchangeType exchange = getExchange().getType();
  auto input = cast<RankedTensorType>(getRows().getType());
  if (input.getRank() != 2)
    return emitOpError("rows ") << input << " must be of rank 2";
  int64_t expected = getBack() ? exchange.getReceived() : exchange.getSent();
  if (input.getDimSize(0) != expected)
    return emitOpError() << input.getDimSize(0) << " rows must be the exchange's " << expected;
  if (getType() != rowsType(input, exchange, getBack()))
    return emitOpError("result ") << getType() << " must be "
                                  << rowsType(input, exchange, getBack());
  if (getParts() < 1)
    return emitOpError("has ") << (int64_t)getParts() << " parts and must have at least one";
  return success();
}
