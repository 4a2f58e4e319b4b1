//===- grouped_gemm.cpp - Each row times its expert's matrix --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "kernels/bgemm.h"
#include "kernels/sgemm.h"
#include "moire/rt/gemm.h"
#include "moire/rt/parallel.h"

#include <cstring>
#include <omp.h>
#include <vector>

namespace moire::rt {

namespace {
/// One sequential product: a block of the result of one expert. For the forward
/// rows are the expert's rows; for the weight's gradient they are the weight's.
struct Piece {
  int64_t expert, row, rows, column, columns;
};

/// Blocks of at most 512 columns: wide enough that packing the rows again for
/// each costs little, narrow enough to balance (measured on 8 experts of about
/// 64 rows, 512 to 1792: 192 columns 70, 512 columns 81, all 76 GFLOP/s).
constexpr int64_t kBlock = 512;

void cut(std::vector<Piece> &pieces, int64_t expert, int64_t row, int64_t rows,
         int64_t columns) {
  const int64_t parts = (columns + kBlock - 1) / kBlock;
  // Equal widths, multiples of 16.
  const int64_t width = ((columns + parts - 1) / parts + 15) / 16 * 16;
  for (int64_t c = 0; c < columns; c += width)
    pieces.push_back({expert, row, rows, c, std::min(width, columns - c)});
}

/// oneDNN adds in another order in the last rows where their number is no multiple of
/// its kernels' 6 rows (AVX2) or 8 (AVX-512), and it halves many rows first. An expert's
/// rows change with the plan, so a row's bits must not depend on how many there are.
#ifdef __AVX512F__
constexpr int64_t kAlikeRows = 16;
int64_t alikeRows(int64_t) { return kAlikeRows; }
#else
constexpr int64_t kAlikeRows = 12;
int64_t alikeRows(int64_t m) { return m <= 72 ? 6 : kAlikeRows; }
#endif

int64_t ceilTo(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

/// From here on the last rows are worth a product of their own.
constexpr int64_t kManyRows = 16 * kAlikeRows;

/// oneDNN's own threads cut rows by their number.
struct OneThread {
  const int before = omp_get_max_threads();
  OneThread() { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before); }
};

/// sgemm whose rows have the same bits whatever m is. The last ones go through copies
/// with rows of zeros after them, in `memory` of kManyRows * (k + n).
void sgemmAlike(bool transB, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                const float *b, int64_t ldb, float beta, float *c, int64_t ldc,
                float *memory) {
  const OneThread alone;
  const int64_t whole = m % alikeRows(m) == 0 ? m : m < kManyRows ? 0 : m - m % kAlikeRows;
  if (whole > 0)
    sgemm(false, transB, whole, n, k, 1, a, lda, b, ldb, beta, c, ldc);
  const int64_t rest = m - whole;
  if (rest == 0)
    return;
  const int64_t rows = ceilTo(rest, alikeRows(rest));
  a += whole * lda;
  c += whole * ldc;
  float *from = memory, *to = memory + rows * k;
  for (int64_t row = 0; row < rest; ++row) {
    std::memcpy(from + row * k, a + row * lda, k * sizeof(float));
    if (beta != 0)
      std::memcpy(to + row * n, c + row * ldc, n * sizeof(float));
  }
  std::memset(from + rest * k, 0, (rows - rest) * k * sizeof(float));
  if (beta != 0)
    std::memset(to + rest * n, 0, (rows - rest) * n * sizeof(float));
  sgemm(false, transB, rows, n, k, 1, from, k, b, ldb, beta, to, n);
  for (int64_t row = 0; row < rest; ++row)
    std::memcpy(c + row * ldc, to + row * n, n * sizeof(float));
}

/// Runs the pieces, the largest first: a long one at the end would be waited
/// for. Pieces do not depend on the number of threads, nor does what is added to
/// what.
template <typename Body>
void runPieces(Context &ctx, std::vector<Piece> &pieces, Body &&body) {
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const Piece &a, const Piece &b) {
                     return a.rows * a.columns > b.rows * b.columns;
                   });
  parallelTasks(ctx, pieces.size(), [&](int64_t i) { body(pieces[i]); });
}

