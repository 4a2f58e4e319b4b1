//===- Balance.cpp - Experts onto devices, by their loads ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Balance.h"
#include "Report.h"
#include "moire/Scheduling/ExpertBalance.h"
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>

using namespace moire::plan;
using namespace moire::scheduling;
using Json = nlohmann::ordered_json;

/// Rows of numbers; a first line without any number is a heading, `#` begins a comment.
static Refusal readCsv(const std::string &path, std::vector<std::vector<double>> &rows) {
  std::string contents;
  if (Refusal refusal = readFile(path, contents))
    return refusal;
  std::istringstream in(contents);
  std::string line;
  bool first = true;
  for (int number = 1; std::getline(in, line); ++number) {
    line = line.substr(0, line.find('#'));
    if (line.find_first_not_of(" \t\r") == std::string::npos)
      continue;
    std::vector<double> row;
    std::string wrong;
    std::istringstream cells(line);
    for (std::string cell; std::getline(cells, cell, ',');) {
      const size_t begin = cell.find_first_not_of(" \t\r");
      cell = begin == std::string::npos
                 ? ""
                 : cell.substr(begin, cell.find_last_not_of(" \t\r") - begin + 1);
      char *end = nullptr;
      const double value = std::strtod(cell.c_str(), &end);
      if (cell.empty() || *end)
        wrong = cell;
      else
        row.push_back(value);
      if (cell.empty() && wrong.empty())
        wrong = "(empty)";
    }
    if (first && row.empty() && !wrong.empty()) {
      first = false;
      continue;
    }
    first = false;
    for (char c : wrong)
      if (c < ' ' || c > '~')
        return text("'", path, "' line ", number, " is not text; give a CSV file");
    if (!wrong.empty())
      return text("'", path, "' line ", number, ": '", wrong,
                  "' is not a number; write numbers with commas between them");
    if (!rows.empty() && row.size() != rows[0].size())
      return text("'", path, "' line ", number, " has ", row.size(), " columns, the first row has ",
                  rows[0].size(), "; give each layer as many");
    rows.push_back(row);
  }
  if (rows.empty())
    return text("'", path,
                "' has no row of numbers; give a row for each layer and a column for "
                "each expert");
  return {};
}

/// Experts in order, one slot each and the last slots empty, as they are before any balancing.
static std::vector<double> loadsInOrder(const BalanceProblem &problem, int layer) {
  std::vector<double> device(problem.gpus);
  const int experts = static_cast<int>(problem.load[layer].size());
  const int perDevice = (experts + problem.gpus - 1) / problem.gpus;
  for (int e = 0; e < experts; ++e)
    device[e / perDevice] += problem.load[layer][e];
  return device;
}

namespace {
/// How even a placement is, over all layers.
struct Evenness {
  std::vector<double> balancedness, largest; ///< per layer
  std::vector<int> moves;

  void add(const std::vector<double> &devices, int moved) {
    double sum = 0, most = 0;
    for (double load : devices) {
      sum += load;
      most = std::max(most, load);
    }
    largest.push_back(most);
    balancedness.push_back(most > 0 ? sum / static_cast<double>(devices.size()) / most : 1);
    moves.push_back(moved);
  }
  double mean() const { return total(balancedness) / static_cast<double>(balancedness.size()); }
  double worst() const { return *std::min_element(balancedness.begin(), balancedness.end()); }
  static double total(const std::vector<double> &values) {
    double sum = 0;
    for (double value : values)
      sum += value;
    return sum;
  }
  int allMoves() const {
    int sum = 0;
    for (int m : moves)
      sum += m;
    return sum;
  }
  Json json() const {
    return {{"balancedness", mean()},
            {"balancedness_worst_layer", worst()},
            {"largest_load_total", total(largest)},
            {"moves", allMoves()}};
  }
};
} // namespace

static Evenness evenness(const BalanceProblem &problem, const Balance &placement) {
  Evenness result;
  for (int layer = 0; layer < static_cast<int>(problem.load.size()); ++layer)
    result.add(deviceLoads(problem, placement, layer), moves(problem, placement, layer));
  return result;
}

/// The placement in use as a Balance, for its loads.
static Balance presentPlacement(const BalanceProblem &problem) {
  Balance placement;
  placement.slotExpert = problem.present;
  for (const std::vector<int> &slots : problem.present) {
    std::vector<int> counts(problem.load[0].size());
    for (int e : slots)
      ++counts[e];
    placement.counts.push_back(counts);
  }
  return placement;
}

