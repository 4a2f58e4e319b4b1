//===- Numbers.h - Numbers as people write them -----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIALECTS_PIPE_NUMBERS_H
#define MOIRE_DIALECTS_PIPE_NUMBERS_H

#include "mlir/IR/OpImplementation.h"
#include <string>

namespace moire::pipe {

/// The shortest text that reads back as this number: `57.6`, `5.0e+10`, `inf`.
std::string numberText(double value);

/// A number with or without a fraction, `inf` or `nan`.
mlir::ParseResult parseNumber(mlir::AsmParser &parser, double &value);

} // namespace moire::pipe

#endif // MOIRE_DIALECTS_PIPE_NUMBERS_H
