//===- Passes.td - From one rank's program to that of a mesh -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DISTRIBUTE_PASSES
#define MOIRE_DISTRIBUTE_PASSES

include "mlir/Pass/PassBase.td"

def SetMesh : Pass<"set-mesh", "::mlir::ModuleOp"> {
  let summary = "Gives the module the mesh that it is compiled for";
  let description = [{
    `axes` is a list as `dp=2,ep=4`, in any order; an axis that is not named has
    size 1 and is left out.

    ```mlir
    // axes=ep=4,dp=2
    module {}
    ~~>
    module attributes {dist.mesh = #dist.mesh<dp = 2, ep = 4>} {}
    ```
  }];
  let options = [
    ListOption<"axes", "axes", "std::string", "NAME=SIZE of the axes pp, dp, ep and tp">
  ];
  let dependentDialects = ["::moire::dist::DistDialect"];
}

def DistributeExperts : Pass<"distribute-experts", "::mlir::ModuleOp"> {
  let summary = "Cuts experts over the axis ep and sends rows to them";
  let description = [{
    The weights of experts are cut in their first dim. After each nn.dispatch,
    and wherever rows of a rank's own tokens meet a local expert, rows go to the
    ranks that hold their experts; before each nn.combine they come back. The
    counts of one nn.route are exchanged once, for forward and backward.

    ```mlir
    %rows = nn.dispatch %x, %r : ..., <tokens = 20, k = 2, experts = 8> -> tensor<40x32xf32>
    %y = nn.grouped_matmul %rows, %w, %r : tensor<40x32xf32>, tensor<8x32x48xf32>, ...
    ~~>
    %rows = nn.dispatch %x, %r : ..., <tokens = 20, k = 2, experts = 8> -> tensor<40x32xf32>
    %local, %exchange = dist.exchange %r over ["ep"] : ...
    %come = dist.all_to_all_rows %rows, %exchange : tensor<40x32xf32>, ... -> tensor<160x32xf32>
    %y = nn.grouped_matmul %come, %w, %local : tensor<160x32xf32>, tensor<2x32x48xf32>, ...
    ```

    `slots` gives a rank room for that many times the pairs that it has itself, 40 in
    the example, instead of all 160 that can come. A micro-batch whose rows find no
    room on some rank is then run again in parts, by the runtime.
  }];
  let options = [
    Option<"slots", "slots", "double", "0", "rows that a rank has room for / its own pairs">
  ];
}

