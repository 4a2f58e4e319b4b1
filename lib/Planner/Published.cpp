//===- Published.cpp - Rows of published tables ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Sources:
// SC21: Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters Using
//   Megatron-LM", table 1; micro-batches and virtual stages from NVIDIA/Megatron-LM,
//   examples/academic_paper_scripts/sc21/run_table_1.sh.
// Recompute: Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models",
//   tables 3 and 5.
// ISCA'25: "Insights into DeepSeek-V3", table 4.
// Bridge: NVIDIA-NeMo/Megatron-Bridge, docs/performance-summary.md and its archive.
// Hopper: NVIDIA/Megatron-LM, README.md, images/model_table.png.
// Others: README files of Megatron Core's MoE and of torchtitan.
//
//===----------------------------------------------------------------------===//
#include "moire/Planner/Published.h"
#include "moire/Planner/Search.h"
#include <cmath>
#include <cstdio>
#include <ostream>

using namespace moire::planner;
using namespace moire::cost;
using moire::scheduling::Kind;

/// A GPT as Megatron trained it before attention was fused.
static ModelShape gpt(const char *name, int layers, int hidden, int heads) {
  ModelShape shape;
  shape.name = name;
  shape.layers = layers;
  shape.hidden = hidden;
  shape.vocabulary = 51200;
  shape.sequence = shape.positions = 2048;
  shape.tiedEmbedding = shape.biases = shape.dropout = true;
  shape.norm = ModelShape::Norm::Layer;
  shape.attention.heads = shape.attention.kvHeads = heads;
  shape.attention.headDim = hidden / heads;
  shape.attention.fused = false;
  shape.feedForward.kind = ModelShape::FeedForward::Kind::Gelu;
  shape.feedForward.width = 4 * hidden;
  return shape;
}

static Kind interleaved(int chunks) {
  return chunks > 1 ? Kind{Kind::Interleaved, chunks} : Kind{Kind::OneFOneB, 1};
}

static void addMegatron(std::vector<PublishedRow> &rows) {
  struct Row {
    const char *name;
    int layers, hidden, heads, tp, pp, gpus, batch, microBatch, chunks;
    double teraflops;
    bool fitted;
  };
  static const Row kRows[] = {{"1.7B", 24, 2304, 24, 1, 1, 32, 512, 16, 1, 137, true},
                              {"3.6B", 30, 3072, 32, 2, 1, 64, 512, 16, 1, 138, false},
                              {"7.5B", 36, 4096, 32, 4, 1, 128, 512, 16, 1, 142, false},
                              {"18.4B", 40, 6144, 48, 8, 1, 256, 1024, 8, 1, 135, true},
                              {"39.1B", 48, 8192, 64, 8, 2, 512, 1536, 4, 1, 138, false},
                              {"76.1B", 60, 10240, 80, 8, 4, 1024, 1792, 2, 3, 140, false},
                              {"145.6B", 80, 12288, 96, 8, 8, 1536, 2304, 2, 2, 148, true},
                              {"310.1B", 96, 16384, 128, 8, 16, 1920, 2160, 1, 2, 155, false},
                              {"529.6B", 105, 20480, 128, 8, 35, 2520, 2520, 1, 3, 163, false},
                              {"1008.0B", 128, 25600, 160, 8, 64, 3072, 3072, 1, 1, 163, true}};
  for (const Row &from : kRows) {
    PublishedRow row;
    row.table = "SC21";
    row.name = from.name;
    row.shape = gpt(from.name, from.layers, from.hidden, from.heads);
    row.cluster = "a100";
    row.plan.tp = from.tp;
    row.plan.pp = from.pp;
    row.plan.dp = from.gpus / from.tp / from.pp;
    row.plan.microBatch = from.microBatch;
    row.plan.microBatches = from.batch / row.plan.dp / from.microBatch;
    row.plan.schedule = interleaved(from.chunks);
    row.plan.recompute = Recompute::Full;
    row.plan.sequenceParallel = false;
    row.plan.zero = 0;
    row.plan.overlapGradients = false;
    row.unit = PublishedRow::FullTeraflopsRecomputed;
    row.published = from.teraflops;
    row.fitted = from.fitted;
    rows.push_back(row);
  }
}

