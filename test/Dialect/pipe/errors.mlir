// RUN: moire-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{'pipe.parameter' op type 'tensor<?x4xf32>' must be a float tensor of static shape}}
pipe.parameter @p : tensor<?x4xf32> from [#pipe.source<"p", "", 0, 0, f32, same, 0>]

// -----

// expected-error @+1 {{'pipe.parameter' op type 'tensor<4xi64>' must be a float tensor of static shape}}
pipe.parameter @p : tensor<4xi64> from [#pipe.source<"p", "", 0, 0, f32, same, 0>]

// -----

// expected-error @+1 {{'pipe.parameter' op needs at least one source}}
pipe.parameter @p : tensor<4xf32> from []

// -----

// expected-error @+1 {{'pipe.parameter' op slice 1 of 2 has no source}}
pipe.parameter @p : tensor<2x4xf32> from [#pipe.source<"p", "", 0, 0, f32, slice, 0>]

// -----

// expected-error @+1 {{'pipe.parameter' op slice 2 must lie in 0..1}}
pipe.parameter @p : tensor<2x4xf32> from [#pipe.source<"p", "", 0, 0, f32, slice, 2>]

// -----

func.func @f() {
  // expected-error @+1 {{'pipe.read' op names @p, which is not a pipe.parameter}}
  %0 = pipe.read @p : tensor<4xf32>
  return
}

// -----

pipe.parameter @p : tensor<4xf32> from [#pipe.source<"p", "", 0, 0, f32, same, 0>]
func.func @f() {
  // expected-error @+1 {{'pipe.read' op type 'tensor<5xf32>' must be the parameter's 'tensor<4xf32>'}}
  %0 = pipe.read @p : tensor<5xf32>
  return
}

// -----

pipe.parameter @p : tensor<4xf32> frozen from [#pipe.source<"p", "", 0, 0, f32, same, 0>]
func.func @f(%g: tensor<4xf32>) {
  // expected-error @+1 {{'pipe.accumulate' op parameter @p is frozen}}
  pipe.accumulate @p, %g : tensor<4xf32>
  return
}

// -----

pipe.parameter @p : tensor<4xf32> from [#pipe.source<"p", "", 0, 0, f32, same, 0>]
func.func @f(%g: tensor<2x2xf32>) {
  // expected-error @+1 {{'pipe.accumulate' op type 'tensor<2x2xf32>' must be the parameter's 'tensor<4xf32>'}}
  pipe.accumulate @p, %g : tensor<2x2xf32>
  return
}

// -----

pipe.parameter @p : tensor<4xf32> frozen from [#pipe.source<"p", "", 0, 0, f32, same, 0>]
func.func @f() {
  // expected-error @+1 {{'pipe.update' op parameter @p is frozen}}
  pipe.update @p with sgd
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{'pipe.balance' op names @p, which is not a pipe.parameter}}
  pipe.balance @p rate 0.001
  return
}

// -----

pipe.parameter @p : tensor<4xf32> frozen from [#pipe.source<"p", "", 0, 0, f32, same, 0>]
func.func @f() {
  // expected-error @+1 {{'pipe.balance' op parameter @p is frozen}}
  pipe.balance @p rate 0.001
  return
}

// -----

pipe.parameter @p : tensor<4xf32> from [#pipe.source<"p", "", 0, 0, f32, same, 0>]
func.func @f() {
  // expected-error @+1 {{'pipe.balance' op rate 0.000000e+00 must be more than 0}}
  pipe.balance @p rate 0.0
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{'pipe.sum_copies' op names @p, which is no pipe.parameter}}
  pipe.sum_copies [@p]
  return
}

// -----

pipe.parameter @p : tensor<4xf32> frozen from [#pipe.source<"p", "", 0, 0, f32, same, 0>]
func.func @f() {
  // expected-error @+1 {{'pipe.sum_copies' op names @p, which is frozen}}
  pipe.sum_copies [@p]
  return
}
