//===- LossTest.cpp - Micro-batches add up to the step's loss ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A step on two rows whose labels count differently must give the loss that the
// file's own mean gives on both rows at once, and so must two steps of one row.
//
//===----------------------------------------------------------------------===//
#include "moire/Interp/Evaluator.h"
#include "moire/Train/Passes.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace moire;
using interp::RuntimeValue;
using interp::Tensor;
using train::TrainLossOptions;

namespace {

constexpr int64_t kSeq = 4, kVocab = 5, kIgnored = -100;
const double kLogits[2][kSeq][kVocab] = {
    {{0.3, -1, 2, 0.1, 0}, {1, 1, -2, 0.5, 3}, {0, 0.2, 0.4, -0.6, 1}, {2, -2, 1, -1, 0}},
    {{-1, 0.7, 0.2, 1.1, -3}, {0.5, 0, 0, 0, -0.5}, {3, 1, -1, 2, 0}, {1, 2, 3, 4, 5}}};
const int64_t kLabels[2][kSeq] = {{1, 4, 0, 2}, {3, kIgnored, 1, kIgnored}};

/// Log-softmax cross-entropy of one row at one position, by the formula.
double lossAt(int row, int position, int64_t label) {
  double sum = 0;
  for (double z : kLogits[row][position])
    sum += std::exp(z);
  return std::log(sum) - kLogits[row][position][label];
}

class Loss : public testing::Test {
protected:
  Loss() {
    mlir::DialectRegistry registry;
    registry.insert<mlir::arith::ArithDialect, mlir::func::FuncDialect, mlir::linalg::LinalgDialect,
                    mlir::math::MathDialect, mlir::tensor::TensorDialect, nn::NNDialect,
                    pipe::PipeDialect>();
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  /// @forward for `batch` rows: the logits as they come, and a score.
  std::string plain(int64_t batch) {
    std::string b = std::to_string(batch);
    return "func.func @forward(%x: tensor<" + b + "x4x5xf32>) -> (tensor<" + b +
           "x4x5xf32> {onnx.name = \"logits\"}, tensor<f32> {onnx.name = \"aux\"}) {\n"
           "  %s = arith.constant dense<3.0> : tensor<f32>\n"
           "  return %x, %s : tensor<" + b + "x4x5xf32>, tensor<f32>\n}";
  }

  /// The file shifts, masks and divides by itself; HF's form with a padded label.
  std::string inFile(int64_t batch, const char *extra) {
    std::string b = std::to_string(batch), n = std::to_string(batch * 4);
    std::string text = R"(
func.func @forward(%x: tensor<Bx4x5xf32> {onnx.name = "x"}, %labels: tensor<Bx4xi64> {onnx.name = "labels"})
    -> (tensor<f32> {onnx.name = "loss"}) {
  %padded = nn.pad %labels low [0, 0] high [0, 1] interior [0, 0] {value = -100.0} : tensor<Bx4xi64> -> tensor<Bx5xi64>
  %shifted = nn.slice %padded starts [0, 1] limits [B, 5] strides [1, 1] : tensor<Bx5xi64> -> tensor<Bx4xi64>
  %rows = nn.reshape %x : tensor<Bx4x5xf32> -> tensor<Nx5xf32>
  %targets = nn.reshape %shifted : tensor<Bx4xi64> -> tensor<Nxi64>
  %losses, %lse = nn.cross_entropy %rows, %targets : tensor<Nx5xf32>, tensor<Nxi64> -> tensor<Nxf32>, tensor<Nxf32>
  %sum = nn.reduce sum %losses [0] : tensor<Nxf32> -> tensor<f32>
  %ignored = arith.constant dense<-100> : tensor<Nxi64>
  %counts = arith.cmpi ne, %targets, %ignored : tensor<Nxi64>
  %ones = arith.uitofp %counts : tensor<Nxi1> to tensor<Nxf32>
  %n = nn.reduce sum %ones [0] : tensor<Nxf32> -> tensor<f32>
  %mean = arith.divf %sum, %n : tensor<f32>
)";
    text += std::string(extra) + "  return %loss : tensor<f32>\n}";
    // Shapes of this batch.
    for (auto [from, to] : {std::pair<std::string, std::string>{"tensor<B", "tensor<" + b},
                            {"limits [B", "limits [" + b},
                            {"tensor<N", "tensor<" + n}})
      for (size_t at; (at = text.find(from)) != std::string::npos;)
        text.replace(at, from.size(), to);
    return text;
  }

  mlir::OwningOpRef<mlir::ModuleOp> parse(const std::string &text) {
    return mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  }

  void turnIntoLoss(mlir::ModuleOp module, TrainLossOptions options = {}) {
    mlir::PassManager passes(&context);
    passes.addPass(train::createTrainLoss(std::move(options)));
    ASSERT_TRUE(mlir::succeeded(passes.run(module)));
  }

  std::string attribute(mlir::ModuleOp module, llvm::StringRef name) {
    return module->getAttrOfType<mlir::StringAttr>(name).str();
  }

  Tensor logits(int64_t first, int64_t batch) {
    Tensor t(mlir::Float32Type::get(&context), {batch, kSeq, kVocab});
    std::copy_n(&kLogits[first][0][0], t.size(), t.edit<double>().begin());
    return t;
  }
  Tensor labels(int64_t first, int64_t batch, bool shifted) {
    Tensor t(mlir::IntegerType::get(&context, 64), {batch, kSeq});
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t i = 0; i < kSeq; ++i)
        t.edit<int64_t>()[b * kSeq + i] = !shifted       ? kLabels[first + b][i]
                                          : i + 1 < kSeq ? kLabels[first + b][i + 1]
                                                         : kIgnored;
    return t;
  }

