// RUN: moire-opt %s --raise-norms --canonicalize --split-input-file | FileCheck %s

// As PyTorch's dynamo exporter writes it at opset 18: weight * (x * 1/sqrt(..)).
// CHECK-LABEL: @dynamo
// CHECK-SAME:    (%[[X:.*]]: tensor<2x5x32xf32>, %[[W:.*]]: tensor<32xf32>)
// CHECK-NEXT:    %[[Y:.*]] = nn.rms_norm %[[X]] scale %[[W]] eps 9.9999999747524271E-7
// CHECK-NEXT:    return %[[Y]]
func.func @dynamo(%x: tensor<2x5x32xf32>, %w: tensor<32xf32>) -> tensor<2x5x32xf32> {
  %inv = arith.constant dense<3.125000e-02> : tensor<2x5x1xf32>
  %eps = arith.constant dense<9.99999997E-7> : tensor<2x5x1xf32>
  %one = arith.constant dense<1.0> : tensor<2x5x1xf32>
  %sq = arith.mulf %x, %x : tensor<2x5x32xf32>
  %sum = nn.reduce sum %sq [2] : tensor<2x5x32xf32> -> tensor<2x5xf32>
  %keep = nn.reshape %sum : tensor<2x5xf32> -> tensor<2x5x1xf32>
  %mean = arith.mulf %keep, %inv : tensor<2x5x1xf32>
  %add = arith.addf %mean, %eps : tensor<2x5x1xf32>
  %sqrt = math.sqrt %add : tensor<2x5x1xf32>
  %r = arith.divf %one, %sqrt : tensor<2x5x1xf32>
  %flat = nn.reshape %r : tensor<2x5x1xf32> -> tensor<2x5xf32>
  %b = nn.broadcast %flat [0, 1] : tensor<2x5xf32> -> tensor<2x5x32xf32>
  %n = arith.mulf %x, %b : tensor<2x5x32xf32>
  %wb = nn.broadcast %w [2] : tensor<32xf32> -> tensor<2x5x32xf32>
  %y = arith.mulf %wb, %n : tensor<2x5x32xf32>
  return %y : tensor<2x5x32xf32>
}

// -----

// The weight multiplies first; the root divides.
// CHECK-LABEL: @weight_first
// CHECK:         nn.rms_norm %{{.*}} scale %{{.*}} eps 9.9999997473787516E-6
func.func @weight_first(%x: tensor<10x32xf32>, %w: tensor<32xf32>) -> tensor<10x32xf32> {
  %n = arith.constant dense<32.0> : tensor<10xf32>
  %eps = arith.constant dense<1.0e-5> : tensor<10xf32>
  %sq = arith.mulf %x, %x : tensor<10x32xf32>
  %sum = nn.reduce sum %sq [1] : tensor<10x32xf32> -> tensor<10xf32>
  %mean = arith.divf %sum, %n : tensor<10xf32>
  %add = arith.addf %eps, %mean : tensor<10xf32>
  %sqrt = math.sqrt %add : tensor<10xf32>
  %b = nn.broadcast %sqrt [0] : tensor<10xf32> -> tensor<10x32xf32>
  %wb = nn.broadcast %w [1] : tensor<32xf32> -> tensor<10x32xf32>
  %xw = arith.mulf %x, %wb : tensor<10x32xf32>
  %y = arith.divf %xw, %b : tensor<10x32xf32>
  return %y : tensor<10x32xf32>
}

// -----

// Gemma: (1 + w); rsqrt.
// CHECK-LABEL: @gemma
// CHECK-SAME:    %[[X:.*]]: tensor<10x32xf32>, %[[W:.*]]: tensor<32xf32>
// CHECK:         %[[ONE:.*]] = arith.constant dense<1.0{{.*}}> : tensor<32xf32>
// CHECK:         %[[S:.*]] = arith.addf %[[W]], %[[ONE]]
// CHECK:         nn.rms_norm %[[X]] scale %[[S]]
func.func @gemma(%x: tensor<10x32xf32>, %w: tensor<32xf32>) -> tensor<10x32xf32> {
  %inv = arith.constant dense<3.125000e-02> : tensor<10xf32>
  %eps = arith.constant dense<1.0e-5> : tensor<10xf32>
  %one = arith.constant dense<1.0> : tensor<32xf32>
  %sq = arith.mulf %x, %x : tensor<10x32xf32>
  %sum = nn.reduce sum %sq [1] : tensor<10x32xf32> -> tensor<10xf32>
  %mean = arith.mulf %sum, %inv : tensor<10xf32>
  %add = arith.addf %eps, %mean : tensor<10xf32>
  %r = math.rsqrt %add : tensor<10xf32>
  %b = nn.broadcast %r [0] : tensor<10xf32> -> tensor<10x32xf32>
  %w1 = arith.addf %w, %one : tensor<32xf32>
  %wb = nn.broadcast %w1 [1] : tensor<32xf32> -> tensor<10x32xf32>
  %xr = arith.mulf %b, %x : tensor<10x32xf32>
  %y = arith.mulf %xr, %wb : tensor<10x32xf32>
  return %y : tensor<10x32xf32>
}

