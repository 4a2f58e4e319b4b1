// loss = sum((w x - y)^2) / 4 with y = 0 and x = 1, 2, 3, 4 in two micro-batches:
// 7.5 w^2, its gradient 15 w, w = 1 at the start.
//
// RUN: rm -rf %t && mkdir %t
// RUN: moire-run %s --init --function=data --outputs=%t
// RUN: mv %t/output_0.pb %t/input_0.pb && mv %t/output_1.pb %t/labels.pb
//
// RUN: moire-run %s --init --data=%t --accumulate=2 --steps=2 --lr=0.01 --log=%t/log.jsonl --dump-grads=%t/grads.safetensors | FileCheck %s --check-prefix=SGD
// SGD:      step 1 loss 7.5 grad_norm 15
// SGD-NEXT: step 2 loss 5.41875 grad_norm 12.75
// RUN: FileCheck %s --check-prefix=LOG < %t/log.jsonl
// LOG: {"grad_norm":15,"loss":7.5,"lr":0.01{{[0-9]*}},"step":1}
// RUN: grep -a '"layer.weight":{"data_offsets":\[0,4\],"dtype":"F32","shape":\[1\]}' %t/grads.safetensors
//
// w = 1, 0.85, 0.85 - 0.01 (0.5 * 15 + 12.75).
// RUN: moire-run %s --init --data=%t --accumulate=2 --steps=3 --lr=0.01 --momentum=0.5 | FileCheck %s --check-prefix=MOMENTUM
// MOMENTUM: step 3 loss 3.14442
//
// The gradient is scaled to 3 (3 / (15 + 1e-6)): w = 1 - 0.1 * 3.
// RUN: moire-run %s --init --data=%t --accumulate=2 --steps=2 --lr=0.1 --clip=3 | FileCheck %s --check-prefix=CLIP
// CLIP:      step 1 loss 7.5 grad_norm 15
// CLIP-NEXT: step 2 loss 3.675
//
// The gradient gets 0.5 w: w = 1 - 0.01 * 15.5.
// RUN: moire-run %s --init --data=%t --accumulate=2 --steps=2 --lr=0.01 --weight-decay=0.5 | FileCheck %s --check-prefix=DECAY
// DECAY: step 2 loss 5.35519
// A parameter of rank 1 is not decayed under matrices.
// RUN: moire-run %s --init --data=%t --accumulate=2 --steps=2 --lr=0.01 --weight-decay=0.5 --decay=matrices | FileCheck %s --check-prefix=MATRICES
// MATRICES: step 2 loss 5.41875
//
// AdamW's first step is rate * sign: w = 1 - 0.1 * 0.2 - 0.1.
// RUN: sed 's/with sgd/with adamw/' %s > %t/adamw.mlir
// RUN: moire-run %t/adamw.mlir --init --data=%t --accumulate=2 --steps=2 --lr=0.1 --weight-decay=0.2 | FileCheck %s --check-prefix=ADAMW
// ADAMW: step 2 loss 5.808
//
// RUN: not moire-run %s --init --data=%t 2>&1 | FileCheck %s --check-prefix=ROWS
// ROWS: error: input 'x' of the data has type 'tensor<4x1xf32>'; its first size 4 must be batch 2 x 1 micro-batches (--accumulate x dp x ep) = 2
// RUN: not moire-run %s --init --data=%t --optimizer=adamw 2>&1 | FileCheck %s --check-prefix=KIND
// KIND: error: optimizer is sgd but --optimizer says adamw

module attributes {moire.name_prefix = "m.", moire.loss = "mse", moire.labels = "as-is", moire.count = "all"} {
  pipe.parameter @w : tensor<1xf32> torch "m.layer.weight" from [#pipe.source<"w", "", 0, 0, f32, same, 0>] init "ones"

  func.func @data() -> (tensor<4x1xf32> {onnx.name = "x"}, tensor<4x1xf32>) {
    %x = arith.constant dense<[[1.0], [2.0], [3.0], [4.0]]> : tensor<4x1xf32>
    %y = arith.constant dense<0.0> : tensor<4x1xf32>
    return %x, %y : tensor<4x1xf32>, tensor<4x1xf32>
  }

  func.func @micro_step(%x: tensor<2x1xf32> {onnx.name = "x", moire.role = "data"},
                        %y: tensor<2x1xf32> {onnx.name = "labels", moire.role = "labels"},
                        %scale: tensor<f32> {onnx.name = "scale", moire.role = "scale"}) -> tensor<f32> {
    %w = pipe.read @w : tensor<1xf32>
    %rows = nn.broadcast %w [1] : tensor<1xf32> -> tensor<2x1xf32>
    %wx = arith.mulf %rows, %x : tensor<2x1xf32>
    %d = arith.subf %wx, %y : tensor<2x1xf32>
    %dd = arith.mulf %d, %d : tensor<2x1xf32>
    %sum = nn.reduce sum %dd [0, 1] : tensor<2x1xf32> -> tensor<f32>
    %loss = arith.mulf %sum, %scale : tensor<f32>
    %dx = arith.mulf %d, %x : tensor<2x1xf32>
    %half = nn.reduce sum %dx [0] : tensor<2x1xf32> -> tensor<1xf32>
    %s = nn.broadcast %scale [] : tensor<f32> -> tensor<1xf32>
    %two = arith.constant dense<2.0> : tensor<1xf32>
    %g0 = arith.mulf %half, %s : tensor<1xf32>
    %g = arith.mulf %g0, %two : tensor<1xf32>
    pipe.accumulate @w, %g : tensor<1xf32>
    return %loss : tensor<f32>
  }

  func.func @optimizer_step() {
    pipe.update @w with sgd
    return
  }
}
