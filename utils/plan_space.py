#===-- plan_space.py - The plans that check-plans.py draws from -*- python -*-===//
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#===----------------------------------------------------------------------===//
"""Models, plans, and which plans a model can have."""
import itertools

# Models, and the key and value heads that tp must divide.
ENTRIES = {"gpt2_dyn18": 4, "llama_dyn18": 2, "mixtral_batched_dyn18": 2, "mixtral_deep_dyn18": 2,
           "deepseek3_batched_dyn18": 4, "gptoss_batched_dyn18": 4}
# Into how many stages they can be cut: at least these.
STAGES = {**dict.fromkeys(ENTRIES, 8), "mixtral_deep_dyn18": 16}
# Attention that is not recognised as such is not cut, so there is nothing to refuse.
NOT_CUT = ["gptoss_batched_dyn18"]
# Models without experts, which have no capacity.
DENSE = ["gpt2_dyn18", "llama_dyn18"]
# Of a capacity: enough that some experts are full in each micro-batch.
FACTOR = 0.75
ROWS = 16


class Plan:
    """A mesh with the work of a step: `batch` rows a micro-batch, `accumulate` of them.

    drop: in which order a capacity drops pairs; none: experts take all. With pp ranks the
    micro-batches run by a schedule. accumulate: a number, or several of a ramp, each for as many
    steps, whose largest has the sixteen rows.
    """

    def __init__(self, dp, ep, tp, accumulate, zero=0, drop="none", pp=1, schedule=None):
        self.counts = accumulate if isinstance(accumulate, tuple) else (accumulate,)
        self.dp, self.ep, self.tp, self.accumulate, self.zero = dp, ep, tp, max(self.counts), zero
        self.drop, self.pp, self.schedule = drop, pp, schedule
        self.batch = ROWS // (dp * ep * self.accumulate)
        self.ranks = pp * dp * ep * tp

    def flags(self):
        """moirec's, but for sizes and number of the micro-batches."""
        drop = ["--capacity-factor", str(FACTOR), "--drop-order", self.drop]
        return self.mesh() + self.rates() + (drop if self.drops() else [])

    def drops(self):
        return self.drop != "none"

    def rates(self):
        """Between two ranks of ep the network is so slow that rows of experts move in parts."""
        slow = "flops=50,memory=5,overhead=0,bandwidth=0.3,latency=0"
        return ["--overlap-rates", slow] if self.ep == 2 else []

    def mesh(self):
        axes = [f"{axis}={getattr(self, axis)}" for axis in ("pp", "dp", "ep", "tp")]
        zero = ["--zero", str(self.zero)] if self.zero else []
        if self.pp > 1:
            zero += ["--schedule", self.schedule]
        return ["--mesh", ",".join(axes), *zero] if self.ranks > 1 else []

    def ramps(self):
        return len(self.counts) > 1

    def steps_of_each(self, steps):
        """Of a ramp's numbers; the last one also has what is left."""
        return max(1, steps // len(self.counts))

    def of_step(self, step, steps):
        """Micro-batches of a step of so many; 1 is the first one."""
        return self.counts[min((step - 1) // self.steps_of_each(steps), len(self.counts) - 1)]

    def micro_batches(self, steps):
        """moirec's flags of their number, in a run of so many steps."""
        if self.ramps():
            each = self.steps_of_each(steps)
            return ["--batch-ramp", ",".join(f"{n}@{i * each}" for i, n in enumerate(self.counts))]
        return ["--microbatches", str(self.accumulate)] if self.pp > 1 else []

    def rounds(self):
        """Of accumulation: a schedule and a ramp hold their micro-batches."""
        return 1 if self.pp > 1 or self.ramps() else self.accumulate

    def __str__(self):
        drop = f" drop {self.drop}" if self.drops() else ""
        if self.pp > 1:
            drop += f" {self.schedule}"
        return (f"pp={self.pp}," if self.pp > 1 else "") + (f"dp={self.dp},ep={self.ep},tp={self.tp} zero {self.zero} batch {self.batch} "
                f"accumulate {','.join(map(str, self.counts))}{drop}")

    def among(self, schedule):
        """The same mesh and micro-batches under another schedule."""
        return Plan(self.dp, self.ep, self.tp, self.counts, self.zero, self.drop, self.pp, schedule)

    def constant(self, count):
        """One of the ramp's numbers in all steps."""
        plan = Plan(self.dp, self.ep, self.tp, count, self.zero, self.drop, self.pp, self.schedule)
        plan.batch = self.batch
        return plan

    def alone(self):
        """The reference: one rank with the same micro-batches, under a capacity all ranks'."""
        times = 1 if self.drops() else self.dp * self.ep
        return Plan(1, 1, 1, tuple(count * times for count in self.counts), 0, self.drop)


def schedules(name, pp, counts):
    """What can run each of these numbers of micro-batches on `pp` ranks, and its stages on each
    rank."""
    kinds = {"gpipe": 1, "1f1b": 1, "zb-h1": 1, "zb-h2": 1, "zb-v": 2, "v-half": 2, "auto": 1}
    if min(counts) >= 2 * pp:
        kinds |= {"dualpipe": 1, "dualpipev": 2}
    if all(count % pp == 0 for count in counts):
        kinds |= {"interleaved:2": 2}
    return [kind for kind, chunks in kinds.items() if pp * chunks <= STAGES[name]]


def all_plans(name, tp, zeros, drops, pps, ramps="also"):
    """All plans of more than one rank whose micro-batches are whole rows. ramps: also, none, only"""
    drops = [drop for drop in drops if drop == "none" or name not in DENSE]
    tp = [size for size in tp if ENTRIES[name] % size == 0]
    for pp in pps:
        if pp > 1:
            for plan in all_pipelines(name, pp, tp, zeros, drops, ramps != "none"):
                if plan.ramps() or ramps != "only":
                    yield plan
    if 1 not in pps or ramps == "only":
        return
    for dp, ep, t, accumulate in itertools.product((1, 2, 4), (1, 2, 4, 8), tp, (1, 2, 4)):
        if dp * ep * accumulate <= ROWS and dp * ep * t > 1:
            # Without dp and ep nothing can be divided.
            for zero, drop in itertools.product(zeros if dp * ep > 1 else [0], drops):
                yield Plan(dp, ep, t, accumulate, zero, drop)


def all_pipelines(name, pp, tp, zeros, drops, ramps):
    every = [(2,), (4,), (8,), (16,)]
    if ramps:
        every += [(2, 4), (4, 8), (8, 16), (2, 8, 4), (4, 16, 8)]
    for dp, ep, t, counts in itertools.product((1, 2), (1, 2, 4), tp, every):
        if dp * ep * max(counts) <= ROWS and pp * dp * ep * t <= 16:
            for zero, drop, kind in itertools.product(zeros if dp * ep > 1 else [0], drops,
                                                      schedules(name, pp, counts)):
                yield Plan(dp, ep, t, counts, zero, drop, pp, kind)
