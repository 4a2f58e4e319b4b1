//===- ExpertBalance.cpp - The published expert load balancer -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/ExpertBalance.h"
#include "ExpertSearch.h"
#include "Text.h"
#include <algorithm>
#include <cmath>
#include <numeric>

using namespace moire::scheduling;

static Refusal checkBalance(const BalanceProblem &p) {
  if (p.load.empty() || p.load[0].empty())
    return text("loads of ", p.load.size(), " layers with ", p.load.empty() ? 0 : p.load[0].size(),
                " experts; give at least 1 of each");
  const int E = static_cast<int>(p.load[0].size());
  if (p.gpus < 1 || p.nodes < 1 || p.groups < 1)
    return text(p.gpus, " devices, ", p.nodes, " nodes and ", p.groups,
                " groups; use at least 1 of each");
  for (size_t layer = 0; layer < p.load.size(); ++layer) {
    if (static_cast<int>(p.load[layer].size()) != E)
      return text("layer ", layer, " has loads of ", p.load[layer].size(), " experts, layer 0 of ",
                  E);
    for (int e = 0; e < E; ++e)
      if (!std::isfinite(p.load[layer][e]) || p.load[layer][e] < 0)
        return text("load ", p.load[layer][e], " of expert ", e, " in layer ", layer,
                    " is not a finite number of at least 0");
  }
  const int lowest = (E + p.gpus - 1) / p.gpus * p.gpus;
  if (p.replicas < E)
    return text(p.replicas, " slots do not hold ", E, " experts; use ", lowest);
  if (p.replicas % p.gpus)
    return text(p.replicas, " slots do not divide over ", p.gpus, " devices; use ",
                std::max(p.replicas / p.gpus * p.gpus, lowest), " or ",
                (p.replicas / p.gpus + 1) * p.gpus);
  const bool hierarchical = p.groups % p.nodes == 0;
  if (hierarchical && E % p.groups)
    return text(E, " experts do not divide into ", p.groups, " groups; use 1 group");
  if (hierarchical && p.gpus % p.nodes)
    return text(p.gpus, " devices do not divide over ", p.nodes, " nodes; use ",
                p.gpus / p.nodes * p.nodes, " or ", (p.gpus / p.nodes + 1) * p.nodes, " devices");
  return {};
}

/// Packs items into `packs` of equally many: by descending weight each to the lightest pack with
/// room. Returns the pack and the place in it of each item.
static void pack(const std::vector<float> &weight, int packs, std::vector<int> &packOf,
                 std::vector<int> &placeIn) {
  const int n = static_cast<int>(weight.size()), room = n / packs;
  packOf.assign(n, 0), placeIn.assign(n, 0);
  std::vector<int> order(n), filled(packs, 0);
  std::iota(order.begin(), order.end(), 0);
  if (room == 1) {
    packOf = order;
    return;
  }
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return weight[a] > weight[b]; });
  std::vector<float> sum(packs, 0);
  for (int item : order) {
    int lightest = -1;
    for (int i = 0; i < packs; ++i)
      if (filled[i] < room && (lightest < 0 || sum[i] < sum[lightest]))
        lightest = i;
    packOf[item] = lightest;
    placeIn[item] = filled[lightest]++;
    sum[lightest] += weight[item];
  }
}

/// Gives each of `slots` - n further replicas to the largest weight per replica.
static std::vector<int> replicate(const std::vector<float> &weight, int slots,
                                  std::vector<int> &count) {
  std::vector<int> item(weight.size());
  std::iota(item.begin(), item.end(), 0);
  count.assign(weight.size(), 1);
  while (static_cast<int>(item.size()) < slots) {
    int largest = 0;
    for (size_t i = 1; i < weight.size(); ++i)
      if (weight[i] / static_cast<float>(count[i]) >
          weight[largest] / static_cast<float>(count[largest]))
        largest = static_cast<int>(i);
    ++count[largest];
    item.push_back(largest);
  }
  return item;
}

/// One layer: groups onto nodes, replicas inside each, devices inside each.
static std::vector<int> publishedLayer(const std::vector<float> &load, const BalanceProblem &p,
                                       int groups, int nodes) {
  const int E = static_cast<int>(load.size()), size = E / groups, perNode = E / nodes;
  std::vector<float> groupLoad(groups, 0);
  for (int e = 0; e < E; ++e)
    groupLoad[e / size] += load[e];
  std::vector<int> nodeOf, placeIn, experts(E);
  pack(groupLoad, nodes, nodeOf, placeIn);
  for (int e = 0; e < E; ++e)
    experts[(nodeOf[e / size] * (groups / nodes) + placeIn[e / size]) * size + e % size] = e;
  const int slots = p.replicas / nodes, gpus = p.gpus / nodes, perGpu = p.replicas / p.gpus;
  std::vector<int> result(p.replicas);
  for (int node = 0; node < nodes; ++node) {
    std::vector<float> weight(perNode);
    for (int i = 0; i < perNode; ++i)
      weight[i] = load[experts[node * perNode + i]];
    std::vector<int> count, gpuOf, slotIn;
    const std::vector<int> item = replicate(weight, slots, count);
    std::vector<float> share(slots);
    for (int i = 0; i < slots; ++i)
      share[i] = weight[item[i]] / static_cast<float>(count[item[i]]);
    pack(share, gpus, gpuOf, slotIn);
    for (int i = 0; i < slots; ++i)
      result[node * slots + gpuOf[i] * perGpu + slotIn[i]] = experts[node * perNode + item[i]];
  }
  return result;
}