/// Scratch memory for `bytes`, and behind it for the rows of an operand that a product
/// gathers: products here read rows that lie one after the other.
class Memory {
public:
  Memory(Context &ctx, int64_t bytes, const GroupedGemm &g, const Routing &r, int64_t element)
      : ctx(ctx), r(r), begin(ceilTo(bytes, 64)) {
    const int64_t width = g.gatherX ? g.k : g.gatherDy ? g.n : 0;
    data = static_cast<char *>(ctx.scratch(begin + r.rows() * width * element));
  }
  float *floats() { return reinterpret_cast<float *>(data); }
  /// x, or if it is [T, width] and to be gathered, its rows in the order of experts.
  template <typename T> const T *rows(bool gathered, int64_t width, const T *x) {
    if (!gathered)
      return x;
    auto *to = reinterpret_cast<T *>(data + begin);
    dispatch(ctx, r, width, x, to);
    return to;
  }

private:
  Context &ctx;
  const Routing &r;
  int64_t begin;
  char *data;
};
} // namespace

template <>
void groupedGemm(Context &ctx, const GroupedGemm &g, const Routing &r,
                 const float *x, const float *w, float *y, const float *bias) {
  std::vector<Piece> pieces;
  for (int64_t e = 0; e < r.experts; ++e)
    if (int64_t rows = r.offsets[e + 1] - r.offsets[e])
      cut(pieces, e, r.offsets[e], rows, g.n);
  // Few experts with many rows: their rows are cut, too.
  if (int64_t few = pieces.size(); few > 0 && few < ctx.threads)
    for (int64_t i = 0; i < few; ++i) {
      Piece &p = pieces[i];
      const int64_t part = ceilTo((p.rows + ctx.threads - 1) / ctx.threads, kAlikeRows);
      const Piece whole = p;
      p.rows = std::min(part, whole.rows);
      for (int64_t row = part; row < whole.rows; row += part)
        pieces.push_back({whole.expert, whole.row + row, std::min(part, whole.rows - row),
                          whole.column, whole.columns});
    }
  const int64_t room = kManyRows * (g.k + kBlock);
  Memory memory(ctx, ctx.threads * room * sizeof(float), g, r, sizeof(float));
  x = memory.rows(g.gatherX, g.k, x);
  runPieces(ctx, pieces, [&](const Piece &p) {
    float *mine = memory.floats() + room * (ctx.threads > 1 ? omp_get_thread_num() : 0);
    const float *we = w + p.expert * g.k * g.n;
    float *ye = y + p.row * g.n + p.column;
    if (bias)
      for (int64_t row = 0; row < p.rows; ++row)
        std::memcpy(ye + row * g.n, bias + p.expert * g.n + p.column,
                    p.columns * sizeof(float));
    sgemmAlike(g.transB, p.rows, p.columns, g.k, x + p.row * g.k, g.k,
               we + (g.transB ? p.column * g.k : p.column), g.transB ? g.k : g.n,
               bias ? 1.0f : g.beta, ye, g.n, mine);
  });
}

template <>
void groupedGemmWeightGrad(Context &ctx, const GroupedGemm &g, const Routing &r,
                           const float *x, const float *dy, float *dw) {
  std::vector<Piece> pieces;
  for (int64_t e = 0; e < r.experts; ++e) {
    if (r.offsets[e] != r.offsets[e + 1]) {
      for (int64_t row = 0; row < g.k; row += kBlock)
        cut(pieces, e, row, std::min(kBlock, g.k - row), g.n);
      continue;
    }
    if (g.beta == 0)
      parallelFor(ctx, g.k * g.n, kElementwiseGrain,
                  [&](int64_t begin, int64_t end) {
                    std::memset(dw + e * g.k * g.n + begin, 0,
                                (end - begin) * sizeof(float));
                  });
  }
  Memory memory(ctx, 0, g, r, sizeof(float));
  x = memory.rows(g.gatherX, g.k, x);
  dy = memory.rows(g.gatherDy, g.n, dy);
  runPieces(ctx, pieces, [&](const Piece &p) {
    const int64_t first = r.offsets[p.expert];
    const int64_t rows = r.offsets[p.expert + 1] - first;
    sgemm(true, false, p.rows, p.columns, rows, 1, x + first * g.k + p.row, g.k,
          dy + first * g.n + p.column, g.n, g.beta,
          dw + (p.expert * g.k + p.row) * g.n + p.column, g.n);
  });
}