static void addRecompute(std::vector<PublishedRow> &rows) {
  struct Row {
    const char *name;
    int layers, hidden, heads, pp, batch, microBatch, chunks;
    double full, selective;
    bool fitted;
  };
  static const Row kRows[] = {{"22B", 48, 6144, 64, 1, 4, 4, 1, 1.42, 1.10, false},
                              {"175B", 96, 12288, 96, 8, 64, 1, 3, 18.13, 13.75, true},
                              {"530B", 105, 20480, 128, 35, 280, 1, 3, 49.05, 37.83, false},
                              {"1T", 128, 25600, 160, 64, 512, 1, 1, 94.42, 71.49, false}};
  for (const bool selective : {false, true})
    for (const Row &from : kRows) {
      PublishedRow row;
      row.table = "Recompute";
      row.name = std::string(from.name) +
                 (selective ? ", selective and sequence parallel" : ", full recompute");
      row.shape = gpt(from.name, from.layers, from.hidden, from.heads);
      row.cluster = "a100";
      row.plan.tp = 8;
      row.plan.pp = from.pp;
      row.plan.microBatch = from.microBatch;
      row.plan.microBatches = from.batch / from.microBatch;
      row.plan.schedule = interleaved(from.chunks);
      row.plan.recompute = selective ? Recompute::Selective : Recompute::Full;
      row.plan.sequenceParallel = selective;
      row.plan.zero = 0;
      row.plan.overlapGradients = false;
      row.unit = PublishedRow::StepSeconds;
      row.published = selective ? from.selective : from.full;
      row.fitted = from.fitted;
      rows.push_back(row);
    }
}

namespace {
/// A row for a model that has a file.
struct ModelRow {
  const char *table, *name, *model, *cluster;
  int dp, pp, ep, tp, microBatch, microBatches;
  Kind schedule;
  Recompute recompute;
  const char *precision;
  int zero;
  PublishedRow::Unit unit;
  double published;
  bool fitted;
  int sequence;
  const char *note;
};
} // namespace

/// Megatron Core's table of GPT models on H100 with attention fused.
static void addHopper(std::vector<PublishedRow> &rows) {
  struct Row {
    const char *name;
    int layers, hidden, heads, tp, pp, batch;
    double teraflops;
    bool fitted;
  };
  static const Row kRows[] = {{"1.7B", 24, 2048, 16, 1, 1, 192, 408.8, false},
                              {"7.1B", 30, 4096, 32, 2, 1, 192, 465.9, false},
                              {"16B", 32, 6144, 48, 4, 1, 192, 489.1, true},
                              {"32B", 48, 7168, 56, 8, 1, 192, 459.6, false},
                              {"70B", 84, 8192, 64, 8, 2, 384, 419.7, false},
                              {"119B", 92, 10240, 80, 8, 4, 768, 420.5, false},
                              {"177B", 96, 12288, 96, 8, 6, 1152, 432.8, false},
                              {"314B", 96, 16384, 128, 8, 8, 1536, 474.4, true},
                              {"462B", 112, 18432, 144, 8, 16, 3072, 459.9, false}};
  for (const Row &from : kRows) {
    PublishedRow row;
    row.table = "Hopper";
    row.name = from.name;
    row.shape = gpt(from.name, from.layers, from.hidden, from.heads);
    row.shape.vocabulary = 131072;
    row.shape.sequence = row.shape.positions = 4096;
    row.shape.attention.fused = true;
    row.cluster = "h100";
    row.plan.tp = from.tp;
    row.plan.pp = from.pp;
    row.plan.dp = 48;
    row.plan.overlapReduce = from.tp > 1;
    row.batchToPlan = from.batch;
    row.unit = PublishedRow::FullTeraflops;
    row.published = from.teraflops;
    row.fitted = from.fitted;
    rows.push_back(row);
  }
}

