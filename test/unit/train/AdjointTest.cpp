//===- AdjointTest.cpp - Derivatives of the nn ops -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Harness.h"

using namespace moire::train;

namespace {

class Adjoint : public GradientTest {};
TEST_P(Adjoint, MatchesDifferences) { check(GetParam()); }

const Case movement[] = {
    {"reshape", {{"x", "3x4"}}, R"(
      %y = nn.reshape %x : tensor<3x4xf32> -> tensor<2x6xf32>
      return %y : tensor<2x6xf32>)"},
    {"transpose", {{"x", "2x3x5"}}, R"(
      %y = nn.transpose %x [2, 0, 1] : tensor<2x3x5xf32> -> tensor<5x2x3xf32>
      return %y : tensor<5x2x3xf32>)"},
    {"broadcast", {{"x", "3x2"}}, R"(
      %y = nn.broadcast %x [1, 3] : tensor<3x2xf32> -> tensor<4x3x2x2xf32>
      return %y : tensor<4x3x2x2xf32>)"},
    {"broadcast_scalar", {{"x", ""}}, R"(
      %y = nn.broadcast %x [] : tensor<f32> -> tensor<4x3xf32>
      return %y : tensor<4x3xf32>)"},
    {"slice", {{"x", "7x5"}}, R"(
      %y = nn.slice %x starts [1, 0] limits [6, 4] strides [2, 3] : tensor<7x5xf32> -> tensor<3x2xf32>
      return %y : tensor<3x2xf32>)"},
    {"split", {{"x", "2x9"}}, R"(
      %a = nn.slice %x starts [0, 0] limits [2, 4] strides [1, 1] : tensor<2x9xf32> -> tensor<2x4xf32>
      %b = nn.slice %x starts [0, 4] limits [2, 8] strides [1, 1] : tensor<2x9xf32> -> tensor<2x4xf32>
      %y = arith.mulf %a, %b : tensor<2x4xf32>
      return %y : tensor<2x4xf32>)"},
    {"interleaved_split", {{"x", "2x8"}}, R"(
      %a = nn.slice %x starts [0, 0] limits [2, 8] strides [1, 2] : tensor<2x8xf32> -> tensor<2x4xf32>
      %b = nn.slice %x starts [0, 1] limits [2, 8] strides [1, 2] : tensor<2x8xf32> -> tensor<2x4xf32>
      %y = arith.mulf %a, %b : tensor<2x4xf32>
      return %y : tensor<2x4xf32>)"},
    {"pad", {{"x", "3x2"}}, R"(
      %y = nn.pad %x low [1, 0] high [2, 3] interior [2, 1] {value = 2.5} : tensor<3x2xf32> -> tensor<10x6xf32>
      return %y : tensor<10x6xf32>)"},
    {"concat", {{"a", "2x3"}, {"b", "2x1"}, {"c", "2x4"}}, R"(
      %y = nn.concat %a, %b, %c dim 1 : tensor<2x3xf32>, tensor<2x1xf32>, tensor<2x4xf32> -> tensor<2x8xf32>
      return %y : tensor<2x8xf32>)"},
    {"reverse", {{"x", "3x2x2"}}, R"(
      %y = nn.reverse %x [0, 2] : tensor<3x2x2xf32> -> tensor<3x2x2xf32>
      return %y : tensor<3x2x2xf32>)"},
};

const Case indexing[] = {
    {"gather_with_duplicates", {{"t", "5x3"}}, R"(
      %i = arith.constant dense<[[1, 4], [1, 0]]> : tensor<2x2xi64>
      %y = nn.gather %t[%i] : tensor<5x3xf32>, tensor<2x2xi64> -> tensor<2x2x3xf32>
      return %y : tensor<2x2x3xf32>)"},
    {"scatter_add", {{"base", "4x2"}, {"u", "5x2"}}, R"(
      %i = arith.constant dense<[3, 0, 3, 1, 3]> : tensor<5xi64>
      %y = nn.scatter add %u into %base[%i] : tensor<5x2xf32>, tensor<4x2xf32>, tensor<5xi64> -> tensor<4x2xf32>
      return %y : tensor<4x2xf32>)"},
    {"scatter_set", {{"base", "4x2"}, {"u", "2x2x2"}}, R"(
      %i = arith.constant dense<[[3, 0], [3, 1]]> : tensor<2x2xi64>
      %y = nn.scatter set %u into %base[%i] : tensor<2x2x2xf32>, tensor<4x2xf32>, tensor<2x2xi64> -> tensor<4x2xf32>
      return %y : tensor<4x2xf32>)"},
    {"scatter_set_scalars", {{"base", "4"}, {"u", "3"}}, R"(
      %i = arith.constant dense<[2, 0, 2]> : tensor<3xi64>
      %y = nn.scatter set %u into %base[%i] : tensor<3xf32>, tensor<4xf32>, tensor<3xi64> -> tensor<4xf32>
      return %y : tensor<4xf32>)"},
    {"gather_elements", {{"x", "4x3"}}, R"(
      %i = arith.constant dense<[[3, 0], [3, 1], [0, 1]]> : tensor<3x2xi64>
      %y = nn.gather_elements %x[%i] axis 0 : tensor<4x3xf32>, tensor<3x2xi64> -> tensor<3x2xf32>
      return %y : tensor<3x2xf32>)"},
    {"scatter_elements_add", {{"base", "3x4"}, {"u", "2x3"}}, R"(
      %i = arith.constant dense<[[3, 0, 3], [1, 1, 1]]> : tensor<2x3xi64>
      %y = nn.scatter_elements add %u into %base[%i] axis 1 : tensor<2x3xf32>, tensor<3x4xf32>, tensor<2x3xi64> -> tensor<3x4xf32>
      return %y : tensor<3x4xf32>)"},
    {"scatter_elements_set", {{"base", "3x4"}, {"u", "2x3"}}, R"(
      %i = arith.constant dense<[[3, 0, 3], [1, 1, 1]]> : tensor<2x3xi64>
      %y = nn.scatter_elements set %u into %base[%i] axis 1 : tensor<2x3xf32>, tensor<3x4xf32>, tensor<2x3xi64> -> tensor<3x4xf32>
      return %y : tensor<3x4xf32>)"},
    {"top_k", {{"x", "3x7"}}, R"(
      %y, %i = nn.top_k %x k 3 : tensor<3x7xf32> -> tensor<3x3xf32>, tensor<3x3xi64>
      return %y, %i : tensor<3x3xf32>, tensor<3x3xi64>)"},
    {"bottom_k", {{"x", "3x7"}}, R"(
      %y, %i = nn.top_k %x k 2 {smallest} : tensor<3x7xf32> -> tensor<3x2xf32>, tensor<3x2xi64>
      return %y : tensor<3x2xf32>)"},
};

const Case contraction[] = {
    {"matmul", {{"a", "3x5"}, {"b", "5x2"}}, R"(
      %y = nn.matmul %a, %b : tensor<3x5xf32>, tensor<5x2xf32> -> tensor<3x2xf32>
      return %y : tensor<3x2xf32>)"},
    {"matmul_tn", {{"a", "5x3"}, {"b", "5x2"}}, R"(
      %y = nn.matmul %a, %b {transpose_lhs} : tensor<5x3xf32>, tensor<5x2xf32> -> tensor<3x2xf32>
      return %y : tensor<3x2xf32>)"},
    {"matmul_nt", {{"a", "3x5"}, {"b", "2x5"}}, R"(
      %y = nn.matmul %a, %b {transpose_rhs} : tensor<3x5xf32>, tensor<2x5xf32> -> tensor<3x2xf32>
      return %y : tensor<3x2xf32>)"},
    {"matmul_tt", {{"a", "2x5x3"}, {"b", "2x2x5"}}, R"(
      %y = nn.matmul %a, %b {transpose_lhs, transpose_rhs} : tensor<2x5x3xf32>, tensor<2x2x5xf32> -> tensor<2x3x2xf32>
      return %y : tensor<2x3x2xf32>)"},
    {"matmul_batched", {{"a", "2x2x3x4"}, {"b", "2x2x4x3"}}, R"(
      %y = nn.matmul %a, %b : tensor<2x2x3x4xf32>, tensor<2x2x4x3xf32> -> tensor<2x2x3x3xf32>
      return %y : tensor<2x2x3x3xf32>)"},
    {"linear", {{"x", "2x3x4"}, {"w", "4x5"}}, R"(
      %y = nn.matmul %x, %w : tensor<2x3x4xf32>, tensor<4x5xf32> -> tensor<2x3x5xf32>
      return %y : tensor<2x3x5xf32>)"},
    {"linear_transposed", {{"x", "2x3x4"}, {"w", "5x4"}}, R"(
      %y = nn.matmul %x, %w {transpose_rhs} : tensor<2x3x4xf32>, tensor<5x4xf32> -> tensor<2x3x5xf32>
      return %y : tensor<2x3x5xf32>)"},
    {"reduce_sum", {{"x", "2x3x4"}}, R"(
      %y = nn.reduce sum %x [0, 2] : tensor<2x3x4xf32> -> tensor<3xf32>
      return %y : tensor<3xf32>)"},
    {"reduce_max", {{"x", "2x3x4"}}, R"(
      %y = nn.reduce max %x [0, 2] : tensor<2x3x4xf32> -> tensor<3xf32>
      return %y : tensor<3xf32>)"},
    {"reduce_max_all", {{"x", "2x3"}}, R"(
      %y = nn.reduce max %x [0, 1] : tensor<2x3xf32> -> tensor<f32>
      return %y : tensor<f32>)"},
    {"reduce_min", {{"x", "2x5"}}, R"(
      %y = nn.reduce min %x [1] : tensor<2x5xf32> -> tensor<2xf32>
      return %y : tensor<2xf32>)"},
    {"reduce_prod", {{"x", "3x4", 0.5, 2}}, R"(
      %y = nn.reduce prod %x [1] : tensor<3x4xf32> -> tensor<3xf32>
      return %y : tensor<3xf32>)"},
    // Columns with no, one and two zero factors.
    {"reduce_prod_zeros", {{"x", "3x3"}}, R"(
      %m = arith.constant dense<[[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]> : tensor<3x3xf32>
      %z = arith.mulf %x, %m : tensor<3x3xf32>
      %y = nn.reduce prod %z [0] : tensor<3x3xf32> -> tensor<3xf32>
      return %y : tensor<3xf32>)"},
    {"cumsum", {{"x", "3x4"}}, R"(
      %a = nn.cumsum %x axis 0 : tensor<3x4xf32> -> tensor<3x4xf32>
      %b = nn.cumsum %x axis 1 {exclusive} : tensor<3x4xf32> -> tensor<3x4xf32>
      %c = nn.cumsum %x axis 1 {reverse} : tensor<3x4xf32> -> tensor<3x4xf32>
      %d = nn.cumsum %x axis 0 {exclusive, reverse} : tensor<3x4xf32> -> tensor<3x4xf32>
      return %a, %b, %c, %d : tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>)"},
    {"sigmoid", {{"x", "9", -4, 4}}, R"(
      %y = nn.sigmoid %x : tensor<9xf32>
      return %y : tensor<9xf32>)"},
};

const Case composite[] = {
    {"softmax", {{"x", "3x5", -2, 2}}, R"(
      %y = nn.softmax %x : tensor<3x5xf32>
      return %y : tensor<3x5xf32>)"},
    {"log_sum_exp", {{"x", "3x5", -2, 2}}, R"(
      %y = nn.log_sum_exp %x : tensor<3x5xf32> -> tensor<3xf32>
      return %y : tensor<3xf32>)"},
    {"softmax_of_a_masked_row", {{"x", "2x3", -2, 2}}, R"(
      %inf = arith.constant dense<0xFF800000> : tensor<2x3xf32>
      %m = arith.constant dense<[[true, false, true], [false, false, false]]> : tensor<2x3xi1>
      %z = arith.select %m, %x, %inf : tensor<2x3xi1>, tensor<2x3xf32>
      %y = nn.softmax %z : tensor<2x3xf32>
      return %y : tensor<2x3xf32>)"},
    {"layer_norm", {{"x", "2x3x5"}, {"s", "5"}, {"b", "5"}}, R"(
      %y = nn.layer_norm %x scale %s bias %b eps 1.0e-2 : tensor<2x3x5xf32>, tensor<5xf32>, tensor<5xf32>
      return %y : tensor<2x3x5xf32>)"},
    {"layer_norm_plain", {{"x", "3x5"}}, R"(
      %y = nn.layer_norm %x eps 1.0e-2 : tensor<3x5xf32>
      return %y : tensor<3x5xf32>)"},
    {"layer_norm_bias", {{"x", "3x5"}, {"b", "5"}}, R"(
      %y = nn.layer_norm %x bias %b eps 1.0e-2 : tensor<3x5xf32>, tensor<5xf32>
      return %y : tensor<3x5xf32>)"},
    {"rms_norm", {{"x", "2x3x5"}, {"s", "5"}}, R"(
      %y = nn.rms_norm %x scale %s eps 1.0e-2 : tensor<2x3x5xf32>, tensor<5xf32>
      return %y : tensor<2x3x5xf32>)"},
    {"rms_norm_plain", {{"x", "5"}}, R"(
      %y = nn.rms_norm %x eps 1.0e-2 : tensor<5xf32>
      return %y : tensor<5xf32>)"},
    {"rope", {{"x", "2x3x2x4"}}, R"(
      %c = arith.constant dense<[[[0.5, 0.8], [-0.3, 1.4]]]> : tensor<1x2x2xf32>
      %s = arith.constant dense<[[[0.9, 0.6], [0.7, -0.2]]]> : tensor<1x2x2xf32>
      %a = nn.rope %x, %c, %s : tensor<2x3x2x4xf32>, tensor<1x2x2xf32>, tensor<1x2x2xf32>
      %b = nn.rope %x, %c, %s {interleaved, inverse} : tensor<2x3x2x4xf32>, tensor<1x2x2xf32>, tensor<1x2x2xf32>
      return %a, %b : tensor<2x3x2x4xf32>, tensor<2x3x2x4xf32>)"},
    {"attention", {{"q", "2x2x3x4"}, {"k", "2x2x5x4"}, {"v", "2x2x5x3"}}, R"(
      %y, %l = nn.attention %q, %k, %v scale 0.7 : tensor<2x2x3x4xf32>, tensor<2x2x5x4xf32>, tensor<2x2x5x3xf32> -> tensor<2x2x3x3xf32>, tensor<2x2x3xf32>
      return %y : tensor<2x2x3x3xf32>)"},
    {"attention_causal_grouped", {{"q", "1x4x5x3"}, {"k", "1x2x5x3"}, {"v", "1x2x5x3"}}, R"(
      %y, %l = nn.attention %q, %k, %v scale 1.3 {causal} : tensor<1x4x5x3xf32>, tensor<1x2x5x3xf32>, tensor<1x2x5x3xf32> -> tensor<1x4x5x3xf32>, tensor<1x4x5xf32>
      return %y : tensor<1x4x5x3xf32>)"},
    // Row 1 of the mask attends to nothing.
    {"attention_masked", {{"q", "2x2x3x2"}, {"k", "2x1x3x2"}, {"v", "2x1x3x2"}}, R"(
      %m = arith.constant dense<[[[[true, true, false], [false, false, false], [true, false, true]]]]> : tensor<1x1x3x3xi1>
      %y, %l = nn.attention %q, %k, %v mask %m scale 0.5 : tensor<2x2x3x2xf32>, tensor<2x1x3x2xf32>, tensor<2x1x3x2xf32>, tensor<1x1x3x3xi1> -> tensor<2x2x3x2xf32>, tensor<2x2x3xf32>
      return %y : tensor<2x2x3x2xf32>)"},
    {"attention_biased", {{"q", "1x2x2x2"}, {"k", "1x2x3x2"}, {"v", "1x2x3x2"}}, R"(
      %m = arith.constant dense<[[[[0.3, 0xFF800000, -0.2]]]]> : tensor<1x1x1x3xf32>
      %y, %l = nn.attention %q, %k, %v mask %m scale 0.5 : tensor<1x2x2x2xf32>, tensor<1x2x3x2xf32>, tensor<1x2x3x2xf32>, tensor<1x1x1x3xf32> -> tensor<1x2x2x2xf32>, tensor<1x2x2xf32>
      return %y : tensor<1x2x2x2xf32>)"},
    {"cross_entropy", {{"x", "4x5", -2, 2}}, R"(
      %t = arith.constant dense<[3, -100, 0, 3]> : tensor<4xi64>
      %y, %l = nn.cross_entropy %x, %t : tensor<4x5xf32>, tensor<4xi64> -> tensor<4xf32>, tensor<4xf32>
      return %y : tensor<4xf32>)"},
    {"cross_entropy_ignores", {{"x", "3x5", -2, 2}}, R"(
      %t = arith.constant dense<[3, 1, 0]> : tensor<3xi64>
      %y, %l = nn.cross_entropy %x, %t {ignore_index = 1 : i64} : tensor<3x5xf32>, tensor<3xi64> -> tensor<3xf32>, tensor<3xf32>
      return %y : tensor<3xf32>)"},
};

// Experts 1 and 4 get no token, expert 2 gets the last three rows.
#define ROUTING "!nn.routing<tokens = 4, k = 2, experts = 5>"
#define ROUTE                                                                            \
  "%i = arith.constant dense<[[2, 0], [3, 0], [2, 3], [0, 2]]> : tensor<4x2xi64>\n"      \
  "%r = nn.route %i : tensor<4x2xi64> -> " ROUTING "\n"

const Case experts[] = {
    {"dispatch", {{"x", "4x3"}}, ROUTE R"(
      %y = nn.dispatch %x, %r : tensor<4x3xf32>, )" ROUTING R"( -> tensor<8x3xf32>
      return %y : tensor<8x3xf32>)"},
    {"combine", {{"x", "8x3"}, {"w", "4x2"}}, ROUTE R"(
      %y = nn.combine %x weights %w, %r : tensor<8x3xf32>, tensor<4x2xf32>, )" ROUTING R"( -> tensor<4x3xf32>
      return %y : tensor<4x3xf32>)"},
    {"combine_unweighted", {{"x", "8x3"}}, ROUTE R"(
      %y = nn.combine %x, %r : tensor<8x3xf32>, )" ROUTING R"( -> tensor<4x3xf32>
      return %y : tensor<4x3xf32>)"},
    {"grouped_matmul", {{"x", "8x3"}, {"w", "5x3x2"}}, ROUTE R"(
      %y = nn.grouped_matmul %x, %w, %r : tensor<8x3xf32>, tensor<5x3x2xf32>, )" ROUTING R"( -> tensor<8x2xf32>
      return %y : tensor<8x2xf32>)"},
    {"grouped_matmul_transposed", {{"x", "8x3"}, {"w", "5x2x3"}}, ROUTE R"(
      %y = nn.grouped_matmul %x, %w, %r {transpose_weight} : tensor<8x3xf32>, tensor<5x2x3xf32>, )" ROUTING R"( -> tensor<8x2xf32>
      return %y : tensor<8x2xf32>)"},
    {"grouped_matmul_gathered", {{"x", "4x3"}, {"w", "5x3x2"}, {"v", "5x2x3"}}, ROUTE R"(
      %a = nn.grouped_matmul %x, %w, %r {gather_rows} : tensor<4x3xf32>, tensor<5x3x2xf32>, )" ROUTING R"( -> tensor<8x2xf32>
      %b = nn.grouped_matmul %x, %v, %r {gather_rows, transpose_weight} : tensor<4x3xf32>, tensor<5x2x3xf32>, )" ROUTING R"( -> tensor<8x2xf32>
      return %a, %b : tensor<8x2xf32>, tensor<8x2xf32>)"},
    {"per_expert", {{"b", "5x3"}}, ROUTE R"(
      %y = nn.per_expert %b, %r : tensor<5x3xf32>, )" ROUTING R"( -> tensor<8x3xf32>
      return %y : tensor<8x3xf32>)"},
    {"per_expert_sum", {{"x", "8x3"}}, ROUTE R"(
      %y = nn.per_expert_sum %x, %r : tensor<8x3xf32>, )" ROUTING R"( -> tensor<5x3xf32>
      return %y : tensor<5x3xf32>)"},
    {"router_softmax", {{"x", "4x5", -2, 2}}, R"(
      %w, %i = nn.router softmax %x k 2 : tensor<4x5xf32> -> tensor<4x2xf32>, tensor<4x2xi64>
      return %w : tensor<4x2xf32>)"},
    {"router_softmax_normalized", {{"x", "4x5", -2, 2}}, R"(
      %w, %i = nn.router softmax %x k 2 {normalize, epsilon = 0.1, scale = 2.5} : tensor<4x5xf32> -> tensor<4x2xf32>, tensor<4x2xi64>
      return %w : tensor<4x2xf32>)"},
    {"router_softmax_selected", {{"x", "4x5", -2, 2}}, R"(
      %w, %i = nn.router softmax_selected %x k 3 : tensor<4x5xf32> -> tensor<4x3xf32>, tensor<4x3xi64>
      return %w : tensor<4x3xf32>)"},
    {"router_sigmoid", {{"x", "4x5", -2, 2}}, R"(
      %b = arith.constant dense<[0.5, -0.5, 0.0, 1.0, 0.0]> : tensor<5xf32>
      %w, %i = nn.router sigmoid %x bias %b k 2 {normalize, scale = 2.5} : tensor<4x5xf32>, tensor<5xf32> -> tensor<4x2xf32>, tensor<4x2xi64>
      %v, %j = nn.router sigmoid %x k 1 : tensor<4x5xf32> -> tensor<4x1xf32>, tensor<4x1xi64>
      return %w, %v : tensor<4x2xf32>, tensor<4x1xf32>)"},
};

// Casts and ops on bf16. In f64 nothing is rounded, so that their derivatives are
// those of the wide ops.
const Case narrow[] = {
    {"casts_with_two_readers", {{"x", "3x4"}, {"w", "4x2"}}, R"(
      %xb = arith.truncf %x : tensor<3x4xf32> to tensor<3x4xbf16>
      %wb = arith.truncf %w : tensor<4x2xf32> to tensor<4x2xbf16>
      %a = nn.matmul %xb, %wb : tensor<3x4xbf16>, tensor<4x2xbf16> -> tensor<3x2xf32>
      %b = nn.matmul %xb, %wb : tensor<3x4xbf16>, tensor<4x2xbf16> -> tensor<3x2xbf16>
      %bw = arith.extf %b : tensor<3x2xbf16> to tensor<3x2xf32>
      %y = arith.mulf %a, %bw : tensor<3x2xf32>
      return %y : tensor<3x2xf32>)"},
    {"narrow_linear", {{"x", "2x3x4"}, {"w", "5x4"}}, R"(
      %xb = arith.truncf %x : tensor<2x3x4xf32> to tensor<2x3x4xbf16>
      %wb = arith.truncf %w : tensor<5x4xf32> to tensor<5x4xbf16>
      %y = nn.matmul %xb, %wb {transpose_rhs} : tensor<2x3x4xbf16>, tensor<5x4xbf16> -> tensor<2x3x5xf32>
      return %y : tensor<2x3x5xf32>)"},
    {"narrow_norms", {{"x", "3x4"}, {"s", "4"}, {"b", "4"}}, R"(
      %y = nn.layer_norm %x scale %s bias %b eps 1.0e-02 : tensor<3x4xf32>, tensor<4xf32>, tensor<4xf32> -> tensor<3x4xbf16>
      %z = nn.rms_norm %y scale %s eps 1.0e-02 : tensor<3x4xbf16>, tensor<4xf32>
      %w = arith.extf %z : tensor<3x4xbf16> to tensor<3x4xf32>
      return %w : tensor<3x4xf32>)"},
    {"narrow_attention", {{"q", "1x2x3x4"}, {"k", "1x1x3x4"}, {"v", "1x1x3x4"}}, R"(
      %qb = arith.truncf %q : tensor<1x2x3x4xf32> to tensor<1x2x3x4xbf16>
      %kb = arith.truncf %k : tensor<1x1x3x4xf32> to tensor<1x1x3x4xbf16>
      %vb = arith.truncf %v : tensor<1x1x3x4xf32> to tensor<1x1x3x4xbf16>
      %y, %lse = nn.attention %qb, %kb, %vb scale 0.5 {causal} : tensor<1x2x3x4xbf16>, tensor<1x1x3x4xbf16>, tensor<1x1x3x4xbf16> -> tensor<1x2x3x4xbf16>, tensor<1x2x3xf32>
      %w = arith.extf %y : tensor<1x2x3x4xbf16> to tensor<1x2x3x4xf32>
      return %w : tensor<1x2x3x4xf32>)"},
    {"narrow_experts", {{"x", "3x4"}, {"e", "2x4x5"}, {"p", "3x2"}}, R"(
      %ids = arith.constant dense<[[1, 0], [1, 0], [0, 1]]> : tensor<3x2xi64>
      %r = nn.route %ids : tensor<3x2xi64> -> <tokens = 3, k = 2, experts = 2>
      %xb = arith.truncf %x : tensor<3x4xf32> to tensor<3x4xbf16>
      %eb = arith.truncf %e : tensor<2x4x5xf32> to tensor<2x4x5xbf16>
      %d = nn.dispatch %xb, %r : tensor<3x4xbf16>, <tokens = 3, k = 2, experts = 2> -> tensor<6x4xbf16>
      %g = nn.grouped_matmul %d, %eb, %r : tensor<6x4xbf16>, tensor<2x4x5xbf16>, <tokens = 3, k = 2, experts = 2> -> tensor<6x5xf32>
      %gb = arith.truncf %g : tensor<6x5xf32> to tensor<6x5xbf16>
      %c = nn.combine %gb weights %p, %r : tensor<6x5xbf16>, tensor<3x2xf32>, <tokens = 3, k = 2, experts = 2> -> tensor<3x5xbf16>
      %w = arith.extf %c : tensor<3x5xbf16> to tensor<3x5xf32>
      return %w : tensor<3x5xf32>)"},
    {"narrow_cross_entropy", {{"x", "3x4"}}, R"(
      %labels = arith.constant dense<[2, -100, 0]> : tensor<3xi64>
      %xb = arith.truncf %x : tensor<3x4xf32> to tensor<3x4xbf16>
      %y, %lse = nn.cross_entropy %xb, %labels : tensor<3x4xbf16>, tensor<3xi64> -> tensor<3xf32>, tensor<3xf32>
      return %y : tensor<3xf32>)"},
    {"wide_sum_of_narrow", {{"x", "3x4"}}, R"(
      %xb = arith.truncf %x : tensor<3x4xf32> to tensor<3x4xbf16>
      %y = nn.reduce sum %xb [0] : tensor<3x4xbf16> -> tensor<4xf32>
      return %y : tensor<4xf32>)"},
};

INSTANTIATE_TEST_SUITE_P(Narrow, Adjoint, testing::ValuesIn(narrow), caseName);
INSTANTIATE_TEST_SUITE_P(Movement, Adjoint, testing::ValuesIn(movement), caseName);
INSTANTIATE_TEST_SUITE_P(Indexing, Adjoint, testing::ValuesIn(indexing), caseName);
INSTANTIATE_TEST_SUITE_P(Contraction, Adjoint, testing::ValuesIn(contraction), caseName);
INSTANTIATE_TEST_SUITE_P(Composite, Adjoint, testing::ValuesIn(composite), caseName);
INSTANTIATE_TEST_SUITE_P(Experts, Adjoint, testing::ValuesIn(experts), caseName);

} // namespace
