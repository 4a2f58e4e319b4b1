//===- PiecesTest.cpp - What ranks divide among them ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/pieces.h"
#include "CommUtil.h"
#include "FileUtil.h"
#include "TestUtil.h"
#include "moire/rt/comm.h"
#include "moire/rt/device.h"
#include "train/shards.h"
#include "train/weights.h"

#include <numeric>

using namespace moire::rt;
using namespace moire::rt::test;

TEST(Pieces, MembersOwnEveryElementOnceInWholeLines) {
  for (int64_t n : {0, 1, 15, 16, 17, 100, 1000, 4096, 4097})
    for (int64_t members : {1, 2, 3, 4, 7, 64}) {
      SCOPED_TRACE(std::to_string(n) + " over " + std::to_string(members));
      const int64_t c = pieceElements(n, members);
      EXPECT_EQ(c % 16, 0);
      EXPECT_GE(c * members, n);
      EXPECT_LT(c, n / members + 17);
      int64_t next = 0;
      for (int64_t m = 0; m < members; ++m) {
        const Owned mine = ownedBy(m, n, members);
        EXPECT_EQ(mine.begin, next);
        EXPECT_LE(mine.size(), c);
        next = mine.end;
      }
      EXPECT_EQ(next, n);
    }
}

namespace {
/// Parameters of several sizes, divided over all ranks of a mesh of dp alone.
struct Divided {
  explicit Divided(int ranks, int zero) : axis{"dp", ranks} {
    int64_t at = 0;
    for (size_t i = 0; i < params.size(); ++i) {
      params[i] = {"p", "p", 1, &sizes[i], true, Init::normal, 0.02f, at, 0, nullptr};
      params[i].reduceGroup = 0;
      params[i].zero = zero;
      at += (sizes[i] + 15) / 16 * 16;
    }
    p.paramElements = p.gradElements = at;
    p.numParameters = int64_t(params.size());
    p.parameters = params.data();
    p.numAxes = p.numGroups = 1;
    p.axes = &axis;
    p.groups = &group;
  }
  // The large one moves in several goes.
  std::vector<int64_t> sizes = {1, 40, 7'000'001, 96, 5000};
  std::vector<ParameterInfo> params = std::vector<ParameterInfo>(5);
  const int first[1] = {0};
  AxisInfo axis;
  GroupInfo group = {1, first};
  Program p = {};
};

float valueAt(int rank, int64_t i) { return float((i * 37 + rank * 11) % 101) * 0.37f - 7; }
} // namespace

TEST(Pieces, EachRankGetsTheSumOfItsOwn) {
  for (int ranks : {2, 3, 5}) {
    Divided d(ranks, 1);
    const auto errors = onThreads(Mesh({{"dp", ranks}}), {{0}}, [&](Comm &comm) {
      Context ctx(d.p, 1);
      ctx.comm = &comm;
      connectDevices(ctx);
      for (int64_t i = 0; i < d.p.gradElements; ++i)
        ctx.grad(0)[i] = valueAt(comm.rank(), i);
      std::vector<RangeInfo> ranges;
      for (const ParameterInfo &param : d.params)
        ranges.push_back({param.offset, param.offset + param.shape[0],
                          pieceElements(param.shape[0], ranks)});
      reducePieces(ctx, 0, "reduce_scatter of gradients", ranges.data(), int64_t(ranges.size()));
      for (const ParameterInfo &param : d.params) {
        const Owned mine = owned(ctx, param);
        for (int64_t i = 0; i < param.shape[0]; ++i) {
          const int64_t at = param.offset + i;
          float want = valueAt(comm.rank(), at);
          if (i >= mine.begin && i < mine.end) {
            want = valueAt(0, at);
            for (int r = 1; r < ranks; ++r)
              want += valueAt(r, at);
          }
          if (ctx.grad(at)[0] != want)
            throw std::runtime_error("element " + std::to_string(at) + " is " +
                                     std::to_string(ctx.grad(at)[0]) + ", not " +
                                     std::to_string(want));
        }
      }
    });
    EXPECT_EQ(errors, std::vector<std::string>(ranks));
  }
}

