// RUN: moire-opt %s --split-input-file --verify-diagnostics

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  // expected-error @+1 {{zero is 4 but must be 1, 2 or 3}}
  pipe.parameter @p : tensor<4xf32> from [#pipe.source<"p", "", 0, 0, f32, same, 0>] zero 4 over ["dp"]
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  // expected-error @+1 {{must have zero and zero_axes together}}
  "pipe.parameter"() {sym_name = "p", type = tensor<4xf32>, sources = [#pipe.source<"p", "", 0, 0, f32, same, 0>], zero = 1 : i64} : () -> ()
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  // expected-error @+1 {{is frozen and cannot have zero: it has neither gradient nor state}}
  pipe.parameter @p : tensor<4xf32> frozen from [#pipe.source<"p", "", 0, 0, f32, same, 0>] zero 1 over ["dp"]
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  // expected-error @+1 {{needs an axis to divide it over}}
  pipe.parameter @p : tensor<4xf32> from [#pipe.source<"p", "", 0, 0, f32, same, 0>] zero 1 over []
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  // expected-error @+1 {{names axis "ep", which is not in the mesh}}
  pipe.parameter @p : tensor<4xf32> from [#pipe.source<"p", "", 0, 0, f32, same, 0>] zero 1 over ["ep"]
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  // expected-error @+1 {{names axis "dp" twice}}
  pipe.parameter @p : tensor<4xf32> from [#pipe.source<"p", "", 0, 0, f32, same, 0>] zero 1 over ["dp", "dp"]
}

// -----

module attributes {dist.mesh = #dist.mesh<ep = 2>} {
  // expected-error @+1 {{is divided over axis "ep", which splits it}}
  pipe.parameter @p : tensor<4xf32> from [#pipe.source<"p", "", 0, 0, f32, same, 0>] sharding #dist.sharding<[["ep"]]> zero 1 over ["ep"]
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  pipe.parameter @p : tensor<40xf32> from [#pipe.source<"p", "", 0, 0, f32, same, 0>] zero 3 over ["dp"]
  func.func @f() {
    // expected-error @+1 {{type 'tensor<40xf32>' must be the parameter's 'tensor<32xf32>'}}
    %0 = pipe.read @p : tensor<40xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  pipe.parameter @p : tensor<40xf32> from [#pipe.source<"p", "", 0, 0, f32, same, 0>] zero 2 over ["dp"]
  func.func @f(%g: tensor<40xf32>) {
    // expected-error @+1 {{type 'tensor<40xf32>' must be the parameter's 'tensor<32xf32>'}}
    pipe.accumulate @p, %g : tensor<40xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  pipe.parameter @p : tensor<4xf32> from [#pipe.source<"p", "", 0, 0, f32, same, 0>]
  func.func @f() {
    // expected-error @+1 {{scatters @p, which must have zero 1 over the same axes}}
    pipe.reduce_grads [@p] over ["dp"] scatter
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  pipe.parameter @p : tensor<4xf32> from [#pipe.source<"p", "", 0, 0, f32, same, 0>] zero 1 over ["dp"]
  func.func @f() {
    // expected-error @+1 {{sums all of @p, of which each rank keeps a piece (zero 1)}}
    pipe.reduce_grads [@p] over ["dp"]
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  pipe.parameter @p : tensor<4xf32> from [#pipe.source<"p", "", 0, 0, f32, same, 0>] zero 3 over ["dp"]
  func.func @f() {
    // expected-error @+1 {{gathers @p, which must have zero 1 or 2 over the same axes}}
    pipe.gather [@p] over ["dp"]
    return
  }
}
