//===- RenderTest.cpp - Timetables, pictures, traces ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/Render.h"
#include "Json.h"
#include "TestProblems.h"
#include <algorithm>
#include <sstream>

using namespace testproblems;

namespace {

std::string timetable(const std::string &kind, int P, int M) {
  Outcome run = runUnit(kind, P, M);
  std::ostringstream out;
  writeTimetable(out, run.problem, run.schedule, run.timing);
  return "\n" + out.str();
}

TEST(Render, Timetables) {
  EXPECT_EQ(timetable("1f1b", 3, 4), R"(
rank 0 |0 1 2         <0> 3 <1>   <2>   <3>
rank 1 |  0 1     <0> 2 <1> 3 <2>   <3>
rank 2 |    0 <0> 1 <1> 2 <2> 3 <3>
)");
}

TEST(Render, AWideScheduleIsCutToTheWidth) {
  Outcome run = runUnit("1f1b", 2, 200);
  std::ostringstream out;
  TextOptions options;
  options.width = 50;
  writeTimetable(out, run.problem, run.schedule, run.timing, options);
  std::istringstream lines(out.str());
  for (std::string line; std::getline(lines, line);)
    EXPECT_LE(line.size(), 50u + 8);
}

TEST(Render, SvgHasABoxForEachTask) {
  Outcome run = runUnit("dualpipe", 4, 8);
  std::ostringstream out;
  writeSvg(out, run.problem, run.schedule, run.timing);
  const std::string svg = out.str();
  size_t boxes = 0, tasks = 0;
  for (size_t at = svg.find("<rect x="); at != std::string::npos; at = svg.find("<rect x=", at + 1))
    ++boxes;
  for (const auto &row : run.schedule.ranks)
    for (const Action &action : row)
      tasks += action.size();
  EXPECT_EQ(boxes, tasks);
  EXPECT_NE(svg.find("<title>F0.3+B1.1</title>"), std::string::npos);
}

TEST(Render, ChromeTraceHasActionsMemoryAndMessages) {
  Workload work = unitWorkload("1f1b", 2, 2);
  for (StageCost &part : work.parts)
    part.parameterBytes = 100;
  Outcome run = runWorkload("1f1b", work);
  std::ostringstream out;
  writeChromeTrace(out, run.problem, run.schedule, run.timing, 1000); // the unit is a millisecond
  const testjson::Value trace = testjson::Parser(out.str()).value();
  double latest = 0, memory = 0;
  int actions = 0, sent = 0, received = 0;
  for (const testjson::Value &event : trace["traceEvents"].list) {
    const std::string &kind = event["ph"].string;
    if (kind == "X") {
      ++actions;
      latest = std::max(latest, event["ts"].number + event["dur"].number);
    }
    if (kind == "C")
      memory = std::max(memory, event["args"]["bytes"].number);
    sent += kind == "s", received += kind == "f";
  }
  EXPECT_EQ(actions, 8);
  EXPECT_EQ(latest, run.timing.makespan * 1000) << "microseconds";
  EXPECT_EQ(memory, run.timing.peakBytes());
  EXPECT_EQ(sent, 4) << "two activations, two cotangents";
  EXPECT_EQ(received, sent);
}

TEST(Render, Summary) {
  Outcome run = runUnit("1f1b", 2, 2);
  std::ostringstream out;
  writeSummary(out, run.problem, run.timing);
  EXPECT_EQ(out.str(), "makespan 9, bubble 33.3 %, exposed communication 0, peak memory 2\n"
                       "rank  busy  idle  transfer wait  collective  peak memory  activations\n"
                       "0  6  3  0  0  2  2\n"
                       "1  6  3  0  0  1  1\n");
}

} // namespace
