//===- NNDialect.td - What all files of the nn dialect's ops share --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_NN_DIALECT
#define MOIRE_NN_DIALECT

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "dialects/nn/NNInterfaces.td"

def NN_Dialect : Dialect {
  let name = "nn";
  let cppNamespace = "::moire::nn";
  let summary = "Single-device model and training mathematics";
  let description = [{
    Value semantics on statically shaped tensors, no destination operands:
    buffers are assigned by the `program` phase, so an op that carried its
    `outs` would only drag a dead tensor.empty and a fill along. Elementwise
    mathematics is `arith` and `math` on tensors of equal shape; this dialect
    adds the data movement, contractions, normalizations, attention, loss and
    mixture-of-experts ops that upstream lacks.

    *Core* ops are executed directly by the interpreter; *composite* ops state
    their meaning through DecomposableOpInterface.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let extraClassDeclaration = "void addBalanceOps();";
  // What decompositions and adjoints are made of.
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

def NN_Float : AnyTypeOf<[F32, F64, F16, BF16]>;
def NN_Tensor : StaticShapeTensorOf<[AnyType]>;
def NN_FloatTensor : StaticShapeTensorOf<[NN_Float]>;
def NN_IndexTensor : StaticShapeTensorOf<[I64]>;
def NN_BoolOrFloatTensor : StaticShapeTensorOf<[I1, NN_Float]>;

//===----------------------------------------------------------------------===//
// Op classes
//===----------------------------------------------------------------------===//

class NN_Op<string mnemonic, list<Trait> traits = []>
    : Op<NN_Dialect, mnemonic, !listconcat(traits, [Pure])>;

defvar Infer = DeclareOpInterfaceMethods<InferTypeOpInterface>;
defvar Diff = DeclareOpInterfaceMethods<DifferentiableOpInterface>;
defvar Decompose = DeclareOpInterfaceMethods<DecomposableOpInterface>;
defvar Cost = DeclareOpInterfaceMethods<CostOpInterface>;

class NN_InferOp<string mnemonic, list<Trait> traits = []>
    : NN_Op<mnemonic, !listconcat(traits, [Infer])> {
  let extraClassDeclaration = [{
    // Result types are a function of the operands; a difference is an error.
    static bool isCompatibleReturnTypes(::mlir::TypeRange l, ::mlir::TypeRange r) {
      return l == r;
    }
  }];
}

/// Products and sums add up in f32, so of narrow operands (bf16, f16) they can
/// give that sum too.
class NN_WideningOp<string mnemonic, list<Trait> traits = []>
    : NN_Op<mnemonic, !listconcat(traits, [Infer])> {
  let extraClassDeclaration = [{
    static bool isCompatibleReturnTypes(::mlir::TypeRange inferred, ::mlir::TypeRange given) {
      return inferred == given ||
             (given.size() == 1 && given[0] == ::moire::nn::widened(inferred[0]));
    }
  }];
}

/// Normalizations compute in f32 and can round what they give to bf16.
class NN_NarrowingOp<string mnemonic, list<Trait> traits = []>
    : NN_Op<mnemonic, !listconcat(traits, [Infer])> {
  let extraClassDeclaration = [{
    static bool isCompatibleReturnTypes(::mlir::TypeRange inferred, ::mlir::TypeRange given) {
      return inferred == given ||
             (given.size() == 1 && ::moire::nn::isNarrowed(inferred[0], given[0]));
    }
  }];
}

#endif // MOIRE_NN_DIALECT
