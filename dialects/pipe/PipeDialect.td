//===- PipeDialect.td - What all ops of the pipe dialect share ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PIPE_DIALECT
#define MOIRE_PIPE_DIALECT

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"

def Pipe_Dialect : Dialect {
  let name = "pipe";
  let cppNamespace = "::moire::pipe";
  let summary = "Parameters, and when each part of a training step runs";
  let description = [{
    A parameter is a symbol with its place in the ONNX file; its value never
    enters the IR. Reading one is pure within a step, because parameters change
    only in the optimizer.

    A schedule says for each rank in which order it runs the forwards and the
    backwards of its stages, and in which order its messages move.
  }];
  let useDefaultAttributePrinterParser = 1;
  let extraClassDeclaration = "void addBalanceOps();";
}

class Pipe_Op<string mnemonic, list<Trait> traits = []> : Op<Pipe_Dialect, mnemonic, traits>;

#endif // MOIRE_PIPE_DIALECT
