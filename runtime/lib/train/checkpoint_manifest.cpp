//===- checkpoint_manifest.cpp - What a checkpoint says of itself ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/checkpoint_manifest.h"
#include "moire/rt/checksum.h"
#include "moire/rt/pipeline.h"
#include "train/shards.h"
#include "train/tensor_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace moire::rt {

using nlohmann::json;

static constexpr int kVersion = 1;
static const char *const kFormat = "moire checkpoint";

static std::string hex(uint64_t v) {
  char text[20];
  std::snprintf(text, sizeof text, "%016llx", (unsigned long long)v);
  return text;
}
static uint64_t fromHex(const std::string &text) {
  if (text.size() != 16 || text.find_first_not_of("0123456789abcdef") != std::string::npos)
    throw Damaged("its manifest has '" + text + "' for a checksum");
  return std::stoull(text, nullptr, 16);
}

uint64_t parametersPrint(const Program &p) {
  std::vector<std::string> lines;
  for (const ParameterInfo *parameter : allParameters(p))
    if (parameter->trainable)
      lines.push_back(std::string(parameter->torchName) + " " + shapeText(globalShape(*parameter)) +
                      "\n");
  std::sort(lines.begin(), lines.end());
  uint64_t print = fnv1a(nullptr, 0);
  for (const std::string &line : lines)
    print = fnv1a(line.data(), line.size(), print);
  return print;
}

std::string Manifest::text() const {
  json content = {{"model", model},         {"parameters", hex(parameters)},
                  {"optimizer", optimizer}, {"seed", seed},
                  {"step", progress.step},  {"rows", progress.rows},
                  {"files", json::array()}, {"options", json::array()}};
  if (row.tokens > 0)
    content["row"] = {{"tokens", row.tokens}, {"pieces", row.pieces}};
  for (const File &f : files)
    content["files"].push_back({{"name", f.name}, {"bytes", f.bytes}, {"sum", hex(f.sum)}});
  for (auto &[flag, value] : options)
    content["options"].push_back({flag, value});
  for (const GroupProgress &g : progress.groups)
    content["groups"].push_back({{"name", g.name},
                                 {"members", hex(g.members)},
                                 {"updates", g.updates},
                                 {"quiet", g.quiet},
                                 {"frozen", g.frozen}});
  const std::string dumped = content.dump();
  const json all = {{"format", kFormat},
                    {"version", kVersion},
                    {"content", content},
                    {"sum", hex(fnv1a(dumped.data(), dumped.size()))}};
  return all.dump(1) + "\n";
}

Manifest Manifest::parse(const std::string &text) {
  Manifest m;
  try {
    const json all = json::parse(text);
    if (all.at("format") != kFormat)
      throw Damaged("its manifest is not one of a checkpoint");
    if (const int64_t version = all.at("version").get<int64_t>(); version != kVersion)
      throw InputError("is in version " + std::to_string(version) +
                       " of the format, this trainer reads version " + std::to_string(kVersion) +
                       "; resume it with a trainer of the version that wrote it");
    const json &content = all.at("content");
    const std::string dumped = content.dump();
    if (fromHex(all.at("sum").get<std::string>()) != fnv1a(dumped.data(), dumped.size()))
      throw Damaged("its manifest has another checksum than it says");
    m.model = content.at("model").get<std::string>();
    m.parameters = fromHex(content.at("parameters").get<std::string>());
    m.optimizer = content.at("optimizer").get<std::string>();
    m.seed = content.at("seed").get<uint64_t>();
    m.progress = {content.at("step").get<int64_t>(), content.at("rows").get<int64_t>()};
    for (const json &g : content.value("groups", json::array()))
      m.progress.groups.push_back({g.at("name").get<std::string>(),
                                   fromHex(g.at("members").get<std::string>()),
                                   g.at("updates").get<int64_t>(), g.at("quiet").get<int64_t>(),
                                   g.at("frozen").get<bool>()});
    if (content.contains("row"))
      m.row = {content.at("row").at("tokens").get<int64_t>(),
               content.at("row").at("pieces").get<int64_t>()};
    if (m.row.pieces < 1)
      throw Damaged("its manifest counts rows in " + std::to_string(m.row.pieces) + " pieces");
    for (const json &f : content.at("files"))
      m.files.push_back({f.at("name").get<std::string>(), f.at("bytes").get<int64_t>(),
                         fromHex(f.at("sum").get<std::string>())});
    for (const json &o : content.at("options"))
      m.options.emplace_back(o.at(0).get<std::string>(), o.at(1).get<std::string>());
  } catch (const json::exception &e) {
    throw Damaged(std::string("its manifest is wrong (") + e.what() + ")");
  }
  return m;
}

