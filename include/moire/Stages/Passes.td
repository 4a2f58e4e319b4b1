//===- Passes.td - From a micro-batch's program to stages of a pipeline ---===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_STAGES_PASSES
#define MOIRE_STAGES_PASSES

include "mlir/Pass/PassBase.td"

def CutStages : Pass<"cut-stages", "::mlir::ModuleOp"> {
  let summary = "Cuts @micro_step into the stages of a pipeline";
  let description = [{
    The forward is cut where one large tensor crosses, so that the longest stage
    is as short as it can be by the cost model; the backward follows from what it
    reads. Each stage K becomes a pipe.stage @stageK with functions of its own:
    `@stageK_forward`, `@stageK_backward`, and `@stageK_backward_input` with
    `@stageK_backward_weight`, which together do what the backward does.

    The module's `moire.stage_cuts`, where it has one, says the cuts instead, as a list
    with an entry `{after = "layers.0", nodes = ["add_3"] }` for each. It lies behind the op
    that makes the largest tensor which leaves the ops of `nodes`, names of ONNX nodes
    in locations; `after` and the attribute's `said` are for sentences. Else
    `moire.stage_ends`, where there is one, does: a list with an entry
    `{before = ["add_2", "add_3"], behind = ["mul"]}` for each cut, ONNX nodes between which
    it lies where one tensor crosses. The pass leaves that of its own cuts, for the
    programs of other sequence lengths.

    All functions take the arguments of @micro_step first. What further
    arguments and results are say their attributes:

    * `pipe.input = i`: the i-th tensor that comes from the stage before;
      `pipe.output = i`: that goes to the next one;
    * `pipe.output_cotangent = i`: the i-th one that the backward gets from the
      next stage; `pipe.input_cotangent = i`: that goes to the stage before;
    * `pipe.residual = i`: kept between the functions of a stage;
    * `pipe.loss`: the micro-batch's loss.

    What depends on the inputs alone, or on parameters alone, is computed where it
    is read and not sent. A parameter that several stages read is accumulated by
    each of them. The backward_input of the first stage ends where no op is left
    that two parameters' gradients need.

    ```mlir
    func.func @micro_step(%x: tensor<4x4xf32>, %scale: tensor<f32>) -> tensor<f32> {
      %a = pipe.read @a : tensor<4x4xf32>
      %y = nn.matmul %x, %a : ...
      %b = pipe.read @b : tensor<4x4xf32>
      %z = nn.matmul %y, %b : ...
      …
    }
    ~~> // stages = 2
    func.func @stage0_forward(%x, %scale) -> (tensor<4x4xf32> {pipe.output = 0}) {…}
    func.func @stage1_forward(%x, %scale, %y: tensor<4x4xf32> {pipe.input = 0})
      -> (tensor<f32> {pipe.loss}, …) {…}
    …
    pipe.stage @stage0 index 0 cost <…> forward @stage0_forward …
    ```
  }];
  let options = [
    Option<"stages", "stages", "int64_t", "0", "How many; 0: per-rank times the mesh's pp">,
    Option<"perRank", "per-rank", "int64_t", "1", "Stages on each rank of pp">,
    Option<"rates", "rates", "std::string", "",
           "What a rank reaches, as --overlap-rates says it">
  ];
  let dependentDialects = ["::moire::pipe::PipeDialect", "::moire::nn::NNDialect",
                           "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect"];
}

def SumCopies : Pass<"sum-copies", "::mlir::ModuleOp"> {
  let summary = "Adds up the gradients of what several stages or paths accumulate";
  let description = [{
    Puts a pipe.sum_copies of all parameters that the schedule's ranks accumulate
    more than once, or that a rank reads which does not accumulate them, at the start of
    @reduce_gradients, which it makes where there is none.

    ```mlir
    func.func @reduce_gradients() {
      pipe.reduce_grads [@wte, @w] over ["dp"]
    }
    ~~>
    func.func @reduce_gradients() {
      pipe.sum_copies [@wte]
      pipe.reduce_grads [@wte, @w] over ["dp"]
    }
    ```
  }];
  let dependentDialects = ["::moire::pipe::PipeDialect", "::mlir::func::FuncDialect"];
}

def ShareStages : Pass<"share-stages", "::mlir::ModuleOp"> {
  let summary = "Stages whose functions are equal share them";
  let description = [{
    Functions are equal where op by op they are, up to the parameters that they name. A stage
    that all its functions find their equals for takes those of the other one.
    `pipe.parameters` says what each parameter in them is here, `pipe.nodes` what each
    ONNX node in their locations is.

    ```mlir
    func.func @stage1_forward(…) {… pipe.read @a …}
    func.func @stage2_forward(…) {… pipe.read @b …}
    pipe.stage @stage1 index 1 forward @stage1_forward
    pipe.stage @stage2 index 2 forward @stage2_forward
    ~~>
    func.func @stage1_forward(…) {… pipe.read @a …}
    pipe.stage @stage1 index 1 forward @stage1_forward
    pipe.stage @stage2 index 2 forward @stage1_forward attributes {pipe.parameters = {a = @b}, …}
    ```
  }];
  let statistics = [Statistic<"shared", "shared", "Stages that took another one's functions">];
}

#endif // MOIRE_STAGES_PASSES
