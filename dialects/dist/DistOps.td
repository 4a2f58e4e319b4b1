//===- DistOps.td - The dist dialect: who holds what, and how it moves ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIST_OPS
#define MOIRE_DIST_OPS

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/CommonAttrConstraints.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Dist_Dialect : Dialect {
  let name = "dist";
  let cppNamespace = "::moire::dist";
  let summary = "Who holds what, and how it moves";
  let description = [{
    All ranks run the same program on shards of equal shape. A collective takes
    place among the ranks that differ only in the axes that it names, its
    *group*; every rank of a group executes the same collectives in the same
    order. Members of a group are numbered in the order of their ranks.

    The module's attribute `dist.mesh` holds the mesh. A module without it is
    the program of one rank.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
}

class Dist_Op<string mnemonic, list<Trait> traits = []> : Op<Dist_Dialect, mnemonic, traits>;

//===----------------------------------------------------------------------===//
// Attributes and types
//===----------------------------------------------------------------------===//

def Dist_Mesh : AttrDef<Dist_Dialect, "Mesh"> {
  let mnemonic = "mesh";
  let summary = "The ranks, as a grid with named axes";
  let description = [{
    The last axis varies fastest from rank to rank.
    Constraints: axes are among pp, dp, ep, tp, in this order, each of size 1 or more.
    ```mlir
    #dist.mesh<dp = 2, ep = 4>
    ```
  }];
  let parameters = (ins ArrayRefParameter<"::mlir::StringAttr">:$axes,
                        ArrayRefParameter<"int64_t">:$sizes);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Ranks of the whole mesh.
    int64_t getRanks() const;
    /// The size of an axis; 1 where the mesh has none of this name.
    int64_t getSize(::llvm::StringRef axis) const;
    /// The product of the axes' sizes: ranks of one group.
    int64_t getSize(::mlir::ArrayAttr axes) const;
    /// The coordinate of `rank` on the axis; 0 where the mesh has none of this name.
    int64_t getCoordinate(int64_t rank, ::llvm::StringRef axis) const;
    /// The group of `rank` over these axes, ascending.
    ::llvm::SmallVector<int64_t> getGroup(int64_t rank, ::mlir::ArrayAttr axes) const;
  }];
}

def Dist_Sharding : AttrDef<Dist_Dialect, "Sharding"> {
  let mnemonic = "sharding";
  let summary = "Which axes split which dim of a tensor";
  let description = [{
    One list of axes per dim; the dim is cut into as many equal pieces as the
    axes have ranks together, the first axis outermost. Where `blocks` gives
    sizes for a dim, it is made of blocks of these sizes (query, key and value
    of one fused weight), each of them is cut by itself, and a rank holds its
    pieces of all blocks one after another. What no axis splits is replicated.
    `unreduced` names axes over whose ranks the tensor still has to be summed.
    ```mlir
    #dist.sharding<[["ep"], ["tp"], []] blocks [[], [48, 48], []]>
    ```
    Constraints: an axis appears once; blocks add up to their dim, and pieces are whole.
  }];
  let parameters = (ins ArrayRefParameter<"::mlir::ArrayAttr">:$dims,
                        ArrayRefParameter<"::mlir::DenseI64ArrayAttr">:$blocks,
                        ArrayRefParameter<"::mlir::StringAttr">:$unreduced);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    bool isSplit(unsigned dim) const { return !getDims()[dim].empty(); }
    bool isReplicated() const;
    /// The axis is among those that split a dim.
    bool isSplitBy(::llvm::StringRef axis) const;
    /// The blocks of a dim of this size: at least one.
    ::llvm::SmallVector<int64_t> getBlocksOf(unsigned dim, int64_t size) const;
    /// The shard's type; fails where the sharding does not fit the type under the mesh.
    ::mlir::FailureOr<::mlir::RankedTensorType>
    getLocalType(::mlir::RankedTensorType type, MeshAttr mesh,
                 ::llvm::function_ref<::mlir::InFlightDiagnostic()> emitError) const;
    /// Index ranges [begin, end) of a dim of `size` that `rank` holds, ascending.
    ::llvm::SmallVector<std::pair<int64_t, int64_t>>
    getRanges(unsigned dim, int64_t size, MeshAttr mesh, int64_t rank) const;
    /// Nobody splits anything.
    static ShardingAttr replicated(::mlir::MLIRContext *context, int64_t rank);
    /// One dim split by one axis.
    static ShardingAttr split(::mlir::MLIRContext *context, int64_t rank, unsigned dim,
                              ::llvm::StringRef axis, ::llvm::ArrayRef<int64_t> blocks = {});
  }];
}

