//===- Workloads.cpp - A schedule problem from flags or TOML -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#define TOML_EXCEPTIONS 0 // as the cost model's reader: one program has one kind of toml++
#include "Workloads.h"
#include "Files.h"
#include <algorithm>
#include <set>
#include <toml++/toml.h>

using namespace moire::plan;
using moire::scheduling::StageCost;

namespace {

struct CostKey {
  const char *name;
  double StageCost::*field;
  bool isTime;
};

/// The names of costs in --costs and in TOML.
constexpr CostKey kCosts[] = {{"F", &StageCost::forward, true},
                              {"B", &StageCost::backward, true},
                              {"b", &StageCost::backwardInput, true},
                              {"W", &StageCost::backwardWeight, true},
                              {"FB", &StageCost::forwardWithBackward, true},
                              {"Fb", &StageCost::forwardWithBackwardInput, true},
                              {"FF", &StageCost::twoForwards, true},
                              {"BB", &StageCost::twoBackwards, true},
                              {"bb", &StageCost::twoBackwardInputs, true},
                              {"F_collective", &StageCost::forwardCollective, true},
                              {"B_collective", &StageCost::backwardCollective, true},
                              {"parameters", &StageCost::parameterBytes, false},
                              {"activation", &StageCost::activationBytes, false},
                              {"weight_residual", &StageCost::weightResidualBytes, false},
                              {"output", &StageCost::outputBytes, false}};

std::vector<std::string> costNames() {
  std::vector<std::string> names;
  for (const CostKey &key : kCosts)
    names.push_back(key.name);
  return names;
}

/// Whether times and sizes are all with a unit or all without: a problem has one of each.
class UnitCheck {
public:
  void note(bool isTime, const std::string &what, double value, bool named) {
    if (value != 0)
      first[isTime][named].empty() ? void(first[isTime][named] = what) : void();
  }
  Refusal check(Units &units) const {
    for (bool isTime : {true, false})
      if (!first[isTime][0].empty() && !first[isTime][1].empty())
        return text(first[isTime][1], " has a unit and ", first[isTime][0], " has none; write all ",
                    isTime ? "times" : "sizes", " with a unit, or all without");
    units.seconds = !first[true][1].empty();
    units.bytes = !first[false][1].empty();
    return {};
  }

private:
  std::string first[2][2]; ///< [time or size][without or with a unit]
};

} // namespace

/// "F=57.6ms" … into one part's costs.
static Refusal readCosts(const std::vector<std::string> &texts, const std::string &where,
                         UnitCheck &units, StageCost &cost) {
  std::set<std::string> given;
  cost.activationBytes = 1;
  for (const std::string &entry : texts) {
    const size_t equals = entry.find('=');
    const std::string name = entry.substr(0, equals);
    const CostKey *known = nullptr;
    for (const CostKey &key : kCosts)
      if (name == key.name)
        known = &key;
    if (equals == std::string::npos || !known) {
      const std::string near = nearest(name, costNames());
      return text(where, " has '", entry, "', which is no cost; use NAME=VALUE with NAME one of ",
                  list(costNames()), near.empty() ? "" : text(" (the nearest is ", near, ")"));
    }
    if (!given.insert(name).second)
      return text(where, " gives ", name, " twice; give it once");
    bool named = false;
    double value = 0;
    const std::string what = text(name, " of ", where);
    if (Refusal refusal = known->isTime ? readTime(entry.substr(equals + 1), what, value, named)
                                        : readBytes(entry.substr(equals + 1), what, value, named))
      return refusal;
    units.note(known->isTime, text("'", entry, "'"), value, named);
    cost.*known->field = value;
  }
  auto has = [&](const char *name) { return given.count(name) > 0; };
  // Beside a default, other times cannot have a unit.
  if (!has("F"))
    units.note(true, "the default F=1", cost.forward, false);
  if (!has("activation"))
    units.note(false, "the default activation=1", cost.activationBytes, false);
  if (!has("B"))
    cost.backward = has("b") && has("W") ? cost.backwardInput + cost.backwardWeight
                    : has("b")           ? 2 * cost.backwardInput
                    : has("W")           ? 2 * cost.backwardWeight
                                         : 2 * cost.forward;
  if (!has("b"))
    cost.backwardInput = has("W") ? cost.backward - cost.backwardWeight : cost.backward / 2;
  if (!has("W"))
    cost.backwardWeight = cost.backward - cost.backwardInput;
  if (cost.backwardInput < 0 || cost.backwardWeight < 0)
    return text("the backward cost B of ", where, " is ", cost.backward, ", less than its part ",
                has("b") ? "b" : "W", " of ", has("b") ? cost.backwardInput : cost.backwardWeight,
                "; B is b and W together");
  return {};
}

