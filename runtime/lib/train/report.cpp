//===- report.cpp - What the trainer tells while it runs ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/report.h"
#include "moire/rt/pipeline.h"
#include "train/cut_log.h"
#include "train/peak_flops.h"
#include "train/shards.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace moire::rt {

/// Seconds between two looks at the memory in use.
static constexpr double kMemoryPause = 1;

Report::Report(const Options &o, const Program &p, bool silent)
    : options(o), program(p), silent(silent), progress(o.steps) {}

void Report::openLog(int64_t done) {
  if (silent)
    return;
  if (!options.log.empty()) {
    if (done > 0)
      cutLog(options.log, done);
    log = std::make_unique<StepLog>(options.log, "--log", /*append=*/done > 0);
  }
  if (!options.tensorboard.empty())
    events = std::make_unique<EventFile>(options.tensorboard, done);
}

void Report::say(const std::string &text) {
  if (silent)
    return;
  progress.close();
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}

void Report::warn(const std::string &text) {
  if (silent)
    return;
  progress.close();
  std::fprintf(stderr, "warning: %s\n", text.c_str());
}

void Report::start(const Context &ctx, const std::string &data, const std::string &ranks) {
  if (silent)
    return;
  int64_t trainable = 0, all = 0;
  for (const ParameterInfo *p : allParameters(program)) {
    int64_t n = 1;
    for (int64_t d : globalShape(*p))
      n *= d;
    all += n;
    if (p->trainable)
      trainable += n;
  }
  const int64_t states = ctx.m.size() + ctx.v.size();
  std::printf("%s: %lld parameters, %lld trained, %s\n", program.name, (long long)all,
              (long long)trainable, describeDevice(ctx).c_str());
  const int64_t shadows = ctx.shadows.size();
  if (!ranks.empty())
    std::printf("ranks: %s\n", ranks.c_str());
  std::printf(
      "memory%s: %s = parameters %s + %sgradients %s + optimizer %s + arena "
      "%s (exact peak)\n",
      ranks.empty() ? "" : " of a rank",
      sizeText(ctx.params.size() + shadows + ctx.grads.size() + states + ctx.arena.size()).c_str(),
      sizeText(ctx.params.size()).c_str(),
      shadows ? ("in bf16 " + sizeText(shadows) + " + ").c_str() : "",
      sizeText(ctx.grads.size()).c_str(), sizeText(states).c_str(),
      sizeText(ctx.arena.size()).c_str());
  if (program.pipeline)
    largestOfStages(ctx);
  const Program &largest = **std::max_element(
      ctx.lengths.begin(), ctx.lengths.end(),
      [](const Program *a, const Program *b) { return a->arenaBytes < b->arenaBytes; });
  for (int64_t i = 0; i < largest.numPeak; ++i)
    std::printf("  at the peak: %s %s\n", sizeText(largest.peak[i].bytes).c_str(),
                largest.peak[i].what);
  if (ctx.lengths.size() > 1)
    std::printf("lengths: %s\n", describeLengths(ctx).c_str());
  for (int64_t i = 0; i < program.numRamp; ++i)
    std::printf("%s%lld micro-batches of a rank from step %lld on%s",
                i == 0 ? "batch ramp: " : ", ",
                (long long)(options.accumulate * program.ramp[i].microBatches),
                (long long)program.ramp[i].after + 1, i + 1 == program.numRamp ? "\n" : "");
  std::printf("data: %s\n", data.c_str());
  const double peak = options.peakTflops > 0
                          ? options.peakTflops * 1e12
                          : knownPeakFlops(describeDevice(ctx), /*bf16=*/shadows > 0);
  peakFlops = peak * Mesh(program).ranks();
  if (peak > 0 && program.modelFlops > 0)
    std::printf(
        "FLOPs of a micro-batch: %.4g of the model, %.4g computed; peak of a rank %.4g TFLOP/s\n",
        double(program.modelFlops), double(program.hardwareFlops), peak * 1e-12);
  std::fflush(stdout);
}

/// "16 (batch 8, arena 1.2 MB), 32 (…); seq=16@0,32@100".
std::string Report::describeLengths(const Context &ctx) const {
  std::string text;
  for (const Program *length : ctx.lengths)
    text += (text.empty() ? "" : ", ") + std::to_string(length->seq) + " (batch " +
            std::to_string(length->batch) + ", arena " + sizeText(length->arenaBytes) + ")";
  return text +
         (options.curriculum.empty() ? "; all steps have the longest" : "; " + options.curriculum);
}

