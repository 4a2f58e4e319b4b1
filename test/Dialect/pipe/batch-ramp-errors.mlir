// RUN: moire-opt %s --split-input-file --verify-diagnostics
// Ramps that are none: one test for each constraint.

// expected-error @+1 {{'pipe.batch_ramp' op begins after 5 steps, so that the first ones have no number of micro-batches; begin after 0}}
pipe.batch_ramp 4 after 5

// -----

// expected-error @+1 {{'pipe.batch_ramp' op has 2 micro-batches after 10 steps, behind 8 after 10; let the steps ascend}}
pipe.batch_ramp 4 after 0, 8 after 10, 2 after 10

// -----

// expected-error @+1 {{'pipe.batch_ramp' op has 0 micro-batches after 3 steps; use 1 to 1048576}}
pipe.batch_ramp 4 after 0, 0 after 3

// -----

// expected-error @+1 {{'pipe.batch_ramp' op has 2 numbers of micro-batches and 1 of steps; give as many of both}}
"pipe.batch_ramp"() <{micro_batches = array<i64: 4, 8>, after = array<i64: 0>}> : () -> ()

// -----

pipe.batch_ramp 4 after 0
// expected-error @+1 {{'pipe.batch_ramp' op stands beside another one; a module has one at most}}
pipe.batch_ramp 8 after 0

// -----

func.func @f() {
  // expected-error @+1 {{'pipe.batch_ramp' op expects parent op 'builtin.module'}}
  pipe.batch_ramp 4 after 0
  return
}
