// RUN: moire-opt %s --split-input-file --verify-diagnostics
// Queues that can never move: one test for each constraint, named after its violation.

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
    // expected-note @+1 {{rank 0 receives it here}}
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
