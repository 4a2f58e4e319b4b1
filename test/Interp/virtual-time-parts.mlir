// Two ranks with two experts each; of a rank's four tokens one goes to each expert. A float takes
// 0.5 ms of memory, 1 ms on the way; a message 1 ms besides. Rows move in two parts, of which each
// takes 2 ms to come, 3 ms to compute and 2 ms to go back:
//
//   0     4       8      10       13     16      18      24      26.5   29      32    34.5
//   route | dispatch | wait | h 0, h 1 ... | wait | combine | loss | s | wait | update
//                    | rows 0 | 1 |   | 0  | 1    |                    | sum
//
// RUN: rm -rf %t && mkdir %t
// RUN: moire-run %s --init --function=data --outputs=%t
// RUN: mv %t/output_0.pb %t/input_0.pb && mv %t/output_1.pb %t/input_1.pb
// RUN: moire-run %s --init --data=%t --virtual-time --overlap-rates=flops=1e9,memory=8e-6,overhead=0,bandwidth=4e-6,latency=1000 | FileCheck %s
// CHECK: rank 0 takes 34.5 ms: computes 27.5, waits 7, of which for ranks late to collectives 0; collectives take 14
//
// Each launch of a part takes an overhead of its own, as all ops do: seven of them and one more.
// RUN: moire-run %s --init --data=%t --virtual-time --overlap-rates=flops=1e9,memory=8e-6,overhead=1000,bandwidth=4e-6,latency=1000 | FileCheck %s --check-prefix=OVERHEAD
// OVERHEAD: computes 35.5,
//
// As a whole they take 3 ms each way and 6 ms to compute.
// RUN: sed -e 's/ parts 2//' %s > %t/whole.mlir
// RUN: moire-run %t/whole.mlir --init --data=%t --virtual-time --overlap-rates=flops=1e9,memory=8e-6,overhead=0,bandwidth=4e-6,latency=1000 | FileCheck %s --check-prefix=WHOLE
// WHOLE: rank 0 takes 36.5 ms: computes 27.5, waits 9, of which for ranks late to collectives 0; collectives take 12

module attributes {moire.count = "none", dist.mesh = #dist.mesh<ep = 2>} {
  pipe.parameter @w : tensor<1xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>] init "ones"

  func.func @data() -> (tensor<8x1xf32> {onnx.name = "x"}, tensor<8x1xi64> {onnx.name = "ids"}) {
    %x = arith.constant dense<[[1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [7.0], [8.0]]> : tensor<8x1xf32>
    %ids = arith.constant dense<[[0], [1], [2], [3], [0], [1], [2], [3]]> : tensor<8x1xi64>
    return %x, %ids : tensor<8x1xf32>, tensor<8x1xi64>
  }

  func.func @micro_step(%x: tensor<4x1xf32> {onnx.name = "x", moire.role = "data"},
                        %ids: tensor<4x1xi64> {onnx.name = "ids", moire.role = "data"}) -> tensor<f32> {
    %r = nn.route %ids : tensor<4x1xi64> -> <tokens = 4, k = 1, experts = 4>
    %fl, %fc = dist.async {
      %local, %counts = dist.exchange %r over ["ep"] : <tokens = 4, k = 1, experts = 4> -> <tokens = 8, k = 1, experts = 2>, <["ep"], sent = 4, received = 8>
      dist.yield %local, %counts : !nn.routing<tokens = 8, k = 1, experts = 2>, !dist.exchange<["ep"], sent = 4, received = 8>
    } -> !dist.future<!nn.routing<tokens = 8, k = 1, experts = 2>>, !dist.future<!dist.exchange<["ep"], sent = 4, received = 8>>
    %rows = nn.dispatch %x, %r : tensor<4x1xf32>, <tokens = 4, k = 1, experts = 4> -> tensor<4x1xf32>
    %local, %counts = dist.wait %fl, %fc : !dist.future<!nn.routing<tokens = 8, k = 1, experts = 2>>, !dist.future<!dist.exchange<["ep"], sent = 4, received = 8>> -> !nn.routing<tokens = 8, k = 1, experts = 2>, !dist.exchange<["ep"], sent = 4, received = 8>
    %fo = dist.async {
      %come = dist.all_to_all_rows %rows, %counts parts 2 : tensor<4x1xf32>, <["ep"], sent = 4, received = 8> -> tensor<8x1xf32>
      dist.yield %come : tensor<8x1xf32>
    } -> !dist.future<tensor<8x1xf32>>
    %come = dist.wait %fo : !dist.future<tensor<8x1xf32>> -> tensor<8x1xf32>
    %h = arith.mulf %come, %come : tensor<8x1xf32>
    %fb = dist.async {
      %home = dist.all_to_all_rows %h, %counts back parts 2 : tensor<8x1xf32>, <["ep"], sent = 4, received = 8> -> tensor<4x1xf32>
      dist.yield %home : tensor<4x1xf32>
    } -> !dist.future<tensor<4x1xf32>>
    %home = dist.wait %fb : !dist.future<tensor<4x1xf32>> -> tensor<4x1xf32>
    %y = nn.combine %home weights %x, %r : tensor<4x1xf32>, tensor<4x1xf32>, <tokens = 4, k = 1, experts = 4> -> tensor<4x1xf32>
    %loss = nn.reduce sum %y [0, 1] : tensor<4x1xf32> -> tensor<f32>
    %s = nn.reduce sum %x [0] : tensor<4x1xf32> -> tensor<1xf32>
    pipe.accumulate @w, %s : tensor<1xf32>
    return %loss : tensor<f32>
  }

  func.func @reduce_gradients() {
    pipe.reduce_grads [@w] over ["ep"]
    return
  }

  func.func @optimizer_step() {
    pipe.update @w with sgd
    return
  }
}
