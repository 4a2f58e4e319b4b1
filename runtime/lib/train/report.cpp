//===- report.cpp - What the trainer tells while it runs ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/report.h"
#include "moire/rt/device.h"
#include "moire/rt/pipeline.h"
#include "train/cut_log.h"
#include "train/shards.h"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <unistd.h>

namespace moire::rt {

namespace {
std::string size(int64_t bytes) {
  char text[32];
  if (bytes >= 1000000000)
    std::snprintf(text, sizeof text, "%.2f GB", bytes * 1e-9);
  else if (bytes >= 1000000)
    std::snprintf(text, sizeof text, "%.1f MB", bytes * 1e-6);
  else
    std::snprintf(text, sizeof text, "%.1f kB", bytes * 1e-3);
  return text;
}
/// JSON has no NaN.
std::string number(double v) {
  if (!std::isfinite(v))
    return "null";
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", v);
  return text;
}
} // namespace

Report::Report(const Options &o, const Program &p, bool silent)
    : options(o), program(p), silent(silent), terminal(isatty(STDERR_FILENO)) {}

void Report::openLog(int64_t done) {
  if (silent || options.log.empty())
    return;
  if (done > 0)
    cutLog(options.log, done);
  log = std::fopen(options.log.c_str(), done > 0 ? "a" : "w");
  if (!log)
    throw InputError("cannot write --log '" + options.log + "': " + std::strerror(errno));
}

void Report::endLine() {
  if (lineOpen)
    std::fputc('\n', stderr);
  lineOpen = false;
}

void Report::say(const std::string &text) {
  if (silent)
    return;
  endLine();
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}

void Report::warn(const std::string &text) {
  if (silent)
    return;
  endLine();
  std::fprintf(stderr, "warning: %s\n", text.c_str());
}

Report::~Report() {
  endLine();
  if (log)
    std::fclose(log);
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
  std::printf("%s: %lld parameters, %lld trained, %s\n", program.name,
              (long long)all, (long long)trainable, describeDevice(ctx).c_str());
  const int64_t shadows = ctx.shadows.size();
  if (!ranks.empty())
    std::printf("ranks: %s\n", ranks.c_str());
  std::printf("memory%s: %s = parameters %s + %sgradients %s + optimizer %s + arena "
              "%s (exact peak)\n",
              ranks.empty() ? "" : " of a rank", size(ctx.params.size() + shadows + ctx.grads.size() + states +
                   ctx.arena.size()).c_str(),
              size(ctx.params.size()).c_str(),
              shadows ? ("in bf16 " + size(shadows) + " + ").c_str() : "",
              size(ctx.grads.size()).c_str(), size(states).c_str(),
              size(ctx.arena.size()).c_str());
  if (program.pipeline)
    largestOfStages(ctx);
  for (int64_t i = 0; i < program.numPeak; ++i)
    std::printf("  at the peak: %s %s\n", size(program.peak[i].bytes).c_str(),
                program.peak[i].what);
  for (int64_t i = 0; i < program.numRamp; ++i)
    std::printf("%s%lld micro-batches of a rank from step %lld on%s",
                i == 0 ? "batch ramp: " : ", ",
                (long long)(options.accumulate * program.ramp[i].microBatches),
                (long long)program.ramp[i].after + 1, i + 1 == program.numRamp ? "\n" : "");
  std::printf("data: %s\n", data.c_str());
  std::fflush(stdout);
}

/// Where other ranks of pp need more than rank 0.
void Report::largestOfStages(const Context &ctx) {
  const PipelineInfo &pipeline = *program.pipeline;
  const int64_t states = bool(ctx.m.size()) + bool(ctx.v.size());
  auto bytes = [&](const PipelineRankInfo &r) {
    return 4 * (r.paramElements + r.gradElements + states * r.stateElements) + r.shadowBytes +
           r.arenaBytes;
  };
  int64_t most = 0;
  for (int64_t r = 1; r < pipeline.numRanks; ++r)
    if (bytes(pipeline.ranks[r]) > bytes(pipeline.ranks[most]))
      most = r;
  if (most > 0)
    std::printf("  that is rank 0; those of coordinate %lld of pp need most: %s\n",
                (long long)most, size(bytes(pipeline.ranks[most])).c_str());
}

void Report::connected(const std::string &how) {
  if (silent || how.empty())
    return;
  std::printf("collectives: %s\n", how.c_str());
  std::fflush(stdout);
}

void Report::graphs(const std::string &what) {
  if (silent || what.empty())
    return;
  std::printf("CUDA graphs: %s\n", what.c_str());
  std::fflush(stdout);
}

void Report::ranksEnd(double inCollectives, double exposed, double seconds) {
  if (silent)
    return;
  std::printf("rank 0: %.3g s of %.3g s in collectives, waiting for others included; "
              "computed nothing for %.3g s of them\n",
              inCollectives, seconds, exposed);
  std::fflush(stdout);
}

void Report::virtualTimes(double step, double moving, double exposed) {
  if (silent)
    return;
  std::printf("virtual time of a step: %.4g ms; communication %.4g ms, exposed with waiting for "
              "others %.4g ms (%.1f %% of the step)\n",
              step * 1e3, moving * 1e3, exposed * 1e3, step > 0 ? 100 * exposed / step : 0);
  std::fflush(stdout);
}

void Report::stagesEnd(double waited, double seconds) {
  if (silent)
    return;
  std::printf("rank 0: waited %.3g s of %.3g s for messages of other stages\n", waited, seconds);
  std::fflush(stdout);
}

void Report::overflows(int64_t microBatches, int64_t parts) {
  if (silent)
    return;
  std::printf("experts' slots: %lld micro-batches of the ep groups did not find room; all ran in "
              "%lld parts; a larger --expert-slots takes fewer\n",
              (long long)microBatches, (long long)parts);
  std::fflush(stdout);
}

void Report::step(const StepResult &r) {
  if (silent)
    return;
  const double rate = r.seconds > 0 ? r.tokens / r.seconds : 0;
  if (log) {
    std::fprintf(log,
                 "{\"step\": %lld, \"loss\": %s, \"lr\": %s, \"grad_norm\": %s, "
                 "\"tokens\": %lld, \"tokens_per_second\": %s}\n",
                 (long long)r.step, number(r.loss).c_str(), number(r.lr).c_str(),
                 number(r.gradNorm).c_str(), (long long)r.tokens, number(rate).c_str());
    if (std::fflush(log) != 0)
      throw RunError("cannot write --log '" + options.log + "': " +
                     std::strerror(errno));
  }
  // A file or pipe gets about twenty lines, a terminal one that is rewritten.
  const bool last = r.step == options.steps;
  const int64_t every = std::max<int64_t>(1, options.steps / 20);
  if (!terminal && r.step != 1 && !last && r.step % every != 0)
    return;
  std::fprintf(stderr, "%sstep %lld/%lld  loss %.4f  lr %.3g  norm %.3g  %.0f tokens/s%s",
               terminal ? "\r" : "", (long long)r.step, (long long)options.steps,
               r.loss, r.lr, r.gradNorm, rate, terminal ? "   " : "\n");
  lineOpen = terminal;
}

void Report::evaluation(int64_t step, double loss, int64_t rows, double seconds) {
  if (silent)
    return;
  if (log) {
    std::fprintf(log,
                 "{\"step\": %lld, \"eval_loss\": %s, \"eval_rows\": %lld, \"eval_seconds\": %s}\n",
                 (long long)step, number(loss).c_str(), (long long)rows, number(seconds).c_str());
    if (std::fflush(log) != 0)
      throw RunError("cannot write --log '" + options.log + "': " + std::strerror(errno));
  }
  if (lineOpen)
    std::fputc('\n', stderr);
  lineOpen = false;
  std::fprintf(stderr, "eval at step %lld  loss %.4f  over %lld rows in %.3g s\n", (long long)step,
               loss, (long long)rows, seconds);
}

void Report::text(const std::string &prompt, const std::string &more) {
  if (silent)
    return;
  if (lineOpen)
    std::fputc('\n', stderr);
  lineOpen = false;
  std::fwrite(prompt.data(), 1, prompt.size(), stdout);
  std::fwrite(more.data(), 1, more.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

} // namespace moire::rt
