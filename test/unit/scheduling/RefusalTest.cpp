//===- RefusalTest.cpp - One sentence for each bad input ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TestProblems.h"

using namespace testproblems;

namespace {

std::string refusalOf(const std::string &kind, int ranks, int microBatches) {
  Problem problem;
  return place(unitWorkload(kind, ranks, microBatches), kindOf(kind), problem).value_or("accepted");
}

TEST(Refusal, Names) {
  Kind kind;
  EXPECT_EQ(parseKind("1F1B", kind).value_or(""),
            "no schedule is named '1F1B'; use one of gpipe, 1f1b, interleaved:V, zb-h1, zb-h2, "
            "zb-v, v-half, "
            "dualpipe, dualpipev, auto");
  for (const char *text :
       {"interleaved:", "interleaved:0", "interleaved:x", "interleaved:99999999999"})
    EXPECT_EQ(parseKind(text, kind).value_or(""),
              std::string("'") + text +
                  "' needs a number of chunks from 1 to 999 after the colon; use interleaved:2");
  for (Kind each : generatorKinds()) {
    EXPECT_FALSE(parseKind(each.str(), kind));
    EXPECT_EQ(kind.str(), each.str());
  }
}

TEST(Refusal, RanksAndMicroBatches) {
  EXPECT_EQ(refusalOf("dualpipe", 5, 20),
            "dualpipe needs an even number of ranks, not 5; use 4 or 6");
  EXPECT_EQ(refusalOf("dualpipe", 1, 20),
            "dualpipe needs an even number of ranks, not 1; use 2, or dualpipev");
  EXPECT_EQ(refusalOf("dualpipe", 8, 14),
            "dualpipe on 8 ranks needs at least 16 micro-batches, not 14; use 16");
  EXPECT_EQ(refusalOf("dualpipe", 4, 9),
            "dualpipe feeds 9 micro-batches from two ends, which takes an even number; use 10");
  EXPECT_EQ(refusalOf("dualpipev", 8, 15),
            "dualpipev on 8 ranks needs at least 16 micro-batches, not 15; use 16");
  EXPECT_EQ(refusalOf("interleaved:2", 4, 10),
            "interleaved:2 on 4 ranks needs a multiple of 4 micro-batches, not 10; use 8 or 12");
  EXPECT_EQ(refusalOf("1f1b", 4, 0), "path 0 has 0 micro-batches; use at least 1");
  Problem problem;
  Workload none;
  none.ranks = 0;
  EXPECT_EQ(place(none, {}, problem).value_or(""),
            "a pipeline of 0 ranks cannot be; use at least 1");
}

TEST(Refusal, StagesThatDoNotCut) {
  Problem problem;
  Workload work = unitWorkload("1f1b", 4, 8);
  work.parts.resize(3);
  EXPECT_EQ(place(work, kindOf("1f1b"), problem).value_or(""),
            "3 parts of the model do not make 4 equal stages; use 4 parts");
  work.parts.resize(2), work.pieces = 1;
  EXPECT_EQ(place(work, kindOf("1f1b"), problem).value_or(""),
            "2 parts of the model do not make 4 equal stages; allow 2 pieces of a part, not 1");
}

TEST(Refusal, Memory) {
  Workload work = unitWorkload("1f1b", 4, 8);
  for (StageCost &part : work.parts)
    part.parameterBytes = 10;
  Problem problem;
  Schedule schedule;
  work.memoryLimit = 10;
  EXPECT_EQ(place(work, kindOf("1f1b"), problem).value_or(""),
            "rank 0 needs 11 bytes for its parameters and one micro-batch, above the limit of 10; "
            "use a limit of 11 "
            "or more ranks");
  work.memoryLimit = 13;
  ASSERT_FALSE(place(work, kindOf("1f1b"), problem));
  EXPECT_EQ(generate(problem, kindOf("1f1b"), schedule).value_or(""),
            "rank 0 holds 14 bytes (4 activations) at F of micro-batch 3 at stage 0, above the "
            "limit of 13; use a limit of 14 or a schedule that holds less");
}

TEST(Refusal, CostsAndLinks) {
  auto refused = [](auto change) {
    Workload work = unitWorkload("1f1b", 2, 2);
    change(work);
    Problem problem;
    return place(work, kindOf("1f1b"), problem).value_or("accepted");
  };
  EXPECT_EQ(refused([](Workload &w) { w.parts[1].forward = -2; }),
            "forward cost -2 of stage 1 is not a finite number of at least 0");
  EXPECT_EQ(refused([](Workload &w) { w.parts[0].backwardWeight = NAN; }),
            "weight-gradient cost nan of stage 0 is not a finite number of at least 0");
  EXPECT_EQ(refused([](Workload &w) { w.parts[0].forwardCollective = 2; }),
            "forward collective cost 2 of stage 0 is above its forward cost 1; it is a part of it");
  EXPECT_EQ(
      refused([](Workload &w) { w.parts[0].backwardCollective = 3; }),
      "backward collective cost 3 of stage 0 is above its backward cost 1; it is a part of it");
  EXPECT_EQ(
      refused([](Workload &w) { w.parts[0].weightResidualBytes = 3; }),
      "stage 0 keeps 3 bytes from b to W, more than its 1 bytes of activations; use at most these");
  EXPECT_EQ(refused([](Workload &w) { w.link.latency = -1; }),
            "link latency -1 is not a finite number of at least 0");
  EXPECT_EQ(refused([](Workload &w) { w.link.bandwidth = 0; }), "link bandwidth 0 is not above 0");
  EXPECT_EQ(refused([](Workload &w) { w.contention = 1.5; }),
            "contention factor 1.5 is not above 0 and at most 1");
  EXPECT_EQ(refused([](Workload &w) { w.memoryLimit = -4; }),
            "memory limit -4 is not a finite number of at least 0");
}

/// Two ranks, two micro-batches, 1F1B; `change` damages it.
template <class Fn> std::string verdict(Fn change) {
  Outcome run = runUnit("1f1b", 2, 2);
  change(run.schedule, run.problem);
  return verify(run.problem, run.schedule).value_or("accepted");
}

TEST(Refusal, Verify) {
  // rank 0: F0 F1 B0 B1, rank 1: F0 B0 F1 B1
  EXPECT_EQ(verdict([](Schedule &, Problem &) {}), "accepted");
  EXPECT_EQ(verdict([](Schedule &s, Problem &) { s.ranks.pop_back(); }),
            "the schedule has 1 ranks, the problem 2");
  EXPECT_EQ(verdict([](Schedule &s, Problem &) { s.ranks[1].pop_back(); }),
            "rank 1 never runs B of micro-batch 1 at stage 1");
  EXPECT_EQ(verdict([](Schedule &s, Problem &) { s.ranks[1].push_back(s.ranks[1][1]); }),
            "rank 1 runs B of micro-batch 0 at stage 1 twice; leave one out");
  EXPECT_EQ(verdict([](Schedule &s, Problem &) {
              s.ranks[1].push_back(Task{TaskKind::BackwardWeight, 0, 1, 0});
            }),
            "rank 1 runs W of micro-batch 0 at stage 1 although that work is done in another form; "
            "use either B, or b and W");
  EXPECT_EQ(verdict([](Schedule &s, Problem &) { s.ranks[1][0].first.stage = 0; }),
            "rank 1 runs F of micro-batch 0 at stage 0, which is rank 0's; rank 1 has stage 1");
  EXPECT_EQ(verdict([](Schedule &s, Problem &) { s.ranks[1][0].first.microBatch = 7; }),
            "rank 1 names micro-batch 7 of 2 at stage 1; use 0 to 1");
  EXPECT_EQ(verdict([](Schedule &s, Problem &) { std::swap(s.ranks[1][0], s.ranks[1][1]); }),
            "rank 1 runs B of micro-batch 0 at stage 1 before F of micro-batch 0 at stage 1, which "
            "it needs; put that first");
  EXPECT_EQ(verdict([](Schedule &s, Problem &) { std::swap(s.ranks[0][2], s.ranks[0][3]); }),
            "rank 0 adds the weight gradients of micro-batch 1 at stage 0 where micro-batch 0 is "
            "due; keep the "
            "order of micro-batches");
  EXPECT_EQ(
      verdict([](Schedule &s, Problem &) {
        s.ranks[1] = {Action(s.ranks[1][0].first, s.ranks[1][1].first), s.ranks[1][2],
                      s.ranks[1][3]};
      }),
      "rank 1 overlaps B of micro-batch 0 at stage 1 with F of micro-batch 0 at stage 1, which it "
      "needs; run them one after the other");
  EXPECT_EQ(verdict([](Schedule &s, Problem &) {
              // Rank 0 wants its cotangent before it sends what rank 1 wants first.
              s.ranks[0] = {s.ranks[0][0], s.ranks[0][2], s.ranks[0][1], s.ranks[0][3]};
              s.ranks[1] = {s.ranks[1][2], s.ranks[1][0], s.ranks[1][1], s.ranks[1][3]};
            }),
            "ranks wait for each other for ever: rank 0 with B of micro-batch 0 at stage 0 for "
            "B of micro-batch 0 at stage 1 on rank 1, rank 1 with F of micro-batch 1 at stage 1 "
            "for F of micro-batch 1 at stage 0 on rank 0");
  EXPECT_EQ(verdict([](Schedule &s, Problem &p) { p.memoryLimit = 1; }),
            "rank 0 holds 2 bytes (2 activations) at F of micro-batch 1 at stage 0, above the "
            "limit of 1; use a limit of 2 "
            "or a schedule that "
            "holds less");
}

TEST(Refusal, Messages) {
  EXPECT_EQ(verdict([](Schedule &s, Problem &) { std::swap(s.messages[1][0], s.messages[1][1]); }),
            "rank 0 waits to send the activation of micro-batch 0 from stage 0 while rank 1 waits "
            "first for the "
            "activation of micro-batch 1 from stage 0: their message queues deadlock; order both "
            "by the time of "
            "sending");
  EXPECT_EQ(verdict([](Schedule &s, Problem &) { s.messages[1].pop_back(); }),
            "rank 1 never sends the cotangent of micro-batch 1 from stage 1");
  EXPECT_EQ(verdict([](Schedule &s, Problem &) { s.messages[1].push_back(s.messages[1][0]); }),
            "rank 1 receives the activation of micro-batch 0 from stage 0 twice; leave one out");
  EXPECT_EQ(verdict([](Schedule &s, Problem &) { s.messages[0][0].stage = 1; }),
            "rank 0 has a message that no two ranks exchange, the activation of micro-batch 0 from "
            "stage 1: no stage comes after stage 1");
}

/// `rank.index`, `m` before it for a message, `/task` of a pair; then the notes' places.
template <class Fn> std::string places(Fn change) {
  Outcome run = runUnit("1f1b", 2, 2);
  change(run.schedule);
  std::optional<Fault> fault = findFault(run.problem, run.schedule);
  if (!fault)
    return "accepted";
  auto text = [](const Position &p) {
    return (p.message ? "m" : "") + std::to_string(p.rank) + "." + std::to_string(p.index) +
           (p.task < 0 ? "" : "/" + std::to_string(p.task));
  };
  std::string all = text(fault->position);
  for (const auto &[position, note] : fault->notes)
    all += " " + text(position);
  return all;
}

TEST(Refusal, Places) {
  // rank 0: F0 F1 B0 B1, rank 1: F0 B0 F1 B1
  EXPECT_EQ(places([](Schedule &s) { s.ranks.pop_back(); }), "-1.-1");
  EXPECT_EQ(places([](Schedule &s) { s.ranks[1].pop_back(); }), "1.-1 1.2");
  EXPECT_EQ(places([](Schedule &s) { s.ranks[1].push_back(s.ranks[1][1]); }), "1.4 1.1");
  EXPECT_EQ(places([](Schedule &s) { std::swap(s.ranks[0][2], s.ranks[0][3]); }), "0.2 0.3");
  EXPECT_EQ(places([](Schedule &s) {
              s.ranks[1][1] = Action(s.ranks[1][2].first, s.ranks[1][1].first);
              s.ranks[1][1].second->microBatch = 1; // B of 1 is due later
              s.ranks[1].erase(s.ranks[1].begin() + 2);
            }),
            "1.2 1.1/1");
  EXPECT_EQ(places([](Schedule &s) { s.messages[1].pop_back(); }), "m1.-1 m0.3");
  EXPECT_EQ(places([](Schedule &s) { std::swap(s.messages[1][0], s.messages[1][1]); }),
            "m0.0 m1.0");
}

} // namespace
