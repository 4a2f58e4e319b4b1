//===- PackSlots.cpp - Pass pack-slots -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Slots.h"
#include "moire/Program/Passes.h"

namespace moire::program {
#define GEN_PASS_DEF_PACKSLOTS
#include "lib/Program/Passes.h.inc"
} // namespace moire::program

using namespace mlir;
using namespace moire;
using namespace moire::program;

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
        auto it = offsets.find({int(program->originalOf(stage)), kept.getRole(), kept.getNumber()});
        if (it == offsets.end()) {
          kept.emitOpError("is kept by no function of stage ") << stage;
          return signalPassFailure();
        }
        kept.setOffset(it->second);
      }
  }

  /// By stage that has functions of its own, role and number.
  std::map<std::tuple<int, StringRef, int64_t>, int64_t> offsets;

  LogicalResult pack(const pipe::PipelineProgram &program, int number) {
    pipe::StageOp stage = program.stages[number];
    if (const int64_t original = program.originalOf(number); original != number) {
      pipe::StageOp other = program.stages[original];
      stage->setAttr(kSlotBytesAttr, other->getAttr(kSlotBytesAttr));
      return success();
    }
    FailureOr<Slot> slot = slotOf(program, number);
    if (failed(slot))
      return failure();
    const ArenaSolution solution = packArena(slot->problem);
    for (auto [ops, offset] : llvm::zip(slot->tensors, solution.offsets))
      for (exec::KeptOp kept : ops) {
        kept.setOffset(offset);
        offsets[{number, kept.getRole(), kept.getNumber()}] = offset;
      }
    stage->setAttr(kSlotBytesAttr, Builder(&getContext()).getI64IntegerAttr(solution.bytes));
    return success();
  }
};
} // namespace
