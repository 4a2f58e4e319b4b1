// RUN: moire-opt %s --train-loss=loss=mse | FileCheck %s --check-prefix=MSE
// RUN: moire-opt %s --train-loss=loss=output:score | FileCheck %s --check-prefix=OUTPUT
// RUN: moire-opt %s --train-loss="loss=class aux=score=0.5" | FileCheck %s --check-prefix=AUX
// RUN: not moire-opt %s --train-loss=loss=next-token 2>&1 | FileCheck %s --check-prefix=RANK
// RUN: not moire-opt %s --train-loss=loss=output:scores 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not moire-opt %s --train-loss=loss=hinge 2>&1 | FileCheck %s --check-prefix=KIND
// RUN: not moire-opt %s --train-loss=aux=score 2>&1 | FileCheck %s --check-prefix=WEIGHT
// RUN: not moire-opt %s --train-loss=aux=logits=1 2>&1 | FileCheck %s --check-prefix=SCALAR
// RUN: not moire-opt %s --train-loss=aux=ids=1 2>&1 | FileCheck %s --check-prefix=NAMEAUX

// MSE: moire.loss = "mse"
// MSE-SAME: moire.vocab = 0
// MSE: %[[LABELS:[a-z0-9]+]]: tensor<2x5xf32> {moire.role = "labels", onnx.name = "labels"}, %[[SCALE:[a-z0-9]+]]: tensor<f32>
// MSE: %[[D:.*]] = arith.subf %{{.*}}, %[[LABELS]]
// MSE: %[[SQ:.*]] = arith.mulf %[[D]], %[[D]]
// MSE: %[[SUM:.*]] = nn.reduce sum %[[SQ]] [0, 1]
// MSE: arith.mulf %[[SUM]], %[[SCALE]]

// No labels: the runtime's scale is 1 / micro-batches.
// OUTPUT: moire.count = "none"
// OUTPUT-SAME: moire.loss = "output"
// OUTPUT: func.func @micro_step(%[[X:[a-z0-9]+]]: tensor<2x5xf32> {{.*}}, %[[Y:[a-z0-9]+]]: tensor<1xf32> {{.*}}, %[[SCALE:[a-z0-9]+]]: tensor<f32> {moire.role = "scale"
// OUTPUT: %[[S:.*]] = nn.reshape %[[Y]] : tensor<1xf32> -> tensor<f32>
// OUTPUT: %[[LOSS:.*]] = arith.mulf %[[S]], %[[SCALE]]
// OUTPUT: return %[[LOSS]]

// An auxiliary loss is averaged by the labels that each micro-batch counts.
// AUX: %[[COUNTS:.*]] = arith.cmpi ne
// AUX: %[[ONES:.*]] = arith.select %[[COUNTS]]
// AUX: %[[N:.*]] = nn.reduce sum %[[ONES]]
// AUX: %[[TOKENS:.*]] = arith.mulf %{{.*}}, %[[SCALE:.*]] : tensor<f32>
// AUX: %[[SHARE:.*]] = arith.mulf %[[N]], %[[SCALE]]
// AUX: %[[HALF:.*]] = arith.constant dense<5.000000e-01>
// AUX: %[[TERM:.*]] = arith.mulf %{{.*}}, %[[HALF]]
// AUX: %[[WEIGHTED:.*]] = arith.mulf %[[TERM]], %[[SHARE]]
// AUX: arith.addf %[[TOKENS]], %[[WEIGHTED]]

// RANK: error: --loss next-token needs logits of rank 3, but none of the outputs 'logits', 'score' has it
// NAME: error: --loss output names 'scores', which is not an output of float type; the model has 'logits', 'score'
// KIND: error: unknown loss 'hinge'; --loss takes auto, next-token, token, class, mse or output:NAME
// WEIGHT: error: --aux 'score' is not NAME=WEIGHT, such as aux_loss=0.02
// SCALAR: error: --aux output 'logits' of type 'tensor<2x5xf32>' is not a scalar
// NAMEAUX: error: --aux names 'ids', which is not an output of float type; the model has 'logits', 'score'

func.func @forward(%x: tensor<2x5xf32>, %y: tensor<1xf32>)
    -> (tensor<2x5xf32> {onnx.name = "logits"}, tensor<1xf32> {onnx.name = "score"},
        tensor<2xi64> {onnx.name = "ids"}) {
  %ids = arith.constant dense<0> : tensor<2xi64>
  return %x, %y, %ids : tensor<2x5xf32>, tensor<1xf32>, tensor<2xi64>
}
