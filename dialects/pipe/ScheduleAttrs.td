//===- ScheduleAttrs.td - Costs of stages and links of the pipe dialect ---===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PIPE_SCHEDULE_ATTRS
#define MOIRE_PIPE_SCHEDULE_ATTRS

include "dialects/pipe/PipeDialect.td"

def Pipe_Cost : AttrDef<Pipe_Dialect, "Cost"> {
  let mnemonic = "cost";
  let summary = "Times and bytes of one stage for one micro-batch";
  let description = [{
    Times are in one unit throughout, seconds where a bandwidth is given.

    | key | what |
    |---|---|
    | `F` `B` `b` `W` | forward; whole backward; backward for the input alone, and for the weights alone |
    | `FB` `Fb` `FF` `BB` `bb` | two of these that overlap, of different micro-batches |
    | `F_collective` `B_collective` | the part of F, and of B and b, that a network spends |
    | `parameters` | bytes of parameters, gradients and optimizer state |
    | `activation` | bytes from the start of F to the end of B |
    | `weight_residual` | bytes of them that b leaves until W; all of them where it is not given |
    | `output` | bytes sent to the next stage, and of their cotangent |

    What is not given is 0, but for `F = 1, B = 2, b = 1, W = 1`. Whether the
    values can be costs is verified where the attribute is used.
    ```mlir
    #pipe.cost<F = 57.6, B = 125.9, b = 84.1, W = 41.7, FB = 139.0, output = 5.9e+07>
    ```
  }];
  let parameters = (ins "::moire::pipe::Cost":$value);
  let hasCustomAssemblyFormat = 1;
}

def Pipe_Link : AttrDef<Pipe_Dialect, "Link"> {
  let mnemonic = "link";
  let summary = "The connection from one rank to another";
  let description = [{
    A transfer takes latency + bytes / bandwidth. No latency is 0, no bandwidth
    is an infinite one.
    ```mlir
    #pipe.link<from 0 to 1 latency 0.009 bandwidth 5.0e+10>
    ```
  }];
  let parameters = (ins "::moire::pipe::DirectedLink":$value);
  let hasCustomAssemblyFormat = 1;
}
def Pipe_LinkArray : TypedArrayAttrBase<Pipe_Link, "array of #pipe.link">;

#endif // MOIRE_PIPE_SCHEDULE_ATTRS
