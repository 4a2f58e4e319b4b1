// RUN: moire-opt %s --split-input-file --verify-diagnostics
// Schedules that are none: one test for each constraint, named after its violation.

pipe.stage @s0 index 0
pipe.schedule @not_a_rank
    stages [@s0]
    path micro_batches 1 ranks [0] {
  // expected-error @+1 {{'func.call' op cannot stand in a schedule; use rank}}
  func.call @f() : () -> ()
  rank 0 {
    forward stage 0 micro_batch 0
    backward stage 0 micro_batch 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.stage @s1 index 1
pipe.schedule @rank_out_of_order
    stages [@s0, @s1]
    path micro_batches 1 ranks [0, 1] {
  rank 0 {
    forward stage 0 micro_batch 0
    backward stage 0 micro_batch 0
  }
  // expected-error @+1 {{rank 2 stands where rank 1 is due; give each rank once, in order}}
  rank 2 {
    forward stage 1 micro_batch 0
    backward stage 1 micro_batch 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.stage @s1 index 1
pipe.schedule @rank_without_queue
    stages [@s0, @s1]
    path micro_batches 1 ranks [0, 1] {
  rank 0 {
    forward stage 0 micro_batch 0
    backward stage 0 micro_batch 0
  } queue {
  }
  // expected-error @+1 {{rank 1 has no queue, rank 0 has one; give all ranks a queue, or none}}
  rank 1 {
    forward stage 1 micro_batch 0
    backward stage 1 micro_batch 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.stage @s1 index 1
pipe.schedule @rank_with_queue
    stages [@s0, @s1]
    path micro_batches 1 ranks [0, 1] {
  rank 0 {
    forward stage 0 micro_batch 0
    backward stage 0 micro_batch 0
  }
  // expected-error @+1 {{rank 1 has a queue, rank 0 has none; give all ranks a queue, or none}}
  rank 1 {
    forward stage 1 micro_batch 0
    backward stage 1 micro_batch 0
  } queue {
  }
}

// -----

pipe.stage @s0 index 0
pipe.schedule @message_among_actions
    stages [@s0]
    path micro_batches 1 ranks [0] {
  rank 0 {
    // expected-error @+1 {{'pipe.send' op cannot stand among the actions of a rank; use forward, backward, backward_input, backward_weight or overlap}}
    send activation stage 0 micro_batch 0 to 1
  }
}

// -----

pipe.stage @s0 index 0
pipe.schedule @action_in_queue
    stages [@s0]
    path micro_batches 1 ranks [0] {
  rank 0 {
  } queue {
    // expected-error @+1 {{'pipe.forward' op cannot stand in the queue of a rank; use send or receive}}
    forward stage 0 micro_batch 0
  }
}

// -----

// expected-error @+1 {{'pipe.rank' op expects parent op 'pipe.schedule'}}
pipe.rank 0 {
}

// -----

// expected-error @+1 {{'pipe.forward' op expects parent op to be one of 'pipe.rank, pipe.overlap'}}
pipe.forward stage 0 micro_batch 0

// -----

pipe.stage @s0 index 0
pipe.schedule @overlap_of_one
    stages [@s0]
    path micro_batches 1 ranks [0] {
  rank 0 {
    // expected-error @+1 {{'pipe.overlap' op holds 1 task; use 2}}
    overlap { forward stage 0 micro_batch 0 }
    backward stage 0 micro_batch 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.schedule @overlap_of_three
    stages [@s0]
    path micro_batches 2 ranks [0] {
  rank 0 {
    // expected-error @+1 {{'pipe.overlap' op holds 3 tasks; use 2}}
    overlap { forward stage 0 micro_batch 0  forward stage 0 micro_batch 1  backward stage 0 micro_batch 0 }
  }
}

// -----

pipe.stage @s0 index 0
pipe.schedule @weight_overlaps
    stages [@s0]
    path micro_batches 2 ranks [0] {
  rank 0 {
    forward stage 0 micro_batch 0
    backward_input stage 0 micro_batch 0
    forward stage 0 micro_batch 1
    backward_input stage 0 micro_batch 1
    // expected-error @+1 {{'pipe.backward_weight' op has nothing to overlap with another backward_weight; write one after the other}}
    overlap { backward_weight stage 0 micro_batch 0  backward_weight stage 0 micro_batch 1 }
  }
}

// -----

pipe.stage @s0 index 0
pipe.schedule @overlap_of_other
    stages [@s0]
    path micro_batches 2 ranks [0] {
  rank 0 {
    // expected-error @+1 {{'func.call' op cannot stand in an overlap; use forward, backward, backward_input or backward_weight}}
    overlap { func.call @f() : () -> ()  forward stage 0 micro_batch 0 }
  }
}

// -----

// expected-error @+1 {{schedule @unknown_stage names @s1, which is not a pipe.stage}}
pipe.schedule @unknown_stage
    stages [@s1]
    path micro_batches 1 ranks [0] {
  rank 0 {
  }
}

// -----

pipe.stage @s1 index 1
// expected-error @+1 {{schedule @stage_out_of_order names @s1 of index 1 where the stage of index 0 is due; name the stages in order}}
pipe.schedule @stage_out_of_order
    stages [@s1]
    path micro_batches 1 ranks [0] {
  rank 0 {
  }
}

// -----

pipe.stage @s0 index 0
// expected-error @+1 {{0 micro-batch counts for 0 paths; give one for each path, and at least one path}}
pipe.schedule @no_path
    stages [@s0]
 {
  rank 0 {
  }
}

// -----

pipe.stage @s0 index 0
pipe.stage @s1 index 1
// expected-error @+1 {{path 0 places 1 stages of 2; give a rank for each}}
pipe.schedule @path_too_short
    stages [@s0, @s1]
    path micro_batches 1 ranks [0] {
  rank 0 {
  }
}

// -----

pipe.stage @s0 index 0
pipe.stage @s1 index 1
// expected-error @+1 {{stage 1 is on rank 2 of 2; use 0 to 1}}
pipe.schedule @path_leaves_ranks
    stages [@s0, @s1]
    path micro_batches 1 ranks [0, 2] {
  rank 0 {
  }
  rank 1 {
  }
}

// -----

pipe.stage @s0 index 0
// expected-error @+1 {{path 0 has 0 micro-batches; use at least 1}}
pipe.schedule @path_without_micro_batches
    stages [@s0]
    path micro_batches 0 ranks [0] {
  rank 0 {
  }
}

// -----

pipe.stage @s0 index 0
// expected-error @+1 {{link latency -0.5 is not a finite number of at least 0}}
pipe.schedule @latency_below_0
    stages [@s0]
    path micro_batches 1 ranks [0]
    link latency -0.5 {
  rank 0 {
  }
}

// -----

pipe.stage @s0 index 0
// expected-error @+1 {{link bandwidth 0 is not above 0}}
pipe.schedule @bandwidth_of_0
    stages [@s0]
    path micro_batches 1 ranks [0]
    link bandwidth 0 {
  rank 0 {
  }
}

// -----

pipe.stage @s0 index 0
// expected-error @+1 {{the link from 0 to 1 leaves the 1 ranks; use 0 to 0}}
pipe.schedule @link_leaves_ranks
    stages [@s0]
    path micro_batches 1 ranks [0]
    link from 0 to 1 latency 1 {
  rank 0 {
  }
}

// -----

pipe.stage @s0 index 0
pipe.stage @s1 index 1
// expected-error @+1 {{the link from 0 to 1 is given twice; leave one out}}
pipe.schedule @link_twice
    stages [@s0, @s1]
    path micro_batches 1 ranks [0, 1]
    link from 0 to 1 latency 1
    link from 0 to 1 latency 2 {
  rank 0 {
  }
  rank 1 {
  }
}

// -----

pipe.stage @s0 index 0
// expected-error @+1 {{contention factor 1.5 is not above 0 and at most 1}}
pipe.schedule @contention_above_1
    stages [@s0]
    path micro_batches 1 ranks [0]
    contention 1.5 {
  rank 0 {
  }
}

// -----

pipe.stage @s0 index 0 cost <parameters = 8, activation = 4>
// expected-error @+1 {{rank 0 needs 12 bytes for its parameters and one micro-batch, above the limit of 11; use a limit of 12 or more ranks}}
pipe.schedule @memory_for_nothing
    stages [@s0]
    path micro_batches 1 ranks [0]
    memory_limit 11 {
  rank 0 {
  }
}

// -----

// expected-error @+1 {{'pipe.overlap' op expects parent op 'pipe.rank'}}
pipe.overlap { pipe.forward stage 0 micro_batch 0  pipe.forward stage 0 micro_batch 1 }

// -----

// expected-error @+1 {{'pipe.send' op expects parent op 'pipe.rank'}}
pipe.send activation stage 0 micro_batch 0 to 1

// -----

// expected-error @+1 {{'pipe.receive' op expects parent op 'pipe.rank'}}
pipe.receive activation stage 0 micro_batch 0 from 1
