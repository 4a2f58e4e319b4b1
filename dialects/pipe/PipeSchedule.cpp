//===- PipeSchedule.cpp - Stages and schedules as text -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A schedule may have hundreds of thousands of actions, so they keep plain numbers as properties
// and are parsed and printed without attributes.
//
//===----------------------------------------------------------------------===//
#include "dialects/pipe/PipeSchedule.h"
#include "Numbers.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace moire::pipe;
using moire::scheduling::Message;
using moire::scheduling::Problem;
using moire::scheduling::StageCost;
using moire::scheduling::Task;
using moire::scheduling::TaskKind;

#define GET_OP_CLASSES
#include "dialects/pipe/ScheduleOps.cpp.inc"

/// Discardable attributes, which are no part of this form but must not be lost.
static ArrayRef<NamedAttribute> extraAttributes(Operation *op) {
  return op->getDiscardableAttrDictionary().getValue();
}

/// A region of one block; `{}` alone would be none.
static ParseResult parseBlock(OpAsmParser &parser, Region &region) {
  if (parser.parseRegion(region))
    return failure();
  if (region.empty())
    region.emplaceBlock();
  return success();
}

static void printBlock(OpAsmPrinter &printer, Region &region) {
  printer.printRegion(region, /*printEntryBlockArgs=*/false);
}

//===----------------------------------------------------------------------===//
// Actions
//===----------------------------------------------------------------------===//

template <class Properties>
static ParseResult parseTarget(OpAsmParser &parser, Properties &target) {
  if (parser.parseKeyword("stage") || parser.parseInteger(target.stage) ||
      parser.parseKeyword("micro_batch") || parser.parseInteger(target.micro_batch))
    return failure();
  if (failed(parser.parseOptionalKeyword("path")))
    return success();
  return parser.parseInteger(target.path);
}

template <class Properties>
static void printTarget(OpAsmPrinter &printer, const Properties &target) {
  printer << " stage " << target.stage << " micro_batch " << target.micro_batch;
  if (target.path != 0)
    printer << " path " << target.path;
}

template <class Properties, class Id> static void setTarget(Properties &target, const Id &id) {
  target.path = id.path;
  target.stage = id.stage;
  target.micro_batch = id.microBatch;
}

template <class Op> static ParseResult parseTask(OpAsmParser &parser, OperationState &state) {
  return failure(parseTarget(parser, state.getOrAddProperties<typename Op::Properties>()) ||
                 parser.parseOptionalAttrDict(state.attributes));
}

template <class Op> static void printTask(OpAsmPrinter &printer, Op op) {
  printTarget(printer, op.getProperties());
  printer.printOptionalAttrDict(extraAttributes(op));
}

#define MOIRE_TASK_OP(OP)                                                                          \
  ParseResult OP::parse(OpAsmParser &parser, OperationState &state) {                              \
    return parseTask<OP>(parser, state);                                                           \
  }                                                                                                \
  void OP::print(OpAsmPrinter &printer) { printTask(printer, *this); }                             \
  void OP::build(OpBuilder &, OperationState &state, const Task &task) {                           \
    setTarget(state.getOrAddProperties<Properties>(), task);                                       \
  }
MOIRE_TASK_OP(ForwardOp)
MOIRE_TASK_OP(BackwardOp)
MOIRE_TASK_OP(BackwardInputOp)
MOIRE_TASK_OP(BackwardWeightOp)
#undef MOIRE_TASK_OP

void OverlapOp::build(OpBuilder &, OperationState &state) { state.addRegion()->emplaceBlock(); }

ParseResult OverlapOp::parse(OpAsmParser &parser, OperationState &state) {
  return failure(parseBlock(parser, *state.addRegion()) ||
                 parser.parseOptionalAttrDict(state.attributes));
}

/// On one line, for an action is a line.
void OverlapOp::print(OpAsmPrinter &printer) {
  printer << " {";
  for (Operation &op : getBody().front()) {
    printer << (&op == &getBody().front().front() ? " " : "  ");
    printer.printCustomOrGenericOp(&op);
  }
  printer << " }";
  printer.printOptionalAttrDict(extraAttributes(*this));
}

LogicalResult OverlapOp::verifyRegions() {
  int count = 0, weights = 0;
  for (Operation &op : getBody().front()) {
    if (!isa<ForwardOp, BackwardOp, BackwardInputOp, BackwardWeightOp>(op))
      return op.emitOpError("cannot stand in an overlap; use forward, backward, backward_input or "
                            "backward_weight");
    ++count;
    if (isa<BackwardWeightOp>(op) && ++weights == 2)
      return op.emitOpError("has nothing to overlap with another backward_weight; write one after "
                            "the other");
  }
  if (count != 2)
    return emitOpError("holds ") << count << (count == 1 ? " task" : " tasks") << "; use 2";
  return success();
}

