//===- Dialects.h - The dialects that every tool registers ---------------===//
//
// One by one: InitAllDialects.h costs 42 s to compile, these cost a few.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_SUPPORT_DIALECTS_H
#define MOIRE_SUPPORT_DIALECTS_H

#include "dialects/dist/Dist.h"
#include "dialects/exec/Exec.h"
#include "dialects/nn/NN.h"
#include "dialects/onnx/Onnx.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectRegistry.h"

namespace moire {
inline void registerDialects(mlir::DialectRegistry &registry) {
  registry.insert<mlir::arith::ArithDialect, mlir::func::FuncDialect, mlir::linalg::LinalgDialect,
                  mlir::math::MathDialect, mlir::tensor::TensorDialect, dist::DistDialect,
                  exec::ExecDialect, nn::NNDialect, onnx::OnnxDialect, pipe::PipeDialect>();
}
} // namespace moire

#endif // MOIRE_SUPPORT_DIALECTS_H
