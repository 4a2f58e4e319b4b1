//===- ExpertSearch.cpp - Local search over placements of experts ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "ExpertSearch.h"
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

using namespace moire::scheduling;

namespace {

/// Candidates that may be looked at in all layers together, and in one: 58 layers of 320 slots then
/// take some 30 ms.
constexpr int kTotalBudget = 1600000;
constexpr int kLayerBudget = 400000;
constexpr int kLeastBudget = 20000;
/// Kicks without a gain after which a layer is left.
constexpr int kPatience = 200;
/// Up to here every other kick starts from scratch.
constexpr int kRestartSlots = 128;

/// Value of a placement: the largest load and the price of moves, then the load of the devices
/// that a step touches, so that several fullest devices are emptied one after another.
struct Value {
  double price, touched;
  bool operator<(const Value &other) const {
    const double slack = 1e-9 * (1 + other.price);
    return price < other.price - slack ||
           (price < other.price + slack && touched < other.touched - slack);
  }
};

class Search {
public:
  Search(const BalanceProblem &problem, int layer)
      : problem(problem), E(static_cast<int>(problem.load[layer].size())), R(problem.replicas),
        P(problem.gpus), perGpu(R / P), gpusPerNode(std::max(1, P / problem.nodes)),
        weight(problem.load[layer].begin(), problem.load[layer].end()) {
    if (!problem.present.empty()) {
      held.assign(static_cast<size_t>(P) * E, 0);
      for (int slot = 0; slot < R; ++slot)
        held[gpuOf(slot) * E + problem.present[layer][slot]] = 1;
    }
    budget = std::clamp(kTotalBudget / static_cast<int>(problem.load.size()), kLeastBudget,
                        kLayerBudget);
    mean = std::accumulate(weight.begin(), weight.end(), 0.0) / P;
  }

  /// Whether every expert has a slot and, where they must, groups are on one node.
  bool valid(const std::vector<int> &slots) const {
    std::vector<int> node(problem.groups, -1);
    std::vector<char> seen(E, 0);
    for (int slot = 0; slot < R; ++slot) {
      seen[slots[slot]] = 1;
      if (!problem.groupsStayInNode)
        continue;
      int &home = node[slots[slot] / (E / problem.groups)];
      const int here = gpuOf(slot) / gpusPerNode;
      if (home >= 0 && home != here)
        return false;
      home = here;
    }
    return std::find(seen.begin(), seen.end(), 0) == seen.end();
  }

  void consider(std::vector<int> start) {
    if (!held.empty() && problem.moveCost > 0)
      relabel(start);
    set(start);
    keep();
    descend();
    keep();
  }

  std::vector<int> finish() {
    std::mt19937 random(1);
    for (int idle = 0; idle < kPatience && budget > 0 && !perfect(); ++idle) {
      if (idle % 2 == 0 && R <= kRestartSlots && !problem.groupsStayInNode) {
        restart(random);
      } else {
        set(best);
        kick(random);
      }
      descend();
      if (keep())
        idle = 0;
    }
    set(best);
    part();
    return who;
  }

private:
  const BalanceProblem &problem;
  const int E, R, P, perGpu, gpusPerNode;
  std::vector<double> weight, loads;
  std::vector<int> who, count, best;
  std::vector<std::vector<int>> slotsOf; // [expert]
  std::vector<char> held;                // [device * E + expert]: before
  double mean = 0, bestPrice = 1e300;
  int moved = 0;
  long budget;

  int gpuOf(int slot) const { return slot / perGpu; }
  bool perfect() const { return bestPrice <= mean * (1 + 1e-6); }
  double share(int e) const { return weight[e] / count[e]; }

  /// Device d may hold expert e: always, or when its group's node is d's.
  bool mayHold(int d, int e) const {
    if (!problem.groupsStayInNode)
      return true;
    return gpuOf(slotsOf[e][0]) / gpusPerNode == d / gpusPerNode;
  }

  bool holds(int d, int e, int except) const {
    for (int slot = d * perGpu; slot < (d + 1) * perGpu; ++slot)
      if (slot != except && who[slot] == e)
        return true;
    return false;
  }
  /// How many more experts have to be moved when `slot` holds `e` instead of what it does.
  int moveChange(int slot, int e) const {
    if (held.empty())
      return 0;
    const int d = gpuOf(slot), old = who[slot];
    return (!held[d * E + e] && !holds(d, e, slot)) - (!held[d * E + old] && !holds(d, old, slot));
  }

  void set(const std::vector<int> &slots) {
    who = slots;
    count.assign(E, 0);
    slotsOf.assign(E, {});
    for (int slot = 0; slot < R; ++slot) {
      ++count[who[slot]];
      slotsOf[who[slot]].push_back(slot);
    }
    reload();
    moved = 0;
    if (!held.empty())
      for (int slot = 0; slot < R; ++slot) {
        const int d = gpuOf(slot);
        bool first = true;
        for (int other = d * perGpu; other < slot; ++other)
          first &= who[other] != who[slot];
        moved += first && !held[d * E + who[slot]];
      }
  }
  void reload() {
    loads.assign(P, 0);
    for (int slot = 0; slot < R; ++slot)
      loads[gpuOf(slot)] += share(who[slot]);
  }
  double price() const {
    return *std::max_element(loads.begin(), loads.end()) + problem.moveCost * moved;
  }

