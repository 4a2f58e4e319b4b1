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
    `init` ("normal", "ones" or "zeros") and `init_std` say how `--init` fills it.
    `sharding` says which piece each rank of the module's mesh holds; the type
    and the sources are those of the whole.
    Constraints: a static float tensor type; at least one source; slices cover
    0..size-1 of the first dim; the sharding fits the type.
    ```mlir
    pipe.parameter @lm_head.weight : tensor<96x32xf32> torch "lm_head.weight"
      from [#pipe.source<"val_101", "model.onnx", 4096, 12288, f32, transpose_last2, 0>]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<AnyRankedTensor>:$type,
                       OptionalAttr<StrAttr>:$torch_name, Pipe_SourceArray:$sources,
                       UnitAttr:$frozen, OptionalAttr<StrAttr>:$init,
                       OptionalAttr<F64Attr>:$init_std, OptionalAttr<Pipe_Sharding>:$sharding);
  let assemblyFormat = [{
    $sym_name `:` $type (`torch` $torch_name^)? (`frozen` $frozen^)? `from` $sources
    (`init` $init^ (`std` $init_std^)?)? (`sharding` $sharding^)? attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The type of what one rank holds.
    ::mlir::RankedTensorType getLocalType();
  }];
}

def Pipe_ReadOp : Pipe_Op<"read", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "The value of a parameter";
  let description = [{
    Constraints: names a pipe.parameter; the type is that of the rank's shard.
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
    rank's shard.
  }];
  let arguments = (ins FlatSymbolRefAttr:$parameter, AnyRankedTensor:$gradient);
  let assemblyFormat = "$parameter `,` $gradient attr-dict `:` type($gradient)";
}

def Pipe_ReduceGradsOp : Pipe_Op<"reduce_grads", [MemoryEffects<[MemRead, MemWrite]>, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Sums gradients over the ranks of a group";
  let description = [{
    Once a step, after the last micro-batch. The members' gradients are added in
    ascending order. The parameters of one op form a bucket, which moves as a
    whole.
    ```mlir
    pipe.reduce_grads [@wte, @wpe] over ["dp", "ep"]
    ```
    Constraints: names pipe.parameters that are not frozen and that no axis of
    the group splits; axes of the mesh, each once.
  }];
  let arguments = (ins FlatSymbolRefArrayAttr:$parameters, StrArrayAttr:$axes);
  let assemblyFormat = "$parameters `over` $axes attr-dict";
}

def Pipe_UpdateOp : Pipe_Op<"update", [MemoryEffects<[MemRead, MemWrite]>, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Moves a parameter by its gradient under the update rule";
  let description = [{
    Rates, betas and decay are run-time values. `matrix` marks a parameter of
    rank 2 or more, which `--decay matrices` alone decays.
    Constraints: names a pipe.parameter that is not frozen.
  }];
  let arguments = (ins FlatSymbolRefAttr:$parameter, Pipe_Optimizer:$optimizer, UnitAttr:$matrix);
  let assemblyFormat = "$parameter `with` $optimizer (`matrix` $matrix^)? attr-dict";
}

#endif // MOIRE_PIPE_OPS
