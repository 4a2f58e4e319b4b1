//===- updates.cpp - Which groups of parameters a step trains -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/updates.h"
#include "moire/rt/checksum.h"
#include "moire/rt/optimizer.h"
#include "moire/rt/pipeline.h"
#include "train/checkpoint_manifest.h"
#include "train/options.h"
#include "train/text.h"

#include <algorithm>
#include <sstream>

namespace moire::rt {

namespace {
/// Whether a step that trains no group trains anything.
bool trainsWithoutGroups(const Program &p) {
  for (const ParameterInfo *parameter : allParameters(p))
    if (parameter->trainable && parameter->updateGroup < 0)
      return true;
  return false;
}

uint64_t allGroups(const Program &p) {
  return p.numUpdateGroups == 64 ? ~uint64_t(0) : (uint64_t(1) << p.numUpdateGroups) - 1;
}

uint64_t membersOf(const Program &p, int64_t group) {
  std::vector<std::string> names;
  for (const ParameterInfo *parameter : allParameters(p))
    if (parameter->updateGroup == group)
      names.push_back(parameter->torchName + std::string("\n"));
  std::sort(names.begin(), names.end());
  uint64_t print = fnv1a(nullptr, 0);
  for (const std::string &name : names)
    print = fnv1a(name.data(), name.size(), print);
  return print;
}

std::string listOf(const Program &p) {
  std::string list;
  for (int64_t i = 0; i < p.numUpdateGroups; ++i)
    list += (i == 0 ? "" : ", ") + std::string(p.updateGroups[i]);
  return list;
}

uint64_t parseGroups(const std::string &text, const std::string &entry, const Program &p) {
  if (text == "all")
    return allGroups(p);
  if (text == "none")
    return 0;
  uint64_t groups = 0;
  for (const std::string &name : split(text, '+')) {
    const auto *end = p.updateGroups + p.numUpdateGroups;
    const auto *found =
        std::find_if(p.updateGroups, end, [&](const char *group) { return name == group; });
    if (found == end)
      throw InputError("--update-schedule has '" + entry + "', and the program's groups are " +
                       listOf(p) + "; join them by +, or use all or none");
    groups |= uint64_t(1) << (found - p.updateGroups);
  }
  return groups;
}

std::string text(double v) {
  std::ostringstream s;
  s << v;
  return s.str();
}
} // namespace

std::vector<UpdatePhase> parseUpdateSchedule(const std::string &text, const Program &p) {
  const std::string form = "; use GROUPS@STEPS, e.g. head@0,all@1000";
  std::vector<UpdatePhase> phases;
  if (text.empty())
    throw InputError("--update-schedule is empty" + form);
  for (const std::string &entry : split(text, ',')) {
    const size_t at = entry.rfind('@');
    const auto steps =
        at == std::string::npos || at == 0 ? std::nullopt : wholeNumber(entry.substr(at + 1));
    if (!steps)
      throw InputError("--update-schedule has '" + entry + "'" + form);
    const int64_t after = *steps;
    if (phases.empty() && after != 0)
      throw InputError("--update-schedule begins with '" + entry +
                       "', which leaves open what is trained before; its first entry is of step 0");
    if (!phases.empty() && after <= phases.back().after)
      throw InputError("--update-schedule has '" + entry + "' behind an entry of step " +
                       std::to_string(phases.back().after) + "; steps must ascend");
    const uint64_t groups = parseGroups(entry.substr(0, at), entry, p);
    if (groups == 0 && !trainsWithoutGroups(p))
      throw InputError("--update-schedule has '" + entry +
                       "', which trains nothing: all parameters are in groups; name one");
    phases.push_back({after, groups});
  }
  return phases;
}

Updates::Updates(const Program &p, const Options &o)
    : options(o), alwaysTrains(trainsWithoutGroups(p)) {
  for (int64_t i = 0; i < p.numUpdateGroups; ++i)
    groups.push_back({p.updateGroups[i], membersOf(p, i)});
  relative.assign(groups.size(), -1);
}

std::vector<std::string> Updates::resume(const Progress &done) {
  std::vector<std::string> notes;
  for (GroupProgress &group : groups) {
    const auto found = std::find_if(done.groups.begin(), done.groups.end(),
                                    [&](const GroupProgress &g) { return g.name == group.name; });
    if (found != done.groups.end()) {
      if (found->members != group.members)
        notes.push_back("the checkpoint's group '" + group.name +
                        "' has other parameters than the program's; those of the program count as "
                        "trained in its " +
                        std::to_string(found->updates) + " steps");
      const uint64_t members = group.members;
      group = *found;
      group.members = members;
      continue;
    }
    group.updates = done.step;
    if (done.step > 0)
      notes.push_back("the checkpoint has no group '" + group.name +
                      "'; its parameters count as trained in all " + std::to_string(done.step) +
                      " steps");
  }
  for (const GroupProgress &group : done.groups)
    if (group.updates != done.step &&
        std::none_of(groups.begin(), groups.end(),
                     [&](const GroupProgress &g) { return g.name == group.name; }))
      notes.push_back("the checkpoint's group '" + group.name + "' was trained in " +
                      std::to_string(group.updates) + " of " + std::to_string(done.step) +
                      " steps, and the program has no such group; its parameters count as trained "
                      "in all");
  return notes;
}

uint64_t Updates::wanted(int64_t step) const {
  uint64_t mask = ~uint64_t(0);
  for (const UpdatePhase &phase : options.updates)
    if (phase.after < step)
      mask = phase.groups;
  uint64_t left = mask;
  bool trainsAny = alwaysTrains;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (groups[i].frozen)
      left &= ~(uint64_t(1) << i);
    trainsAny |= trains(left, i);
  }
  return trainsAny ? left : mask; // where a phase names frozen ones alone they go on
}