/// Where other ranks of pp need more than rank 0.
void Report::largestOfStages(const Context &ctx) {
  const PipelineInfo &pipeline = *program.pipeline;
  const int64_t states = bool(ctx.m.size()) + bool(ctx.v.size());
  auto bytes = [&](int64_t rank) {
    const PipelineRankInfo &r = pipeline.ranks[rank];
    int64_t shadows = 0, arena = 0;
    for (const Program *length : ctx.lengths) {
      shadows = std::max(shadows, length->pipeline->ranks[rank].shadowBytes);
      arena = std::max(arena, length->pipeline->ranks[rank].arenaBytes);
    }
    return 4 * (r.paramElements + r.gradElements + states * r.stateElements) + shadows + arena;
  };
  int64_t most = 0;
  for (int64_t r = 1; r < pipeline.numRanks; ++r)
    if (bytes(r) > bytes(most))
      most = r;
  if (most > 0)
    std::printf("  that is rank 0; those of coordinate %lld of pp need most: %s\n", (long long)most,
                sizeText(bytes(most)).c_str());
}

void Report::connected(const std::string &how) {
  if (silent || how.empty())
    return;
  say("collectives: " + how);
}

void Report::graphs(const std::string &what) {
  if (silent || what.empty())
    return;
  say("CUDA graphs: " + what);
}

void Report::ranksEnd(double inCollectives, double exposed, double seconds) {
  if (silent)
    return;
  progress.close();
  std::printf("rank 0: %.3g s of %.3g s in collectives, waiting for others included; "
              "computed nothing for %.3g s of them\n",
              inCollectives, seconds, exposed);
  std::fflush(stdout);
}

void Report::virtualTimes(double step, double moving, double exposed) {
  if (silent)
    return;
  progress.close();
  std::printf("virtual time of a step: %.4g ms; communication %.4g ms, exposed with waiting for "
              "others %.4g ms (%.1f %% of the step)\n",
              step * 1e3, moving * 1e3, exposed * 1e3, step > 0 ? 100 * exposed / step : 0);
  std::fflush(stdout);
}

void Report::stagesEnd(double waited, double seconds) {
  if (silent)
    return;
  progress.close();
  std::printf("rank 0: waited %.3g s of %.3g s for messages of other stages\n", waited, seconds);
  std::fflush(stdout);
}

void Report::overflows(int64_t microBatches, int64_t parts) {
  if (silent)
    return;
  progress.close();
  std::printf("experts' slots: %lld micro-batches of the ep groups did not find room; all ran in "
              "%lld parts; a larger --expert-slots takes fewer\n",
              (long long)microBatches, (long long)parts);
  std::fflush(stdout);
}

StepRecord Report::recordOf(const Context &ctx, const StepResult &r) {
  StepRecord record{r};
  if (r.seconds > 0) {
    record.tokensPerSecond = double(r.tokens) / r.seconds;
    auto used = [&](int64_t flops) -> std::optional<double> {
      if (flops <= 0 || peakFlops <= 0)
        return {};
      return double(flops) * double(r.microBatches) / (r.seconds * peakFlops);
    };
    record.mfu = used(ctx.program->modelFlops); // of the step's length
    record.hfu = used(ctx.program->hardwareFlops);
  }
  const double time = Transport::Clock::now().time_since_epoch() / std::chrono::duration<double>(1);
  if (memorySeen == 0 || time - memorySeen >= kMemoryPause) {
    memory = memoryInUse(ctx);
    memorySeen = time;
  }
  record.memory = memory.now;
  record.memoryPeak = std::max(memory.now, memory.peak);
  return record;
}

void Report::step(const Context &ctx, const StepResult &r, std::vector<RouterLoad> routers,
                  std::vector<GroupReport> groups) {
  if (silent)
    return;
  StepRecord record = recordOf(ctx, r);
  record.routers = std::move(routers);
  record.groups = std::move(groups);
  if (log)
    log->step(record);
  if (events) {
    std::vector<EventFile::Scalar> scalars = {{"loss", r.loss},
                                              {"lr", r.lr},
                                              {"grad_norm", r.gradNorm},
                                              {"tokens_per_second", record.tokensPerSecond}};
    if (record.mfu)
      scalars.push_back({"mfu", *record.mfu});
    for (const RouterLoad &router : record.routers) {
      scalars.push_back({"experts/" + router.name + "/max_over_mean", router.maxOverMean()});
      scalars.push_back({"experts/" + router.name + "/dropped", double(router.dropped)});
    }
    for (const GroupReport &group : record.groups)
      if (group.updateNorm)
        scalars.push_back({"update_norm/" + group.name, *group.updateNorm});
    events->add(r.step, scalars);
  }
  progress.step(record);
}

void Report::evaluation(int64_t step, double loss, int64_t rows, double seconds) {
  if (silent)
    return;
  if (log)
    log->evaluation(step, loss, rows, seconds);
  if (events)
    events->add(step, {{"eval_loss", loss}});
  progress.close();
  std::fprintf(stderr, "eval at step %lld  loss %.4f  over %lld rows in %.3g s\n", (long long)step,
               loss, (long long)rows, seconds);
}

void Report::text(const std::string &prompt, const std::string &more) {
  if (silent)
    return;
  progress.close();
  std::fwrite(prompt.data(), 1, prompt.size(), stdout);
  std::fwrite(more.data(), 1, more.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

} // namespace moire::rt
