//===- StatementsDist.cpp - Statements in which ranks meet ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Statements.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::target;

/// `from` seen as [outer, dim, inner]: the last three arguments of what moves pieces of
/// a dim, `dim` being the smaller side's.
static void addDim(std::vector<std::string> &arguments, MemRefType whole, MemRefType piece,
                   int64_t dim) {
  int64_t outer = 1, inner = 1;
  for (int64_t i = 0; i < whole.getRank(); ++i)
    (i < dim ? outer : inner) *= i == dim ? 1 : whole.getDimSize(i);
  for (int64_t size : {outer, piece.getDimSize(dim), inner})
    arguments.push_back(std::to_string(size));
}

/// The operation and its node, for the trace and the sentence of a rank that lost another one.
std::string StatementWriter::nameOf(Operation *op) {
  const std::string kind = op->getName().stripDialect().str();
  std::string what = kind;
  if (std::string node = nodeNames(op->getLoc(), 1); !node.empty())
    what += " of " + node;
  const bool second = ofSecond.contains(op);
  const int owner = second ? secondStage : stage;
  if (owner < 0 || !info.pipeline->isShared(owner))
    return quoted(what);
  std::vector<SharedName> &names = usedNames[owner];
  const auto known =
      llvm::find_if(names, [&](const SharedName &name) { return name.text == what; });
  const size_t index = known - names.begin();
  if (index == names.size())
    names.push_back({what, kind, op->getLoc()});
  return (second ? kSecond.str() : "ctx") + ".names[" + std::to_string(index) + "]";
}

StatementWriter::Statement StatementWriter::collective(Operation *op) {
  using Result = FailureOr<std::string>;
  const std::string group = std::to_string(info.groupOf(op->getAttrOfType<ArrayAttr>("axes")));
  std::vector<std::string> head{"ctx", group, nameOf(op)};
  auto with = [&](std::vector<std::string> rest) {
    std::vector<std::string> arguments = head;
    arguments.insert(arguments.end(), rest.begin(), rest.end());
    return arguments;
  };
  auto along = [&](StringRef callee, Value from, Value to, Value whole, Value piece, int64_t dim) {
    auto arguments = with({pointer(from), pointer(to)});
    addDim(arguments, placeOf(whole), placeOf(piece), dim);
    return call(callee, arguments);
  };
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case([&](exec::AllReduceOp op) {
        return call("allReduce", with({pointer(op.getInput()), pointer(op.getResult()),
                                       std::to_string(placeOf(op.getInput()).getNumElements())}));
      })
      .Case([&](exec::ReduceScatterOp op) {
        return along("reduceScatter", op.getInput(), op.getResult(), op.getInput(), op.getResult(),
                     op.getDim());
      })
      .Case([&](exec::AllGatherOp op) {
        return along("allGather", op.getInput(), op.getResult(), op.getResult(), op.getInput(),
                     op.getDim());
      })
      .Case([&](exec::SplitOp op) {
        std::vector<std::string> arguments{"ctx", group, pointer(op.getInput()),
                                           pointer(op.getResult())};
        addDim(arguments, placeOf(op.getInput()), placeOf(op.getResult()), op.getDim());
        return call("split", arguments);
      })
      .Case([&](exec::AxisIndexOp op) {
        return call("memberIndex", {"ctx", group, pointer(op.getResult())});
      })
      .Case([&](exec::ExchangeOp op) {
        // With room for all that can come nothing has to be agreed about.
        bool mayOverflow = op->getParentOfType<ModuleOp>()->hasAttr("moire.expert_slots");
        return call(
            mayOverflow ? "exchangeRoutingInSlots" : "exchangeRouting",
            with({routing(op.getRouting()), routing(op.getLocal()), pointer(op.getCounts())}));
      })
      .Case([&](exec::AllToAllRowsOp op) {
        MemRefType rows = placeOf(op.getRows());
        int64_t rowBytes = rows.getDimSize(1) * exec::elementBytes(rows.getElementType());
        std::vector<std::string> rest{pointer(op.getRows()), pointer(op.getResult()),
                                      std::to_string(rowBytes), pointer(op.getCounts()),
                                      op.getBack() ? "true" : "false"};
        if (const exec::Part part = exec::partOf(op); part.count > 1)
          for (int64_t number : {part.index, part.count})
            rest.push_back(std::to_string(number));
        return call("allToAllRows", with(rest));
      });
}

/// What runs beside other statements, and waits for it.
StatementWriter::Statement StatementWriter::beside(Operation *op) {
  if (auto wait = dyn_cast<exec::WaitOp>(op))
    return call("waitAsync", {"ctx", std::to_string(wait.getNumber())});
  if (auto start = dyn_cast<exec::StartReduceOp>(op))
    return call("startReduce", {"ctx", std::to_string(start.getBucket())});
  if (isa<exec::PublishOp>(op))
    return call("publish", {op->hasAttr(pipe::kSecondAttr) ? "ctx.second" : "ctx"});
  auto async = cast<exec::AsyncOp>(op);
  std::string text =
      "  startAsync(ctx, " + std::to_string(async.getNumber()) + ", [](Context &ctx) {\n";
  for (Operation &inner : async.getBody().front()) {
    auto statement = emit(&inner);
    if (failed(statement))
      return failure();
    SmallVector<StringRef> lines;
    StringRef(*statement).split(lines, '\n', -1, /*KeepEmpty=*/false);
    for (StringRef line : lines)
      text += "  " + line.str() + "\n";
  }
  return text + "  });\n";
}
