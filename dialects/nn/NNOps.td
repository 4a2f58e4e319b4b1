//===- NNOps.td - The nn dialect: model and training mathematics ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_NN_OPS
#define MOIRE_NN_OPS

include "dialects/nn/NNDialect.td"

//===----------------------------------------------------------------------===//
// Types and enums
//===----------------------------------------------------------------------===//

def NN_Routing : TypeDef<NN_Dialect, "Routing"> {
  let mnemonic = "routing";
  let summary = "Where every (token, choice) pair goes among the experts";
  let description = [{
    Rows = tokens x k, sorted by expert and, inside one expert, by (token,
    choice). Holds the experts' row offsets [experts + 1], the pair of each row
    and the row of each pair.
  }];
  let parameters = (ins "int64_t":$tokens, "int64_t":$k, "int64_t":$experts);
  let assemblyFormat = "`<` struct(params) `>`";
  let extraClassDeclaration = [{
    int64_t getRows() const { return getTokens() * getK(); }
  }];
}

class NN_I32Enum<string name, string summary, list<I32EnumAttrCase> cases>
    : I32EnumAttr<name, summary, cases> {
  let cppNamespace = "::moire::nn";
  let genSpecializedAttr = 0;
}
def NN_ReduceKindEnum : NN_I32Enum<"ReduceKind", "how a reduction combines", [
  I32EnumAttrCase<"sum", 0>, I32EnumAttrCase<"max", 1>,
  I32EnumAttrCase<"min", 2>, I32EnumAttrCase<"prod", 3>]>;
def NN_ReduceKind : EnumAttr<NN_Dialect, NN_ReduceKindEnum, "reduce_kind">;
def NN_ScatterKindEnum : NN_I32Enum<"ScatterKind", "what a scatter does with the old value", [
  I32EnumAttrCase<"set", 0>, I32EnumAttrCase<"add", 1>]>;
def NN_ScatterKind : EnumAttr<NN_Dialect, NN_ScatterKindEnum, "scatter_kind">;
def NN_ScoringEnum : NN_I32Enum<"Scoring", "how router logits become scores", [
  I32EnumAttrCase<"softmax", 0>, I32EnumAttrCase<"softmax_selected", 1>,
  I32EnumAttrCase<"sigmoid", 2>]>;
def NN_Scoring : EnumAttr<NN_Dialect, NN_ScoringEnum, "scoring">;

//===----------------------------------------------------------------------===//
// Core: data movement
//===----------------------------------------------------------------------===//