Manifest Manifest::of(const Program &p, const Options &o, const Progress &progress, int64_t rows) {
  Manifest m;
  m.model = p.name;
  m.parameters = parametersPrint(p);
  m.optimizer = p.optimizer == OptimizerKind::adamw ? "AdamW"
                : o.hyper.momentum != 0             ? "SGD with momentum"
                                                    : "SGD without momentum";
  m.seed = o.seed;
  m.progress = progress;
  m.row = {lengthsOf(p).back()->seq, piecesOfRow(p)};
  auto add = [&](const char *flag, double value) {
    char text[40];
    std::snprintf(text, sizeof text, "%.9g", value);
    m.options.emplace_back(flag, text);
  };
  m.options.emplace_back("--data", o.data.path);
  std::string mix;
  for (const std::string &change : o.data.mix)
    mix += (mix.empty() ? "" : " ") + change;
  m.options.emplace_back("--mix", mix.empty() ? "none" : mix);
  m.options.emplace_back("--documents", o.data.keepDocuments ? "keep" : "join");
  m.options.emplace_back("--curriculum", o.curriculum.empty() ? "none" : o.curriculum);
  add("rows of a step", double(rows));
  add("--lr", o.lr);
  m.options.emplace_back("--lr-schedule", nameOf(o.schedule));
  add("--warmup", double(o.warmup));
  if (o.schedule != Schedule::constant)
    add("--steps", double(o.steps));
  add("--weight-decay", o.hyper.weightDecay);
  m.options.emplace_back("--decay", o.hyper.decayMatricesOnly ? "matrices" : "all");
  add("--clip", o.clip);
  if (p.numUpdateGroups) {
    m.options.emplace_back("--update-schedule", o.updates.empty() ? "all@0" : o.updateSchedule);
    add("--freeze-below", o.freezeBelow);
    if (o.freezeBelow > 0)
      add("--freeze-patience", double(o.freezePatience));
  }
  if (p.optimizer == OptimizerKind::adamw) {
    add("--beta1", o.hyper.beta1);
    add("--beta2", o.hyper.beta2);
    add("--eps", o.hyper.eps);
  } else {
    add("--momentum", o.hyper.momentum);
  }
  return m;
}

void Manifest::mustMatch(const Manifest &run, const std::string &path) const {
  const std::string weights =
      "; or begin with its weights by --weights '" + path + "/weights.safetensors'";
  if (parameters != run.parameters)
    throw InputError("checkpoint '" + path + "' is of the model '" + model +
                     "' with other trained parameters (fingerprint " + hex(parameters) +
                     "), this program is '" + run.model + "' (" + hex(run.parameters) +
                     "); resume it with a program of that model");
  if (optimizer != run.optimizer)
    throw InputError("checkpoint '" + path + "' is of a run with " + optimizer + ", this one has " +
                     run.optimizer + "; use the same one" + weights);
  if (seed != run.seed)
    throw InputError("checkpoint '" + path + "' is of a run with --seed " + std::to_string(seed) +
                     ", this one has " + std::to_string(run.seed) + "; use --seed " +
                     std::to_string(seed) + weights);
  if ((row.pieces > 1 || run.row.pieces > 1) && row.tokens > 0 && row.tokens != run.row.tokens)
    throw InputError("checkpoint '" + path + "' is of a run whose longest sequences have " +
                     std::to_string(row.tokens) + " tokens, those of this program have " +
                     std::to_string(run.row.tokens) +
                     ", and its place in the data is in sequences; compile the same longest one" +
                     weights);
}

Progress Manifest::progressOf(const Manifest &run) const {
  Progress own = progress;
  own.rows = (progress.rows * run.row.pieces + row.pieces - 1) / row.pieces;
  return own;
}

std::string Manifest::differences(const Manifest &run) const {
  std::string list;
  for (auto &[flag, value] : run.options)
    for (auto &[otherFlag, other] : options)
      if (flag == otherFlag && value != other)
        list += (list.empty() ? "" : ", ") + flag + " " + value + " (was " + other + ")";
  return list;
}

} // namespace moire::rt