//===----------------------------------------------------------------------===//
// bf16
//===----------------------------------------------------------------------===//

namespace {
int64_t blockBytes(const Context &ctx) {
  return ctx.threads * kBgemmFloats * int64_t(sizeof(float));
}

/// body(memory, row, rows, column, columns) for the blocks of a [rows, columns]
/// result of each piece; memory: blockBytes() of it.
template <typename Body>
void runBlocks(Context &ctx, std::vector<Piece> &pieces, float *memory, Body &&body) {
  runPieces(ctx, pieces, [&](const Piece &p) {
    float *mine = memory + kBgemmFloats * (ctx.threads > 1 ? omp_get_thread_num() : 0);
    for (int64_t i = 0; i < p.rows; i += kBlockRows)
      for (int64_t j = 0; j < p.columns; j += kBlockColumns)
        body(mine, p.expert, p.row + i, std::min(kBlockRows, p.rows - i), p.column + j,
             std::min(kBlockColumns, p.columns - j));
  });
}

template <typename C>
void groupedOfBf16(Context &ctx, const GroupedGemm &g, const Routing &r, const bf16 *x,
                   const bf16 *w, C *y, const float *bias) {
  std::vector<Piece> pieces;
  for (int64_t e = 0; e < r.experts; ++e)
    if (int64_t rows = r.offsets[e + 1] - r.offsets[e])
      cut(pieces, e, r.offsets[e], rows, g.n);
  Memory memory(ctx, blockBytes(ctx), g, r, sizeof(bf16));
  x = memory.rows(g.gatherX, g.k, x);
  runBlocks(
      ctx, pieces, memory.floats(),
      [&](float *mine, int64_t e, int64_t row, int64_t rows, int64_t column, int64_t columns) {
        bgemm(false, g.transB, rows, columns, g.k, 1, x + row * g.k, g.k,
              w + e * g.k * g.n + (g.transB ? column * g.k : column), g.transB ? g.k : g.n, g.beta,
              y + row * g.n + column, g.n, bias ? bias + e * g.n + column : nullptr, mine);
      });
}
} // namespace

template <>
void groupedGemm(Context &ctx, const GroupedGemm &g, const Routing &r, const bf16 *x,
                 const bf16 *w, bf16 *y, const float *bias) {
  groupedOfBf16(ctx, g, r, x, w, y, bias);
}
template <>
void groupedGemm(Context &ctx, const GroupedGemm &g, const Routing &r, const bf16 *x,
                 const bf16 *w, float *y, const float *bias) {
  groupedOfBf16(ctx, g, r, x, w, y, bias);
}

template <>
void groupedGemmWeightGrad(Context &ctx, const GroupedGemm &g, const Routing &r,
                           const bf16 *x, const bf16 *dy, float *dw) {
  // Also experts without rows: a depth of 0 gives zeros, or what is there.
  std::vector<Piece> pieces;
  for (int64_t e = 0; e < r.experts; ++e)
    for (int64_t row = 0; row < g.k; row += kBlock)
      cut(pieces, e, row, std::min(kBlock, g.k - row), g.n);
  Memory memory(ctx, blockBytes(ctx), g, r, sizeof(bf16));
  x = memory.rows(g.gatherX, g.k, x);
  dy = memory.rows(g.gatherDy, g.n, dy);
  runBlocks(
      ctx, pieces, memory.floats(),
      [&](float *mine, int64_t e, int64_t row, int64_t rows, int64_t column, int64_t columns) {
        const int64_t first = r.offsets[e];
        bgemm(true, false, rows, columns, r.offsets[e + 1] - first, 1, x + first * g.k + row, g.k,
              dy + first * g.n + column, g.n, g.beta, dw + (e * g.k + row) * g.n + column, g.n,
              nullptr, mine);
      });
}

} // namespace moire::rt
