//===- DistAsync.td - Collectives that run beside computation -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIST_ASYNC
#define MOIRE_DIST_ASYNC

// Included by DistOps.td, after its types.

def Dist_Future : TypeDef<Dist_Dialect, "Future"> {
  let mnemonic = "future";
  let summary = "A value that a collective under way will give";
  let description = [{
    `none` where the collective gives no value.
    ```mlir
    !dist.future<tensor<20x32xf32>>
    ```
  }];
  let parameters = (ins "::mlir::Type":$value);
  let assemblyFormat = "`<` $value `>`";
}

def Dist_AsyncOp : Dist_Op<"async", [SingleBlock, RecursiveMemoryEffects]> {
  let summary = "Starts a collective and goes on";
  let description = [{
    Puts the body at the end of this rank's queue. What is in the queue is done one
    after another, in the order of the starts, while the rank computes. Collectives
    outside of any async wait until the queue is empty. All members of a group must
    start the same collectives in the same order.
    ```mlir
    %f = dist.async {
      %0 = dist.all_reduce %x over ["tp"] : tensor<20x32xf32>
      dist.yield %0 : tensor<20x32xf32>
    } -> !dist.future<tensor<20x32xf32>>
    ```
    Constraints:
    * the body holds collectives, at least one, and a dist.yield;
    * one future for each value yielded; a single `!dist.future<none>` where there is none;
    * its futures are read once, by one dist.wait.
  }];
  let regions = (region SizedRegion<1>:$body);
  let results = (outs Variadic<Dist_Future>:$futures);
  let assemblyFormat = "$body attr-dict `->` type($futures)";
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    /// What the body yields, a value for each future that is not of `none`.
    ::mlir::OperandRange getYielded() { return getBody().front().back().getOperands(); }
    /// The op that waits for the futures; null where nobody does.
    ::mlir::Operation *getWait();
  }];
}

def Dist_WaitOp : Dist_Op<"wait"> {
  let summary = "The values of an async, once it is done";
  let description = [{
    ```mlir
    %sum = dist.wait %f : !dist.future<tensor<20x32xf32>> -> tensor<20x32xf32>
    ```
    Constraints: operands are all futures of one dist.async, in their order; a result
    for each that is not of `none`.
  }];
  let arguments = (ins Variadic<Dist_Future>:$futures);
  let results = (outs Variadic<AnyType>:$values);
  let assemblyFormat = "$futures attr-dict `:` type($futures) (`->` type($values)^)?";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The op that made the futures.
    AsyncOp getAsync();
  }];
}

def Dist_YieldOp : Dist_Op<"yield", [Pure, Terminator, HasParent<"AsyncOp">]> {
  let summary = "Ends the body of an async with its values";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

#endif // MOIRE_DIST_ASYNC
