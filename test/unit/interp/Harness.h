//===- Harness.h - Parses and runs a function in a unit test -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TEST_UNIT_INTERP_HARNESS_H
#define MOIRE_TEST_UNIT_INTERP_HARNESS_H

#include "dialects/nn/NN.h"
#include "dialects/pipe/Pipe.h"
#include "moire/Interp/Evaluator.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

namespace moire::interp {

struct Interp : testing::Test {
  Interp() {
    mlir::DialectRegistry registry;
    registry.insert<mlir::arith::ArithDialect, mlir::func::FuncDialect,
                    mlir::linalg::LinalgDialect, mlir::math::MathDialect,
                    mlir::tensor::TensorDialect, nn::NNDialect, pipe::PipeDialect>();
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  mlir::func::FuncOp parse(llvm::StringRef text) {
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    return module ? *module->getOps<mlir::func::FuncOp>().begin() : mlir::func::FuncOp();
  }

  /// Runs the text's first function; no results where that fails.
  llvm::SmallVector<RuntimeValue> run(llvm::StringRef text, llvm::ArrayRef<RuntimeValue> arguments = {},
                                      EvaluatorOptions options = {}) {
    llvm::SmallVector<RuntimeValue> results;
    mlir::func::FuncOp func = parse(text);
    if (!func || mlir::failed(Evaluator(options).run(func, arguments, results)))
      results.clear();
    return results;
  }

  Tensor f32(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<double> values) {
    Tensor tensor(mlir::FloatType::getF32(&context), shape);
    llvm::copy(values, tensor.edit<double>().begin());
    tensor.round();
    return tensor;
  }
  Tensor f64(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<double> values) {
    Tensor tensor(mlir::FloatType::getF64(&context), shape);
    llvm::copy(values, tensor.edit<double>().begin());
    return tensor;
  }
  Tensor i64(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> values) {
    Tensor tensor(mlir::IntegerType::get(&context, 64), shape);
    llvm::copy(values, tensor.edit<int64_t>().begin());
    return tensor;
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

} // namespace moire::interp

#endif // MOIRE_TEST_UNIT_INTERP_HARNESS_H
