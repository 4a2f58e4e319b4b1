//===- PackSlots.cpp - Pass pack-slots -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// When a tensor is in use, on a scale with three marks: the forward, backward_input
// and backward_weight (the whole backward spans the last two). Between marks the rank
// does other micro-batches, and messages come and go.
//
//     input             from before the forward      to its last reader
//     output            from the forward             to the end, since it is sent meanwhile
//     residual          from who makes it            to its last reader
//     output_cotangent  from before backward_input   to its last reader
//     input_cotangent   from backward_input          to the end
//
//===----------------------------------------------------------------------===//
#include "dialects/exec/Exec.h"
#include "moire/Pipe/PipelineProgram.h"
#include "moire/Program/ArenaPacking.h"
#include "moire/Program/Passes.h"

namespace moire::program {
#define GEN_PASS_DEF_PACKSLOTS
#include "lib/Program/Passes.h.inc"
} // namespace moire::program

using namespace mlir;
using namespace moire;
using namespace moire::program;
using namespace moire::scheduling;

namespace {
struct PackSlots : program::impl::PackSlotsBase<PackSlots> {
  void runOnOperation() override {
    if (!pipe::PipelineProgram::isIn(getOperation()))
      return;
    offsets.clear();
    auto program = pipe::PipelineProgram::read(getOperation());
    if (failed(program))
      return signalPassFailure();
    for (int stage = 0; stage < program->numStages(); ++stage)
      if (failed(pack(*program, stage)))
        return signalPassFailure();
    for (pipe::PipelineProgram::Pair pair : program->pairs())
      for (auto kept : pair.func.getBody().front().getOps<exec::KeptOp>()) {
        const int stage = kept->hasAttr(pipe::kSecondAttr) ? pair.second : pair.first;
        auto it = offsets.find({stage, kept.getRole(), kept.getNumber()});
        if (it == offsets.end()) {
          kept.emitOpError("is kept by no function of stage ") << stage;
          return signalPassFailure();
        }
        kept.setOffset(it->second);
      }
  }

  /// By stage, role and number.
  std::map<std::tuple<int, StringRef, int64_t>, int64_t> offsets;

  LogicalResult pack(const pipe::PipelineProgram &program, int stage) {
    llvm::MapVector<Attribute, SmallVector<exec::KeptOp>> known; // by role and number
    ArenaProblem problem;
    DenseMap<Attribute, size_t> index;
    Builder b(&getContext());
    const int64_t end = 2;
    for (TaskKind kind : {TaskKind::Forward, TaskKind::Backward, TaskKind::BackwardInput,
                          TaskKind::BackwardWeight}) {
      func::FuncOp func = program.functionOf({kind, 0, stage, 0});
      if (!func)
        continue;
      const int64_t first = kind == TaskKind::Forward          ? 0
                            : kind == TaskKind::BackwardWeight ? 2
                                                               : 1;
      const int64_t last = kind == TaskKind::Forward         ? 0
                           : kind == TaskKind::BackwardInput ? 1
                                                             : 2;
      for (auto kept : func.getBody().front().getOps<exec::KeptOp>()) {
        Attribute key = b.getArrayAttr({kept.getRoleAttr(), kept.getNumberAttr()});
        auto [it, isNew] = index.try_emplace(key, problem.ranges.size());
        if (isNew)
          problem.ranges.push_back({kept.getBytes(), first, last});
        LiveRange &range = problem.ranges[it->second];
        if (range.bytes != kept.getBytes())
          return kept.emitOpError("has ") << kept.getBytes() << " bytes, another function of the stage "
                                          << "keeps " << range.bytes << " under this number";
        range.first = std::min(range.first, first);
        range.last = std::max(range.last, last);
        // What comes lies there from the start of the first task that it is for.
        if (kept.getRole() == pipe::kInputAttr)
          range.first = 0;
        if (kept.getRole() == pipe::kOutputCotangentAttr)
          range.first = std::min<int64_t>(range.first, 1);
        if (kept.getRole() == pipe::kOutputAttr || kept.getRole() == pipe::kInputCotangentAttr)
          range.last = end;
        known[key].push_back(kept);
      }
    }
    const ArenaSolution solution = packArena(problem);
    for (auto &[key, ops] : known)
      for (exec::KeptOp kept : ops) {
        kept.setOffset(solution.offsets[index[key]]);
        offsets[{stage, kept.getRole(), kept.getNumber()}] = solution.offsets[index[key]];
      }
    pipe::StageOp(program.stages[stage])
        ->setAttr(kSlotBytesAttr, b.getI64IntegerAttr(solution.bytes));
    return success();
  }
};
} // namespace
