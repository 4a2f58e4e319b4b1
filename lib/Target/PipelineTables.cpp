//===- PipelineTables.cpp - The tables of a pipeline ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Sources.h"
#include "Text.h"

using namespace mlir;
using namespace moire;
using namespace moire::target;
using namespace moire::scheduling;

static std::string text(int64_t value) { return std::to_string(value); }

/// `static const TYPE NAME[] = {…};`, and the two fields that name it.
static std::string array(std::string &out, StringRef type, const std::string &name,
                         ArrayRef<std::string> rows, StringRef separator = ", ") {
  if (rows.empty())
    return "0, nullptr";
  out += ("static const " + type + " " + name + "[] = {").str();
  if (separator != ", ")
    out += "\n    ";
  out += llvm::join(rows, separator) + (separator == ", " ? "};\n" : "};\n\n");
  return text(int64_t(rows.size())) + ", " + name;
}

static StringRef kindName(TaskKind kind) {
  switch (kind) {
  case TaskKind::Forward:
    return "forward";
  case TaskKind::Backward:
    return "backward";
  case TaskKind::BackwardInput:
    return "backwardInput";
  case TaskKind::BackwardWeight:
    return "backwardWeight";
  }
  llvm_unreachable("all kinds are named above");
}

/// Of a stage whose functions others run, too: what it has for each parameter that they name, and
/// what it calls their collectives; the two fields.
static std::string ownTables(const ProgramInfo &info, int number, const SharedNames &names,
                             std::string &out) {
  const PipelineEntry &pipeline = *info.pipeline;
  const StageRankEntry &rank = pipeline.ranks[pipeline.rankOf(number)];
  const int original = int(pipeline.program.originalOf(number));
  std::vector<std::string> parameters, collectives;
  for (unsigned named : pipeline.stages[original].named) {
    pipe::ParameterOp op = info.parameters[named].op;
    const unsigned own = info.parameterOf.lookup(
        pipeline.program.parameterOf(number, op.getSymNameAttr()).getValue());
    const bool isRounded = llvm::any_of(
        info.shadows, [&](const ProgramInfo::Shadow &shadow) { return shadow.parameter == own; });
    parameters.push_back(
        "{at::" + info.parameterName(own, pipeline.rankOf(number)) + ", " +
        (rank.copyOffset.count({own, number}) ? "grads::" + info.gradientName(own, number) : "-1") +
        ", " + (isRounded ? "shadows::" + info.parameters[own].identifier : "-1") + "}");
  }
  if (auto it = names.find(original); it != names.end())
    for (const SharedName &collective : it->second) {
      const std::string node = nodeNames(collective.location, 1, [&](StringAttr name) {
        return pipeline.program.nodeOf(number, name);
      });
      collectives.push_back(quoted(collective.kind + (node.empty() ? "" : " of " + node)));
    }
  auto table = [&](StringRef type, StringRef name, ArrayRef<std::string> rows) {
    const std::string whole = name.str() + text(number);
    array(out, type, whole, rows, ",\n    ");
    return ", " + (rows.empty() ? "nullptr" : whole);
  };
  return table("StageParameter", "own", parameters) + table("char *const", "names", collectives);
}

