//===- curriculum.cpp - Which step has sequences of which length ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/curriculum.h"
#include "moire/rt/memory.h"
#include "train/text.h"

#include <algorithm>

namespace moire::rt {

std::vector<const Program *> lengthsOf(const Program &program) {
  if (program.numLengths == 0)
    return {&program};
  return {program.lengths, program.lengths + program.numLengths};
}

std::vector<Program> lengthsOfRank(const Program &program, int64_t coordinate) {
  std::vector<Program> own;
  for (const Program *length : lengthsOf(program))
    own.push_back(programOfRank(*length, coordinate));
  return own;
}

int64_t piecesOfRow(const Program &program) {
  const auto lengths = lengthsOf(program);
  return lengths.size() == 1 ? 1 : lengths.back()->seq / lengths.front()->seq;
}

std::vector<LengthChange> parseCurriculum(const std::string &text, const Program &program) {
  const auto lengths = lengthsOf(program);
  const std::string flag = "--curriculum '" + text + "'";
  if (lengths.size() == 1)
    throw InputError(flag + " needs a program with several sequence lengths, and this one has " +
                     (program.seq > 0 ? std::to_string(program.seq) : "none") +
                     "; compile with --bind seq=128|512, or leave it out");
  std::string compiled;
  for (const Program *length : lengths)
    compiled += (compiled.empty() ? "" : ", ") + std::to_string(length->seq);
  const std::string head = "seq=";
  std::vector<LengthChange> changes;
  if (text.compare(0, head.size(), head) != 0 || text == head)
    throw InputError(flag + " is not understood; use seq=LENGTH@STEPS,LENGTH@STEPS, as in "
                            "seq=128@0,512@1000");
  for (const std::string &item : split(text.substr(head.size()), ',')) {
    const size_t at = std::min(item.find('@'), item.size());
    const auto seq = wholeNumber(item.substr(0, at));
    const auto after = wholeNumber(item.substr(std::min(at + 1, item.size())));
    if (!seq || !after)
      throw InputError(flag + " has '" + item +
                       "'; use LENGTH@STEPS, the length once so many steps are done, as in "
                       "seq=128@0,512@1000");
    const auto found = std::find_if(lengths.begin(), lengths.end(),
                                    [&](const Program *length) { return length->seq == *seq; });
    if (found == lengths.end())
      throw InputError(flag + " has length " + std::to_string(*seq) +
                       ", and the program was compiled for " + compiled + "; use one of these");
    if (changes.empty() && *after != 0)
      throw InputError(flag + " begins at @" + std::to_string(*after) +
                       "; say the first step's length, too, by @0");
    if (!changes.empty() && *after <= changes.back().after)
      throw InputError(flag + " has @" + std::to_string(*after) + " behind @" +
                       std::to_string(changes.back().after) + "; use ascending steps");
    changes.push_back({size_t(found - lengths.begin()), *after});
  }
  return changes;
}

Curriculum::Curriculum(const Program &program, std::vector<LengthChange> changes, int64_t rounds,
                       int64_t shards)
    : lengths(lengthsOf(program)), changes(std::move(changes)), rounds(rounds), shards(shards),
      pieces(piecesOfRow(program)) {}

size_t Curriculum::lengthAfter(int64_t done) const {
  size_t length = lengths.size() - 1;
  for (const LengthChange &change : changes)
    if (change.after <= done)
      length = change.length;
  return length;
}

Curriculum::Step Curriculum::stepAfter(int64_t done, int64_t position) const {
  Step step;
  step.length = lengthAfter(done);
  const Program &p = *lengths[step.length];
  step.round = roundAfter(p, done);
  step.micros = rounds * step.round.microBatches;
  step.rows = p.batch * step.micros * shards;
  const int64_t perRow = lengths.size() == 1 ? 1 : p.seq / lengths.front()->seq;
  step.rowsBefore = (position + perRow - 1) / perRow;
  step.end = (step.rowsBefore + step.rows) * perRow;
  return step;
}

int64_t Curriculum::positionAfter(int64_t steps) const {
  // Between two of these all steps are alike.
  std::vector<int64_t> begins;
  for (const LengthChange &change : changes)
    begins.push_back(change.after);
  for (int64_t i = 0; i < lengths.back()->numRamp; ++i)
    begins.push_back(lengths.back()->ramp[i].after);
  std::sort(begins.begin(), begins.end());
  int64_t position = 0;
  for (int64_t done = 0; done < steps;) {
    const auto next = std::upper_bound(begins.begin(), begins.end(), done);
    const int64_t end = next == begins.end() ? steps : std::min(*next, steps);
    const Step first = stepAfter(done, position);
    const Step second = stepAfter(done, first.end);
    position = first.end + (end - done - 1) * (second.end - first.end);
    done = end;
  }
  return position;
}

int64_t Curriculum::tokensBefore(int64_t position) const {
  return position * std::max<int64_t>(1, lengths.front()->seq);
}

} // namespace moire::rt
