//===- ExecLayers.td - Statements of rows, attention and experts ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_EXEC_LAYERS
#define MOIRE_EXEC_LAYERS

// Included by ExecOps.td, after its places and modes.

//===----------------------------------------------------------------------===//
// Rows: normalizations, softmax, loss
//===----------------------------------------------------------------------===//

def Exec_LayerNormOp : Exec_Op<"layer_norm", [AttrSizedOperandSegments]> {
  let summary = "Layer normalization, optionally of a sum that is also stored";
  let description = [{
    With `residual`, input + residual is normalized and stored to `sum`.
    Constraints: input, residual, sum and result have one shape [..., D]; scale
    and bias [D]; residual and sum come together; one element type for input, residual and
    sum, and for the result, which may be bf16 where that is f32.
  }];
  let arguments = (ins In<Exec_DenseFloat>:$input, OptionalIn<Exec_DenseF32>:$scale,
                       OptionalIn<Exec_DenseF32>:$bias, OptionalIn<Exec_DenseFloat>:$residual,
                       Out<Exec_DenseFloat>:$result, OptionalOut<Exec_DenseFloat>:$sum,
                       F64Attr:$epsilon);
  let assemblyFormat = [{
    $input (`scale` $scale^)? (`bias` $bias^)? (`residual` $residual^)? `eps` $epsilon
    `to` $result (`sum` $sum^)? attr-dict
    `:` type($input) (`scale` type($scale)^)? (`bias` type($bias)^)? (`residual` type($residual)^)?
    `to` type($result) (`sum` type($sum)^)?
  }];
  let hasVerifier = 1;
}

def Exec_RMSNormOp : Exec_Op<"rms_norm", [AttrSizedOperandSegments]> {
  let summary = "RMS normalization, optionally of a sum that is also stored";
  let description = [{
    With `residual`, input + residual is normalized and stored to `sum`.
    Constraints: input, residual, sum and result have one shape [..., D]; scale
    [D]; residual and sum come together; one element type for input, residual and
    sum, and for the result, which may be bf16 where that is f32.
  }];
  let arguments = (ins In<Exec_DenseFloat>:$input, OptionalIn<Exec_DenseF32>:$scale,
                       OptionalIn<Exec_DenseFloat>:$residual, Out<Exec_DenseFloat>:$result,
                       OptionalOut<Exec_DenseFloat>:$sum, F64Attr:$epsilon);
  let assemblyFormat = [{
    $input (`scale` $scale^)? (`residual` $residual^)? `eps` $epsilon
    `to` $result (`sum` $sum^)? attr-dict
    `:` type($input) (`scale` type($scale)^)? (`residual` type($residual)^)?
    `to` type($result) (`sum` type($sum)^)?
  }];
  let hasVerifier = 1;
}

def Exec_LayerNormGradOp : Exec_Op<"layer_norm_grad", [AttrSizedOperandSegments]> {
  let summary = "Cotangents of a layer normalization";
  let description = [{
    `add` is added to the input's cotangent: the gradient that comes by the
    residual path. Results that are not wanted are absent.
    Constraints: cotangent, add and d_input have the input's shape [..., D];
    scale, d_scale and d_bias [D]; at least one result; one element type for
    input, add and d_input, and for the cotangent, which may be bf16 where that is
    f32.
  }];
  let arguments = (ins In<Exec_DenseFloat>:$input, OptionalIn<Exec_DenseF32>:$scale,
                       In<Exec_DenseFloat>:$cotangent, OptionalIn<Exec_DenseFloat>:$add,
                       OptionalOut<Exec_DenseFloat>:$d_input, OptionalOut<Exec_DenseF32>:$d_scale,
                       OptionalOut<Exec_DenseF32>:$d_bias, F64Attr:$epsilon,
                       Exec_ModeArg:$scale_mode, Exec_ModeArg:$bias_mode);
  let assemblyFormat = [{
    $input (`scale` $scale^)? `cotangent` $cotangent (`add` $add^)? `eps` $epsilon `to`
    (`input` $d_input^)? (`scale` $d_scale^ (`mode` $scale_mode^)?)?
    (`bias` $d_bias^ (`mode` $bias_mode^)?)? attr-dict
    `:` type($input) (`scale` type($scale)^)? `,` type($cotangent) (`add` type($add)^)? `to`
    (`input` type($d_input)^)? (`scale` type($d_scale)^)? (`bias` type($d_bias)^)?
  }];
  let hasVerifier = 1;
}

