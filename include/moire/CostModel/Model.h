//===- Model.h - What a model's parts cost ----------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A model is a row of parts between which a pipeline may be cut. What a part costs is given per
// token and in elements, so that it can be costed on any mesh and in any precision. FLOPs count a
// multiplication and an addition as two.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_COSTMODEL_MODEL_H
#define MOIRE_COSTMODEL_MODEL_H

#include "moire/Scheduling/Problem.h"
#include <string>
#include <vector>

namespace moire::cost {

using scheduling::Refusal;

/// What the forward keeps for the backward: everything, all but what is cheap to compute again,
/// or a part's input alone. Cheap is the core of attention where it is not fused (Korthikanti et
/// al. 2022), and where it is, norms, activation functions and MLA's up-projections (DeepSeek-V3).
enum class Recompute { None, Selective, Full };
const char *name(Recompute recompute);
Refusal parseRecompute(const std::string &text, Recompute &recompute);

/// A product [tokens, k] x [k, n] of activations with a parameter.
struct Product {
  enum Split {
    Whole,  ///< every tp rank computes all of it
    Column, ///< n is divided over tp
    Row     ///< k is divided over tp; the results are partial sums
  };
  std::string name;
  double k = 0;
  double n = 0;
  Split split = Whole;
  /// Rows for each token: top-k for experts.
  double rowsPerToken = 1;
  /// Of how many experts, whose products are grouped; 0: dense.
  int experts = 0;
  /// Selective recompute does it again.
  bool cheap = false;
  /// Stays in bf16 where the plan is in fp8: routers and heads.
  bool wide = false;

  double flopsPerToken() const { return 2 * k * n * rowsPerToken; }
};

/// Elements per token that live from forward to backward. Narrow ones are inputs of products and
/// of activation functions, of which a plan in fp8 keeps one byte; all others take two bytes, and
/// in f32 four. Wide ones are f32 in any precision.
struct Activations {
  double residual = 0, narrowResidual = 0; ///< divided over tp where the sequence is
  double split = 0, narrowSplit = 0;       ///< divided over tp
  double routed = 0, narrowRouted = 0;     ///< at experts: divided over tp, grows with imbalance
  double wideResidual = 0, wideSplit = 0;  ///< probabilities of routers; logits
};

/// One piece of a model between two places where a pipeline may be cut.
struct Part {
  std::string name;
  std::vector<Product> products;

  /// FLOPs per token of the forward of attention's core (scores and weighted sum), divided over
  /// tp. Fused attention skips what a causal mask hides; unfused does all.
  double attentionFlops = 0;
  /// What counts as the model's: without what the mask hides, and with it.
  double causalAttentionFlops = 0, fullAttentionFlops = 0;
  bool attentionFused = true;

  /// Elements per token that memory-bound kernels of the forward read and write.
  double residualTraffic = 0; ///< norms, residuals: divided over tp where the sequence is
  double splitTraffic = 0;    ///< activation functions, rotary embeddings: divided over tp
  double routedTraffic = 0;   ///< of tokens at experts, permutations too
  double cheapTraffic = 0;    ///< of all this, what selective recompute does again
  int kernels = 0;            ///< launched by the forward

  double parameters = 0;           ///< dense, divided over tp
  double replicatedParameters = 0; ///< on every tp rank: norms, routers, biases after the sum
  double expertParameters = 0;     ///< of all experts together: divided over ep and tp
  /// Predicts a further token: not counted in the model's totals.
  bool further = false;

  /// [Recompute]
  Activations kept[3];
  /// Full recompute keeps its input alone: layers, not the embedding and the head.
  bool recomputable = false;

  /// Experts: elements of a token that dispatch sends and combine brings back. 0: none.
  double exchangeElements = 0;
  int experts = 0;
  int topK = 0;
  int nodeLimit = 0; ///< see Exchange
  /// Elements per token that the tp ranks sum in the forward; in the backward as many.
  double reduceElements = 0;
  /// Elements per token that go to the next part.
  double outputElements = 0;
};

/// A model, costed at one length of sequences.
struct ModelCost {
  std::string name;
  int sequence = 0; ///< tokens of one sequence
  std::vector<Part> parts;
  int vocabulary = 0;
  double tied = 0; ///< parameters that the embedding and the head share
  /// Greatest number of tp ranks that heads can be divided over; tp must divide it.
  int heads = 1;
  double parameters = 0;       ///< all, without layers for further tokens; tied ones once
  double activeParameters = 0; ///< that one token meets, its row of the embedding as all of it
  /// Forward and backward of one token without any recompute; of attention what a causal mask
  /// leaves. What MFU counts.
  double flopsPerToken = 0;
  /// The same with attention's masked half counted too, as older reports do.
  double fullFlopsPerToken = 0;
};

/// What a shape file says (docs/planner.md lists the keys).
struct ModelShape {
  std::string name;
  int layers = 0;
  int hidden = 0;
  int vocabulary = 0;
  int sequence = 0;
  bool tiedEmbedding = false;
  int positions = 0; ///< rows of a learned position embedding
  enum class Norm { Layer, Rms } norm = Norm::Rms;
  bool biases = false;          ///< of all products but the head
  bool dropout = false;         ///< after attention's softmax, attention and feed-forward
  int multiTokenPrediction = 0; ///< further layers that predict further tokens

  struct Attention {
    int heads = 0;
    int kvHeads = 0;
    int headDim = 0;
    /// Multi-head latent attention, where kvRank is not 0; qRank 0: queries are not compressed.
    int qRank = 0;
    int kvRank = 0;
    int ropeDim = 0;
    int valueDim = 0;
    bool queryKeyNorm = false;
    bool fused = true;
    bool causal = true;
  } attention;

  struct FeedForward {
    enum class Kind { Gelu, Swiglu } kind = Kind::Swiglu;
    int width = 0; ///< of dense layers
  } feedForward;

  struct Experts {
    int count = 0; ///< 0: all layers are dense
    int topK = 0;
    int width = 0;
    int shared = 0;      ///< experts that all tokens go to
    int denseLayers = 0; ///< the first layers, which have none
    int nodeLimit = 0;
  } experts;
};

/// Reads a shape file (TOML). Refuses as readCluster does.
Refusal readShape(const std::string &path, ModelShape &shape);
Refusal parseShape(const std::string &text, const std::string &path, ModelShape &shape);

/// The cost of a model of that shape: embedding, layers, further-token layers, head.
/// `sequence`: 0, or another length than the shape's.
ModelCost costOf(const ModelShape &shape, int sequence = 0);

/// Sums parts' parameters and FLOPs into `model`'s totals.
void addTotals(ModelCost &model);

} // namespace moire::cost

#endif // MOIRE_COSTMODEL_MODEL_H
