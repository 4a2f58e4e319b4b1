//===- MistakesTest.cpp - What a slip in a schedule's text is answered ---===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// DualPipe on four ranks as it is printed, with slips that a person makes. The answer has to name
// the line, what is wrong there and, where it is not that line alone, the other one.
//
//===----------------------------------------------------------------------===//
#include "Modules.h"

using namespace testproblems;

namespace {

struct Mistake {
  const char *name;
  /// The first text `from` becomes `to`; leading blanks of lines are left out of both.
  const char *from, *to;
  /// `line: sentence`, then its notes; lines count from the line of `rank 0`.
  const char *answer;
};

const Mistake kMistakes[] = {
    {"action_dropped", "backward stage 3 micro_batch 2 path 1\n", "",
     "0: rank 0 never runs B of micro-batch 2 at stage 3 on path 1\n9: F of it is here"},
    {"weight_dropped", "backward_weight stage 0 micro_batch 2\n", "",
     "0: rank 0 never runs W of micro-batch 2 at stage 0 on path 0; add it, or use B in place of "
     "b\n13: b of it is here"},
    {"action_doubled", "forward stage 0 micro_batch 0\n",
     "forward stage 0 micro_batch 0\nforward stage 0 micro_batch 0\n",
     "2: rank 0 runs F of micro-batch 0 at stage 0 on path 0 twice; leave one out\n1: F of it is "
     "here"},
    {"input_became_whole", "backward_input stage 0 micro_batch 2", "backward stage 0 micro_batch 2",
     "14: rank 0 runs W of micro-batch 2 at stage 0 on path 0 although that work is done in "
     "another form; use either B, or b and W\n13: B of it is here"},
    {"whole_became_input", "backward stage 3 micro_batch 2 path 1",
     "backward_input stage 3 micro_batch 2 path 1",
     "0: rank 0 never runs W of micro-batch 2 at stage 3 on path 1; add it, or use B in place of "
     "b\n10: b of it is here"},
    {"stage_of_another_rank", "forward stage 0 micro_batch 1", "forward stage 1 micro_batch 1",
     "2: rank 0 runs F of micro-batch 1 at stage 1 on path 0, which is rank 1's; rank 0 has stage "
     "0"},
    {"path_forgotten", "forward stage 3 micro_batch 0 path 1", "forward stage 3 micro_batch 0",
     "4: rank 0 runs F of micro-batch 0 at stage 3 on path 0, which is rank 3's; rank 0 has that "
     "stage on path 1"},
    {"path_forgotten_in_overlap", "backward stage 3 micro_batch 1 path 1 }",
     "backward stage 3 micro_batch 1 }",
     "8: rank 0 runs B of micro-batch 1 at stage 3 on path 0, which is rank 3's; rank 0 has that "
     "stage on path 1"},
    {"micro_batch_beyond", "micro_batch 2\n", "micro_batch 22\n",
     "3: rank 0 names micro-batch 22 of 4 at stage 0; use 0 to 3"},
    {"micro_batch_twice", "micro_batch 2\n", "micro_batch 1\n",
     "3: rank 0 runs F of micro-batch 1 at stage 0 on path 0 twice; leave one out\n2: F of it is "
     "here"},
    {"stage_beyond", "stage 0 micro_batch 2\n", "stage 9 micro_batch 2\n",
     "3: rank 0 names stage 9 of 4; use 0 to 3"},
    {"weight_before_input",
     "backward_input stage 3 micro_batch 0 path 1\nbackward_weight stage 3 micro_batch 0 path 1",
     "backward_weight stage 3 micro_batch 0 path 1\nbackward_input stage 3 micro_batch 0 path 1",
     "5: rank 0 runs W of micro-batch 0 at stage 3 on path 1 before b of micro-batch 0 at stage 3 "
     "on path 1, which it needs; put that first\n6: what it needs is here"},
    {"backward_before_forward",
     "forward stage 3 micro_batch 0 path 1\nbackward_input stage 3 micro_batch 0 path 1",
     "backward_input stage 3 micro_batch 0 path 1\nforward stage 3 micro_batch 0 path 1",
     "4: rank 0 runs b of micro-batch 0 at stage 3 on path 1 before F of micro-batch 0 at stage 3 "
     "on path 1, which it needs; put that first\n5: what it needs is here"},
    {"gradients_out_of_order",
     "backward_weight stage 0 micro_batch 2\nbackward_input stage 0 micro_batch 3\nbackward_weight "
     "stage 0 micro_batch 3",
     "backward_input stage 0 micro_batch 3\nbackward_weight stage 0 micro_batch 3\nbackward_weight "
     "stage 0 micro_batch 2",
     "15: rank 0 adds the weight gradients of micro-batch 3 at stage 0 where micro-batch 2 is due; "
     "keep the order of micro-batches\n16: micro-batch 2 is here"},
    {"weight_in_overlap", "overlap { forward stage 0 micro_batch 3  backward stage",
     "overlap { backward_weight stage 0 micro_batch 3  backward_weight stage",
     "8: 'pipe.backward_weight' op has nothing to overlap with another backward_weight; write one "
     "after the other"},
    {"overlap_of_one", "overlap { forward stage 0 micro_batch 3  ", "overlap { ",
     "8: 'pipe.overlap' op holds 1 task; use 2"},
    {"rank_misnumbered", "rank 0 {", "rank 1 {",
     "0: rank 1 stands where rank 0 is due; give each rank once, in order"},
    {"waits_for_ever",
     "forward stage 0 micro_batch 0\nforward stage 0 micro_batch 1\nforward stage 0 micro_batch "
     "2\nforward stage 3 micro_batch 0 path 1\nbackward_input stage 3 micro_batch 0 path "
     "1\nbackward_weight stage 3 micro_batch 0 path 1\n",
     "forward stage 3 micro_batch 0 path 1\nbackward_input stage 3 micro_batch 0 path "
     "1\nbackward_weight stage 3 micro_batch 0 path 1\nforward stage 0 micro_batch 0\nforward "
     "stage 0 micro_batch 1\nforward stage 0 micro_batch 2\n",
     "1: ranks wait for each other for ever: rank 0 with F of micro-batch 0 at stage 3 on path 1 "
     "for F of micro-batch 0 at stage 2 on path 1 on rank 1, rank 1 with F of micro-batch 0 at "
     "stage 1 on path 0 for F of micro-batch 0 at stage 0 on path 0 on rank 0\n36: rank 1 waits "
     "here"},
    {"sends_swapped",
     "send activation stage 0 micro_batch 0 to 1\nsend activation stage 0 micro_batch 1 to 1",
     "send activation stage 0 micro_batch 1 to 1\nsend activation stage 0 micro_batch 0 to 1",
     "18: rank 0 waits to send the activation of micro-batch 1 from stage 0 on path 0 while rank 1 "
     "waits first for the activation of micro-batch 0 from stage 0 on path 0: their message queues "
     "deadlock; order both by the time of sending\n52: rank 1 waits here"},
    {"receive_dropped", "receive activation stage 2 micro_batch 2 path 1 from 1\n", "",
     "0: rank 0 never receives the activation of micro-batch 2 from stage 2 on path 1\n67: rank 1 "
     "sends it here"},
    {"send_dropped", "send activation stage 0 micro_batch 0 to 1\n", "",
     "0: rank 0 never sends the activation of micro-batch 0 from stage 0 on path 0\n51: rank 1 "
     "receives it here"},
    {"send_in_place_of_receive", "receive activation stage 2 micro_batch 0 path 1 from 1",
     "send activation stage 2 micro_batch 0 path 1 to 1",
     "21: rank 0 receives this message; use receive, from 1"},
    {"other_peer", "receive activation stage 2 micro_batch 0 path 1 from 1",
     "receive activation stage 2 micro_batch 0 path 1 from 2",
     "21: this message comes from rank 1, not 2; use from 1"},
    {"activation_of_the_last_stage", "send cotangent stage 3 micro_batch 0 path 1",
     "send activation stage 3 micro_batch 0 path 1",
     "23: rank 0 has a message that no two ranks exchange, the activation of micro-batch 0 from "
     "stage 3 on path 1: no stage comes after stage 3"},
    {"memory_exceeded", "memory_limit 5", "memory_limit 4",
     "8: rank 0 holds 5 bytes (5 activations) at F of micro-batch 3 at stage 0 on path 0, above "
     "the limit of 4; use a limit of 5 or a schedule that holds less"},
    {"path_lost", "path micro_batches 4 ranks [3, 2, 1, 0]\n", "",
     "3: rank 0 names path 1 of 1; use 0"},
    {"path_not_reversed", "ranks [3, 2, 1, 0]", "ranks [0, 1, 2, 3]",
     "4: rank 0 runs F of micro-batch 0 at stage 3 on path 1, which is rank 3's; rank 0 has stage "
     "0"},
    {"more_micro_batches", "path micro_batches 4", "path micro_batches 5",
     "0: rank 0 never runs F of micro-batch 4 at stage 0 on path 0"},
    {"stage_unknown", "@stage2, @", "@stage9, @",
     "-5: schedule @step names @stage9, which is not a pipe.stage"},
    {"rank_missing", "ranks [3, 2, 1, 0]", "ranks [3, 2, 1]",
     "-5: path 1 places 3 stages of 4; give a rank for each"},
};

/// The printed schedule without indentation.
std::string flatText(Modules &modules) {
  Outcome run = runUnit("dualpipe", 4, 8);
  run.problem.memoryLimit = 5;
  std::string text = Modules::print(*modules.build(run.problem, run.schedule)), flat;
  for (llvm::StringRef line : llvm::split(llvm::StringRef(text), '\n'))
    if (!line.empty())
      flat += (line.ltrim() + "\n").str();
  return flat;
}

class Mistakes : public testing::TestWithParam<Mistake> {};

TEST_P(Mistakes, AreLocated) {
  Modules modules;
  std::string text = flatText(modules);
  ASSERT_TRUE(modules.parse(text)) << modules.errors;
  const size_t rank0 = std::count(text.begin(), text.begin() + text.find("rank 0 {"), '\n');
  const std::string from = GetParam().from;
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, from.size(), GetParam().to);
  EXPECT_FALSE(modules.parse(text));
  // Count the lines of the answer from that of rank 0.
  std::string answer;
  for (llvm::StringRef line : llvm::split(llvm::StringRef(modules.errors), '\n')) {
    unsigned number = 0;
    if (!line.consumeInteger(10, number))
      answer += (answer.empty() ? "" : "\n") + std::to_string(int(number - 1 - rank0)) + line.str();
  }
  EXPECT_EQ(answer, GetParam().answer);
}

INSTANTIATE_TEST_SUITE_P(DualPipe, Mistakes, testing::ValuesIn(kMistakes),
                         [](const auto &info) { return info.param.name; });

} // namespace
