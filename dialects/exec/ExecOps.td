//===- ExecOps.td - The exec dialect: the program that is emitted --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_EXEC_OPS
#define MOIRE_EXEC_OPS

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Exec_Dialect : Dialect {
  let name = "exec";
  let cppNamespace = "::moire::exec";
  let summary = "The program that is emitted, one op per statement";
  let description = [{
    Straight-line code on memory. Values are places: `exec.buffer` is a range of
    the arena, `exec.param` and `exec.grad` lie in the runtime's blocks, the
    function's arguments are the inputs of the micro-step, `exec.view` is a
    strided window of one of them. Every other op reads and writes places and
    becomes one statement of C++; which operands it reads and which it writes
    are its memory effects, from which liveness and the arena's verifier work.

    A place is a memref of static shape and static strides whose first element
    is where the place begins (the layout's offset is 0). *Dense* means
    row-major without gaps. Repetition is a stride of 0, which is written as an
    affine map that leaves the dim out.
  }];
  let dependentDialects = ["::moire::nn::NNDialect"];
  let useDefaultAttributePrinterParser = 1;
}

//===----------------------------------------------------------------------===//
// Places and modes
//===----------------------------------------------------------------------===//

class Exec_PlaceOf<string element, string summary> : Type<
    CPred<"::moire::exec::isPlace($_self) && ::llvm::cast<::mlir::MemRefType>($_self).getElementType()" # element>,
    summary, "::mlir::MemRefType">;
class Exec_DenseOf<string element, string summary> : Type<
    CPred<"::moire::exec::isDense($_self) && ::llvm::cast<::mlir::MemRefType>($_self).getElementType()" # element>,
    summary, "::mlir::MemRefType">;

def Exec_Place : Type<CPred<"::moire::exec::isPlace($_self)">,
                      "memref of static shape and strides", "::mlir::MemRefType">;
def Exec_Dense : Type<CPred<"::moire::exec::isDense($_self)">,
                      "dense memref of static shape", "::mlir::MemRefType">;
def Exec_F32 : Exec_PlaceOf<".isF32()", "f32 memref of static shape and strides">;
def Exec_DenseF32 : Exec_DenseOf<".isF32()", "dense f32 memref">;
def Exec_Float : Type<CPred<"::moire::exec::isPlace($_self) && ::moire::exec::isF32OrBF16($_self)">,
                      "f32 or bf16 memref of static shape and strides", "::mlir::MemRefType">;
def Exec_DenseFloat : Type<CPred<"::moire::exec::isDense($_self) && ::moire::exec::isF32OrBF16($_self)">,
                           "dense f32 or bf16 memref", "::mlir::MemRefType">;
def Exec_DenseBF16 : Exec_DenseOf<".isBF16()", "dense bf16 memref">;
def Exec_DenseI64 : Exec_DenseOf<".isSignlessInteger(64)", "dense i64 memref">;
def Exec_Mask : Type<CPred<[{::moire::exec::isPlace($_self) &&
    (::llvm::cast<::mlir::MemRefType>($_self).getElementType().isF32() ||
     ::llvm::cast<::mlir::MemRefType>($_self).getElementType().isInteger(1))}]>,
    "i1 or f32 memref of static shape and strides", "::mlir::MemRefType">;

// Types and attributes of nn, by name: including NNOps.td would generate its ops
// a second time.
def Exec_Routing : Type<CPred<"::llvm::isa<::moire::nn::RoutingType>($_self)">, "!nn.routing",
                        "::moire::nn::RoutingType">;
class Exec_NNAttr<string name> : Attr<CPred<"::llvm::isa<::moire::nn::" # name # "Attr>($_self)">,
                                      "#nn." # name> {
  let storageType = "::moire::nn::" # name # "Attr";
  let returnType = "::moire::nn::" # name;
  let convertFromStorage = "$_self.getValue()";
}
def Exec_ReduceKind : Exec_NNAttr<"ReduceKind">;
def Exec_Scoring : Exec_NNAttr<"Scoring">;

