//===- PackArena.cpp - Passes pack-arena and verify-arena ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Slots.h"
#include "VerifyAsyncs.h"
#include "moire/Program/ArenaPacking.h"
#include "moire/Program/Passes.h"

namespace moire::program {
#define GEN_PASS_DEF_PACKARENA
#define GEN_PASS_DEF_VERIFYARENA
#include "lib/Program/Passes.h.inc"
} // namespace moire::program

using namespace mlir;
using namespace moire;
using namespace moire::program;

namespace {

constexpr StringLiteral kArenaBytes = "exec.arena_bytes";

/// The buffers of all functions and when they live.
struct Buffers {
  SmallVector<exec::BufferOp> ops;
  ArenaProblem problem;
  /// The first statement that touches a buffer, if it only reads it.
  SmallVector<Operation *> readFirst;

  explicit Buffers(ModuleOp module) {
    DenseMap<Value, size_t> index;
    DenseMap<int64_t, exec::AsyncOp> asyncs; // by number
    int64_t time = 0;
    for (auto func : module.getOps<func::FuncOp>())
      for (Operation &op : func.getBody().getOps()) {
        ++time;
        if (auto buffer = dyn_cast<exec::BufferOp>(op)) {
          index[buffer] = ops.size();
          ops.push_back(buffer);
          problem.ranges.push_back({buffer.getBytes(), -1, -1});
          readFirst.push_back(nullptr);
          continue;
        }
        // What an async touches is in use until its wait.
        if (auto async = dyn_cast<exec::AsyncOp>(op)) {
          asyncs[async.getNumber()] = async;
          for (Operation &inner : async.getBody().front())
            touch(inner, index, time);
        } else if (auto wait = dyn_cast<exec::WaitOp>(op)) {
          if (exec::AsyncOp async = asyncs.lookup(wait.getNumber()))
            for (Operation &inner : async.getBody().front())
              touch(inner, index, time);
        } else {
          touch(op, index, time);
        }
      }
    // Buffers that nobody touches take no room.
    for (LiveRange &range : problem.ranges)
      if (range.first < 0)
        range = {0, 0, 0};
  }

  void touch(Operation &op, const DenseMap<Value, size_t> &index, int64_t time) {
    auto memory = dyn_cast<MemoryEffectOpInterface>(op);
    if (!memory || isa<exec::ViewOp, exec::RoutingOp>(op))
      return;
    SmallVector<MemoryEffects::EffectInstance> effects;
    memory.getEffects(effects);
    for (const auto &effect : effects) {
      if (!effect.getValue())
        continue;
      auto it = index.find(exec::rootOf(effect.getValue()));
      if (it == index.end())
        continue;
      LiveRange &range = problem.ranges[it->second];
      if (range.first < 0) {
        range.first = time;
        if (isa<MemoryEffects::Read>(effect.getEffect()) || adds(&op, effect.getValue()))
          readFirst[it->second] = &op;
      }
      range.last = time;
    }
  }

  /// Whether an op adds to this result: then it reads it too.
  static bool adds(Operation *op, Value result) {
    auto mode = op->getAttrOfType<exec::ModeAttr>("mode");
    return mode && mode.getValue() != exec::Mode::overwrite && op->getOperands().back() == result;
  }
};

struct PackArena : program::impl::PackArenaBase<PackArena> {
  void runOnOperation() override {
    Buffers buffers(getOperation());
    ArenaSolution solution = packArena(buffers.problem);
    Builder b(&getContext());
    for (auto [op, offset] : llvm::zip(buffers.ops, solution.offsets))
      op.setOffset(offset);
    getOperation()->setAttr(kArenaBytes, b.getI64IntegerAttr(solution.bytes));
    arenaBytes = solution.bytes;
    boundBytes = lowerBound(buffers.problem);
  }
};

struct VerifyArena : program::impl::VerifyArenaBase<VerifyArena> {
  void runOnOperation() override {
    if (failed(verify()))
      signalPassFailure();
    markAllAnalysesPreserved();
  }

  LogicalResult verify() {
    for (auto func : getOperation().getOps<func::FuncOp>())
      if (failed(verifyAsyncs(func)))
        return failure();
    Buffers buffers(getOperation());
    auto arena = getOperation()->getAttrOfType<IntegerAttr>(kArenaBytes);
    if (!arena)
      return getOperation().emitError("has no ") << kArenaBytes << "; run pack-arena first";
    ArenaSolution solution;
    solution.bytes = arena.getInt();
    for (auto [op, range, reader] :
         llvm::zip(buffers.ops, buffers.problem.ranges, buffers.readFirst)) {
      if (!op.getOffset())
        return op.emitError("has no offset; run pack-arena first");
      int64_t offset = *op.getOffset();
      if (offset + range.bytes > solution.bytes)
        return op.emitError("ends at byte ") << offset + range.bytes << " but the arena has "
                                             << solution.bytes;
      if (reader)
        return reader->emitError("reads a buffer that nothing has written");
      solution.offsets.push_back(offset);
    }
    if (auto overlap = findOverlap(buffers.problem, solution)) {
      InFlightDiagnostic error = buffers.ops[overlap->second].emitError(
          "shares bytes with a buffer that lives at the same time");
      error.attachNote(buffers.ops[overlap->first].getLoc()) << "the other buffer";
      return error;
    }
    if (!pipe::PipelineProgram::isIn(getOperation()))
      return success();
    auto program = pipe::PipelineProgram::read(getOperation());
    return failed(program) ? failure() : verifySlots(*program);
  }
};

} // namespace