/// What a slot of each stage holds, and the functions.
static std::string stageTable(const ProgramInfo &info, const SharedNames &names, std::string &out) {
  const PipelineEntry &pipeline = *info.pipeline;
  std::vector<std::string> rows;
  for (auto [i, stage] : llvm::enumerate(pipeline.stages)) {
    std::string functions;
    for (TaskKind kind : {TaskKind::Forward, TaskKind::Backward, TaskKind::BackwardInput,
                          TaskKind::BackwardWeight}) {
      func::FuncOp func = pipeline.program.functionOf({kind, 0, int(i), 0});
      functions += (functions.empty() ? "" : ", ") + (func ? func.getSymName().str() : "nullptr");
    }
    std::string row = "{{" + functions + "}, " + text(stage.slotBytes);
    static const std::pair<StringRef, StringRef> roles[] = {
        {pipe::kInputAttr, "inputs"},
        {pipe::kOutputAttr, "outputs"},
        {pipe::kOutputCotangentAttr, "outputCotangents"},
        {pipe::kInputCotangentAttr, "inputCotangents"}};
    for (auto [role, name] : roles) {
      std::vector<std::string> tensors;
      if (auto it = stage.kept.find(role); it != stage.kept.end())
        for (const StageEntry::Kept &kept : it->second)
          tensors.push_back("{" + text(kept.offset) + ", " + text(kept.bytes) + "}");
      row += ", " + array(out, "KeptInfo", name.str() + text(int64_t(i)), tensors);
    }
    if (pipeline.isShared(int(i)))
      row += ownTables(info, int(i), names, out);
    else if (!info.routers.empty())
      row += ", nullptr, nullptr";
    if (!info.routers.empty())
      row += ", " + text(int64_t(stage.firstRouter));
    rows.push_back(row + "}");
  }
  out += "// functions, bytes of a slot, what comes and goes, parameters, collectives, first router\n";
  return array(out, "StageInfo", "stages", rows, ",\n    ");
}

/// The rows of what a rank holds.
static std::string parameterTable(const ProgramInfo &info, int number, ArrayRef<ParameterRow> rows,
                                  std::string &out) {
  const StageRankEntry &rank = info.pipeline->ranks[number];
  std::vector<std::string> table;
  for (auto [i, p] : llvm::enumerate(info.parameters)) {
    if (rank.offset[i] < 0)
      continue;
    StringAttr name = p.op.getSymNameAttr();
    std::vector<std::string> copies;
    for (const auto &copy : info.pipeline->program.copiesOf(name)) {
      const StageRankEntry &holder = info.pipeline->ranks[copy.rank];
      copies.push_back("{" + text(copy.path) + ", " + text(copy.stage) + ", " + text(copy.rank) +
                       ", " + text(holder.copyOffset.at({unsigned(i), copy.stage})) + "}");
    }
    if (!info.pipeline->program.sumsCopies(name))
      copies.clear();
    const std::string sums =
        array(out, "CopyInfo", "copies" + text(number) + "_" + text(int64_t(i)), copies);
    const bool counted = info.pipeline->program.holdersOf(name)[0] == number;
    table.push_back(StringRef(rows[i].before).ltrim().str() + "at::" +
                    info.parameterName(i, number) + rows[i].behind + ", " +
                    (p.balanceRate > 0 ? literal(static_cast<float>(p.balanceRate)) : "0") + ", " +
                    text(p.zero) + ", " + text(rank.gradOffset[i]) + ", " +
                    text(rank.stateOffset[i]) + ", " + text(int64_t(i)) + ", " +
                    (counted ? "true" : "false") + ", " + sums +
                    (p.updateGroup >= 0 ? ", " + text(p.updateGroup) : std::string()) + "}");
  }
  return array(out, "ParameterInfo", "parameters" + text(number), table, ",\n    ");
}

/// A rank's tasks in a round, four a line, and the messages of its queue.
static std::string roundTables(const PipelineEntry &pipeline, int number, int which,
                               std::string &out) {
  const pipe::PipelineProgram::Round &round = pipeline.program.rounds[which];
  const std::string name =
      text(number) +
      (pipeline.program.rounds.size() > 1 ? "_" + text(round.microBatches()) : std::string());
  std::vector<std::string> tasks, messages;
  for (auto [i, entry] : llvm::enumerate(pipeline.ranks[number].tasks[which])) {
    const Task &task = entry.task;
    tasks.push_back(((i && i % 4 == 0 ? "\n    {TaskKind::" : "{TaskKind::") + kindName(task.kind) + ", ")
                        .str() +
                    text(task.path) + ", " + text(task.stage) + ", " + text(task.microBatch) + ", " +
                    text(entry.slot) +
                    (entry.pair ? ", " + func::FuncOp(entry.pair).getSymName().str() : std::string()) + "}");
  }
  for (auto [i, m] : llvm::enumerate(round.schedule.messages[number])) {
    const std::vector<int> &place = round.problem.rankOf[m.path];
    const int from = place[m.stage], into = place[m.stage + (m.cotangent ? -1 : 1)];
    const bool sends = from == number;
    messages.push_back(std::string(i && i % 4 == 0 ? "\n    {" : "{") + (sends ? "true" : "false") +
                       ", " + (m.cotangent ? "true" : "false") + ", " + text(m.path) + ", " +
                       text(m.stage) + ", " + text(m.microBatch) + ", " +
                       text(sends ? into : from) + "}");
  }
  out += "// kind, path, stage, micro-batch, slot, and what does it with the next one\n";
  std::string fields = array(out, "TaskInfo", "tasks" + name, tasks);
  out += "// send, cotangent, path, stage, micro-batch, peer\n";
  return "{" + fields + ", " + array(out, "MessageInfo", "messages" + name, messages) + "}";
}