class In<TypeConstraint type> : Arg<type, "", [MemRead]>;
class OptionalIn<Type type> : Arg<Optional<type>, "", [MemRead]>;
class Out<TypeConstraint type> : Arg<type, "", [MemWrite]>;
class OptionalOut<Type type> : Arg<Optional<type>, "", [MemWrite]>;

def Exec_ModeEnum : I32EnumAttr<"Mode", "what a result does with the old contents", [
  I32EnumAttrCase<"overwrite", 0>, I32EnumAttrCase<"add", 1>,
  I32EnumAttrCase<"add_after_first", 2>]> {
  let cppNamespace = "::moire::exec";
  let genSpecializedAttr = 0;
}
/// `add_after_first`: overwrite in the first micro-batch of a step, else add.
/// This is how gradients accumulate: no pass over memory to zero them.
def Exec_Mode : EnumAttr<Exec_Dialect, Exec_ModeEnum, "mode">;
defvar Overwrite = "::moire::exec::Mode::overwrite";
def Exec_ModeArg : DefaultValuedAttr<Exec_Mode, Overwrite>;

class Exec_Op<string mnemonic, list<Trait> traits = []> : Op<Exec_Dialect, mnemonic, traits>;

//===----------------------------------------------------------------------===//
// Places
//===----------------------------------------------------------------------===//

def Exec_BufferOp : Exec_Op<"buffer", [Pure]> {
  let summary = "A range of the arena";
  let description = [{
    Pass `pack-arena` gives the offset, in bytes from the arena's start.
    Constraints: the offset is a multiple of 64.
    ```mlir
    %0 = exec.buffer at 4096 : memref<4x256xf32>
    ```
  }];
  let arguments = (ins OptionalAttr<I64Attr>:$offset);
  let results = (outs Exec_Dense:$result);
  let assemblyFormat = "(`at` $offset^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::mlir::MemRefType":$type),
                            [{ build($_builder, $_state, type, ::mlir::IntegerAttr()); }]>];
  let extraClassDeclaration = [{ int64_t getBytes(); }];
}

