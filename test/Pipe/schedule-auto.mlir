// RUN: moire-opt %s --pipe-schedule="kind=auto ranks=2 microbatches=2 latency=10" | FileCheck %s
// On four stages and two ranks the search places them down and up: stages 1 and 2 on rank 1 need
// no transfer, which takes time.

pipe.stage @a index 0
pipe.stage @b index 1
pipe.stage @c index 2
pipe.stage @d index 3

// CHECK: pipe.schedule @schedule kind "auto"
// CHECK-NEXT: stages [@a, @b, @c, @d]
// CHECK-NEXT: path micro_batches 2 ranks [0, 1, 1, 0]
