//===- routing.h - Tokens to experts and back -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// T tokens choose K experts each; pair p = t · K + k is token t's k-th choice.
// Rows are the pairs sorted by expert, stable in p: R = T · K rows. A pair whose id is
// -1 has no expert and no row: it gives nothing to its token, and the rows that there
// are, *count(), are fewer than R. What lies past them is neither read nor written.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_ROUTING_H
#define MOIRE_RT_ROUTING_H

#include "moire/rt/bf16.h"
#include "moire/rt/context.h"

namespace moire::rt {

/// A view of a routing value that lies in the arena.
struct Routing {
  int64_t tokens, k, experts;
  int32_t *offsets;   ///< [E + 1], rows of expert e are offsets[e] … offsets[e+1]
  int32_t *rowToPair; ///< [T · K]
  int32_t *pairToRow; ///< [T · K], -1: none

  int64_t rows() const { return tokens * k; }
  /// How many rows there are: fewer than rows() where pairs have no expert, or of
  /// what came from other ranks.
  const int32_t *count() const { return offsets + experts; }
  /// Bytes that the emitter reserves for a routing value.
  static constexpr int64_t bytes(int64_t tokens, int64_t k, int64_t experts) {
    return 4 * ((experts + 16) / 16 * 16 + 2 * ((tokens * k + 15) / 16 * 16));
  }
  static Routing at(void *memory, int64_t tokens, int64_t k, int64_t experts) {
    auto *p = static_cast<int32_t *>(memory);
    int64_t head = (experts + 16) / 16 * 16, rows = (tokens * k + 15) / 16 * 16;
    return {tokens, k, experts, p, p + head, p + head + rows};
  }
};

/// Part `index` of `parts` of a routing's experts, which `parts` must divide: its expert 0 is
/// expert index * (r.experts / parts) of r. Tokens, k and the numbers of rows are r's, so that
/// rows are where they are in buffers for all of r, and offsets[0] is not 0 in general; what
/// lies by expert begins with the part's first one. For grouped products, perExpert(),
/// perExpertSum() and expertCounts().
inline Routing part(const Routing &r, int64_t index, int64_t parts) {
  Routing view = r;
  view.experts = r.experts / parts;
  view.offsets = r.offsets + index * view.experts;
  return view;
}

enum class Scoring : uint8_t { softmax, softmaxSelected, sigmoid };

/// logits [tokens, experts] → weights, ids [tokens, k], the largest score first,
/// ties: the lower id. softmax and sigmoid score all experts; softmaxSelected is
/// the softmax over the k chosen logits. selectionBias [experts] (may be null) is
/// added to the scores for the choice only. normalize divides the weights by
/// their sum + epsilon; then scale multiplies.
struct Router {
  int64_t tokens, experts, k;
  Scoring scoring = Scoring::softmax;
  bool normalize = false;
  float epsilon = 0, scale = 1;
};
void router(Context &ctx, const Router &r, const float *logits,
            const float *selectionBias, float *weights, int64_t *ids);
/// dlogits [tokens, experts] from dweights [tokens, k].
void routerGrad(Context &ctx, const Router &r, const float *logits,
                const int64_t *ids, const float *dweights, float *dlogits);

/// Sorts the pairs of ids [T, K] by expert. An id outside [0, E) but -1 is a RunError.
void route(Context &ctx, const Routing &r, const int64_t *ids);

/// Rows of T: float or bf16; weights, sums and per-expert values are float.

/// rows[r, :] = x[token of row r, :], x [T, width].
template <typename T>
void dispatch(Context &ctx, const Routing &r, int64_t width, const T *x,
              T *rows);
/// dx[t, :] = Σ_k drows[row of (t, k), :]   (k ascending; the pull-back of
/// dispatch, and combine without weights).
template <typename T>
void dispatchGrad(Context &ctx, const Routing &r, int64_t width,
                  const T *drows, T *dx, float beta = 0);

/// y[t, :] = Σ_k weights[t, k] · rows[row of (t, k), :], k ascending; weights
/// null: 1.
template <typename T>
void combine(Context &ctx, const Routing &r, int64_t width, const T *rows,
             const float *weights, T *y, float beta = 0);
/// drows[row of (t, k), :] = weights[t, k] · dy[t, :];
/// dweights[t, k] = <rows[row of (t, k), :], dy[t, :]>. Either may be null.
template <typename T>
void combineGrad(Context &ctx, const Routing &r, int64_t width, const T *rows,
                 const float *weights, const T *dy, Same<T> *drows,
                 float *dweights);

/// rows[r, :] = values[expert of r, :] (+ x[r, :] where x is given; may be in
/// place), values [E, width].
template <typename T>
void perExpert(Context &ctx, const Routing &r, int64_t width,
               const float *values, T *rows, const Same<T> *x = nullptr);
/// sums[e, :] = Σ_{r of e} rows[r, :] + beta · sums[e, :], rows ascending.
void perExpertSum(Context &ctx, const Routing &r, int64_t width,
                  const float *rows, float *sums, float beta = 0);
/// out[r, :] = values[pair of r, :] (scalars per pair in row order) and back.
void pairsToRows(Context &ctx, const Routing &r, int64_t width,
                 const float *pairs, float *rows);
void rowsToPairs(Context &ctx, const Routing &r, int64_t width,
                 const float *rows, float *pairs);
/// counts[e] = number of rows of expert e.
void expertCounts(Context &ctx, const Routing &r, int64_t *counts);
/// Adds them to Context::loads, where that is asked for. task: ctx or ctx.second; router: the
/// number among those of its function.
void countRows(Context &ctx, const TaskState &task, int64_t router, const Routing &r);
inline void countRows(Context &ctx, int64_t router, const Routing &r) {
  countRows(ctx, ctx, router, r);
}

} // namespace moire::rt

#endif // MOIRE_RT_ROUTING_H