//===----------------------------------------------------------------------===//
// Messages
//===----------------------------------------------------------------------===//

template <class Op>
static ParseResult parseMessage(OpAsmParser &parser, OperationState &state, StringRef towards) {
  auto &message = state.getOrAddProperties<typename Op::Properties>();
  if (succeeded(parser.parseOptionalKeyword("cotangent")))
    message.cotangent = parser.getBuilder().getUnitAttr();
  else if (parser.parseKeyword("activation", " or 'cotangent'"))
    return failure();
  return failure(parseTarget(parser, message) || parser.parseKeyword(towards) ||
                 parser.parseInteger(message.peer) ||
                 parser.parseOptionalAttrDict(state.attributes));
}

template <class Op> static void printMessage(OpAsmPrinter &printer, Op op, StringRef towards) {
  printer << (op.getCotangent() ? " cotangent" : " activation");
  printTarget(printer, op.getProperties());
  printer << towards << op.getPeer();
  printer.printOptionalAttrDict(extraAttributes(op));
}

#define MOIRE_MESSAGE_OP(OP, TOWARDS)                                                              \
  ParseResult OP::parse(OpAsmParser &parser, OperationState &state) {                              \
    return parseMessage<OP>(parser, state, TOWARDS);                                               \
  }                                                                                                \
  void OP::print(OpAsmPrinter &printer) { printMessage(printer, *this, " " TOWARDS " "); }         \
  void OP::build(OpBuilder &builder, OperationState &state, const Message &message,                \
                 int64_t peer) {                                                                   \
    auto &properties = state.getOrAddProperties<Properties>();                                     \
    setTarget(properties, message);                                                                \
    properties.cotangent = message.cotangent ? builder.getUnitAttr() : nullptr;                    \
    properties.peer = peer;                                                                        \
  }
MOIRE_MESSAGE_OP(SendOp, "to")
MOIRE_MESSAGE_OP(ReceiveOp, "from")
#undef MOIRE_MESSAGE_OP

//===----------------------------------------------------------------------===//
// RankOp
//===----------------------------------------------------------------------===//

void RankOp::build(OpBuilder &, OperationState &state, int64_t number, bool queue) {
  state.getOrAddProperties<Properties>().number = number;
  state.addRegion()->emplaceBlock();
  Region *messages = state.addRegion();
  if (queue)
    messages->emplaceBlock();
}

ParseResult RankOp::parse(OpAsmParser &parser, OperationState &state) {
  Region *body = state.addRegion(), *queue = state.addRegion();
  if (parser.parseInteger(state.getOrAddProperties<Properties>().number) ||
      parseBlock(parser, *body))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("queue")) && parseBlock(parser, *queue))
    return failure();
  return parser.parseOptionalAttrDictWithKeyword(state.attributes);
}

void RankOp::print(OpAsmPrinter &printer) {
  printer << " " << getNumber() << " ";
  printBlock(printer, getBody());
  if (hasQueue()) {
    printer << " queue ";
    printBlock(printer, getQueue());
  }
  printer.printOptionalAttrDictWithKeyword(extraAttributes(*this));
}

LogicalResult RankOp::verifyRegions() {
  for (Operation &op : getBody().front())
    if (!isa<ForwardOp, BackwardOp, BackwardInputOp, BackwardWeightOp, OverlapOp>(op))
      return op.emitOpError("cannot stand among the actions of a rank; use forward, backward, "
                            "backward_input, backward_weight or overlap");
  if (hasQueue())
    for (Operation &op : getQueue().front())
      if (!isa<SendOp, ReceiveOp>(op))
        return op.emitOpError("cannot stand in the queue of a rank; use send or receive");
  return success();
}

//===----------------------------------------------------------------------===//
// ScheduleOp
//===----------------------------------------------------------------------===//

/// What a clause of numbers says, or null where that is what its absence says.
static FloatAttr given(Builder &builder, double value, double absent) {
  return value == absent ? nullptr : builder.getF64FloatAttr(value);
}

