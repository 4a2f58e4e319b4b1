//===- ExecAsync.td - Statements that run beside others -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_EXEC_ASYNC
#define MOIRE_EXEC_ASYNC

// Included by ExecOps.td, after its places and modes.

def Exec_AsyncOp : Exec_Op<"async", [SingleBlock, NoTerminator, NoRegionArguments]> {
  let summary = "Starts collectives and goes on";
  let description = [{
    As dist.async: the body is put at the end of the rank's queue. What the body
    reads and writes belongs to it until the exec.wait of the same number: a
    buffer lives until there, and no statement in between writes what the body
    reads or touches what it writes (pass `verify-arena`).
    ```mlir
    exec.async 3 {
      exec.all_reduce %x over ["tp"] to %y : memref<20x32xf32> to memref<20x32xf32>
    }
    exec.wait 3
    ```
    Constraints: the body holds collectives of exec, at least one.
  }];
  let arguments = (ins I64Attr:$number);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$number $body attr-dict";
  let hasRegionVerifier = 1;
}

def Exec_WaitOp : Exec_Op<"wait"> {
  let summary = "Goes on when the exec.async of this number is done";
  let description = [{ Then all that were started before it are done too. }];
  let arguments = (ins I64Attr:$number);
  let assemblyFormat = "$number attr-dict";
}

def Exec_StartReduceOp : Exec_Op<"start_reduce"> {
  let summary = "Starts the sum of a bucket's gradients in a step's last micro-batch";
  let description = [{
    As pipe.start_reduce; `bucket` counts the ops of @reduce_gradients. Nothing writes
    these gradients afterwards (pass `verify-arena`).
    ```mlir
    exec.start_reduce 0 [@wte, @wpe]
    ```
  }];
  let arguments = (ins I64Attr:$bucket, FlatSymbolRefArrayAttr:$parameters);
  let assemblyFormat = "$bucket $parameters attr-dict";
}

def Exec_PublishOp : Exec_Op<"publish"> {
  let summary = "Lets what a task sends to the stage beside it leave before the function ends";
  let description = [{
    As pipe.publish, of the places that messages are taken from. Nothing writes there
    afterwards (pass `verify-arena`).
    ```mlir
    %0 = exec.kept "pipe.output" 0 : memref<1x64x32xf32>
    exec.publish %0 : memref<1x64x32xf32>
    ```
  }];
  let arguments = (ins Arg<Variadic<Exec_Dense>, "", [MemRead]>:$outputs);
  let assemblyFormat = "$outputs attr-dict `:` type($outputs)";
}

#endif // MOIRE_EXEC_ASYNC
