//===- ExpertBalance.h - Replicas of experts on devices --------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Expert-parallel devices have slots, one more than experts or many more; a busy expert takes
// several and its load divides evenly among them. Which expert goes where decides how long the
// fullest device makes the others wait.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_SCHEDULING_EXPERTBALANCE_H
#define MOIRE_SCHEDULING_EXPERTBALANCE_H

#include "moire/Scheduling/Problem.h"

namespace moire::scheduling {

/// What to place. Loads in any unit (tokens per step).
struct BalanceProblem {
  std::vector<std::vector<float>> load; ///< [layer][expert], finite, at least 0
  int replicas = 0;                     ///< slots of all devices together, per layer
  int groups = 1;                       ///< of consecutive experts that are routed to together
  int nodes = 1;
  int gpus = 1;

  // What follows is for balanceExperts only.

  /// The experts of a group, with all their replicas, stay on one node.
  bool groupsStayInNode = false;
  /// [layer][slot] → expert: the placement in use, or empty.
  std::vector<std::vector<int>> present;
  /// What it costs to load one expert into a slot of a device that does not hold it, in units of
  /// load of the fullest device: a placement is worth its moves if it saves more.
  double moveCost = 0;
};

/// Slots are numbered by node, device and position on it.
struct Balance {
  std::vector<std::vector<int>> slotExpert; ///< [layer][slot] (phy2log)
  std::vector<std::vector<std::vector<int>>>
      expertSlots;                      ///< [layer][expert][replica], padded -1 (log2phy)
  std::vector<std::vector<int>> counts; ///< [layer][expert] (logcnt)
};

/// The published algorithm (deepseek-ai/EPLB, rebalance_experts): groups onto nodes where these
/// divide evenly, replicas to the largest load per replica, replicas onto devices by descending
/// load. Float32 as published; equal loads keep their order.
Refusal rebalanceExperts(const BalanceProblem &problem, Balance &balance);

/// Our own: starts from the published placement, and from the present one, and improves
/// replication and placement together: exchanges of two replicas and of a replica of one expert
/// for one of another, on the fullest device, with random kicks from a fixed seed in a bounded
/// number of steps. Its largest load plus moveCost x moves is never above the published one's.
/// Two replicas of one expert stay on one device only where no exchange of one of them parts them
/// without raising the largest load.
Refusal balanceExperts(const BalanceProblem &problem, Balance &balance);

/// Load of each device in one layer.
std::vector<double> deviceLoads(const BalanceProblem &problem, const Balance &balance, int layer);
/// The fullest device's load.
double largestLoad(const BalanceProblem &problem, const Balance &balance, int layer);
/// Mean load of devices over the largest: 1 is perfect.
double balancedness(const BalanceProblem &problem, const Balance &balance, int layer);
/// Experts that devices load to get from problem.present to this; 0 where there is none.
int moves(const BalanceProblem &problem, const Balance &balance, int layer);

} // namespace moire::scheduling

#endif // MOIRE_SCHEDULING_EXPERTBALANCE_H