def Dist_Exchange : TypeDef<Dist_Dialect, "Exchange"> {
  let mnemonic = "exchange";
  let summary = "How many rows each rank of a group sends to each other";
  let description = [{
    `sent` rows of this rank, sorted by expert, go to the ranks that hold the
    experts; at most `received` rows come.
    ```mlir
    !dist.exchange<["ep"], sent = 40, received = 80>
    ```
  }];
  let parameters = (ins "::mlir::ArrayAttr":$axes, "int64_t":$sent, "int64_t":$received);
  let assemblyFormat = "`<` $axes `,` `sent` `=` $sent `,` `received` `=` $received `>`";
}

// Of the nn dialect; its ops' definitions are not for this file to generate.
def Dist_Routing : Type<CPred<"::llvm::isa<::moire::nn::RoutingType>($_self)">, "routing",
                        "::moire::nn::RoutingType">;
def Dist_Tensor : StaticShapeTensorOf<[AnyType]>;
def Dist_FloatTensor : StaticShapeTensorOf<[F32, F64, F16, BF16]>;
def Dist_ReduceTensor : StaticShapeTensorOf<[F32, F64, BF16]>;


//===----------------------------------------------------------------------===//
// Collectives of static size
//===----------------------------------------------------------------------===//

def Dist_AllReduceOp : Dist_Op<"all_reduce", [Pure, SameOperandsAndResultType]> {
  let summary = "The sum over the group, on every member";
  let description = [{
    Members are added in ascending order.
    ```mlir
    %sum = dist.all_reduce %x over ["tp"] : tensor<20x32xf32>
    ```
    Constraints: axes of the mesh, each once.
  }];
  let arguments = (ins Dist_ReduceTensor:$input, StrArrayAttr:$axes);
  let results = (outs Dist_ReduceTensor:$result);
  let assemblyFormat = "$input `over` $axes attr-dict `:` type($input)";
  let hasVerifier = 1;
}