static Refusal readCount(const std::string &word, const std::string &what, int &value) {
  char *end = nullptr;
  const long number = std::strtol(word.c_str(), &end, 10);
  if (word.empty() || *end || number < 1 || number > 1000000)
    return text(what, " '", word, "' is not a whole number from 1 to 1000000; use for example 8");
  value = static_cast<int>(number);
  return {};
}

Refusal moire::plan::readWorkload(const WorkloadText &given, NamedWorkload &result) {
  result = NamedWorkload();
  scheduling::Workload &work = result.workload;
  if (given.ranks.empty())
    return text("the problem has no number of ranks; give --ranks N");
  if (given.microBatches.empty())
    return text("the problem has no number of micro-batches; give --microbatches N");
  if (Refusal refusal = readCount(given.ranks, "--ranks", work.ranks))
    return refusal;
  if (Refusal refusal = readCount(given.microBatches, "--microbatches", work.microBatches))
    return refusal;
  if (!given.pieces.empty())
    if (Refusal refusal = readCount(given.pieces, "--pieces", work.pieces))
      return refusal;

  UnitCheck units;
  int parts = work.ranks;
  if (!given.parts.empty())
    if (Refusal refusal = readCount(given.parts, "--parts", parts))
      return refusal;
  if (!given.eachPart.empty()) {
    if (!given.costs.empty())
      return text("the costs of ", given.eachPart.size(), " parts are given one by one, and ",
                  given.costs.size(), " costs for all; give one of --costs and [[part]]");
    for (size_t p = 0; p < given.eachPart.size(); ++p) {
      StageCost cost;
      if (Refusal refusal = readCosts(given.eachPart[p], text("part ", p), units, cost))
        return refusal;
      work.parts.push_back(cost);
    }
  } else {
    StageCost cost;
    if (Refusal refusal = readCosts(given.costs, "--costs", units, cost))
      return refusal;
    work.parts.assign(parts, cost);
  }

  double time = 0;
  for (const StageCost &cost : work.parts)
    time += cost.forward + cost.backward;
  if (time == 0)
    return text("all costs F and B of ", parts, " parts are 0, so that a step takes no time; give ",
                "one above 0");

  auto readOptional = [&](const std::string &word, const char *flag, auto read, bool isTime,
                          double &value) -> Refusal {
    if (word.empty())
      return {};
    bool named = false;
    if (Refusal refusal = read(word, flag, value, named))
      return refusal;
    units.note(isTime, text(flag, " ", word), value, named);
    return {};
  };
  if (Refusal refusal = readOptional(given.latency, "--latency", readTime, true, work.link.latency))
    return refusal;
  if (Refusal refusal =
          readOptional(given.optimizer, "--optimizer", readTime, true, result.optimizer))
    return refusal;
  const auto readLimit = [](const std::string &word, const std::string &, double &value,
                            bool &named) { return readMemoryLimit(word, value, named); };
  if (Refusal refusal =
          readOptional(given.memoryLimit, "--memory-limit", readLimit, false, work.memoryLimit))
    return refusal;
  if (Refusal refusal =
          readOptional(given.bandwidth, "--bandwidth", readBandwidth, false, work.link.bandwidth))
    return refusal;
  if (!given.contention.empty())
    if (Refusal refusal = readNumber(given.contention, "--contention", work.contention))
      return refusal;
  return units.check(result.units);
}