class Exec_ParameterPlace<string mnemonic, string what>
    : Exec_Op<mnemonic, [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = what;
  let arguments = (ins FlatSymbolRefAttr:$parameter);
  let results = (outs Exec_DenseF32:$result);
  let assemblyFormat = "$parameter attr-dict `:` type($result)";
}
def Exec_ParamOp : Exec_ParameterPlace<"param", "The value of a parameter"> {
  let description = [{ Constraints: names a pipe.parameter; shape is the parameter's. }];
}
def Exec_GradOp : Exec_ParameterPlace<"grad", "The gradient of a parameter"> {
  let description = [{
    Constraints: names a pipe.parameter that is not frozen; shape is the parameter's.
  }];
}

def Exec_ShadowOp : Exec_Op<"shadow", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "A parameter rounded to bf16";
  let description = [{
    Lies in a block of the runtime's and is made once a step, by @prepare.
    Constraints: names a pipe.parameter; shape is the parameter's.
    ```mlir
    %0 = exec.shadow @fc.weight : memref<128x32xbf16>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$parameter);
  let results = (outs Exec_DenseBF16:$result);
  let assemblyFormat = "$parameter attr-dict `:` type($result)";
}

def Exec_ConstantOp : Exec_Op<"constant", [Pure]> {
  let summary = "A table of constants";
  let description = [{ Constraints: the value has the result's shape and element type. }];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs Exec_Dense:$result);
  let assemblyFormat = "$value attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Exec_ViewOp : Exec_Op<"view", [Pure]> {
  let summary = "A strided window of a place";
  let description = [{
    `offset` counts elements from the source's first one.
    Constraints: equal element types; every element lies inside the source's
    extent.
    ```mlir
    %1 = exec.view %0 at 512 : memref<20x1024xf32> to memref<20x512xf32, strided<[1024, 1]>>
    ```
  }];
  let arguments = (ins Exec_Place:$source, DefaultValuedAttr<I64Attr, "0">:$offset);
  let results = (outs Exec_Place:$result);
  let assemblyFormat = "$source (`at` $offset^)? attr-dict `:` type($source) `to` type($result)";
  let hasVerifier = 1;
}

def Exec_RoutingOp : Exec_Op<"routing", [Pure]> {
  let summary = "A place that holds a routing: offsets, pair of each row, row of each pair";
  let description = [{
    The layout is the runtime's moire::rt::Routing.
    Constraints: the source is dense i32 and has the elements that a routing of
    this size takes.
  }];
  let arguments = (ins Exec_Dense:$source);
  let results = (outs Exec_Routing:$result);
  let assemblyFormat = "$source attr-dict `:` type($source) `to` type($result)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Elements of i32 that a routing takes.
    static int64_t elements(::moire::nn::RoutingType type);
  }];
}

//===----------------------------------------------------------------------===//
// Elementwise kernels
//===----------------------------------------------------------------------===//

def Exec_KernelOp : Exec_Op<"kernel", [Symbol, IsolatedFromAbove, SingleBlock]> {
  let summary = "The scalar expression of one fused iteration space";
  let description = [{
    Block arguments are the inputs' elements, then the coordinates (i64) that
    exec.launch lists in `index`; exec.yield gives the outputs' elements.
    Constraints: ops of arith and math on scalars only.
    ```mlir
    exec.kernel @kernel0(%x: f32, %y: f32) {
      %0 = arith.addf %x, %y : f32
      exec.yield %0 : f32
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasRegionVerifier = 1;
}

def Exec_YieldOp : Exec_Op<"yield", [Pure, Terminator, HasParent<"KernelOp">]> {
  let summary = "The outputs of a kernel";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

def Exec_LaunchOp : Exec_Op<"launch", [AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Runs a kernel over an iteration space";
  let description = [{
    The iteration space is the shape of the operands; inputs repeat along dims
    of stride 0. An output may be the place of an input with the same strides.
    Constraints: all operands have one shape, of rank at most 6; element types
    are the kernel's; coordinates lie within the rank.
    ```mlir
    exec.launch @kernel0 ins(%0, %1 : memref<512x1024xf32>, memref<512x1024xf32, affine_map<(d0, d1) -> (d1)>>)
      outs(%2 : memref<512x1024xf32>)
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, In<Variadic<Exec_Place>>:$inputs,
                       Out<Variadic<Exec_Place>>:$outputs,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$index);
  let assemblyFormat = [{
    $kernel (`ins` `(` $inputs^ `:` type($inputs) `)`)? (`index` $index^)?
    `outs` `(` $outputs `:` type($outputs) `)` attr-dict
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Data movement
//===----------------------------------------------------------------------===//

def Exec_CopyOp : Exec_Op<"copy"> {
  let summary = "Copies (or adds) elements from one layout to another";
  let description = [{
    Constraints: equal shapes of rank at most 8 and equal element types; f32
    where the mode is not `overwrite`.
  }];
  let arguments = (ins In<Exec_Place>:$source, Out<Exec_Place>:$target, Exec_ModeArg:$mode);
  let assemblyFormat = "$source `to` $target (`mode` $mode^)? attr-dict `:` type($source) `to` type($target)";
  let hasVerifier = 1;
}

def Exec_RoundOp : Exec_Op<"round"> {
  let summary = "Copies f32 elements to bf16, rounded to the nearest, ties to even";
  let description = [{ Constraints: equal shapes. }];
  let arguments = (ins In<Exec_DenseF32>:$source, Out<Exec_DenseBF16>:$target);
  let assemblyFormat = "$source `to` $target attr-dict `:` type($source) `to` type($target)";
  let hasVerifier = 1;
}

def Exec_FillOp : Exec_Op<"fill"> {
  let summary = "Sets every element";
  let description = [{
    `add_after_first` fills in the first micro-batch of a step only.
    Constraints: the value has the target's element type.
  }];
  let arguments = (ins Out<Exec_Dense>:$target, TypedAttrInterface:$value, Exec_ModeArg:$mode);
  let assemblyFormat = "$target `with` $value (`mode` $mode^)? attr-dict `:` type($target)";
  let hasVerifier = 1;
}

def Exec_GatherOp : Exec_Op<"gather"> {
  let summary = "result[i..., :] = table[indices[i...], :]";
  let description = [{ Constraints: shapes as nn.gather has them; equal element types. }];
  let arguments = (ins In<Exec_Dense>:$table, In<Exec_DenseI64>:$indices, Out<Exec_Dense>:$result);
  let assemblyFormat = [{
    $table `[` $indices `]` `to` $result attr-dict
    `:` type($table) `,` type($indices) `to` type($result)
  }];
  let hasVerifier = 1;
}

class Exec_ScatterLike<string mnemonic> : Exec_Op<mnemonic> {
  let assemblyFormat = [{
    $updates `[` $indices `]` `to` $result (`mode` $mode^)? attr-dict
    `:` type($updates) `,` type($indices) `to` type($result)
  }];
  let hasVerifier = 1;
}
def Exec_ScatterAddOp : Exec_ScatterLike<"scatter_add"> {
  let summary = "result[indices[i...], :] += updates[i..., :], i ascending";
  let description = [{
    `overwrite` zeroes the result first.
    Constraints: shapes as nn.scatter has them.
  }];
  let arguments = (ins In<Exec_DenseF32>:$updates, In<Exec_DenseI64>:$indices,
                       Out<Exec_DenseF32>:$result, Exec_ModeArg:$mode);
}
def Exec_ScatterOp : Exec_Op<"scatter"> {
  let summary = "result[indices[i...], :] = updates[i..., :], the last one wins";
  let description = [{ Constraints: shapes as nn.scatter has them. }];
  let arguments = (ins In<Exec_Dense>:$updates, In<Exec_DenseI64>:$indices, Out<Exec_Dense>:$result);
  let assemblyFormat = [{
    $updates `[` $indices `]` `to` $result attr-dict
    `:` type($updates) `,` type($indices) `to` type($result)
  }];
  let hasVerifier = 1;
}

def Exec_GatherElementsOp : Exec_Op<"gather_elements"> {
  let summary = "result[..., i, ...] = input[..., indices[..., i, ...], ...] along one axis";
  let description = [{ Constraints: equal ranks; result and indices have one shape; axis within the rank. }];
  let arguments = (ins In<Exec_Dense>:$input, In<Exec_DenseI64>:$indices, Out<Exec_Dense>:$result,
                       I64Attr:$axis);
  let assemblyFormat = [{
    $input `[` $indices `]` `axis` $axis `to` $result attr-dict
    `:` type($input) `,` type($indices) `to` type($result)
  }];
  let hasVerifier = 1;
}
def Exec_ScatterElementsOp : Exec_Op<"scatter_elements"> {
  let summary = "result[..., indices[..., i, ...], ...] = or += updates[..., i, ...] along one axis";
  let description = [{ Constraints: equal ranks; updates and indices have one shape; axis within the rank. }];
  let arguments = (ins In<Exec_Dense>:$updates, In<Exec_DenseI64>:$indices, Out<Exec_Dense>:$result,
                       I64Attr:$axis, UnitAttr:$add);
  let assemblyFormat = [{
    (`add` $add^)? $updates `[` $indices `]` `axis` $axis `to` $result attr-dict
    `:` type($updates) `,` type($indices) `to` type($result)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Contractions, reductions, order
//===----------------------------------------------------------------------===//

def Exec_GemmOp : Exec_Op<"gemm"> {
  let summary = "Matrix product C = A B (+ bias), or added to C";
  let description = [{
    A [M, K], B [K, N], C [M, N], or all three with one batch dim in front;
    transposition is a view: the strides tell. bias [N]. Sums are f32, and are
    stored so or, where A and B are bf16, rounded.
    Constraints: matching shapes of rank 2 or 3; A and B have a unit stride in
    one of the last two dims, C in the last; equal element
    types of A and B, and of C unless it is f32; a bias needs mode `overwrite`,
    another mode an f32 result.
    ```mlir
    exec.gemm %a, %b bias %c to %d : memref<20x32xf32>, memref<32x96xf32>, memref<96xf32> to memref<20x96xf32>
    ```
  }];
  let arguments = (ins In<Exec_Float>:$lhs, In<Exec_Float>:$rhs, OptionalIn<Exec_DenseF32>:$bias,
                       Out<Exec_Float>:$result, Exec_ModeArg:$mode);
  let assemblyFormat = [{
    $lhs `,` $rhs (`bias` $bias^)? `to` $result (`mode` $mode^)? attr-dict
    `:` type($lhs) `,` type($rhs) (`,` type($bias)^)? `to` type($result)
  }];
  let hasVerifier = 1;
}

def Exec_GroupedGemmOp : Exec_Op<"grouped_gemm"> {
  let summary = "Each row times its expert's matrix";
  let description = [{
    rows [R, K], weight [E, K, N] or, with `transpose_weight`, [E, N, K] ->
    [R, N]. Experts without rows cost nothing.
    Constraints: R and E are the routing's; matching K and N; equal element types
    of rows and weight, and of the result unless it is f32.
  }];
  let arguments = (ins In<Exec_DenseFloat>:$rows, In<Exec_DenseFloat>:$weight, In<Exec_Routing>:$routing,
                       Out<Exec_DenseFloat>:$result, UnitAttr:$transpose_weight);
  let assemblyFormat = [{
    $rows `,` $weight `,` $routing `to` $result attr-dict
    `:` type($rows) `,` type($weight) `,` type($routing) `to` type($result)
  }];
  let hasVerifier = 1;
}

def Exec_GroupedGemmGradWeightOp : Exec_Op<"grouped_gemm_grad_weight"> {
  let summary = "Per expert: (its rows of lhs)^T times (its rows of rhs)";
  let description = [{
    lhs [R, K], rhs [R, N] -> [E, K, N].
    Constraints: R and E are the routing's; matching K and N; equal element types
    of lhs and rhs.
  }];
  let arguments = (ins In<Exec_DenseFloat>:$lhs, In<Exec_DenseFloat>:$rhs, In<Exec_Routing>:$routing,
                       Out<Exec_DenseF32>:$result, Exec_ModeArg:$mode);
  let assemblyFormat = [{
    $lhs `,` $rhs `,` $routing `to` $result (`mode` $mode^)? attr-dict
    `:` type($lhs) `,` type($rhs) `,` type($routing) `to` type($result)
  }];
  let hasVerifier = 1;
}

def Exec_ReduceOp : Exec_Op<"reduce"> {
  let summary = "Sum, max, min or product over dims, which disappear";
  let description = [{
    Constraints: dims strictly increasing, within the rank; the result's shape
    is what remains, its element type the input's, or f32 for a sum of bf16; sums
    to f32 only where the mode is not `overwrite`.
  }];
  let arguments = (ins In<Exec_Dense>:$input, Out<Exec_Dense>:$result, Exec_ReduceKind:$kind,
                       DenseI64ArrayAttr:$dims, Exec_ModeArg:$mode);
  let assemblyFormat = [{
    $kind $input $dims `to` $result (`mode` $mode^)? attr-dict `:` type($input) `to` type($result)
  }];
  let hasVerifier = 1;
}

def Exec_TopKOp : Exec_Op<"top_k"> {
  let summary = "The k largest (or smallest) along the last dim, and where they were";
  let description = [{ Constraints: values and ids have the input's shape with k as last dim. }];
  let arguments = (ins In<Exec_Dense>:$input, Out<Exec_Dense>:$values, Out<Exec_DenseI64>:$ids,
                       UnitAttr:$smallest);
  let assemblyFormat = [{
    $input `to` $values `,` $ids attr-dict `:` type($input) `to` type($values) `,` type($ids)
  }];
  let hasVerifier = 1;
}

def Exec_CumsumOp : Exec_Op<"cumsum"> {
  let summary = "Running sum along one axis";
  let description = [{ Constraints: equal types; axis within the rank. }];
  let arguments = (ins In<Exec_Dense>:$input, Out<Exec_Dense>:$result, I64Attr:$axis,
                       UnitAttr:$exclusive, UnitAttr:$reverse);
  let assemblyFormat = "$input `axis` $axis `to` $result attr-dict `:` type($input) `to` type($result)";
  let hasVerifier = 1;
}

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

#endif // MOIRE_EXEC_OPS
