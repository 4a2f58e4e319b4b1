//===- grouped_gemm.cpp - Each row times its expert's matrix --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "kernels/sgemm.h"
#include "moire/rt/gemm.h"
#include "moire/rt/parallel.h"

#include <cstring>
#include <vector>

namespace moire::rt {

namespace {
/// One sequential product: rows [row, row + rows) of expert, columns
/// [column, column + columns) of its result.
struct Piece {
  int64_t expert, row, rows, column, columns;
};

/// Cuts the result's columns, so that a thread packs a panel of the weight once
/// for all rows, into pieces of about equal work, the largest experts first (a
/// long one at the end would be waited for). Pieces do not depend on the number
/// of threads, nor does what is added to what.
std::vector<Piece> cut(const Routing &r, int64_t columns, int64_t width) {
  std::vector<Piece> pieces;
  for (int64_t e = 0; e < r.experts; ++e) {
    int64_t begin = r.offsets[e], rows = r.offsets[e + 1] - begin;
    if (rows == 0)
      continue;
    for (int64_t c = 0; c < columns; c += width)
      pieces.push_back({e, begin, rows, c, std::min(width, columns - c)});
  }
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const Piece &a, const Piece &b) {
                     return a.rows * a.columns > b.rows * b.columns;
                   });
  return pieces;
}

/// A multiple of 48, the micro-kernels' widths, near a quarter of the columns.
int64_t pieceWidth(int64_t columns) {
  int64_t quarter = (columns / 4 + 47) / 48 * 48;
  return std::min<int64_t>(std::max<int64_t>(quarter, 192), 768);
}
} // namespace

void groupedGemm(Context &ctx, const GroupedGemm &g, const Routing &r,
                 const float *x, const float *w, float *y, const float *bias) {
  std::vector<Piece> pieces = cut(r, g.n, pieceWidth(g.n));
  parallelTasks(ctx, pieces.size(), [&](int64_t i) {
    const Piece &p = pieces[i];
    const float *we = w + p.expert * g.k * g.n;
    float *ye = y + p.row * g.n + p.column;
    if (bias)
      for (int64_t row = 0; row < p.rows; ++row)
        std::memcpy(ye + row * g.n, bias + p.expert * g.n + p.column,
                    p.columns * sizeof(float));
    sgemm(false, g.transB, p.rows, p.columns, g.k, 1, x + p.row * g.k, g.k,
          we + (g.transB ? p.column * g.k : p.column), g.transB ? g.k : g.n,
          bias ? 1.0f : g.beta, ye, g.n);
  });
}

void groupedGemmWeightGrad(Context &ctx, const GroupedGemm &g, const Routing &r,
                           const float *x, const float *dy, float *dw) {
  if (g.beta == 0)
    for (int64_t e = 0; e < r.experts; ++e)
      if (r.offsets[e] == r.offsets[e + 1])
        parallelFor(ctx, g.k * g.n, kElementwiseGrain,
                    [&](int64_t begin, int64_t end) {
                      std::memset(dw + e * g.k * g.n + begin, 0,
                                  (end - begin) * sizeof(float));
                    });
  std::vector<Piece> pieces = cut(r, g.n, pieceWidth(g.n));
  parallelTasks(ctx, pieces.size(), [&](int64_t i) {
    const Piece &p = pieces[i];
    sgemm(true, false, g.k, p.columns, p.rows, 1, x + p.row * g.k, g.k,
          dy + p.row * g.n + p.column, g.n, g.beta,
          dw + p.expert * g.k * g.n + p.column, g.n);
  });
}

} // namespace moire::rt
