// Embedding, logits and cross-entropy by shards of the vocabulary, of one tied table.
//
// RUN: moire-opt %s --split-input-file --distribute-tensor | FileCheck %s

// CHECK: pipe.parameter @table : tensor<96x32xf32> {{.*}} sharding <{{\[\["tp"\]}}, []]>
// CHECK: pipe.parameter @positions : tensor<64x32xf32> from [{{.*}}]{{$}}
// CHECK-LABEL: func @micro_step
// CHECK-SAME: %[[IDS:[^:]*]]: tensor<20xi64>, %[[LABELS:[^:]*]]: tensor<20xi64>, %[[SCALE:[^:]*]]: tensor<f32>
module attributes {dist.mesh = #dist.mesh<tp = 2>, moire.token_vocab = 96 : i64} {
  pipe.parameter @table : tensor<96x32xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  pipe.parameter @positions : tensor<64x32xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%ids: tensor<20xi64>, %labels: tensor<20xi64>, %scale: tensor<f32>) -> tensor<f32> {
    // CHECK: %[[TABLE:.*]] = pipe.read @table : tensor<48x32xf32>
    %table = pipe.read @table : tensor<96x32xf32>
    %positions = pipe.read @positions : tensor<64x32xf32>
    // Tokens of another rank's shard read a row that is there, and give zeros.
    // CHECK: %[[INDEX:.*]] = dist.axis_index
    // CHECK: %[[FIRST:.*]] = arith.muli %[[INDEX]],
    // CHECK: %[[FIRSTS:.*]] = nn.broadcast %[[FIRST]]
    // CHECK: %[[LOCAL:.*]] = arith.subi %[[IDS]], %[[FIRSTS]]
    // CHECK: arith.cmpi sge, %[[LOCAL]]
    // CHECK: arith.cmpi slt, %[[LOCAL]]
    // CHECK: %[[IN:.*]] = arith.andi
    // CHECK: %[[ROW:.*]] = arith.select %[[IN]], %[[LOCAL]],
    // CHECK: %[[ROWS:.*]] = nn.gather %[[TABLE]][%[[ROW]]]
    // CHECK: %[[INS:.*]] = nn.broadcast %[[IN]] [0]
    // CHECK: %[[OWN:.*]] = arith.select %[[INS]], %[[ROWS]],
    %x = nn.gather %table[%ids] : tensor<96x32xf32>, tensor<20xi64> -> tensor<20x32xf32>
    // CHECK: %[[P:.*]] = nn.gather %{{.*}}[%[[IDS]]] : tensor<64x32xf32>
    // CHECK: %[[X:.*]] = dist.all_reduce %[[OWN]]
    // CHECK: arith.addf %[[X]], %[[P]]
    %p = nn.gather %positions[%ids] : tensor<64x32xf32>, tensor<20xi64> -> tensor<20x32xf32>
    %xp = arith.addf %x, %p : tensor<20x32xf32>
    // CHECK: %[[LOGITS:.*]] = nn.matmul %{{.*}}, %[[TABLE]] {transpose_rhs} {{.*}} -> tensor<20x48xf32>
    %logits = nn.matmul %xp, %table {transpose_rhs} : tensor<20x32xf32>, tensor<96x32xf32> -> tensor<20x96xf32>
    // The log-sum-exp of all shards is that of theirs; the loss is known where the label lies.
    // CHECK: %[[COUNTS:.*]] = arith.cmpi ne, %[[LABELS]],
    // CHECK: %[[MINE:.*]] = arith.andi %{{.*}}, %[[COUNTS]]
    // CHECK: %[[PART:.*]], %[[ONE:.*]] = nn.cross_entropy %[[LOGITS]], %{{.*}} : tensor<20x48xf32>
    // CHECK: dist.all_gather %{{.*}} dim 0 over ["tp"] : tensor<1x20xf32> -> tensor<2x20xf32>
    // CHECK: nn.reduce max
    // CHECK: math.exp
    // CHECK: nn.reduce sum
    // CHECK: math.log
    // CHECK: %[[LSE:.*]] = arith.addf
    // CHECK: %[[MORE:.*]] = arith.subf %[[LSE]], %[[ONE]]
    // CHECK: %[[ALL:.*]] = arith.addf %[[PART]], %[[MORE]]
    // CHECK: arith.select %[[MINE]], %[[ALL]],
    %losses, %lse = nn.cross_entropy %logits, %labels : tensor<20x96xf32>, tensor<20xi64> -> tensor<20xf32>, tensor<20xf32>
    %sum = nn.reduce sum %losses [0] : tensor<20xf32> -> tensor<f32>
    // CHECK: %[[LOSS:.*]] = arith.mulf %{{.*}}, %[[SCALE]]
    %loss = arith.mulf %sum, %scale : tensor<f32>

    // CHECK: %[[SHIFTED:.*]] = arith.subf %[[LOGITS]],
    // CHECK: math.exp %[[SHIFTED]] : tensor<20x48xf32>
    // CHECK: nn.iota 1 : tensor<20x48xi64>
    // CHECK: %[[D:.*]] = arith.mulf {{.*}} : tensor<20x48xf32>
    %each = nn.broadcast %scale [] : tensor<f32> -> tensor<20xf32>
    %d = nn.cross_entropy_grad %logits, %labels, %lse, %each : tensor<20x96xf32>, tensor<20xi64>, tensor<20xf32>, tensor<20xf32>
    // CHECK: %[[DX:.*]] = nn.matmul %[[D]], %[[TABLE]]
    %dx = nn.matmul %d, %table : tensor<20x96xf32>, tensor<96x32xf32> -> tensor<20x32xf32>
    // CHECK: %[[DTABLE:.*]] = nn.matmul %[[D]], {{.*}} -> tensor<48x32xf32>
    %dtable = nn.matmul %d, %xp {transpose_lhs} : tensor<20x96xf32>, tensor<20x32xf32> -> tensor<96x32xf32>
    %zeros = arith.constant dense<0.0> : tensor<64x32xf32>
    // CHECK: %[[DXSUM:.*]] = dist.all_reduce %[[DX]]
    // CHECK: nn.scatter add %[[DXSUM]] into {{.*}} : tensor<20x32xf32>, tensor<64x32xf32>
    %dpositions = nn.scatter add %dx into %zeros[%ids] : tensor<20x32xf32>, tensor<64x32xf32>, tensor<20xi64> -> tensor<64x32xf32>
    pipe.accumulate @positions, %dpositions : tensor<64x32xf32>
    // Cotangents of tokens of another shard are zeros for a row that is there.
    // CHECK: %[[OWNDX:.*]] = arith.select {{.*}}, %[[DXSUM]],
    // CHECK: nn.scatter add %[[OWNDX]] into %[[DTABLE]]
    %both = nn.scatter add %dx into %dtable[%ids] : tensor<20x32xf32>, tensor<96x32xf32>, tensor<20xi64> -> tensor<96x32xf32>
    // CHECK: pipe.accumulate @table, %{{.*}} : tensor<48x32xf32>
    pipe.accumulate @table, %both : tensor<96x32xf32>
    // CHECK: dist.all_reduce %[[LOSS]] over ["tp"] : tensor<f32>
    return %loss : tensor<f32>
  }
}

