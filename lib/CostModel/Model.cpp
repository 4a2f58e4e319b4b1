//===- Model.cpp - The cost of a transformer's parts -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Activations of GPT layers are those of Korthikanti et al., "Reducing Activation Recomputation in
// Large Transformer Models" (2022), section 4: s b h (34 + 5 a s / h) bytes with dropout and
// attention that is not fused.
//
//===----------------------------------------------------------------------===//
#include "moire/CostModel/Model.h"
#include "../Scheduling/Text.h"
#include <algorithm>

using namespace moire::cost;
using moire::scheduling::text;

static const char *const kRecompute[] = {"none", "selective", "full"};

const char *moire::cost::name(Recompute recompute) {
  return kRecompute[static_cast<int>(recompute)];
}

Refusal moire::cost::parseRecompute(const std::string &word, Recompute &recompute) {
  for (int i = 0; i < 3; ++i)
    if (word == kRecompute[i]) {
      recompute = static_cast<Recompute>(i);
      return {};
    }
  return text("no recompute is named '", word, "'; use none, selective or full");
}

namespace {
/// Builds the parts of one shape.
struct Builder {
  const ModelShape &shape;
  const double s, h;

  Activations &kept(Part &part, Recompute recompute) {
    return part.kept[static_cast<int>(recompute)];
  }
  void add(Part &part, const char *name, double k, double n, Product::Split split,
           double rowsPerToken = 1, int experts = 0, bool cheap = false) {
    part.products.push_back({name, k, n, split, rowsPerToken, experts, cheap, false});
    ++part.kernels;
    const double copies = experts > 0 ? experts : 1;
    (experts > 0               ? part.expertParameters
     : split == Product::Whole ? part.replicatedParameters
                               : part.parameters) += copies * k * n;
    if (shape.biases)
      (split == Product::Column ? part.parameters : part.replicatedParameters) += n;
  }
  double normParameters() const { return shape.norm == ModelShape::Norm::Layer ? 2 * h : h; }

  /// Norm before, residual after a block.
  void addFrame(Part &part);
  void addHeads(Part &part);
  void addLatent(Part &part);
  void addCore(Part &part, double scoreDim, double valueDim);
  void addDense(Part &part, double width, const char *up, const char *down);
  void addExperts(Part &part);
  Part layer(int index);
  Part head();
};
} // namespace

void Builder::addFrame(Part &part) {
  part.replicatedParameters += normParameters();
  part.residualTraffic += 5 * h; // norm: in, out; addition: two in, one out
  part.kernels += 2;
  Activations &all = kept(part, Recompute::None);
  Activations &some = kept(part, Recompute::Selective);
  all.residual += h;
  all.narrowResidual += h; // norm's output
  some.residual += h;
  if (shape.attention.fused) {
    part.cheapTraffic += 2 * h;
  } else {
    some.narrowResidual += h;
  }
  if (shape.dropout) { // a mask of one byte
    all.residual += h / 2;
    some.residual += h / 2;
    part.residualTraffic += h;
  }
  part.reduceElements += h;
}

/// Scores and weighted sum.
void Builder::addCore(Part &part, double scoreDim, double valueDim) {
  const ModelShape::Attention &attention = shape.attention;
  const double a = attention.heads;
  const double full = 2 * s * a * (scoreDim + valueDim);
  part.fullAttentionFlops = full;
  part.causalAttentionFlops = attention.causal ? full / 2 : full;
  part.attentionFlops = attention.fused ? part.causalAttentionFlops : full;
  part.attentionFused = attention.fused;
  kept(part, Recompute::None).narrowSplit += a * valueDim;
  kept(part, Recompute::Selective).narrowSplit += a * valueDim;
  ++part.kernels;
  if (attention.fused)
    return;
  // Scores are written, masked and softmaxed, and read; with dropout once more in and out.
  part.kernels += 2;
  const double passes = shape.dropout ? 6.5 : 4;
  part.splitTraffic += passes * a * s;
  part.cheapTraffic += passes * a * s;
  kept(part, Recompute::None).split += (shape.dropout ? 2.5 : 1) * a * s;
}

