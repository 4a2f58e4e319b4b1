//===- StageTimes.h - How long a stage takes -------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_STAGES_STAGETIMES_H
#define MOIRE_LIB_STAGES_STAGETIMES_H

#include "moire/Overlap/OpCost.h"
#include "moire/Pipe/PipelineProgram.h"

namespace moire::stages {

/// The times of a stage, in seconds, from the ops of its functions as they are in this phase; those
/// of a null function are 0. Bytes are left out.
scheduling::StageCost timesOf(mlir::func::FuncOp forward, mlir::func::FuncOp backward,
                              mlir::func::FuncOp backwardInput, mlir::func::FuncOp backwardWeight,
                              const overlap::Rates &rates);

/// The ONNX node that the first op of a stage's forward with one comes from.
std::string firstNode(const pipe::PipelineProgram &program, int stage);

} // namespace moire::stages

#endif // MOIRE_LIB_STAGES_STAGETIMES_H
