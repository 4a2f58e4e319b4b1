//===- Explain.cpp - Why ranks talk, and how much -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Distribute/Explain.h"
#include "moire/Support/NodeNames.h"
#include "dialects/dist/Dist.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace moire;
using namespace moire::distribute;

static double bytesOf(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  return static_cast<double>(tensor.getNumElements()) * tensor.getElementTypeBitWidth() / 8;
}

static std::string firstName(Location loc) {
  StringAttr name = firstNode(loc);
  return name ? name.str() : "";
}

/// The op behind casts and views.
static Operation *producer(Value value) {
  Operation *op = value.getDefiningOp();
  if (auto wait = dyn_cast_or_null<dist::WaitOp>(op))
    op = &wait.getAsync().getBody().front().front();
  while (op && op->getNumOperands() == 1 && op->getNumResults() == 1 &&
         !isa<dist::DistDialect>(op->getDialect()) && !isa<nn::ReduceOp>(op))
    op = op->getOperand(0).getDefiningOp();
  return op;
}

/// What is summed, for the reason.
static std::string summed(Value value) {
  Operation *op = producer(value);
  return op ? ("partial results of " + op->getName().getStringRef()).str() : "partial results";
}

/// "parameter @w" or "2 parameters", where `value` is their pieces, be they rounded.
static std::string parametersOf(Value value) {
  if (auto reshape = value.getDefiningOp<nn::ReshapeOp>())
    value = reshape.getInput();
  if (auto concat = value.getDefiningOp<nn::ConcatOp>()) {
    const bool all = llvm::all_of(concat.getInputs(),
                                  [](Value piece) { return !parametersOf(piece).empty(); });
    return all ? std::to_string(concat.getInputs().size()) + " parameters" : "";
  }
  auto round = value.getDefiningOp<arith::TruncFOp>();
  auto read = (round ? round.getIn() : value).getDefiningOp<pipe::ReadOp>();
  return read ? ("parameter @" + read.getParameter()).str() : "";
}

/// Where a collective's result is accumulated, be it in parts or behind a wait.
static SmallVector<pipe::AccumulateOp> accumulatesOf(Operation *collective) {
  SmallVector<pipe::AccumulateOp> found;
  SmallVector<Operation *> readers(collective->user_begin(), collective->user_end());
  while (!readers.empty()) {
    Operation *reader = readers.pop_back_val();
    if (auto accumulate = dyn_cast<pipe::AccumulateOp>(reader))
      found.push_back(accumulate);
    const bool passes = isa<dist::WaitOp, nn::SliceOp, nn::ReshapeOp>(reader);
    Operation *behind = passes                                      ? reader
                        : isa<dist::AsyncOp>(reader->getParentOp()) ? reader->getParentOp()
                                                                    : nullptr;
    if (behind)
      readers.append(behind->user_begin(), behind->user_end());
  }
  return found;
}

/// Bytes of the shards of several parameters.
static double bytesOf(Operation *op, ArrayAttr parameters) {
  double bytes = 0;
  for (auto name : parameters.getAsRange<FlatSymbolRefAttr>())
    bytes +=
        bytesOf(SymbolTable::lookupNearestSymbolFrom<pipe::ParameterOp>(op, name).getLocalType());
  return bytes;
}

namespace {
struct Cost {
  std::string reason;
  double bytes;
};
} // namespace

/// Whether the axes' ranks hold different tokens.
static bool isOverTokens(ArrayAttr axes) {
  return llvm::any_of(axes.getAsValueRange<StringAttr>(),
                      [](StringRef axis) { return axis == "dp" || axis == "ep"; });
}

static std::optional<Cost> costOf(Operation *op, double n, bool forward) {
  const double others = (n - 1) / n;
  return llvm::TypeSwitch<Operation *, std::optional<Cost>>(op)
      .Case([&](dist::AllReduceOp sum) -> Cost {
        if (isOverTokens(sum.getAxes()))
          return {"counts of all ranks' part of a micro-batch", 2 * others * bytesOf(sum.getType())};
        return {"sum of " + summed(sum.getInput()), 2 * others * bytesOf(sum.getType())};
      })
      .Case([&](dist::ReduceScatterOp sum) -> Cost {
        const double bytes = others * bytesOf(sum.getInput().getType());
        if (auto places = accumulatesOf(sum); places.size() == 1)
          return {("piece of the gradient of @" + places.front().getParameter()).str(), bytes};
        else if (!places.empty())
          return {llvm::formatv("pieces of the gradients of {0} parameters", places.size()), bytes};
        return {"pieces of the sum of " + summed(sum.getInput()),
                bytes};
      })
      .Case([&](dist::AllGatherOp gather) -> Cost {
        const double bytes = (n - 1) * bytesOf(gather.getInput().getType());
        if (std::string what = parametersOf(gather.getInput()); !what.empty())
          return {"pieces of " + what, bytes};
        if (isOverTokens(gather.getAxes()))
          return {"which pairs find room at their experts", bytes};
        return {"the next op needs all pieces", bytes};
      })
      .Case([&](dist::ExchangeOp exchange) -> Cost {
        return {"how many rows go to which expert",
                4 * others * exchange.getRouting().getType().getExperts()};
      })
      .Case([&](dist::AllToAllRowsOp rows) -> Cost {
        auto type = cast<RankedTensorType>(rows.getRows().getType());
        double width =
            bytesOf(type) / static_cast<double>(std::max<int64_t>(1, type.getDimSize(0)));
        const char *what =
            forward
                ? (rows.getBack() ? "experts' results to their tokens" : "tokens to their experts")
                : (rows.getBack() ? "cotangents to their tokens" : "cotangents to their experts");
        return {what, others * width * static_cast<double>(rows.getExchange().getType().getSent())};
      })
      .Case([&](pipe::ReduceGradsOp sum) -> Cost {
        return {llvm::formatv("{0} of {1} parameters whose ranks saw other tokens",
                              sum.getScatter() ? "pieces of gradients" : "gradients",
                              sum.getParameters().size()),
                (sum.getScatter() ? 1 : 2) * others * bytesOf(sum, sum.getParameters())};
      })
      .Case([&](pipe::GatherOp gather) -> Cost {
        return {llvm::formatv("{0} parameters whose pieces were updated",
                              gather.getParameters().size()),
                others * bytesOf(gather, gather.getParameters())};
      })
      .Default([](Operation *) { return std::nullopt; });
}