def Exec_RMSNormGradOp : Exec_Op<"rms_norm_grad", [AttrSizedOperandSegments]> {
  let summary = "Cotangents of an RMS normalization";
  let description = [{
    `add` is added to the input's cotangent. Results that are not wanted are absent.
    Constraints: cotangent, add and d_input have the input's shape [..., D];
    scale and d_scale [D]; at least one result; one element type for
    input, add and d_input, and for the cotangent, which may be bf16 where that is
    f32.
  }];
  let arguments = (ins In<Exec_DenseFloat>:$input, OptionalIn<Exec_DenseF32>:$scale,
                       In<Exec_DenseFloat>:$cotangent, OptionalIn<Exec_DenseFloat>:$add,
                       OptionalOut<Exec_DenseFloat>:$d_input, OptionalOut<Exec_DenseF32>:$d_scale,
                       F64Attr:$epsilon, Exec_ModeArg:$scale_mode);
  let assemblyFormat = [{
    $input (`scale` $scale^)? `cotangent` $cotangent (`add` $add^)? `eps` $epsilon `to`
    (`input` $d_input^)? (`scale` $d_scale^ (`mode` $scale_mode^)?)? attr-dict
    `:` type($input) (`scale` type($scale)^)? `,` type($cotangent) (`add` type($add)^)? `to`
    (`input` type($d_input)^)? (`scale` type($d_scale)^)?
  }];
  let hasVerifier = 1;
}

def Exec_SoftmaxOp : Exec_Op<"softmax"> {
  let summary = "Softmax over the last dim";
  let description = [{ Constraints: equal types of rank at least 1. }];
  let arguments = (ins In<Exec_DenseF32>:$input, Out<Exec_DenseF32>:$result);
  let assemblyFormat = "$input `to` $result attr-dict `:` type($input) `to` type($result)";
  let hasVerifier = 1;
}
def Exec_SoftmaxGradOp : Exec_Op<"softmax_grad"> {
  let summary = "y * (dy - sum(y * dy)) over the last dim";
  let description = [{ Constraints: equal types of rank at least 1. }];
  let arguments = (ins In<Exec_DenseF32>:$output, In<Exec_DenseF32>:$cotangent, Out<Exec_DenseF32>:$result);
  let assemblyFormat = [{
    $output `,` $cotangent `to` $result attr-dict `:` type($output) `,` type($cotangent) `to` type($result)
  }];
  let hasVerifier = 1;
}

def Exec_CrossEntropyOp : Exec_Op<"cross_entropy", [AttrSizedOperandSegments]> {
  let summary = "Losses of rows of logits and, optionally, the logits' cotangent in the same pass";
  let description = [{
    logits [N, V], labels [N] -> losses [N], lse [N]; with `cotangent` (one
    value for all rows) also d_logits [N, V], which may be the logits' place.
    Constraints: matching shapes; d_logits has the logits' element type; cotangent
    and d_logits come together.
  }];
  let arguments = (ins In<Exec_DenseFloat>:$logits, In<Exec_DenseI64>:$labels,
                       OptionalIn<Exec_DenseF32>:$cotangent, Out<Exec_DenseF32>:$losses,
                       Out<Exec_DenseF32>:$lse, OptionalOut<Exec_DenseFloat>:$d_logits,
                       I64Attr:$ignore_index);
  let assemblyFormat = [{
    $logits `,` $labels (`cotangent` $cotangent^)? `ignore` $ignore_index
    `to` $losses `,` $lse (`logits` $d_logits^)? attr-dict
    `:` type($logits) `,` type($labels) (`cotangent` type($cotangent)^)?
    `to` type($losses) `,` type($lse) (`logits` type($d_logits)^)?
  }];
  let hasVerifier = 1;
}

