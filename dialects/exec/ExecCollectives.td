//===- ExecCollectives.td - Statements in which ranks meet ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_EXEC_COLLECTIVES
#define MOIRE_EXEC_COLLECTIVES

// Included by ExecOps.td, after its places and modes.

def Exec_DenseI32 : Exec_DenseOf<".isSignlessInteger(32)", "dense i32 memref">;

def Exec_AllReduceOp : Exec_Op<"all_reduce"> {
  let summary = "The sum over the group, on every member";
  let description = [{ As dist.all_reduce; the result may be the input's place.
    Constraints: equal types.  }];
  let arguments = (ins In<Exec_DenseFloat>:$input, StrArrayAttr:$axes, Out<Exec_DenseFloat>:$result);
  let assemblyFormat = "$input `over` $axes `to` $result attr-dict `:` type($input) `to` type($result)";
  let hasVerifier = 1;
}

/// Along dim `dim` of row-major tensors.
class Exec_AlongDim<string mnemonic, TypeConstraint type> : Exec_Op<mnemonic> {
  let arguments = (ins In<type>:$input, I64Attr:$dim, StrArrayAttr:$axes, Out<type>:$result);
  let assemblyFormat = [{
    $input `dim` $dim `over` $axes `to` $result attr-dict `:` type($input) `to` type($result)
  }];
  let hasVerifier = 1;
}

def Exec_ReduceScatterOp : Exec_AlongDim<"reduce_scatter", Exec_DenseFloat> {
  let summary = "The sum over the group, of which each member gets its piece of a dim";
  let description = [{ As dist.reduce_scatter. Constraints: equal shapes but for the dim, which
    is a multiple in the input; equal element types.  }];
}

def Exec_AllGatherOp : Exec_AlongDim<"all_gather", Exec_Dense> {
  let summary = "The members' pieces one after another along a dim, on every member";
  let description = [{ As dist.all_gather. Constraints: equal shapes but for the dim, which is a
    multiple in the result; equal element types.  }];
}

def Exec_SplitOp : Exec_AlongDim<"split", Exec_Dense> {
  let summary = "This member's piece of a dim";
  let description = [{ As dist.split. Constraints: equal shapes but for the dim, which is a
    multiple in the input; equal element types.  }];
}

def Exec_AxisIndexOp : Exec_Op<"axis_index"> {
  let summary = "This member's number in its group";
  let description = [{ As dist.axis_index. Constraints: the result has one element.  }];
  let arguments = (ins StrArrayAttr:$axes, Out<Exec_DenseI64>:$result);
  let assemblyFormat = "`over` $axes `to` $result attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Exec_ExchangeOp : Exec_Op<"exchange"> {
  let summary = "Tells the ranks that hold the experts how many rows will come";
  let description = [{
    As dist.exchange; of the local routing only the experts' offsets are written.
    Constraints: counts hold exchangeLength() elements of the runtime; experts
    are a multiple of the local ones.
  }];
  let arguments = (ins In<Exec_Routing>:$routing, StrArrayAttr:$axes, Out<Exec_Routing>:$local,
                       Out<Exec_DenseI32>:$counts);
  let assemblyFormat = [{
    $routing `over` $axes `to` $local `,` $counts attr-dict
    `:` type($routing) `to` type($local) `,` type($counts)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Elements of i32 that the counts of so many experts take.
    static int64_t elements(int64_t experts) { return 1 + 2 * experts; }
  }];
}

def Exec_AllToAllRowsOp : Exec_Op<"all_to_all_rows"> {
  let summary = "Sends rows to the ranks that hold their experts, or back";
  let description = [{
    As dist.all_to_all_rows; rows past the last one that arrives are not written.
    Constraints: rows and result of rank 2, equal width and element type.
  }];
  let arguments = (ins In<Exec_DenseFloat>:$rows, In<Exec_DenseI32>:$counts, StrArrayAttr:$axes,
                       Out<Exec_DenseFloat>:$result, UnitAttr:$back);
  let assemblyFormat = [{
    $rows `,` $counts `over` $axes (`back` $back^)? `to` $result attr-dict
    `:` type($rows) `,` type($counts) `to` type($result)
  }];
  let hasVerifier = 1;
}

#endif // MOIRE_EXEC_COLLECTIVES
