//===- CompositionTest.cpp - Derivatives of whole blocks -----------------===//
//
// What single ops cannot show: several uses of one value, of one parameter, and
// the clean-up of sums of adjoints.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Harness.h"

using namespace moire::train;

namespace {

class Composition : public GradientTest {};
TEST_P(Composition, MatchesDifferences) { check(GetParam()); }

#define ROUTING "!nn.routing<tokens = 5, k = 2, experts = 6>"

const Case blocks[] = {
    // Mixtral's block: router, gated experts (more experts than tokens reach),
    // weights that depend on the same logits, residual.
    {"mixture_of_experts",
     {{"x", "5x4"}, {"gate", "6x4"}, {"up", "6x6x4"}, {"down", "6x4x3"}},
     R"(
      %logits = nn.matmul %x, %gate {transpose_rhs} : tensor<5x4xf32>, tensor<6x4xf32> -> tensor<5x6xf32>
      %w, %i = nn.router softmax %logits k 2 {normalize} : tensor<5x6xf32> -> tensor<5x2xf32>, tensor<5x2xi64>
      %r = nn.route %i : tensor<5x2xi64> -> )" ROUTING R"(
      %rows = nn.dispatch %x, %r : tensor<5x4xf32>, )" ROUTING R"( -> tensor<10x4xf32>
      %h = nn.grouped_matmul %rows, %up, %r {transpose_weight} : tensor<10x4xf32>, tensor<6x6x4xf32>, )" ROUTING R"( -> tensor<10x6xf32>
      %a = nn.slice %h starts [0, 0] limits [10, 3] strides [1, 1] : tensor<10x6xf32> -> tensor<10x3xf32>
      %b = nn.slice %h starts [0, 3] limits [10, 6] strides [1, 1] : tensor<10x6xf32> -> tensor<10x3xf32>
      %s = nn.sigmoid %a : tensor<10x3xf32>
      %silu = arith.mulf %a, %s : tensor<10x3xf32>
      %g = arith.mulf %silu, %b : tensor<10x3xf32>
      %o = nn.grouped_matmul %g, %down, %r {transpose_weight} : tensor<10x3xf32>, tensor<6x4x3xf32>, )" ROUTING R"( -> tensor<10x4xf32>
      %c = nn.combine %o weights %w, %r : tensor<10x4xf32>, tensor<5x2xf32>, )" ROUTING R"( -> tensor<5x4xf32>
      %y = arith.addf %x, %c : tensor<5x4xf32>
      return %y : tensor<5x4xf32>)"},
    // GPT-2's attention: one product for q, k and v, split again.
    {"fused_attention",
     {{"x", "2x3x4"}, {"scale", "4"}, {"bias", "4"}, {"w", "4x12"}, {"b", "12"}, {"o", "4x4"}},
     R"(
      %n = nn.layer_norm %x scale %scale bias %bias eps 1.0e-2 : tensor<2x3x4xf32>, tensor<4xf32>, tensor<4xf32>
      %p = nn.matmul %n, %w : tensor<2x3x4xf32>, tensor<4x12xf32> -> tensor<2x3x12xf32>
      %bb = nn.broadcast %b [2] : tensor<12xf32> -> tensor<2x3x12xf32>
      %qkv = arith.addf %p, %bb : tensor<2x3x12xf32>
      %q0 = nn.slice %qkv starts [0, 0, 0] limits [2, 3, 4] strides [1, 1, 1] : tensor<2x3x12xf32> -> tensor<2x3x4xf32>
      %k0 = nn.slice %qkv starts [0, 0, 4] limits [2, 3, 8] strides [1, 1, 1] : tensor<2x3x12xf32> -> tensor<2x3x4xf32>
      %v0 = nn.slice %qkv starts [0, 0, 8] limits [2, 3, 12] strides [1, 1, 1] : tensor<2x3x12xf32> -> tensor<2x3x4xf32>
      %q1 = nn.reshape %q0 : tensor<2x3x4xf32> -> tensor<2x3x2x2xf32>
      %k1 = nn.reshape %k0 : tensor<2x3x4xf32> -> tensor<2x3x2x2xf32>
      %v1 = nn.reshape %v0 : tensor<2x3x4xf32> -> tensor<2x3x2x2xf32>
      %q = nn.transpose %q1 [0, 2, 1, 3] : tensor<2x3x2x2xf32> -> tensor<2x2x3x2xf32>
      %k = nn.transpose %k1 [0, 2, 1, 3] : tensor<2x3x2x2xf32> -> tensor<2x2x3x2xf32>
      %v = nn.transpose %v1 [0, 2, 1, 3] : tensor<2x3x2x2xf32> -> tensor<2x2x3x2xf32>
      %a, %l = nn.attention %q, %k, %v scale 0.7 {causal} : tensor<2x2x3x2xf32>, tensor<2x2x3x2xf32>, tensor<2x2x3x2xf32> -> tensor<2x2x3x2xf32>, tensor<2x2x3xf32>
      %t = nn.transpose %a [0, 2, 1, 3] : tensor<2x2x3x2xf32> -> tensor<2x3x2x2xf32>
      %f = nn.reshape %t : tensor<2x3x2x2xf32> -> tensor<2x3x4xf32>
      %m = nn.matmul %f, %o : tensor<2x3x4xf32>, tensor<4x4xf32> -> tensor<2x3x4xf32>
      %y = arith.addf %x, %m : tensor<2x3x4xf32>
      return %y : tensor<2x3x4xf32>)"},
    // A table that embeds and, transposed, is the head: its two shares meet in a
    // scatter. One label is ignored.
    {"tied_language_model",
     {{"table", "7x4"}, {"norm", "4"}},
     R"(
      %ids = arith.constant dense<[[1, 5, 1]]> : tensor<1x3xi64>
      %labels = arith.constant dense<[5, 1, -100]> : tensor<3xi64>
      %x = nn.gather %table[%ids] : tensor<7x4xf32>, tensor<1x3xi64> -> tensor<1x3x4xf32>
      %n = nn.rms_norm %x scale %norm eps 1.0e-2 : tensor<1x3x4xf32>, tensor<4xf32>
      %t = nn.transpose %table [1, 0] : tensor<7x4xf32> -> tensor<4x7xf32>
      %logits = nn.matmul %n, %t : tensor<1x3x4xf32>, tensor<4x7xf32> -> tensor<1x3x7xf32>
      %flat = nn.reshape %logits : tensor<1x3x7xf32> -> tensor<3x7xf32>
      %losses, %lse = nn.cross_entropy %flat, %labels : tensor<3x7xf32>, tensor<3xi64> -> tensor<3xf32>, tensor<3xf32>
      %y = nn.reduce sum %losses [0] : tensor<3xf32> -> tensor<f32>
      return %y : tensor<f32>)"},
    // GELU in its erf form, and what Pow, Sqrt and Div spell for a norm.
    {"spelled_out",
     {{"x", "3x5"}},
     R"(
      %half = arith.constant dense<0.5> : tensor<3x5xf32>
      %one = arith.constant dense<1.0> : tensor<3x5xf32>
      %r = arith.constant dense<0.70710678> : tensor<3x5xf32>
      %two = arith.constant dense<2.0> : tensor<3x5xf32>
      %fifth = arith.constant dense<0.2> : tensor<3xf32>
      %eps = arith.constant dense<0.01> : tensor<3xf32>
      %s = arith.mulf %x, %r : tensor<3x5xf32>
      %e = math.erf %s : tensor<3x5xf32>
      %p = arith.addf %e, %one : tensor<3x5xf32>
      %h = arith.mulf %x, %half : tensor<3x5xf32>
      %g = arith.mulf %h, %p : tensor<3x5xf32>
      %sq = math.powf %g, %two : tensor<3x5xf32>
      %sum = nn.reduce sum %sq [1] : tensor<3x5xf32> -> tensor<3xf32>
      %mean = arith.mulf %sum, %fifth : tensor<3xf32>
      %v = arith.addf %mean, %eps : tensor<3xf32>
      %root = math.sqrt %v : tensor<3xf32>
      %b = nn.broadcast %root [0] : tensor<3xf32> -> tensor<3x5xf32>
      %y = arith.divf %g, %b : tensor<3x5xf32>
      return %y : tensor<3x5xf32>)"},
    // Experts that the file stores transposed and one by one.
    {"stored_copies",
     {{"w", "2x3x4"}, {"x", "5x4"}},
     R"(
      %s0 = nn.slice %w starts [0, 0, 0] limits [1, 3, 4] strides [1, 1, 1] : tensor<2x3x4xf32> -> tensor<1x3x4xf32>
      %s1 = nn.slice %w starts [1, 0, 0] limits [2, 3, 4] strides [1, 1, 1] : tensor<2x3x4xf32> -> tensor<1x3x4xf32>
      %r0 = nn.reshape %s0 : tensor<1x3x4xf32> -> tensor<3x4xf32>
      %r1 = nn.reshape %s1 : tensor<1x3x4xf32> -> tensor<3x4xf32>
      %t0 = nn.transpose %r0 [1, 0] : tensor<3x4xf32> -> tensor<4x3xf32>
      %y0 = nn.matmul %x, %t0 : tensor<5x4xf32>, tensor<4x3xf32> -> tensor<5x3xf32>
      %y1 = nn.matmul %x, %r1 {transpose_rhs} : tensor<5x4xf32>, tensor<3x4xf32> -> tensor<5x3xf32>
      %y = arith.mulf %y0, %y1 : tensor<5x3xf32>
      return %y : tensor<5x3xf32>)"},
};

INSTANTIATE_TEST_SUITE_P(Blocks, Composition, testing::ValuesIn(blocks), caseName);

} // namespace