/// llm.c's GPT-2 on a node of H100: its discussions 481 and 677.
static void addLlmC(std::vector<PublishedRow> &rows) {
  struct Row {
    const char *name;
    int layers, hidden, heads, microBatch, microBatches;
    double tokens;
  };
  static const Row kRows[] = {{"GPT-2 124M, 8 H100", 12, 768, 12, 64, 1, 468000},
                              {"GPT-2 1558M, 8 H100", 48, 1600, 25, 16, 8, 46800}};
  for (const Row &from : kRows) {
    PublishedRow row;
    row.table = "llm.c";
    row.name = from.name;
    row.shape = gpt(from.name, from.layers, from.hidden, from.heads);
    row.shape.vocabulary = 50304;
    row.shape.sequence = row.shape.positions = 1024;
    row.shape.attention.fused = true;
    row.shape.dropout = false;
    row.cluster = "h100";
    row.plan.dp = 8;
    row.plan.microBatch = from.microBatch;
    row.plan.microBatches = from.microBatches;
    row.unit = PublishedRow::TokensPerDevice;
    row.published = from.tokens;
    rows.push_back(row);
  }
}

/// Predicts a row, on the published plan or on the best that its mesh allows.
static Refusal predictRow(PublishedRow &row, const ModelCost &model, const Cluster &cluster) {
  if (row.batchToPlan == 0)
    return predict(model, cluster, row.plan, row.prediction);
  moire::planner::SearchOptions options;
  options.base = row.plan;
  options.dp = {row.plan.dp};
  options.pp = {row.plan.pp};
  options.tp = {row.plan.tp};
  options.zero = {row.plan.zero};
  options.runnersUp = options.tooLarge = 0;
  options.schedules = {{Kind::OneFOneB, 1}};
  for (const int chunks : {2, 3, 4, 6, 8})
    if (row.plan.pp > 1 && row.shape.layers % (row.plan.pp * chunks) == 0)
      options.schedules.push_back({Kind::Interleaved, chunks});
  Found found;
  if (Refusal refusal = search(model, cluster, row.batchToPlan, options, found))
    return refusal;
  row.prediction = std::move(found.best);
  row.plan = row.prediction.plan;
  return {};
}

