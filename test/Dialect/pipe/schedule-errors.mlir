// RUN: moire-opt %s --split-input-file --verify-diagnostics
// One test for each constraint, named after its violation.

// -----

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
    // expected-error @+1 {{'pipe.backward_weight' op does not overlap; only forward, backward and backward_input do}}
    overlap { forward stage 0 micro_batch 1  backward_weight stage 0 micro_batch 0 }
  }
}

// -----

pipe.stage @s0 index 0
pipe.schedule @overlap_of_other
    stages [@s0]
    path micro_batches 2 ranks [0] {
  rank 0 {
    // expected-error @+1 {{'func.call' op cannot stand in an overlap; use forward, backward or backward_input}}
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
pipe.stage @s1 index 1
pipe.schedule @missing_message
    stages [@s0, @s1]
    path micro_batches 1 ranks [0, 1] {
  rank 0 {
    forward stage 0 micro_batch 0
    backward stage 0 micro_batch 0
  } queue {
    send activation stage 0 micro_batch 0 to 1
    receive cotangent stage 1 micro_batch 0 from 1
  }
  // expected-error @+1 {{rank 1 never sends the cotangent of micro-batch 0 from stage 1}}
  rank 1 {
    forward stage 1 micro_batch 0
    backward stage 1 micro_batch 0
  } queue {
    receive activation stage 0 micro_batch 0 from 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.stage @s1 index 1
pipe.schedule @doubled_message
    stages [@s0, @s1]
    path micro_batches 1 ranks [0, 1] {
  rank 0 {
    forward stage 0 micro_batch 0
    backward stage 0 micro_batch 0
  } queue {
    // expected-note @+1 {{the first is here}}
    send activation stage 0 micro_batch 0 to 1
    // expected-error @+1 {{rank 0 sends the activation of micro-batch 0 from stage 0 twice; leave one out}}
    send activation stage 0 micro_batch 0 to 1
    receive cotangent stage 1 micro_batch 0 from 1
  }
  rank 1 {
    forward stage 1 micro_batch 0
    backward stage 1 micro_batch 0
  } queue {
    receive activation stage 0 micro_batch 0 from 0
    send cotangent stage 1 micro_batch 0 to 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.stage @s1 index 1
pipe.schedule @unknown_message
    stages [@s0, @s1]
    path micro_batches 1 ranks [0, 1] {
  rank 0 {
    forward stage 0 micro_batch 0
    backward stage 0 micro_batch 0
  } queue {
    send activation stage 0 micro_batch 0 to 1
    receive cotangent stage 1 micro_batch 0 from 1
    // expected-error @+1 {{rank 0 has a message that no two ranks exchange, the activation of micro-batch 0 from stage 1: no stage comes after stage 1}}
    send activation stage 1 micro_batch 0 to 1
  }
  rank 1 {
    forward stage 1 micro_batch 0
    backward stage 1 micro_batch 0
  } queue {
    receive activation stage 0 micro_batch 0 from 0
    send cotangent stage 1 micro_batch 0 to 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.stage @s1 index 1
pipe.schedule @message_of_others
    stages [@s0, @s1]
    path micro_batches 1 ranks [0, 1] {
  rank 0 {
    forward stage 0 micro_batch 0
    backward stage 0 micro_batch 0
  } queue {
    send activation stage 0 micro_batch 0 to 1
    receive cotangent stage 1 micro_batch 0 from 1
  }
  rank 1 {
    forward stage 1 micro_batch 0
    backward stage 1 micro_batch 0
  } queue {
    receive activation stage 0 micro_batch 0 from 0
    send cotangent stage 1 micro_batch 0 to 0
  }
  rank 2 {
  } queue {
    // expected-error @+1 {{rank 2 neither sends nor receives the activation of micro-batch 0 from stage 0; it goes from rank 0 to 1}}
    send activation stage 0 micro_batch 0 to 1
  }
}

// -----

pipe.stage @s0 index 0
pipe.stage @s1 index 1
pipe.schedule @send_that_is_received
    stages [@s0, @s1]
    path micro_batches 1 ranks [0, 1] {
  rank 0 {
    forward stage 0 micro_batch 0
    backward stage 0 micro_batch 0
  } queue {
    send activation stage 0 micro_batch 0 to 1
    receive cotangent stage 1 micro_batch 0 from 1
  }
  rank 1 {
    forward stage 1 micro_batch 0
    backward stage 1 micro_batch 0
  } queue {
    // expected-error @+1 {{rank 1 receives this message; use receive, from 0}}
    send activation stage 0 micro_batch 0 to 0
    send cotangent stage 1 micro_batch 0 to 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.stage @s1 index 1
pipe.schedule @other_peer
    stages [@s0, @s1]
    path micro_batches 1 ranks [0, 1] {
  rank 0 {
    forward stage 0 micro_batch 0
    backward stage 0 micro_batch 0
  } queue {
    // expected-error @+1 {{this message goes to rank 1, not 0; use to 1}}
    send activation stage 0 micro_batch 0 to 0
    receive cotangent stage 1 micro_batch 0 from 1
  }
  rank 1 {
    forward stage 1 micro_batch 0
    backward stage 1 micro_batch 0
  } queue {
    receive activation stage 0 micro_batch 0 from 0
    send cotangent stage 1 micro_batch 0 to 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.stage @s1 index 1
pipe.schedule @queues_deadlock
    stages [@s0, @s1]
    path micro_batches 2 ranks [0, 1] {
  rank 0 {
    forward stage 0 micro_batch 0
    forward stage 0 micro_batch 1
    backward stage 0 micro_batch 0
    backward stage 0 micro_batch 1
  } queue {
    // expected-error @+1 {{rank 0 waits to send the activation of micro-batch 0 from stage 0 while rank 1 waits first for the activation of micro-batch 1 from stage 0: their message queues deadlock; order both by the time of sending}}
    send activation stage 0 micro_batch 0 to 1
    send activation stage 0 micro_batch 1 to 1
    receive cotangent stage 1 micro_batch 0 from 1
    receive cotangent stage 1 micro_batch 1 from 1
  }
  rank 1 {
    forward stage 1 micro_batch 0
    backward stage 1 micro_batch 0
    forward stage 1 micro_batch 1
    backward stage 1 micro_batch 1
  } queue {
    // expected-note @+1 {{rank 1 waits here}}
    receive activation stage 0 micro_batch 1 from 0
    receive activation stage 0 micro_batch 0 from 0
    send cotangent stage 1 micro_batch 0 to 0
    send cotangent stage 1 micro_batch 1 to 0
  }
}

// -----

pipe.stage @s0 index 0
pipe.stage @s1 index 1
pipe.schedule @receive_before_its_cause
    stages [@s0, @s1]
    path micro_batches 1 ranks [0, 1] {
  rank 0 {
    forward stage 0 micro_batch 0
    backward stage 0 micro_batch 0
  } queue {
    // expected-error @+1 {{rank 0 waits for the cotangent of micro-batch 0 from stage 1, which its sender can make only after a message that is later in this queue}}
    receive cotangent stage 1 micro_batch 0 from 1
    send activation stage 0 micro_batch 0 to 1
  }
  rank 1 {
    forward stage 1 micro_batch 0
    backward stage 1 micro_batch 0
  } queue {
    send cotangent stage 1 micro_batch 0 to 0
    receive activation stage 0 micro_batch 0 from 0
  }
}
