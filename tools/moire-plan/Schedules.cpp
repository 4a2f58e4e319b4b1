//===- Schedules.cpp - One problem under several schedules ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Schedules.h"
#include "moire/Scheduling/Search.h"
#include <algorithm>

using namespace moire::plan;
using namespace moire::scheduling;

int Outcome::activations() const {
  int most = 0;
  for (const RankTiming &rank : timing.ranks)
    most = std::max(most, rank.peakActivations);
  return most;
}

Refusal moire::plan::expandSchedules(const std::vector<std::string> &given,
                                     std::vector<std::string> &names) {
  for (const std::string &name : given) {
    if (name == "all") {
      for (Kind kind : generatorKinds())
        names.push_back(kind.str());
      continue;
    }
    Kind kind;
    if (Refusal refusal = parseKind(name, kind)) {
      if (name.find(':') != std::string::npos)
        return refusal; // says how many chunks there may be
      std::vector<std::string> known = {"auto", "all"};
      for (Kind generator : generatorKinds())
        known.push_back(generator.str());
      const std::string near = nearest(name, known);
      return *refusal + ", all" + (near.empty() ? "" : " (the nearest is " + near + ")");
    }
    names.push_back(name);
  }
  return {};
}

static Outcome run(const Workload &workload, const std::string &name, long budget) {
  Outcome outcome;
  outcome.name = name;
  Kind kind;
  if ((outcome.refused = parseKind(name, kind)))
    return outcome;
  if (kind.name == Kind::Auto) {
    SearchOptions options;
    options.budget = budget;
    SearchResult result;
    if ((outcome.refused = searchSchedule(workload, options, result)))
      return outcome;
    outcome.problem = std::move(result.problem);
    outcome.schedule = std::move(result.schedule);
    outcome.timing = std::move(result.timing);
    outcome.how = result.how;
    outcome.bound = result.bound;
    return outcome;
  }
  if ((outcome.refused = place(workload, kind, outcome.problem)))
    return outcome;
  if ((outcome.refused = generate(outcome.problem, kind, outcome.schedule)))
    return outcome;
  outcome.timing = simulate(outcome.problem, outcome.schedule);
  return outcome;
}

std::vector<Outcome> moire::plan::runSchedules(const Workload &workload,
                                               const std::vector<std::string> &names, long budget) {
  std::vector<Outcome> outcomes;
  for (const std::string &name : names)
    outcomes.push_back(run(workload, name, budget));
  return outcomes;
}
