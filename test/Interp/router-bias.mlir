// Eight tokens in two micro-batches choose one of two experts by sigmoid(logit) + bias. At first
// six choose expert 0 (logits 2, 1; sigmoids 0.880797, 0.731059) and two expert 1 (logits 1, 3;
// 0.952574): the loss is half the sum of the weights. Expert 0 has more than the mean of the step,
// though not of the second micro-batch, so its bias falls by 0.25 and that of expert 1 rises: then
// all choose expert 1, and after that step the biases are back. The rate of the optimizer is 0, and
// the loads are no part of the gradients' norm.
//
// RUN: rm -rf %t && mkdir %t
// RUN: moire-run %s --init --function=data --outputs=%t && mv %t/output_0.pb %t/input_0.pb
// RUN: moire-opt %s --train-router-bias="rate=0.25" -o %t/one.mlir
// RUN: moire-run %t/one.mlir --init --data=%t --accumulate=2 --steps=3 --lr=0 | FileCheck %s
// CHECK:      step 1 loss 3.59497 grad_norm 3.59497
// CHECK-NEXT: step 2 loss 3.14575 grad_norm 3.14575
// CHECK-NEXT: step 3 loss 3.59497
//
// The loads of all ranks make the sum.
// RUN: moire-opt %t/one.mlir --set-mesh=axes=dp=2 --distribute-batch --distribute-data -o %t/two.mlir
// RUN: moire-run %t/two.mlir --init --data=%t --accumulate=1 --steps=3 --lr=0 | FileCheck %s

module attributes {moire.loss = "output", moire.labels = "as-is", moire.count = "none"} {
  pipe.parameter @s : tensor<1xf32> from [#pipe.source<"s", "", 0, 0, f32, same, 0>] init "ones"
  pipe.parameter @bias : tensor<2xf32> frozen from [#pipe.source<"b", "", 0, 0, f32, same, 0>] init "zeros"

  func.func @data() -> (tensor<8x2xf32> {onnx.name = "x"}) {
    %x = arith.constant dense<[[2.0, 1.0], [2.0, 1.0], [2.0, 1.0], [2.0, 1.0],
                               [2.0, 1.0], [1.0, 3.0], [2.0, 1.0], [1.0, 3.0]]> : tensor<8x2xf32>
    return %x : tensor<8x2xf32>
  }

  func.func @micro_step(%x: tensor<4x2xf32> {onnx.name = "x", moire.role = "data"},
                        %scale: tensor<f32> {onnx.name = "scale", moire.role = "scale"}) -> tensor<f32> {
    %b = pipe.read @bias : tensor<2xf32>
    %s = pipe.read @s : tensor<1xf32>
    %w, %ids = nn.router sigmoid %x bias %b k 1 : tensor<4x2xf32>, tensor<2xf32> -> tensor<4x1xf32>, tensor<4x1xi64>
    %sum = nn.reduce sum %w [0, 1] : tensor<4x1xf32> -> tensor<f32>
    %scaled = arith.mulf %sum, %scale : tensor<f32>
    %one = nn.reshape %s : tensor<1xf32> -> tensor<f32>
    %loss = arith.mulf %scaled, %one : tensor<f32>
    %g = nn.reshape %scaled : tensor<f32> -> tensor<1xf32>
    pipe.accumulate @s, %g : tensor<1xf32>
    return %loss : tensor<f32>
  }

  func.func @optimizer_step() {
    pipe.update @s with sgd
    return
  }
}