void ScheduleOp::build(OpBuilder &builder, OperationState &state, StringRef name, StringRef kind,
                       ArrayRef<Attribute> stages, const Problem &problem) {
  auto &properties = state.getOrAddProperties<Properties>();
  properties.sym_name = builder.getStringAttr(name);
  properties.kind = kind.empty() ? nullptr : builder.getStringAttr(kind);
  properties.stages = builder.getArrayAttr(stages);
  properties.micro_batches = builder.getDenseI32ArrayAttr(problem.microBatches);
  SmallVector<Attribute> paths;
  for (const std::vector<int> &path : problem.rankOf)
    paths.push_back(builder.getDenseI32ArrayAttr(path));
  properties.ranks_of = builder.getArrayAttr(paths);
  properties.latency = given(builder, problem.link.latency, 0);
  properties.bandwidth = given(builder, problem.link.bandwidth, INFINITY);
  SmallVector<Attribute> links;
  for (size_t i = 0; i < problem.links.size(); ++i) {
    DirectedLink link{int(i) / problem.ranks, int(i) % problem.ranks, problem.links[i]};
    if (link.link.latency != problem.link.latency || link.link.bandwidth != problem.link.bandwidth)
      links.push_back(LinkAttr::get(builder.getContext(), link));
  }
  properties.links = links.empty() ? nullptr : builder.getArrayAttr(links);
  properties.contention = given(builder, problem.contention, 1);
  properties.memory_limit = given(builder, problem.memoryLimit, 0);
  state.addRegion()->emplaceBlock();
}

/// `[0, 1, 2]`
static ParseResult parseRanks(OpAsmParser &parser, SmallVectorImpl<int32_t> &ranks) {
  return parser.parseCommaSeparatedList(AsmParser::Delimiter::Square,
                                        [&] { return parser.parseInteger(ranks.emplace_back()); });
}

/// A clause of one number after its keyword, at most once.
static ParseResult parseClause(OpAsmParser &parser, StringRef keyword, FloatAttr &attribute) {
  double value = 0;
  if (failed(parser.parseOptionalKeyword(keyword)))
    return success();
  if (parseNumber(parser, value))
    return failure();
  attribute = parser.getBuilder().getF64FloatAttr(value);
  return success();
}

ParseResult ScheduleOp::parse(OpAsmParser &parser, OperationState &state) {
  Builder &builder = parser.getBuilder();
  auto &properties = state.getOrAddProperties<Properties>();
  if (parser.parseSymbolName(properties.sym_name))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("kind")) && parser.parseAttribute(properties.kind))
    return failure();
  if (parser.parseKeyword("stages") || parser.parseAttribute(properties.stages))
    return failure();
  SmallVector<int32_t> microBatches;
  SmallVector<Attribute> paths, links;
  while (succeeded(parser.parseOptionalKeyword("path"))) {
    SmallVector<int32_t> ranks;
    if (parser.parseKeyword("micro_batches") || parser.parseInteger(microBatches.emplace_back()) ||
        parser.parseKeyword("ranks") || parseRanks(parser, ranks))
      return failure();
    paths.push_back(builder.getDenseI32ArrayAttr(ranks));
  }
  properties.micro_batches = builder.getDenseI32ArrayAttr(microBatches);
  properties.ranks_of = builder.getArrayAttr(paths);
  while (succeeded(parser.parseOptionalKeyword("link"))) {
    DirectedLink link;
    const bool directed = succeeded(parser.parseOptionalKeyword("from"));
    if (directed && (parser.parseInteger(link.from) || parser.parseKeyword("to") ||
                     parser.parseInteger(link.to)))
      return failure();
    if (link.parseRates(parser))
      return failure();
    if (directed) {
      links.push_back(LinkAttr::get(builder.getContext(), link));
      continue;
    }
    properties.latency = given(builder, link.link.latency, 0);
    properties.bandwidth = given(builder, link.link.bandwidth, INFINITY);
  }
  if (!links.empty())
    properties.links = builder.getArrayAttr(links);
  if (parseClause(parser, "contention", properties.contention) ||
      parseClause(parser, "memory_limit", properties.memory_limit) ||
      parser.parseOptionalAttrDictWithKeyword(state.attributes))
    return failure();
  return parseBlock(parser, *state.addRegion());
}

void ScheduleOp::print(OpAsmPrinter &printer) {
  auto clause = [&]() -> OpAsmPrinter & {
    printer.printNewline();
    return printer << "    ";
  };
  printer << " ";
  printer.printSymbolName(getSymName());
  if (getKindAttr())
    printer << " kind " << getKindAttr();
  clause() << "stages " << getStages();
  for (auto [count, ranks] : llvm::zip(getMicroBatches(), getRanksOf())) {
    clause() << "path micro_batches " << count << " ranks [";
    llvm::interleaveComma(cast<DenseI32ArrayAttr>(ranks).asArrayRef(), printer);
    printer << "]";
  }
  DirectedLink every;
  every.link.latency = getLatency() ? getLatency()->convertToDouble() : 0;
  every.link.bandwidth = getBandwidth() ? getBandwidth()->convertToDouble() : INFINITY;
  if (getLatency() || getBandwidth())
    every.printRates(clause() << "link");
  if (getLinks())
    for (auto link : getLinks()->getAsRange<LinkAttr>()) {
      clause() << "link from " << link.getValue().from << " to " << link.getValue().to;
      link.getValue().printRates(printer);
    }
  if (getContention())
    clause() << "contention " << numberText(getContention()->convertToDouble());
  if (getMemoryLimit())
    clause() << "memory_limit " << numberText(getMemoryLimit()->convertToDouble());
  printer.printOptionalAttrDictWithKeyword(extraAttributes(*this));
  printer << " ";
  printBlock(printer, getBody());
}

