//===- NNRows.cpp - Ops that treat each entry of the first dim alike -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NNRows.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;

int64_t nn::firstSize(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() ? type.getDimSize(0) : -1;
}

bool nn::treatsRowsAlike(Operation *op) {
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case([](nn::SliceOp slice) {
        return slice.getStarts()[0] == 0 && slice.getStrides()[0] == 1 &&
               slice.getLimits()[0] == firstSize(slice->getOperand(0));
      })
      .Case([](nn::ConcatOp concat) { return concat.getDim() != 0; })
      .Case([](nn::TransposeOp transpose) { return transpose.getPermutation()[0] == 0; })
      .Case([](nn::ReshapeOp reshape) {
        return firstSize(reshape->getOperand(0)) == firstSize(reshape->getResult(0));
      })
      .Case([](nn::ReduceOp reduce) { return !llvm::is_contained(reduce.getDims(), 0); })
      .Case<nn::SigmoidOp, nn::RMSNormOp, nn::LayerNormOp>([](Operation *) { return true; })
      .Default([](Operation *other) { return other->hasTrait<OpTrait::Elementwise>(); });
}
