//===- UpstreamTest.cpp - Derivatives of arith and math ops --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Harness.h"

using namespace moire::train;

namespace {

class Upstream : public GradientTest {};
TEST_P(Upstream, MatchesDifferences) { check(GetParam()); }

#define UNARY(OP, LOW, HIGH)                                                             \
  Case {                                                                                 \
    #OP, {{"x", "3x5", LOW, HIGH}},                                                      \
        "%y = math." #OP " %x : tensor<3x5xf32>\nreturn %y : tensor<3x5xf32>"            \
  }
#define BINARY(OP, LOW, HIGH)                                                            \
  Case {                                                                                 \
    #OP, {{"a", "3x5", LOW, HIGH}, {"b", "3x5", LOW, HIGH}},                             \
        "%y = arith." #OP " %a, %b : tensor<3x5xf32>\nreturn %y : tensor<3x5xf32>"       \
  }

INSTANTIATE_TEST_SUITE_P(
    Math, Upstream,
    testing::Values(UNARY(exp, -2, 2), UNARY(exp2, -2, 2), UNARY(expm1, -2, 2),
                    UNARY(log, 0.3, 3), UNARY(log2, 0.3, 3), UNARY(log10, 0.3, 3),
                    UNARY(log1p, -0.5, 3), UNARY(sqrt, 0.3, 3), UNARY(rsqrt, 0.3, 3),
                    UNARY(tanh, -2, 2), UNARY(erf, -2, 2), UNARY(sin, -4, 4),
                    UNARY(cos, -4, 4), UNARY(tan, -1, 1), UNARY(atan, -3, 3),
                    UNARY(sinh, -2, 2), UNARY(cosh, -2, 2), UNARY(absf, -2, 2),
                    UNARY(floor, -3, 3), UNARY(ceil, -3, 3), UNARY(round, -3, 3),
                    UNARY(roundeven, -3, 3), UNARY(trunc, -3, 3)),
    caseName);

INSTANTIATE_TEST_SUITE_P(
    Arith, Upstream,
    testing::Values(BINARY(addf, -2, 2), BINARY(subf, -2, 2), BINARY(mulf, -2, 2),
                    BINARY(divf, 0.5, 2), BINARY(remf, 0.5, 4), BINARY(maximumf, -2, 2),
                    BINARY(minimumf, -2, 2), BINARY(maxnumf, -2, 2), BINARY(minnumf, -2, 2),
                    Case{"negf",
                         {{"x", "7"}},
                         "%y = arith.negf %x : tensor<7xf32>\nreturn %y : tensor<7xf32>"},
                    Case{"square",
                         {{"x", "7"}},
                         "%y = arith.mulf %x, %x : tensor<7xf32>\nreturn %y : tensor<7xf32>"},
                    Case{"casts",
                         {{"x", "7"}},
                         R"(%w = arith.extf %x : tensor<7xf32> to tensor<7xf64>
                            %s = arith.mulf %w, %w : tensor<7xf64>
                            %y = arith.truncf %s : tensor<7xf64> to tensor<7xf32>
                            return %y : tensor<7xf32>)"},
                    Case{"select",
                         {{"a", "2x3"}, {"b", "2x3"}},
                         R"(%c = arith.cmpf ogt, %a, %b : tensor<2x3xf32>
                            %y = arith.select %c, %b, %a : tensor<2x3xi1>, tensor<2x3xf32>
                            return %y : tensor<2x3xf32>)"},
                    Case{"clamp",
                         {{"x", "9", -3, 3}},
                         R"(%lo = arith.constant dense<-1.0> : tensor<9xf32>
                            %hi = arith.constant dense<1.0> : tensor<9xf32>
                            %a = arith.maximumf %x, %lo : tensor<9xf32>
                            %y = arith.minimumf %a, %hi : tensor<9xf32>
                            return %y : tensor<9xf32>)"},
                    Case{"relu",
                         {{"x", "9", -3, 3}},
                         R"(%0 = arith.constant dense<0.0> : tensor<9xf32>
                            %y = arith.maximumf %x, %0 : tensor<9xf32>
                            return %y : tensor<9xf32>)"}),
    caseName);

#define POWER(NAME, EXPONENT, LOW)                                                       \
  Case {                                                                                 \
    NAME, {{"x", "7", LOW, 2}},                                                          \
        "%p = arith.constant dense<" EXPONENT "> : tensor<7xf32>\n"                      \
        "%y = math.powf %x, %p : tensor<7xf32>\nreturn %y : tensor<7xf32>"               \
  }

INSTANTIATE_TEST_SUITE_P(
    Power, Upstream,
    testing::Values(POWER("zeroth", "0.0", -2), POWER("first", "1.0", -2),
                    POWER("second", "2.0", -2), POWER("third", "3.0", -2),
                    POWER("half", "0.5", 0.3), POWER("inverse", "-1.0", 0.3),
                    Case{"both",
                         {{"x", "7", 0.3, 2}, {"p", "7", -2, 2}},
                         "%y = math.powf %x, %p : tensor<7xf32>\nreturn %y : tensor<7xf32>"},
                    Case{"fma",
                         {{"a", "7"}, {"b", "7"}, {"c", "7"}},
                         "%y = math.fma %a, %b, %c : tensor<7xf32>\nreturn %y : tensor<7xf32>"}),
    caseName);

//===----------------------------------------------------------------------===//
// Kinks, where a difference says nothing: PyTorch's conventions
//===----------------------------------------------------------------------===//

class Kink : public GradientTest {
protected:
  /// d(sum of %y) / dx at one x.
  double slopeAt(double x, const std::string &body) {
    std::string text = "%one = arith.constant dense<1.0> : tensor<1xf32>\n"
                       "%zero = arith.constant dense<0.0> : tensor<1xf32>\n" +
                       body + "\nreturn %y : tensor<1xf32>";
    state = 1;
    auto module = build({"kink", {{"x", "1"}}, text.c_str()});
    EXPECT_TRUE(module);
    // The harness's weight of the one result.
    state = 1;
    double weight = (float)random(-1, 1);
    mlir::PassManager passes(&context);
    passes.addPass(createTrainAutodiff());
    EXPECT_TRUE(mlir::succeeded(passes.run(*module)));
    Parameters parameters;
    auto op = *module->getOps<moire::pipe::ParameterOp>().begin();
    moire::interp::Tensor value(mlir::cast<mlir::RankedTensorType>(op.getType()));
    value.edit<double>()[0] = x;
    parameters.values["x"] = value;
    EXPECT_TRUE(run(*module, parameters));
    return parameters.gradients.at("x").floats()[0] / weight;
  }
};

TEST_F(Kink, ReluAtZero) {
  EXPECT_EQ(slopeAt(0, "%y = arith.maximumf %x, %zero : tensor<1xf32>"), 0);
}
TEST_F(Kink, ClampAtItsBounds) {
  EXPECT_EQ(slopeAt(1, "%y = arith.minimumf %x, %one : tensor<1xf32>"), 1);
  EXPECT_EQ(slopeAt(1, "%y = arith.maximumf %x, %one : tensor<1xf32>"), 1);
  EXPECT_EQ(slopeAt(1.1, "%y = arith.minimumf %x, %one : tensor<1xf32>"), 0);
}
TEST_F(Kink, TiesAreShared) {
  EXPECT_EQ(slopeAt(1, "%n = arith.mulf %x, %x : tensor<1xf32>\n"
                       "%y = arith.maximumf %x, %n : tensor<1xf32>"),
            1.5);
}
TEST_F(Kink, AbsAtZero) { EXPECT_EQ(slopeAt(0, "%y = math.absf %x : tensor<1xf32>"), 0); }
TEST_F(Kink, PowersAtZero) {
  EXPECT_EQ(slopeAt(0, "%y = math.powf %x, %one : tensor<1xf32>"), 1);
  EXPECT_EQ(slopeAt(0, "%t = arith.constant dense<3.0> : tensor<1xf32>\n"
                       "%y = math.powf %x, %t : tensor<1xf32>"),
            0);
}

} // namespace
