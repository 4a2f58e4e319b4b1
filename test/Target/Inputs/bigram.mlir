// A table of logits by token, trained on the next token: the smallest model that
// the whole program phase could give. Every loss has a closed form.
module attributes {moire.loss = "next-token", moire.labels = "shifted", moire.count = "all",
                   moire.batch = 2 : i64, moire.seq = 8 : i64, moire.vocab = 256 : i64,
                   moire.token_vocab = 256 : i64} {
  pipe.parameter @bigram.weight : tensor<256x256xf32>
    from [#pipe.source<"bigram.weight", "", 0, 0, f32, same, 0>] init "zeros"
  exec.kernel @kernel0(%sum: f32, %scale: f32) {
    %0 = arith.mulf %sum, %scale : f32
    exec.yield %0 : f32
  }
  func.func @micro_step(%ids: memref<2x8xi64> {onnx.name = "input_ids", moire.role = "data"},
                        %labels: memref<2x8xi64> {onnx.name = "labels", moire.role = "labels"},
                        %scale: memref<f32> {onnx.name = "scale", moire.role = "scale"}) {
    %table = exec.param @bigram.weight : memref<256x256xf32>
    %logits = exec.buffer at 0 : memref<2x8x256xf32>
    %losses = exec.buffer at 16384 : memref<16xf32>
    %lse = exec.buffer at 16448 : memref<16xf32>
    %sum = exec.buffer at 16512 : memref<f32>
    %loss = exec.buffer at 16576 : memref<f32>
    exec.gather %table[%ids] to %logits
      : memref<256x256xf32>, memref<2x8xi64> to memref<2x8x256xf32> loc("/embedding/Gather")
    %rows = exec.view %logits : memref<2x8x256xf32> to memref<16x256xf32>
    %targets = exec.view %labels : memref<2x8xi64> to memref<16xi64>
    exec.cross_entropy %rows, %targets cotangent %scale ignore -100 to %losses, %lse logits %rows
      : memref<16x256xf32>, memref<16xi64> cotangent memref<f32>
      to memref<16xf32>, memref<16xf32> logits memref<16x256xf32>
    exec.reduce sum %losses [0] to %sum : memref<16xf32> to memref<f32>
    exec.launch @kernel0 ins(%sum, %scale : memref<f32>, memref<f32>) outs(%loss : memref<f32>)
    exec.loss %loss : memref<f32>
    %grad = exec.grad @bigram.weight : memref<256x256xf32>
    exec.scatter_add %logits[%ids] to %grad mode add_after_first
      : memref<2x8x256xf32>, memref<2x8xi64> to memref<256x256xf32> loc("/embedding/Gather")
    return
  }
  func.func @optimizer_step() {
    pipe.update @bigram.weight with sgd matrix
    return
  }
}