void Builder::addHeads(Part &part) {
  const ModelShape::Attention &attention = shape.attention;
  const double d = attention.headDim, q = attention.heads * d, kv = attention.kvHeads * d;
  add(part, "qkv", h, q + 2 * kv, Product::Column);
  kept(part, Recompute::None).split += q + 2 * kv;
  kept(part, Recompute::Selective).split += q + 2 * kv;
  if (shape.positions == 0) {
    part.splitTraffic += 2 * (q + kv);
    ++part.kernels;
  }
  if (attention.queryKeyNorm) {
    part.replicatedParameters += 2 * d;
    part.splitTraffic += 2 * (q + kv);
    kept(part, Recompute::None).split += q + kv;
    ++part.kernels;
  }
  addCore(part, d, d);
  add(part, "attention output", q, h, Product::Row);
}

/// Multi-head latent attention (DeepSeek-V2, section 2.1).
void Builder::addLatent(Part &part) {
  const ModelShape::Attention &attention = shape.attention;
  const double a = attention.heads, query = attention.headDim + attention.ropeDim;
  const double value = attention.valueDim;
  Activations &all = kept(part, Recompute::None), &some = kept(part, Recompute::Selective);
  double latent = attention.kvRank + attention.ropeDim;
  part.replicatedParameters += attention.kvRank; // norm
  if (attention.qRank > 0) {
    add(part, "query down", h, attention.qRank, Product::Whole);
    add(part, "query up", attention.qRank, a * query, Product::Column, 1, 0, true);
    part.replicatedParameters += attention.qRank;
    latent += attention.qRank;
  } else {
    add(part, "query", h, a * query, Product::Column);
    some.split += a * query;
  }
  add(part, "key and value down", h, attention.kvRank + attention.ropeDim, Product::Whole);
  add(part, "key and value up", attention.kvRank, a * (attention.headDim + value), Product::Column,
      1, 0, true);
  all.residual += latent;
  all.narrowResidual += latent;
  some.residual += latent;
  all.split += a * (2 * query + value);
  part.residualTraffic += 2 * latent;
  // Rotation, and the copies that join its part to queries and keys.
  part.splitTraffic += 2 * 2 * a * query;
  part.cheapTraffic += 2 * latent + 2 * 2 * a * query;
  part.kernels += 5;
  addCore(part, query, value);
  add(part, "attention output", a * value, h, Product::Row);
}

void Builder::addDense(Part &part, double width, const char *up, const char *down) {
  const bool gated = shape.feedForward.kind == ModelShape::FeedForward::Kind::Swiglu;
  const double wide = gated ? 2 * width : width;
  add(part, up, h, wide, Product::Column);
  add(part, down, width, h, Product::Row);
  part.splitTraffic += wide + width;
  ++part.kernels;
  Activations &all = kept(part, Recompute::None), &some = kept(part, Recompute::Selective);
  all.narrowSplit += wide + width;
  some.narrowSplit += wide;
  if (shape.attention.fused)
    part.cheapTraffic += wide + width;
  else
    some.narrowSplit += width;
}

void Builder::addExperts(Part &part) {
  const ModelShape::Experts &experts = shape.experts;
  const double k = experts.topK, width = experts.width;
  const bool gated = shape.feedForward.kind == ModelShape::FeedForward::Kind::Swiglu;
  const double wide = gated ? 2 * width : width;
  add(part, "router", h, experts.count, Product::Whole);
  part.products.back().wide = true;
  if (experts.shared > 0)
    addDense(part, experts.shared * width, "shared up", "shared down");
  add(part, "expert up", h, wide, Product::Column, k, experts.count);
  add(part, "expert down", width, h, Product::Row, k, experts.count);
  // Permuted in and out on both sides, activation function between.
  part.routedTraffic += k * (4 * h + wide + width);
  part.kernels += 6; // top-k, counts, permutation there and back, activation function, sum
  kept(part, Recompute::None).narrowRouted += k * (h + wide + width);
  kept(part, Recompute::Selective).narrowRouted +=
      k * (h + wide + (shape.attention.fused ? 0 : width));
  if (shape.attention.fused)
    part.cheapTraffic += k * (wide + width);
  kept(part, Recompute::None).wideResidual += experts.count;
  kept(part, Recompute::Selective).wideResidual += experts.count;
  part.exchangeElements = h;
  part.experts = experts.count;
  part.topK = experts.topK;
  part.nodeLimit = experts.nodeLimit;
}