LogicalResult ScheduleOp::verifyRegions() {
  int64_t due = 0;
  RankOp first;
  for (Operation &op : getBody().front()) {
    auto rank = dyn_cast<RankOp>(op);
    if (!rank)
      return op.emitOpError("cannot stand in a schedule; use rank");
    // Not emitOpError: it would print the whole rank.
    if (rank.getNumber() != due)
      return mlir::emitError(rank.getLoc(), "rank ")
             << rank.getNumber() << " stands where rank " << due
             << " is due; give each rank once, in order";
    if (!first)
      first = rank;
    if (rank.hasQueue() != first.hasQueue())
      return mlir::emitError(rank.getLoc(), "rank ")
             << due
             << (rank.hasQueue() ? " has a queue, rank 0 has none"
                                 : " has no queue, rank 0 has one")
             << "; give all ranks a queue, or none";
    ++due;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// StageOp
//===----------------------------------------------------------------------===//

StageCost StageOp::getStageCost() { return getCost() ? getCost()->getValue().value : StageCost(); }

void StageOp::build(OpBuilder &builder, OperationState &state, StringRef name, int64_t index,
                    const StageCost &cost) {
  auto &properties = state.getOrAddProperties<Properties>();
  properties.sym_name = builder.getStringAttr(name);
  properties.index = index;
  if (!(Cost{cost} == Cost{}))
    properties.cost = CostAttr::get(builder.getContext(), Cost{cost});
}

ParseResult StageOp::parse(OpAsmParser &parser, OperationState &state) {
  auto &properties = state.getOrAddProperties<Properties>();
  if (parser.parseSymbolName(properties.sym_name) || parser.parseKeyword("index") ||
      parser.parseInteger(properties.index))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("cost"))) {
    // `cost <…>`, or the attribute or its alias.
    Attribute cost = CostAttr::parse(parser, {});
    if (!cost)
      return failure();
    properties.cost = cast<CostAttr>(cost);
  }
  const std::pair<StringRef, FlatSymbolRefAttr *> functions[] = {
      {"forward", &properties.forward},
      {"backward", &properties.backward},
      {"backward_input", &properties.backward_input},
      {"backward_weight", &properties.backward_weight}};
  for (auto [keyword, function] : functions)
    if (succeeded(parser.parseOptionalKeyword(keyword)) && parser.parseAttribute(*function))
      return failure();
  return parser.parseOptionalAttrDictWithKeyword(state.attributes);
}

void StageOp::print(OpAsmPrinter &printer) {
  printer << " ";
  printer.printSymbolName(getSymName());
  printer << " index " << getIndex();
  if (getCost()) {
    printer << " cost ";
    getCost()->print(printer);
  }
  const std::pair<StringRef, FlatSymbolRefAttr> functions[] = {
      {"forward", getForwardAttr()},
      {"backward", getBackwardAttr()},
      {"backward_input", getBackwardInputAttr()},
      {"backward_weight", getBackwardWeightAttr()}};
  for (auto [keyword, function] : functions)
    if (function)
      printer << " " << keyword << " " << function;
  printer.printOptionalAttrDictWithKeyword(extraAttributes(*this));
}

LogicalResult StageOp::verify() {
  if (getIndex() < 0)
    return emitOpError("index ") << getIndex() << " is below 0; count the stages from 0";
  if (moire::scheduling::Refusal refusal = moire::scheduling::check(getStageCost(), getIndex()))
    return emitOpError() << *refusal;
  return success();
}

LogicalResult StageOp::verifySymbolUses(SymbolTableCollection &tables) {
  for (FlatSymbolRefAttr name :
       {getForwardAttr(), getBackwardAttr(), getBackwardInputAttr(), getBackwardWeightAttr()})
    if (name && !tables.lookupNearestSymbolFrom<FunctionOpInterface>(*this, name))
      return emitOpError("names ") << name << ", which is not a function";
  return success();
}
