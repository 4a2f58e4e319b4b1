// RUN: moire-opt %s --split-input-file --train-autodiff --verify-diagnostics

pipe.parameter @w : tensor<4xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
func.func @micro_step() -> tensor<f32> {
  %w = pipe.read @w : tensor<4xf32>
  // expected-error @+1 {{'math.cbrt' has no derivative, but a trained parameter reaches the loss through it; --freeze the parameters before it}}
  %y = math.cbrt %w : tensor<4xf32>
  %loss = nn.reduce sum %y [0] : tensor<4xf32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

pipe.parameter @w : tensor<f32> frozen from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
func.func @micro_step() -> tensor<f32> {
  // expected-error @+1 {{the loss depends on no trained parameter; freeze fewer parameters or choose another loss with --loss}}
  %w = pipe.read @w : tensor<f32>
  return %w : tensor<f32>
}

// -----

// expected-error @+1 {{needs a function @micro_step of one block that returns the loss alone; run train-loss first}}
module {
}
