//===- KernelMeaning.h - What a scalar kernel computes -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_PROGRAM_KERNELMEANING_H
#define MOIRE_LIB_PROGRAM_KERNELMEANING_H

#include "dialects/exec/Exec.h"

namespace moire::program {

/// Whether a kernel of one argument is GELU in its tanh form. Exporters write it in
/// many ways (a power or products, constants rounded here or there), so it is
/// computed at sample points: the form with erf differs by 5e-4 there, another
/// way of writing it by 1e-6.
bool isTanhGelu(exec::KernelOp kernel);

/// Whether a kernel of two arguments (gate, up) is silu(gate) * up.
bool isSwiglu(exec::KernelOp kernel);

/// Whether a kernel of two arguments adds them, widened or not, to f32.
bool isAddition(exec::KernelOp kernel);

} // namespace moire::program

#endif // MOIRE_LIB_PROGRAM_KERNELMEANING_H