static Refusal addModels(const std::string &share, std::vector<PublishedRow> &rows) {
  constexpr Recompute none = Recompute::None, selective = Recompute::Selective;
  constexpr auto tokens = PublishedRow::TokensPerDevice;
  constexpr auto flops = PublishedRow::FullTeraflops;
  const Kind plain{Kind::OneFOneB, 1};
  const char *const kEverySecond = "there, recompute repeats every second product";
  const ModelRow kRows[] = {
      {"ISCA'25",
       "DeepSeek-V3, 2048 H800",
       "deepseek-v3",
       "h800",
       2,
       16,
       64,
       1,
       1,
       120,
       {Kind::DualPipe, 1},
       selective,
       "fp8",
       1,
       PublishedRow::StepSeconds,
       19.926,
       false,
       0,
       ""},
      {"Bridge", "Llama 3 8B, 8 H100, fp8", "llama-3.1-8b", "h100", 8, 1, 1, 1, 1, 16, plain, none,
       "fp8", 3, tokens, 14451, true, 0, ""},
      {"Bridge", "Llama 3 70B, 64 H100, fp8", "llama-3.1-70b", "h100", 2, 8, 1, 4, 1, 128,
       interleaved(5), none, "fp8", 1, tokens, 1664, false, 0, ""},
      {"Bridge", "Qwen3-30B-A3B, 16 H100, fp8", "qwen3-30b-a3b", "h100", 1, 1, 16, 1, 1, 64, plain,
       none, "fp8", 1, tokens, 8960, true, 0, ""},
      {"Bridge", "Qwen3-30B-A3B, 16 H100, fp8, pp=2", "qwen3-30b-a3b", "h100", 1, 2, 8, 1, 1, 128,
       interleaved(12), none, "fp8", 1, tokens, 9058, false, 0, ""},
      {"Bridge", "Qwen3-235B-A22B, 256 H100, fp8", "qwen3-235b-a22b", "h100", 1, 8, 16, 2, 1, 512,
       interleaved(4), selective, "fp8", 1, tokens, 1712, false, 0,
       "ep=32 over both, there; recompute is not given"},
      {"Bridge", "DeepSeek-V3, 1024 H100, fp8", "deepseek-v3", "h100", 1, 8, 64, 2, 1, 128,
       interleaved(4), selective, "fp8", 1, tokens, 1297, false, 0, "recompute is not given"},
      {"Bridge", "DeepSeek-V3, 256 B200, fp8", "deepseek-v3", "b200", 2, 16, 8, 1, 1, 256, plain,
       selective, "fp8", 1, tokens, 2815, false, 0, "recompute is not given"},
      {"Bridge", "Qwen3-30B-A3B, 8 B200, fp8", "qwen3-30b-a3b", "b200", 1, 1, 8, 1, 4, 16, plain,
       none, "fp8", 1, tokens, 27136, false, 0, ""},
      {"Bridge", "Llama 3 8B, 8 B200, fp8", "llama-3.1-8b", "b200", 8, 1, 1, 1, 2, 8, plain, none,
       "fp8", 1, tokens, 30624, false, 0, ""},
      {"Megatron Core", "Mixtral 8x7B, H100", "mixtral-8x7b", "h100", 2, 4, 8, 1, 1, 16,
       interleaved(8), none, "bf16", 1, flops, 468, true, 0,
       "64 devices and a batch of 256 are not given"},
      {"torchtitan", "Llama 3.1 8B, 8 H100, compiled", "llama-3.1-8b", "h100-500w", 8, 1, 1, 1, 2,
       1, plain, selective, "bf16", 3, tokens, 6667, false, 0, kEverySecond},
      {"torchtitan", "Llama 3.1 8B, 8 H100, compiled, fp8", "llama-3.1-8b", "h100-500w", 8, 1, 1, 1,
       2, 1, plain, selective, "fp8", 3, tokens, 8532, false, 0, kEverySecond},
      {"torchtitan", "Llama 3.1 8B, 64 H100, tp=8", "llama-3.1-8b", "h100-500w", 8, 1, 1, 8, 12, 1,
       plain, selective, "bf16", 3, tokens, 4378, false, 0, kEverySecond},
      {"torchtitan", "Llama 3.1 70B, 256 H100, tp=8", "llama-3.1-70b", "h100-500w", 32, 1, 1, 8, 16,
       1, plain, Recompute::Full, "bf16", 3, tokens, 597.3, true, 0, ""},
      {"torchtitan", "Llama 3.1 70B, 256 H100, tp=8 overlapped", "llama-3.1-70b", "h100-500w", 32,
       1, 1, 8, 16, 1, plain, Recompute::Full, "bf16", 3, tokens, 652.4, false, 0, ""},
      {"torchtitan", "Llama 3.1 70B, 256 H100, tp=8, fp8", "llama-3.1-70b", "h100-500w", 32, 1, 1,
       8, 16, 1, plain, Recompute::Full, "fp8", 3, tokens, 809.8, false, 0, ""},
  };
  for (const ModelRow &from : kRows) {
    PublishedRow row;
    row.table = from.table;
    row.name = from.name;
    if (Refusal refusal = readShape(share + "/models/" + from.model + ".toml", row.shape))
      return refusal;
    if (from.sequence > 0)
      row.shape.sequence = from.sequence;
    row.cluster = from.cluster;
    Plan &plan = row.plan;
    plan.dp = from.dp;
    plan.pp = from.pp;
    plan.ep = from.ep;
    plan.tp = from.tp;
    plan.microBatch = from.microBatch;
    plan.microBatches = from.microBatches;
    plan.schedule = from.schedule;
    plan.recompute = from.recompute;
    plan.precision = from.precision;
    plan.zero = from.zero;
    if (row.table == "ISCA'25")
      plan.optimizerBytes = 8; // moments in bf16 (DeepSeek-V3, section 3.3.2)
    row.unit = from.unit;
    plan.overlapReduce =
        plan.tp > 1 && (row.table == "Bridge" || row.name.find("overlapped") != std::string::npos);
    row.published = from.published;
    row.fitted = from.fitted;
    row.note = from.note;
    rows.push_back(row);
  }
  return {};
}

double PublishedRow::error() const {
  return unit == StepSeconds ? published / predicted - 1 : predicted / published - 1;
}

