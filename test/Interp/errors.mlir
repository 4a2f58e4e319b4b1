// RUN: not moire-run %s --function=unknown 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not moire-run %s --function=index 2>&1 | FileCheck %s --check-prefix=INDEX
// RUN: not moire-run %s --function=expert 2>&1 | FileCheck %s --check-prefix=EXPERT
// RUN: not moire-run %s --function=zero 2>&1 | FileCheck %s --check-prefix=ZERO
// RUN: not moire-run %s --function=nothing 2>&1 | FileCheck %s --check-prefix=NOTHING
// RUN: not moire-run %s 2>&1 | FileCheck %s --check-prefix=WHICH
// RUN: not moire-run %s --function=inputs 2>&1 | FileCheck %s --check-prefix=INPUTS
// RUN: not moire-run %s --function=inputs --data=%t.none 2>&1 | FileCheck %s --check-prefix=DATA

// NOTHING: error: there is no function @nothing
// WHICH: error: there is neither @micro_step nor @forward nor a single function; name one with --function
// INPUTS: error: function @inputs takes inputs; give --data
// DATA: error: '{{.*}}' is not a folder of input_N.pb files

func.func @unknown() -> tensor<2x2xf32> {
  %x = tensor.empty() : tensor<2x2xf32>
  // UNKNOWN: errors.mlir:[[# @LINE + 1]]:8: error: 'linalg.softmax' op cannot be executed by the interpreter
  %0 = linalg.softmax dimension(1) ins(%x : tensor<2x2xf32>) outs(%x : tensor<2x2xf32>) -> tensor<2x2xf32>
  return %0 : tensor<2x2xf32>
}

func.func @index() -> tensor<2xf32> {
  %t = arith.constant dense<0.0> : tensor<3xf32>
  %i = arith.constant dense<[1, 3]> : tensor<2xi64>
  // INDEX: error: 'nn.gather' op has index 3 at position 1, which must lie in 0..2
  %0 = nn.gather %t[%i] : tensor<3xf32>, tensor<2xi64> -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

func.func @expert() {
  %i = arith.constant dense<[[1], [-2]]> : tensor<2x1xi64>
  // EXPERT: error: 'nn.route' op has expert id -2 at position 1, which must lie in 0..2
  %r = nn.route %i : tensor<2x1xi64> -> !nn.routing<tokens = 2, k = 1, experts = 3>
  return
}

func.func @zero() -> tensor<2xi64> {
  %x = arith.constant dense<[1, 0]> : tensor<2xi64>
  // ZERO: error: 'arith.divsi' op divides by zero
  %0 = arith.divsi %x, %x : tensor<2xi64>
  return %0 : tensor<2xi64>
}

func.func @inputs(%x: tensor<2xf32>) {
  return
}