/// Fills what follows from slotExpert.
static void complete(const BalanceProblem &p, Balance &balance) {
  const size_t layers = p.load.size(), E = p.load[0].size();
  balance.counts.assign(layers, std::vector<int>(E, 0));
  balance.expertSlots.assign(layers, std::vector<std::vector<int>>(E));
  size_t most = 0;
  for (size_t layer = 0; layer < layers; ++layer)
    for (int slot = 0; slot < p.replicas; ++slot) {
      const int e = balance.slotExpert[layer][slot];
      ++balance.counts[layer][e];
      balance.expertSlots[layer][e].push_back(slot);
      most = std::max(most, balance.expertSlots[layer][e].size());
    }
  for (auto &layer : balance.expertSlots)
    for (std::vector<int> &slots : layer)
      slots.resize(most, -1);
}

Refusal moire::scheduling::rebalanceExperts(const BalanceProblem &problem, Balance &balance) {
  if (Refusal refusal = checkBalance(problem))
    return refusal;
  const bool hierarchical = problem.groups % problem.nodes == 0;
  balance = Balance();
  for (const std::vector<float> &load : problem.load)
    balance.slotExpert.push_back(publishedLayer(load, problem, hierarchical ? problem.groups : 1,
                                                hierarchical ? problem.nodes : 1));
  complete(problem, balance);
  return {};
}

Refusal moire::scheduling::balanceExperts(const BalanceProblem &problem, Balance &balance) {
  if (Refusal refusal = checkBalance(problem))
    return refusal;
  const int E = static_cast<int>(problem.load[0].size());
  const bool hierarchical = problem.groups % problem.nodes == 0;
  if (problem.groupsStayInNode && !hierarchical)
    return text(problem.groups, " groups do not divide over ", problem.nodes,
                " nodes, so groups cannot stay in one; use ",
                (problem.groups / problem.nodes + 1) * problem.nodes, " groups or no node limit");
  if (!std::isfinite(problem.moveCost) || problem.moveCost < 0)
    return text("move cost ", problem.moveCost, " is not a finite number of at least 0");
  if (!problem.present.empty() && problem.present.size() != problem.load.size())
    return text("the present placement has ", problem.present.size(), " layers, the loads have ",
                problem.load.size());
  for (const std::vector<int> &layer : problem.present) {
    if (static_cast<int>(layer.size()) != problem.replicas)
      return text("the present placement has ", layer.size(), " slots, not ", problem.replicas);
    for (int e : layer)
      if (e < 0 || e >= E)
        return text("the present placement names expert ", e, " of ", E);
  }
  balance = Balance();
  for (size_t layer = 0; layer < problem.load.size(); ++layer) {
    std::vector<std::vector<int>> starts;
    starts.push_back(publishedLayer(problem.load[layer], problem, hierarchical ? problem.groups : 1,
                                    hierarchical ? problem.nodes : 1));
    if (!problem.groupsStayInNode && hierarchical && problem.nodes > 1)
      starts.push_back(publishedLayer(problem.load[layer], problem, 1, 1));
    balance.slotExpert.push_back(searchExperts(problem, static_cast<int>(layer), starts));
  }
  complete(problem, balance);
  return {};
}

std::vector<double> moire::scheduling::deviceLoads(const BalanceProblem &problem,
                                                   const Balance &balance, int layer) {
  std::vector<double> loads(problem.gpus, 0);
  for (int slot = 0; slot < problem.replicas; ++slot) {
    const int e = balance.slotExpert[layer][slot];
    loads[slot / (problem.replicas / problem.gpus)] +=
        static_cast<double>(problem.load[layer][e]) / balance.counts[layer][e];
  }
  return loads;
}

double moire::scheduling::largestLoad(const BalanceProblem &problem, const Balance &balance,
                                      int layer) {
  const std::vector<double> loads = deviceLoads(problem, balance, layer);
  return *std::max_element(loads.begin(), loads.end());
}

double moire::scheduling::balancedness(const BalanceProblem &problem, const Balance &balance,
                                       int layer) {
  const std::vector<double> loads = deviceLoads(problem, balance, layer);
  const double sum = std::accumulate(loads.begin(), loads.end(), 0.0);
  const double most = *std::max_element(loads.begin(), loads.end());
  return most > 0 ? sum / (most * problem.gpus) : 1;
}

int moire::scheduling::moves(const BalanceProblem &problem, const Balance &balance, int layer) {
  if (problem.present.empty())
    return 0;
  const int perGpu = problem.replicas / problem.gpus;
  int moved = 0;
  for (int gpu = 0; gpu < problem.gpus; ++gpu) {
    std::vector<int> had(problem.present[layer].begin() + gpu * perGpu,
                         problem.present[layer].begin() + (gpu + 1) * perGpu);
    for (int i = 0; i < perGpu; ++i) {
      // A second replica on a device that holds the expert already is a copy within it.
      const int e = balance.slotExpert[layer][gpu * perGpu + i];
      const bool earlier = std::find(balance.slotExpert[layer].begin() + gpu * perGpu,
                                     balance.slotExpert[layer].begin() + gpu * perGpu + i,
                                     e) != balance.slotExpert[layer].begin() + gpu * perGpu + i;
      moved += !earlier && std::find(had.begin(), had.end(), e) == had.end();
    }
  }
  return moved;
}
