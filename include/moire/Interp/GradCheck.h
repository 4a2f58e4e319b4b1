//===- GradCheck.h - Derivatives against central differences -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Everything runs in f64 whatever the functions' types say, so a difference
// quotient of step 1e-5 is good to about ten digits.
//
//     std::string wrong = checkGradients(primal, adjoint, {x, w});
//     EXPECT_EQ(wrong, "");
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_INTERP_GRADCHECK_H
#define MOIRE_INTERP_GRADCHECK_H

#include "moire/Interp/Evaluator.h"
#include <string>

namespace moire::interp {

struct GradCheckOptions {
  double step = 1e-5;
  /// |gradient - quotient| <= tolerance * (|quotient| + largest |quotient| of
  /// the argument + 1e-3).
  double tolerance = 1e-6;
  /// Where the quotients of `step` and `step` / 8 differ by more than a
  /// thousandth, the function has a kink there (a ReLU's zero, a maximum's
  /// tie, a choice of experts) and the element is not compared. More than a
  /// quarter of an argument's elements left out is an error.
  bool skipKinks = true;
  /// Elements compared per argument, evenly spaced; all by default.
  int64_t samples = 0;
  /// Seeds the result's cotangents.
  uint64_t seed = 1;
};

/// Compares the gradients of L = sum over the float results of <c, result>, c
/// being pseudo-random cotangents in [-1, 1].
///   primal:  (arguments...) -> (results...)
///   adjoint: (arguments..., one cotangent per float result) ->
///            one gradient per float argument, in order
/// Arguments that are not float tensors are held. Returns "" where all agree,
/// else a sentence with the first difference.
std::string checkGradients(mlir::func::FuncOp primal, mlir::func::FuncOp adjoint,
                           llvm::ArrayRef<RuntimeValue> arguments, GradCheckOptions options = {});

/// The same for one op: `func` holds it, its operands being constants or the
/// function's arguments, and returns those of its results that L sums over (the
/// others' cotangents are null). The gradients come from the op's
/// DifferentiableOpInterface, once for all float arguments together and once
/// for each alone (as `wanted` allows).
std::string checkOpGradients(mlir::func::FuncOp func, llvm::ArrayRef<RuntimeValue> arguments,
                             GradCheckOptions options = {});

/// Pseudo-random elements in [low, high); integers for an integer type.
Tensor randomTensor(mlir::RankedTensorType type, uint64_t seed, double low = -1, double high = 1);

} // namespace moire::interp

#endif // MOIRE_INTERP_GRADCHECK_H
