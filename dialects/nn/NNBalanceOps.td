//===- NNBalanceOps.td - How full experts are ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_NN_BALANCE_OPS
#define MOIRE_NN_BALANCE_OPS

include "dialects/nn/NNDialect.td"

def NN_ChoiceCountsOp : NN_Op<"choice_counts"> {
  let summary = "result[j, e] = how many tokens have expert e as their choice number j";
  let description = [{
    ids [T, K] -> [K, E]; what is not in 0..E-1 counts nowhere.
    Constraints: ids of rank 2, a result of rank 2 with K rows.
    ```mlir
    %c = nn.choice_counts %ids : tensor<20x2xi64> -> tensor<2x8xf32>
    ```
  }];
  let arguments = (ins NN_IndexTensor:$ids);
  let results = (outs NN_FloatTensor:$counts);
  let assemblyFormat = "$ids attr-dict `:` type($ids) `->` type($counts)";
  let hasVerifier = 1;
}

def NN_LogSumExpOp : NN_InferOp<"log_sum_exp", [Diff, Decompose]> {
  let summary = "result[i] = log(sum_j exp(input[i, j]))";
  let description = [{
    input [N, M] -> [N].
    ```mlir
    %z = nn.log_sum_exp %logits : tensor<20x8xf32> -> tensor<20xf32>
    ```
  }];
  let arguments = (ins NN_FloatTensor:$input);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
}

def NN_BatchSumOp : NN_InferOp<"batch_sum", [Diff, Decompose]> {
  let summary = "The sum over the parts of a micro-batch that ranks hold";
  let description = [{
    In the program of one rank there is one part, and the result is the operand.
    `distribute-data` makes it a sum over the ranks that hold different tokens.
    It is for what does not depend on trained parameters (counts of tokens and
    labels): its derivative is refused.
    ```mlir
    %n = nn.batch_sum %labels : tensor<f32>
    ```
  }];
  let arguments = (ins NN_FloatTensor:$input);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
}

def NN_CapacityOp : NN_InferOp<"capacity"> {
  let summary = "Ids of the pairs that their experts have room for; -1 for the others";
  let description = [{
    An expert takes C = ceil(factor * T * S * K / E) pairs of a micro-batch that
    S shards of T tokens hold. `counts` [S, K, E] are the nn.choice_counts of all
    shards, `shard` is the number of this one. The first C pairs of an expert stay,
    in order of (shard, token, choice) (Fedus et al., Switch Transformers, 2021);
    with `choices_first` in order of (choice, shard, token): second choices after
    all first choices (Lepikhin et al., GShard, 2020).
    Constraints: ids [T, K]; K as in counts; factor > 0.
    ```mlir
    %kept = nn.capacity %ids counts %c at %s factor 1.25 choices_first
      : tensor<20x2xi64>, tensor<1x2x8xf32>, tensor<i64>
    ```
  }];
  let arguments = (ins NN_IndexTensor:$ids, NN_FloatTensor:$counts, NN_IndexTensor:$shard,
                       F64Attr:$factor, UnitAttr:$choices_first);
  let results = (outs NN_IndexTensor:$kept);
  let assemblyFormat = [{
    $ids `counts` $counts `at` $shard `factor` $factor (`choices_first` $choices_first^)? attr-dict
    `:` type($ids) `,` type($counts) `,` type($shard)
  }];
  let extraClassDeclaration = [{
    static bool isCompatibleReturnTypes(::mlir::TypeRange l, ::mlir::TypeRange r) {
      return l == r;
    }
    /// C: pairs that one expert takes.
    int64_t getSlots();
  }];
}

#endif // MOIRE_NN_BALANCE_OPS
