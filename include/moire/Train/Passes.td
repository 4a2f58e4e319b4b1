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

def TrainGroups : Pass<"train-groups", "::mlir::ModuleOp"> {
  let summary = "Puts parameters into groups that rest together";
  let description = [{
    `groups` is NAME=REGEX,NAME=REGEX,…: POSIX extended regular expressions over
    PyTorch names, or symbols where the file tells no name. A parameter belongs to
    the first group that finds it; one that no group finds, or that is frozen, to
    none. A group without a parameter is an error. Commas in brackets and braces of
    an expression, or behind a backslash, are its own.

    ```mlir
    // groups=head=^lm_head,layers=layers
    pipe.parameter @lm_head.weight : tensor<96x32xf32> from [...]
    pipe.parameter @layers.0.norm.weight : tensor<32xf32> from [...]
    ~~>
    pipe.parameter @lm_head.weight : tensor<96x32xf32> group "head" from [...]
    pipe.parameter @layers.0.norm.weight : tensor<32xf32> group "layers" from [...]
    ```
  }];
  let options = [
    Option<"groups", "groups", "std::string", "", "NAME=REGEX,... over parameter names">
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

    `aux-loss` A adds A * E * sum_e f_e * P_e of each nn.router of E experts: f_e is
    the part of the pairs that expert e got (without derivative), P_e its mean share
    of the scores. `z-loss` Z adds Z * mean(logsumexp(logits)^2). Both are taken over
    all tokens of a micro-batch, also those of other ranks (nn.batch_sum), and
    averaged over micro-batches as `aux` is.

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
    ListOption<"aux", "aux", "std::string", "NAME=WEIGHT of a scalar output that is added">,
    Option<"auxLoss", "aux-loss", "double", "0", "weight of the routers' load balance loss">,
    Option<"zLoss", "z-loss", "double", "0", "weight of the squared log-sum-exp of routers' logits">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::moire::nn::NNDialect"];
}

def TrainRouterBias : Pass<"train-router-bias", "::mlir::ModuleOp"> {
  let summary = "Lets the selection bias of each router follow its experts' load";
  let description = [{
    The bias accumulates experts * load - pairs, in every micro-batch, and once a
    step pipe.balance moves it by `rate` against the sign of the sum. Biases that
    are not parameters, have a gradient or belong to two routers are refused.

    ```mlir
    %w, %ids = nn.router sigmoid %logits bias %b k 2 : ...
    ~~>
    %c = nn.choice_counts %ids : tensor<20x2xi64> -> tensor<2x8xf32>
    %load = nn.reduce sum %c [0] : tensor<2x8xf32> -> tensor<8xf32>
    %0 = arith.mulf %load, %eight : tensor<8xf32>
    %1 = arith.subf %0, %forty : tensor<8xf32>
    pipe.accumulate @bias, %1 : tensor<8xf32>
    // in @optimizer_step
    pipe.balance @bias rate 1.000000e-03
    ```
  }];
  let options = [Option<"rate", "rate", "double", "0.001", "how far an entry moves in a step">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::moire::nn::NNDialect"];
}

def TrainCapacity : Pass<"train-capacity", "::mlir::ModuleOp"> {
  let summary = "Limits how many pairs of a micro-batch an expert takes";
  let description = [{
    An expert takes ceil(factor * pairs / experts) of a micro-batch's pairs, the
    first ones in the order `gshard` (second choices after all first choices) or
    `switch` (tokens in order). The others are routed nowhere: they have the weight
    zero. What mixes rows of experts is an error.

    ```mlir
    %r = nn.route %ids : tensor<20x2xi64> -> <tokens = 20, k = 2, experts = 8>
    ~~>
    %0 = nn.choice_counts %ids : tensor<20x2xi64> -> tensor<2x8xf32>
    %1 = nn.reshape %0 : tensor<2x8xf32> -> tensor<1x2x8xf32>
    %kept = nn.capacity %ids counts %1 at %zero factor 1.25 choices_first
      : tensor<20x2xi64>, tensor<1x2x8xf32>, tensor<i64>
    %r = nn.route %kept : tensor<20x2xi64> -> <tokens = 20, k = 2, experts = 8>
    ```
  }];
  let options = [
    Option<"factor", "factor", "double", "1.25", "slots of all experts / pairs">,
    Option<"order", "order", "std::string", "\"gshard\"", "gshard or switch">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::moire::nn::NNDialect"];
}

def MixedPrecision : Pass<"mixed-precision", "::mlir::ModuleOp"> {
  let summary = "Lets products, attention and logits be bf16";
  let description = [{
    Under the policy `bf16`, products and attention take operands that are
    rounded to bf16, and what they give is stored so; rope, the sum over a
    token's experts and the loss read the narrow values. All else is f32. What a
    product gives is rounded after its bias is added, and not at all where it is
    only added to a f32 tensor. `overrides` (REGEX=POLICY) choose another policy
    for ops whose ONNX node, or a parameter that they read, has such a name; the
    last that matches counts, and one that matches nothing is an error.

    Scalars stay f32: bf16 is an element type of tensors, between arith.truncf
    and arith.extf and at ops that read or give it.

    ```mlir
    %y = nn.matmul %x, %w : tensor<20x32xf32>, tensor<32x96xf32> -> tensor<20x96xf32>
    ~~>
    %0 = arith.truncf %x : tensor<20x32xf32> to tensor<20x32xbf16>
    %1 = arith.truncf %w : tensor<32x96xf32> to tensor<32x96xbf16>
    %2 = nn.matmul %0, %1 : tensor<20x32xbf16>, tensor<32x96xbf16> -> tensor<20x96xf32>
    %3 = arith.truncf %2 : tensor<20x96xf32> to tensor<20x96xbf16>
    %y = arith.extf %3 : tensor<20x96xbf16> to tensor<20x96xf32>
    ```
  }];
  let options = [
    Option<"policy", "policy", "std::string", "\"bf16\"", "f32 or bf16">,
    ListOption<"overrides", "overrides", "std::string", "REGEX=POLICY over node and parameter names">
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

def TrainCasts : Pass<"train-casts", "::mlir::func::FuncOp"> {
  let summary = "Moves casts to where they cost least";
  let description = [{
    Roundings move up and widenings down over ops that only move elements, until
    they meet, or reach a parameter, or a kernel that can do them: a product, a
    normalization, its gradient's cotangent, a sum over rows. A parameter is
    rounded as a whole then, once for all its readers.

    ```mlir
    %w = pipe.read @w : tensor<96x32xf32>
    %t = nn.transpose %w [1, 0] : tensor<96x32xf32> -> tensor<32x96xf32>
    %b = arith.truncf %t : tensor<32x96xf32> to tensor<32x96xbf16>
    %y = nn.matmul %x, %b : tensor<20x32xbf16>, tensor<32x96xbf16> -> tensor<20x96xf32>
    %z = arith.truncf %y : tensor<20x96xf32> to tensor<20x96xbf16>
    ~~>
    %w = pipe.read @w : tensor<96x32xf32>
    %b = arith.truncf %w : tensor<96x32xf32> to tensor<96x32xbf16>
    %t = nn.transpose %b [1, 0] : tensor<96x32xbf16> -> tensor<32x96xbf16>
    %z = nn.matmul %x, %t : tensor<20x32xbf16>, tensor<32x96xbf16> -> tensor<20x96xbf16>
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

def TrainCountFlops : Pass<"train-count-flops", "::mlir::ModuleOp"> {
  let summary = "Says how much a micro-batch computes";
  let description = [{
    Sums the products and attentions of @micro_step, forward and backward, a
    multiply-add as two; elementwise work is left out. Experts count each pair of
    token and expert, causal attention the half that is seen. `moire.hardware_flops`
    is that sum, `moire.model_flops` the same without what the backward computes a
    second time, the scores of attention. Where every parameter is trained, the
    model's FLOPs are three times the forward's.

    ```mlir
    %o, %lse = nn.attention %q, %k, %v causal ...          // [1, 1, 4, 8]: 2 products of 2*4*4*8, half
    %dq, %dk, %dv = nn.attention_grad %do, %q, %k, %v ...  // 5 products, half
    ~~>
    module attributes {moire.hardware_flops = 896 : i64, moire.model_flops = 768 : i64}
    ```
  }];
}

#endif // MOIRE_TRAIN_PASSES