TEST(Pieces, AllRanksGetAllPieces) {
  for (int zero : {1, 2}) {
    Divided d(3, zero);
    const auto errors = onThreads(Mesh({{"dp", 3}}), {{0}}, [&](Comm &comm) {
      Context ctx(d.p, 1);
      ctx.comm = &comm;
      connectDevices(ctx);
      for (int64_t i = 0; i < d.p.paramElements; ++i)
        ctx.param(0)[i] = valueAt(comm.rank(), i);
      gatherPieces(ctx);
      for (const ParameterInfo &param : d.params)
        for (int64_t i = 0; i < param.shape[0]; ++i) {
          const int owner = int(i / pieceElements(param.shape[0], 3));
          if (*ctx.param(param.offset + i) != valueAt(owner, param.offset + i))
            throw std::runtime_error("element " + std::to_string(i) + " is not its owner's");
        }
    });
    EXPECT_EQ(errors, std::vector<std::string>(3));
  }
}

// Every transform, on ranks that keep a piece of a shard, against that piece of what one
// rank reads.
TEST(Pieces, EveryTransformReadsThePiece) {
  TempFolder dir;
  Floats file(4 * 6 * 10);
  std::iota(file.begin(), file.end(), 0.0f);
  write(dir / "model.bin", bytes(file));
  const std::string path = dir / "model.onnx";
  const int64_t cube[] = {4, 6, 10}, half[] = {4, 6, 5};
  std::vector<Source> slices, transposed;
  for (int64_t i = 0; i < 4; ++i) {
    slices.push_back({"s", "model.bin", i * 240, 240, DType::f32, Transform::slice, i});
    transposed.push_back(
        {"t", "model.bin", i * 240, 240, DType::f32, Transform::sliceTranspose, i});
  }
  const std::vector<std::vector<Source>> cases = {
      {{"a", "model.bin", 0, 960, DType::f32, Transform::same, 0}},
      {{"b", "model.bin", 0, 960, DType::f32, Transform::transposeLast2, 0}},
      {{"c", "model.bin", 0, 960, DType::f32, Transform::interleaveHalvesDim1, 0}},
      slices,
      transposed};
  for (size_t c = 0; c < cases.size(); ++c)
    for (bool fresh : {false, true}) {
      SCOPED_TRACE(c);
      ParameterInfo whole = {"p",
                             "p",
                             3,
                             cube,
                             true,
                             Init::normal,
                             0.02f,
                             0,
                             int64_t(cases[c].size()),
                             cases[c].data()};
      ParameterInfo part = whole;
      part.globalShape = cube;
      part.shape = half;
      part.numShards = 1;
      part.shards[0] = {2, 1, 0, nullptr};
      part.reduceGroup = 0;
      part.zero = 3;
      part.offset = 32;
      Program p = {};
      p.modelPath = path.c_str();
      p.init = fresh;
      p.paramElements = p.gradElements = 240;
      p.numParameters = 1;
      p.parameters = &whole;
      Context all(p, 1);
      loadWeights(all, "", 5, "/x/trainer");
      Program q = p;
      q.parameters = &part;
      q.paramElements = q.gradElements = 32 + pieceElements(120, 3);
      const auto errors = onThreads(Mesh({{"dp", 3}, {"tp", 2}}), {{0}}, [&](Comm &comm) {
        Context ctx(q, 1);
        ctx.comm = &comm;
        loadWeights(ctx, "", 5, "/x/trainer");
        const Owned mine = owned(ctx, part);
        int64_t seen = 0;
        eachPiece(Part::ofRank(part, comm.mesh, comm.rank()),
                  [&](int64_t at, int64_t from, int64_t count) {
                    for (int64_t i = 0; i < count; ++i)
                      if (at + i >= mine.begin && at + i < mine.end) {
                        ++seen;
                        if (ctx.param(32)[at + i - mine.begin] != all.param(0)[from + i])
                          throw std::runtime_error("wrong value at " + std::to_string(at + i));
                      }
                  });
        for (int64_t i = 0; i < 32; ++i)
          if (ctx.param(0)[i] != 0)
            throw std::runtime_error("written before its place");
        if (seen != mine.size())
          throw std::runtime_error("wrong size");
      });
      EXPECT_EQ(errors, std::vector<std::string>(6)) << (fresh ? "fresh" : "of the file");
    }
}
