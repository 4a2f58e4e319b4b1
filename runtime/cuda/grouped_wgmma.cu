//===- grouped_wgmma.cu - Experts' products on the tensor cores -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// One block per multiprocessor walks over the tiles of all experts, whose sizes
// it reads from the routing. Three warpgroups: one only starts copies, two
// multiply, 64 rows of the tile each:
//
//     copying       wait empty[s] → copy A and B of 64 of the reduced dim → full[s]
//     multiplying   wait full[s]  → 4 wgmma of 64 × N × 16 → empty[s of before]
//
// so that products of one stage run while the next ones are brought, also across
// tiles. Three products share this:
//
//     forward, w [E, k, n]     A = x, rows along k;   B = w, rows along n
//     forward, w [E, n, k]     A = x, rows along k;   B = w, rows along k
//     weight's gradient        A = x, rows along m;   B = dy, rows along n
//
// An operand that is gathered (GroupedGemm::gatherX, gatherDy) is no box for the copy engine:
// all threads of the copying warpgroup bring its rows by 16 bytes, to the places where the copy
// engine would have put them, and arrive at full[s] when these are there.
//
// A tile of x may reach into the rows of the next expert: in a forward product
// they make rows of the result that are not written. In a gradient the reduced
// dim runs over them, so they are set to zero in shared memory.
//
//===----------------------------------------------------------------------===//

#include "cuda/grouped_wgmma.h"

#include "cuda/wgmma_tile.cuh"

namespace moire::rt {

namespace {
using namespace hopper;

constexpr int kRows = 128;     ///< of a tile of the result
constexpr int kDepth = 64;     ///< of the reduced dim in a stage: 128 bytes
constexpr int kBox = 64 * 128; ///< bytes of 64 rows of 128 bytes

/// Shared memory of a block with tiles of kRows × N.
template <int N> struct Stages {
  static constexpr int kA = kRows / 64 * kBox, kB = N / 64 * kBox, kBytes = kA + kB;
  static constexpr int kCount = N == 256 ? 4 : 6;
  /// Stages begin at multiples of 1,024 bytes; barriers follow.
  static constexpr int kShared = 1024 + kCount * kBytes + 2 * kCount * 8;
};

/// gated…: half of a tile's columns are of the gate and half of up, so that a thread
/// holds both factors of a SwiGLU.
enum class Form { rowsAlongN, rowsAlongK, weight, gatedAlongN, gatedAlongK };
template <Form form> constexpr bool isGated = form >= Form::gatedAlongN;
template <Form form>
constexpr bool isAlongK = form == Form::rowsAlongK || form == Form::gatedAlongK;

/// Which operand's rows are gathered.
enum class Side { none, a, b };

/// The operand whose rows are gathered, [T, width].
struct Gathered {
  const bf16 *rows = nullptr;
  const int32_t *rowToPair = nullptr;
  int32_t k = 1, width = 0; ///< k: choices of a token