  bool keep() {
    const double now = price();
    if (!(now < bestPrice - 1e-9 * (1 + bestPrice)))
      return false;
    bestPrice = now;
    best = who;
    return true;
  }

  void put(int slot, int e) {
    std::vector<int> &from = slotsOf[who[slot]];
    from.erase(std::find(from.begin(), from.end(), slot));
    moved += moveChange(slot, e);
    --count[who[slot]], ++count[e];
    who[slot] = e;
    slotsOf[e].push_back(slot);
  }
  void exchange(int a, int b) {
    const int x = who[a], y = who[b];
    loads[gpuOf(a)] += share(y) - share(x);
    loads[gpuOf(b)] += share(x) - share(y);
    put(a, y);
    put(b, x);
  }

  /// The fullest device, and the largest load without it and without any one other.
  struct Top {
    int device;
    double second, third;
    int secondDevice;
  };
  Top top() const {
    int order[3] = {-1, -1, -1};
    for (int d = 0; d < P; ++d)
      for (int i = 0; i < 3; ++i)
        if (order[i] < 0 || loads[d] > loads[order[i]]) {
          for (int j = 2; j > i; --j)
            order[j] = order[j - 1];
          order[i] = d;
          break;
        }
    return {order[0], order[1] < 0 ? 0 : loads[order[1]], order[2] < 0 ? 0 : loads[order[2]],
            order[1]};
  }

  /// Best exchange of a replica on the fullest device with one elsewhere.
  bool bestExchange() {
    const Top t = top();
    const int g = t.device;
    Value now{loads[g] + problem.moveCost * moved, loads[g]}, chosen = now;
    int from = -1, to = -1;
    for (int a = g * perGpu; a < (g + 1) * perGpu; ++a) {
      const double x = share(who[a]);
      for (int h = 0; h < P; ++h) {
        if (h == g || (problem.groupsStayInNode && h / gpusPerNode != g / gpusPerNode))
          continue;
        const double others = h == t.secondDevice ? t.third : t.second;
        for (int b = h * perGpu; b < (h + 1) * perGpu; ++b) {
          const double y = share(who[b]);
          if (y == x && held.empty())
            continue;
          const double touched = std::max(loads[g] - x + y, loads[h] - y + x);
          const double largest = std::max(touched, others);
          if (largest > chosen.price + 1e-9 && problem.moveCost == 0)
            continue;
          int change = 0;
          if (problem.moveCost > 0)
            change = moveChange(a, who[b]) + moveChange(b, who[a]);
          const Value value{largest + problem.moveCost * (moved + change), touched};
          if (value < chosen)
            chosen = value, from = a, to = b;
        }
      }
    }
    budget -= perGpu * R / 2;
    if (from < 0)
      return false;
    exchange(from, to);
    return true;
  }

  /// Loads and price when slot `s` holds f instead of one of several replicas of its expert.
  Value valueOfReplacing(int s, int f, int g) {
    const int e = who[s];
    const double more = weight[e] / (count[e] - 1) - share(e),
                 less = weight[f] / (count[f] + 1) - share(f);
    std::vector<double> &now = scratch;
    now = loads;
    for (int slot : slotsOf[e])
      now[gpuOf(slot)] += more;
    for (int slot : slotsOf[f])
      now[gpuOf(slot)] += less;
    now[gpuOf(s)] += weight[f] / (count[f] + 1) - weight[e] / (count[e] - 1);
    budget -= P / 4 + 4;
    return {*std::max_element(now.begin(), now.end()) +
                problem.moveCost * (moved + (problem.moveCost > 0 ? moveChange(s, f) : 0)),
            now[g]};
  }
  std::vector<double> scratch;

  void replace(int s, int f) {
    put(s, f);
    reload();
  }

  /// Best replica of one expert for one of another: the fullest device's experts get more.
  bool bestReplacement() {
    const int g = top().device;
    Value chosen{loads[g] + problem.moveCost * moved, loads[g]};
    int slot = -1, expert = -1;
    for (int a = g * perGpu; a < (g + 1) * perGpu; ++a) {
      const int f = who[a];
      for (int s = 0; s < R && budget > 0; ++s) {
        const int e = who[s];
        if (e == f || count[e] < 2 || !mayHold(gpuOf(s), f))
          continue;
        const double raised = weight[e] / (count[e] - 1);
        if (raised > loads[g] ||
            (gpuOf(s) != g && loads[gpuOf(s)] - share(e) + weight[f] / (count[f] + 1) > loads[g]))
          continue;
        const Value value = valueOfReplacing(s, f, g);
        if (value < chosen)
          chosen = value, slot = s, expert = f;
      }
    }
    // Or the fullest device gives up a replica for a lighter expert's.
    for (int s = g * perGpu; s < (g + 1) * perGpu; ++s)
      if (count[who[s]] > 1)
        for (int f = 0; f < E && budget > 0; ++f) {
          if (f == who[s] || !mayHold(g, f) || weight[f] / (count[f] + 1) >= share(who[s]))
            continue;
          const Value value = valueOfReplacing(s, f, g);
          if (value < chosen)
            chosen = value, slot = s, expert = f;
        }
    if (slot < 0)
      return false;
    replace(slot, expert);
    return true;
  }

