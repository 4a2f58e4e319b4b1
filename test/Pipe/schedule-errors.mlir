// RUN: moire-opt %s --split-input-file --verify-diagnostics --pipe-schedule="kind=zb-h1 ranks=2 microbatches=4 memory-limit=20"

// expected-error @+1 {{the module has 0 stages, a schedule needs at least 1; add a pipe.stage}}
module @no_stage {
}

// -----

module @index_twice {
  pipe.stage @a index 0
  // expected-error @+1 {{stages @a and @b both have index 0; count the stages from 0}}
  pipe.stage @b index 0
}

// -----

module @index_missing {
  pipe.stage @a index 0
  // expected-error @+1 {{stage @b has index 2 where 1 is due; count the stages from 0}}
  pipe.stage @b index 2
}

// -----

module @name_taken {
  pipe.stage @a index 0
  // expected-error @+1 {{the symbol @schedule is taken by func.func; give the schedule another with name=}}
  func.func private @schedule()
}

// -----

module @other_ranks {
  // expected-error @+1 {{zb-h1 on 2 ranks takes 2 stages, the module has 4; use ranks=4 or kind=interleaved:2}}
  pipe.stage @a index 0
  pipe.stage @b index 1
  pipe.stage @c index 2
  pipe.stage @d index 3
}

// -----

module @memory {
  // expected-error @+1 {{rank 0 needs 22 bytes for its parameters and one micro-batch, above the limit of 20; use a limit of 22 or more ranks}}
  pipe.stage @a index 0 cost <parameters = 20, activation = 2>
  pipe.stage @b index 1
}

// -----

module @memory_of_this_kind {
  // expected-error @+1 {{rank 0 holds 22 bytes (2 activations) at F of micro-batch 1 at stage 0, above the limit of 20; use a limit of 22 or a schedule that holds less}}
  pipe.stage @a index 0 cost <activation = 11>
  pipe.stage @b index 1
}
