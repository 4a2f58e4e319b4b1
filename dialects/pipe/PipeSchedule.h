//===- PipeSchedule.h - Stages and schedules of the pipe dialect ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIALECTS_PIPE_PIPESCHEDULE_H
#define MOIRE_DIALECTS_PIPE_PIPESCHEDULE_H

#include "dialects/pipe/Pipe.h"
#include "mlir/IR/BuiltinOps.h"
#include "moire/Scheduling/Ramp.h"
#include "moire/Scheduling/Schedule.h"

#define GET_OP_CLASSES
#include "dialects/pipe/ScheduleOps.h.inc"

namespace moire::pipe {

/// The forward, backward, backward_input or backward_weight that `op` is; nothing for other ops.
std::optional<scheduling::Task> taskOf(mlir::Operation *op);

/// The message that a send or receive moves; nothing for other ops.
std::optional<scheduling::Message> messageOf(mlir::Operation *op);

/// What the module's pipe.batch_ramp says; empty where there is none.
scheduling::Ramp batchRampOf(mlir::ModuleOp module);

/// The problem and the schedule that `op` spells out; emits an error where stages and links are not
/// as the op says. Its regions are verified; whether the schedule runs need not be.
mlir::LogicalResult readSchedule(ScheduleOp op, mlir::SymbolTableCollection &tables,
                                 scheduling::Problem &problem, scheduling::Schedule &schedule);

} // namespace moire::pipe

#endif // MOIRE_DIALECTS_PIPE_PIPESCHEDULE_H
