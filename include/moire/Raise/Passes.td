//===- Passes.td - Raising: from the exporters' ops to whole concepts ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RAISE_PASSES
#define MOIRE_RAISE_PASSES

include "mlir/Pass/PassBase.td"

class RaisePass<string name> : Pass<name, "::mlir::func::FuncOp"> {
  let dependentDialects = ["::mlir::arith::ArithDialect", "::moire::nn::NNDialect"];
}

def RaiseViews : RaisePass<"raise-views"> {
  let summary = "Shortest data movement: gathers at linear indices, detours of reshape and transpose";
  let description = [{
    A chain of reshape, transpose, broadcast, slice, concat and gather at
    linear indices (iota, constants, b*S + k) that ends up taking one tensor's
    elements in a regular order is written as at most one slice, transpose and
    broadcast, where that is shorter.
    ```mlir
    %a = nn.reshape %x : tensor<2x4x10x8xf32> -> tensor<8x10x8xf32>
    %b = nn.transpose %a [0, 2, 1] : tensor<8x10x8xf32> -> tensor<8x8x10xf32>
    %c = nn.reshape %b : tensor<8x8x10xf32> -> tensor<2x4x8x10xf32>
    ```
    ~~>
    ```mlir
    %c = nn.transpose %x [0, 1, 3, 2] : tensor<2x4x10x8xf32> -> tensor<2x4x8x10xf32>
    ```
  }];
}

def RaiseNorms : RaisePass<"raise-norms"> {
  let summary = "x * rsqrt(mean(x^2) + eps) * w to nn.rms_norm; centred x to nn.layer_norm";
  let description = [{
    The product may have its factors in any order and the inverse root in any
    form (1/sqrt, rsqrt, reciprocal, a power of -1/2, a division by the root).
    The weight may be any expression of one row (1 + w). Left alone: a mean
    over other dims than the last or with another divisor, no epsilon, factors
    that differ between rows.
    ```mlir
    %q = arith.mulf %x, %x              %m = nn.reduce sum %q [1]
    %a = arith.mulf %m, %dense<1/32>    %e = arith.addf %a, %dense<1e-6>
    %s = math.sqrt %e                   %i = arith.divf %ones, %s
    %r = nn.broadcast %i [0]            %y = arith.mulf %x, %r
    ```
    ~~>
    ```mlir
    %y = nn.rms_norm %x eps 1e-6
    ```
  }];
}

def RaiseRope : RaisePass<"raise-rope"> {
  let summary = "Pairwise rotations by position tables to nn.rope";
  let description = [{
    Both results of a rotation, x1*cos - x2*sin and x2*cos + x1*sin, wherever
    they are put: halves (written with rotate_half or with two products) or
    interleaved pairs. The two halves of a table must be provably one table. The
    tables must not depend on trained parameters, because nn.rope gives them no
    derivative.
    ```mlir
    %c = nn.concat %f, %f dim 2   %cos = math.cos %c   %sin = math.sin %c
    %n = arith.negf %x2           %r = nn.concat %n, %x1 dim 3
    %y = x * broadcast(%cos) + %r * broadcast(%sin)
    ```
    ~~>
    ```mlir
    %y = nn.rope %x, cos(%f), sin(%f)
    ```
  }];
}

def RaiseAttention : RaisePass<"raise-attention"> {
  let summary = "softmax(q k^T * scale + mask) v to nn.attention, masks taken apart";
  let description = [{
    Scales on either side of the product are collected; repeated key and value
    heads are taken back; a mask is taken apart into the causal triangle (a
    flag), conditions, and added numbers, and what is left is built only along
    the dims on which it depends: a padding mask stays [B, 1, 1, Skv]. The masks of
    existing nn.attention ops are taken apart likewise.

    Rows that may attend to nothing: nn.attention gives 0, as PyTorch's
    scaled_dot_product_attention does. A mask of finite numbers (finfo.min)
    without the exporter's NaN guard gives the mean of all values there; it
    becomes a condition only where each row provably attends to something, and
    is added as it is elsewhere. A mask that depends on trained parameters is
    left alone, because nn.attention gives it no derivative.
  }];
}

def RaiseMoe : RaisePass<"raise-moe"> {
  let summary = "Experts' matrices gathered per token to nn.dispatch, nn.grouped_matmul, nn.combine";
  let description = [{
    From a sum over k of weights * rows back to the gathers of stacked expert
    parameters at top_k's ids. What lies between must treat each row alone; it
    is rebuilt on rows sorted by expert. The routing weights become nn.router
    where they are a softmax, sigmoid or softmax over the chosen of the logits,
    optionally normalised and scaled, and stay as they are elsewhere.

    A gather of stacked matrices at top_k's ids that is not reached so is
    reported with its ONNX node: executed literally it copies the experts'
    matrices once per token.
  }];
}

#endif // MOIRE_RAISE_PASSES
