//===- BatchRamp.cpp - How many micro-batches the steps of a run have ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/pipe/PipeSchedule.h"

using namespace mlir;
using namespace moire::pipe;
using moire::scheduling::Ramp;

void BatchRampOp::build(OpBuilder &builder, OperationState &state, const Ramp &ramp) {
  SmallVector<int64_t> counts, after;
  for (const auto &entry : ramp) {
    counts.push_back(entry.microBatches);
    after.push_back(entry.after);
  }
  auto &properties = state.getOrAddProperties<Properties>();
  properties.micro_batches = builder.getDenseI64ArrayAttr(counts);
  properties.after = builder.getDenseI64ArrayAttr(after);
}

Ramp BatchRampOp::getRamp() {
  Ramp ramp;
  for (auto [count, after] : llvm::zip(getMicroBatches(), getAfter()))
    ramp.push_back({count, after});
  return ramp;
}

ParseResult BatchRampOp::parse(OpAsmParser &parser, OperationState &state) {
  SmallVector<int64_t> counts, after;
  if (parser.parseCommaSeparatedList([&] {
        return failure(parser.parseInteger(counts.emplace_back()) || parser.parseKeyword("after") ||
                       parser.parseInteger(after.emplace_back()));
      }))
    return failure();
  auto &properties = state.getOrAddProperties<Properties>();
  properties.micro_batches = parser.getBuilder().getDenseI64ArrayAttr(counts);
  properties.after = parser.getBuilder().getDenseI64ArrayAttr(after);
  return parser.parseOptionalAttrDict(state.attributes);
}

void BatchRampOp::print(OpAsmPrinter &printer) {
  printer << " ";
  llvm::interleaveComma(llvm::zip(getMicroBatches(), getAfter()), printer, [&](auto entry) {
    printer << std::get<0>(entry) << " after " << std::get<1>(entry);
  });
  printer.printOptionalAttrDict((*this)->getDiscardableAttrDictionary().getValue());
}

LogicalResult BatchRampOp::verify() {
  if (getMicroBatches().size() != getAfter().size())
    return emitOpError("has ") << getMicroBatches().size() << " numbers of micro-batches and "
                               << getAfter().size() << " of steps; give as many of both";
  if (moire::scheduling::Refusal refusal = moire::scheduling::check(getRamp()))
    return emitOpError() << *refusal;
  for (auto other : (*this)->getBlock()->getOps<BatchRampOp>()) {
    if (other == *this)
      break;
    return emitOpError("stands beside another one; a module has one at most");
  }
  return success();
}

Ramp moire::pipe::batchRampOf(ModuleOp module) {
  auto ops = module.getOps<BatchRampOp>();
  return ops.empty() ? Ramp() : (*ops.begin()).getRamp();
}
