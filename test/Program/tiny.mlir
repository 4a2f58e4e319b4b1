pipe.parameter @w : tensor<4x6xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
pipe.parameter @b : tensor<6xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
func.func @micro_step(%x: tensor<8x4xf32> {onnx.name = "x", moire.role = "data"},
                      %labels: tensor<8xi64> {onnx.name = "labels", moire.role = "labels"},
                      %scale: tensor<f32> {onnx.name = "scale", moire.role = "scale"}) -> tensor<f32> {
  %w = pipe.read @w : tensor<4x6xf32>
  %b = pipe.read @b : tensor<6xf32>
  %0 = nn.matmul %x, %w : tensor<8x4xf32>, tensor<4x6xf32> -> tensor<8x6xf32> loc("fc")
  %1 = nn.broadcast %b [1] : tensor<6xf32> -> tensor<8x6xf32>
  %2 = arith.addf %0, %1 : tensor<8x6xf32>
  %losses, %lse = nn.cross_entropy %2, %labels : tensor<8x6xf32>, tensor<8xi64> -> tensor<8xf32>, tensor<8xf32>
  %3 = nn.reduce sum %losses [0] : tensor<8xf32> -> tensor<f32>
  %loss = arith.mulf %3, %scale : tensor<f32>
  %d = nn.broadcast %scale [] : tensor<f32> -> tensor<8xf32>
  %dl = nn.cross_entropy_grad %2, %labels, %lse, %d : tensor<8x6xf32>, tensor<8xi64>, tensor<8xf32>, tensor<8xf32>
  %dw = nn.matmul %x, %dl {transpose_lhs} : tensor<8x4xf32>, tensor<8x6xf32> -> tensor<4x6xf32>
  pipe.accumulate @w, %dw : tensor<4x6xf32>
  %db = nn.reduce sum %dl [0] : tensor<8x6xf32> -> tensor<6xf32>
  pipe.accumulate @b, %db : tensor<6xf32>
  return %loss : tensor<f32>
}
func.func @optimizer_step() {
  pipe.update @w with adamw matrix
  pipe.update @b with adamw
  return
}
