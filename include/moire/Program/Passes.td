//===- Passes.td - Kernels and the program -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PROGRAM_PASSES
#define MOIRE_PROGRAM_PASSES

include "mlir/Pass/PassBase.td"

def Fuse : Pass<"fuse", "::mlir::func::FuncOp"> {
  let summary = "Elementwise clusters become linalg.generic";
  let description = [{
    Ops of arith and math (and nn.sigmoid) on tensors of one shape become
    linalg.generic ops with parallel iterators, possibly with several results:
    an op joins the clusters that make its operands and those that read one of
    them too. Broadcasts become indexing maps, splat constants and coordinates
    scalars of the body. What a later kernel can compute from what it reads
    anyway is computed again instead of stored. Additions that library kernels
    take along (biases, residuals, sums of a parameter's cotangents) stay.

    ```mlir
    %s = nn.sigmoid %g : tensor<20x32xf32>
    %a = arith.mulf %g, %s : tensor<20x32xf32>
    %y = arith.mulf %a, %u : tensor<20x32xf32>
    ```
    ~~>
    ```mlir
    %e = tensor.empty() : tensor<20x32xf32>
    %y = linalg.generic {...} ins(%g, %u : ...) outs(%e : ...) {
    ^bb0(%g0: f32, %u0: f32, %out: f32):
      ...
      linalg.yield %2 : f32
    } -> tensor<20x32xf32>
    ```
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"kernels", "kernels", "Elementwise kernels">];
}

def LowerToExec : Pass<"lower-to-exec", "::mlir::ModuleOp"> {
  let summary = "Tensors become places in memory, ops become statements";
  let description = [{
    Rewrites @micro_step from nn, arith and linalg on tensors to `exec`. View ops
    become windows where their readers take strides, cotangents of parameters
    are accumulated straight into gradients, elementwise results take over the
    memory of operands that die, and additions that a library kernel can take
    along (bias, residual) are folded into it.

    A function that several stages of a pipeline run is lowered once: it names the first one's
    parameters. What in a pair is of the second task's parameters has `pipe.second`.

    ```mlir
    %0 = nn.matmul %x, %w : tensor<20x32xf32>, tensor<32x96xf32>
    %1 = nn.broadcast %b [1] : tensor<96xf32> -> tensor<20x96xf32>
    %2 = arith.addf %0, %1 : tensor<20x96xf32>
    ```
    ~~>
    ```mlir
    %y = exec.buffer : memref<20x96xf32>
    exec.gemm %x, %w bias %b to %y : memref<20x32xf32>, memref<32x96xf32>, memref<96xf32> to memref<20x96xf32>
    ```
  }];
  let dependentDialects = ["exec::ExecDialect"];
}

def ChunkLogits : Pass<"chunk-logits", "::mlir::ModuleOp"> {
  let summary = "Never stores large logits whole";
  let description = [{
    The head's product, the cross-entropy and the two products of its backward
    are done for some rows at a time, where the logits take more than `limit`
    bytes: one chunk of logits exists at a time. The weight's gradient is summed
    over the chunks in order. Heads with a bias, or whose logits are read by
    anything else, stay as they are.

    ```mlir
    exec.gemm %h, %w to %z : memref<128x32xf32>, memref<32x1000xf32> to memref<128x1000xf32>
    exec.cross_entropy %z, %labels cotangent %scale ignore -100 to %losses, %lse logits %z : …
    exec.gemm %z, %wt to %dh : …
    ```
    ~~>
    ```mlir
    %z = exec.buffer : memref<64x1000xf32>
    %h0 = exec.view %h : memref<128x32xf32> to memref<64x32xf32>
    exec.gemm %h0, %w to %z : memref<64x32xf32>, memref<32x1000xf32> to memref<64x1000xf32>
    …
    %h1 = exec.view %h at 2048 : memref<128x32xf32> to memref<64x32xf32>
    exec.gemm %h1, %w to %z : memref<64x32xf32>, memref<32x1000xf32> to memref<64x1000xf32>
    …
    ```
  }];
  let options = [Option<"limit", "limit", "int64_t", "256ll << 20", "Bytes of logits that are stored at once">];
}

def FuseEpilogues : Pass<"fuse-epilogues", "::mlir::ModuleOp"> {
  let summary = "Products take along the GELU or the residual sum that follows";
  let description = [{
    Where the next statement to read the whole result of a matrix product is a GELU
    (tanh form), or a sum with something else, alone or before a normalization,
    the product does it and that pass over memory is gone. A product keeps what GELU
    is taken of where the backward reads it. For targets whose products have such
    epilogues (CUDA); the CPU's have none, so its pipeline leaves this pass out.

    ```mlir
    exec.gemm %h, %w bias %b to %z : memref<20x32xf32>, memref<32x96xf32>, memref<96xf32> to memref<20x96xf32>
    exec.launch @gelu ins(%z1 : memref<1920xf32>) outs(%y1 : memref<1920xf32>)
    ```
    ~~>
    ```mlir
    exec.gemm %h, %w bias %b gelu to %y aux %z : memref<20x32xf32>, memref<32x96xf32>, memref<96xf32> to memref<20x96xf32> aux memref<20x96xf32>
    ```
  }];
  let statistics = [Statistic<"epilogues", "epilogues", "Statements that products took along">];
}

def GatherRows : Pass<"gather-rows", "::mlir::func::FuncOp"> {
  let summary = "Experts' products read tokens where they lie";
  let description = [{
    Where nothing but grouped products and their weights' gradients read the rows that
    an nn.dispatch makes, these read the tokens themselves and the routing says which.
    The rows, k of each token, are then neither written nor kept for the backward. For
    targets whose products can bring rows from anywhere (CUDA); a processor's products
    copy rows first, so its pipeline leaves this pass out. Rows that come from other
    ranks stay as they are.

    ```mlir
    %rows = nn.dispatch %x, %r : tensor<20x32xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> -> tensor<40x32xf32>
    %y = nn.grouped_matmul %rows, %w, %r : tensor<40x32xf32>, tensor<8x32x48xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> -> tensor<40x48xf32>
    ```
    ~~>
    ```mlir
    %y = nn.grouped_matmul %x, %w, %r {gather_rows} : tensor<20x32xf32>, tensor<8x32x48xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> -> tensor<40x48xf32>
    ```
  }];
  let statistics = [Statistic<"gathered", "gathered", "Dispatches that no longer move rows">];
}

def SplitParts : Pass<"split-parts", "::mlir::ModuleOp"> {
  let summary = "Rows of experts move and are computed part by part";
  let description = [{
    From an all_to_all_rows with `exec.in_parts` to the one that brings the same rows back: all
    parts start on their way; then for each one its wait, the statements in between for its rows
    alone, and its start back. Places stay whole, and so do the bits. Where a statement in
    between is not about rows of experts, the exchange moves as a whole, and a warning says so, since
    the order of the step and `--explain` took it in parts.

    ```mlir
    exec.async 0 { exec.all_to_all_rows %a, %n over ["ep"] to %x {exec.in_parts = 2 : i64} : … }
    exec.wait 0
    exec.grouped_gemm %x, %w, %r to %y : …
    exec.async 1 { exec.all_to_all_rows %y, %n over ["ep"] back to %b {exec.in_parts = 2 : i64} : … }
    exec.wait 1
    ~~>
    exec.async 0 { exec.all_to_all_rows %a, %n over ["ep"] to %x {exec.part = array<i64: 0, 2, 0>} : … }
    exec.async 1 { exec.all_to_all_rows %a, %n over ["ep"] to %x {exec.part = array<i64: 1, 2, 0>} : … }
    exec.wait 0
    exec.grouped_gemm %x, %w, %r to %y {exec.part = array<i64: 0, 2, 0>} : …
    exec.async 2 { exec.all_to_all_rows %y, %n over ["ep"] back to %b {exec.part = array<i64: 0, 2, 0>} : … }
    exec.wait 1
    exec.grouped_gemm %x, %w, %r to %y {exec.part = array<i64: 1, 2, 0>} : …
    exec.async 3 { exec.all_to_all_rows %y, %n over ["ep"] back to %b {exec.part = array<i64: 1, 2, 0>} : … }
    exec.wait 2
    exec.wait 3
    ```
  }];
  let dependentDialects = ["::moire::exec::ExecDialect"];
  let statistics = [Statistic<"split", "split", "Ways to experts and back that were split">];
}

def MarkTraining : Pass<"mark-training", "::mlir::ModuleOp"> {
  let summary = "Marks the statements that only training needs";
  let description = [{
    Of `@micro_step`: all but those from which the loss is computed, by what they read and write.
    Evaluation runs the statements up to the last that is not marked, and leaves out the marked
    ones among them. The loss is handed over as soon as it is there; nothing else moves. Stages of a pipeline need no marks: their forwards are
    functions of their own.

    ```mlir
    exec.cross_entropy %z, %labels cotangent %seed ignore -100 to %losses, %lse logits %z : …
    exec.gemm %z, %w to %d_h : …
    exec.reduce sum %losses dims [0] to %loss : …
    exec.loss %loss : memref<f32>
    ```
    ~~>
    ```mlir
    exec.cross_entropy %z, %labels cotangent %seed ignore -100 to %losses, %lse logits %z : …
    exec.gemm %z, %w to %d_h {exec.training} : …
    exec.reduce sum %losses dims [0] to %loss : …
    exec.loss %loss : memref<f32>
    ```
  }];
  let dependentDialects = ["::moire::exec::ExecDialect"];
  let statistics = [Statistic<"marked", "marked", "Statements that only training needs">];
}

def MarkGroups : Pass<"mark-groups", "::mlir::ModuleOp"> {
  let summary = "Says of statements which groups of parameters need them";
  let description = [{
    A statement that neither the loss nor the gradient of a parameter without a group
    needs, by what it and those below it read and write, gets the names of the groups
    whose gradients need it. A step that trains none of them leaves it out: products
    that make the gradients of what rests, their sums over ranks, and cotangents that
    nothing but resting parameters would read. What a stage of a pipeline keeps or sends is
    always needed.

    The gradient of a group that rests may hold anything: a statement that another
    group needs can write it, too.

    ```mlir
    // @w1 in group "low", @w2 in group "high"; %z = (%x %w1) %w2
    exec.gemm %ht, %dz to %dw2 mode add_after_first : …
    exec.gemm %dz, %w2t to %dh : …
    exec.gemm %xt, %dh to %dw1 mode add_after_first : …
    ~~>
    exec.gemm %ht, %dz to %dw2 mode add_after_first {exec.groups = ["high"]} : …
    exec.gemm %dz, %w2t to %dh {exec.groups = ["low"]} : …
    exec.gemm %xt, %dh to %dw1 mode add_after_first {exec.groups = ["low"]} : …
    ```
  }];
  let dependentDialects = ["::moire::exec::ExecDialect"];
  let statistics = [Statistic<"marked", "marked", "Statements that only some groups need">];
}

def PackArena : Pass<"pack-arena", "::mlir::ModuleOp"> {
  let summary = "Gives every buffer its offset in the arena";
  let description = [{
    A buffer lives from the first statement that touches it to the last one.
    Offsets are planned by moire/Program/ArenaPacking.h. The arena's size in
    bytes becomes the module's attribute `exec.arena_bytes`.
  }];
  let statistics = [
    Statistic<"arenaBytes", "arena-bytes", "Size of the arena">,
    Statistic<"boundBytes", "bound-bytes", "Largest sum of live buffers">
  ];
}

def PackSlots : Pass<"pack-slots", "::mlir::ModuleOp"> {
  let summary = "Gives what stages of a pipeline keep its offset in their slots";
  let description = [{
    A slot holds what a micro-batch keeps in a stage, from its forward to the end of
    its backward; what is read in the forward alone and what comes later may share
    bytes. The slot's size in bytes becomes the attribute `exec.slot_bytes` of
    the pipe.stage. Stages that share functions have slots alike. Nothing to do
    without stages.
  }];
}

def VerifyArena : Pass<"verify-arena", "::mlir::ModuleOp"> {
  let summary = "Proves that no two live buffers overlap";
  let description = [{
    Fails on a buffer without an offset, on one that reaches beyond
    `exec.arena_bytes`, on two that overlap and live at one time, and on a
    statement that reads a buffer before any has written it. The same of what
    stages of a pipeline keep in their slots, in each function that names it.
  }];
}

#endif // MOIRE_PROGRAM_PASSES