def Dist_ReduceScatterOp : Dist_Op<"reduce_scatter", [Pure]> {
  let summary = "The sum over the group, of which each member gets its piece of a dim";
  let description = [{
    Constraints: the dim is a multiple of the group's ranks; result: dim / ranks.
    ```mlir
    %mine = dist.reduce_scatter %x dim 0 over ["tp"] : tensor<20x32xf32> -> tensor<10x32xf32>
    ```
  }];
  let arguments = (ins Dist_ReduceTensor:$input, I64Attr:$dim, StrArrayAttr:$axes);
  let results = (outs Dist_ReduceTensor:$result);
  let assemblyFormat = "$input `dim` $dim `over` $axes attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Dist_AllGatherOp : Dist_Op<"all_gather", [Pure]> {
  let summary = "The members' pieces one after another along a dim, on every member";
  let description = [{
    Constraints: result: dim * ranks of the group.
    ```mlir
    %all = dist.all_gather %x dim 1 over ["tp"] : tensor<20x16xf32> -> tensor<20x32xf32>
    ```
  }];
  let arguments = (ins Dist_Tensor:$input, I64Attr:$dim, StrArrayAttr:$axes);
  let results = (outs Dist_Tensor:$result);
  let assemblyFormat = "$input `dim` $dim `over` $axes attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Dist_SplitOp : Dist_Op<"split", [Pure]> {
  let summary = "This member's piece of a tensor that all members hold";
  let description = [{
    Moves nothing. Constraints: the dim is a multiple of the group's ranks.
    ```mlir
    %mine = dist.split %x dim 1 over ["tp"] : tensor<20x32xf32> -> tensor<20x16xf32>
    ```
  }];
  let arguments = (ins Dist_Tensor:$input, I64Attr:$dim, StrArrayAttr:$axes);
  let results = (outs Dist_Tensor:$result);
  let assemblyFormat = "$input `dim` $dim `over` $axes attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Dist_AxisIndexOp : Dist_Op<"axis_index", [Pure]> {
  let summary = "This member's number in its group";
  let description = [{
    0 on the first member.
    ```mlir
    %i = dist.axis_index over ["tp"] : tensor<i64>
    ```
  }];
  let arguments = (ins StrArrayAttr:$axes);
  let results = (outs 0DTensorOf<[I64]>:$result);
  let assemblyFormat = "`over` $axes attr-dict `:` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Rows of experts
//===----------------------------------------------------------------------===//

def Dist_ExchangeOp : Dist_Op<"exchange", [Pure]> {
  let summary = "Tells the ranks that hold the experts how many rows will come";
  let description = [{
    The group's members hold equal, consecutive ranges of the routing's experts.
    `local` is the routing of the rows that come here, among this rank's experts
    alone; rows of one expert are ordered by the rank that they come from. It
    has room for as many rows as can come; those past the last expert's hold
    anything. It cannot be given to nn.dispatch or nn.combine: its rows belong
    to tokens of other ranks.
    Constraints: local experts = experts / ranks; local k = 1; local tokens =
    received = ranks * tokens * min(k, local experts), or fewer: slots of a stated
    size, in which rows may find no room; sent = tokens * k.
    ```mlir
    %local, %x = dist.exchange %routing over ["ep"]
      : <tokens = 20, k = 2, experts = 8> -> <tokens = 160, k = 1, experts = 2>,
        <["ep"], sent = 40, received = 160>
    ```
  }];
  let arguments = (ins Dist_Routing:$routing, StrArrayAttr:$axes);
  let results = (outs Dist_Routing:$local, Dist_Exchange:$exchange);
  let assemblyFormat = "$routing `over` $axes attr-dict `:` type($routing) `->` type($local) `,` type($exchange)";
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::mlir::Value":$routing, "::mlir::ArrayAttr":$axes, "int64_t":$ranks)>];
}

def Dist_AllToAllRowsOp : Dist_Op<"all_to_all_rows", [Pure]> {
  let summary = "Sends rows to the ranks that hold their experts, or back";
  let description = [{
    Forward: [sent, H] sorted by expert -> [received, H] as `local` of the
    exchange orders them. `back`: the inverse. With `parts` more than 1 the rows go in so
    many messages, each of which holds those of consecutive local experts, equally many: what
    an expert computes can begin before all rows are there, and its rows go back before all
    experts have computed (pass `split-exchanges`). The values are the same.
    Constraints: rows as the exchange says; parts at least 1.
    ```mlir
    %come = dist.all_to_all_rows %rows, %x : tensor<40x32xf32>, <["ep"], sent = 40, received = 160> -> tensor<160x32xf32>
    %home = dist.all_to_all_rows %done, %x back : tensor<160x32xf32>, <["ep"], sent = 40, received = 160> -> tensor<40x32xf32>
    ```
  }];
  let arguments = (ins Dist_FloatTensor:$rows, Dist_Exchange:$exchange, UnitAttr:$back,
                       DefaultValuedAttr<I64Attr, "1">:$parts);
  let results = (outs Dist_FloatTensor:$result);
  let assemblyFormat = "$rows `,` $exchange (`back` $back^)? (`parts` $parts^)? attr-dict `:` type($rows) `,` type($exchange) `->` type($result)";
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::mlir::Value":$rows, "::mlir::Value":$exchange, "bool":$back)>];
}

include "dialects/dist/DistAsync.td"

#endif // MOIRE_DIST_OPS
