//===- PipeBalanceOps.td - The router's bias ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PIPE_BALANCE_OPS
#define MOIRE_PIPE_BALANCE_OPS

include "dialects/pipe/PipeDialect.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Pipe_BalanceOp : Pipe_Op<"balance", [MemoryEffects<[MemRead, MemWrite]>, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Moves each entry of a parameter against what it accumulated, by a fixed rate";
  let description = [{
    parameter -= rate * sign(accumulated), and sign(0) = 0. A router's selection
    bias accumulates by how much its experts' loads exceed the mean, so that the
    bias of busy experts falls and that of idle ones rises (DeepSeek-AI,
    DeepSeek-V3, 2024). What it accumulates is no gradient: it takes no part in
    the norm that clips, and no learning rate scales it.
    ```mlir
    pipe.balance @gate.e_score_correction_bias rate 1.000000e-03
    ```
    Constraints: names a pipe.parameter that is not frozen; the rate is more than 0.
  }];
  let arguments = (ins FlatSymbolRefAttr:$parameter, F64Attr:$rate);
  let assemblyFormat = "$parameter `rate` $rate attr-dict";
}

#endif // MOIRE_PIPE_BALANCE_OPS
