// RUN: moire-opt %s | moire-opt | FileCheck %s
// RUN: moire-opt %s --mlir-print-op-generic | moire-opt | FileCheck %s
// RUN: moire-opt %s --emit-bytecode | moire-opt | FileCheck %s

func.func private @run()

// CHECK: pipe.stage @embed index 0 forward @run backward @run backward_input @run backward_weight @run
pipe.stage @embed index 0 forward @run backward @run backward_input @run backward_weight @run
// The four times are shown together, else what is at its default is left out.
// CHECK: pipe.stage @head index 1 cost <F = 1, B = 3.5, b = 1, W = 1, output = 5.9e+07>
pipe.stage @head index 1 cost <output = 59000000.0, B = 3.5>
// CHECK: pipe.stage @every index 2 cost <F = 5, B = 8, b = 4, W = 3, FB = 10, Fb = 7, FF = 8, BB = 14, bb = 6, F_collective = 2, B_collective = 1, parameters = 1.0e-07, activation = 20, weight_residual = 0, output = 0.1>
pipe.stage @every index 2 cost <F = 5, B = 8, b = 4, W = 3, FB = 10, Fb = 7, FF = 8, BB = 14, bb = 6, F_collective = 2, B_collective = 1, parameters = 1.0e-7, activation = 20, weight_residual = 0, output = 0.1>

// CHECK:      pipe.schedule @two kind "1f1b"
// CHECK-NEXT:     stages [@embed, @head]
// CHECK-NEXT:     path micro_batches 1 ranks [0, 1]
// CHECK-NEXT:     link latency 0.009 bandwidth 5.0e+10
// CHECK-NEXT:     link from 1 to 0 latency 0.1 bandwidth 1.0e+09
// CHECK-NEXT:     contention 0.6
// CHECK-NEXT:     memory_limit 8.0e+10 {
// CHECK-NEXT:   rank 0 {
// CHECK-NEXT:     forward stage 0 micro_batch 0
// CHECK-NEXT:     backward stage 0 micro_batch 0
// CHECK-NEXT:   } queue {
// CHECK-NEXT:     send activation stage 0 micro_batch 0 to 1
// CHECK-NEXT:     receive cotangent stage 1 micro_batch 0 from 1
// CHECK-NEXT:   }
// CHECK-NEXT:   rank 1 {
// CHECK-NEXT:     forward stage 1 micro_batch 0
// CHECK-NEXT:     backward_input stage 1 micro_batch 0
// CHECK-NEXT:     backward_weight stage 1 micro_batch 0
// CHECK-NEXT:   } queue {
// CHECK-NEXT:     receive activation stage 0 micro_batch 0 from 0
// CHECK-NEXT:     send cotangent stage 1 micro_batch 0 to 0
// CHECK-NEXT:   }
// CHECK-NEXT: }
pipe.schedule @two kind "1f1b"
    stages [@embed, @head]
    path micro_batches 1 ranks [0, 1]
    link latency 0.009 bandwidth 5.0e10
    link from 1 to 0 latency 0.1 bandwidth 1.0e9
    contention 0.6
    memory_limit 8.0e10 {
  pipe.rank 0 {
    pipe.forward stage 0 micro_batch 0
    pipe.backward stage 0 micro_batch 0
  } queue {
    pipe.send activation stage 0 micro_batch 0 to 1
    pipe.receive cotangent stage 1 micro_batch 0 from 1
  }
  rank 1 {
    forward stage 1 micro_batch 0
    backward_input stage 1 micro_batch 0
    backward_weight stage 1 micro_batch 0
  } queue {
    receive activation stage 0 micro_batch 0 from 0
    send cotangent stage 1 micro_batch 0 to 0
  }
}

// Two paths through one stage; an overlap is one line; an empty queue is a queue.
// CHECK:      pipe.schedule @one
// CHECK-NEXT:     stages [@embed]
// CHECK-NEXT:     path micro_batches 1 ranks [0]
// CHECK-NEXT:     path micro_batches 1 ranks [0] {
// CHECK-NEXT:   rank 0 {
// CHECK-NEXT:     forward stage 0 micro_batch 0
// CHECK-NEXT:     overlap { forward stage 0 micro_batch 0 path 1  backward stage 0 micro_batch 0 }
// CHECK-NEXT:     backward stage 0 micro_batch 0 path 1 {note = "last"}
// CHECK-NEXT:   } queue {
// CHECK-NEXT:   }
// CHECK-NEXT: }
pipe.schedule @one stages [@embed] path micro_batches 1 ranks [0] path micro_batches 1 ranks [0] {
  rank 0 {
    forward stage 0 micro_batch 0
    overlap { forward stage 0 micro_batch 0 path 1 backward stage 0 micro_batch 0 }
    backward stage 0 micro_batch 0 path 1 {note = "last"}
  } queue {
  }
}