def Exec_CrossEntropyGradOp : Exec_Op<"cross_entropy_grad"> {
  let summary = "(softmax(logits) - onehot(label)) * cotangent; 0 in ignored rows";
  let description = [{
    The cotangent may have stride 0; d_logits may be the logits' place.
    Constraints: matching shapes; d_logits has the logits' element type.
  }];
  let arguments = (ins In<Exec_DenseFloat>:$logits, In<Exec_DenseI64>:$labels, In<Exec_DenseF32>:$lse,
                       In<Exec_F32>:$cotangent, Out<Exec_DenseFloat>:$d_logits, I64Attr:$ignore_index);
  let assemblyFormat = [{
    $logits `,` $labels `,` $lse `cotangent` $cotangent `ignore` $ignore_index `to` $d_logits attr-dict
    `:` type($logits) `,` type($labels) `,` type($lse) `,` type($cotangent) `to` type($d_logits)
  }];
  let hasVerifier = 1;
}

def Exec_LossOp : Exec_Op<"loss", [MemoryEffects<[MemWrite]>]> {
  let summary = "Hands the micro-batch's loss to the runtime";
  let description = [{ Constraints: a f32 place of rank 0. }];
  let arguments = (ins In<Exec_DenseF32>:$value);
  let assemblyFormat = "$value attr-dict `:` type($value)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

def Exec_RopeOp : Exec_Op<"rope"> {
  let summary = "Rotary position embedding";
  let description = [{
    input, result [B, H, S, D], last dim of unit stride; cos, sin [B or 1, S, D/2].
    Constraints: matching shapes; equal element types of input and result.
  }];
  let arguments = (ins In<Exec_Float>:$input, In<Exec_DenseF32>:$cos, In<Exec_DenseF32>:$sin,
                       Out<Exec_Float>:$result, UnitAttr:$interleaved, UnitAttr:$inverse);
  let assemblyFormat = [{
    $input `,` $cos `,` $sin `to` $result attr-dict
    `:` type($input) `,` type($cos) `,` type($sin) `to` type($result)
  }];
  let hasVerifier = 1;
}

def Exec_AttentionOp : Exec_Op<"attention"> {
  let summary = "softmax(scale * q k^T + mask) v, and the rows' log-sum-exp";
  let description = [{
    Shapes as nn.attention; the last dim of query, key, value and result has
    unit stride. The mask is i1 or f32, expanded by strides of 0.
    Constraints: matching shapes; mask of shape [B, H, Sq, Skv]; unit strides; one element
    type for query, key, value and result.
  }];
  let arguments = (ins In<Exec_Float>:$query, In<Exec_Float>:$key, In<Exec_Float>:$value,
                       OptionalIn<Exec_Mask>:$mask, Out<Exec_Float>:$result, Out<Exec_DenseF32>:$lse,
                       F64Attr:$scale, UnitAttr:$causal);
  let assemblyFormat = [{
    $query `,` $key `,` $value (`mask` $mask^)? `scale` $scale `to` $result `,` $lse attr-dict
    `:` type($query) `,` type($key) `,` type($value) (`mask` type($mask)^)?
    `to` type($result) `,` type($lse)
  }];
  let hasVerifier = 1;
}

def Exec_AttentionGradOp : Exec_Op<"attention_grad"> {
  let summary = "Cotangents of query, key and value";
  let description = [{
    Constraints: as exec.attention; each cotangent has the shape of its operand.
  }];
  let arguments = (ins In<Exec_Float>:$query, In<Exec_Float>:$key, In<Exec_Float>:$value,
                       OptionalIn<Exec_Mask>:$mask, In<Exec_Float>:$output, In<Exec_DenseF32>:$lse,
                       In<Exec_Float>:$cotangent, Out<Exec_Float>:$d_query, Out<Exec_Float>:$d_key,
                       Out<Exec_Float>:$d_value, F64Attr:$scale, UnitAttr:$causal);
  let assemblyFormat = [{
    $query `,` $key `,` $value (`mask` $mask^)? `output` $output `lse` $lse
    `cotangent` $cotangent `scale` $scale `to` $d_query `,` $d_key `,` $d_value attr-dict
    `:` type($query) `,` type($key) `,` type($value) (`mask` type($mask)^)? `,` type($output)
    `,` type($lse) `,` type($cotangent) `to` type($d_query) `,` type($d_key) `,` type($d_value)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Mixture of experts
//===----------------------------------------------------------------------===//

def Exec_RouterOp : Exec_Op<"router"> {
  let summary = "Chooses k experts per token and their weights";
  let description = [{ As nn.router. Constraints: matching shapes. }];
  let arguments = (ins In<Exec_DenseF32>:$logits, OptionalIn<Exec_DenseF32>:$selection_bias,
                       Out<Exec_DenseF32>:$weights, Out<Exec_DenseI64>:$ids, Exec_Scoring:$scoring,
                       UnitAttr:$normalize, F64Attr:$epsilon, F64Attr:$scale);
  let assemblyFormat = [{
    $scoring $logits (`bias` $selection_bias^)? `to` $weights `,` $ids attr-dict
    `:` type($logits) (`bias` type($selection_bias)^)? `to` type($weights) `,` type($ids)
  }];
  let hasVerifier = 1;
}

def Exec_RouterGradOp : Exec_Op<"router_grad"> {
  let summary = "Cotangent of the router's logits";
  let description = [{ As nn.router_grad. Constraints: matching shapes. }];
  let arguments = (ins In<Exec_DenseF32>:$logits, In<Exec_DenseI64>:$ids, In<Exec_DenseF32>:$cotangent,
                       Out<Exec_DenseF32>:$d_logits, Exec_Scoring:$scoring, UnitAttr:$normalize,
                       F64Attr:$epsilon, F64Attr:$scale);
  let assemblyFormat = [{
    $scoring $logits `,` $ids `,` $cotangent `to` $d_logits attr-dict
    `:` type($logits) `,` type($ids) `,` type($cotangent) `to` type($d_logits)
  }];
  let hasVerifier = 1;
}

def Exec_RouteOp : Exec_Op<"route"> {
  let summary = "Sorts (token, choice) pairs by expert";
  let description = [{ Constraints: ids [T, K] match the routing. }];
  let arguments = (ins In<Exec_DenseI64>:$ids, Out<Exec_Routing>:$routing);
  let assemblyFormat = "$ids `to` $routing attr-dict `:` type($ids) `to` type($routing)";
  let hasVerifier = 1;
}

def Exec_ChoiceCountsOp : Exec_Op<"choice_counts"> {
  let summary = "How many tokens have an expert as their first, second, ... choice";
  let description = [{ As nn.choice_counts. Constraints: ids [T, K], counts [K, E]. }];
  let arguments = (ins In<Exec_DenseI64>:$ids, Out<Exec_DenseF32>:$counts);
  let assemblyFormat = "$ids `to` $counts attr-dict `:` type($ids) `to` type($counts)";
  let hasVerifier = 1;
}

def Exec_CapacityOp : Exec_Op<"capacity"> {
  let summary = "Ids of the pairs that their experts have room for; -1 for the others";
  let description = [{
    As nn.capacity; `slots` is C.
    Constraints: ids and kept [T, K], counts [S, K, E], shard [].
  }];
  let arguments = (ins In<Exec_DenseI64>:$ids, In<Exec_DenseF32>:$counts, In<Exec_DenseI64>:$shard,
                       Out<Exec_DenseI64>:$kept, I64Attr:$slots, UnitAttr:$choices_first);
  let assemblyFormat = [{
    $ids `counts` $counts `at` $shard `slots` $slots (`choices_first` $choices_first^)? `to` $kept
    attr-dict `:` type($ids) `,` type($counts) `,` type($shard) `to` type($kept)
  }];
  let hasVerifier = 1;
}

def Exec_DispatchOp : Exec_Op<"dispatch"> {
  let summary = "rows[r, :] = input[token(r), :]";
  let description = [{ Constraints: input [T, H], rows [R, H] of the routing; equal element types. }];
  let arguments = (ins In<Exec_DenseFloat>:$input, In<Exec_Routing>:$routing, Out<Exec_DenseFloat>:$rows);
  let assemblyFormat = "$input `,` $routing `to` $rows attr-dict `:` type($input) `,` type($routing) `to` type($rows)";
  let hasVerifier = 1;
}

def Exec_CombineOp : Exec_Op<"combine"> {
  let summary = "result[t, :] = sum over k of weights[t, k] * rows[row(t, k), :]";
  let description = [{ Constraints: rows [R, H], weights [T, K], result [T, H] of the routing;
    equal element types of rows and result.  }];
  let arguments = (ins In<Exec_DenseFloat>:$rows, OptionalIn<Exec_DenseF32>:$weights,
                       In<Exec_Routing>:$routing, Out<Exec_DenseFloat>:$result);
  let assemblyFormat = [{
    $rows (`weights` $weights^)? `,` $routing `to` $result attr-dict
    `:` type($rows) (`weights` type($weights)^)? `,` type($routing) `to` type($result)
  }];
  let hasVerifier = 1;
}

def Exec_CombineGradOp : Exec_Op<"combine_grad", [AttrSizedOperandSegments]> {
  let summary = "Cotangents of a combine's rows and weights";
  let description = [{
    A result that is not wanted is absent.
    Constraints: shapes as exec.combine has them; one element type for rows,
    cotangent and d_rows; at least one result.
  }];
  let arguments = (ins In<Exec_DenseFloat>:$rows, In<Exec_DenseF32>:$weights,
                       In<Exec_DenseFloat>:$cotangent, In<Exec_Routing>:$routing,
                       OptionalOut<Exec_DenseFloat>:$d_rows, OptionalOut<Exec_DenseF32>:$d_weights);
  let assemblyFormat = [{
    $rows `,` $weights `,` $cotangent `,` $routing `to` (`rows` $d_rows^)? (`weights` $d_weights^)?
    attr-dict `:` type($rows) `,` type($weights) `,` type($cotangent) `,` type($routing) `to`
    (`rows` type($d_rows)^)? (`weights` type($d_weights)^)?
  }];
  let hasVerifier = 1;
}

def Exec_PerExpertOp : Exec_Op<"per_expert"> {
  let summary = "rows[r, :] = values[expert(r), :], plus `add` where it is given";
  let description = [{
    `add` may be the rows' place.
    Constraints: values [E, N], rows and add [R, N] of the routing.
  }];
  let arguments = (ins In<Exec_DenseF32>:$values, OptionalIn<Exec_DenseF32>:$add,
                       In<Exec_Routing>:$routing, Out<Exec_DenseF32>:$rows);
  let assemblyFormat = [{
    $values (`add` $add^)? `,` $routing `to` $rows attr-dict
    `:` type($values) (`add` type($add)^)? `,` type($routing) `to` type($rows)
  }];
  let hasVerifier = 1;
}

def Exec_PerExpertSumOp : Exec_Op<"per_expert_sum"> {
  let summary = "sums[e, :] = sum of e's rows, ascending";
  let description = [{ Constraints: rows [R, N], sums [E, N] of the routing. }];
  let arguments = (ins In<Exec_DenseF32>:$rows, In<Exec_Routing>:$routing, Out<Exec_DenseF32>:$sums,
                       Exec_ModeArg:$mode);
  let assemblyFormat = [{
    $rows `,` $routing `to` $sums (`mode` $mode^)? attr-dict
    `:` type($rows) `,` type($routing) `to` type($sums)
  }];
  let hasVerifier = 1;
}

#endif // MOIRE_EXEC_LAYERS
