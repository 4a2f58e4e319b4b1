// Slots of a stated size: room for 1.5 times a rank's own 18 pairs instead of all 48 that can come.
// RUN: moire-opt %s --split-input-file --distribute-experts="slots=1.5" --verify-diagnostics | FileCheck %s

module attributes {dist.mesh = #dist.mesh<dp = 2, ep = 4>, moire.loss = "next-token", moire.count = "all"} {
  // CHECK-LABEL: @micro_step
  func.func @micro_step(%x: tensor<6x4xf32>, %ids: tensor<6x3xi64>) -> tensor<6x4xf32> {
    // CHECK: dist.exchange %{{.*}} over ["ep"] : <tokens = 6, k = 3, experts = 8> -> <tokens = 27, k = 1, experts = 2>, <["ep"], sent = 18, received = 27>
    %r = nn.route %ids : tensor<6x3xi64> -> <tokens = 6, k = 3, experts = 8>
    %rows = nn.dispatch %x, %r : tensor<6x4xf32>, <tokens = 6, k = 3, experts = 8> -> tensor<18x4xf32>
    // CHECK: math.tanh %{{.*}} : tensor<27x4xf32>
    %y = math.tanh %rows : tensor<18x4xf32>
    // CHECK: dist.all_to_all_rows %{{.*}} back : tensor<27x4xf32>, {{.*}} -> tensor<18x4xf32>
    %out = nn.combine %y, %r : tensor<18x4xf32>, <tokens = 6, k = 3, experts = 8> -> tensor<6x4xf32>
    return %out : tensor<6x4xf32>
  }
}

// -----

// expected-error @+1 {{--expert-slots is for experts on several ranks; give ep in --mesh, or leave it out}}
module attributes {dist.mesh = #dist.mesh<dp = 2>, moire.loss = "next-token", moire.count = "all"} {
}

// -----

// expected-error @+1 {{--expert-slots needs a loss of labels that count one by one, which this model's is not; leave it out}}
module attributes {dist.mesh = #dist.mesh<ep = 2>, moire.loss = "mse", moire.count = "all"} {
}

// -----

// expected-error @+1 {{--expert-slots runs a micro-batch in parts where its rows find no room, and --aux-loss, --z-loss, --router-bias-rate and --capacity-factor look at all of it; leave out the one or the others}}
module attributes {dist.mesh = #dist.mesh<ep = 2>, moire.loss = "next-token", moire.count = "all"} {
  func.func @micro_step(%x: tensor<f32>) -> tensor<f32> {
    %n = nn.batch_sum %x : tensor<f32>
    return %n : tensor<f32>
  }
}
