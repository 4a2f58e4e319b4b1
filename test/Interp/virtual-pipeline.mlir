// Two stages, gpipe, two micro-batches. A kernel takes 1 ms; a message of 16 bytes leaves in 1 ms and
// arrives 3 ms later, while the next one leaves. In ms, forwards F and backwards B:
//
//   0    1    2    5     7     9     12    15     16   19      20
//   F0 | F1 |      .     .     .     .     .      | B0 | update        rank 0; its B only adds
//                  | F0  | F1  | B0  | B1  | update                    rank 1
//
// RUN: rm -rf %t && mkdir %t
// RUN: moire-opt %s --cut-stages="stages=2 rates=flops=1e9,memory=1e9,overhead=1000" --pipe-schedule="kind=gpipe microbatches=2" -o %t/stages.mlir
// RUN: moire-run %s --init --function=data --outputs=%t
// RUN: mv %t/output_0.pb %t/input_0.pb
// RUN: moire-run %t/stages.mlir --init --data=%t --log=%t/log.jsonl --virtual-time --overlap-rates=flops=1e9,memory=1e9,overhead=1000,bandwidth=16e-6,latency=3000 | FileCheck %s
// RUN: FileCheck %s --check-prefix=LOG < %t/log.jsonl
// CHECK: rank 0 takes 20 ms: computes 3, waits 17, of which for messages of other stages 17, for ranks late to collectives 0; collectives take 0
// LOG: [{"collectives":0,"computing":3,"exposed":0,"late":0,"messages":17,"step":20},{"collectives":0,"computing":11,"exposed":0,"late":0,"messages":5,"step":16}]
module attributes {moire.count = "none", dist.mesh = #dist.mesh<pp = 2>} {
  pipe.parameter @w : tensor<2x2xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
  pipe.parameter @v : tensor<2x2xf32> from [#pipe.source<"v", "", 0, 0, f32, same, 0>]

  func.func @data() -> (tensor<4x2xf32> {onnx.name = "x"}) {
    %x = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]> : tensor<4x2xf32>
    return %x : tensor<4x2xf32>
  }

  func.func @micro_step(%x: tensor<2x2xf32> {onnx.name = "x", moire.role = "data"}) -> tensor<f32> {
    %one = arith.constant dense<1.0> : tensor<2x2xf32>
    %w = pipe.read @w : tensor<2x2xf32>
    %v = pipe.read @v : tensor<2x2xf32>
    %h = nn.matmul %x, %w : tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x2xf32>
    %y = nn.matmul %h, %v : tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x2xf32>
    %loss = nn.reduce sum %y [0, 1] : tensor<2x2xf32> -> tensor<f32>
    %dv = nn.matmul %h, %one {transpose_lhs} : tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x2xf32>
    pipe.accumulate @v, %dv : tensor<2x2xf32>
    %dh = nn.matmul %one, %v {transpose_rhs} : tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x2xf32>
    %dw = nn.matmul %x, %dh {transpose_lhs} : tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x2xf32>
    pipe.accumulate @w, %dw : tensor<2x2xf32>
    return %loss : tensor<f32>
  }

  func.func @optimizer_step() {
    pipe.update @w with sgd
    pipe.update @v with sgd
    return
  }
}