  double run(mlir::ModuleOp module, llvm::StringRef name, llvm::ArrayRef<RuntimeValue> arguments) {
    interp::EvaluatorOptions options;
    options.f64 = true;
    llvm::SmallVector<RuntimeValue> results;
    EXPECT_TRUE(mlir::succeeded(interp::Evaluator(options).run(
        module.lookupSymbol<mlir::func::FuncOp>(name), arguments, results)));
    return results[0].tensor().floats()[0];
  }

  Tensor scale(double value) {
    return Tensor::splat(mlir::RankedTensorType::get({}, mlir::Float64Type::get(&context)), value);
  }

  mlir::MLIRContext context;
};

// Row 0 has three targets after the shift, row 1 has one.
const double kExpected = (lossAt(0, 0, 4) + lossAt(0, 1, 0) + lossAt(0, 2, 2) + lossAt(1, 1, 1)) / 4;

TEST_F(Loss, NextToken) {
  auto two = parse(plain(2)), one = parse(plain(1));
  turnIntoLoss(*two), turnIntoLoss(*one);
  Tensor s = scale(0.25);
  EXPECT_EQ(attribute(*two, "moire.labels"), "shifted");
  EXPECT_NEAR(run(*two, "micro_step", {logits(0, 2), labels(0, 2, true), s}), kExpected, 1e-12);
  double first = run(*one, "micro_step", {logits(0, 1), labels(0, 1, true), s});
  double second = run(*one, "micro_step", {logits(1, 1), labels(1, 1, true), s});
  EXPECT_NEAR(first + second, kExpected, 1e-12);
}

TEST_F(Loss, AuxIsAveragedOverMicroBatches) {
  auto one = parse(plain(1));
  std::vector<std::string> aux{"aux=0.5"};
  TrainLossOptions options;
  options.aux = aux;
  turnIntoLoss(*one, std::move(options));
  Tensor s = scale(0.25);
  double first = run(*one, "micro_step", {logits(0, 1), labels(0, 1, true), s});
  double second = run(*one, "micro_step", {logits(1, 1), labels(1, 1, true), s});
  EXPECT_NEAR(first + second, kExpected + 0.5 * 3, 1e-12);
}

TEST_F(Loss, InFile) {
  const char *extra = "  %zero = arith.constant dense<0.0> : tensor<f32>\n"
                      "  %loss = arith.addf %mean, %zero : tensor<f32>\n";
  auto two = parse(inFile(2, extra)), one = parse(inFile(1, extra));
  EXPECT_NEAR(run(*two, "forward", {logits(0, 2), labels(0, 2, false)}), kExpected, 1e-12);
  turnIntoLoss(*two), turnIntoLoss(*one);
  EXPECT_EQ(attribute(*two, "moire.count"), "skip-first");
  Tensor s = scale(0.25);
  EXPECT_NEAR(run(*two, "micro_step", {logits(0, 2), labels(0, 2, false), s}), kExpected, 1e-12);
  double first = run(*one, "micro_step", {logits(0, 1), labels(0, 1, false), s});
  double second = run(*one, "micro_step", {logits(1, 1), labels(1, 1, false), s});
  EXPECT_NEAR(first + second, kExpected, 1e-12);
}

TEST_F(Loss, TermsBesideTheMeanInFile) {
  // loss = 2 * mean + 0.5 * 3
  const char *extra = "  %two = arith.constant dense<2.0> : tensor<f32>\n"
                      "  %aux = arith.constant dense<1.5> : tensor<f32>\n"
                      "  %twice = arith.mulf %mean, %two : tensor<f32>\n"
                      "  %loss = arith.addf %twice, %aux : tensor<f32>\n";
  auto one = parse(inFile(1, extra));
  turnIntoLoss(*one);
  Tensor s = scale(0.25);
  double first = run(*one, "micro_step", {logits(0, 1), labels(0, 1, false), s});
  double second = run(*one, "micro_step", {logits(1, 1), labels(1, 1, false), s});
  EXPECT_NEAR(first + second, 2 * kExpected + 1.5, 1e-12);
}

} // namespace
