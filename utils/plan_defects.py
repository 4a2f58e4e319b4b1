#===-- plan_defects.py - Wrong programs and runtimes -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""How check-plans.py --defects spoils a program's text or a file of the runtime."""
import re


def repeat_expert_gradient(text):
    """The experts' gradients come out scaled by ep."""
    return re.sub(r"( *pipe\.accumulate @[\w.]*experts[\w.]*, .*\n)", r"\1\1", text)


def leave_bucket_out(text):
    """One bucket of gradients is not summed over its ranks."""
    return re.sub(r" *pipe\.reduce_grads .*\n", "", text, count=1)


def sum_over_wrong_ranks(text):
    """Dense gradients are summed over dp alone."""
    return text.replace('over ["dp", "ep"]', 'over ["dp"]')


def forget_a_sum_over_tp(text):
    """One sum inside a layer is missing: its result is a rank's own."""
    return re.sub(r"dist\.all_reduce (%\w+) over \[\"tp\"\] : (tensor<[^>]*>)",
                  r"nn.reshape \1 : \2 -> \2", text, count=1)


def leave_parameters_in_pieces(text):
    """Updated pieces of one bucket stay where they are."""
    return re.sub(r" *pipe\.gather .*\n", "", text, count=1)


def keep_own_summand(text):
    """A rank accumulates its piece of its own gradient, not of the sum."""
    return text.replace("dist.reduce_scatter", "dist.split", 1)


def count_own_pairs_alone(text):
    """A capacity takes the other ranks' counts of pairs to be the rank's own."""
    return re.sub(r"dist\.all_gather (%\w+) dim 0 over \[\"dp\", \"ep\"\] : "
                  r"(tensor<1x2x8xf32>) -> (tensor<4x2x8xf32>)",
                  r"nn.concat \1, \1, \1, \1 dim 0 : \2, \2, \2, \2 -> \3", text, count=1)


def start_a_forward_early(text):
    """The last rank starts a forward before the backward in front of it."""
    return re.sub(r"( *backward stage 1 micro_batch 0 .*\n)( *forward stage 1 micro_batch 1 .*\n)", r"\2\1",
                  text, count=1)


def start_a_forward_early_at_the_end(text):
    """As above, in the last schedule of a ramp."""
    at = text.rindex("  pipe.schedule ")
    return text[:at] + start_a_forward_early(text[at:])


def ramp_late(text):
    """The second number of a ramp comes a step later."""
    return re.sub(r"(pipe\.batch_ramp .*?, \d+ after )(\d+)",
                  lambda match: match[1] + str(int(match[2]) + 1), text, count=1)


# What is wrong, the model, the plan, and how the program is spoilt.
PROGRAM_DEFECTS = [
    ("an expert's gradient scaled by ep", "mixtral_batched_dyn18", (1, 2, 1, 2),
     repeat_expert_gradient),
    ("one bucket left out", "llama_dyn18", (2, 1, 1, 2), leave_bucket_out),
    ("dense gradients not summed over ep", "mixtral_batched_dyn18", (2, 2, 1, 1),
     sum_over_wrong_ranks),
    ("a sum over tp left out", "gpt2_dyn18", (1, 1, 2, 2), forget_a_sum_over_tp),
    ("parameters left in pieces", "llama_dyn18", (2, 1, 1, 2, 1), leave_parameters_in_pieces),
    ("a piece of one rank's gradient", "mixtral_batched_dyn18", (2, 2, 1, 1, 2), keep_own_summand),
    ("a capacity over counts of one rank", "mixtral_batched_dyn18", (2, 2, 1, 2, 0, "gshard"),
     count_own_pairs_alone),
    ("one micro-batch more in flight", "llama_dyn18", (1, 1, 1, 4, 0, "none", 2, "1f1b"),
     start_a_forward_early),
    ("one micro-batch more in flight after a ramp", "llama_dyn18",
     (1, 1, 1, (4, 8), 0, "none", 2, "1f1b"), start_a_forward_early_at_the_end),
    ("a ramp that comes a step late", "llama_dyn18", (1, 1, 1, (4, 8), 0, "none", 2, "1f1b"),
     ramp_late),
]


# What is wrong, a file of the runtime, what stands there and what is put instead.
RUNTIME_DEFECTS = [
    ("the mean taken over local labels", "lib/train/rank.cpp",
     "const int64_t counted = count(step, labels);",
     "count(step, labels);\n    const int64_t counted = labels * shards;"),
    ("clipping by a local norm", "lib/kernels/optimizer.cpp",
     "sumShards(ctx, squares.data());", ";"),
    ("an arena larger than was planned", "lib/context.cpp",
     "arena = DeviceBlock(arenaBytes);", "arena = DeviceBlock(arenaBytes + 64);"),
]
