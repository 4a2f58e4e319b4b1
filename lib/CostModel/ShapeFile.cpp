//===- ShapeFile.cpp - Shapes of models as TOML ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "../Scheduling/Text.h"
#include "moire/CostModel/Fields.h"
#include "moire/CostModel/Model.h"

using namespace moire::cost;

Refusal moire::cost::readShape(const std::string &path, ModelShape &shape) {
  std::string text;
  if (Refusal refusal = readText(path, text))
    return refusal;
  return parseShape(text, path, shape);
}

/// What the keys say together.
static Refusal checkShape(const std::string &path, const ModelShape &shape) {
  using moire::scheduling::text;
  const ModelShape::Attention &attention = shape.attention;
  if (attention.kvRank == 0 && attention.heads % attention.kvHeads)
    return text("'", path, "': ", attention.heads, " attention.heads are not a multiple of ",
                attention.kvHeads, " attention.kv_heads; give as many, or a divisor");
  if (attention.kvRank > 0 && attention.valueDim == 0)
    return text(
        "'", path, "': attention.kv_rank is ", attention.kvRank,
        " but attention.value_dim is missing; write for example value_dim = ", attention.headDim);
  if (attention.kvRank == 0 && (attention.qRank > 0 || attention.valueDim > 0))
    return text("'", path, "': attention.", attention.qRank > 0 ? "q_rank" : "value_dim",
                " is for latent attention, where kv_rank is above 0; give kv_rank or leave it out");
  const ModelShape::Experts &experts = shape.experts;
  if (experts.count == 0) {
    if (experts.topK > 0 || experts.width > 0 || experts.shared > 0)
      return text("'", path, "': table [experts] has no count; write for example count = 8");
  } else {
    if (experts.topK < 1 || experts.topK > experts.count)
      return text("'", path, "': experts.top_k is ", experts.topK, ", not from 1 to the ",
                  experts.count,
                  " experts; write for example top_k = ", std::min(2, experts.count));
    if (experts.width < 1)
      return text("'", path, "': table [experts] has ", experts.count,
                  " experts but no width; write for example width = 2048");
    if (experts.denseLayers > shape.layers)
      return text("'", path, "': experts.dense_layers is ", experts.denseLayers, ", above the ",
                  shape.layers, " layers; use at most ", shape.layers);
  }
  const bool dense = experts.count == 0 || experts.denseLayers > 0;
  if (dense && shape.feedForward.width < 1)
    return text("'", path, "': feed_forward.width is missing, which ",
                experts.count == 0 ? "all" : "the first dense",
                " layers need; write for example width = ", 4 * shape.hidden);
  return {};
}

Refusal moire::cost::parseShape(const std::string &text, const std::string &path,
                                ModelShape &shape) {
  ModelShape read;
  std::string norm = "rms", kind = "swiglu";
  const auto count = [](const char *table, const char *key, int *value, const char *example,
                        bool required) {
    return Field{table, key, value, example, required, required ? 1.0 : 0.0, 1 << 30};
  };
  const auto flag = [](const char *table, const char *key, bool *value) {
    return Field{table, key, value, "true", false};
  };
  ModelShape::Attention &attention = read.attention;
  ModelShape::Experts &experts = read.experts;
  const std::vector<Field> fields = {
      {"", "name", &read.name, "\"my model\""},
      Field{"", "layers", &read.layers, "32", true, 1, 10000},
      count("", "hidden", &read.hidden, "4096", true),
      count("", "vocabulary", &read.vocabulary, "32000", true),
      count("", "sequence", &read.sequence, "4096", true),
      flag("", "tied_embedding", &read.tiedEmbedding),
      count("", "positions", &read.positions, "2048", false),
      {"", "norm", &norm, "\"rms\"", false, 0, 0, false, {"layer", "rms"}},
      flag("", "biases", &read.biases),
      flag("", "dropout", &read.dropout),
      Field{"", "multi_token_prediction", &read.multiTokenPrediction, "1", false, 0, 100},
      count("attention", "heads", &attention.heads, "32", true),
      count("attention", "kv_heads", &attention.kvHeads, "8", false),
      count("attention", "head_dim", &attention.headDim, "128", true),
      count("attention", "q_rank", &attention.qRank, "1536", false),
      count("attention", "kv_rank", &attention.kvRank, "512", false),
      count("attention", "rope_dim", &attention.ropeDim, "64", false),
      count("attention", "value_dim", &attention.valueDim, "128", false),
      flag("attention", "query_key_norm", &attention.queryKeyNorm),
      flag("attention", "fused", &attention.fused),
      flag("attention", "causal", &attention.causal),
      {"feed_forward", "kind", &kind, "\"swiglu\"", false, 0, 0, false, {"gelu", "swiglu"}},
      count("feed_forward", "width", &read.feedForward.width, "14336", false),
      count("experts", "count", &experts.count, "8", false),
      count("experts", "top_k", &experts.topK, "2", false),
      count("experts", "width", &experts.width, "2048", false),
      count("experts", "shared", &experts.shared, "1", false),
      count("experts", "dense_layers", &experts.denseLayers, "3", false),
      count("experts", "node_limit", &experts.nodeLimit, "4", false)};
  if (Refusal refusal = readFields(text, path, fields))
    return refusal;
  read.norm = norm == "rms" ? ModelShape::Norm::Rms : ModelShape::Norm::Layer;
  read.feedForward.kind = kind == "swiglu" ? ModelShape::FeedForward::Kind::Swiglu
                                           : ModelShape::FeedForward::Kind::Gelu;
  if (attention.kvHeads == 0)
    attention.kvHeads = attention.heads;
  if (Refusal refusal = checkShape(path, read))
    return refusal;
  shape = read;
  return {};
}
