//===- Passes.td - Schedules of pipelines ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PIPE_PASSES
#define MOIRE_PIPE_PASSES

include "mlir/Pass/PassBase.td"

def BatchRamp : Pass<"batch-ramp", "::mlir::ModuleOp"> {
  let summary = "Writes how many micro-batches the steps of a run have";
  let description = [{
    `batch-ramp{entries=4@0,8@1000}` puts at the start of the module
    ```mlir
    pipe.batch_ramp 4 after 0, 8 after 1000
    ```
    which trainers and moire-run follow, and of which pipe-schedule makes schedules.
  }];
  let options = [
    Option<"entries", "entries", "std::string", "\"\"",
           "M@STEP,…: M micro-batches of a rank in a step, once STEP steps are done">
  ];
  let dependentDialects = ["::moire::pipe::PipeDialect"];
}

def PipeSchedule : Pass<"pipe-schedule", "::mlir::ModuleOp"> {
  let summary = "Writes the schedule of the module's stages";
  let description = [{
    The pipe.stages of the module, in the order of their indices, are placed on
    ranks as the kind of schedule has them, and the schedule is written after
    the last one. `auto` searches for the fastest one on every placement that
    takes these stages. Memory and times are those of the stages' costs. With `join`
    also tasks that the kind runs one after the other become pairs, where one hides
    the other's collectives and by simulation the step does not get longer.

    Of a module with a pipe.batch_ramp each number of micro-batches gets a schedule,
    named after it where there are several (`@schedule_8`). All of them place stages
    on the same ranks: `auto` takes the placement on which a micro-batch takes least
    time, as a mean over these numbers.

    ```mlir
    pipe.stage @embed index 0
    pipe.stage @head index 1
    ```
    ~~> `pipe-schedule{kind=1f1b microbatches=1 messages=false}`
    ```mlir
    pipe.stage @embed index 0
    pipe.stage @head index 1
    pipe.schedule @schedule kind "1f1b"
        stages [@embed, @head]
        path micro_batches 1 ranks [0, 1] {
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
  let options = [
    Option<"kind", "kind", "std::string", "\"1f1b\"",
           "gpipe, 1f1b, interleaved:V, zb-h1, zb-h2, zb-v, v-half, dualpipe, dualpipev or auto">,
    Option<"microBatches", "microbatches", "int", "0",
           "Micro-batches of a step; 0: as pipe.batch_ramp says">,
    Option<"ranks", "ranks", "int", "0",
           "Ranks of the pipeline; 0: as many as the kind takes for these stages">,
    Option<"memoryLimit", "memory-limit", "double", "0", "Bytes that a rank may hold; 0: no limit">,
    Option<"latency", "latency", "double", "0", "Latency of a transfer, in the unit of the costs">,
    Option<"bandwidth", "bandwidth", "double", "std::numeric_limits<double>::infinity()",
           "Bytes of a transfer per unit of time">,
    Option<"contention", "contention", "double", "1",
           "Speed of a transfer while either end computes, as a fraction of its speed alone">,
    Option<"join", "join", "bool", "false",
           "Join tasks that follow each other on a rank into pairs that hide communication">,
    Option<"messages", "messages", "bool", "true", "Write the order of each rank's messages">,
    Option<"name", "name", "std::string", "\"schedule\"", "Symbol of the schedule">
  ];
  let dependentDialects = ["::moire::pipe::PipeDialect"];
}

#endif // MOIRE_PIPE_PASSES
