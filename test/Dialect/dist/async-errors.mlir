// RUN: moire-opt %s -split-input-file -verify-diagnostics -allow-unregistered-dialect

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @compute(%x: tensor<4xf32>) {
    %f = dist.async {
      // expected-error @+1 {{'arith.addf' op is no collective and has no place in a dist.async}}
      %0 = arith.addf %x, %x : tensor<4xf32>
      dist.yield %0 : tensor<4xf32>
    } -> !dist.future<tensor<4xf32>>
    %s = dist.wait %f : !dist.future<tensor<4xf32>> -> tensor<4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @local(%x: tensor<4xf32>) {
    %f = dist.async {
      // expected-error @+1 {{'dist.split' op is no collective and has no place in a dist.async}}
      %0 = dist.split %x dim 0 over ["dp"] : tensor<4xf32> -> tensor<2xf32>
      dist.yield %0 : tensor<2xf32>
    } -> !dist.future<tensor<2xf32>>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @nothing() {
    // expected-error @+1 {{'dist.async' op holds no collective}}
    %f = dist.async {
      dist.yield
    } -> !dist.future<none>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @no_yield(%x: tensor<4xf32>) {
    // expected-error @+1 {{'dist.async' op must end in dist.yield}}
    %f = dist.async {
      %0 = dist.all_reduce %x over ["dp"] : tensor<4xf32>
      "other.end"() : () -> ()
    } -> !dist.future<none>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @types(%x: tensor<4xf32>) {
    // expected-error @+1 {{'dist.async' op futures must be '!dist.future<tensor<4xf32>>'}}
    %f = dist.async {
      %0 = dist.all_reduce %x over ["dp"] : tensor<4xf32>
      dist.yield %0 : tensor<4xf32>
    } -> !dist.future<tensor<8xf32>>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @twice(%x: tensor<4xf32>) {
    // expected-error @+1 {{'dist.async' op must be waited for once, by one dist.wait}}
    %f = dist.async {
      %0 = dist.all_reduce %x over ["dp"] : tensor<4xf32>
      dist.yield %0 : tensor<4xf32>
    } -> !dist.future<tensor<4xf32>>
    %s = dist.wait %f : !dist.future<tensor<4xf32>> -> tensor<4xf32>
    %t = dist.wait %f : !dist.future<tensor<4xf32>> -> tensor<4xf32>
    return
  }
}

// -----

func.func @argument(%f: !dist.future<tensor<4xf32>>) {
  // expected-error @+1 {{'dist.wait' op must name all futures of one dist.async, in their order}}
  %s = dist.wait %f : !dist.future<tensor<4xf32>> -> tensor<4xf32>
  return
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @values(%x: tensor<4xf32>) {
    %f = dist.async {
      %0 = dist.all_reduce %x over ["dp"] : tensor<4xf32>
      dist.yield %0 : tensor<4xf32>
    } -> !dist.future<tensor<4xf32>>
    // expected-error @+1 {{'dist.wait' op must give the values of its futures}}
    %s = dist.wait %f : !dist.future<tensor<4xf32>> -> tensor<8xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  pipe.parameter @w : tensor<4xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
  func.func @micro_step() {
    // expected-error @+1 {{'pipe.start_reduce' op names parameters of which @reduce_gradients has no pipe.reduce_grads}}
    pipe.start_reduce [@w]
    return
  }
  func.func @reduce_gradients() {
    return
  }
}
