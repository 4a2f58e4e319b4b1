//===- GradientOps.td - The pipe dialect: sums beside reduce_grads --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PIPE_GRADIENT_OPS
#define MOIRE_PIPE_GRADIENT_OPS

include "dialects/pipe/PipeDialect.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Pipe_StartReduceOp : Pipe_Op<"start_reduce", [MemoryEffects<[MemRead, MemWrite]>, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Starts a bucket's pipe.reduce_grads where its gradients are complete";
  let description = [{
    In @micro_step. In the last micro-batch of a step it puts the op of
    @reduce_gradients that holds these parameters at the end of the rank's queue;
    that op then only waits for its end. In other micro-batches it does nothing.
    ```mlir
    pipe.start_reduce [@wte, @wpe]
    ```
    Constraints: @reduce_gradients has a pipe.reduce_grads of these parameters.
  }];
  let arguments = (ins FlatSymbolRefArrayAttr:$parameters);
  let assemblyFormat = "$parameters attr-dict";
  let extraClassDeclaration = [{
    /// The op of @reduce_gradients that it starts, and its number there; null where there is none.
    ::mlir::Operation *getStarted(int64_t *number = nullptr);
  }];
}

def Pipe_SumCopiesOp : Pipe_Op<"sum_copies", [MemoryEffects<[MemRead, MemWrite]>, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Adds up what stages and paths of a pipeline accumulated for parameters";
  let description = [{
    Once a step, after the last micro-batch and before sums over ranks with other
    tokens. A parameter has a gradient for each stage that accumulates it and each path
    of the schedule. They are added path by path, in each in the order of the stages;
    all ranks of pp that hold the parameter get the sum.
    ```mlir
    pipe.sum_copies [@wte]
    ```
    Constraints: names pipe.parameters that are not frozen.
  }];
  let arguments = (ins FlatSymbolRefArrayAttr:$parameters);
  let assemblyFormat = "$parameters attr-dict";
}

def Pipe_PublishOp : Pipe_Op<"publish", [MemoryEffects<[MemWrite]>]> {
  let summary = "Lets what a task sends to the stage beside it leave before the function ends";
  let description = [{
    In a function of a pipeline's stage: its results that bear pipe.output or
    pipe.input_cotangent are made here, and messages with them may leave while the
    function goes on (weights' gradients, the other task of a pair). Without it they leave at
    its end. With `pipe.second` it speaks of the second task of a pair.
    ```mlir
    pipe.publish
    pipe.publish {pipe.second}
    ```
    Constraints: the function has such results, and they are defined before it; once for a task.
  }];
  let assemblyFormat = "attr-dict";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Numbers of the results that leave here.
    ::llvm::SmallVector<unsigned> getPublished();
  }];
}

#endif // MOIRE_PIPE_GRADIENT_OPS
