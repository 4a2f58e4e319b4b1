//===- Passes.td - Collectives beside computation -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_OVERLAP_PASSES
#define MOIRE_OVERLAP_PASSES

include "mlir/Pass/PassBase.td"

def OverlapPairs : Pass<"overlap-pairs", "::mlir::ModuleOp"> {
  let summary = "Makes one function of two tasks that a schedule overlaps";
  let description = [{
    For each pair of functions that a pipe.overlap of the schedule runs together: a
    function with the arguments, ops and results of the first and then those of the
    second. The passes behind it interleave them, so that what one sends moves while the
    other computes. Accumulations of the second bear `pipe.second`.

    ```mlir
    overlap { forward stage 1 micro_batch 3  backward stage 2 micro_batch 0 path 1 }
    ~~>
    func.func @stage1_forward_and_stage2_backward(…) -> (…) attributes {pipe.pair} {…}
    ```
  }];
  let dependentDialects = ["::moire::pipe::PipeDialect", "::mlir::func::FuncDialect"];
  let statistics = [Statistic<"pairs", "pairs", "Functions made">];
}

def AsyncCollectives : Pass<"async-collectives", "::mlir::ModuleOp"> {
  let summary = "Collectives start as soon as they can and are waited for where they are used";
  let description = [{
    Each collective of @micro_step, or of each function of a pipeline's stages, becomes a dist.async where the last of what it
    reads is there, and a dist.wait before the first op that reads what it gives.
    No other op moves.

    ```mlir
    %g = nn.matmul %x, %dy {transpose_lhs} : ...
    %h = nn.gelu %g : ...
    %s = dist.all_reduce %g over ["tp"] : tensor<20x32xf32>
    %z = arith.addf %h, %s : tensor<20x32xf32>
    ~~>
    %g = nn.matmul %x, %dy {transpose_lhs} : ...
    %f = dist.async {
      %0 = dist.all_reduce %g over ["tp"] : tensor<20x32xf32>
      dist.yield %0 : tensor<20x32xf32>
    } -> !dist.future<tensor<20x32xf32>>
    %h = nn.gelu %g : ...
    %s = dist.wait %f : !dist.future<tensor<20x32xf32>> -> tensor<20x32xf32>
    %z = arith.addf %h, %s : tensor<20x32xf32>
    ```
  }];
  let dependentDialects = ["::moire::dist::DistDialect"];
  let statistics = [Statistic<"collectives", "collectives", "Collectives that run beside computation">];
}

def StartReductions : Pass<"start-reductions", "::mlir::ModuleOp"> {
  let summary = "Sums of gradients begin in the last micro-batch, where they are complete";
  let description = [{
    Behind the accumulation that completes the gradients of a pipe.reduce_grads of
    @reduce_gradients comes a pipe.start_reduce of it.

    ```mlir
    pipe.accumulate @head, %dh : tensor<96x32xf32>
    pipe.accumulate @wte, %de : tensor<96x32xf32>
    ~~>
    pipe.accumulate @head, %dh : tensor<96x32xf32>
    pipe.start_reduce [@head]
    pipe.accumulate @wte, %de : tensor<96x32xf32>
    pipe.start_reduce [@wte]
    ```
  }];
  let dependentDialects = ["::moire::pipe::PipeDialect"];
  let statistics = [Statistic<"started", "started", "Buckets whose sum begins early">];
}

def ScheduleOverlap : Pass<"schedule-overlap", "::mlir::ModuleOp"> {
  let summary = "Orders ops so that what a collective does not need runs beside it";
  let description = [{
    Takes the ops of @micro_step, or of a function of a pipeline's stages, as tasks on two resources, a device and a network, with
    the times of moire/Overlap/OpCost.h, and orders them by list scheduling
    (moire/Overlap/ListScheduler.h). What leads to a collective comes earlier, what it
    does not need (a shared expert, the gradients of weights) is left for the time in
    which it is under way. Of orders that are as fast, one is taken that makes what other stages
    wait for first. Live values may take `growth` more than in the given order.
    No order changes what is added to what: the bits stay the same.

    ```mlir
    %dw = nn.matmul %x, %dy {transpose_lhs} : ...
    pipe.accumulate @w, %dw : tensor<32x96xf32>
    %dx = nn.matmul %dy, %w {transpose_rhs} : ...
    %f = dist.async { … all_reduce %dx … } -> !dist.future<tensor<20x32xf32>>
    %s = dist.wait %f : !dist.future<tensor<20x32xf32>> -> tensor<20x32xf32>
    ~~>
    %dx = nn.matmul %dy, %w {transpose_rhs} : ...
    %f = dist.async { … all_reduce %dx … } -> !dist.future<tensor<20x32xf32>>
    %dw = nn.matmul %x, %dy {transpose_lhs} : ...
    pipe.accumulate @w, %dw : tensor<32x96xf32>
    %s = dist.wait %f : !dist.future<tensor<20x32xf32>> -> tensor<20x32xf32>
    ```
  }];
  let options = [
    Option<"rates", "rates", "std::string", "\"\"",
           "flops=GFLOP/S,memory=GB/S,overhead=US,bandwidth=GB/S,latency=US of a rank">,
    Option<"growth", "growth", "double", "0.1", "Part by which memory may grow">
  ];
  let statistics = [
    Statistic<"exposedBefore", "exposed-before-ns", "Predicted wait for collectives in the given order">,
    Statistic<"exposedAfter", "exposed-after-ns", "Predicted wait for collectives">
  ];
}

