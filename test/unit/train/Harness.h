//===- Harness.h - Gradients of a function against differences -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A case is the body of a function over parameters. The train phase's own
// passes differentiate the sum of its float results, each multiplied by fixed
// random weights; the interpreter executes both in f64; every gradient element
// is compared with the central difference of the undifferentiated function.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TEST_UNIT_TRAIN_HARNESS_H
#define MOIRE_TEST_UNIT_TRAIN_HARNESS_H

#include "moire/Interp/Evaluator.h"
#include "moire/Train/Passes.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Transforms/Passes.h"
#include "gtest/gtest.h"

namespace moire::train {

/// A parameter with values uniform in [low, high).
struct Variable {
  const char *name;
  const char *shape; ///< "3x4", "" for a scalar
  double low = -1, high = 1;
};

struct Case {
  const char *name;
  std::vector<Variable> variables; ///< each is a value %name in the body
  const char *body;                ///< ends in `return %a, ... : types`
};

inline void PrintTo(const Case &c, std::ostream *os) { *os << c.name; }

class GradientTest : public testing::TestWithParam<Case> {
protected:
  GradientTest() {
    mlir::DialectRegistry registry;
    registry.insert<mlir::arith::ArithDialect, mlir::func::FuncDialect, mlir::linalg::LinalgDialect,
                    mlir::math::MathDialect, mlir::tensor::TensorDialect, nn::NNDialect,
                    pipe::PipeDialect>();
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  /// Parameter values going in, gradients coming out.
  struct Parameters : interp::ParameterAccess {
    std::map<std::string, interp::Tensor> values, gradients;

    mlir::LogicalResult evaluate(mlir::Operation *op,
                                 llvm::ArrayRef<interp::RuntimeValue> operands,
                                 llvm::SmallVectorImpl<interp::RuntimeValue> &results) override {
      if (auto read = mlir::dyn_cast<pipe::ReadOp>(op)) {
        results.push_back(values.at(read.getParameter().str()));
        return mlir::success();
      }
      auto accumulate = mlir::cast<pipe::AccumulateOp>(op);
      bool first = gradients.emplace(accumulate.getParameter().str(), operands[0].tensor()).second;
      return mlir::success(first);
    }
  };

  /// The module of a case; the function returns the weighted sum.
  mlir::OwningOpRef<mlir::ModuleOp> build(const Case &c) {
    std::string text, types = llvm::StringRef(c.body).rsplit(" : ").second.rtrim().str();
    auto tensor = [](const Variable &v) {
      return std::string("tensor<") + v.shape + (*v.shape ? "x" : "") + "f32>";
    };
    for (const Variable &v : c.variables)
      text += std::string("pipe.parameter @") + v.name + " : " + tensor(v) +
              " from [#pipe.source<\"\", \"\", 0, 0, f32, same, 0>]\n";
    text += "func.func @micro_step() -> (" + types + ") {\n";
    for (const Variable &v : c.variables)
      text += std::string("%") + v.name + " = pipe.read @" + v.name + " : " + tensor(v) + "\n";
    text += std::string(c.body) + "\n}\n";
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    if (module)
      sumResults(*module->getOps<mlir::func::FuncOp>().begin());
    return module;
  }

  void sumResults(mlir::func::FuncOp func) {
    mlir::Operation *exit = func.getBody().front().getTerminator();
    mlir::OpBuilder b(exit);
    mlir::Location loc = exit->getLoc();
    mlir::Value total;
    for (mlir::Value v : exit->getOperands()) {
      auto type = mlir::cast<mlir::RankedTensorType>(v.getType());
      if (!mlir::isa<mlir::FloatType>(type.getElementType()))
        continue;
      std::vector<float> weights(type.getNumElements());
      for (float &w : weights)
        w = random(-1, 1);
      mlir::Value weight = b.create<mlir::arith::ConstantOp>(
          loc, mlir::DenseElementsAttr::get(type, llvm::ArrayRef<float>(weights)));
      mlir::Value product = b.create<mlir::arith::MulFOp>(loc, v, weight);
      mlir::Value sum = b.createOrFold<nn::ReduceOp>(
          loc, product, nn::ReduceKind::sum,
          llvm::to_vector(llvm::seq<int64_t>(0, type.getRank())));
      total = total ? b.create<mlir::arith::AddFOp>(loc, total, sum) : sum;
    }
    exit->setOperands(total);
    func.setFunctionType(b.getFunctionType({}, total.getType()));
  }

  double random(double low, double high) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * double(state >> 11) / double(1ull << 53);
  }

  std::optional<double> run(mlir::ModuleOp module, Parameters &parameters) {
    interp::EvaluatorOptions options;
    options.f64 = true;
    llvm::SmallVector<interp::RuntimeValue> results;
    interp::Evaluator evaluator(options, &parameters);
    auto func = module.lookupSymbol<mlir::func::FuncOp>("micro_step");
    if (mlir::failed(evaluator.run(func, {}, results)))
      return std::nullopt;
    return results[0].tensor().floats()[0];
  }

  void check(const Case &c) {
    auto primal = build(c);
    ASSERT_TRUE(primal);
    mlir::OwningOpRef<mlir::ModuleOp> adjoint(primal->clone());
    mlir::PassManager passes(&context);
    passes.addPass(createTrainAutodiff());
    passes.addNestedPass<mlir::func::FuncOp>(mlir::createCanonicalizerPass());
    passes.addNestedPass<mlir::func::FuncOp>(createTrainCleanUp());
    passes.addNestedPass<mlir::func::FuncOp>(mlir::createCSEPass());
    ASSERT_TRUE(mlir::succeeded(passes.run(*adjoint)));

    Parameters parameters;
    for (auto op : primal->getOps<pipe::ParameterOp>()) {
      interp::Tensor value(mlir::cast<mlir::RankedTensorType>(op.getType()));
      const Variable &v = *llvm::find_if(
          c.variables, [&](const Variable &v) { return op.getSymName() == v.name; });
      for (double &element : value.edit<double>())
        element = random(v.low, v.high);
      parameters.values[op.getSymName().str()] = value;
    }
    auto loss = run(*adjoint, parameters), same = run(*primal, parameters);
    ASSERT_TRUE(loss && same);
    EXPECT_NEAR(*loss, *same, 1e-12 * (1 + std::fabs(*same)));

    for (const Variable &v : c.variables)
      compare(v.name, *primal, parameters);
    if (HasFailure())
      adjoint->dump();
  }

  /// One parameter's gradient against central differences.
  void compare(const std::string &name, mlir::ModuleOp primal, Parameters &parameters) {
    const double step = 1e-5;
    // Without an accumulate the gradient must be zero.
    interp::Tensor zero(parameters.values[name].type());
    auto found = parameters.gradients.find(name);
    const interp::Tensor &gradient = found == parameters.gradients.end() ? zero : found->second;
    auto at = [&](size_t i, double value) {
      Parameters moved = parameters;
      moved.values[name].edit<double>()[i] = value;
      return *run(primal, moved);
    };
    for (size_t i = 0; i < (size_t)gradient.size(); ++i) {
      double x = parameters.values[name].floats()[i];
      double difference = (at(i, x + step) - at(i, x - step)) / (2 * step);
      EXPECT_NEAR(gradient.floats()[i], difference, 1e-7 * (10 + std::fabs(difference)))
          << name << "[" << i << "]";
    }
  }

  mlir::MLIRContext context;
  uint64_t state = 1;
};

inline std::string caseName(const testing::TestParamInfo<Case> &info) { return info.param.name; }

} // namespace moire::train

#endif // MOIRE_TEST_UNIT_TRAIN_HARNESS_H
