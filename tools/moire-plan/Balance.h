//===- Balance.h - Experts onto devices, by their loads --------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_PLAN_BALANCE_H
#define MOIRE_TOOLS_PLAN_BALANCE_H

#include "Files.h"

namespace moire::plan {

/// What the flags of --balance say.
struct BalanceRequest {
  std::string loads;   ///< CSV: a row for each layer, a column for each expert
  std::string present; ///< CSV: a row for each layer, a column for each slot; or empty
  std::string algorithm = "moire";
  int replicas = 0; ///< 0: as many as experts, rounded up to a multiple of the devices
  int groups = 1, nodes = 1, gpus = 0;
  bool groupsStayInNode = false;
  double moveCost = 0;
  std::string output; ///< .csv or .json, or empty
  std::string json;
};

/// Adds the files that were asked for and prints the summary to `out`.
Refusal balance(const BalanceRequest &request, std::ostream &out, Files &files);

} // namespace moire::plan

#endif // MOIRE_TOOLS_PLAN_BALANCE_H
