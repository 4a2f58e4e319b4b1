//===- Models.cpp - A model on a cluster ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Models.h"
#include "moire/CostModel/Share.h"
#include "moire/Scheduling/Render.h"
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>

using namespace moire::plan;
using moire::cost::Cluster;
using moire::cost::ModelCost;
using moire::planner::Plan;

static Refusal readCount(const std::string &word, const std::string &what, int most, int &value) {
  char *end = nullptr;
  const long number = std::strtol(word.c_str(), &end, 10);
  if (word.empty() || *end || number < 1 || number > most)
    return text(what, " '", word, "' is not a whole number from 1 to ", most,
                "; use for example 8");
  value = static_cast<int>(number);
  return {};
}

/// `pp=4`, `ep=2` into the plan.
static Refusal readMesh(const std::vector<std::string> &axes, Plan &plan) {
  const std::pair<const char *, int *> known[] = {
      {"dp", &plan.dp}, {"pp", &plan.pp}, {"ep", &plan.ep}, {"tp", &plan.tp}};
  std::set<int *> given;
  for (const std::string &axis : axes) {
    const size_t equals = axis.find('=');
    int *size = nullptr;
    for (const auto &[name, value] : known)
      if (axis.substr(0, equals) == name)
        size = value;
    if (!size || equals == std::string::npos)
      return text("--mesh has '", axis,
                  "', which is no axis; use dp, pp, ep and tp, as in --mesh "
                  "pp=4,ep=2");
    if (!given.insert(size).second)
      return text("--mesh gives ", axis.substr(0, equals), " twice, the second time ",
                  axis.substr(equals + 1), "; give it once");
    if (Refusal refusal = readCount(axis.substr(equals + 1), "--mesh " + axis.substr(0, equals),
                                    moire::planner::kMostOfAxis, *size))
      return refusal;
  }
  return {};
}

/// The plan of the file and the flags. `given` tells what the search may not choose.
static Refusal readPlanFlags(const ModelRequest &request, Plan &plan) {
  if (!request.planFile.empty())
    if (Refusal refusal = moire::planner::readPlan(request.planFile, plan))
      return refusal;
  if (Refusal refusal = readMesh(request.mesh, plan))
    return refusal;
  if (!request.microBatches.empty())
    if (Refusal refusal =
            readCount(request.microBatches, "--microbatches", 1000000, plan.microBatches))
      return refusal;
  if (request.microBatch > 0)
    plan.microBatch = request.microBatch;
  if (request.schedules.size() > 1 && !request.search)
    return text("a plan has one schedule, not ", request.schedules.size(), "; use --schedule ",
                request.schedules[0], ", or --search to try several");
  if (!request.schedules.empty() && !request.search)
    if (Refusal refusal = moire::scheduling::parseKind(request.schedules[0], plan.schedule))
      return refusal;
  if (!request.recompute.empty())
    if (Refusal refusal = moire::cost::parseRecompute(request.recompute, plan.recompute))
      return refusal;
  plan.precision = request.precision.value_or(plan.precision);
  plan.zero = request.zero.value_or(plan.zero);
  plan.imbalance = request.imbalance.value_or(plan.imbalance);
  return {};
}

/// What the search is held to: what the flags name.
static Refusal readSearch(const ModelRequest &request, const Plan &plan,
                          moire::planner::SearchOptions &options) {
  options.base = plan;
  for (const std::string &axis : request.mesh) {
    const std::string name = axis.substr(0, axis.find('='));
    (name == "dp"   ? options.dp
     : name == "pp" ? options.pp
     : name == "ep" ? options.ep
                    : options.tp) = {name == "dp"   ? plan.dp
                                     : name == "pp" ? plan.pp
                                     : name == "ep" ? plan.ep
                                                    : plan.tp};
  }
  if (request.microBatch > 0)
    options.microBatch = {request.microBatch};
  if (!request.recompute.empty())
    options.recompute = {plan.recompute};
  if (request.zero)
    options.zero = {plan.zero};
  std::vector<std::string> names;
  if (Refusal refusal = expandSchedules(request.schedules, names))
    return refusal;
  for (const std::string &name : names) {
    moire::scheduling::Kind kind;
    if (Refusal refusal = moire::scheduling::parseKind(name, kind))
      return refusal;
    options.schedules.push_back(kind);
  }
  bool named = false;
  if (!request.memoryLimit.empty())
    if (Refusal refusal = readMemoryLimit(request.memoryLimit, options.memoryLimit, named))
      return refusal;
  return {};
}

