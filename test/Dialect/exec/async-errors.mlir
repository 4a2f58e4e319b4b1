// RUN: moire-opt %s -split-input-file -verify-diagnostics --pack-arena --verify-arena

exec.kernel @copy(%x: f32) {
  exec.yield %x : f32
}
func.func @reads(%x: memref<4xf32>) {
  %a = exec.buffer : memref<4xf32>
  %b = exec.buffer : memref<4xf32>
  // expected-note @+1 {{it was started here}}
  exec.async 0 {
    exec.all_reduce %x over ["dp"] to %a : memref<4xf32> to memref<4xf32>
  }
  // expected-error @+1 {{touches what exec.async 0 works on and must wait for it}}
  exec.launch @copy ins(%a : memref<4xf32>) outs(%b : memref<4xf32>)
  exec.wait 0
  return
}

// -----

exec.kernel @copy(%x: f32) {
  exec.yield %x : f32
}
func.func @writes(%x: memref<4xf32>) {
  %a = exec.buffer : memref<4xf32>
  %b = exec.buffer : memref<4xf32>
  exec.launch @copy ins(%x : memref<4xf32>) outs(%a : memref<4xf32>)
  // expected-note @+1 {{it was started here}}
  exec.async 0 {
    exec.all_reduce %a over ["dp"] to %b : memref<4xf32> to memref<4xf32>
  }
  // expected-error @+1 {{touches what exec.async 0 works on and must wait for it}}
  exec.launch @copy ins(%x : memref<4xf32>) outs(%a : memref<4xf32>)
  exec.wait 0
  return
}

// -----

func.func @numbers(%x: memref<4xf32>) {
  %a = exec.buffer : memref<4xf32>
  // expected-error @+1 {{has number 1 and must have 0: asyncs count up}}
  exec.async 1 {
    exec.all_reduce %x over ["dp"] to %a : memref<4xf32> to memref<4xf32>
  }
  exec.wait 1
  return
}

// -----

func.func @no_wait(%x: memref<4xf32>) {
  %a = exec.buffer : memref<4xf32>
  // expected-error @+1 {{is never waited for}}
  exec.async 0 {
    exec.all_reduce %x over ["dp"] to %a : memref<4xf32> to memref<4xf32>
  }
  return
}

// -----

func.func @early() {
  // expected-error @+1 {{waits for exec.async 0, which is not under way here}}
  exec.wait 0
  return
}

// -----

func.func @body(%x: memref<4xf32>) {
  %a = exec.buffer : memref<4xf32>
  exec.async 0 {
    // expected-error @+1 {{'exec.copy' op is no collective and has no place in an exec.async}}
    exec.copy %x to %a : memref<4xf32> to memref<4xf32>
  }
  exec.wait 0
  return
}

// -----

// expected-error @+3 {{'exec.async' op holds no collective}}
func.func @empty() {

  exec.async 0 {
  }
  exec.wait 0
  return
}

// -----

exec.kernel @copy(%x: f32) {
  exec.yield %x : f32
}
pipe.parameter @w : tensor<4xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
func.func @late(%x: memref<4xf32>) {
  // expected-note @+1 {{it was started here}}
  exec.start_reduce 0 [@w]
  %g = exec.grad @w : memref<4xf32>
  // expected-error @+1 {{touches the gradient of @w, whose sum has begun}}
  exec.launch @copy ins(%x : memref<4xf32>) outs(%g : memref<4xf32>)
  return
}

// -----

exec.kernel @copy(%x: f32) {
  exec.yield %x : f32
}
func.func @published(%x: memref<4xf32>) {
  %out = exec.kept "pipe.output" 0 : memref<4xf32>
  // expected-note @+1 {{it left here}}
  exec.publish %out : memref<4xf32>
  %same = exec.kept "pipe.output" 0 : memref<4xf32>
  // expected-error @+1 {{writes what has left for another stage}}
  exec.launch @copy ins(%x : memref<4xf32>) outs(%same : memref<4xf32>)
  return
}