static Refusal readProblem(const BalanceRequest &request, BalanceProblem &problem) {
  std::vector<std::vector<double>> rows;
  if (Refusal refusal = readCsv(request.loads, rows))
    return refusal;
  for (const std::vector<double> &row : rows)
    problem.load.emplace_back(row.begin(), row.end());
  const int experts = static_cast<int>(rows[0].size());
  if (request.gpus < 1)
    return text("--balance places ", experts,
                " experts on 0 devices; give their number as --gpus N");
  // The published algorithm does not look at nodes that groups do not divide over; a machine does.
  if (request.gpus % request.nodes)
    return text(request.gpus, " devices do not divide over --nodes ", request.nodes, "; use ",
                request.gpus > request.nodes
                    ? text(request.gpus / request.nodes * request.nodes, " or ")
                    : std::string(),
                (request.gpus / request.nodes + 1) * request.nodes, " devices");
  problem.gpus = request.gpus;
  problem.nodes = request.nodes;
  problem.groups = request.groups;
  problem.replicas = request.replicas > 0
                         ? request.replicas
                         : (experts + request.gpus - 1) / request.gpus * request.gpus;
  problem.groupsStayInNode = request.groupsStayInNode;
  problem.moveCost = request.moveCost;
  if (request.present.empty())
    return {};
  rows.clear();
  if (Refusal refusal = readCsv(request.present, rows))
    return refusal;
  if (rows.size() != problem.load.size())
    return text("the present placement '", request.present, "' has ", rows.size(),
                " layers, the loads have ", problem.load.size(), "; give a row for each layer");
  if (rows[0].size() != static_cast<size_t>(problem.replicas))
    return text("the present placement '", request.present, "' has ", rows[0].size(),
                " slots, not ", problem.replicas, "; use --replicas ", rows[0].size());
  for (const std::vector<double> &row : rows) {
    problem.present.emplace_back();
    for (double value : row) {
      if (value != std::floor(value) || value < 0 || value >= experts)
        return text("the present placement '", request.present, "' names expert ", value, " of ",
                    experts, "; use 0 to ", experts - 1);
      problem.present.back().push_back(static_cast<int>(value));
    }
  }
  return {};
}

Refusal moire::plan::balance(const BalanceRequest &request, std::ostream &out, Files &files) {
  const bool published = request.algorithm == "published";
  if (!published && request.algorithm != "moire")
    return text("--algorithm '", request.algorithm, "' is not known; use published or moire");
  const bool csv = request.output.size() > 4 &&
                   request.output.compare(request.output.size() - 4, 4, ".csv") == 0;
  const bool json = request.output.size() > 5 &&
                    request.output.compare(request.output.size() - 5, 5, ".json") == 0;
  if (!request.output.empty() && !csv && !json && request.output != "-")
    return text("the placement's file '", request.output,
                "' is neither .csv nor .json; use for example -o placement.csv");
  BalanceProblem problem;
  if (Refusal refusal = readProblem(request, problem))
    return refusal;
  Balance reference, placement;
  if (Refusal refusal = rebalanceExperts(problem, reference))
    return refusal;
  if (published)
    placement = reference;
  else if (Refusal refusal = balanceExperts(problem, placement))
    return refusal;

  Evenness before, after = evenness(problem, placement);
  if (!problem.present.empty())
    before = evenness(problem, presentPlacement(problem));
  else
    for (int layer = 0; layer < static_cast<int>(problem.load.size()); ++layer)
      before.add(loadsInOrder(problem, layer), 0);

  const int layers = static_cast<int>(problem.load.size());
  out << layers << (layers == 1 ? " layer of " : " layers of ") << problem.load[0].size()
      << " experts on " << problem.gpus << " devices with " << problem.replicas / problem.gpus
      << " slots each\n\n";
  Table table(
      {"placement", "balancedness", "in the worst layer", "largest loads, all layers", "moves"});
  auto row = [&](const std::string &name, const Evenness &e) {
    char mean[16], worst[16];
    std::snprintf(mean, sizeof mean, "%.4f", e.mean());
    std::snprintf(worst, sizeof worst, "%.4f", e.worst());
    table.add({name, mean, worst, text(Evenness::total(e.largest)),
               problem.present.empty() ? "" : std::to_string(e.allMoves())});
  };
  row(problem.present.empty() ? "experts in order" : "present", before);
  row("published", evenness(problem, reference));
  if (!published)
    row("moire", after);
  table.write(out);
  out << "\nBalancedness is the mean load of devices over the largest: 1 is perfect.\n";

  files.add(request.output, [&](std::ostream &file) {
    if (json) {
      file << Json{{"slot_expert", placement.slotExpert},
                   {"expert_slots", placement.expertSlots},
                   {"replicas", placement.counts}}
                  .dump()
           << "\n";
      return;
    }
    for (const std::vector<int> &slots : placement.slotExpert)
      for (size_t s = 0; s < slots.size(); ++s)
        file << slots[s] << (s + 1 < slots.size() ? "," : "\n");
  });
  files.add(request.json, [&](std::ostream &file) {
    Json report = {{"layers", layers},
                   {"experts", problem.load[0].size()},
                   {"devices", problem.gpus},
                   {"replicas", problem.replicas},
                   {"algorithm", request.algorithm},
                   {"before", before.json()},
                   {"after", after.json()}};
    for (int layer = 0; layer < layers; ++layer)
      report["per_layer"].push_back({{"balancedness_before", before.balancedness[layer]},
                                     {"balancedness", after.balancedness[layer]},
                                     {"largest_load", after.largest[layer]},
                                     {"moves", after.moves[layer]}});
    report["placement"] = placement.slotExpert;
    file << Json{{"balance", report}}.dump(1) << "\n";
  });
  return {};
}
