//===- NNInterfaces.td - What every op of model mathematics can tell -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_NN_INTERFACES
#define MOIRE_NN_INTERFACES

include "mlir/IR/OpBase.td"

def DifferentiableOpInterface : OpInterface<"DifferentiableOpInterface"> {
  let cppNamespace = "::moire::nn";
  let description = [{
    An op that knows its reverse-mode derivative. Upstream ops get it by
    external models (lib/Transforms/UpstreamAdjoints.cpp).
  }];
  let methods = [
    InterfaceMethod<[{
        Builds, at the builder's insertion point, the cotangents of the
        operands. `cotangents` has one entry per result, null where the
        result's cotangent is zero (at least one is not null). `wanted` has one
        entry per operand. Returns one value per operand with the operand's
        type, null where it is zero or was not wanted.
      }],
      "::llvm::SmallVector<::mlir::Value>", "buildAdjoint",
      (ins "::mlir::OpBuilder &":$builder,
           "::llvm::ArrayRef<::mlir::Value>":$cotangents,
           "::llvm::ArrayRef<bool>":$wanted)>
  ];
}

def DecomposableOpInterface : OpInterface<"DecomposableOpInterface"> {
  let cppNamespace = "::moire::nn";
  let description = [{
    A composite op that can state its meaning in core ops. The decomposition is
    the plain formula, kept simple on purpose: it is the referee for the fast
    kernels, executed by the interpreter.
  }];
  let methods = [
    InterfaceMethod<[{
        Builds the plain formula at the builder's insertion point on the op's
        own operands and returns one value per result (null for a result that
        has no users and is not computed).
      }],
      "::llvm::SmallVector<::mlir::Value>", "decompose",
      (ins "::mlir::OpBuilder &":$builder)>
  ];
}

def CostOpInterface : OpInterface<"CostOpInterface"> {
  let cppNamespace = "::moire::nn";
  let description = [{ An op whose arithmetic is worth counting. }];
  let methods = [
    InterfaceMethod<"Floating-point operations, a multiply-add counted as two.",
      "int64_t", "flops", (ins)>
  ];
}

#endif // MOIRE_NN_INTERFACES
