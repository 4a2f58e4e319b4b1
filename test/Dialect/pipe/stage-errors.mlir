// RUN: moire-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{'pipe.stage' op index -1 is below 0; count the stages from 0}}
pipe.stage @index_below_0 index -1

// -----

// expected-error @+1 {{'pipe.stage' op forward cost -1 of stage 3 is not a finite number of at least 0}}
pipe.stage @cost_below_0 index 3 cost <F = -1>

// -----

// expected-error @+1 {{'pipe.stage' op weight-gradient cost nan of stage 0 is not a finite number of at least 0}}
pipe.stage @cost_not_a_number index 0 cost <W = nan>

// -----

// expected-error @+1 {{'pipe.stage' op forward collective cost 2 of stage 0 is above its forward cost 1; it is a part of it}}
pipe.stage @collective_above_forward index 0 cost <F_collective = 2>

// -----

// expected-error @+1 {{'pipe.stage' op backward collective cost 1.5 of stage 0 is above its backward cost 1; it is a part of it}}
pipe.stage @collective_above_backward index 0 cost <B_collective = 1.5>

// -----

// expected-error @+1 {{'pipe.stage' op stage 0 keeps 3 bytes from b to W, more than its 2 bytes of activations; use at most these}}
pipe.stage @residual_above_activation index 0 cost <activation = 2, weight_residual = 3>

// -----

// expected-error @+1 {{'pipe.stage' op names @head, which is not a function}}
pipe.stage @unknown_function index 0 forward @head

// -----

pipe.stage @other index 1
// expected-error @+1 {{'pipe.stage' op names @other, which is not a function}}
pipe.stage @not_a_function index 0 backward_weight @other

// -----

// expected-error @+1 {{no cost is named 'G'; use one of F, B, b, W, FB, Fb, FF, BB, bb, F_collective, B_collective, parameters, activation, weight_residual, output}}
pipe.stage @unknown_cost index 0 cost <G = 1>

// -----

// expected-error @+1 {{cost 'F' is given twice; leave one out}}
pipe.stage @cost_twice index 0 cost <F = 1, F = 2>