/// What it does in each round: the name of the table.
static std::string workTables(const PipelineEntry &pipeline, int number, std::string &out) {
  std::vector<std::string> rounds;
  for (int round = 0; round < int(pipeline.program.rounds.size()); ++round)
    rounds.push_back(roundTables(pipeline, number, round, out));
  const std::string name = "rounds" + text(number);
  array(out, "RankRoundInfo", name, rounds);
  return name;
}

std::string target::pipelineTables(const ProgramInfo &info, ArrayRef<ParameterRow> parameters,
                                   const SharedNames &names) {
  const PipelineEntry &pipeline = *info.pipeline;
  std::string out;
  const std::string stages = stageTable(info, names, out);
  std::vector<std::string> ranks, rounds;
  for (auto [r, rank] : llvm::enumerate(pipeline.ranks)) {
    const std::string number = text(int64_t(r));
    out += "// Rank " + number + " of pp\n";
    std::vector<std::string> peak, held;
    for (const PeakLine &line : rank.peak)
      peak.push_back("{" + quoted(line.what) + ", " + text(line.bytes) + "}");
    for (const StageRankEntry::Held &stage : rank.held)
      held.push_back("{" + text(stage.stage) + ", " + text(stage.offset) + ", " + text(stage.slots) +
                     "}");
    std::string row = "{" + text(rank.arenaBytes) + ", " +
                      array(out, "MemoryLine", "peak" + number, peak, ",\n    ") + ", " +
                      text(rank.paramElements) + ", " + text(rank.gradElements) + ", " +
                      text(rank.stateElements) + ", " + text(info.shadowBytes) + ", " +
                      parameterTable(info, int(r), parameters, out) + ", " +
                      workTables(pipeline, int(r), out) + ", " +
                      array(out, "HeldStageInfo", "held" + number, held) + ", " +
                      text(rank.inboxOffset) + ", " + text(rank.inboxBytes) + ", " +
                      text(rank.numInboxes) + ", " + (info.prepare ? "prepare" + number : "nullptr");
    if (!rank.buckets.empty()) {
      out += bucketTable(rank.buckets, number);
      row += ", " + text(int64_t(rank.buckets.size())) + ", buckets" + number;
    }
    out += "\n";
    ranks.push_back(row + "}");
  }
  for (const pipe::PipelineProgram::Round &round : pipeline.program.rounds) {
    std::vector<std::string> paths;
    for (int count : round.problem.microBatches)
      paths.push_back(text(count));
    const std::string name = "microBatches" + text(int64_t(rounds.size()));
    array(out, "int64_t", name, paths);
    rounds.push_back("{" + text(round.microBatches()) + ", " + name + "}");
  }
  const std::string counts = text(int64_t(pipeline.program.rankOf().size())) + ", " +
                             array(out, "RoundInfo", "rounds", rounds);
  out +=
      "// arena, peak, elements of parameters, gradients and state, bytes of shadows, parameters,\n"
      "// rounds, stages, inboxes, prepare\n";
  const std::string all = array(out, "PipelineRankInfo", "pipelineRanks", ranks, ",\n    ");
  return out + "static const PipelineInfo pipeline = {" + counts + ", " + stages + ", " + all +
         "};\n\n";
}