std::string Updates::begin(Context &ctx, int64_t step) {
  if (groups.empty())
    return "";
  const uint64_t mask = wanted(step);
  const bool tells = begun ? mask != chosen : mask != ~uint64_t(0);
  chosen = ctx.updates = mask;
  begun = true;
  ctx.groupSteps.resize(groups.size());
  std::string trained, resting;
  for (size_t i = 0; i < groups.size(); ++i) {
    groups[i].updates += trains(mask, i);
    ctx.groupSteps[i] = groups[i].updates;
    std::string &list = trains(mask, i) ? trained : resting;
    list += (list.empty() ? "" : ", ") + groups[i].name;
  }
  if (!tells)
    return "";
  if (alwaysTrains)
    trained += (trained.empty() ? "" : ", ") + std::string("what is in no group");
  return "step " + std::to_string(step) + ": trains " + trained +
         (resting.empty() ? "" : "; rests: " + resting);
}

std::string Updates::end(Context &ctx, int64_t step) {
  std::fill(relative.begin(), relative.end(), -1);
  if (options.freezeBelow <= 0)
    return "";
  const std::vector<GroupNorms> norms = updateNorms(ctx);
  size_t training = alwaysTrains;
  for (size_t i = 0; i < groups.size(); ++i)
    training += trains(chosen, i);
  std::string told;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (!trains(chosen, i))
      continue;
    GroupProgress &group = groups[i];
    // Parameters that are all 0, as fresh biases, have moved as soon as they have a norm.
    relative[i] = norms[i].value > 0 ? norms[i].update / norms[i].value : 0;
    const bool isQuiet = norms[i].value > 0 && relative[i] < options.freezeBelow;
    // While the rate rises updates are small for its sake.
    group.quiet = isQuiet && step > options.warmup ? group.quiet + 1 : 0;
    // The last one that trains goes on.
    if (group.quiet < options.freezePatience || training == 1)
      continue;
    group.frozen = true;
    --training;
    told += (told.empty() ? "" : "\n") + ("step " + std::to_string(step) + ": " + group.name) +
            " rests from now on: its updates were below " + text(options.freezeBelow) +
            " of its parameters' norm for " + std::to_string(group.quiet) + " steps";
  }
  return told;
}

std::vector<GroupReport> Updates::report() const {
  std::vector<GroupReport> list;
  for (size_t i = 0; i < groups.size(); ++i)
    list.push_back({groups[i].name, trains(chosen, i),
                    relative[i] < 0 ? std::optional<double>() : relative[i]});
  return list;
}

} // namespace moire::rt
