//===- Timetable.h - What runs when in a pipeline's pairs ------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_OVERLAP_TIMETABLE_H
#define MOIRE_OVERLAP_TIMETABLE_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "moire/Overlap/OpCost.h"

namespace moire::overlap {

/// A table for each function of two tasks, in the order of its ops: what computes and what is under
/// way, from when to when. least: the part of the whole that an op must take to be in it.
void printTimetables(mlir::ModuleOp module, const Rates &rates, double least,
                     llvm::raw_ostream &os);

/// How long a function takes in seconds, its ops in their order on two resources: of the whole,
/// what it waits for transfers while it computes nothing.
struct Span {
  double seconds = 0, exposed = 0;
};
Span spanOf(mlir::func::FuncOp func, const Rates &rates);

} // namespace moire::overlap

#endif // MOIRE_OVERLAP_TIMETABLE_H