//===----------------------------------------------------------------------===//
// TOML
//===----------------------------------------------------------------------===//

/// A number or a string as the text that a flag would have.
static bool asText(const toml::node &node, std::string &result) {
  if (auto string = node.value_exact<std::string>())
    result = *string;
  else if (auto whole = node.value_exact<int64_t>())
    result = std::to_string(*whole);
  else if (auto number = node.value_exact<double>()) {
    std::ostringstream out;
    out.precision(17);
    out << *number;
    result = out.str();
  } else
    return false;
  return true;
}

static std::string at(const std::string &path, const toml::node &node) {
  return text("'", path, "' line ", node.source().begin.line);
}

static Refusal readCostTable(const std::string &path, const toml::node &node,
                             std::vector<std::string> &costs) {
  const toml::table *table = node.as_table();
  if (!table)
    return text(at(path, node), " gives costs that are no table; write [costs] or [[part]] and "
                                "F = 1 below it");
  for (const auto &[key, value] : *table) {
    std::string word;
    if (!asText(value, word))
      return text(at(path, value), ": cost '", key.str(),
                  "' is neither a number nor text; write it as ", key.str(), " = \"57.6ms\" or ",
                  key.str(), " = 3");
    costs.push_back(text(key.str(), "=", word));
  }
  return {};
}

Refusal moire::plan::readWorkloadFile(const std::string &path, WorkloadText &given) {
  std::string contents;
  if (Refusal refusal = readFile(path, contents))
    return refusal;
  const toml::parse_result parsed = toml::parse(contents, path);
  if (!parsed)
    return text("'", path, "' line ", parsed.error().source().begin.line,
                " is not TOML: ", parsed.error().description());
  const toml::table &file = parsed.table();
  const std::map<std::string, std::string *> words = {
      {"ranks", &given.ranks},           {"microbatches", &given.microBatches},
      {"parts", &given.parts},           {"pieces", &given.pieces},
      {"latency", &given.latency},       {"bandwidth", &given.bandwidth},
      {"contention", &given.contention}, {"memory_limit", &given.memoryLimit},
      {"optimizer", &given.optimizer}};
  for (const auto &[key, node] : file) {
    const std::string name(key.str());
    if (auto word = words.find(name); word != words.end()) {
      std::string value;
      if (!asText(node, value))
        return text(at(path, node), ": '", name, "' is neither a number nor text; write it as ",
                    name, " = 8");
      if (word->second->empty())
        *word->second = value;
    } else if (name == "schedule") {
      std::vector<std::string> schedules;
      if (auto one = node.value_exact<std::string>())
        schedules.push_back(*one);
      else if (const toml::array *several = node.as_array())
        for (const toml::node &entry : *several)
          schedules.push_back(entry.value_or(std::string()));
      if (schedules.empty() || std::count(schedules.begin(), schedules.end(), std::string()))
        return text(at(path, node), ": 'schedule' is neither text nor a list of texts; write it "
                                    "as schedule = \"1f1b\"");
      if (given.schedules.empty())
        given.schedules = schedules;
    } else if (name == "costs") {
      std::vector<std::string> costs;
      if (Refusal refusal = readCostTable(path, node, costs))
        return refusal;
      if (given.costs.empty())
        given.costs = costs;
    } else if (name == "part" && node.is_array_of_tables()) {
      for (const toml::node &part : *node.as_array()) {
        given.eachPart.emplace_back();
        if (Refusal refusal = readCostTable(path, part, given.eachPart.back()))
          return refusal;
      }
    } else if (name == "part") {
      return text(at(path, node), ": 'part' is no list of tables; write [[part]] for each part and "
                                  "F = 1 below it");
    } else {
      std::vector<std::string> names = {"schedule", "[costs]", "[[part]]"};
      for (const auto &[word, value] : words)
        names.push_back(word);
      const std::string near = nearest(name, names);
      return text(at(path, node), ": '", name, "' is no key of a problem; use ", list(names),
                  near.empty() ? "" : text(" (the nearest is ", near, ")"));
    }
  }
  return {};
}
