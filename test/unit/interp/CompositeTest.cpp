//===- CompositeTest.cpp - Composite ops against plain loops -------------===//
//
// Forward: loops written here. Gradients: central differences of the forward.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Harness.h"
#include "moire/Interp/GradCheck.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace moire::interp;

namespace {

const double inf = std::numeric_limits<double>::infinity();

struct Composite : Interp {
  Tensor random(ArrayRef<int64_t> shape, uint64_t seed, double low = -1, double high = 1) {
    return randomTensor(RankedTensorType::get(shape, FloatType::getF64(&context)), seed, low, high);
  }
  Tensor bools(ArrayRef<int64_t> shape, ArrayRef<int64_t> values) {
    Tensor tensor(IntegerType::get(&context, 1), shape);
    llvm::copy(values, tensor.edit<int64_t>().begin());
    return tensor;
  }
  /// @g returns the gradients of @f.
  std::string gradients(StringRef text, ArrayRef<RuntimeValue> arguments) {
    func::FuncOp primal = parse(text);
    return primal ? checkGradients(primal, module->lookupSymbol<func::FuncOp>("g"), arguments)
                  : "does not parse";
  }
};

void expectNear(const RuntimeValue &value, ArrayRef<double> expected) {
  auto got = value.tensor().floats();
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isinf(expected[i]))
      ASSERT_EQ(got[i], expected[i]) << "element " << i;
    else
      ASSERT_NEAR(got[i], expected[i], 1e-12 * (1 + std::fabs(expected[i]))) << "element " << i;
  }
}

//===----------------------------------------------------------------------===//
// Softmax and normalizations
//===----------------------------------------------------------------------===//

TEST_F(Composite, SoftmaxOfAMaskedRowIsZero) {
  auto y = run(R"(func.func @f(%x: tensor<3x2xf64>) -> tensor<3x2xf64> {
    %0 = nn.softmax %x : tensor<3x2xf64>
    return %0 : tensor<3x2xf64>
  })", {f64({3, 2}, {0, 1, -inf, -inf, 1000, -inf})});
  double p = 1 / (1 + std::exp(1.0));
  expectNear(y[0], {p, 1 - p, 0, 0, 1, 0});
}

TEST_F(Composite, SoftmaxGradIsTheDerivative) {
  EXPECT_EQ(gradients(R"(
    func.func @f(%x: tensor<2x5xf64>) -> tensor<2x5xf64> {
      %0 = nn.softmax %x : tensor<2x5xf64>
      return %0 : tensor<2x5xf64>
    }
    func.func @g(%x: tensor<2x5xf64>, %c: tensor<2x5xf64>) -> tensor<2x5xf64> {
      %0 = nn.softmax %x : tensor<2x5xf64>
      %1 = nn.softmax_grad %0, %c : tensor<2x5xf64>, tensor<2x5xf64>
      return %1 : tensor<2x5xf64>
    })", {random({2, 5}, 1, -3, 3)}), "");
}

TEST_F(Composite, LayerNorm) {
  Tensor x = random({3, 4}, 1, -2, 5), scale = random({4}, 2), bias = random({4}, 3);
  auto y = run(R"(func.func @f(%x: tensor<3x4xf64>, %s: tensor<4xf64>, %b: tensor<4xf64>) -> tensor<3x4xf64> {
    %0 = nn.layer_norm %x scale %s bias %b eps 1.0e-01 : tensor<3x4xf64>, tensor<4xf64>, tensor<4xf64>
    return %0 : tensor<3x4xf64>
  })", {x, scale, bias});
  std::vector<double> expected;
  for (int i = 0; i < 3; ++i) {
    double mean = 0, variance = 0;
    for (int j = 0; j < 4; ++j)
      mean += x.floats()[i * 4 + j] / 4;
    for (int j = 0; j < 4; ++j)
      variance += std::pow(x.floats()[i * 4 + j] - mean, 2) / 4;
    for (int j = 0; j < 4; ++j)
      expected.push_back((x.floats()[i * 4 + j] - mean) / std::sqrt(variance + 0.1) * scale.floats()[j] +
                         bias.floats()[j]);
  }
  expectNear(y[0], expected);
}

