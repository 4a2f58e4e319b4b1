//===- PipeOps.td - The pipe dialect: parameters and what happens to them -===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PIPE_OPS
#define MOIRE_PIPE_OPS

include "dialects/pipe/ScheduleAttrs.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Pipe_TransformEnum : I32EnumAttr<"Transform", "how a stored tensor relates to the parameter", [
  I32EnumAttrCase<"same", 0>, I32EnumAttrCase<"transpose_last2", 1>,
  I32EnumAttrCase<"reshape", 2>, I32EnumAttrCase<"slice", 3>,
  I32EnumAttrCase<"slice_transpose", 4>]> {
  let cppNamespace = "::moire::pipe";
  let genSpecializedAttr = 0;
}
def Pipe_Transform : EnumAttr<Pipe_Dialect, Pipe_TransformEnum, "transform">;

def Pipe_Source : AttrDef<Pipe_Dialect, "Source"> {
  let mnemonic = "source";
  let summary = "Where a parameter's value, or a part of it, lies";
  let description = [{
    An initializer of the ONNX file: its name, the file that holds its bytes
    (relative to the model's folder; empty where the bytes are not at hand),
    their offset and length, and how the parameter is made from them: equal;
    transposed in the last two dims; reshaped; entry `index` of the first dim,
    as it is or transposed.
    ```mlir
    #pipe.source<"val_101", "model.onnx", 4096, 4096, f32, transpose_last2, 0>
    ```
  }];
  let parameters = (ins "::mlir::StringAttr":$initializer, "::mlir::StringAttr":$file,
                        "int64_t":$offset, "int64_t":$bytes, "::mlir::Type":$elementType,
                        "::moire::pipe::Transform":$transform, "int64_t":$index);
  let assemblyFormat = "`<` $initializer `,` $file `,` $offset `,` $bytes `,` $elementType `,` $transform `,` $index `>`";
}
def Pipe_SourceArray : TypedArrayAttrBase<Pipe_Source, "array of #pipe.source">;

def Pipe_OptimizerEnum : I32EnumAttr<"Optimizer", "the update rule", [
  I32EnumAttrCase<"sgd", 0>, I32EnumAttrCase<"adamw", 1>]> {
  let cppNamespace = "::moire::pipe";
  let genSpecializedAttr = 0;
}
def Pipe_Optimizer : EnumAttr<Pipe_Dialect, Pipe_OptimizerEnum, "optimizer">;

def Pipe_Sharding : Attr<CPred<"::llvm::isa<::moire::dist::ShardingAttr>($_self)">, "#dist.sharding"> {
  let storageType = "::moire::dist::ShardingAttr";
  let returnType = "::moire::dist::ShardingAttr";
  let convertFromStorage = "$_self";
}

def Pipe_ParameterOp : Pipe_Op<"parameter", [Symbol]> {
  let summary = "A logical parameter of the model, or a buffer that is not trained";
  let description = [{
    `torch_name` is the name under which PyTorch knows it, where the file tells.
    `frozen` parameters are read but neither differentiated nor updated.
    `group` names those that rest together: a step trains the group or does not.
    Parameters without one are trained in every step.
    `init` ("normal", "ones" or "zeros") and `init_std` say how `--init` fills it.
    `sharding` says which piece each rank of the module's mesh holds; the type
    and the sources are those of the whole.

    `zero` (Rajbhandari et al., ZeRO, 2020) divides what is kept for the shard
    among the ranks of the group `over`, which hold the same shard: level 1 the
    optimizer's state, 2 the gradient too, 3 the value too. With n elements in
    row-major order and R members, pieces have c = ceil(n / R) elements, rounded
    up to a multiple of 16; member i owns [min(n, i c), min(n, (i + 1) c)). A
    piece is a tensor of c elements everywhere; what it has past its owner's last
    one is never read.
    Constraints: a static float tensor type; at least one source; slices cover
    0..size-1 of the first dim; the sharding fits the type. `zero` is 1, 2 or 3 of
    a parameter that is not frozen, over axes of the mesh, each once, that do not
    split it. `group` is of a parameter that is not frozen; a name without `@`, `+`,
    `,`, `=` and blanks that is not "all" or "none".
    ```mlir
    pipe.parameter @lm_head.weight : tensor<96x32xf32> torch "lm_head.weight"
      from [#pipe.source<"val_101", "model.onnx", 4096, 12288, f32, transpose_last2, 0>]
      zero 2 over ["dp", "ep"]
    pipe.parameter @wpe : tensor<64x32xf32> group "embeddings"
      from [#pipe.source<"wpe", "model.onnx", 16384, 8192, f32, same, 0>]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<AnyRankedTensor>:$type,
                       OptionalAttr<StrAttr>:$torch_name, Pipe_SourceArray:$sources,
                       UnitAttr:$frozen, OptionalAttr<StrAttr>:$group, OptionalAttr<StrAttr>:$init,
                       OptionalAttr<F64Attr>:$init_std, OptionalAttr<Pipe_Sharding>:$sharding,
                       OptionalAttr<I64Attr>:$zero, OptionalAttr<StrArrayAttr>:$zero_axes);
  let assemblyFormat = [{
    $sym_name `:` $type (`torch` $torch_name^)? (`frozen` $frozen^)? (`group` $group^)?
    `from` $sources (`init` $init^ (`std` $init_std^)?)? (`sharding` $sharding^)? (`zero` $zero^ `over` $zero_axes)?
    attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The type of one rank's shard.
    ::mlir::RankedTensorType getLocalType();
    /// 0: nothing is divided.
    int64_t getZeroLevel() { return getZero().value_or(0); }
    /// Of a divided parameter: a piece's type, and the range of the shard's elements
    /// that member `index` owns.
    ::mlir::RankedTensorType getPieceType();
    std::pair<int64_t, int64_t> getPiece(int64_t index);
    /// What a rank keeps of the value and of the gradient: its shard, or its piece.
    ::mlir::RankedTensorType getHeldType() {
      return getZeroLevel() >= 3 ? getPieceType() : getLocalType();
    }
    ::mlir::RankedTensorType getGradientType() {
      return getZeroLevel() >= 2 ? getPieceType() : getLocalType();
    }
  }];
}

def Pipe_ReadOp : Pipe_Op<"read", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "The value of a parameter";
  let description = [{
    Constraints: names a pipe.parameter; the type is that of the rank's shard, at
    zero 3 of its piece.
  }];
  let arguments = (ins FlatSymbolRefAttr:$parameter);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$parameter attr-dict `:` type($result)";
}

def Pipe_AccumulateOp : Pipe_Op<"accumulate", [MemoryEffects<[MemWrite]>, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Adds a cotangent to a parameter's gradient";
  let description = [{
    Gradients are zero at the start of a step; a micro-batch accumulates each
    parameter once.
    Constraints: names a pipe.parameter that is not frozen; the type is that of the
    rank's shard, at zero 2 and 3 of its piece.
  }];
  let arguments = (ins FlatSymbolRefAttr:$parameter, AnyRankedTensor:$gradient);
  let assemblyFormat = "$parameter `,` $gradient attr-dict `:` type($gradient)";
}

def Pipe_ReduceGradsOp : Pipe_Op<"reduce_grads", [MemoryEffects<[MemRead, MemWrite]>, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Sums gradients over the ranks of a group";
  let description = [{
    Once a step, after the last micro-batch. The members' gradients are added in
    ascending order. The parameters of one op form a bucket, which moves as a
    whole. `scatter`: each member gets the sum of its piece alone, and what it has
    of the others' holds anything afterwards.
    ```mlir
    pipe.reduce_grads [@wte, @wpe] over ["dp", "ep"]
    pipe.reduce_grads [@lm_head] over ["dp", "ep"] scatter
    ```
    Constraints: names pipe.parameters that are not frozen and that no axis of
    the group splits; axes of the mesh, each once. With `scatter` they are all of
    zero 1 over these axes, without it of none.
  }];
  let arguments = (ins FlatSymbolRefArrayAttr:$parameters, StrArrayAttr:$axes, UnitAttr:$scatter);
  let assemblyFormat = "$parameters `over` $axes (`scatter` $scatter^)? attr-dict";
}

def Pipe_UpdateOp : Pipe_Op<"update", [MemoryEffects<[MemRead, MemWrite]>, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Moves a parameter by its gradient under the update rule";
  let description = [{
    Rates, betas and decay are run-time values. `matrix` marks a parameter of
    rank 2 or more, which `--decay matrices` alone decays. A parameter with `zero`
    moves where this rank owns it, the rest of its value holds anything afterwards.
    Constraints: names a pipe.parameter that is not frozen.
  }];
  let arguments = (ins FlatSymbolRefAttr:$parameter, Pipe_Optimizer:$optimizer, UnitAttr:$matrix);
  let assemblyFormat = "$parameter `with` $optimizer (`matrix` $matrix^)? attr-dict";
}

def Pipe_GatherOp : Pipe_Op<"gather", [MemoryEffects<[MemRead, MemWrite]>, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Gives every member of a group the values of all pieces of parameters";
  let description = [{
    Once a step, after the updates, which leave each member with its own piece. The
    parameters of one op move as a whole.
    ```mlir
    pipe.gather [@wte, @wpe] over ["dp", "ep"]
    ```
    Constraints: names pipe.parameters of zero 1 or 2 over these axes.
  }];
  let arguments = (ins FlatSymbolRefArrayAttr:$parameters, StrArrayAttr:$axes);
  let assemblyFormat = "$parameters `over` $axes attr-dict";
}

#endif // MOIRE_PIPE_OPS
