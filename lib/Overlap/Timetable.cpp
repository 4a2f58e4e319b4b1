//===- Timetable.cpp - What runs when in a pipeline's pairs --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Overlap/Timetable.h"
#include "OpProblem.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "moire/Overlap/Passes.h"
#include "moire/Pipe/PipelineProgram.h"
#include "moire/Support/NodeNames.h"
#include "llvm/Support/Format.h"
#include <numeric>

namespace moire::overlap {
#define GEN_PASS_DEF_PRINTTIMETABLES
#include "lib/Overlap/Passes.h.inc"
} // namespace moire::overlap

using namespace mlir;
using namespace moire;
using namespace moire::overlap;

/// The op, or the collective in an async, and its ONNX node.
static std::string describeTask(Operation *op) {
  if (auto async = dyn_cast<dist::AsyncOp>(op))
    op = &async.getBody().front().front();
  auto rows = dyn_cast<dist::AllToAllRowsOp>(op);
  return nameWithNode(op, rows && rows.getBack() ? " back" : "");
}

static Timetable timetableOf(const OpProblem &ops) {
  std::vector<int> order(ops.ops.size());
  std::iota(order.begin(), order.end(), 0);
  return simulate(ops.problem, order);
}

Span overlap::spanOf(func::FuncOp func, const Rates &rates) {
  const Timetable t = timetableOf(makeProblem(func.getBody().front(), rates));
  return {t.seconds, t.exposed};
}

static void printTimetable(func::FuncOp pair, const Rates &rates, double least, raw_ostream &os) {
  const OpProblem ops = makeProblem(pair.getBody().front(), rates);
  const Timetable t = timetableOf(ops);
  std::vector<int> order(ops.ops.size());
  std::iota(order.begin(), order.end(), 0);
  os << "@" << pair.getSymName()
     << llvm::formatv(": {0:f3} ms; computes {1:f3} ms, transfers take {2:f3} ms, waits {3:f3} ms "
                      "({4:f1} %)\n",
                      t.seconds * 1e3, t.computing * 1e3, t.moving * 1e3, t.exposed * 1e3,
                      t.seconds > 0 ? 100 * t.exposed / t.seconds : 0);
  // Both columns by when tasks begin.
  llvm::erase_if(order, [&](int i) {
    return ops.problem.tasks[i].seconds < std::max(least * t.seconds, 1e-12);
  });
  llvm::stable_sort(order, [&](int a, int b) { return t.begin[a] < t.begin[b]; });
  size_t width = 8;
  auto isTransfer = [&](int i) { return ops.problem.tasks[i].resource == Resource::network; };
  for (int i : order)
    if (!isTransfer(i))
      width = std::max(width, describeTask(ops.ops[i]).size());
  os << "     begin       end  " << llvm::left_justify("compute", width) << " | network\n";
  for (int i : order) {
    const std::string name = describeTask(ops.ops[i]);
    os << llvm::format("%10.3f%10.3f  ", t.begin[i] * 1e3, t.end[i] * 1e3)
       << llvm::left_justify(isTransfer(i) ? "" : name, width) << " |"
       << (isTransfer(i) ? " " + name : "") << "\n";
  }
}

void overlap::printTimetables(ModuleOp module, const Rates &rates, double least, raw_ostream &os) {
  for (auto func : module.getOps<func::FuncOp>())
    if (func->hasAttr(pipe::kPairAttr))
      printTimetable(func, rates, least, os);
}

namespace {
struct PrintTimetables : overlap::impl::PrintTimetablesBase<PrintTimetables> {
  using PrintTimetablesBase::PrintTimetablesBase;

  void runOnOperation() override {
    Rates given;
    if (std::string error = given.parse(rates); !error.empty()) {
      emitError(getOperation().getLoc(), error);
      return signalPassFailure();
    }
    overlap::printTimetables(getOperation(), given, least, llvm::outs());
    markAllAnalysesPreserved();
  }
};
} // namespace