TEST_F(Composite, LayerNormGradIsTheDerivative) {
  EXPECT_EQ(gradients(R"(
    func.func @f(%x: tensor<2x3x4xf64>, %s: tensor<4xf64>, %b: tensor<4xf64>) -> tensor<2x3x4xf64> {
      %0 = nn.layer_norm %x scale %s bias %b eps 1.0e-05 : tensor<2x3x4xf64>, tensor<4xf64>, tensor<4xf64>
      return %0 : tensor<2x3x4xf64>
    }
    func.func @g(%x: tensor<2x3x4xf64>, %s: tensor<4xf64>, %b: tensor<4xf64>, %c: tensor<2x3x4xf64>)
        -> (tensor<2x3x4xf64>, tensor<4xf64>, tensor<4xf64>) {
      %dx, %ds, %db = nn.layer_norm_grad %x scale %s cotangent %c eps 1.0e-05
        : tensor<2x3x4xf64>, tensor<4xf64>, tensor<2x3x4xf64> -> tensor<2x3x4xf64>, tensor<4xf64>, tensor<4xf64>
      return %dx, %ds, %db : tensor<2x3x4xf64>, tensor<4xf64>, tensor<4xf64>
    })", {random({2, 3, 4}, 1, -2, 5), random({4}, 2), random({4}, 3)}), "");
}

TEST_F(Composite, RMSNorm) {
  Tensor x = random({2, 3}, 1, -2, 5), scale = random({3}, 2);
  auto y = run(R"(func.func @f(%x: tensor<2x3xf64>, %s: tensor<3xf64>) -> tensor<2x3xf64> {
    %0 = nn.rms_norm %x scale %s eps 1.0e-01 : tensor<2x3xf64>, tensor<3xf64>
    return %0 : tensor<2x3xf64>
  })", {x, scale});
  std::vector<double> expected;
  for (int i = 0; i < 2; ++i) {
    double square = 0;
    for (int j = 0; j < 3; ++j)
      square += std::pow(x.floats()[i * 3 + j], 2) / 3;
    for (int j = 0; j < 3; ++j)
      expected.push_back(x.floats()[i * 3 + j] / std::sqrt(square + 0.1) * scale.floats()[j]);
  }
  expectNear(y[0], expected);
}

