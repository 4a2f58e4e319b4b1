//===- Harness.h - A function before and after passes --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TEST_UNIT_RAISE_HARNESS_H
#define MOIRE_TEST_UNIT_RAISE_HARNESS_H

#include "dialects/pipe/Pipe.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "moire/Interp/Evaluator.h"
#include "moire/Interp/GradCheck.h"
#include "moire/Raise/Passes.h"
#include "gtest/gtest.h"

namespace moire::raise {

/// Pseudo-random numbers for every parameter, the same in both runs.
struct Parameters : interp::ParameterAccess {
  mlir::LogicalResult evaluate(mlir::Operation *op, llvm::ArrayRef<interp::RuntimeValue>,
                               llvm::SmallVectorImpl<interp::RuntimeValue> &results) override {
    auto read = mlir::dyn_cast<pipe::ReadOp>(op);
    if (!read)
      return mlir::failure();
    auto type = mlir::cast<mlir::RankedTensorType>(read.getType());
    results.push_back(interp::randomTensor(type, llvm::hash_value(read.getParameter())));
    return mlir::success();
  }
};

struct Harness : testing::Test {
  Harness() {
    mlir::DialectRegistry registry;
    registry.insert<mlir::arith::ArithDialect, mlir::func::FuncDialect, mlir::math::MathDialect,
                    nn::NNDialect, pipe::PipeDialect>();
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  /// Floats in [-1, 1); integers 1, but 0 at every seventh position, so that
  /// masks hide something and never the first key; ids below 2.
  static llvm::SmallVector<interp::RuntimeValue> arguments(mlir::func::FuncOp func) {
    llvm::SmallVector<interp::RuntimeValue> values;
    for (auto [i, type] : llvm::enumerate(func.getArgumentTypes())) {
      auto tensor = mlir::cast<mlir::RankedTensorType>(type);
      interp::Tensor t(tensor);
      if (t.isFloat()) {
        t = interp::randomTensor(tensor, i + 1);
      } else {
        for (auto [n, v] : llvm::enumerate(t.edit<int64_t>()))
          v = n % 7 != 6;
      }
      values.push_back(t);
    }
    return values;
  }

  static llvm::SmallVector<interp::RuntimeValue> run(mlir::func::FuncOp func) {
    Parameters parameters;
    interp::EvaluatorOptions options;
    options.f64 = true;
    llvm::SmallVector<interp::RuntimeValue> results;
    interp::Evaluator evaluator(options, &parameters);
    EXPECT_TRUE(mlir::succeeded(evaluator.run(func, arguments(func), results)));
    return results;
  }

  /// Expects that the passes leave the function's results as they are, and
  /// verifies what they give.
  void expectSame(mlir::func::FuncOp func,
                  llvm::function_ref<void(mlir::OpPassManager &)> passes) {
    auto before = run(func);
    mlir::PassManager pm(&context);
    passes(pm);
    ASSERT_TRUE(mlir::succeeded(pm.run(func->getParentOfType<mlir::ModuleOp>())));
    auto after = run(func);
    ASSERT_EQ(before.size(), after.size());
    for (auto [a, b] : llvm::zip(before, after)) {
      if (!a.tensor().isFloat()) {
        EXPECT_EQ(a.tensor().ints(), b.tensor().ints());
        continue;
      }
      double worst = 0;
      for (auto [x, y] : llvm::zip(a.tensor().floats(), b.tensor().floats()))
        worst = std::max(worst, std::abs(x - y));
      // The scale of an attention is rounded to f32 once instead of twice.
      EXPECT_LT(worst, 1e-7);
    }
  }

  mlir::MLIRContext context;
};

} // namespace moire::raise

#endif // MOIRE_TEST_UNIT_RAISE_HARNESS_H
