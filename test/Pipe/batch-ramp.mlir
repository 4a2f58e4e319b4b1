// Each number of micro-batches of a ramp gets a schedule of its own, on the same placement.
// RUN: moire-opt %s --split-input-file --pipe-schedule="kind=1f1b messages=false" | FileCheck %s
// RUN: moire-opt %s --split-input-file --pipe-schedule="kind=auto ranks=2" | FileCheck %s --check-prefix=AUTO
// RUN: not moire-opt %s --split-input-file --pipe-schedule="kind=dualpipe" 2>&1 | FileCheck %s --check-prefix=DUAL
// RUN: not moire-opt %s --split-input-file --pipe-schedule="kind=1f1b microbatches=4" 2>&1 | FileCheck %s --check-prefix=BOTH

pipe.batch_ramp 3 after 0, 1 after 10, 3 after 20
pipe.stage @embed index 0
pipe.stage @head index 1

// In ascending order, each once:
// CHECK: pipe.batch_ramp 3 after 0, 1 after 10, 3 after 20
// CHECK: pipe.schedule @schedule_1 kind "1f1b"
// CHECK: path micro_batches 1 ranks [0, 1]
// CHECK: pipe.schedule @schedule_3 kind "1f1b"
// CHECK: path micro_batches 3 ranks [0, 1]
// CHECK-NOT: pipe.schedule

// With one and three micro-batches there is no way from two ends.
// AUTO: pipe.schedule @schedule_1 kind "auto"
// AUTO: path micro_batches 1 ranks [0, 1]
// AUTO: pipe.schedule @schedule_3 kind "auto"
// AUTO: path micro_batches 3 ranks [0, 1]

// DUAL: error: batch ramp: dualpipe feeds 1 micro-batches from two ends, which takes an even number; use 4

// BOTH: error: microbatches=4 and the module's pipe.batch_ramp both say how many micro-batches a step has; leave one of them out

// -----

// One number: the name stays.

pipe.batch_ramp 4 after 0, 4 after 10
pipe.stage @embed index 0
pipe.stage @head index 1
// CHECK: pipe.schedule @schedule kind "1f1b"
// CHECK: path micro_batches 4 ranks [0, 1]
// AUTO: pipe.schedule @schedule kind "auto"

// -----

pipe.batch_ramp 4 after 0, 6 after 10, 2 after 20
pipe.stage @embed index 0
pipe.stage @head index 1
// DUAL: error: batch ramp: dualpipe on 2 ranks needs at least 4 micro-batches, not 2; use 4