// -----

// No weight; x itself a product, whose factors are not the norm's.
// CHECK-LABEL: @bare
// CHECK-SAME:    %[[A:.*]]: tensor<10x32xf32>, %[[B:.*]]: tensor<10x32xf32>
// CHECK:         %[[X:.*]] = arith.mulf %[[A]], %[[B]]
// CHECK:         nn.rms_norm %[[X]] eps
func.func @bare(%a: tensor<10x32xf32>, %c: tensor<10x32xf32>) -> tensor<10x32xf32> {
  %inv = arith.constant dense<3.125000e-02> : tensor<10xf32>
  %eps = arith.constant dense<1.0e-5> : tensor<10xf32>
  %half = arith.constant dense<-0.5> : tensor<10xf32>
  %x = arith.mulf %a, %c : tensor<10x32xf32>
  %sq = arith.mulf %x, %x : tensor<10x32xf32>
  %sum = nn.reduce sum %sq [1] : tensor<10x32xf32> -> tensor<10xf32>
  %mean = arith.mulf %sum, %inv : tensor<10xf32>
  %add = arith.addf %eps, %mean : tensor<10xf32>
  %r = math.powf %add, %half : tensor<10xf32>
  %b = nn.broadcast %r [0] : tensor<10xf32> -> tensor<10x32xf32>
  %y = arith.mulf %x, %b : tensor<10x32xf32>
  return %y : tensor<10x32xf32>
}

// -----

// CHECK-LABEL: @layer_norm
// CHECK-SAME:    %[[X:.*]]: tensor<10x32xf32>, %[[W:.*]]: tensor<32xf32>, %[[C:.*]]: tensor<32xf32>
// CHECK-NEXT:    nn.layer_norm %[[X]] scale %[[W]] bias %[[C]] eps 9.9999997473787516E-6
func.func @layer_norm(%x: tensor<10x32xf32>, %w: tensor<32xf32>, %c: tensor<32xf32>) -> tensor<10x32xf32> {
  %inv = arith.constant dense<3.125000e-02> : tensor<10xf32>
  %eps = arith.constant dense<1.0e-5> : tensor<10xf32>
  %sx = nn.reduce sum %x [1] : tensor<10x32xf32> -> tensor<10xf32>
  %mu = arith.mulf %sx, %inv : tensor<10xf32>
  %mub = nn.broadcast %mu [0] : tensor<10xf32> -> tensor<10x32xf32>
  %d = arith.subf %x, %mub : tensor<10x32xf32>
  %sq = arith.mulf %d, %d : tensor<10x32xf32>
  %sum = nn.reduce sum %sq [1] : tensor<10x32xf32> -> tensor<10xf32>
  %mean = arith.mulf %sum, %inv : tensor<10xf32>
  %add = arith.addf %mean, %eps : tensor<10xf32>
  %sqrt = math.sqrt %add : tensor<10xf32>
  %b = nn.broadcast %sqrt [0] : tensor<10xf32> -> tensor<10x32xf32>
  %n = arith.divf %d, %b : tensor<10x32xf32>
  %wb = nn.broadcast %w [1] : tensor<32xf32> -> tensor<10x32xf32>
  %cb = nn.broadcast %c [1] : tensor<32xf32> -> tensor<10x32xf32>
  %nw = arith.mulf %n, %wb : tensor<10x32xf32>
  %y = arith.addf %nw, %cb : tensor<10x32xf32>
  return %y : tensor<10x32xf32>
}

// -----

