// RUN: moire-opt %s --split-input-file --train-capacity --verify-diagnostics
// RUN: not moire-opt %s --train-capacity="factor=0" 2>&1 | FileCheck %s --check-prefix=FACTOR
// RUN: not moire-opt %s --train-capacity="order=random" 2>&1 | FileCheck %s --check-prefix=ORDER

// FACTOR: error: --capacity-factor must be more than 0, as 1.25 is
// ORDER: error: --drop-order knows gshard (second choices after all first ones) and switch (tokens in order), not 'random'

// expected-error @+1 {{--capacity-factor is for mixtures of experts, and no experts of the model are recognised; leave it out}}
module {
  func.func @micro_step(%x: tensor<6x4xf32>) -> tensor<6x4xf32> {
    return %x : tensor<6x4xf32>
  }
}

// -----

// A sum over rows would add what lies where no row is.
func.func @micro_step(%x: tensor<6x4xf32>, %ids: tensor<6x2xi64>) -> tensor<4xf32> {
  %r = nn.route %ids : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 4>
  %rows = nn.dispatch %x, %r : tensor<6x4xf32>, <tokens = 6, k = 2, experts = 4> -> tensor<12x4xf32>
  // expected-error @+1 {{mixes rows of experts, of which --capacity-factor leaves some out; train without it}}
  %sum = nn.reduce sum %rows [0] : tensor<12x4xf32> -> tensor<4xf32>
  return %sum : tensor<4xf32>
}
