// What the pass refuses of its options.
// RUN: not moire-opt %s --pipe-schedule="kind=2f2b microbatches=4" 2>&1 | FileCheck %s --check-prefix=KIND
// RUN: not moire-opt %s --pipe-schedule="kind=1f1b" 2>&1 | FileCheck %s --check-prefix=MICROBATCHES
// RUN: not moire-opt %s --pipe-schedule="kind=zb-v microbatches=4" 2>&1 | FileCheck %s --check-prefix=PAIRS
// RUN: not moire-opt %s --pipe-schedule="kind=dualpipe microbatches=8" 2>&1 | FileCheck %s --check-prefix=EVEN
// RUN: not moire-opt %s --pipe-schedule="kind=dualpipev microbatches=8 ranks=3" 2>&1 | FileCheck %s --check-prefix=PAIRS-V
// RUN: not moire-opt %s --pipe-schedule="kind=interleaved:3 microbatches=4 ranks=2" 2>&1 | FileCheck %s --check-prefix=CHUNKS
// RUN: not moire-opt %s --pipe-schedule="kind=auto microbatches=4" 2>&1 | FileCheck %s --check-prefix=AUTO
// RUN: not moire-opt %s --pipe-schedule="kind=auto microbatches=4 ranks=2" 2>&1 | FileCheck %s --check-prefix=AUTO-EVEN
// RUN: not moire-opt %s --pipe-schedule="kind=1f1b microbatches=4 latency=-1" 2>&1 | FileCheck %s --check-prefix=LATENCY
// RUN: not moire-opt %s --pipe-schedule="kind=1f1b microbatches=2000000000" 2>&1 | FileCheck %s --check-prefix=MANY

// KIND: schedule-refusals.mlir:[[#@LINE+10]]:1: error: no schedule is named '2f2b'; use one of gpipe, 1f1b, interleaved:V, zb-h1, zb-h2, zb-v, v-half, dualpipe, dualpipev, auto
// MICROBATCHES: error: a step of 0 micro-batches cannot be; use microbatches=1 or more
// PAIRS: error: zb-v takes 2 stages on each rank, the module has 3; use 2 or 4 stages
// PAIRS-V: error: dualpipev takes 2 stages on each rank, the module has 3; use 2 or 4 stages
// EVEN: error: dualpipe needs an even number of ranks, not 3; use 2 or 4
// CHUNKS: error: interleaved:3 on 2 ranks takes 6 stages, the module has 3; use ranks=1
// AUTO: error: auto places 3 stages on 0 ranks; say how many there are with ranks=3
// AUTO-EVEN: error: auto places 3 stages evenly, which 2 ranks do not take; use ranks=1
// LATENCY: error: link latency -1 is not a finite number of at least 0
// MANY: error: 2000000000 micro-batches of 3 stages are 6000000000 forwards, more than the 1048576 that a schedule may have; use microbatches=349525 or fewer
pipe.stage @a index 0
pipe.stage @b index 1
pipe.stage @c index 2
