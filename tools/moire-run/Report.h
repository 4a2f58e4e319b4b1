//===- Report.h - What moire-run prints and compares ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_MOIRE_RUN_REPORT_H
#define MOIRE_TOOLS_MOIRE_RUN_REPORT_H

#include "moire/Interp/Training.h"

/// `name: type = elements`, or minimum, maximum, mean and the first elements of
/// a tensor of more than 64.
void printSummary(llvm::raw_ostream &os, const moire::interp::NamedTensor &named);
/// To stderr: an op's name, location and results.
void printTrace(mlir::Operation *op, llvm::ArrayRef<moire::interp::RuntimeValue> results);

void printStep(llvm::raw_ostream &os, const moire::interp::StepReport &report);
/// One line of JSON.
void logStep(llvm::raw_ostream &os, const moire::interp::StepReport &report, double rate);

/// What each rank did in a step, as a Chrome trace: a process a rank, in it tasks of its schedule
/// and their ops, collectives, and messages to other stages.
void writeTimeline(llvm::raw_ostream &os, const moire::interp::StepReport &report);

/// Whether |output - wanted| <= atol + rtol * |wanted| everywhere; `expect` is
/// FILE.pb or FILE.pb:N. Otherwise `error` is a sentence with the first
/// difference, or why there is nothing to compare.
bool isExpected(llvm::StringRef expect, llvm::ArrayRef<moire::interp::NamedTensor> outputs,
                double rtol, double atol, mlir::MLIRContext *context, std::string &error);

#endif // MOIRE_TOOLS_MOIRE_RUN_REPORT_H
