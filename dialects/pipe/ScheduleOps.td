//===- ScheduleOps.td - The pipe dialect: stages and their schedule -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PIPE_SCHEDULE_OPS
#define MOIRE_PIPE_SCHEDULE_OPS

include "dialects/pipe/ScheduleAttrs.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/Properties.td"
include "mlir/IR/SymbolInterfaces.td"

def Pipe_Int : IntProperty<"int64_t">;

//===----------------------------------------------------------------------===//
// The whole
//===----------------------------------------------------------------------===//

def Pipe_StageOp : Pipe_Op<"stage", [Symbol, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "A piece of the model between two cuts: what it costs and which functions run it";
  let description = [{
    * `index` counts the stages from the model's input and is at least 0.
    * `cost` is finite and at least 0; a collective is not longer than what it
      is a part of, a residual not larger than the activation.
    * `forward`, `backward`, `backward_input` and `backward_weight`, where they
      are given, name functions. Stages may share them.

    ```mlir
    pipe.stage @head index 3 cost <F = 57.6, B = 125.9, b = 84.1, W = 41.7> forward @head_forward
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Pipe_Int:$index, OptionalAttr<Pipe_Cost>:$cost,
                       OptionalAttr<FlatSymbolRefAttr>:$forward,
                       OptionalAttr<FlatSymbolRefAttr>:$backward,
                       OptionalAttr<FlatSymbolRefAttr>:$backward_input,
                       OptionalAttr<FlatSymbolRefAttr>:$backward_weight);
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name, "int64_t":$index,
                                 "const ::moire::scheduling::StageCost &":$cost)>];
  let extraClassDeclaration = [{
    int64_t getIndex() { return getProperties().index; }
    /// The cost, or the default one.
    ::moire::scheduling::StageCost getStageCost();
  }];
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Pipe_ScheduleOp : Pipe_Op<"schedule", [
    Symbol, SingleBlock, NoTerminator, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    OpAsmOpInterface]> {
  let summary = "The order in which each rank of a pipeline works";
  let description = [{
    A *path* is a way of micro-batches through all the stages: how many there
    are, and the rank of each stage. There is one path everywhere but in
    DualPipe, where half of the micro-batches enter at either end. Ranks run
    their actions in order, each as soon as its inputs are there.

    * `stages` name pipe.stages in the order of their indices, 0, 1, ….
    * A path places each stage on a rank of the schedule and has at least one
      micro-batch.
    * `link` (latency 0 and infinite bandwidth where it is not given) has a
      latency of at least 0 and a bandwidth above 0, and so have the links
      `from` one rank `to` another that differ from it.
    * `contention`, the speed of a transfer during an action, as a fraction of
      its speed alone, is above 0 and at most 1.
    * `memory_limit`, in bytes, is not below what parameters and one micro-batch
      take on a rank.
    * The body is one pipe.rank for each rank, in order.
    * Every micro-batch of each path is run once by each stage, forward and then
      either backward or backward_input and backward_weight, on the stage's rank.
    * A stage adds the weight gradients of a path in the order of micro-batches.
    * No rank waits for ever: an action's inputs are made before it, and ranks do
      not wait for each other in a cycle.
    * Where there are queues, they hold every message once at both of its ends,
      and all of them move when a message moves only while it is first in both.
    * No rank holds more bytes at any moment than the memory limit.

    `kind` says how the schedule was made; nothing depends on it.

    Inside, the prefix `pipe.` is left out.
    ```mlir
    pipe.schedule @step kind "1f1b"
        stages [@embed, @head]
        path micro_batches 1 ranks [0, 1]
        link latency 0.009 bandwidth 5.0e+10
        memory_limit 8.0e+10 {
      rank 0 {
        forward stage 0 micro_batch 0
        backward stage 0 micro_batch 0
      }
      rank 1 {
        forward stage 1 micro_batch 0
        backward stage 1 micro_batch 0
      }
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, OptionalAttr<StrAttr>:$kind,
                       FlatSymbolRefArrayAttr:$stages, DenseI32ArrayAttr:$micro_batches,
                       TypedArrayAttrBase<DenseI32ArrayAttr, "ranks of the stages">:$ranks_of,
                       OptionalAttr<F64Attr>:$latency, OptionalAttr<F64Attr>:$bandwidth,
                       OptionalAttr<Pipe_LinkArray>:$links, OptionalAttr<F64Attr>:$contention,
                       OptionalAttr<F64Attr>:$memory_limit);
  let regions = (region SizedRegion<1>:$body);
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name, "::llvm::StringRef":$kind,
                                 "::llvm::ArrayRef<::mlir::Attribute>":$stages,
                                 "const ::moire::scheduling::Problem &":$problem)>];
  let extraClassDeclaration = [{
    static ::llvm::StringRef getDefaultDialect() { return "pipe"; }
  }];
  let hasCustomAssemblyFormat = 1;
  let hasRegionVerifier = 1;
}