def NN_ReshapeOp : NN_Op<"reshape", [Diff]> {
  let summary = "The same elements in row-major order under another shape";
  let description = [{
    Constraints: equal element count; equal element type.
    ```mlir
    %y = nn.reshape %x : tensor<2x10x32xf32> -> tensor<20x32xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$input);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizeMethod = 1;
}

def NN_TransposeOp : NN_InferOp<"transpose", [Diff]> {
  let summary = "Permutes dimensions: result dim i is input dim permutation[i]";
  let description = [{ Constraints: `permutation` is a permutation of 0..rank-1. }];
  let arguments = (ins NN_Tensor:$input, DenseI64ArrayAttr:$permutation);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$input $permutation attr-dict `:` type($input) `->` type($result)";
  let hasFolder = 1;
  let hasCanonicalizeMethod = 1;
}

def NN_BroadcastOp : NN_Op<"broadcast", [Diff]> {
  let summary = "Repeats a tensor along new dimensions";
  let description = [{
    Input dim i becomes result dim `dimensions[i]`; all other result dims are
    new. There is no stretching of size-1 dims: reshape them away first.
    Constraints: `dimensions` strictly increasing and within the result's rank;
    matching dims have equal size.
    ```mlir
    %y = nn.broadcast %bias [2] : tensor<32xf32> -> tensor<2x10x32xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$input, DenseI64ArrayAttr:$dimensions);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$input $dimensions attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def NN_SliceOp : NN_InferOp<"slice", [Diff]> {
  let summary = "A static strided window: starts (inclusive), limits (exclusive), strides";
  let description = [{
    Constraints: one entry per dim; 0 <= start <= limit <= size; stride >= 1.
    ```mlir
    %y = nn.slice %x starts [0, 0] limits [20, 16] strides [1, 1] : tensor<20x32xf32> -> tensor<20x16xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$input, DenseI64ArrayAttr:$starts,
                       DenseI64ArrayAttr:$limits, DenseI64ArrayAttr:$strides);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = [{
    $input `starts` $starts `limits` $limits `strides` $strides attr-dict
    `:` type($input) `->` type($result)
  }];
  let hasFolder = 1;
}

def NN_PadOp : NN_InferOp<"pad", [Diff]> {
  let summary = "Surrounds (and interleaves) a tensor with a constant";
  let description = [{
    `interior` elements go between neighbours, so that pad is slice's adjoint.
    Constraints: one entry per dim in low, high, interior; all >= 0.
  }];
  let arguments = (ins NN_Tensor:$input, DenseI64ArrayAttr:$low,
                       DenseI64ArrayAttr:$high, DenseI64ArrayAttr:$interior,
                       DefaultValuedAttr<F64Attr, "0.0">:$value);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = [{
    $input `low` $low `high` $high `interior` $interior attr-dict
    `:` type($input) `->` type($result)
  }];
}

def NN_ConcatOp : NN_InferOp<"concat", [Diff]> {
  let summary = "Joins tensors along one dim";
  let description = [{ Constraints: at least one input; equal ranks, element types and other dims. }];
  let arguments = (ins Variadic<NN_Tensor>:$inputs, I64Attr:$dim);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$inputs `dim` $dim attr-dict `:` type($inputs) `->` type($result)";
}

def NN_ReverseOp : NN_InferOp<"reverse", [Diff]> {
  let summary = "Reverses the order of elements along the given dims";
  let description = [{ Constraints: dims within the rank, each once. }];
  let arguments = (ins NN_Tensor:$input, DenseI64ArrayAttr:$dims);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$input $dims attr-dict `:` type($input) `->` type($result)";
}

def NN_IotaOp : NN_Op<"iota"> {
  let summary = "0, 1, 2, ... along one dim";
  let description = [{ Constraints: `dim` within the rank. }];
  let arguments = (ins I64Attr:$dim);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$dim attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def NN_GatherOp : NN_InferOp<"gather", [Diff]> {
  let summary = "Rows of a table: result[i..., :] = table[indices[i...], :]";
  let description = [{
    table [N, rest...], indices [I...] i64 -> [I..., rest...]. Embedding is this
    op. Indices are in 0..N-1 (the runtime reports one that is not).
    Constraints: table rank >= 1.
  }];
  let arguments = (ins NN_Tensor:$table, NN_IndexTensor:$indices);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$table `[` $indices `]` attr-dict `:` type($table) `,` type($indices) `->` type($result)";
}

def NN_ScatterOp : NN_InferOp<"scatter", [Diff]> {
  let summary = "Writes or adds rows: base[indices[i...], :] = or += updates[i..., :]";
  let description = [{
    base [N, rest...], indices [I...] i64, updates [I..., rest...] -> [N, rest...].
    With `add`, duplicates sum in ascending order of i; with `set`, the last
    one wins. The adjoint of nn.gather.
    Constraints: updates' shape is indices' shape followed by base's without
    its first dim; equal element types.
  }];
  let arguments = (ins NN_Tensor:$base, NN_IndexTensor:$indices, NN_Tensor:$updates,
                       NN_ScatterKind:$kind);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = [{
    $kind $updates `into` $base `[` $indices `]` attr-dict
    `:` type($updates) `,` type($base) `,` type($indices) `->` type($result)
  }];
}

def NN_GatherElementsOp : NN_InferOp<"gather_elements", [Diff]> {
  let summary = "result[..., i, ...] = input[..., indices[..., i, ...], ...] along one axis";
  let description = [{
    The ONNX op of this name. Result has the indices' shape.
    Constraints: equal ranks; indices' other dims <= input's; axis within rank.
  }];
  let arguments = (ins NN_Tensor:$input, NN_IndexTensor:$indices, I64Attr:$axis);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$input `[` $indices `]` `axis` $axis attr-dict `:` type($input) `,` type($indices) `->` type($result)";
}

def NN_ScatterElementsOp : NN_InferOp<"scatter_elements", [Diff]> {
  let summary = "base[..., indices[..., i, ...], ...] = or += updates[..., i, ...] along one axis";
  let description = [{
    The ONNX op of this name with reduction none or add.
    Constraints: indices and updates have one shape; equal ranks; indices' other
    dims <= base's; axis within rank.
  }];
  let arguments = (ins NN_Tensor:$base, NN_IndexTensor:$indices, NN_Tensor:$updates,
                       I64Attr:$axis, NN_ScatterKind:$kind);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = [{
    $kind $updates `into` $base `[` $indices `]` `axis` $axis attr-dict
    `:` type($updates) `,` type($base) `,` type($indices) `->` type($result)
  }];
}

//===----------------------------------------------------------------------===//
// Core: contractions, reductions, order
//===----------------------------------------------------------------------===//

def NN_MatmulOp : NN_WideningOp<"matmul", [Diff, Cost]> {
  let summary = "Batched matrix product with optional transposition of either side";
  let description = [{
    lhs [B..., M, K] (or [B..., K, M] with `transpose_lhs`), rhs [B..., K, N]
    (or [B..., N, K] with `transpose_rhs`) -> [B..., M, N]. rhs may have rank 2
    while lhs has batch dims: one weight for all (a linear layer). Of bf16 or
    f16 the result may be f32: the sum before it is rounded.
    Constraints: ranks >= 2; equal batch dims or rhs of rank 2; equal K; equal
    element types of both sides; `transpose_lhs` with a rank-2 rhs only where lhs
    has rank 2.
  }];
  let arguments = (ins NN_FloatTensor:$lhs, NN_FloatTensor:$rhs,
                       UnitAttr:$transpose_lhs, UnitAttr:$transpose_rhs);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($result)";
  let hasCanonicalizeMethod = 1;
}

def NN_ReduceOp : NN_WideningOp<"reduce", [Diff]> {
  let summary = "Sum, max, min or product over dims, which disappear";
  let description = [{
    Max and min give their derivative to the first position that attains them.
    Of bf16 or f16 the result may be f32.
    Constraints: dims strictly increasing, within the rank.
    ```mlir
    %y = nn.reduce sum %x [1] : tensor<20x32xf32> -> tensor<20xf32>
    ```
  }];
  let arguments = (ins NN_Tensor:$input, NN_ReduceKind:$kind, DenseI64ArrayAttr:$dims);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$kind $input $dims attr-dict `:` type($input) `->` type($result)";
  let hasFolder = 1;
}

def NN_TopKOp : NN_InferOp<"top_k", [Diff]> {
  let summary = "The k largest (or smallest) along the last dim, in order, and where they were";
  let description = [{
    Ties: the lower index first. Constraints: 1 <= k <= last dim.
  }];
  let arguments = (ins NN_Tensor:$input, I64Attr:$k, UnitAttr:$smallest);
  let results = (outs NN_Tensor:$values, NN_IndexTensor:$indices);
  let assemblyFormat = "$input `k` $k attr-dict `:` type($input) `->` type($values) `,` type($indices)";
}

def NN_CumsumOp : NN_InferOp<"cumsum", [Diff]> {
  let summary = "Running sum along one axis";
  let description = [{ Constraints: axis within the rank. }];
  let arguments = (ins NN_Tensor:$input, I64Attr:$axis, UnitAttr:$exclusive, UnitAttr:$reverse);
  let results = (outs NN_Tensor:$result);
  let assemblyFormat = "$input `axis` $axis attr-dict `:` type($input) `->` type($result)";
}

def NN_SigmoidOp : NN_InferOp<"sigmoid", [Diff]> {
  let summary = "1 / (1 + exp(-x)), elementwise";
  let description = [{
    A core op of its own because the derivative of the spelled-out form is
    inf * 0 for large negative x.
  }];
  let arguments = (ins NN_FloatTensor:$input);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
}

//===----------------------------------------------------------------------===//
// Composite: normalizations and softmax
//===----------------------------------------------------------------------===//

def NN_SoftmaxOp : NN_InferOp<"softmax", [Diff, Decompose]> {
  let summary = "exp(x - max) / sum over the last dim";
  let description = [{
    A row that is all -inf gives zeros (and zero derivative), where the plain
    formula gives NaN: exporters guard that case with IsNaN and Where.
    Constraints: rank >= 1.
  }];
  let arguments = (ins NN_FloatTensor:$input);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input)";
}

def NN_SoftmaxGradOp : NN_InferOp<"softmax_grad", [Decompose]> {
  let summary = "y * (dy - sum(y * dy)) over the last dim";
  let description = [{ Constraints: equal types. }];
  let arguments = (ins NN_FloatTensor:$output, NN_FloatTensor:$cotangent);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "$output `,` $cotangent attr-dict `:` type($output) `,` type($cotangent)";
}

def NN_LayerNormOp : NN_NarrowingOp<"layer_norm", [AttrSizedOperandSegments, Diff, Decompose]> {
  let summary = "(x - mean) / sqrt(var + eps) * scale + bias over the last dim";
  let description = [{
    input [..., D], scale [D], bias [D]; population variance. Of a f32 input the
    result may be bf16.
    Constraints: scale and bias of shape [D], f32 where the input is narrower.
  }];
  let arguments = (ins NN_FloatTensor:$input, Optional<NN_FloatTensor>:$scale,
                       Optional<NN_FloatTensor>:$bias, F64Attr:$epsilon);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = [{
    $input (`scale` $scale^)? (`bias` $bias^)? `eps` $epsilon attr-dict
    `:` type($input) `` custom<TypeOf>(ref($scale), type($scale))
    `` custom<TypeOf>(ref($bias), type($bias)) `` custom<ResultOf>(ref(type($input)), type($result))
  }];
}

def NN_LayerNormGradOp : NN_Op<"layer_norm_grad", [Decompose]> {
  let summary = "Cotangents of nn.layer_norm's input, scale and bias";
  let description = [{
    Statistics are recomputed from the input. dscale and dbias are present when
    they are wanted.
    Constraints: cotangent and d_input have the input's type, the cotangent may
    be bf16 where that is f32; d_scale and d_bias are as the scale.
  }];
  let arguments = (ins NN_FloatTensor:$input, Optional<NN_FloatTensor>:$scale,
                       NN_FloatTensor:$cotangent, F64Attr:$epsilon);
  let results = (outs NN_FloatTensor:$d_input, NN_FloatTensor:$d_scale, NN_FloatTensor:$d_bias);
  let assemblyFormat = [{
    $input (`scale` $scale^)? `cotangent` $cotangent `eps` $epsilon attr-dict
    `:` type($input) `` custom<TypeOf>(ref($scale), type($scale)) `,` type($cotangent)
    `->` type($d_input) `,` type($d_scale) `,` type($d_bias)
  }];
  let hasVerifier = 1;
}

def NN_RMSNormOp : NN_NarrowingOp<"rms_norm", [Diff, Decompose]> {
  let summary = "x / sqrt(mean(x^2) + eps) * scale over the last dim";
  let description = [{
    input [..., D], scale [D] optional. Of a f32 input the result may be bf16.
    Constraints: scale of shape [D], f32 where the input is narrower.
  }];
  let arguments = (ins NN_FloatTensor:$input, Optional<NN_FloatTensor>:$scale, F64Attr:$epsilon);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = [{
    $input (`scale` $scale^)? `eps` $epsilon attr-dict `:` type($input)
    `` custom<TypeOf>(ref($scale), type($scale)) `` custom<ResultOf>(ref(type($input)), type($result))
  }];
}

def NN_RMSNormGradOp : NN_Op<"rms_norm_grad", [Decompose]> {
  let summary = "Cotangents of nn.rms_norm's input and scale";
  let description = [{
    Constraints: cotangent and d_input have the input's type, the cotangent may
    be bf16 where that is f32; d_scale is as the scale.
  }];
  let arguments = (ins NN_FloatTensor:$input, Optional<NN_FloatTensor>:$scale,
                       NN_FloatTensor:$cotangent, F64Attr:$epsilon);
  let results = (outs NN_FloatTensor:$d_input, NN_FloatTensor:$d_scale);
  let assemblyFormat = [{
    $input (`scale` $scale^)? `cotangent` $cotangent `eps` $epsilon attr-dict
    `:` type($input) `` custom<TypeOf>(ref($scale), type($scale)) `,` type($cotangent)
    `->` type($d_input) `,` type($d_scale)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Composite: attention
//===----------------------------------------------------------------------===//

def NN_RopeOp : NN_InferOp<"rope", [Diff, Decompose]> {
  let summary = "Rotary position embedding of [B, H, S, D] by tables [B or 1, S, D/2]";
  let description = [{
    Half rotation: (x1, x2) = halves of D; y = (x1*cos - x2*sin, x2*cos + x1*sin).
    `interleaved` takes pairs (2i, 2i+1) instead of halves. `inverse` rotates by
    the negative angle (the adjoint). The tables get no derivative.
    Constraints: D even; tables of shape [B or 1, S, D/2].
  }];
  let arguments = (ins NN_FloatTensor:$input, NN_FloatTensor:$cos, NN_FloatTensor:$sin,
                       UnitAttr:$interleaved, UnitAttr:$inverse);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "$input `,` $cos `,` $sin attr-dict `:` type($input) `,` type($cos) `,` type($sin)";
  let hasVerifier = 1;
}

def NN_AttentionOp : NN_InferOp<"attention", [Diff, Decompose, Cost]> {
  let summary = "softmax(scale * q k^T + mask) v, with the rows' log-sum-exp";
  let description = [{
    q [B, H, Sq, D], k [B, Hkv, Skv, D], v [B, Hkv, Skv, Dv] -> out [B, H, Sq, Dv],
    lse [B, H, Sq]. Query head h uses key head h / (H / Hkv). mask is i1 (true =
    attend) or float (added), rank 4, each dim 1 or full. `causal` hides keys
    j > i. A row that may attend to nothing gives 0 and derivative 0. A float
    mask gets no derivative. lse is f32 where q is narrower.
    Constraints: H a multiple of Hkv; equal D; mask dims 1 or full.
  }];
  let arguments = (ins NN_FloatTensor:$query, NN_FloatTensor:$key, NN_FloatTensor:$value,
                       Optional<NN_BoolOrFloatTensor>:$mask, F64Attr:$scale, UnitAttr:$causal);
  let results = (outs NN_FloatTensor:$result, NN_FloatTensor:$lse);
  let assemblyFormat = [{
    $query `,` $key `,` $value (`mask` $mask^)? `scale` $scale attr-dict
    `:` type($query) `,` type($key) `,` type($value) (`,` type($mask)^)?
    `->` type($result) `,` type($lse)
  }];
}

def NN_AttentionGradOp : NN_InferOp<"attention_grad", [Decompose, Cost]> {
  let summary = "Cotangents of nn.attention's query, key and value";
  let description = [{ Constraints: operands as nn.attention gave and took them. }];
  let arguments = (ins NN_FloatTensor:$query, NN_FloatTensor:$key, NN_FloatTensor:$value,
                       Optional<NN_BoolOrFloatTensor>:$mask, NN_FloatTensor:$output,
                       NN_FloatTensor:$lse, NN_FloatTensor:$cotangent,
                       F64Attr:$scale, UnitAttr:$causal);
  let results = (outs NN_FloatTensor:$d_query, NN_FloatTensor:$d_key, NN_FloatTensor:$d_value);
  let assemblyFormat = [{
    $query `,` $key `,` $value (`mask` $mask^)? `output` $output `lse` $lse
    `cotangent` $cotangent `scale` $scale attr-dict
    `:` type($query) `,` type($key) `,` type($value) `` custom<TypeOf>(ref($mask), type($mask))
    `,` type($output) `,` type($lse) `,` type($cotangent)
    `->` type($d_query) `,` type($d_key) `,` type($d_value)
  }];
}

//===----------------------------------------------------------------------===//
// Composite: loss
//===----------------------------------------------------------------------===//

def NN_CrossEntropyOp : NN_InferOp<"cross_entropy", [Diff, Decompose]> {
  let summary = "lse(logits) - logits[label] per row; 0 where the label is ignored";
  let description = [{
    logits [N, V], labels [N] i64 -> losses [N], lse [N], f32 where the logits
    are narrower. The lse of an ignored row is unspecified: programs do not
    compute it.
    Constraints: logits of rank 2; labels of shape [N].
  }];
  let arguments = (ins NN_FloatTensor:$logits, NN_IndexTensor:$labels,
                       DefaultValuedAttr<I64Attr, "-100">:$ignore_index);
  let results = (outs NN_FloatTensor:$losses, NN_FloatTensor:$lse);
  let assemblyFormat = "$logits `,` $labels attr-dict `:` type($logits) `,` type($labels) `->` type($losses) `,` type($lse)";
}

def NN_CrossEntropyGradOp : NN_InferOp<"cross_entropy_grad", [Decompose]> {
  let summary = "(softmax(logits) - onehot(label)) * cotangent; 0 in ignored rows";
  let description = [{ Constraints: operands as nn.cross_entropy gave and took them; cotangent [N]. }];
  let arguments = (ins NN_FloatTensor:$logits, NN_IndexTensor:$labels, NN_FloatTensor:$lse,
                       NN_FloatTensor:$cotangent,
                       DefaultValuedAttr<I64Attr, "-100">:$ignore_index);
  let results = (outs NN_FloatTensor:$d_logits);
  let assemblyFormat = "$logits `,` $labels `,` $lse `,` $cotangent attr-dict `:` type($logits) `,` type($labels) `,` type($lse) `,` type($cotangent)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Mixture of experts
//===----------------------------------------------------------------------===//

def NN_RouterOp : NN_InferOp<"router", [Diff, Decompose]> {
  let summary = "Chooses k experts per token and their weights";
  let description = [{
    logits [T, E] -> weights [T, k], ids [T, k] (largest score first, ties: the
    lower id). `softmax` and `sigmoid` score all experts; `softmax_selected`
    takes the softmax over the k chosen logits. `selection_bias` [E] is added to
    the scores for the choice only (it gets no derivative). `normalize` divides
    the weights by their sum (plus `epsilon`), then `scale` multiplies. A
    normalized `softmax` without bias and epsilon is canonically
    `softmax_selected`: the same weights, but experts that were not chosen get a
    cotangent of 0 instead of what is left of a difference.
    Constraints: 1 <= k <= E; selection_bias of shape [E].
  }];
  let arguments = (ins NN_FloatTensor:$logits, Optional<NN_FloatTensor>:$selection_bias,
                       I64Attr:$k, NN_Scoring:$scoring, UnitAttr:$normalize,
                       DefaultValuedAttr<F64Attr, "0.0">:$epsilon,
                       DefaultValuedAttr<F64Attr, "1.0">:$scale);
  let results = (outs NN_FloatTensor:$weights, NN_IndexTensor:$ids);
  let assemblyFormat = [{
    $scoring $logits (`bias` $selection_bias^)? `k` $k attr-dict
    `:` type($logits) (`,` type($selection_bias)^)? `->` type($weights) `,` type($ids)
  }];
  let hasCanonicalizeMethod = 1;
}

def NN_RouterGradOp : NN_InferOp<"router_grad", [Decompose]> {
  let summary = "Cotangent of nn.router's logits";
  let description = [{ Constraints: ids and cotangent [T, k] as nn.router gave them. }];
  let arguments = (ins NN_FloatTensor:$logits, NN_IndexTensor:$ids, NN_FloatTensor:$cotangent,
                       NN_Scoring:$scoring, UnitAttr:$normalize,
                       DefaultValuedAttr<F64Attr, "0.0">:$epsilon,
                       DefaultValuedAttr<F64Attr, "1.0">:$scale);
  let results = (outs NN_FloatTensor:$d_logits);
  let assemblyFormat = "$scoring $logits `,` $ids `,` $cotangent attr-dict `:` type($logits) `,` type($ids) `,` type($cotangent)";
}

def NN_RouteOp : NN_Op<"route"> {
  let summary = "Sorts (token, choice) pairs by expert";
  let description = [{
    Constraints: ids [T, K] match the routing's tokens and k.
    ```mlir
    %r = nn.route %ids : tensor<20x2xi64> -> !nn.routing<tokens = 20, k = 2, experts = 8>
    ```
  }];
  let arguments = (ins NN_IndexTensor:$ids);
  let results = (outs NN_Routing:$routing);
  let assemblyFormat = "$ids attr-dict `:` type($ids) `->` type($routing)";
  let hasVerifier = 1;
}

def NN_DispatchOp : NN_InferOp<"dispatch", [Diff]> {
  let summary = "rows[r, :] = input[token(r), :]";
  let description = [{ input [T, H] -> rows [T*K, H]. Constraints: T is the routing's tokens. }];
  let arguments = (ins NN_FloatTensor:$input, NN_Routing:$routing);
  let results = (outs NN_FloatTensor:$rows);
  let assemblyFormat = "$input `,` $routing attr-dict `:` type($input) `,` type($routing) `->` type($rows)";
}

def NN_CombineOp : NN_InferOp<"combine", [Diff]> {
  let summary = "result[t, :] = sum over k of weights[t, k] * rows[row(t, k), :]";
  let description = [{
    rows [T*K, H], weights [T, K] optional (absent: 1) -> [T, H]; k ascending.
    Constraints: rows and weights match the routing.
  }];
  let arguments = (ins NN_FloatTensor:$rows, Optional<NN_FloatTensor>:$weights, NN_Routing:$routing);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = [{
    $rows (`weights` $weights^)? `,` $routing attr-dict
    `:` type($rows) `` custom<TypeOf>(ref($weights), type($weights)) `,` type($routing) `->` type($result)
  }];
}

def NN_CombineGradOp : NN_InferOp<"combine_grad"> {
  let summary = "Cotangents of nn.combine's rows and weights";
  let description = [{
    d_rows[row(t,k), :] = weights[t,k] * cotangent[t, :];
    d_weights[t,k] = <cotangent[t, :], rows[row(t,k), :]>.
    Constraints: operands as nn.combine took and gave them.
  }];
  let arguments = (ins NN_FloatTensor:$rows, NN_FloatTensor:$weights, NN_FloatTensor:$cotangent,
                       NN_Routing:$routing);
  let results = (outs NN_FloatTensor:$d_rows, NN_FloatTensor:$d_weights);
  let assemblyFormat = [{
    $rows `,` $weights `,` $cotangent `,` $routing attr-dict
    `:` type($rows) `,` type($weights) `,` type($cotangent) `,` type($routing)
    `->` type($d_rows) `,` type($d_weights)
  }];
}

def NN_GroupedMatmulOp : NN_WideningOp<"grouped_matmul", [Diff, Cost]> {
  let summary = "Each row times its expert's matrix";
  let description = [{
    rows [R, K], weight [E, K, N] (or [E, N, K] with `transpose_weight`) ->
    [R, N]; row r uses the matrix of the expert that the routing gives it. Of
    bf16 or f16 the result may be f32. With `gather_rows` rows is [T, K], a row of
    each token, and row r is its token's, as `nn.dispatch` would give it.
    Constraints: R, T and E are the routing's; equal K; equal element types of both.
  }];
  let arguments = (ins NN_FloatTensor:$rows, NN_FloatTensor:$weight, NN_Routing:$routing,
                       UnitAttr:$transpose_weight, UnitAttr:$gather_rows);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = [{
    $rows `,` $weight `,` $routing attr-dict
    `:` type($rows) `,` type($weight) `,` type($routing) `->` type($result)
  }];
}

def NN_GroupedMatmulGradWeightOp : NN_WideningOp<"grouped_matmul_grad_weight", [Cost]> {
  let summary = "Per expert: (its rows of lhs)^T times (its rows of rhs)";
  let description = [{
    lhs [R, K], rhs [R, N] -> [E, K, N]; zeros for an expert without rows. Of
    bf16 or f16 the result may be f32. With `gather_lhs` lhs is [T, K], a row of
    each token, as in `nn.grouped_matmul`; `gather_rhs` likewise.
    Constraints: R and T are the routing's; not both gathered; equal element types
    of both.
  }];
  let arguments = (ins NN_FloatTensor:$lhs, NN_FloatTensor:$rhs, NN_Routing:$routing,
                       UnitAttr:$gather_lhs, UnitAttr:$gather_rhs);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs `,` $routing attr-dict
    `:` type($lhs) `,` type($rhs) `,` type($routing) `->` type($result)
  }];
}

def NN_PerExpertOp : NN_InferOp<"per_expert", [Diff]> {
  let summary = "result[r, :] = values[expert(r), :], an expert's bias on its rows";
  let description = [{ values [E, N] -> [R, N]. Constraints: E is the routing's. }];
  let arguments = (ins NN_FloatTensor:$values, NN_Routing:$routing);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "$values `,` $routing attr-dict `:` type($values) `,` type($routing) `->` type($result)";
}

def NN_PerExpertSumOp : NN_InferOp<"per_expert_sum", [Diff]> {
  let summary = "result[e, :] = sum of e's rows, ascending; nn.per_expert's adjoint";
  let description = [{ rows [R, N] -> [E, N]. Constraints: R is the routing's. }];
  let arguments = (ins NN_FloatTensor:$rows, NN_Routing:$routing);
  let results = (outs NN_FloatTensor:$result);
  let assemblyFormat = "$rows `,` $routing attr-dict `:` type($rows) `,` type($routing) `->` type($result)";
}

#endif // MOIRE_NN_OPS