/// The published figure as the planner predicts it.
static double figure(const PublishedRow &row, const ModelCost &model) {
  const Prediction &prediction = row.prediction;
  const double tokens = prediction.tokensPerSecond / prediction.devices();
  switch (row.unit) {
  case PublishedRow::StepSeconds:
    return prediction.step.total();
  case PublishedRow::TokensPerDevice:
    return tokens;
  case PublishedRow::FullTeraflops:
    return tokens * model.fullFlopsPerToken / 1e12;
  case PublishedRow::FullTeraflopsRecomputed: {
    const double head = 2.0 * row.shape.hidden * row.shape.vocabulary;
    return tokens * (model.fullFlopsPerToken * 4 / 3 - head) / 1e12;
  }
  }
  return 0;
}

Refusal moire::planner::publishedRows(const std::string &share, std::vector<PublishedRow> &rows) {
  rows.clear();
  addMegatron(rows);
  addRecompute(rows);
  addHopper(rows);
  addLlmC(rows);
  if (Refusal refusal = addModels(share, rows))
    return refusal;
  for (PublishedRow &row : rows) {
    Cluster cluster;
    if (Refusal refusal = readCluster(share + "/clusters/" + row.cluster + ".toml", cluster))
      return refusal;
    if (Refusal refusal = resize(cluster, row.plan.ranks()))
      return refusal;
    const ModelCost model = costOf(row.shape);
    if (Refusal refusal = predictRow(row, model, cluster))
      return row.table + ", " + row.name + ": " + *refusal;
    row.predicted = figure(row, model);
  }
  return {};
}

//===----------------------------------------------------------------------===//
// Page
//===----------------------------------------------------------------------===//

static std::string format(const char *how, double value) {
  char words[64];
  std::snprintf(words, sizeof words, how, value);
  return words;
}

/// What each table is and how its rows were read.
static const std::pair<const char *, const char *> kTables[] = {
    {"SC21",
     "Megatron-LM on A100, GPT of 1.7B to 1T (Narayanan et al. 2021, table 1; micro-batches "
     "from the repository's script), TFLOP/s a device, full recompute counted"},
    {"Recompute", "Megatron-LM on A100 (Korthikanti et al. 2022, tables 3 and 5), seconds a step"},
    {"Hopper", "Megatron Core on H100, GPT of 1.7B to 462B (its README), TFLOP/s a device; the "
               "source leaves micro-batch, schedule and recompute open, the planner chose them"},
    {"ISCA'25", "DeepSeek-V3's training (\"Insights into DeepSeek-V3\", table 4), seconds a step"},
    {"Bridge", "Megatron Bridge (its performance summary and archive), tokens a second and device"},
    {"Megatron Core", "Megatron Core's MoE README, version 0.9, TFLOP/s a device"},
    {"llm.c", "llm.c's GPT-2 on one node of H100, tokens a second and device"},
    {"torchtitan", "torchtitan's benchmarks of December 2024 and June 2025, tokens a second and "
                   "device, on H100 held to 500 W"}};

Refusal moire::planner::writePublished(std::ostream &out, const std::string &share) {
  std::vector<PublishedRow> rows;
  if (Refusal refusal = publishedRows(share, rows))
    return refusal;
  for (const auto &[table, what] : kTables) {
    out << "**" << table << "**: " << what << ".\n\n"
        << "| row | plan | published | planner | error | fitted |\n|---|---|---|---|---|---|\n";
    std::string notes;
    double sum = 0;
    int open = 0;
    for (const PublishedRow &row : rows) {
      if (row.table != table)
        continue;
      const char *how = row.published < 100 ? "%.2f" : row.published < 1000 ? "%.1f" : "%.0f";
      out << "| " << row.name << " | " << row.plan.mesh() << ", " << row.plan.microBatches << " x "
          << row.plan.microBatch << ", " << row.plan.schedule.str() << ", "
          << name(row.plan.recompute) << " | " << format(how, row.published) << " | "
          << format(how, row.predicted) << " | " << format("%+.1f %%", 100 * row.error()) << " | "
          << (row.fitted ? "yes" : "") << " |\n";
      if (!row.note.empty() && notes.find(row.note) == std::string::npos)
        notes += "\n" + row.name + ": " + row.note + ".";
      sum += row.fitted ? 0 : std::abs(row.error());
      open += !row.fitted;
    }
    if (open > 0)
      out << "\nMean error of the rows that were not fitted: "
          << format("%.1f %%", 100 * sum / open) << ".\n";
    out << notes << (notes.empty() ? "" : "\n") << "\n";
  }
  return {};
}
