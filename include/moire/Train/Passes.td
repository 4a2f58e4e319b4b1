//===- Passes.td - From a model to its training step ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TRAIN_PASSES
#define MOIRE_TRAIN_PASSES

include "mlir/Pass/PassBase.td"

def TrainFreeze : Pass<"train-freeze", "::mlir::ModuleOp"> {
  let summary = "Marks parameters as frozen by name";
  let description = [{
    A parameter is frozen when `match`, a POSIX extended regular expression, is
    found in its PyTorch name, or in its symbol where the file tells no name. An
    expression that matches no parameter is an error.

    ```mlir
    // match=embed
    pipe.parameter @embed : tensor<96x32xf32> from [...]
    ~~>
    pipe.parameter @embed : tensor<96x32xf32> frozen from [...]
    ```
  }];
  let options = [
    Option<"match", "match", "std::string", "", "regular expression over parameter names">
  ];
}

def TrainLoss : Pass<"train-loss", "::mlir::ModuleOp"> {
  let summary = "Turns @forward into @micro_step, which returns the loss";
  let description = [{
    The loss is chosen by `loss`: `next-token`, `token` and `class` append a
    cross-entropy over logits of rank 3, 3 and 2; `mse` a squared error;
    `output:NAME` takes a scalar output as it is, or an output of logits under
    the rule for its rank. `auto` takes an output that depends on the input
    `labels` or holds a cross-entropy; else logits of rank 3 (`next-token`, or
    `token` in a graph with `decoder_input_ids`); else logits of rank 2.

    The sum of the counted losses is multiplied by the argument `scale`, which
    is 1 / (labels that count in the whole step), so that micro-batches add up.
    A mean that the graph takes over its counted labels is undone for the same
    reason. An output under `aux` (NAME=WEIGHT) is averaged over micro-batches by
    the labels that each of them counts.

    ```mlir
    func.func @forward(%x: ...) -> (tensor<2x10x96xf32> {onnx.name = "logits"})
    ~~>
    func.func @micro_step(%x: ... {moire.role = "data"},
                          %labels: tensor<2x10xi64> {moire.role = "labels"},
                          %scale: tensor<f32> {moire.role = "scale"}) -> tensor<f32>
    ```
    The module tells the runtime what to feed: `moire.loss`; `moire.labels`
    ("shifted" targets or "as-is"); `moire.count` (labels that count: "all",
    "skip-first" position of each row, or "none", that is micro-batches);
    `moire.batch`, `moire.seq`, `moire.vocab` and `moire.token_vocab` (bounds of
    labels and tokens; 0 where unknown).
  }];
  let options = [
    Option<"loss", "loss", "std::string", "\"auto\"",
           "auto, next-token, token, class, mse or output:NAME">,
    ListOption<"aux", "aux", "std::string", "NAME=WEIGHT of a scalar output that is added">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::moire::nn::NNDialect"];
}

def TrainAutodiff : Pass<"train-autodiff", "::mlir::ModuleOp"> {
  let summary = "Appends the backward pass to @micro_step";
  let description = [{
    Reverse-mode differentiation of the function's one result with respect to
    every parameter that is not frozen. Only ops between such a parameter and
    the result are differentiated. The backward ops follow the forward ops in
    reverse order; cotangents of several uses are added in that order; each
    parameter's gradient leaves by one `pipe.accumulate` as soon as it is whole.

    ```mlir
    %w = pipe.read @w : tensor<4x3xf32>
    %y = nn.matmul %x, %w : tensor<2x4xf32>, tensor<4x3xf32> -> tensor<2x3xf32>
    // %dy, the cotangent of %y
    ~~>
    %dw = nn.matmul %x, %dy {transpose_lhs} : ...
    pipe.accumulate @w, %dw : tensor<4x3xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::moire::nn::NNDialect", "::moire::pipe::PipeDialect"];
}

def TrainCleanUp : Pass<"train-clean-up", "::mlir::func::FuncOp"> {
  let summary = "Simplifies what adjoints leave behind";
  let description = [{
    Sums of zero-padded parts become a concatenation (the adjoint of a split),
    a sum with a scatter into zeros becomes a scatter into the other summand
    (the adjoint of a tied embedding), and a transposed product becomes the
    product of the transposes.
    ```mlir
    %a = nn.pad %x low [0, 0] high [0, 3] interior [0, 0] : tensor<2x5xf32> -> tensor<2x8xf32>
    %b = nn.pad %y low [0, 5] high [0, 0] interior [0, 0] : tensor<2x3xf32> -> tensor<2x8xf32>
    %s = arith.addf %a, %b : tensor<2x8xf32>
    ~~>
    %s = nn.concat %x, %y dim 1 : tensor<2x5xf32>, tensor<2x3xf32> -> tensor<2x8xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::moire::nn::NNDialect"];
}

def TrainOptimizer : Pass<"train-optimizer", "::mlir::ModuleOp"> {
  let summary = "Adds @optimizer_step with an update for every parameter that has a gradient";
  let description = [{
    A parameter without a gradient becomes frozen: as in PyTorch it is neither
    moved nor decayed.
    ```mlir
    func.func @optimizer_step() {
      pipe.update @w with adamw matrix
      return
    }
    ```
  }];
  let options = [
    Option<"kind", "kind", "std::string", "\"adamw\"", "sgd or adamw">
  ];
  let dependentDialects = ["::mlir::func::FuncDialect", "::moire::pipe::PipeDialect"];
}

def TrainRecompute : Pass<"train-recompute", "::mlir::func::FuncOp"> {
  let summary = "Repeats cheap forward ops in the backward instead of keeping their results";
  let description = [{
    Of what the backward's elementwise ops read from the forward, the cheapest
    set of values is kept (a minimum vertex cut by bytes) and the rest computed
    again from it, in front of its first use. Elementwise ops and changes of
    indices alone are repeated. Common subexpression elimination would undo
    this, so it must not run any more before kernels are formed.

    ```mlir
    %s = nn.sigmoid %a                  // forward, %a is a product
    %y = arith.mulf %a, %s
    %d = arith.mulf %dy, %s             // backward
    ~~>
    %s = nn.sigmoid %a
    %y = arith.mulf %a, %s
    %s_again = nn.sigmoid %a
    %d = arith.mulf %dy, %s_again       // %s need not be stored
    ```
  }];
}

#endif // MOIRE_TRAIN_PASSES
