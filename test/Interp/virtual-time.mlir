// Two ranks with an expert each. Rank 0's two tokens go to its own expert; of rank 1's, one
// goes to expert 0. A float takes 0.5 ms of memory, 1 ms on the way; a message 1 ms besides.
// In ms, with the ops of the two ranks above each other, and the queue below:
//
//   0   2   4   7   8.5  10 11.5  13 13.5  16.5 18  20.5
//   route dis z | h: 3 rows .... | s | wait  | combine | loss | update     rank 0
//   route dis z | h  | s | wait ............ | combine | loss | update     rank 1
//       exc out            late  | back      | sum of @w                   queues
//
// RUN: rm -rf %t && mkdir %t
// RUN: moire-run %s --init --function=data --outputs=%t
// RUN: mv %t/output_0.pb %t/input_0.pb && mv %t/output_1.pb %t/input_1.pb
// RUN: moire-run %s --init --data=%t --steps=2 --log=%t/log.jsonl --virtual-time --overlap-rates=flops=1e9,memory=8e-6,overhead=0,bandwidth=4e-6,latency=1000 | FileCheck %s
// RUN: FileCheck %s --check-prefix=LOG < %t/log.jsonl
// RUN: moire-run %s --init --data=%t --steps=2 --log=%t/again.jsonl --virtual-time --overlap-rates=flops=1e9,memory=8e-6,overhead=0,bandwidth=4e-6,latency=1000
// RUN: diff %t/log.jsonl %t/again.jsonl
//
// CHECK: step 1
// CHECK-NEXT: rank 0 takes 20.5 ms: computes 20, waits 0.5, of which for ranks late to collectives 0; collectives take 9
// CHECK: step 2
// CHECK-NEXT: rank 0 takes 20.5 ms
// LOG: "slowest":0
// LOG-SAME: "virtual_ms":[{"collectives":9,"computing":20,"exposed":0.5,"late":0,"messages":0,"step":20.5},
// LOG-SAME: {"collectives":9,"computing":17,"exposed":3.5,"late":1.5,"messages":0,"step":20.5}]
//
// Each collective where it is used: the queue is idle while the ranks compute.
// RUN: sed -e '/= dist.async/d' -e '/dist.yield/d' -e '/} ->/d' -e '/= dist.wait/d' -e '/pipe.start_reduce \[/d' %s > %t/off.mlir
// RUN: moire-run %t/off.mlir --init --data=%t --virtual-time --overlap-rates=flops=1e9,memory=8e-6,overhead=0,bandwidth=4e-6,latency=1000 | FileCheck %s --check-prefix=OFF
// They meet at 2, 6, 15.5 (rank 1 came at 12.5) and 23.5.
// OFF: rank 0 takes 29 ms: computes 20, waits 9, of which for ranks late to collectives 0; collectives take 9
//
// RUN: not moire-run %s --init --data=%t --overlap-rates=flops=1 2>&1 | FileCheck %s --check-prefix=ALONE
// ALONE: error: --overlap-rates is of virtual time; give --virtual-time, too

module attributes {moire.count = "none", dist.mesh = #dist.mesh<ep = 2>} {
  pipe.parameter @w : tensor<1xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>] init "ones"

  func.func @data() -> (tensor<4x1xf32> {onnx.name = "x"}, tensor<4x1xi64> {onnx.name = "ids"}) {
    %x = arith.constant dense<[[1.0], [2.0], [3.0], [4.0]]> : tensor<4x1xf32>
    %ids = arith.constant dense<[[0], [0], [1], [0]]> : tensor<4x1xi64>
    return %x, %ids : tensor<4x1xf32>, tensor<4x1xi64>
  }

  func.func @micro_step(%x: tensor<2x1xf32> {onnx.name = "x", moire.role = "data"},
                        %ids: tensor<2x1xi64> {onnx.name = "ids", moire.role = "data"}) -> tensor<f32> {
    %r = nn.route %ids : tensor<2x1xi64> -> <tokens = 2, k = 1, experts = 2>
    %fl, %fc = dist.async {
      %local, %counts = dist.exchange %r over ["ep"] : <tokens = 2, k = 1, experts = 2> -> <tokens = 4, k = 1, experts = 1>, <["ep"], sent = 2, received = 4>
      dist.yield %local, %counts : !nn.routing<tokens = 4, k = 1, experts = 1>, !dist.exchange<["ep"], sent = 2, received = 4>
    } -> !dist.future<!nn.routing<tokens = 4, k = 1, experts = 1>>, !dist.future<!dist.exchange<["ep"], sent = 2, received = 4>>
    %rows = nn.dispatch %x, %r : tensor<2x1xf32>, <tokens = 2, k = 1, experts = 2> -> tensor<2x1xf32>
    %local, %counts = dist.wait %fl, %fc : !dist.future<!nn.routing<tokens = 4, k = 1, experts = 1>>, !dist.future<!dist.exchange<["ep"], sent = 2, received = 4>> -> !nn.routing<tokens = 4, k = 1, experts = 1>, !dist.exchange<["ep"], sent = 2, received = 4>
    %fo = dist.async {
      %come = dist.all_to_all_rows %rows, %counts : tensor<2x1xf32>, <["ep"], sent = 2, received = 4> -> tensor<4x1xf32>
      dist.yield %come : tensor<4x1xf32>
    } -> !dist.future<tensor<4x1xf32>>
    %z = arith.mulf %x, %x : tensor<2x1xf32>
    %come = dist.wait %fo : !dist.future<tensor<4x1xf32>> -> tensor<4x1xf32>
    %h = arith.mulf %come, %come : tensor<4x1xf32>
    %fb = dist.async {
      %home = dist.all_to_all_rows %h, %counts back : tensor<4x1xf32>, <["ep"], sent = 2, received = 4> -> tensor<2x1xf32>
      dist.yield %home : tensor<2x1xf32>
    } -> !dist.future<tensor<2x1xf32>>
    %s = nn.reduce sum %z [0] : tensor<2x1xf32> -> tensor<1xf32>
    pipe.accumulate @w, %s : tensor<1xf32>
    pipe.start_reduce [@w]
    %home = dist.wait %fb : !dist.future<tensor<2x1xf32>> -> tensor<2x1xf32>
    %y = nn.combine %home weights %x, %r : tensor<2x1xf32>, tensor<2x1xf32>, <tokens = 2, k = 1, experts = 2> -> tensor<2x1xf32>
    %loss = nn.reduce sum %y [0, 1] : tensor<2x1xf32> -> tensor<f32>
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
