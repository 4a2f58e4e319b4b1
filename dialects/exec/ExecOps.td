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
  
    Rows of experts that move in parts (pass `split-parts`): `exec.in_parts = N` of an
    all_to_all_rows says in how many, `exec.part = array<i64: I, N, E>` of an all_to_all_rows,
    grouped_gemm, per_expert or launch that it is about the rows of part I of exchange E alone,
    those of the local experts [I, I + 1) * experts / N.

    `exec.training` (pass `mark-training`) marks what the loss does not need;
    `exec.groups = ["head"]` (pass `mark-groups`) what only the gradients of these groups of
    parameters need.
  }];
  let dependentDialects = ["::moire::nn::NNDialect"];
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
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
  let description = [{ Constraints: names a pipe.parameter; shape is that of what a rank keeps. }];
}
def Exec_GradOp : Exec_ParameterPlace<"grad", "The gradient of a parameter"> {
  let description = [{
    Constraints: names a pipe.parameter that is not frozen; shape is that of the
    gradient that a rank keeps.
  }];
}

def Exec_ShadowOp : Exec_Op<"shadow", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "A parameter rounded to bf16";
  let description = [{
    Lies in a block of the runtime's and is made once a step, by @prepare.
    Constraints: names a pipe.parameter; shape is that of what a rank keeps.
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
    With `rows` the first dim is made of the routing's rows, and only those that
    the routing fills are computed: its experts' last offset says how many.
    Constraints: all operands have one shape, of rank at most 6; element types
    are the kernel's; coordinates lie within the rank; with rows, the first size is
    a multiple of the routing's rows.
    ```mlir
    exec.launch @kernel0 ins(%0, %1 : memref<512x1024xf32>, memref<512x1024xf32, affine_map<(d0, d1) -> (d1)>>)
      outs(%2 : memref<512x1024xf32>)
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, In<Variadic<Exec_Place>>:$inputs,
                       OptionalIn<Exec_Routing>:$rows, Out<Variadic<Exec_Place>>:$outputs,
                       DefaultValuedAttr<DenseI64ArrayAttr, "{}">:$index);
  let assemblyFormat = [{
    $kernel (`ins` `(` $inputs^ `:` type($inputs) `)`)? (`index` $index^)?
    (`rows` `(` $rows^ `:` type($rows) `)`)? `outs` `(` $outputs `:` type($outputs) `)` attr-dict
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

def Exec_GemmOp : Exec_Op<"gemm", [AttrSizedOperandSegments]> {
  let summary = "Matrix product C = A B (+ bias), or added to C";
  let description = [{
    A [M, K], B [K, N], C [M, N], or all three with one batch dim in front;
    transposition is a view: the strides tell. bias [N]. Sums are f32, and are
    stored so or, where A and B are bf16, rounded.

    With `residual` [M, N], which may be the result's place, C = A B (+ bias) +
    residual. With `gelu`, C = gelu(A B (+ bias)) by the tanh form of GELU, of
    sums that may be rounded first; `aux` [M, N] gets the sums, which the backward
    reads.
    Constraints: matching shapes of rank 2 or 3; A and B have a unit stride in
    one of the last two dims, C in the last; equal element
    types of A and B, and of C unless it is f32; a bias needs mode `overwrite`,
    another mode an f32 result. With residual or gelu, not both: rank 2, a dense
    result, mode `overwrite`; a residual has an f32 result's type, aux is there with
    gelu only and has the result's type.
    ```mlir
    exec.gemm %a, %b bias %c to %d : memref<20x32xf32>, memref<32x96xf32>, memref<96xf32> to memref<20x96xf32>
    exec.gemm %a, %b bias %c gelu to %d aux %e : memref<20x32xf32>, memref<32x96xf32>, memref<96xf32>
      to memref<20x96xf32> aux memref<20x96xf32>
    ```
  }];
  let arguments = (ins In<Exec_Float>:$lhs, In<Exec_Float>:$rhs, OptionalIn<Exec_DenseF32>:$bias,
                       OptionalIn<Exec_DenseF32>:$residual, OptionalOut<Exec_DenseFloat>:$aux,
                       Out<Exec_Float>:$result, UnitAttr:$gelu, Exec_ModeArg:$mode);
  let assemblyFormat = [{
    $lhs `,` $rhs (`bias` $bias^)? (`residual` $residual^)? (`gelu` $gelu^)? `to` $result
    (`aux` $aux^)? (`mode` $mode^)? attr-dict
    `:` type($lhs) `,` type($rhs) (`,` type($bias)^)? (`residual` type($residual)^)?
    `to` type($result) (`aux` type($aux)^)?
  }];
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::mlir::Value":$lhs, "::mlir::Value":$rhs, "::mlir::Value":$bias,
                                 "::mlir::Value":$result, "::moire::exec::Mode":$mode),
                            [{ build($_builder, $_state, lhs, rhs, bias, ::mlir::Value(),
                                     ::mlir::Value(), result, false, mode); }]>];
  let extraClassDeclaration = [{
    /// Whether more than a bias is done with the sums.
    bool hasEpilogue() { return getGelu() || getResidual(); }
  }];
}

def Exec_GroupedGemmOp : Exec_Op<"grouped_gemm", [AttrSizedOperandSegments]> {
  let summary = "Each row times its expert's matrix";
  let description = [{
    rows [R, K], weight [E, K, N] or, with `transpose_weight`, [E, N, K] ->
    [R, N]. Experts without rows cost nothing. With `gather_rows` rows is [T, K], a
    row of each token, and row r is its token's.

    `bias` [E, N] is added to the rows of each expert. The place after `swiglu`
    [R, N/2] gets silu(gate) * up, where gate and up are the first and the last N/2
    columns of the result; a product has a bias or a swiglu.
    Constraints: R, T and E are the routing's; matching K and N; equal element types
    of rows and weight, and of the result unless it is f32; after swiglu the
    result's element type.
    ```mlir
    exec.grouped_gemm %x, %w, %r to %y swiglu %h {transpose_weight} : memref<40x32xf32>, memref<8x96x32xf32>,
      !nn.routing<tokens = 20, k = 2, experts = 8> to memref<40x96xf32> swiglu memref<40x48xf32>
    ```
  }];
  let arguments = (ins In<Exec_DenseFloat>:$rows, In<Exec_DenseFloat>:$weight, In<Exec_Routing>:$routing,
                       OptionalIn<Exec_DenseF32>:$bias, Out<Exec_DenseFloat>:$result,
                       OptionalOut<Exec_DenseFloat>:$gated,
                       UnitAttr:$transpose_weight, UnitAttr:$gather_rows);
  let assemblyFormat = [{
    $rows `,` $weight `,` $routing (`bias` $bias^)? `to` $result (`swiglu` $gated^)? attr-dict
    `:` type($rows) `,` type($weight) `,` type($routing) (`bias` type($bias)^)?
    `to` type($result) (`swiglu` type($gated)^)?
  }];
  let hasVerifier = 1;
}

def Exec_GroupedGemmGradWeightOp : Exec_Op<"grouped_gemm_grad_weight"> {
  let summary = "Per expert: (its rows of lhs)^T times (its rows of rhs)";
  let description = [{
    lhs [R, K], rhs [R, N] -> [E, K, N]. With `gather_lhs` lhs is [T, K], a row of
    each token, as in `exec.grouped_gemm`; `gather_rhs` likewise.
    Constraints: R, T and E are the routing's; matching K and N; not both gathered;
    equal element types of lhs and rhs.
  }];
  let arguments = (ins In<Exec_DenseFloat>:$lhs, In<Exec_DenseFloat>:$rhs, In<Exec_Routing>:$routing,
                       Out<Exec_DenseF32>:$result, Exec_ModeArg:$mode, UnitAttr:$gather_lhs,
                       UnitAttr:$gather_rhs);
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

include "dialects/exec/ExecLayers.td"
include "dialects/exec/ExecCollectives.td"
include "dialects/exec/ExecAsync.td"
include "dialects/exec/ExecStages.td"

#endif // MOIRE_EXEC_OPS
