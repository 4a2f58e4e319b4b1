//===- ExecStages.td - What stages of a pipeline keep ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_EXEC_STAGES
#define MOIRE_EXEC_STAGES

// Included by ExecOps.td, after its types.

def Exec_KeptOp : Exec_Op<"kept", [Pure]> {
  let summary = "A range of a stage's slot";
  let description = [{
    A micro-batch has one slot in each stage, from the stage's forward to the end of its
    backward. What its functions keep there has a role and a number, as pass `cut-stages`
    gives them; functions of one stage that name the same mean the same bytes. Pass
    `pack-slots` gives the offset, in bytes from the slot's start.
    Constraints: role is pipe.input, pipe.output, pipe.input_cotangent,
    pipe.output_cotangent or pipe.residual; the offset is a multiple of 64.
    ```mlir
    %0 = exec.kept "pipe.residual" 3 at 4096 : memref<4x256xf32>
    ```
  }];
  let arguments = (ins StrAttr:$role, I64Attr:$number, OptionalAttr<I64Attr>:$offset);
  let results = (outs Exec_Dense:$result);
  let assemblyFormat = "$role $number (`at` $offset^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::mlir::MemRefType":$type, "::llvm::StringRef":$role, "int64_t":$number), [{
    build($_builder, $_state, type, $_builder.getStringAttr(role),
          $_builder.getI64IntegerAttr(number), ::mlir::IntegerAttr());
  }]>];
  let extraClassDeclaration = [{ int64_t getBytes(); }];
}

#endif // MOIRE_EXEC_STAGES
