//===- Places.cpp - Where an operand lies, as a pointer in C++ -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Statements.h"

using namespace mlir;
using namespace moire;
using namespace moire::target;

std::string StatementWriter::beta(exec::Mode mode) const {
  switch (mode) {
  case exec::Mode::overwrite:
    return "0.0f";
  case exec::Mode::add:
    return "1.0f";
  case exec::Mode::add_after_first:
    return task + ".beta()";
  }
  llvm_unreachable("all modes are above");
}

std::string StatementWriter::pointer(Value place) {
  // Views move the pointer; the layout's strides go into the statement.
  int64_t offset = 0;
  while (auto view = place.getDefiningOp<exec::ViewOp>()) {
    offset += static_cast<int64_t>(view.getOffset());
    place = view.getSource();
  }
  Type element = placeOf(place).getElementType();
  std::string type = memoryType(element).str();
  if (auto buffer = place.getDefiningOp<exec::BufferOp>())
    return "ctx.at<" + type + ">(" +
           std::to_string(*buffer.getOffset() + offset * exec::elementBytes(element)) + ")";
  if (auto kept = place.getDefiningOp<exec::KeptOp>())
    return context(kept) + ".slot<" + type + ">(" +
           std::to_string(*kept.getOffset() + offset * exec::elementBytes(element)) + ")";
  std::string base;
  auto number = [&](auto op) { return info.parameterOf.lookup(op.getParameter()); };
  // Of a pipeline: whose the place is, and where it finds a parameter if several stages run it.
  const int owner = place.getDefiningOp() && place.getDefiningOp()->hasAttr(pipe::kSecondAttr)
                        ? secondStage
                        : stage;
  const bool isShared = owner >= 0 && info.pipeline->isShared(owner);
  auto own = [&](auto op, StringRef field) {
    return context(op) + ".own[stage" + std::to_string(owner) +
           "::" + info.parameters[number(op)].identifier + "]." + field.str();
  };
  if (auto argument = dyn_cast<BlockArgument>(place)) {
    // A pair's second task has inputs of its own.
    const size_t i = argument.getArgNumber(), count = info.inputs.size();
    base = std::string(i < count ? "ctx" : kSecond) + ".input<" + type +
           ">(inputs::" + info.inputs[i % count].identifier + ")";
  } else if (auto param = place.getDefiningOp<exec::ParamOp>())
    base =
        "ctx.param(" +
        (isShared ? own(param, "param")
                  : "at::" + info.parameterName(number(param),
                                                owner < 0 ? rank : info.pipeline->rankOf(owner))) +
        ")";
  else if (auto shadow = place.getDefiningOp<exec::ShadowOp>())
    base = "ctx.shadow<bf16>(" +
           (isShared ? own(shadow, "shadow")
                     : "shadows::" + info.parameters[number(shadow)].identifier) +
           ")";
  else if (auto grad = place.getDefiningOp<exec::GradOp>())
    base = "ctx.grad(" +
           (isShared ? own(grad, "grad")
                     : (info.hasGradOffsets() ? "grads::" : "at::") +
                           info.gradientName(number(grad), owner)) +
           ")";
  else if (auto constant = place.getDefiningOp<exec::ConstantOp>()) {
    auto [it, isNew] =
        tables.insert({constant.getValue(), "table" + std::to_string(tables.size())});
    if (isNew) {
      int64_t begin =
          usedConstants.empty()
              ? 0
              : llvm::alignTo(usedConstants.back().offset + usedConstants.back().bytes, 64);
      int64_t elements = std::max<int64_t>(1, placeOf(constant.getResult()).getNumElements());
      usedConstants.push_back(
          {constant, it->second, begin, elements * exec::elementBytes(element)});
    }
    base = "ctx.table<" + type + ">(tables::" + it->second + ")";
  }
  return offset ? base + " + " + std::to_string(offset) : base;
}

std::string StatementWriter::routing(Value value) {
  auto op = value.getDefiningOp<exec::RoutingOp>();
  auto type = op.getType();
  return "Routing::at(" + pointer(op.getSource()) + ", " + std::to_string(type.getTokens()) + ", " +
         std::to_string(type.getK()) + ", " + std::to_string(type.getExperts()) + ")";
}

std::string StatementWriter::partOfRouting(Operation *op, Value value) {
  const exec::Part part = exec::partOf(op);
  if (part.count == 1)
    return routing(value);
  return "part(" + routing(value) + ", " + std::to_string(part.index) + ", " +
         std::to_string(part.count) + ")";
}

std::string StatementWriter::partOfExperts(Operation *op, Value place) {
  const exec::Part part = exec::partOf(op);
  const int64_t before = placeOf(place).getNumElements() / part.count * part.index;
  return pointer(place) + (before ? " + " + std::to_string(before) : "");
}
