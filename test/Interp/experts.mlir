// RUN: moire-run %s | FileCheck %s

// Three tokens choose two of three experts:
//   pair    0 1  2 3  4 5        expert 0: pair 1         -> row  0
//   token   0 0  1 1  2 2        expert 1: -                 (no row)
//   expert  2 0  2 2  2 2 ...    expert 2: pairs 0 2 3 4 5 -> rows 1..5
!routing = !nn.routing<tokens = 3, k = 2, experts = 3>
func.func @f() -> (tensor<6x1xf32> {onnx.name = "dispatch"}, tensor<3x1xf32> {onnx.name = "combine"},
                   tensor<3x1xf32> {onnx.name = "weighted"}, tensor<6x2xf32> {onnx.name = "grouped"},
                   tensor<6x1xf32> {onnx.name = "transposed"}, tensor<3x1x2xf32> {onnx.name = "grad_weight"},
                   tensor<6x1xf32> {onnx.name = "per_expert"}, tensor<3x1xf32> {onnx.name = "per_expert_sum"},
                   tensor<6x2xf32> {onnx.name = "gathered"}, tensor<3x1x2xf32> {onnx.name = "gathered_lhs"},
                   tensor<3x2x1xf32> {onnx.name = "gathered_rhs"},
                   tensor<6x1xf32> {onnx.name = "d_rows"}, tensor<3x2xf32> {onnx.name = "d_weights"}) {
  %ids = arith.constant dense<[[2, 0], [2, 2], [2, 2]]> : tensor<3x2xi64>
  %x = arith.constant dense<[[1.0], [10.0], [100.0]]> : tensor<3x1xf32>
  %p = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %w = arith.constant dense<[[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]]]> : tensor<3x1x2xf32>
  %v = arith.constant dense<[[7.0], [8.0], [9.0]]> : tensor<3x1xf32>
  %r = nn.route %ids : tensor<3x2xi64> -> !routing
  // CHECK: dispatch: {{.*}} = {{\[}}[1], [1], [10], [10], [100], [100]]
  %0 = nn.dispatch %x, %r : tensor<3x1xf32>, !routing -> tensor<6x1xf32>
  %rows = arith.constant dense<[[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]]> : tensor<6x1xf32>
  // Token 0 has rows 1 and 0, token 1 rows 2 and 3, token 2 rows 4 and 5.
  // CHECK: combine: {{.*}} = {{\[}}[3], [7], [11]]
  %1 = nn.combine %rows, %r : tensor<6x1xf32>, !routing -> tensor<3x1xf32>
  // CHECK: weighted: {{.*}} = {{\[}}[4], [25], [61]]
  %2 = nn.combine %rows weights %p, %r : tensor<6x1xf32>, tensor<3x2xf32>, !routing -> tensor<3x1xf32>
  // CHECK: grouped: {{.*}} = {{\[}}[1, 2], [10, 12], [15, 18], [20, 24], [25, 30], [30, 36]]
  %3 = nn.grouped_matmul %rows, %w, %r : tensor<6x1xf32>, tensor<3x1x2xf32>, !routing -> tensor<6x2xf32>
  // CHECK: transposed: {{.*}} = {{\[}}[5], [122], [183], [244], [305], [366]]
  %4 = nn.grouped_matmul %3, %w, %r {transpose_weight} : tensor<6x2xf32>, tensor<3x1x2xf32>, !routing -> tensor<6x1xf32>
  // Expert 0: 1 * [1, 2]; expert 2: 2 * [10, 12] + ... + 6 * [30, 36].
  // CHECK: grad_weight: {{.*}} = {{\[\[}}[1, 2]], {{\[}}[0, 0]], {{\[}}[450, 540]]]
  %5 = nn.grouped_matmul_grad_weight %rows, %3, %r : tensor<6x1xf32>, tensor<6x2xf32>, !routing -> tensor<3x1x2xf32>
  // CHECK: per_expert: {{.*}} = {{\[}}[7], [9], [9], [9], [9], [9]]
  %6 = nn.per_expert %v, %r : tensor<3x1xf32>, !routing -> tensor<6x1xf32>
  // CHECK: per_expert_sum: {{.*}} = {{\[}}[1], [0], [20]]
  %7 = nn.per_expert_sum %rows, %r : tensor<6x1xf32>, !routing -> tensor<3x1xf32>
  // Rows 0 and 1 are token 0's.
  // CHECK: gathered: {{.*}} = {{\[}}[1, 2], [5, 6], [50, 60], [50, 60], [500, 600], [500, 600]]
  %10 = nn.grouped_matmul %x, %w, %r {gather_rows} : tensor<3x1xf32>, tensor<3x1x2xf32>, !routing -> tensor<6x2xf32>
  // Expert 2: 1 * [10, 12] + 10 * ([15, 18] + [20, 24]) + 100 * ([25, 30] + [30, 36]).
  // CHECK: gathered_lhs: {{.*}} = {{\[\[}}[1, 2]], {{\[}}[0, 0]], {{\[}}[5860, 7032]]]
  %11 = nn.grouped_matmul_grad_weight %x, %3, %r {gather_lhs} : tensor<3x1xf32>, tensor<6x2xf32>, !routing -> tensor<3x1x2xf32>
  // CHECK: gathered_rhs: {{.*}} = {{\[\[}}[1], [2]], {{\[}}[0], [0]], {{\[}}[5860], [7032]]]
  %12 = nn.grouped_matmul_grad_weight %3, %x, %r {gather_rhs} : tensor<6x2xf32>, tensor<3x1xf32>, !routing -> tensor<3x2x1xf32>
  // CHECK: d_rows: {{.*}} = {{\[}}[2], [1], [30], [40], [500], [600]]
  // CHECK: d_weights: {{.*}} = {{\[}}[2, 1], [30, 40], [500, 600]]
  %8, %9 = nn.combine_grad %rows, %p, %x, %r : tensor<6x1xf32>, tensor<3x2xf32>, tensor<3x1xf32>, !routing -> tensor<6x1xf32>, tensor<3x2xf32>
  return %0, %1, %2, %3, %4, %5, %6, %7, %10, %11, %12, %8, %9
    : tensor<6x1xf32>, tensor<3x1xf32>, tensor<3x1xf32>, tensor<6x2xf32>, tensor<6x1xf32>, tensor<3x1x2xf32>,
      tensor<6x1xf32>, tensor<3x1xf32>, tensor<6x2xf32>, tensor<3x1x2xf32>, tensor<3x2x1xf32>, tensor<6x1xf32>, tensor<3x2xf32>
}