  void descend() {
    while (budget > 0 && (bestExchange() || bestReplacement())) {
    }
  }

  /// A few random changes that keep the placement valid.
  void kick(std::mt19937 &random) {
    for (int n = 1 + random() % 3; n > 0; --n) {
      const int a = random() % R, b = random() % R;
      if (random() % 2) {
        const int f = who[b];
        if (count[who[a]] > 1 && f != who[a] && mayHold(gpuOf(a), f))
          replace(a, f);
      } else if (!problem.groupsStayInNode || gpuOf(a) / gpusPerNode == gpuOf(b) / gpusPerNode) {
        exchange(a, b);
      }
    }
    budget -= R;
  }

  /// As few replicas as bring every share under a random bound, what is left each to
  /// one of the four largest shares, and every replica to the lightest device with room.
  void restart(std::mt19937 &random) {
    if (mean <= 0)
      return set(best);
    double bound = mean * (0.5 + (random() % 64) / 64.0);
    std::vector<int> replicas(E);
    int used = R + 1;
    for (; used > R; bound *= 1.05) {
      used = 0;
      for (int e = 0; e < E; ++e)
        used += replicas[e] =
            std::max(1, static_cast<int>(std::ceil(std::min(weight[e] / bound, 1e6))));
    }
    std::vector<int> byShare(E);
    std::iota(byShare.begin(), byShare.end(), 0);
    for (; used < R; ++used) {
      const int few = std::min(E, 4);
      std::partial_sort(byShare.begin(), byShare.begin() + few, byShare.end(), [&](int a, int b) {
        const double x = weight[a] / replicas[a], y = weight[b] / replicas[b];
        return x > y || (x == y && a < b);
      });
      ++replicas[byShare[random() % few]];
    }
    std::vector<int> order(E);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      return weight[a] / replicas[a] > weight[b] / replicas[b];
    });
    std::vector<double> sum(P, 0);
    std::vector<int> filled(P, 0), slots(R, -1);
    for (int e : order)
      for (int i = 0; i < replicas[e]; ++i) {
        int lightest = -1;
        for (int d = 0; d < P; ++d)
          if (filled[d] < perGpu && (lightest < 0 || sum[d] < sum[lightest]))
            lightest = d;
        slots[lightest * perGpu + filled[lightest]++] = e;
        sum[lightest] += weight[e] / replicas[e];
      }
    if (!held.empty() && problem.moveCost > 0)
      relabel(slots);
    set(slots);
    budget -= R * P / 4;
  }

  /// Names devices so that as few experts as possible move: greedily the most in common first,
  /// within nodes where groups are bound to these.
  void relabel(std::vector<int> &slots) const {
    struct Pair {
      int common, from, to;
    };
    std::vector<Pair> pairs;
    for (int from = 0; from < P; ++from)
      for (int to = 0; to < P; ++to) {
        if (problem.groupsStayInNode && from / gpusPerNode != to / gpusPerNode)
          continue;
        int common = 0;
        for (int slot = from * perGpu; slot < (from + 1) * perGpu; ++slot)
          common += held[to * E + slots[slot]];
        pairs.push_back({common, from, to});
      }
    std::stable_sort(pairs.begin(), pairs.end(),
                     [](const Pair &a, const Pair &b) { return a.common > b.common; });
    std::vector<char> left(P, 1), taken(P, 0);
    std::vector<int> result(R);
    for (const Pair &pair : pairs)
      if (left[pair.from] && !taken[pair.to]) {
        left[pair.from] = 0, taken[pair.to] = 1;
        std::copy_n(slots.begin() + pair.from * perGpu, perGpu, result.begin() + pair.to * perGpu);
      }
    slots = result;
  }

  /// Parts replicas of one expert on one device where that costs nothing.
  void part() {
    for (int a = 0; a < R; ++a) {
      const int g = gpuOf(a);
      if (!holds(g, who[a], a))
        continue;
      const double limit = price() * (1 + 1e-12);
      for (int b = 0; b < R; ++b) {
        const int h = gpuOf(b), x = who[a], y = who[b];
        if (h == g || holds(h, x, -1) || holds(g, y, -1) ||
            (problem.groupsStayInNode && h / gpusPerNode != g / gpusPerNode))
          continue;
        exchange(a, b);
        if (price() <= limit)
          break;
        exchange(a, b);
      }
    }
    reload();
  }
};

} // namespace

std::vector<int> moire::scheduling::searchExperts(const BalanceProblem &problem, int layer,
                                                  const std::vector<std::vector<int>> &starts) {
  Search search(problem, layer);
  for (const std::vector<int> &start : starts)
    search.consider(start);
  if (!problem.present.empty() && search.valid(problem.present[layer]))
    search.consider(problem.present[layer]);
  return search.finish();
}
