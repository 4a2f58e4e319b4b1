// RUN: moire-run %s | FileCheck %s

// Five tokens choose two of three experts each:
//   token    0    1    2    3    4
//   ids      0 1  0 2  0 1  1 0  0 1
// so expert 0 is the first choice of four tokens and the second one of token 3.
func.func @f() -> (tensor<2x3xf32> {onnx.name = "counts"}, tensor<5x2xi64> {onnx.name = "gshard"},
                   tensor<5x2xi64> {onnx.name = "switch"}, tensor<5x2xi64> {onnx.name = "second_gshard"},
                   tensor<5x2xi64> {onnx.name = "second_switch"}, tensor<2xf32> {onnx.name = "lse"},
                   tensor<10x1xf32> {onnx.name = "rows"}, tensor<5x1xf32> {onnx.name = "combine"},
                   tensor<5x2xf32> {onnx.name = "d_weights"}) {
  %ids = arith.constant dense<[[0, 1], [0, 2], [0, 1], [1, 0], [0, 1]]> : tensor<5x2xi64>
  // CHECK: counts: {{.*}} = {{\[}}[4, 1, 0], [1, 3, 1]]
  %counts = nn.choice_counts %ids : tensor<5x2xi64> -> tensor<2x3xf32>
  %alone = nn.reshape %counts : tensor<2x3xf32> -> tensor<1x2x3xf32>
  %first = arith.constant dense<0> : tensor<i64>
  // ceil(0.9 * 10 / 3) = 3 slots. First choices fill expert 0, so token 3's second one finds
  // no room there; of expert 1's it comes first.
  // CHECK: gshard: {{.*}} = {{\[}}[0, 1], [0, 2], [0, 1], [1, -1], [-1, -1]]
  %0 = nn.capacity %ids counts %alone at %first factor 0.9 choices_first : tensor<5x2xi64>, tensor<1x2x3xf32>, tensor<i64>
  // Of expert 1 tokens 0, 2 and 3.
  // CHECK: switch: {{.*}} = {{\[}}[0, 1], [0, 2], [0, 1], [1, -1], [-1, -1]]
  %1 = nn.capacity %ids counts %alone at %first factor 0.9 : tensor<5x2xi64>, tensor<1x2x3xf32>, tensor<i64>
  // The second of two ranks; the first one's tokens chose expert 0 twice first, and expert 1
  // four times second. ceil(0.9 * 20 / 3) = 6 slots. Expert 0: four first choices here make 6.
  // Expert 1: one first choice here, then four second ones there, then one here.
  %other = arith.constant dense<[[[2.0, 0.0, 3.0], [0.0, 4.0, 1.0]], [[4.0, 1.0, 0.0], [1.0, 3.0, 1.0]]]> : tensor<2x2x3xf32>
  %second = arith.constant dense<1> : tensor<i64>
  // CHECK: second_gshard: {{.*}} = {{\[}}[0, 1], [0, 2], [0, -1], [1, -1], [0, -1]]
  %2 = nn.capacity %ids counts %other at %second factor 0.9 choices_first : tensor<5x2xi64>, tensor<2x2x3xf32>, tensor<i64>
  // In order of tokens expert 0 has 2 before, expert 1 has 4: two pairs more.
  // CHECK: second_switch: {{.*}} = {{\[}}[0, 1], [0, 2], [0, 1], [-1, 0], [-1, -1]]
  %3 = nn.capacity %ids counts %other at %second factor 0.9 : tensor<5x2xi64>, tensor<2x2x3xf32>, tensor<i64>
  // log(e^1000 + e^1000) = 1000 + log 2.
  // CHECK: lse: {{.*}} = [1000.69{{[0-9]*}}, 0]
  %logits = arith.constant dense<[[1000.0, 1000.0], [0.0, -1000.0]]> : tensor<2x2xf32>
  %4 = nn.log_sum_exp %logits : tensor<2x2xf32> -> tensor<2xf32>
  // A pair without an expert has no row, adds nothing and gets nothing.
  %r = nn.route %0 : tensor<5x2xi64> -> <tokens = 5, k = 2, experts = 3>
  %x = arith.constant dense<[[1.0], [2.0], [3.0], [4.0], [5.0]]> : tensor<5x1xf32>
  %w = arith.constant dense<[[1.0, 10.0], [1.0, 10.0], [1.0, 10.0], [1.0, 10.0], [1.0, 10.0]]> : tensor<5x2xf32>
  // CHECK: rows: {{.*}} = {{\[}}[1], [2], [3], [1], [3], [4], [2], [0], [0], [0]]
  %rows = nn.dispatch %x, %r : tensor<5x1xf32>, <tokens = 5, k = 2, experts = 3> -> tensor<10x1xf32>
  // CHECK: combine: {{.*}} = {{\[}}[11], [22], [33], [4], [0]]
  %5 = nn.combine %rows weights %w, %r : tensor<10x1xf32>, tensor<5x2xf32>, <tokens = 5, k = 2, experts = 3> -> tensor<5x1xf32>
  // CHECK: d_weights: {{.*}} = {{\[}}[1, 1], [4, 4], [9, 9], [16, 0], [0, 0]]
  %6, %7 = nn.combine_grad %rows, %w, %x, %r : tensor<10x1xf32>, tensor<5x2xf32>, tensor<5x1xf32>, <tokens = 5, k = 2, experts = 3> -> tensor<10x1xf32>, tensor<5x2xf32>
  return %counts, %0, %1, %2, %3, %4, %rows, %5, %7
    : tensor<2x3xf32>, tensor<5x2xi64>, tensor<5x2xi64>, tensor<5x2xi64>, tensor<5x2xi64>, tensor<2xf32>,
      tensor<10x1xf32>, tensor<5x1xf32>, tensor<5x2xf32>
}
