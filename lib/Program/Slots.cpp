//===- Slots.cpp - What stages of a pipeline keep, and when --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Slots.h"
#include "moire/Program/Passes.h"

using namespace mlir;
using namespace moire;
using namespace moire::program;
using namespace moire::scheduling;

FailureOr<Slot> program::slotOf(const pipe::PipelineProgram &program, int stage) {
  Slot slot;
  std::map<std::pair<StringRef, int64_t>, size_t> index;
  const int64_t end = 2;
  for (TaskKind kind :
       {TaskKind::Forward, TaskKind::Backward, TaskKind::BackwardInput, TaskKind::BackwardWeight}) {
    func::FuncOp func = program.functionOf({kind, 0, stage, 0});
    if (!func)
      continue;
    const int64_t first = kind == TaskKind::Forward ? 0 : kind == TaskKind::BackwardWeight ? 2 : 1;
    const int64_t last = kind == TaskKind::Forward ? 0 : kind == TaskKind::BackwardInput ? 1 : 2;
    for (auto kept : func.getBody().front().getOps<exec::KeptOp>()) {
      auto [it, isNew] = index.try_emplace({kept.getRole(), kept.getNumber()}, slot.tensors.size());
      if (isNew) {
        slot.tensors.emplace_back();
        slot.problem.ranges.push_back({kept.getBytes(), first, last});
      }
      slot.tensors[it->second].push_back(kept);
      LiveRange &range = slot.problem.ranges[it->second];
      if (range.bytes != kept.getBytes())
        return kept.emitOpError("has ")
                   << kept.getBytes() << " bytes, another function of the stage "
                   << "keeps " << range.bytes << " under this number",
               failure();
      range.first = std::min(range.first, first);
      range.last = std::max(range.last, last);
      // What comes lies there from the start of the first task that it is for.
      if (kept.getRole() == pipe::kInputAttr)
        range.first = 0;
      if (kept.getRole() == pipe::kOutputCotangentAttr)
        range.first = std::min<int64_t>(range.first, 1);
      if (kept.getRole() == pipe::kOutputAttr || kept.getRole() == pipe::kInputCotangentAttr)
        range.last = end;
    }
  }
  return slot;
}

LogicalResult program::verifySlots(const pipe::PipelineProgram &program) {
  std::map<std::tuple<int64_t, StringRef, int64_t>, int64_t> offsets; // by stage, role, number
  auto check = [&](int64_t stage, exec::KeptOp kept) -> LogicalResult {
    if (!kept.getOffset())
      return kept.emitOpError("has no offset; run pack-slots first");
    const auto [it, isNew] = offsets.try_emplace(
        {program.originalOf(stage), kept.getRole(), kept.getNumber()}, *kept.getOffset());
    if (it->second != int64_t(*kept.getOffset()))
      return kept.emitOpError("lies at byte ")
             << *kept.getOffset() << " of the slot, but at " << it->second
             << " in another function of stage " << stage;
    return success();
  };
  for (auto [number, op] : llvm::enumerate(program.stages)) {
    pipe::StageOp stage = op;
    const auto bytes = stage->getAttrOfType<IntegerAttr>(kSlotBytesAttr);
    if (!bytes)
      return stage.emitOpError("has no ") << kSlotBytesAttr << "; run pack-slots first";
    const FailureOr<Slot> slot = slotOf(program, int(number));
    if (failed(slot))
      return failure();
    ArenaSolution solution;
    for (auto [ops, range] : llvm::zip(slot->tensors, slot->problem.ranges)) {
      for (exec::KeptOp kept : ops)
        if (failed(check(number, kept)))
          return failure();
      exec::KeptOp kept = ops.front();
      solution.offsets.push_back(*kept.getOffset());
      if (solution.offsets.back() + range.bytes > bytes.getInt())
        return kept.emitOpError("ends at byte ")
               << solution.offsets.back() + range.bytes << ", but a slot of stage " << number
               << " has " << bytes.getInt();
    }
    if (auto overlap = findOverlap(slot->problem, solution)) {
      exec::KeptOp one = slot->tensors[overlap->first].front(),
                   two = slot->tensors[overlap->second].front();
      InFlightDiagnostic error =
          two.emitOpError("shares bytes with a tensor that the stage keeps at "
                          "the same time");
      error.attachNote(one.getLoc()) << "the other tensor";
      return error;
    }
  }
  for (pipe::PipelineProgram::Pair pair : program.pairs())
    for (auto kept : pair.func.getBody().front().getOps<exec::KeptOp>())
      if (failed(check(kept->hasAttr(pipe::kSecondAttr) ? pair.second : pair.first, kept)))
        return failure();
  return success();
}