// The residual behind a norm is not its bias, and 1/16 is not the mean of 32.
// CHECK-LABEL: @not_a_mean
// CHECK-NOT:     nn.rms_norm
func.func @not_a_mean(%x: tensor<10x32xf32>) -> tensor<10x32xf32> {
  %inv = arith.constant dense<6.25e-02> : tensor<10xf32>
  %eps = arith.constant dense<1.0e-5> : tensor<10xf32>
  %sq = arith.mulf %x, %x : tensor<10x32xf32>
  %sum = nn.reduce sum %sq [1] : tensor<10x32xf32> -> tensor<10xf32>
  %mean = arith.mulf %sum, %inv : tensor<10xf32>
  %add = arith.addf %eps, %mean : tensor<10xf32>
  %r = math.rsqrt %add : tensor<10xf32>
  %b = nn.broadcast %r [0] : tensor<10xf32> -> tensor<10x32xf32>
  %y = arith.mulf %x, %b : tensor<10x32xf32>
  return %y : tensor<10x32xf32>
}

// -----

// The mean runs over the rows, not over the last dim.
// CHECK-LABEL: @other_dim
// CHECK-NOT:     nn.rms_norm
func.func @other_dim(%x: tensor<32x32xf32>) -> tensor<32x32xf32> {
  %inv = arith.constant dense<3.125000e-02> : tensor<32xf32>
  %eps = arith.constant dense<1.0e-5> : tensor<32xf32>
  %sq = arith.mulf %x, %x : tensor<32x32xf32>
  %sum = nn.reduce sum %sq [0] : tensor<32x32xf32> -> tensor<32xf32>
  %mean = arith.mulf %sum, %inv : tensor<32xf32>
  %add = arith.addf %eps, %mean : tensor<32xf32>
  %r = math.rsqrt %add : tensor<32xf32>
  %b = nn.broadcast %r [0] : tensor<32xf32> -> tensor<32x32xf32>
  %y = arith.mulf %x, %b : tensor<32x32xf32>
  return %y : tensor<32x32xf32>
}

// -----

// Without epsilon there is nothing that keeps a row of zeros finite.
// CHECK-LABEL: @no_epsilon
// CHECK-NOT:     nn.rms_norm
func.func @no_epsilon(%x: tensor<10x32xf32>) -> tensor<10x32xf32> {
  %inv = arith.constant dense<3.125000e-02> : tensor<10xf32>
  %sq = arith.mulf %x, %x : tensor<10x32xf32>
  %sum = nn.reduce sum %sq [1] : tensor<10x32xf32> -> tensor<10xf32>
  %mean = arith.mulf %sum, %inv : tensor<10xf32>
  %r = math.rsqrt %mean : tensor<10xf32>
  %b = nn.broadcast %r [0] : tensor<10xf32> -> tensor<10x32xf32>
  %y = arith.mulf %x, %b : tensor<10x32xf32>
  return %y : tensor<10x32xf32>
}

// -----

// Another tensor's rows are normalised by x's root; a gate and a residual
// stay outside the norm.
// CHECK-LABEL: @gate
// CHECK-SAME:    %[[X:.*]]: tensor<10x32xf32>, %[[G:.*]]: tensor<10x32xf32>
// CHECK:         %[[N:.*]] = nn.rms_norm %[[X]] eps
// CHECK:         %[[M:.*]] = arith.mulf %[[N]], %[[G]]
// CHECK:         arith.addf %[[M]], %[[G]]
// CHECK:         arith.mulf %[[G]], %{{.*}} : tensor<10x32xf32>
func.func @gate(%x: tensor<10x32xf32>, %g: tensor<10x32xf32>) -> (tensor<10x32xf32>, tensor<10x32xf32>) {
  %inv = arith.constant dense<3.125000e-02> : tensor<10xf32>
  %eps = arith.constant dense<1.0e-5> : tensor<10xf32>
  %sq = arith.mulf %x, %x : tensor<10x32xf32>
  %sum = nn.reduce sum %sq [1] : tensor<10x32xf32> -> tensor<10xf32>
  %mean = arith.mulf %sum, %inv : tensor<10xf32>
  %add = arith.addf %eps, %mean : tensor<10xf32>
  %r = math.rsqrt %add : tensor<10xf32>
  %b = nn.broadcast %r [0] : tensor<10xf32> -> tensor<10x32xf32>
  %y = arith.mulf %x, %b : tensor<10x32xf32>
  %m = arith.mulf %y, %g : tensor<10x32xf32>
  %z = arith.addf %m, %g : tensor<10x32xf32>
  %other = arith.mulf %g, %b : tensor<10x32xf32>
  return %z, %other : tensor<10x32xf32>, tensor<10x32xf32>
}