def DistributeTensor : Pass<"distribute-tensor", "::mlir::ModuleOp"> {
  let summary = "Cuts weights and what is computed with them over the axis tp";
  let description = [{
    All ranks of the axis see the same tokens. A product whose weight is cut by
    columns gives each rank its columns; what works on each of them alone
    follows, attention by heads; a product whose weight is cut by rows takes
    them up and gives summands, which are added over the ranks. The vocabulary of
    embedding, logits and cross-entropy is cut likewise. Which weights are cut is
    read from the forward part, the states of all other values follow from rules
    per op, in the backward part too; where an op cannot take a state, a
    collective stands in front of it. What has no rule is computed by every rank.

    Attention whose heads do not divide by the axis is an error.

    ```mlir
    pipe.parameter @up : tensor<32x128xf32> from [...]
    pipe.parameter @down : tensor<128x32xf32> from [...]
    %h = nn.matmul %x, %up : tensor<20x32xf32>, tensor<32x128xf32> -> tensor<20x128xf32>
    %g = math.tanh %h : tensor<20x128xf32>
    %y = nn.matmul %g, %down : tensor<20x128xf32>, tensor<128x32xf32> -> tensor<20x32xf32>
    %z = arith.addf %x, %y : tensor<20x32xf32>
    ~~> // tp = 2
    pipe.parameter @up : tensor<32x128xf32> from [...] sharding <[[], ["tp"]]>
    pipe.parameter @down : tensor<128x32xf32> from [...] sharding <[["tp"], []]>
    %h = nn.matmul %x, %up : tensor<20x32xf32>, tensor<32x64xf32> -> tensor<20x64xf32>
    %g = math.tanh %h : tensor<20x64xf32>
    %y = nn.matmul %g, %down : tensor<20x64xf32>, tensor<64x32xf32> -> tensor<20x32xf32>
    %s = dist.all_reduce %y over ["tp"] : tensor<20x32xf32>
    %z = arith.addf %x, %s : tensor<20x32xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::moire::dist::DistDialect", "::moire::nn::NNDialect"];
}

def DistributeBatch : Pass<"distribute-batch", "::mlir::ModuleOp"> {
  let summary = "Takes over all ranks what belongs to a whole micro-batch";
  let description = [{
    The parts of a micro-batch lie on the dp x ep ranks. nn.batch_sum becomes a sum
    over them; of a constant it is computed here. nn.capacity gets the counts of all
    ranks and its own number among them, and so decides as one rank with all tokens
    would.

    ```mlir
    %n = nn.batch_sum %load : tensor<8xf32>
    ~~> // dp = 2, ep = 2
    %n = dist.all_reduce %load over ["dp", "ep"] : tensor<8xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::moire::dist::DistDialect"];
}

def DistributeData : Pass<"distribute-data", "::mlir::ModuleOp"> {
  let summary = "Sums the ranks' gradients once a step";
  let description = [{
    The dp x ep ranks see different tokens; every trained parameter's gradient is
    summed over those of these axes that do not split it, by the function
    @reduce_gradients, which runs after the last micro-batch. Parameters that are summed
    over the same axes and rest together (`group` of pipe.parameter, or none) form
    buckets of at most `bucket-bytes`, in the order in which the
    backward completes their gradients; of at most an eighth of all gradients too,
    where that is 1 MiB or more, so that the first ones can begin early.

    ```mlir
    func.func @reduce_gradients() {
      pipe.reduce_grads [@lm_head, @norm] over ["dp", "ep"]
      pipe.reduce_grads [@experts] over ["dp"]
      return
    }
    ```
  }];
  let options = [
    Option<"bucketBytes", "bucket-bytes", "int64_t", "26214400", "most bytes of a bucket">
  ];
}

def DistributeZero : Pass<"distribute-zero", "::mlir::ModuleOp"> {
  let summary = "Divides the optimizer's state, gradients and parameters over ranks";
  let description = [{
    Each parameter whose gradient is summed over a group is divided among its
    ranks (ZeRO; Rajbhandari et al., 2020): `level` 1 divides the optimizer's
    state, 2 gradients too, 3 parameters too. After distribute-data.

    At level 1 the sums at the step's end leave each rank its piece, which it
    updates, and @optimizer_step gathers the parameters. From level 2 on a
    gradient is summed in each micro-batch, as soon as it is complete, and its
    piece accumulated; @reduce_gradients holds nothing of it. At level 3 a
    parameter is gathered before it is used, in the forward and again in the
    backward; it stays between two uses where what is gathered between them is
    smaller. What is only needed in bf16 is rounded by its owners and gathered
    as bf16.

    ```mlir
    pipe.parameter @w : tensor<32x64xf32> from [...]
    pipe.accumulate @w, %g : tensor<32x64xf32>
    pipe.reduce_grads [@w] over ["dp"]
    pipe.update @w with adamw matrix
    ~~> // dp = 2, level = 2
    pipe.parameter @w : tensor<32x64xf32> from [...] zero 2 over ["dp"]
    %flat = nn.reshape %g : tensor<32x64xf32> -> tensor<2048xf32>
    %piece = dist.reduce_scatter %flat dim 0 over ["dp"] : tensor<2048xf32> -> tensor<1024xf32>
    pipe.accumulate @w, %piece : tensor<1024xf32>
    pipe.update @w with adamw matrix
    pipe.gather [@w] over ["dp"]
    ```
  }];
  let options = [
    Option<"level", "level", "int64_t", "1", "1, 2 or 3">
  ];
  let dependentDialects = ["::moire::dist::DistDialect", "::moire::nn::NNDialect"];
}

def BucketPieces : Pass<"bucket-pieces", "::mlir::ModuleOp"> {
  let summary = "Small parameters are gathered, and their gradients summed, together";
  let description = [{
    After distribute-zero at level 2 or 3. What a function moves of one parameter after the
    other, in its order, moves in buckets, over the same axes and of one element type each:
    gathers of parameters before the first one's use, sums of gradients that rest together (`group`
    of pipe.parameter, or none) behind the last one. A bucket
    has at most a quarter of the bytes of what is largest of them, and at most
    `bucket-bytes`; what takes more than half a bucket moves alone. Each element is the same
    sum in the same order. A @micro_step that is still to be cut into stages is left alone.

    ```mlir
    %a = dist.all_gather %pa dim 0 over ["dp"] : tensor<16xf32> -> tensor<32xf32>
    %h = arith.mulf %x, %a : tensor<32xf32>
    %b = dist.all_gather %pb dim 0 over ["dp"] : tensor<32xf32> -> tensor<64xf32>
    ~~>
    %p = nn.concat %pa, %pb dim 0 : tensor<16xf32>, tensor<32xf32> -> tensor<48xf32>
    %row = nn.reshape %p : tensor<48xf32> -> tensor<1x48xf32>
    %all = dist.all_gather %row dim 0 over ["dp"] : tensor<1x48xf32> -> tensor<2x48xf32>
    %0 = nn.slice %all starts [0, 0] limits [2, 16] strides [1, 1] : tensor<2x48xf32> -> tensor<2x16xf32>
    %a = nn.reshape %0 : tensor<2x16xf32> -> tensor<32xf32>
    %h = arith.mulf %x, %a : tensor<32xf32>
    %1 = nn.slice %all starts [0, 16] limits [2, 48] strides [1, 1] : tensor<2x48xf32> -> tensor<2x32xf32>
    %b = nn.reshape %1 : tensor<2x32xf32> -> tensor<64xf32>
    ```
  }];
  let options = [
    Option<"bucketBytes", "bucket-bytes", "int64_t", "26214400", "most bytes of a bucket">
  ];
  let dependentDialects = ["::moire::dist::DistDialect", "::moire::nn::NNDialect"];
}

#endif // MOIRE_DISTRIBUTE_PASSES
