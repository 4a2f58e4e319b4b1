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
    ListOption<"axes", "axes", "std::string", "NAME=SIZE of the axes dp, ep and tp">
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
  }];
}

def DistributeData : Pass<"distribute-data", "::mlir::ModuleOp"> {
  let summary = "Sums the ranks' gradients once a step";
  let description = [{
    The dp x ep ranks see different tokens; every trained parameter's gradient is
    summed over those of these axes that do not split it, by the function
    @reduce_gradients, which runs after the last micro-batch. Parameters of one
    group form buckets of at most `bucket-bytes`, in the order in which the
    backward completes their gradients.

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

#endif // MOIRE_DISTRIBUTE_PASSES
