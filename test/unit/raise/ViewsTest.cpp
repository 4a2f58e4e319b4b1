//===- ViewsTest.cpp - Random data movement, before and after ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Harness.h"
#include "mlir/Transforms/Passes.h"
#include <random>

using namespace mlir;
using namespace moire;
using namespace moire::raise;

namespace {
struct Movement : Harness {
  std::mt19937 rng{7};
  int64_t pick(int64_t lo, int64_t hi) {
    return std::uniform_int_distribution<int64_t>(lo, hi)(rng);
  }
  static ArrayRef<int64_t> shape(Value v) {
    return cast<RankedTensorType>(v.getType()).getShape();
  }

  /// A random factorization of n into one to four sizes.
  SmallVector<int64_t> factors(int64_t n) {
    SmallVector<int64_t> out;
    while (out.size() < 3 && n > 1) {
      SmallVector<int64_t> divisors;
      for (int64_t d = 1; d <= n; ++d)
        if (n % d == 0)
          divisors.push_back(d);
      out.push_back(divisors[pick(0, divisors.size() - 1)]);
      n /= out.back();
    }
    out.push_back(n);
    return out;
  }

  Value step(OpBuilder &b, Value v) {
    Location loc = b.getUnknownLoc();
    auto s = shape(v);
    int64_t rank = s.size(), n = ShapedType::getNumElements(s);
    switch (pick(0, 6)) {
    case 0: {
      auto type = RankedTensorType::get(factors(n), b.getF32Type());
      return b.create<nn::ReshapeOp>(loc, type, v);
    }
    case 1: {
      auto permutation = llvm::to_vector(llvm::seq<int64_t>(0, rank));
      std::shuffle(permutation.begin(), permutation.end(), rng);
      return b.create<nn::TransposeOp>(loc, v, permutation);
    }
    case 2: { // a new dim somewhere
      if (n > 150 || rank > 4)
        return v;
      int64_t at = pick(0, rank);
      SmallVector<int64_t> dims, to(s.begin(), s.end());
      for (int64_t d = 0; d < rank; ++d)
        dims.push_back(d + (d >= at));
      to.insert(to.begin() + at, pick(1, 3));
      return b.create<nn::BroadcastOp>(loc, RankedTensorType::get(to, b.getF32Type()), v, dims);
    }
    case 3: {
      SmallVector<int64_t> starts, limits, strides;
      for (int64_t size : s) {
        starts.push_back(pick(0, 2) ? 0 : pick(0, size - 1));
        limits.push_back(pick(0, 2) ? size : pick(starts.back() + 1, size));
        strides.push_back(pick(0, 3) ? 1 : 2);
      }
      return b.create<nn::SliceOp>(loc, v, starts, limits, strides);
    }
    case 4: { // rows start, start + step, ...
      if (rank == 0)
        return v;
      int64_t count = pick(1, 3), stride = pick(0, 2);
      if ((count - 1) * stride >= s[0])
        return v;
      SmallVector<int64_t> rows;
      for (int64_t i = 0; i < count; ++i)
        rows.push_back(i * stride);
      Value at = b.create<arith::ConstantOp>(
          loc, DenseIntElementsAttr::get(RankedTensorType::get({count}, b.getI64Type()), rows));
      return b.create<nn::GatherOp>(loc, v, at);
    }
    case 5: { // one input of a concat
      if (rank == 0 || n > 150)
        return v;
      int64_t dim = pick(0, rank - 1), input = pick(0, 1);
      Value both[] = {v, v};
      both[1 - input] = b.create<arith::NegFOp>(loc, v);
      Value c = b.create<nn::ConcatOp>(loc, both, dim);
      SmallVector<int64_t> starts(rank, 0), limits(shape(c)), strides(rank, 1);
      starts[dim] = input * s[dim];
      limits[dim] = (input + 1) * s[dim];
      return b.create<nn::SliceOp>(loc, c, starts, limits, strides);
    }
    default:
      return b.create<arith::MulFOp>(loc, v, v);
    }
  }
};
} // namespace

TEST_F(Movement, RandomChainsKeepTheirElements) {
  for (int trial = 0; trial < 400; ++trial) {
    OpBuilder b(&context);
    Location loc = b.getUnknownLoc();
    OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
    b.setInsertionPointToStart(module->getBody());
    auto type = RankedTensorType::get({2, 3, 4}, b.getF32Type());
    auto func = b.create<func::FuncOp>(loc, "f", b.getFunctionType({type}, {type}));
    b.setInsertionPointToStart(func.addEntryBlock());
    Value v = func.getArgument(0);
    for (int64_t i = pick(2, 8); i > 0; --i)
      v = step(b, v);
    b.create<func::ReturnOp>(loc, v);
    func.setFunctionType(b.getFunctionType({type}, {v.getType()}));
    std::string text;
    llvm::raw_string_ostream(text) << *module;
    SCOPED_TRACE(text);
    expectSame(func, [](OpPassManager &pm) { pm.nest<func::FuncOp>().addPass(createRaiseViews()); });
    if (HasFailure())
      return;
  }
}
