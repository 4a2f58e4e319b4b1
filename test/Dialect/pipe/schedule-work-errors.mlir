// RUN: moire-opt %s --split-input-file --verify-diagnostics
// Schedules that can never run: one test for each constraint, named after its violation.

pipe.stage @s0 index 0
pipe.stage @s1 index 1
pipe.schedule @missing_action
    stages [@s0, @s1]
    path micro_batches 1 ranks [0, 1] {
  rank 0 {
    forward stage 0 micro_batch 0
    backward stage 0 micro_batch 0
  }
  // expected-error @+1 {{rank 1 never runs B of micro-batch 0 at stage 1}}
  rank 1 {
    // expected-note @+1 {{F of it is here}}
    forward stage 1 micro_batch 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.schedule @missing_weight
    stages [@s0]
    path micro_batches 1 ranks [0] {
  // expected-error @+1 {{rank 0 never runs W of micro-batch 0 at stage 0; add it, or use B in place of b}}
  rank 0 {
    forward stage 0 micro_batch 0
    // expected-note @+1 {{b of it is here}}
    backward_input stage 0 micro_batch 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.schedule @doubled_action
    stages [@s0]
    path micro_batches 1 ranks [0] {
  rank 0 {
    // expected-note @+1 {{F of it is here}}
    forward stage 0 micro_batch 0
    // expected-error @+1 {{rank 0 runs F of micro-batch 0 at stage 0 twice; leave one out}}
    forward stage 0 micro_batch 0
    backward stage 0 micro_batch 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.schedule @two_forms
    stages [@s0]
    path micro_batches 1 ranks [0] {
  rank 0 {
    forward stage 0 micro_batch 0
    // expected-note @+1 {{B of it is here}}
    backward stage 0 micro_batch 0
    // expected-error @+1 {{rank 0 runs b of micro-batch 0 at stage 0 although that work is done in another form; use either B, or b and W}}
    backward_input stage 0 micro_batch 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.stage @s1 index 1
pipe.schedule @other_rank
    stages [@s0, @s1]
    path micro_batches 1 ranks [0, 1] {
  rank 0 {
    forward stage 0 micro_batch 0
    backward stage 0 micro_batch 0
  }
  rank 1 {
    // expected-error @+1 {{rank 1 runs F of micro-batch 0 at stage 0, which is rank 0's; rank 1 has stage 1}}
    forward stage 0 micro_batch 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.schedule @path_out_of_range
    stages [@s0]
    path micro_batches 1 ranks [0] {
  rank 0 {
    // expected-error @+1 {{rank 0 names path 1 of 1; use 0}}
    forward stage 0 micro_batch 0 path 1
  }
}

// -----

pipe.stage @s0 index 0
pipe.schedule @stage_out_of_range
    stages [@s0]
    path micro_batches 1 ranks [0] {
  rank 0 {
    // expected-error @+1 {{rank 0 names stage 7 of 1; use 0 to 0}}
    forward stage 7 micro_batch 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.schedule @micro_batch_out_of_range
    stages [@s0]
    path micro_batches 2 ranks [0] {
  rank 0 {
    // expected-error @+1 {{rank 0 names micro-batch 2 of 2 at stage 0; use 0 to 1}}
    forward stage 0 micro_batch 2
  }
}

// -----

pipe.stage @s0 index 0
pipe.schedule @accumulation_out_of_order
    stages [@s0]
    path micro_batches 2 ranks [0] {
  rank 0 {
    forward stage 0 micro_batch 0
    forward stage 0 micro_batch 1
    // expected-error @+1 {{rank 0 adds the weight gradients of micro-batch 1 at stage 0 where micro-batch 0 is due; keep the order of micro-batches}}
    backward stage 0 micro_batch 1
    // expected-note @+1 {{micro-batch 0 is here}}
    backward stage 0 micro_batch 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.schedule @backward_before_forward
    stages [@s0]
    path micro_batches 1 ranks [0] {
  rank 0 {
    // expected-error @+1 {{rank 0 runs B of micro-batch 0 at stage 0 before F of micro-batch 0 at stage 0, which it needs; put that first}}
    backward stage 0 micro_batch 0
    // expected-note @+1 {{what it needs is here}}
    forward stage 0 micro_batch 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.schedule @overlap_with_its_need
    stages [@s0]
    path micro_batches 1 ranks [0] {
  rank 0 {
    // expected-error @+1 {{rank 0 overlaps B of micro-batch 0 at stage 0 with F of micro-batch 0 at stage 0, which it needs; run them one after the other}}
    overlap { forward stage 0 micro_batch 0  backward stage 0 micro_batch 0 }
  }
}

// -----

pipe.stage @s0 index 0
pipe.stage @s1 index 1
pipe.schedule @waiting_cycle
    stages [@s0, @s1]
    path micro_batches 2 ranks [0, 1] {
  rank 0 {
    forward stage 0 micro_batch 0
    // expected-error @+1 {{ranks wait for each other for ever: rank 0 with B of micro-batch 0 at stage 0 for B of micro-batch 0 at stage 1 on rank 1, rank 1 with F of micro-batch 1 at stage 1 for F of micro-batch 1 at stage 0 on rank 0}}
    backward stage 0 micro_batch 0
    forward stage 0 micro_batch 1
    backward stage 0 micro_batch 1
  }
  rank 1 {
    // expected-note @+1 {{rank 1 waits here}}
    forward stage 1 micro_batch 1
    forward stage 1 micro_batch 0
    backward stage 1 micro_batch 0
    backward stage 1 micro_batch 1
  }
}

// -----

pipe.stage @s0 index 0 cost <parameters = 8, activation = 4>
pipe.schedule @memory_exceeded
    stages [@s0]
    path micro_batches 2 ranks [0]
    memory_limit 12 {
  rank 0 {
    forward stage 0 micro_batch 0
    // expected-error @+1 {{rank 0 holds 16 bytes (2 activations) at F of micro-batch 1 at stage 0, above the limit of 12; use a limit of 16 or a schedule that holds less}}
    forward stage 0 micro_batch 1
    backward stage 0 micro_batch 0
    backward stage 0 micro_batch 1
  }
}

// -----

pipe.stage @s0 index 0
pipe.schedule @micro_batches_beyond_memory
    stages [@s0]
    path micro_batches 2000000000 ranks [0] {
  // expected-error @+1 {{rank 0 never runs F of micro-batch 1 at stage 0}}
  rank 0 {
    forward stage 0 micro_batch 0
    backward stage 0 micro_batch 0
  }
}
