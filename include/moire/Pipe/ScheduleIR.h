//===- ScheduleIR.h - Schedules as IR and as plain data ---------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PIPE_SCHEDULEIR_H
#define MOIRE_PIPE_SCHEDULEIR_H

#include "dialects/pipe/PipeSchedule.h"

namespace moire {

/// The schedule that `op` spells out; emits a located error and fails where it cannot be read.
/// `problem.links` is empty where all links are `problem.link`.
mlir::LogicalResult readSchedule(pipe::ScheduleOp op, scheduling::Problem &problem,
                                 scheduling::Schedule &schedule);

/// Writes `schedule`, which verify accepts, as a pipe.schedule of that name at the builder's place,
/// with a queue on each rank where it has messages. `stages` are the pipe.stages of `problem`;
/// where there are none, they are made before it, as @stage0, @stage1, …. The symbol table around
/// the builder's place must not have these names yet. `kind` says how the schedule was made.
pipe::ScheduleOp buildSchedule(mlir::OpBuilder &builder, mlir::Location loc, llvm::StringRef name,
                               const scheduling::Problem &problem, llvm::StringRef kind,
                               const scheduling::Schedule &schedule,
                               llvm::ArrayRef<pipe::StageOp> stages = {});

} // namespace moire

#endif // MOIRE_PIPE_SCHEDULEIR_H