static Refusal runCluster(const ModelRequest &request, const ModelCost &model, const Plan &plan,
                          double tokens, ClusterResult &result) {
  Cluster &cluster = result.cluster;
  const long devices = request.devices > 0 ? request.devices : request.search ? 0 : plan.ranks();
  if (devices > 0)
    if (Refusal refusal = moire::cost::resize(cluster, devices))
      return refusal;
  if (request.search) {
    moire::planner::SearchOptions options;
    if (Refusal refusal = readSearch(request, plan, options))
      return refusal;
    if (Refusal refusal =
            moire::planner::search(model, cluster, request.globalBatch, options, result.found))
      return refusal;
    result.prediction = result.found.best;
  } else {
    if (Refusal refusal = moire::planner::predict(model, cluster, plan, result.prediction))
      return refusal;
    if (!request.anyMemory)
      if (Refusal refusal = moire::planner::refuseMemory(model, cluster, result.prediction))
        return *refusal + "; --any-memory predicts it all the same";
  }
  if (tokens > 0)
    result.training = moire::planner::trainingCost(result.prediction, cluster, tokens);
  return {};
}

static Refusal checkRequest(const ModelRequest &request) {
  if (request.clusters.empty())
    return text("--model ", request.model, " has no --cluster; use ",
                list(moire::cost::namesIn(request.share, "clusters")),
                ", or a file that --calibrate writes");
  if (request.search && request.globalBatch < 1)
    return text("--search has no number of sequences for a step; give --global-batch N");
  if (!request.search && request.globalBatch > 0)
    return text("--global-batch ", request.globalBatch,
                " is for --search; a plan's is dp x ep x micro-batch x --microbatches");
  if (!request.search && !request.memoryLimit.empty())
    return text("--memory-limit ", request.memoryLimit,
                " is for --search; a plan is held to the memory of the cluster's file");
  if (request.search && request.anyMemory)
    return text("--any-memory has no effect on --search, which takes only what fits; leave it out");
  if (request.search && !request.microBatches.empty())
    return text("--microbatches ", request.microBatches,
                " follows from the global batch in a search; leave it out");
  if (!request.search && request.planFile.empty() && request.mesh.empty() &&
      request.microBatches.empty() && request.schedules.empty())
    return text("--model ", request.model,
                " has no plan; give --mesh and --microbatches, or --plan FILE.toml, or --search "
                "--global-batch N");
  if (!request.search && !request.output.empty())
    return text("-o ", request.output, " is the plan that --search finds; add --search");
  const bool draws = !request.svg.empty() || !request.trace.empty() || !request.output.empty();
  if (request.clusters.size() > 1 && draws)
    return text(request.output.empty() ? "--svg and --trace draw" : "-o is", " one plan, not ",
                request.clusters.size(), "; name one cluster, for example --cluster ",
                request.clusters[0]);
  return {};
}

Refusal moire::plan::planModel(const ModelRequest &request, std::ostream &out, Files &files) {
  if (Refusal refusal = checkRequest(request))
    return refusal;
  double tokens = 0;
  if (!request.tokens.empty())
    if (Refusal refusal = readNumber(request.tokens, "--tokens", tokens))
      return refusal;
  if (!request.tokens.empty() && tokens == 0)
    return text("--tokens ", request.tokens, " is no training; use for example 14.8e12");
  Plan plan;
  plan.schedule = {scheduling::Kind::OneFOneB, 1};
  if (Refusal refusal = readPlanFlags(request, plan))
    return refusal;
  std::vector<ClusterResult> results(request.clusters.size());
  for (size_t c = 0; c < results.size(); ++c) {
    std::string path;
    if (Refusal refusal = cost::resolve(request.share, "clusters", request.clusters[c], path))
      return refusal;
    if (Refusal refusal = cost::readCluster(path, results[c].cluster))
      return refusal;
  }
  ModelCost model;
  if (Refusal refusal =
          readModel(request, plan, request.microBatch > 0 || !request.planFile.empty(), model))
    return refusal;
  for (ClusterResult &result : results)
    if (Refusal refusal = runCluster(request, model, plan, tokens, result))
      return results.size() > 1 ? text(result.cluster.name, ": ", *refusal) : *refusal;

  if (results.size() == 1) {
    writePrediction(out, model, results[0], request.report);
    if (request.search)
      writeFound(out, results[0].found);
  }
  if (results.size() > 1 || tokens > 0)
    writeClusters(out, results, tokens);
  const planner::Prediction &first = results[0].prediction;
  files.add(request.output, [&](std::ostream &file) { writePlan(file, first.plan); });
  files.add(request.svg, [&](std::ostream &file) {
    scheduling::writeSvg(file, first.problem, first.schedule, first.timing);
  });
  files.add(request.trace, [&](std::ostream &file) {
    scheduling::writeChromeTrace(file, first.problem, first.schedule, first.timing);
  });
  files.add(request.json, [&](std::ostream &file) {
    nlohmann::ordered_json all;
    for (const ClusterResult &result : results)
      all["predictions"].push_back(predictionJson(model, result, tokens));
    file << all.dump(1) << "\n";
  });
  return {};
}
