// RUN: moire-opt %s | moire-opt | FileCheck %s
// RUN: moire-opt %s --mlir-print-op-generic | moire-opt | FileCheck %s
// RUN: moire-opt --batch-ramp=entries=4@0,8@1000,4@2000 < /dev/null | FileCheck %s --check-prefix=PASS
// RUN: not moire-opt --batch-ramp=entries=4@0,8@0 < /dev/null 2>&1 | FileCheck %s --check-prefix=REFUSED

// PASS: pipe.batch_ramp 4 after 0, 8 after 1000, 4 after 2000
// REFUSED: error: the batch ramp has 8 micro-batches after 0 steps, behind 4 after 0; let the steps ascend

// CHECK: pipe.batch_ramp 4 after 0, 8 after 1000 {why = "the norm of the gradients"}
pipe.batch_ramp 4 after 0, 8 after 1000 {why = "the norm of the gradients"}
