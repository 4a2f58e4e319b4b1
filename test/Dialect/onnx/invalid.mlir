// RUN: moire-opt %s -split-input-file -verify-diagnostics

func.func @no_op_type() {
  // expected-error @+1 {{'onnx.node' op needs an op type}}
  onnx.node ""() : () -> ()
  return
}

// -----

func.func @default_domain() {
  // expected-error @+1 {{domain "ai.onnx" is the default one and must be left out}}
  onnx.node "Neg"() domain "ai.onnx" : () -> ()
  return
}

// -----

func.func @graph_names() {
  // expected-error @+1 {{has 1 graphs and 2 names for them, which must be equal}}
  onnx.node "If"() graphs ["then_branch", "else_branch"] {
    onnx.yield
  } : () -> ()
  return
}

// -----

func.func @no_yield(%x: tensor<f32>) {
  // expected-error @+1 {{graph 0 must end in onnx.yield}}
  onnx.node "If"() graphs ["then_branch"] {
    %0 = onnx.absent : none
  } : () -> ()
  return
}

// -----

func.func @stray_yield() {
  // expected-error @+1 {{expects parent op 'onnx.node'}}
  onnx.yield
}

// -----

func.func @nothing() {
  // expected-error @+1 {{needs a value or a place in a file}}
  %0 = onnx.initializer "w" : tensor<4xf32>
  return
}

// -----

func.func @value_type() {
  // expected-error @+1 {{value of type 'tensor<f32>' must have the result's type 'tensor<4xf32>'}}
  %0 = onnx.initializer "w" {value = dense<1.0> : tensor<f32>} : tensor<4xf32>
  return
}

// -----

func.func @span() {
  // expected-error @+1 {{spans 12 bytes of the file, but 'tensor<4xf32>' needs 16}}
  %0 = onnx.initializer "w" at <"model.onnx", 0, 12> : tensor<4xf32>
  return
}

// -----

func.func @opaque_in_file() {
  // expected-error @+1 {{has no known size in a file for type 'tensor<4x!onnx.opaque<"string">>'}}
  %0 = onnx.initializer "w" at <"model.onnx", 0, 12> : tensor<4x!onnx.opaque<"string">>
  return
}

// -----

// expected-error @+1 {{offset -1 must not be negative}}
func.func private @f() attributes {a = #onnx.external<"model.onnx", -1, 12>}

// -----

// expected-error @+1 {{length -5 must not be negative}}
func.func private @f() attributes {a = #onnx.external<"model.onnx", 0, -5>}

// -----

// expected-error @+1 {{file "/etc/passwd" must be relative to the model's folder}}
func.func private @f() attributes {a = #onnx.external<"/etc/passwd", 0, 5>}

// -----

// expected-error @+1 {{file "a/../../b" must not climb out of the model's folder}}
func.func private @f() attributes {a = #onnx.external<"a/../../b", 0, 5>}
