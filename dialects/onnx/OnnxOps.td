//===- OnnxOps.td - The onnx dialect: a mirror of the file ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_ONNX_OPS
#define MOIRE_ONNX_OPS

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Onnx_Dialect : Dialect {
  let name = "onnx";
  let cppNamespace = "::moire::onnx";
  let summary = "A faithful mirror of an ONNX file";
  let description = [{
    One op for every node whatever its op type, because the dialect lives only
    from the `import` to the `model` phase: that one walk gives each op type its
    meaning, and reports together all that it has none for. Weights are named by
    their place in a file and never enter the IR.

    A graph is a `func.func @main`. Attributes of the module:
    `onnx.ir_version`; `onnx.opsets`, a dictionary from domain ("ai.onnx" for
    the default one) to version; `onnx.producer`; `onnx.graph_signature`, of
    PyTorch's exported program in its order, [placeholder, kind, tensor's name],
    where a buffer that PyTorch does not save is an UNSAVED_BUFFER;
    `moire.model_path`, `moire.model_checksum` (i64, see
    runtime/include/moire/rt/checksum.h) and `moire.files`, one {path, bytes,
    checksum} for each file that weights lie in, paths relative to the model's
    folder. Arguments and results have `onnx.name` and, where a dimension is
    symbolic, `onnx.dims`: a string per dimension, empty where it is a number.
    The types of values inside the graph are what the file says of them; they
    are hints, and may be missing.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

def Onnx_Opaque : TypeDef<Onnx_Dialect, "Opaque"> {
  let mnemonic = "opaque";
  let summary = "A type of the file that the compiler has no counterpart for";
  let description = [{
    Strings, sequences, maps, optionals, element types without arithmetic here;
    "?" where the file does not tell the type.
    ```mlir
    !onnx.opaque<"sequence(tensor(float))">
    ```
  }];
  let parameters = (ins StringRefParameter<"the format's spelling">:$text);
  let assemblyFormat = "`<` $text `>`";
}

def Onnx_External : AttrDef<Onnx_Dialect, "External"> {
  let mnemonic = "external";
  let summary = "Where a tensor's bytes lie";
  let description = [{
    `file` is relative to the model's folder (the model's own name where it
    holds the bytes itself) and empty where the bytes are not at hand. The bytes
    are row-major and little-endian.
    Constraints: `offset` and `length` are not negative; `file` is not absolute
    and does not climb out of the folder with "..".
    ```mlir
    #onnx.external<"model.onnx.data", 4096, 12288>
    ```
  }];
  let parameters = (ins "::mlir::StringAttr":$file, "int64_t":$offset, "int64_t":$length);
  let assemblyFormat = "`<` $file `,` $offset `,` $length `>`";
  let genVerifyDecl = 1;
}

class Onnx_Op<string mnemonic, list<Trait> traits = []> : Op<Onnx_Dialect, mnemonic, traits>;

def Onnx_NodeOp : Onnx_Op<"node"> {
  let summary = "A node of the graph";
  let description = [{
    `domain` is absent for ai.onnx. `opset` is present where the node counts on
    another version of its domain than the module says (it came from a
    function). ONNX attributes are in `onnx_attributes`: int i64, float f32, string
    a string, ints and floats dense arrays, strings an array, tensor dense
    elements or `#onnx.external`, graphs regions named by `graph_names`. An
    optional input that is not given is `onnx.absent`.

    Hints, where the exporter left them: `module` (path of the PyTorch module),
    `module_class`, `fx_node` (the ATen call behind the node, with the names of
    its arguments), `source_line` (the Python line that made it).

    Constraints:
    * `op_type` is not empty;
    * `domain` is not "" nor "ai.onnx";
    * one region per graph name;
    * every region ends in onnx.yield.
    ```mlir
    %y = onnx.node "Gemm"(%x, %w, %b) with {transB = 1 : i64} {module = "classifier"}
           : (tensor<2x32xf32>, tensor<5x32xf32>, tensor<5xf32>) -> tensor<2x5xf32>
    ```
  }];
  let arguments = (ins StrAttr:$op_type, Variadic<AnyType>:$inputs, OptionalAttr<StrAttr>:$domain,
                       OptionalAttr<I64Attr>:$opset, OptionalAttr<DictionaryAttr>:$onnx_attributes,
                       OptionalAttr<StrArrayAttr>:$graph_names, OptionalAttr<StrAttr>:$module,
                       OptionalAttr<StrAttr>:$module_class, OptionalAttr<StrAttr>:$fx_node,
                       OptionalAttr<StrAttr>:$source_line);
  let results = (outs Variadic<AnyType>:$outputs);
  let regions = (region VariadicRegion<SizedRegion<1>>:$graphs);
  let assemblyFormat = [{
    $op_type `(` $inputs `)` (`domain` $domain^)? (`opset` $opset^)? (`with` $onnx_attributes^)?
    (`graphs` $graph_names^ $graphs)? attr-dict `:` functional-type($inputs, $outputs)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The ONNX attribute of that name and kind, or null.
    template <typename T = ::mlir::Attribute> T getAttribute(::llvm::StringRef name) {
      ::mlir::DictionaryAttr dict = getOnnxAttributesAttr();
      return dict ? dict.getAs<T>(name) : T();
    }
    int64_t getInt(::llvm::StringRef name, int64_t otherwise);
    double getFloat(::llvm::StringRef name, double otherwise);
    ::llvm::StringRef getString(::llvm::StringRef name, ::llvm::StringRef otherwise);
    /// The list of ints, or nothing where the node does not have it.
    ::std::optional<::llvm::ArrayRef<int64_t>> getInts(::llvm::StringRef name);
    /// "ai.onnx" where the node has no domain.
    ::llvm::StringRef getDomainName();
    /// The version of the node's domain; 0 where the module does not tell.
    int64_t getOpsetVersion();
    /// Operand i, or null where it is absent or not given.
    ::mlir::Value getInput(unsigned i);
    /// "Gemm", or "com.microsoft::MoE" outside ai.onnx.
    ::std::string getQualifiedOpType();
  }];
}

def Onnx_InitializerOp : Onnx_Op<"initializer", [Pure]> {
  let summary = "A constant or a weight of the file";
  let description = [{
    `value` is there for small tensors and all integer ones, `external` where
    the file holds the bytes in one piece: a small weight has both, so that it
    can be folded as a constant and trained from its place. `from_node` marks
    what a Constant node of the graph holds. `kind`,
    `folded_from` and `original` are what PyTorch's exporter says of it.
    Constraints:
    * at least one of `value` and `external`;
    * `value` has the result's type;
    * `external` spans the tensor's size.
    ```mlir
    %w = onnx.initializer "val_101" at <"model.onnx", 812, 4096> : tensor<32x32xf32>
    %c = onnx.initializer "val_7" {value = dense<1> : tensor<i64>} : tensor<i64>
    ```
  }];
  let arguments = (ins StrAttr:$name, OptionalAttr<Onnx_External>:$external,
                       OptionalAttr<ElementsAttr>:$value, UnitAttr:$from_node,
                       OptionalAttr<StrAttr>:$kind,
                       OptionalAttr<StrArrayAttr>:$folded_from, OptionalAttr<StrAttr>:$original);
  let results = (outs StaticShapeTensorOf<[AnyType]>:$result);
  let assemblyFormat = "$name (`at` $external^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Onnx_AbsentOp : Onnx_Op<"absent", [Pure]> {
  let summary = "An optional input that is not given";
  let results = (outs NoneType:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Onnx_YieldOp : Onnx_Op<"yield", [Pure, Terminator, ParentOneOf<["NodeOp"]>]> {
  let summary = "The outputs of a subgraph";
  let description = [{ Constraints: inside a region of onnx.node. }];
  let arguments = (ins Variadic<AnyType>:$outputs);
  let assemblyFormat = "($outputs^ `:` type($outputs))? attr-dict";
}

#endif // MOIRE_ONNX_OPS