Part Builder::layer(int index) {
  Part part;
  part.name = text("layer ", index);
  part.outputElements = h;
  part.recomputable = true;
  kept(part, Recompute::Full).residual = h;
  addFrame(part);
  if (shape.attention.kvRank > 0)
    addLatent(part);
  else
    addHeads(part);
  addFrame(part);
  if (shape.experts.count > 0 && index >= shape.experts.denseLayers)
    addExperts(part);
  else
    addDense(part, shape.feedForward.width, "up", "down");
  return part;
}

/// Norm, product with the vocabulary, cross-entropy.
Part Builder::head() {
  Part part;
  part.name = "head";
  const double V = shape.vocabulary;
  part.replicatedParameters = normParameters();
  part.residualTraffic = 2 * h;
  part.splitTraffic = 3 * V;
  part.products.push_back({"head", h, V, Product::Column, 1, 0, false, true});
  part.parameters = h * V;
  part.kernels = 4;
  part.reduceElements = h;
  for (Activations &kept : part.kept) {
    kept.residual = 2 * h;
    kept.wideSplit = V;
  }
  return part;
}

ModelCost moire::cost::costOf(const ModelShape &shape, int sequence) {
  ModelCost model;
  model.name = shape.name;
  model.sequence = sequence > 0 ? sequence : shape.sequence;
  model.vocabulary = shape.vocabulary;
  model.heads = shape.attention.kvRank > 0 ? shape.attention.heads : shape.attention.kvHeads;
  Builder builder{shape, static_cast<double>(model.sequence), static_cast<double>(shape.hidden)};

  Part embedding;
  embedding.name = "embedding";
  embedding.parameters = static_cast<double>(shape.vocabulary) * shape.hidden;
  embedding.replicatedParameters = static_cast<double>(shape.positions) * shape.hidden;
  embedding.residualTraffic = (shape.positions > 0 ? 3 : 2) * builder.h;
  embedding.reduceElements = builder.h;
  embedding.outputElements = builder.h;
  embedding.kernels = 1;
  model.parts.push_back(embedding);
  for (int i = 0; i < shape.layers; ++i)
    model.parts.push_back(builder.layer(i));
  // A layer that predicts a further token joins the embedding of that token to the layers' output
  // and has a head of its own, whose parameters are the head's (DeepSeek-V3, section 2.2).
  for (int i = 0; i < shape.multiTokenPrediction; ++i) {
    Part part = builder.layer(shape.layers + i);
    const Part head = builder.head();
    part.name = text("further token ", i + 1);
    part.further = true;
    part.products.push_back({"join", 2 * builder.h, builder.h, Product::Whole, 1, 0, false, false});
    part.replicatedParameters += 2 * builder.h * builder.h + 2 * builder.normParameters();
    part.products.push_back(head.products[0]);
    part.residualTraffic += 4 * builder.h + head.residualTraffic;
    part.splitTraffic += head.splitTraffic;
    part.kernels += 3 + head.kernels;
    for (int r = 0; r < 3; ++r) {
      part.kept[r].residual += 4 * builder.h;
      part.kept[r].wideSplit += head.kept[r].wideSplit;
    }
    model.parts.push_back(part);
  }
  model.parts.push_back(builder.head());
  if (shape.tiedEmbedding && model.parts.size() > 1)
    model.tied = static_cast<double>(shape.vocabulary) * shape.hidden;
  addTotals(model);
  return model;
}

void moire::cost::addTotals(ModelCost &model) {
  model.parameters = model.activeParameters = -model.tied;
  model.flopsPerToken = model.fullFlopsPerToken = 0;
  for (const Part &part : model.parts) {
    if (part.further)
      continue;
    const double dense = part.parameters + part.replicatedParameters;
    model.parameters += dense + part.expertParameters;
    model.activeParameters += dense + part.expertParameters * part.topK / std::max(1, part.experts);
    double products = 0;
    for (const Product &product : part.products)
      products += product.flopsPerToken();
    model.flopsPerToken += 3 * (products + part.causalAttentionFlops);
    model.fullFlopsPerToken += 3 * (products + part.fullAttentionFlops);
  }
}