def Pipe_RankOp : Pipe_Op<"rank", [
    HasParent<"ScheduleOp">, SingleBlock, NoTerminator,
    OpAsmOpInterface]> {
  let summary = "What one rank does, action after action";
  let description = [{
    The queue is the order of the rank's one communication queue: a message
    moves when it is first in the queues of both its ranks. A schedule without
    queues leaves the order open.

    * The ranks of a schedule are 0, 1, … in this order.
    * The body holds forwards, backwards and overlaps.
    * The queue holds sends and receives; all ranks of a schedule have one, or none.

    ```mlir
    rank 0 {
      forward stage 0 micro_batch 0
      backward stage 0 micro_batch 0
    } queue {
      send activation stage 0 micro_batch 0 to 1
      receive cotangent stage 1 micro_batch 0 from 1
    }
    ```
  }];
  let arguments = (ins Pipe_Int:$number);
  let regions = (region SizedRegion<1>:$body, AnyRegion:$queue);
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "int64_t":$number, "bool":$queue)>];
  let extraClassDeclaration = [{
    static ::llvm::StringRef getDefaultDialect() { return "pipe"; }
    int64_t getNumber() { return getProperties().number; }
    bool hasQueue() { return !getQueue().empty(); }
  }];
  let hasCustomAssemblyFormat = 1;
  let hasRegionVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Actions
//===----------------------------------------------------------------------===//

class Pipe_TaskOp<string mnemonic, string kind>
    : Pipe_Op<mnemonic, [ParentOneOf<["RankOp", "OverlapOp"]>]> {
  let arguments = (ins Pipe_Int:$path, Pipe_Int:$stage, Pipe_Int:$micro_batch);
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "const ::moire::scheduling::Task &":$task)>];
  let extraClassDeclaration = [{
    int64_t getPath() { return getProperties().path; }
    int64_t getStage() { return getProperties().stage; }
    int64_t getMicroBatch() { return getProperties().micro_batch; }
    static constexpr ::moire::scheduling::TaskKind kKind = ::moire::scheduling::TaskKind::}]
    # kind # [{;
  }];
  let hasCustomAssemblyFormat = 1;
}

def Pipe_ForwardOp : Pipe_TaskOp<"forward", "Forward"> {
  let summary = "Runs a stage forward on a micro-batch: F";
  let description = [{
    Micro-batches count within their path; path 0 is left out.

    * Stands in a rank or in an overlap, as all actions do.
    * Comes after the forward of the stage before.

    ```mlir
    forward stage 1 micro_batch 3 path 1
    ```
  }];
}
def Pipe_BackwardOp : Pipe_TaskOp<"backward", "Backward"> {
  let summary = "Makes the cotangents of a stage's input and of its weights: B";
  let description = [{
    * Comes after the forward of this stage and the backward or backward_input
      of the next.

    ```mlir
    backward stage 1 micro_batch 3
    ```
  }];
}
def Pipe_BackwardInputOp : Pipe_TaskOp<"backward_input", "BackwardInput"> {
  let summary = "Makes the cotangent of a stage's input alone: b";
  let description = [{
    * Comes after the forward of this stage and the backward or backward_input
      of the next.

    ```mlir
    backward_input stage 1 micro_batch 3
    ```
  }];
}
def Pipe_BackwardWeightOp : Pipe_TaskOp<"backward_weight", "BackwardWeight"> {
  let summary = "Makes the cotangents of a stage's weights, after b: W";
  let description = [{
    * Comes after the backward_input of this stage and micro-batch.
    * Does not overlap.

    ```mlir
    backward_weight stage 1 micro_batch 3
    ```
  }];
}

