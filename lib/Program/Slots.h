//===- Slots.h - What stages of a pipeline keep, and when ----------------===//
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
#ifndef MOIRE_LIB_PROGRAM_SLOTS_H
#define MOIRE_LIB_PROGRAM_SLOTS_H

#include "dialects/exec/Exec.h"
#include "moire/Pipe/PipelineProgram.h"
#include "moire/Program/ArenaPacking.h"

namespace moire::program {

/// What the functions of a stage keep in a slot.
struct Slot {
  /// By role and number, in the order of problem.ranges: where functions name the tensor.
  std::vector<llvm::SmallVector<exec::KeptOp>> tensors;
  ArenaProblem problem;
};

/// Fails where two functions of the stage give a tensor different sizes.
mlir::FailureOr<Slot> slotOf(const pipe::PipelineProgram &program, int stage);

/// Proves that in a slot of each stage no two tensors that are in use at one time share bytes,
/// that all functions and pairs agree where a tensor lies, and that all lie within the slot.
mlir::LogicalResult verifySlots(const pipe::PipelineProgram &program);

} // namespace moire::program

#endif // MOIRE_LIB_PROGRAM_SLOTS_H