TEST_F(Composite, RMSNormGradIsTheDerivative) {
  EXPECT_EQ(gradients(R"(
    func.func @f(%x: tensor<2x4xf64>, %s: tensor<4xf64>) -> tensor<2x4xf64> {
      %0 = nn.rms_norm %x scale %s eps 1.0e-05 : tensor<2x4xf64>, tensor<4xf64>
      return %0 : tensor<2x4xf64>
    }
    func.func @g(%x: tensor<2x4xf64>, %s: tensor<4xf64>, %c: tensor<2x4xf64>) -> (tensor<2x4xf64>, tensor<4xf64>) {
      %dx, %ds = nn.rms_norm_grad %x scale %s cotangent %c eps 1.0e-05
        : tensor<2x4xf64>, tensor<4xf64>, tensor<2x4xf64> -> tensor<2x4xf64>, tensor<4xf64>
      return %dx, %ds : tensor<2x4xf64>, tensor<4xf64>
    })", {random({2, 4}, 1, -2, 5), random({4}, 2)}), "");
}

//===----------------------------------------------------------------------===//
// Rotary embedding
//===----------------------------------------------------------------------===//

// B = 2, H = 1, S = 2, D = 4, one table for both sequences.
TEST_F(Composite, Rope) {
  Tensor x = random({2, 1, 2, 4}, 1), cos = random({1, 2, 2}, 2), sin = random({1, 2, 2}, 3);
  for (bool interleaved : {false, true}) {
    std::string text = (Twine(R"(func.func @f(%x: tensor<2x1x2x4xf64>, %c: tensor<1x2x2xf64>, %s: tensor<1x2x2xf64>) -> (tensor<2x1x2x4xf64>, tensor<2x1x2x4xf64>) {
      %0 = nn.rope %x, %c, %s )") + (interleaved ? "{interleaved}" : "") + R"( : tensor<2x1x2x4xf64>, tensor<1x2x2xf64>, tensor<1x2x2xf64>
      %1 = nn.rope %x, %c, %s {inverse)" + (interleaved ? ", interleaved" : "") + R"(} : tensor<2x1x2x4xf64>, tensor<1x2x2xf64>, tensor<1x2x2xf64>
      return %0, %1 : tensor<2x1x2x4xf64>, tensor<2x1x2x4xf64>
    })").str();
    auto y = run(text, {x, cos, sin});
    std::vector<double> forward(16), inverse(16);
    for (int b = 0; b < 2; ++b)
      for (int s = 0; s < 2; ++s)
        for (int i = 0; i < 2; ++i) {
          int first = b * 8 + s * 4 + (interleaved ? 2 * i : i);
          int second = first + (interleaved ? 1 : 2);
          double x1 = x.floats()[first], x2 = x.floats()[second];
          double c = cos.floats()[s * 2 + i], n = sin.floats()[s * 2 + i];
          forward[first] = x1 * c - x2 * n;
          forward[second] = x2 * c + x1 * n;
          inverse[first] = x1 * c + x2 * n;
          inverse[second] = x2 * c - x1 * n;
        }
    expectNear(y[0], forward);
    expectNear(y[1], inverse);
  }
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// B 2, H 4, Hkv 2, Sq = Skv = 3, D 2, Dv 3, scale 0.7.
struct AttentionReference {
  std::vector<double> out = std::vector<double>(2 * 4 * 3 * 3), lse = std::vector<double>(2 * 4 * 3);
  template <typename Bias>
  AttentionReference(const Tensor &q, const Tensor &k, const Tensor &v, Bias bias) {
    for (int b = 0; b < 2; ++b)
      for (int h = 0; h < 4; ++h)
        for (int i = 0; i < 3; ++i) {
          int row = (b * 4 + h) * 3 + i, kv = b * 2 + h / 2;
          double sum = 0, weights[3];
          for (int j = 0; j < 3; ++j) {
            double score = bias(b, h, i, j);
            for (int d = 0; d < 2; ++d)
              score += 0.7 * q.floats()[row * 2 + d] * k.floats()[(kv * 3 + j) * 2 + d];
            sum += weights[j] = std::exp(score);
          }
          lse[row] = std::log(sum);
          for (int j = 0; j < 3; ++j)
            for (int d = 0; d < 3; ++d)
              out[row * 3 + d] += sum ? weights[j] / sum * v.floats()[(kv * 3 + j) * 3 + d] : 0;
        }
  }
};

const char *kAttentionTypes = "tensor<2x4x3x2xf64>, tensor<2x2x3x2xf64>, tensor<2x2x3x3xf64>";
const char *kAttentionArguments =
    "%q: tensor<2x4x3x2xf64>, %k: tensor<2x2x3x2xf64>, %v: tensor<2x2x3x3xf64>";

std::string attention(StringRef extraArguments, StringRef mask, StringRef attributes,
                      StringRef maskType) {
  return llvm::formatv(R"(
    func.func @f({0}{1}) -> (tensor<2x4x3x3xf64>, tensor<2x4x3xf64>) {{
      %o, %l = nn.attention %q, %k, %v {2} scale 7.0e-01 {3} : {4}{5} -> tensor<2x4x3x3xf64>, tensor<2x4x3xf64>
      return %o, %l : tensor<2x4x3x3xf64>, tensor<2x4x3xf64>
    })", kAttentionArguments, extraArguments, mask, attributes, kAttentionTypes, maskType).str();
}

TEST_F(Composite, CausalAttention) {
  Tensor q = random({2, 4, 3, 2}, 1), k = random({2, 2, 3, 2}, 2), v = random({2, 2, 3, 3}, 3);
  auto results = run(attention("", "", "{causal}", ""), {q, k, v});
  AttentionReference expected(q, k, v, [](int, int, int i, int j) { return j > i ? -inf : 0; });
  ASSERT_EQ(results.size(), 2u);
  expectNear(results[0], expected.out);
  expectNear(results[1], expected.lse);
}

TEST_F(Composite, AttentionWithABoolMaskAndARowThatSeesNothing) {
  Tensor q = random({2, 4, 3, 2}, 1), k = random({2, 2, 3, 2}, 2), v = random({2, 2, 3, 3}, 3);
  // [B, 1, Sq, Skv]; row 1 of the second sequence sees nothing.
  Tensor mask = bools({2, 1, 3, 3}, {1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1});
  auto results = run(attention(", %m: tensor<2x1x3x3xi1>", "mask %m", "", ", tensor<2x1x3x3xi1>"),
                      {q, k, v, mask});
  AttentionReference expected(q, k, v, [&](int b, int, int i, int j) {
    return mask.ints()[(b * 3 + i) * 3 + j] ? 0 : -inf;
  });
  ASSERT_EQ(results.size(), 2u);
  expectNear(results[0], expected.out);
  expectNear(results[1], expected.lse);
}

TEST_F(Composite, AttentionWithAFloatMask) {
  Tensor q = random({2, 4, 3, 2}, 1), k = random({2, 2, 3, 2}, 2), v = random({2, 2, 3, 3}, 3);
  Tensor mask = random({1, 4, 1, 3}, 4);
  auto results = run(attention(", %m: tensor<1x4x1x3xf64>", "mask %m", "{causal}", ", tensor<1x4x1x3xf64>"),
                      {q, k, v, mask});
  AttentionReference expected(q, k, v, [&](int, int h, int i, int j) {
    return j > i ? -inf : mask.floats()[h * 3 + j];
  });
  ASSERT_EQ(results.size(), 2u);
  expectNear(results[0], expected.out);
  expectNear(results[1], expected.lse);
}

TEST_F(Composite, AttentionGradIsTheDerivative) {
  std::string text = llvm::formatv(R"(
    func.func @f({0}, %m: tensor<2x1x3x3xi1>) -> tensor<2x4x3x3xf64> {{
      %o, %l = nn.attention %q, %k, %v mask %m scale 7.0e-01 : {1}, tensor<2x1x3x3xi1> -> tensor<2x4x3x3xf64>, tensor<2x4x3xf64>
      return %o : tensor<2x4x3x3xf64>
    }
    func.func @g({0}, %m: tensor<2x1x3x3xi1>, %c: tensor<2x4x3x3xf64>) -> ({1}) {{
      %o, %l = nn.attention %q, %k, %v mask %m scale 7.0e-01 : {1}, tensor<2x1x3x3xi1> -> tensor<2x4x3x3xf64>, tensor<2x4x3xf64>
      %dq, %dk, %dv = nn.attention_grad %q, %k, %v mask %m output %o lse %l cotangent %c scale 7.0e-01
        : {1}, tensor<2x1x3x3xi1>, tensor<2x4x3x3xf64>, tensor<2x4x3xf64>, tensor<2x4x3x3xf64> -> {1}
      return %dq, %dk, %dv : {1}
    })", kAttentionArguments, kAttentionTypes).str();
  Tensor mask = bools({2, 1, 3, 3}, {1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1});
  EXPECT_EQ(gradients(text, {random({2, 4, 3, 2}, 1), random({2, 2, 3, 2}, 2),
                             random({2, 2, 3, 3}, 3), mask}), "");
}

//===----------------------------------------------------------------------===//
// Loss
//===----------------------------------------------------------------------===//

TEST_F(Composite, CrossEntropyIgnoresALabel) {
  Tensor x = random({3, 4}, 1, -3, 3);
  auto results = run(R"(func.func @f(%x: tensor<3x4xf64>, %y: tensor<3xi64>) -> (tensor<3xf64>, tensor<3xf64>) {
    %0, %1 = nn.cross_entropy %x, %y : tensor<3x4xf64>, tensor<3xi64> -> tensor<3xf64>, tensor<3xf64>
    return %0, %1 : tensor<3xf64>, tensor<3xf64>
  })", {x, i64({3}, {2, -100, 0})});
  std::vector<double> lse;
  for (int i = 0; i < 3; ++i) {
    double sum = 0;
    for (int j = 0; j < 4; ++j)
      sum += std::exp(x.floats()[i * 4 + j]);
    lse.push_back(std::log(sum));
  }
  expectNear(results[0], {lse[0] - x.floats()[2], 0, lse[2] - x.floats()[8]});
  expectNear(results[1], lse);
}

TEST_F(Composite, CrossEntropyGradIsTheDerivative) {
  EXPECT_EQ(gradients(R"(
    func.func @f(%x: tensor<3x4xf64>, %y: tensor<3xi64>) -> tensor<3xf64> {
      %0, %1 = nn.cross_entropy %x, %y : tensor<3x4xf64>, tensor<3xi64> -> tensor<3xf64>, tensor<3xf64>
      return %0 : tensor<3xf64>
    }
    func.func @g(%x: tensor<3x4xf64>, %y: tensor<3xi64>, %c: tensor<3xf64>) -> tensor<3x4xf64> {
      %0, %1 = nn.cross_entropy %x, %y : tensor<3x4xf64>, tensor<3xi64> -> tensor<3xf64>, tensor<3xf64>
      %2 = nn.cross_entropy_grad %x, %y, %1, %c : tensor<3x4xf64>, tensor<3xi64>, tensor<3xf64>, tensor<3xf64>
      return %2 : tensor<3x4xf64>
    })", {random({3, 4}, 1, -3, 3), i64({3}, {2, -100, 0})}), "");
}

//===----------------------------------------------------------------------===//
// Router
//===----------------------------------------------------------------------===//

// Two tokens, four experts. The bias makes expert 3 win for token 0 without
// having a part in its weight.
TEST_F(Composite, RouterChoosesWithTheBiasAndWeighsWithoutIt) {
  auto results = run(R"(func.func @f(%x: tensor<2x4xf64>, %b: tensor<4xf64>) -> (tensor<2x2xf64>, tensor<2x2xi64>) {
    %w, %i = nn.router sigmoid %x bias %b k 2 {normalize, epsilon = 1.0e-01, scale = 3.0} : tensor<2x4xf64>, tensor<4xf64> -> tensor<2x2xf64>, tensor<2x2xi64>
    return %w, %i : tensor<2x2xf64>, tensor<2x2xi64>
  })", {f64({2, 4}, {2, 1, 0, -1, 1, 1, 1, -9}), f64({4}, {0, 0, 0, 0.8})});
  auto s = [](double x) { return 1 / (1 + std::exp(-x)); };
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[1].tensor().ints().vec(), (std::vector<int64_t>{3, 0, 3, 0}));
  double sum0 = s(-1) + s(2) + 0.1, sum1 = s(1) + s(-9) + 0.1;
  expectNear(results[0], {3 * s(-1) / sum0, 3 * s(2) / sum0, 3 * s(-9) / sum1, 3 * s(1) / sum1});
}

TEST_F(Composite, RouterOfEqualLogitsTakesTheLowerExpert) {
  auto results = run(R"(func.func @f(%x: tensor<1x4xf64>) -> (tensor<1x2xf64>, tensor<1x2xi64>) {
    %w, %i = nn.router softmax_selected %x k 2 : tensor<1x4xf64> -> tensor<1x2xf64>, tensor<1x2xi64>
    return %w, %i : tensor<1x2xf64>, tensor<1x2xi64>
  })", {f64({1, 4}, {0, 5, 5, 5})});
  EXPECT_EQ(results[1].tensor().ints().vec(), (std::vector<int64_t>{1, 2}));
  expectNear(results[0], {0.5, 0.5});
}

TEST_F(Composite, RouterGradIsTheDerivative) {
  for (const char *scoring : {"softmax", "softmax_selected", "sigmoid"})
    for (const char *attributes : {"", "{scale = 2.5}", "{normalize}", "{normalize, epsilon = 1.0e-01, scale = 2.5}"}) {
      std::string text = llvm::formatv(R"(
        func.func @f(%x: tensor<3x5xf64>) -> tensor<3x2xf64> {{
          %w, %i = nn.router {0} %x k 2 {1} : tensor<3x5xf64> -> tensor<3x2xf64>, tensor<3x2xi64>
          return %w : tensor<3x2xf64>
        }
        func.func @g(%x: tensor<3x5xf64>, %c: tensor<3x2xf64>) -> tensor<3x5xf64> {{
          %w, %i = nn.router {0} %x k 2 {1} : tensor<3x5xf64> -> tensor<3x2xf64>, tensor<3x2xi64>
          %d = nn.router_grad {0} %x, %i, %c {1} : tensor<3x5xf64>, tensor<3x2xi64>, tensor<3x2xf64>
          return %d : tensor<3x5xf64>
        })", scoring, attributes).str();
      EXPECT_EQ(gradients(text, {random({3, 5}, 5, -2, 2)}), "") << scoring << " " << attributes;
    }
}

} // namespace
