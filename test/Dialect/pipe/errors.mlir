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

// expected-error @+1 {{'pipe.parameter' op is frozen and cannot be in group 'head': no step trains it}}
pipe.parameter @p : tensor<4xf32> frozen group "head" from [#pipe.source<"p", "", 0, 0, f32, same, 0>]

// -----

// expected-error @+1 {{'pipe.parameter' op group 'a b' must be an ASCII name without '@', '+', ',', '=' and blanks}}
pipe.parameter @p : tensor<4xf32> group "a b" from [#pipe.source<"p", "", 0, 0, f32, same, 0>]

// -----

// expected-error @+1 {{'pipe.parameter' op group 'none' is what --update-schedule calls no group; choose another name}}
pipe.parameter @p : tensor<4xf32> group "none" from [#pipe.source<"p", "", 0, 0, f32, same, 0>]

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

// -----

func.func @nothing_leaves(%x: tensor<4xf32>) -> (tensor<4xf32> {pipe.residual = 0 : i64}) {
  // expected-error @+1 {{'pipe.publish' op has nothing to let go: no result of @nothing_leaves has pipe.output or pipe.input_cotangent}}
  pipe.publish
  return %x : tensor<4xf32>
}

// -----

func.func @too_early(%x: tensor<4xf32>) -> (tensor<4xf32> {pipe.output = 0 : i64}) {
  // expected-error @+1 {{'pipe.publish' op stands before result 0 is made; it must come after}}
  pipe.publish
  %y = arith.negf %x : tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

func.func @twice(%x: tensor<4xf32>) -> (tensor<4xf32> {pipe.output = 0 : i64}) {
  pipe.publish
  // expected-error @+1 {{'pipe.publish' op is the second one of its task; there may be one}}
  pipe.publish
  return %x : tensor<4xf32>
}
