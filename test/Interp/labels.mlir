// What the trainer does with labels: the sum of those that count, times scale.
//
// RUN: rm -rf %t && mkdir %t
// RUN: moire-run %s --function=data --outputs=%t && mv %t/output_0.pb %t/labels.pb
//
// Targets [6 7 -] and [- 9 -], three of them count: (6 + 7 + 9) / 3.
// RUN: moire-run %s --data=%t | FileCheck %s --check-prefix=SHIFTED
// SHIFTED: step 1 loss 7.33333
//
// Labels [5 6 7] and [8 - 9], five of them count: 35 / 5.
// RUN: sed 's/"shifted"/"as-is"/' %s > %t/as-is.mlir
// RUN: moire-run %t/as-is.mlir --data=%t | FileCheck %s --check-prefix=ASIS
// ASIS: step 1 loss 7 grad
//
// Without the first of each row three count: 35 / 3.
// RUN: sed 's/"shifted"/"as-is"/; s/"all"/"skip-first"/' %s > %t/skip.mlir
// RUN: moire-run %t/skip.mlir --data=%t | FileCheck %s --check-prefix=SKIP
// SKIP: step 1 loss 11.6667
//
// N is the number of micro-batches: 35 / 2.
// RUN: sed 's/"shifted"/"as-is"/; s/"all"/"none"/; s/\[\[5, 6, 7\], .*\]\]/[[5, 6, 7]]/; s/2x3/1x3/g' %s > %t/none.mlir
// RUN: moire-run %t/none.mlir --data=%t --accumulate=2 | FileCheck %s --check-prefix=NONE
// NONE: step 1 loss 17.5
//
// attention_mask, position_ids and token_type_ids are filled in.
// RUN: moire-run %s --function=fill --data=%t | FileCheck %s --check-prefix=FILL
// FILL: mask: {{.*}} = {{\[}}[true, true, true]]
// FILL: positions: {{.*}} = {{\[}}[0, 1, 2], [0, 1, 2]]
// FILL: types: {{.*}} = {{\[}}[0, 0]]
//
// RUN: not moire-run %s --function=other --data=%t 2>&1 | FileCheck %s --check-prefix=OTHER
// OTHER: error: input 'input_ids' is neither in '{{.*}}' nor one that can be filled in

module attributes {moire.labels = "shifted", moire.count = "all"} {
  func.func @data() -> tensor<2x3xi64> {
    %y = arith.constant dense<[[5, 6, 7], [8, -100, 9]]> : tensor<2x3xi64>
    return %y : tensor<2x3xi64>
  }
  func.func @micro_step(%y: tensor<2x3xi64> {onnx.name = "labels", moire.role = "labels"},
                        %scale: tensor<f32> {onnx.name = "scale", moire.role = "scale"}) -> tensor<f32> {
    %ignored = arith.constant dense<-100> : tensor<2x3xi64>
    %zero = arith.constant dense<0> : tensor<2x3xi64>
    %counts = arith.cmpi ne, %y, %ignored : tensor<2x3xi64>
    %z = arith.select %counts, %y, %zero : tensor<2x3xi1>, tensor<2x3xi64>
    %f = arith.sitofp %z : tensor<2x3xi64> to tensor<2x3xf32>
    %sum = nn.reduce sum %f [0, 1] : tensor<2x3xf32> -> tensor<f32>
    %loss = arith.mulf %sum, %scale : tensor<f32>
    return %loss : tensor<f32>
  }
  func.func @optimizer_step() {
    return
  }
  func.func @fill(%m: tensor<1x3xi1> {onnx.name = "attention_mask"}, %p: tensor<2x3xi64> {onnx.name = "position_ids"},
                  %t: tensor<1x2xi64> {onnx.name = "token_type_ids"})
      -> (tensor<1x3xi1> {onnx.name = "mask"}, tensor<2x3xi64> {onnx.name = "positions"}, tensor<1x2xi64> {onnx.name = "types"}) {
    return %m, %p, %t : tensor<1x3xi1>, tensor<2x3xi64>, tensor<1x2xi64>
  }
  func.func @other(%x: tensor<1x3xi64> {onnx.name = "input_ids"}) {
    return
  }
}