def SplitExchanges : Pass<"split-exchanges", "::mlir::ModuleOp"> {
  let summary = "Rows move in parts where nothing else hides them";
  let description = [{
    Where a rank would wait for rows that go to its experts, or back from them, they move in
    parts, a range of each rank's experts after another: the experts of one part compute while
    the rows of the next are on the way and those of the last go back. In a pair of tasks the
    other task hides rows already. How many parts are the fastest follows from the times of
    moire/Overlap/OpCost.h and moire/Overlap/PartTimes.h; each part takes launches and messages of its own.
    What stands between the ops of a chain moves in front of it or behind it. Experts with slots
    (`--expert-slots`) stay whole.

    ```mlir
    %f = dist.async { … dist.all_to_all_rows %rows, %x : … }
    %come = dist.wait %f : …
    %y = nn.grouped_matmul %come, %w, %routing : …
    %g = dist.async { … dist.all_to_all_rows %y, %x back : … }
    ~~>
    %f = dist.async { … dist.all_to_all_rows %rows, %x parts 2 : … }
    %come = dist.wait %f : …
    %y = nn.grouped_matmul %come, %w, %routing : …
    %g = dist.async { … dist.all_to_all_rows %y, %x back parts 2 : … }
    ```
  }];
  let dependentDialects = ["::moire::dist::DistDialect"];
  let options = [
    Option<"rates", "rates", "std::string", "\"\"",
           "flops=GFLOP/S,memory=GB/S,overhead=US,bandwidth=GB/S,latency=US of a rank">
  ];
  let statistics = [Statistic<"exchanges", "exchanges", "Ways to experts and back that have parts">];
}

def PublishOutputs : Pass<"publish-outputs", "::mlir::ModuleOp"> {
  let summary = "What a stage sends may leave as soon as it is made";
  let description = [{
    In each function of a pipeline's stages, and of two of them: a pipe.publish behind the last op
    that makes what goes to another stage, where ops follow that take time: gradients of weights,
    the other task of a pair. No other op moves.

    ```mlir
    func.func @stage1_backward(…) -> (tensor<20x32xf32> {pipe.input_cotangent = 0}) {
      %dx = nn.matmul %dy, %w {transpose_rhs} : ...
      %dw = nn.matmul %x, %dy {transpose_lhs} : ...
      pipe.accumulate @w, %dw : tensor<32x96xf32>
      return %dx : tensor<20x32xf32>
    ~~>
      %dx = nn.matmul %dy, %w {transpose_rhs} : ...
      pipe.publish
      %dw = nn.matmul %x, %dy {transpose_lhs} : ...
    ```
  }];
  let dependentDialects = ["::moire::pipe::PipeDialect"];
  let statistics = [Statistic<"published", "published", "Tasks whose outputs leave before the end">];
}

def VerifyQueues : Pass<"verify-queues", "::mlir::ModuleOp"> {
  let summary = "Proves that no ranks wait for each other in a circle";
  let description = [{
    A rank does its collectives one after another, in the order of its function; each
    begins when all members of its group have come to it. The pass lays the orders of all
    ranks of the mesh together and fails where they have a circle. Ranks run one program,
    so two coordinates of each axis stand for all. Of a pipeline it looks at each function of
    the stages and of their pairs.
  }];
}

def MeasuredTimes : Pass<"measured-times", "::mlir::ModuleOp"> {
  let summary = "Gives ops the times that were measured of a layer's parts";
  let description = [{
    Writes `pipe.seconds` at the ops of a pipeline's pairs; the cost model then takes
    these in place of its own. `parts` names parts of a layer by what stands in the names of ONNX
    nodes (any of several), each with milliseconds of its forward, of its backward for the input and of its
    backward for the weights: the ops of one layer's part share them as the cost model
    would divide them. `dispatch` and `combine` are milliseconds of rows to experts
    and back. Whatever is in none of these takes no time.

    ```mlir
    %y = nn.matmul %x, %w : ... loc("/layers.0/mlp/up/MatMul")
    %z = nn.matmul %y, %v : ... loc("/layers.0/mlp/down/MatMul")
    ~~> // parts=mlp:5:4:4
    %y = nn.matmul %x, %w {pipe.seconds = 2.5e-3} : ...
    %z = nn.matmul %y, %v {pipe.seconds = 2.5e-3} : ...
    ```
  }];
  let options = [
    Option<"rates", "rates", "std::string", "\"\"",
           "flops=GFLOP/S,memory=GB/S,overhead=US,bandwidth=GB/S,latency=US of a rank">,
    ListOption<"parts", "parts", "std::string", "NAME|NAME:F:B:W, milliseconds of a layer's part">,
    Option<"dispatch", "dispatch", "double", "0", "Milliseconds of rows to experts">,
    Option<"combine", "combine", "double", "0", "Milliseconds of rows of experts back to tokens">
  ];
}

def PrintTimetables : Pass<"print-timetables", "::mlir::ModuleOp"> {
  let summary = "Prints when the ops of a pipeline's pairs run, by the cost model";
  let description = [{
    For each function of two tasks: how long it takes, how long it waits for collectives, and a
    table of what runs when. Ops that take less than `least` of the whole are left out.

    ```
    @stage0_forward_and_stage1_backward: 9.500 ms; computes 9.000 ms, transfers take 4.000 ms, waits 0.500 ms (5.3 %)
         begin       end  compute                     | network
         0.000     4.000                              | dist.all_to_all_rows back /layers.1/mlp/GatherND
         0.000     5.000  nn.attention /layers.0/attn |
    ```
  }];
  let options = [
    Option<"rates", "rates", "std::string", "\"\"",
           "flops=GFLOP/S,memory=GB/S,overhead=US,bandwidth=GB/S,latency=US of a rank">,
    Option<"least", "least", "double", "0.01", "Part of the whole that an op must take">
  ];
}

#endif // MOIRE_OVERLAP_PASSES