  /// The row of `rows` that is row `row` of the sorted ones, -1 from `end` on.
  __device__ int32_t find(int32_t row, int32_t end) const {
    return row < end ? rowToPair[row] / k : -1;
  }
  /// Brings the 16 bytes from `column` on of a row; beyond the ends zeros.
  __device__ void copy(char *to, int32_t row, int32_t column) const {
    const bool in = row >= 0 && column < width;
    copyChunk(to, in ? rows + int64_t(row) * width + column : rows, in);
  }
};

struct Problem {
  const int32_t *offsets;
  int32_t experts;
  int32_t m;    ///< rows of an expert's result; Form::weight only
  int32_t n, k; ///< n: of one half where gated; k: the reduced dim; not for Form::weight
  float beta;
  const float *bias; ///< [experts, n] or null
  bf16 *gated;       ///< where gated: silu(gate) · up
  Gathered gathered = {};
};

/// A tile of the result.
struct Tile {
  int32_t expert, row, column; ///< row: inside the expert's result
  int32_t begin, end;          ///< the expert's rows in x
};

/// The tiles of a block: every gridDim.x-th of all. width: columns of a tile, of
/// each half where gated.
template <int width, bool weight> class Walk {
public:
  __device__ explicit Walk(const Problem &p)
      : p(p), index(int32_t(blockIdx.x)), columns((p.n + width - 1) / width) {
    if (p.experts > 0)
      enter();
  }
  /// Moves to the next tile; false after the last.
  __device__ bool next(Tile &tile) {
    while (expert < p.experts && index - first >= rows * columns) {
      first += rows * columns;
      if (++expert < p.experts)
        enter();
    }
    if (expert >= p.experts)
      return false;
    const int32_t local = index - first;
    tile = {expert, local / columns * kRows, local % columns * width, begin, end};
    index += int32_t(gridDim.x);
    return true;
  }

private:
  __device__ void enter() {
    begin = p.offsets[expert];
    end = p.offsets[expert + 1];
    rows = ((weight ? p.m : end - begin) + kRows - 1) / kRows;
  }
  const Problem &p;
  int32_t index, columns, expert = 0, first = 0;
  int32_t rows = 0, begin = 0, end = 0;
};

[[maybe_unused]] __device__ inline int32_t depthBlocks(int32_t depth) {
  return (depth + kDepth - 1) / kDepth;
}

template <int N, Form form> constexpr int kWidth = isGated<form> ? N / 2 : N;

/// Starts the copies of a stage by the copy engine; one thread. `depth`: of the reduced dim.
template <int N, Form form, Side side>
__device__ inline void copyBoxes(const Problem &p, const TensorMap &mapA, const TensorMap &mapB,
                                 const Tile &t, int32_t depth, char *a, Barrier *done) {
  using S = Stages<N>;
  constexpr int width = kWidth<N, form>;
  char *b = a + S::kA;
  arriveExpecting(done, S::kBytes - (side == Side::a ? S::kA : side == Side::b ? S::kB : 0));
  if constexpr (form == Form::weight) {
#pragma unroll
    for (int i = 0; i < kRows / 64 && side != Side::a; ++i)
      copyTile(&mapA, a + i * kBox, done, t.row + i * 64, t.begin + depth);
#pragma unroll
    for (int i = 0; i < N / 64 && side != Side::b; ++i)
      copyTile(&mapB, b + i * kBox, done, t.column + i * 64, t.begin + depth);
  } else {
    if constexpr (side != Side::a)
      copyTile(&mapA, a, done, depth, t.begin + t.row);
#pragma unroll
    for (int part = 0; part < N / width; ++part) { // the gate, up
      char *to = b + part * (width / 64) * kBox;
      const int32_t column = part * p.n + t.column;
      if constexpr (isAlongK<form>) {
        copyTile(&mapB, to, done, depth, column, t.expert);
      } else {
#pragma unroll
        for (int i = 0; i < width / 64; ++i)
          copyTile(&mapB, to + i * kBox, done, column + i * 64, depth, t.expert);
      }
    }
  }
}

/// Starts all copies of the block's tiles: one thread, or the warpgroup where rows are gathered.
/// A thread then has 16 bytes of every 16th row of a box.
template <int N, Form form, Side side>
__device__ void copyAll(const Problem &p, const TensorMap &mapA, const TensorMap &mapB,
                        char *stages, Barrier *full, Barrier *empty) {
  using S = Stages<N>;
  constexpr bool weight = form == Form::weight, gathers = side != Side::none;
  constexpr int perRow = 8, step = kGroup / perRow; // chunks of a row; rows of a round
  constexpr int rounds = (weight ? kDepth : kRows) / step;
  constexpr int boxes = !weight ? 1 : side == Side::a ? kRows / 64 : N / 64;
  const int32_t thread = int32_t(threadIdx.x) - kMultiplying;
  const int32_t first = thread / perRow, chunk = thread % perRow;
  Ring<S::kCount> ring;
  Walk<kWidth<N, form>, weight> walk(p);
  for (Tile t; walk.next(t);) {
    int32_t rows[rounds];
    const auto find = [&](int32_t begin) {
#pragma unroll
      for (int i = 0; i < rounds; ++i)
        rows[i] = p.gathered.find(begin + first + i * step, t.end);
    };
    if constexpr (gathers && !weight)
      find(t.begin + t.row);
    const int32_t blocks = depthBlocks(weight ? t.end - t.begin : p.k);
    for (int32_t block = 0; block < blocks; ++block, ring.advance()) {
      const int32_t depth = block * kDepth;
      if constexpr (gathers && weight)
        find(t.begin + depth);
      char *a = stages + ring.stage * S::kBytes;
      Barrier *done = full + ring.stage;
      wait(empty + ring.stage, ring.parity ^ 1); // the first round finds them empty
      if (thread == 0)
        copyBoxes<N, form, side>(p, mapA, mapB, t, depth, a, done);
      if constexpr (gathers) {
        char *to = side == Side::a ? a : a + S::kA;
        const int32_t column = (!weight ? depth : side == Side::a ? t.row : t.column) + chunk * 8;
#pragma unroll
        for (int box = 0; box < boxes; ++box)
#pragma unroll
          for (int i = 0; i < rounds; ++i)
            p.gathered.copy(swizzledChunk(to + box * kBox, first + i * step, chunk), rows[i],
                            column + box * 64);
        arriveAfterChunks(done);
      }
    }
  }
}

/// Zeros the rows from `valid` on in all boxes of a stage of a gradient.
template <int N> __device__ inline void clearTail(char *stage, int32_t valid) {
  constexpr int boxes = Stages<N>::kBytes / kBox, chunks = 128 / 16;
  const int32_t rows = kDepth - valid;
  for (int32_t i = int32_t(threadIdx.x); i < boxes * rows * chunks; i += kMultiplying) {
    const int32_t box = i / (rows * chunks), rest = i % (rows * chunks);
    *reinterpret_cast<uint4 *>(stage + box * kBox + valid * 128 + rest * 16) = uint4{0, 0, 0, 0};
  }
  fenceAsync();
  syncSome<1, kMultiplying>();
}

/// Writes both halves of a tile to y, n columns apart, and silu(gate) · up to h.
template <int N, typename C>
__device__ inline void storeGated(float (&d)[N / 2], const Place &at, int32_t n, C *y, C *h) {
  float gate[N / 4], up[N / 4];
#pragma unroll
  for (int i = 0; i < N / 4; ++i) {
    gate[i] = d[i];
    up[i] = d[N / 4 + i];
  }
  storeTile<N / 2>(gate, at, y, 2 * n);
  storeTile<N / 2>(up, at, y + n, 2 * n);
#pragma unroll
  for (int i = 0; i < N / 4; ++i)
    gate[i] = math::swiglu(gate[i], up[i]);
  storeTile<N / 2>(gate, at, h, n);
}

/// Multiplies all tiles of the block; warpgroups 0 and 1.
template <int N, Form form, Side side, typename C>
__device__ void multiplyAll(const Problem &p, char *stages, Barrier *full, Barrier *empty, C *c) {
  using S = Stages<N>;
  constexpr bool weight = form == Form::weight;
  constexpr bool alongM = weight, alongN = !isAlongK<form>;
  const int32_t group = int32_t(threadIdx.x) / kGroup, lane = int32_t(threadIdx.x) % kWarp;
  const int32_t ownRow = int32_t(threadIdx.x) / kWarp * 16 + lane / 4;
  Ring<S::kCount> ring;
  Walk<kWidth<N, form>, weight> walk(p);
  for (Tile t; walk.next(t);) {
    const int32_t depth = weight ? t.end - t.begin : p.k, blocks = depthBlocks(depth);
    float d[N / 2];
    clear(d);
    Barrier *before = nullptr;
    for (int32_t block = 0; block < blocks; ++block, ring.advance()) {
      char *a = stages + ring.stage * S::kBytes;
      wait(full + ring.stage, ring.parity);
      if constexpr (side != Side::none)
        fenceAsync();
      if constexpr (weight)
        if (depth - block * kDepth < kDepth)
          clearTail<N>(a, depth - block * kDepth);
      // A step of 16 in the reduced dim: 32 bytes in a row along it, else 16 rows.
      constexpr uint64_t stepA = (alongM ? 16 * 128 : 32) / 16;
      constexpr uint64_t stepB = (alongN ? 16 * 128 : 32) / 16;
      const uint64_t tileA = describe(a + group * kBox, kBox);
      const uint64_t tileB = describe(a + S::kA, kBox);
      beginProducts();
#pragma unroll
      for (int i = 0; i < kDepth / 16; ++i)
        Wgmma<N>::template multiply<alongM, alongN>(d, tileA + i * stepA, tileB + i * stepB);
      commitProducts();
      waitProducts<1>(); // those of the stage before
      if (before && lane == 0)
        arrive(before);
      before = empty + ring.stage;
    }
    waitProducts<0>();
    if (before && lane == 0)
      arrive(before);

    const Place at{t.row + ownRow, weight ? p.m : t.end - t.begin, t.column + lane % 4 * 2, p.n};
    if constexpr (isGated<form>) {
      storeGated<N>(d, at, p.n, c + (int64_t(t.begin) + at.row) * 2 * p.n + at.column,
                    p.gated + (int64_t(t.begin) + at.row) * p.n + at.column);
    } else {
      if (p.bias)
        addTile<N>(d, at, 1, p.bias + int64_t(t.expert) * p.n + at.column, 0);
      C *to = c + ((weight ? int64_t(t.expert) * p.m : t.begin) + at.row) * p.n + at.column;
      if (p.beta != 0)
        addTile<N>(d, at, p.beta, to, p.n);
      storeTile<N>(d, at, to, p.n);
    }
  }
}

template <int N, Form form, Side side, typename C>
__global__ void __launch_bounds__(kThreads, 1)
    groupedKernel(const __grid_constant__ Problem p, const __grid_constant__ TensorMap mapA,
                  const __grid_constant__ TensorMap mapB, C *c) {
#if MOIRE_SM90A
  using S = Stages<N>;
  MOIRE_SHARED_DYNAMIC(char, memory);
  char *stages = alignedShared(memory, 1024);
  auto *full = reinterpret_cast<Barrier *>(stages + S::kCount * S::kBytes);
  Barrier *empty = full + S::kCount;
  if (threadIdx.x == 0) {
    for (int i = 0; i < S::kCount; ++i) {
      initBarrier(full + i, side == Side::none ? 1 : 1 + kGroup);
      initBarrier(empty + i, kMultiplying / kWarp);
    }
    fenceBarriers();
  }
  __syncthreads();
  if (threadIdx.x >= kMultiplying) {
    giveRegisters<56>();
    if (threadIdx.x == kMultiplying) {
      if constexpr (side != Side::a)
        prefetch(&mapA);
      if constexpr (side != Side::b)
        prefetch(&mapB);
    }
    if (side != Side::none || threadIdx.x == kMultiplying)
      copyAll<N, form, side>(p, mapA, mapB, stages, full, empty);
  } else {
    takeRegisters<224>();
    multiplyAll<N, form, side>(p, stages, full, empty, c);
  }
#endif
}

template <int N, Form form, Side side, typename C>
void launchFor(Context &ctx, const Problem &p, const TensorMap &a, const TensorMap &b, C *c) {
  MOIRE_LAUNCH(streamOf(ctx), dim3(static_cast<unsigned>(multiprocessorsOf(ctx))), dim3(kThreads),
               Stages<N>::kShared, groupedKernel<N, form, side, C>, p, a, b, c);
}
template <int N, Form form, typename C>
void launch(Context &ctx, Side side, const Problem &p, const TensorMap &a, const TensorMap &b,
            C *c) {
  if (side == Side::none)
    return launchFor<N, form, Side::none>(ctx, p, a, b, c);
  if constexpr (form == Form::weight)
    if (side == Side::b)
      return launchFor<N, form, Side::b>(ctx, p, a, b, c);
  launchFor<N, form, Side::a>(ctx, p, a, b, c);
}

Side sideOf(const GroupedGemm &g) {
  return g.gatherX ? Side::a : g.gatherDy ? Side::b : Side::none;
}
Gathered gathered(const GroupedGemm &g, const Routing &r, const bf16 *x, const bf16 *dy) {
  const bool ofDy = g.gatherDy;
  return {ofDy ? dy : x, r.rowToPair, int32_t(r.k), int32_t(ofDy ? g.n : g.k)};
}
/// How many rows the operand has.
int64_t rowsOf(const Routing &r, bool gathers) { return gathers ? r.tokens : r.rows(); }

/// 256 columns keep the tensor cores busiest, unless much of the last tile would
/// lie beyond n.
bool wideTiles(int64_t n) { return (n + 255) / 256 * 256 <= (n + 127) / 128 * 128 + n / 16; }

/// What the copy engine takes: rows that are multiples of 16 bytes.
bool takes(int64_t n, int64_t k, const void *a, const void *b, const void *c) {
  const auto address = [](const void *p) { return reinterpret_cast<uintptr_t>(p) % 16; };
  return n % 8 == 0 && k % 8 == 0 && n > 0 && k > 0 && !address(a) && !address(b) && !address(c);
}
} // namespace

template <typename C>
bool tensorGroupedGemm(Context &ctx, const GroupedGemm &g, const Routing &r, const bf16 *x,
                       const bf16 *w, C *y, const float *bias) {
  if (!takes(g.n, g.k, x, w, y) || !hasTensorCores(ctx))
    return false;
  const Problem p{r.offsets, int32_t(r.experts),        0, int32_t(g.n), int32_t(g.k), g.beta, bias,
                  nullptr,   gathered(g, r, x, nullptr)};
  const Side side = sideOf(g);
  const bool wide = wideTiles(g.n);
  const TensorMap a = tensorMap(ctx, x, {g.k, rowsOf(r, g.gatherX)}, {kDepth, kRows});
  if (g.transB) {
    const TensorMap b = tensorMap(ctx, w, {g.k, g.n, r.experts}, {kDepth, wide ? 256 : 128, 1});
    wide ? launch<256, Form::rowsAlongK>(ctx, side, p, a, b, y)
         : launch<128, Form::rowsAlongK>(ctx, side, p, a, b, y);
  } else {
    const TensorMap b = tensorMap(ctx, w, {g.n, g.k, r.experts}, {64, kDepth, 1});
    wide ? launch<256, Form::rowsAlongN>(ctx, side, p, a, b, y)
         : launch<128, Form::rowsAlongN>(ctx, side, p, a, b, y);
  }
  return true;
}

bool tensorGroupedSwiglu(Context &ctx, const GroupedGemm &g, const Routing &r, const bf16 *x,
                         const bf16 *w, bf16 *y, bf16 *h) {
  const int64_t half = g.n / 2;
  if (!takes(half, g.k, x, w, y) || reinterpret_cast<uintptr_t>(h) % 16 != 0 ||
      !hasTensorCores(ctx))
    return false;
  const Problem p{r.offsets, int32_t(r.experts),        0, int32_t(half), int32_t(g.k), 0, nullptr,
                  h,         gathered(g, r, x, nullptr)};
  const Side side = sideOf(g);
  const bool wide = wideTiles(g.n);
  const TensorMap a = tensorMap(ctx, x, {g.k, rowsOf(r, g.gatherX)}, {kDepth, kRows});
  if (g.transB) {
    const TensorMap b = tensorMap(ctx, w, {g.k, g.n, r.experts}, {kDepth, wide ? 128 : 64, 1});
    wide ? launch<256, Form::gatedAlongK>(ctx, side, p, a, b, y)
         : launch<128, Form::gatedAlongK>(ctx, side, p, a, b, y);
  } else {
    const TensorMap b = tensorMap(ctx, w, {g.n, g.k, r.experts}, {64, kDepth, 1});
    wide ? launch<256, Form::gatedAlongN>(ctx, side, p, a, b, y)
         : launch<128, Form::gatedAlongN>(ctx, side, p, a, b, y);
  }
  return true;
}

bool tensorGroupedWeightGrad(Context &ctx, const GroupedGemm &g, const Routing &r, const bf16 *x,
                             const bf16 *dy, float *dw) {
  if (!takes(g.n, g.k, x, dy, dw) || r.rows() == 0 || !hasTensorCores(ctx))
    return false;
  const Problem p{r.offsets, int32_t(r.experts),   int32_t(g.k), int32_t(g.n), 0, g.beta, nullptr,
                  nullptr,   gathered(g, r, x, dy)};
  const TensorMap a = tensorMap(ctx, x, {g.k, rowsOf(r, g.gatherX)}, {64, kDepth});
  const TensorMap b = tensorMap(ctx, dy, {g.n, rowsOf(r, g.gatherDy)}, {64, kDepth});
  wideTiles(g.n) ? launch<256, Form::weight>(ctx, sideOf(g), p, a, b, dw)
                 : launch<128, Form::weight>(ctx, sideOf(g), p, a, b, dw);
  return true;
}

template bool tensorGroupedGemm(Context &, const GroupedGemm &, const Routing &, const bf16 *,
                                const bf16 *, bf16 *, const float *);
template bool tensorGroupedGemm(Context &, const GroupedGemm &, const Routing &, const bf16 *,
                                const bf16 *, float *, const float *);

} // namespace moire::rt