// -----

// A table with a head of its own: the gradient is made by shards from the start.
// CHECK-LABEL: func @micro_step
module attributes {dist.mesh = #dist.mesh<tp = 2>, moire.token_vocab = 96 : i64} {
  pipe.parameter @table : tensor<96x32xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%ids: tensor<20xi64>, %dx: tensor<20x32xf32>) -> tensor<20x32xf32> {
    %table = pipe.read @table : tensor<96x32xf32>
    %x = nn.gather %table[%ids] : tensor<96x32xf32>, tensor<20xi64> -> tensor<20x32xf32>
    // CHECK: nn.scatter add {{.*}} : tensor<20x32xf32>, tensor<48x32xf32>, tensor<20xi64> -> tensor<48x32xf32>
    // CHECK-NEXT: pipe.accumulate @table
    %zeros = arith.constant dense<0.0> : tensor<96x32xf32>
    %dtable = nn.scatter add %dx into %zeros[%ids] : tensor<20x32xf32>, tensor<96x32xf32>, tensor<20xi64> -> tensor<96x32xf32>
    pipe.accumulate @table, %dtable : tensor<96x32xf32>
    return %x : tensor<20x32xf32>
  }
}

// -----

// A vocabulary that does not divide stays with every rank.
// CHECK: pipe.parameter @table : tensor<97x32xf32> from [{{.*}}]{{$}}
module attributes {dist.mesh = #dist.mesh<tp = 2>, moire.token_vocab = 97 : i64} {
  pipe.parameter @table : tensor<97x32xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%ids: tensor<20xi64>) -> tensor<20x32xf32> {
    %table = pipe.read @table : tensor<97x32xf32>
    // CHECK: nn.gather
    // CHECK-NEXT: return
    %x = nn.gather %table[%ids] : tensor<97x32xf32>, tensor<20xi64> -> tensor<20x32xf32>
    return %x : tensor<20x32xf32>
  }
}