def Pipe_OverlapOp : Pipe_Op<"overlap", [
    HasParent<"RankOp">, SingleBlock, NoTerminator,
    OpAsmOpInterface]> {
  let summary = "Two tasks that a rank runs at the same time, one's communication under the other's compute";
  let description = [{
    * Holds two of forward, backward, backward_input and backward_weight; of the last only one.
    * Neither needs what the other makes.

    ```mlir
    overlap { forward stage 1 micro_batch 3  backward stage 2 micro_batch 0 path 1 }
    ```
  }];
  let regions = (region SizedRegion<1>:$body);
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins)>];
  let extraClassDeclaration = [{
    static ::llvm::StringRef getDefaultDialect() { return "pipe"; }
  }];
  let hasCustomAssemblyFormat = 1;
  let hasRegionVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Messages
//===----------------------------------------------------------------------===//

class Pipe_MessageOp<string mnemonic> : Pipe_Op<mnemonic, [HasParent<"RankOp">]> {
  let arguments = (ins UnitAttr:$cotangent, Pipe_Int:$path, Pipe_Int:$stage, Pipe_Int:$micro_batch,
                       Pipe_Int:$peer);
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "const ::moire::scheduling::Message &":$message, "int64_t":$peer)>];
  let extraClassDeclaration = [{
    int64_t getPath() { return getProperties().path; }
    int64_t getStage() { return getProperties().stage; }
    int64_t getMicroBatch() { return getProperties().micro_batch; }
    int64_t getPeer() { return getProperties().peer; }
  }];
  let hasCustomAssemblyFormat = 1;
}

def Pipe_SendOp : Pipe_MessageOp<"send"> {
  let summary = "The rank's queue sends what a stage of it made";
  let description = [{
    An activation goes to the rank of the next stage, a cotangent to that of
    the stage before.

    * The stage is this rank's, and the peer is the rank that takes the message.

    ```mlir
    send activation stage 1 micro_batch 3 path 1 to 2
    ```
  }];
}
def Pipe_ReceiveOp : Pipe_MessageOp<"receive"> {
  let summary = "The rank's queue receives what a stage of another rank made";
  let description = [{
    `stage` is the stage that made it.

    * The stage is the peer's, and this rank takes the message.

    ```mlir
    receive cotangent stage 2 micro_batch 3 from 2
    ```
  }];
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

def Pipe_BatchRampOp : Pipe_Op<"batch_ramp", [HasParent<"::mlir::ModuleOp">]> {
  let summary = "How many micro-batches of a rank a step has, which grows in the course of a run";
  let description = [{
    `8 after 1000`: once 1000 steps are done, a step has 8 micro-batches. Of a module in stages each
    number has a pipe.schedule of its own, with as many micro-batches on all paths together.

    * The first entry is after 0 steps, the others after more and more.
    * A step has 1 to 2^20 micro-batches.
    * A module has one batch ramp at most.

    ```mlir
    pipe.batch_ramp 4 after 0, 8 after 1000
    ```
  }];
  let arguments = (ins DenseI64ArrayAttr:$micro_batches, DenseI64ArrayAttr:$after);
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "const ::moire::scheduling::Ramp &":$ramp)>];
  let extraClassDeclaration = "::moire::scheduling::Ramp getRamp();";
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

#endif // MOIRE_PIPE_SCHEDULE_OPS