std::vector<Collective> distribute::findCollectives(ModuleOp module) {
  std::vector<Collective> found;
  dist::MeshAttr mesh = dist::meshOf(module);
  if (!mesh)
    return found;
  // As they run: micro-batches, then the sums of gradients, then updates.
  SmallVector<func::FuncOp> functions(module.getOps<func::FuncOp>());
  llvm::stable_sort(functions, [](func::FuncOp a, func::FuncOp b) {
    auto when = [](func::FuncOp f) {
      return f.getSymName() == "optimizer_step" ? 2 : f.getSymName() == "reduce_gradients";
    };
    return when(a) < when(b);
  });
  for (auto func : functions) {
    if (func.getBody().empty())
      continue;
    Block &block = func.getBody().front();
    // Forward is what the loss depends on, or what a stage's forward does.
    const StringRef name = func.getSymName();
    const bool isStep = name == "reduce_gradients" || name == "optimizer_step";
    const bool isStage = name.starts_with("stage");
    // The whole backward stands for its parts.
    if (isStage && (name.ends_with("_backward_input") || name.ends_with("_backward_weight")))
      continue;
    llvm::SmallPtrSet<Operation *, 32> forwardOps;
    SmallVector<Value> todo(block.getTerminator()->getOperands());
    while (!todo.empty())
      if (Operation *op = todo.pop_back_val().getDefiningOp(); op && forwardOps.insert(op).second)
        op->walk([&](Operation *inner) {
          forwardOps.insert(inner);
          todo.append(inner->operand_begin(), inner->operand_end());
        });
    SmallVector<Operation *> ops;
    for (Operation &op : block) {
      if (auto async = dyn_cast<dist::AsyncOp>(op))
        for (Operation &inner : async.getBody().front())
          ops.push_back(&inner);
      else
        ops.push_back(&op);
    }
    for (Operation *each : ops) {
      Operation &op = *each;
      const bool forward = isStage ? name.ends_with("_forward") : forwardOps.contains(&op);
      ArrayAttr axes = op.getAttrOfType<ArrayAttr>("axes");
      if (auto rows = dyn_cast<dist::AllToAllRowsOp>(op))
        axes = rows.getExchange().getType().getAxes();
      if (axes && !axes.empty()) {
        const int64_t ranks = mesh.getSize(axes);
        if (auto cost = costOf(&op, static_cast<double>(ranks), forward))
          found.push_back({&op,
                           isStage   ? (name.split('_').first + (forward ? " F" : " B")).str()
                           : isStep  ? "step"
                           : forward ? "forward"
                                     : "backward",
                           cost->reason, firstName(op.getLoc()), ranks, cost->bytes});
      }
    }
  }
  return found;
}

/// "12.3 kB".
static std::string amount(double bytes) {
  for (const char *unit : {"B", "kB", "MB", "GB"}) {
    if (bytes < 1000 || unit[0] == 'G')
      return llvm::formatv(unit[0] == 'B' ? "{0:f0} {1}" : "{0:f1} {1}", bytes, unit);
    bytes /= 1000;
  }
  return "";
}

static std::string axesOf(Operation *op) {
  ArrayAttr axes = op->getAttrOfType<ArrayAttr>("axes");
  if (auto rows = dyn_cast<dist::AllToAllRowsOp>(op))
    axes = rows.getExchange().getType().getAxes();
  std::string text;
  for (auto axis : axes.getAsRange<StringAttr>())
    text += (text.empty() ? "" : ",") + axis.getValue().str();
  return text;
}

void distribute::explainCollectives(ModuleOp module, raw_ostream &os,
                                    llvm::function_ref<std::string(Operation *)> beside) {
  dist::MeshAttr mesh = dist::meshOf(module);
  if (!mesh) {
    os << "one rank: nothing moves; --mesh dp=2,ep=4 makes more\n";
    return;
  }
  std::string axes;
  for (auto [axis, size] : llvm::zip_equal(mesh.getAxes(), mesh.getSizes()))
    axes += (axes.empty() ? "" : ",") + axis.str() + "=" + std::to_string(size);
  os << llvm::formatv(
      "{0} ranks, {1}. Bytes are what a rank sends to others, rows to experts if they "
      "spread evenly; {2}\n",
      mesh.getRanks(), axes,
      beside ? "what it computes beside them stands last" : "it waits for each");
  os << llvm::formatv("{0,-9} {1,-16} {2,-9} {3,10}  {4,-42} {5}\n", "part", "operation", "over",
                      "bytes", "why", "node");
  double micro = 0, step = 0;
  for (const Collective &c : findCollectives(module)) {
    (c.part == "step" ? step : micro) += c.bytes;
    os << llvm::formatv("{0,-9} {1,-16} {2,-9} {3,10}  {4,-42} {5}", c.part,
                        c.op->getName().stripDialect(), axesOf(c.op), amount(c.bytes), c.reason,
                        c.node);
    os << (beside ? "  " + beside(c.op) : "") << "\n";
  }
  os << llvm::formatv("a micro-batch sends {0}, the end of a step {1}\n", amount(micro),
                      amount(step));
}
