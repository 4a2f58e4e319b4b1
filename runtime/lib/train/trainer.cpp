//===- trainer.cpp - The training loop ------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/device.h"
#include "moire/rt/optimizer.h"
#include "moire/rt/program.h"
#include "train/data.h"
#include "train/options.h"
#include "train/report.h"
#include "train/safetensors.h"
#include "train/weights.h"

#include <chrono>
#include <cmath>
#include <csignal>
#include <omp.h>
#include <unistd.h>

namespace moire::rt {

namespace {
/// The only state of the process: a signal handler has no other way.
volatile std::sig_atomic_t stopSignal = 0;
void onSignal(int number) { stopSignal = number; }

std::string executablePath(const char *argv0) {
  char path[4096];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path);
  return n > 0 ? std::string(path, n) : argv0;
}

void dumpGrads(Context &ctx, const std::string &path) {
  const Program &p = *ctx.program;
  const HostCopy grads(ctx, ctx.grads, /*read=*/true);
  const std::string prefix = commonPrefix(p);
  std::vector<NamedTensor> tensors;
  for (int64_t i = 0; i < p.numParameters; ++i) {
    const ParameterInfo &param = p.parameters[i];
    if (!param.trainable)
      continue;
    std::string name = param.torchName;
    if (name.compare(0, prefix.size(), prefix) == 0)
      name = name.substr(prefix.size());
    tensors.push_back({name, {param.shape, param.shape + param.rank},
                       grads.as<float>() + param.offset});
  }
  writeSafetensors(path, tensors);
}

/// Starts a step: forward and backward of all micro-batches, then the update.
void startStep(Context &ctx, std::vector<MicroBatch> &batches) {
  const Program &p = *ctx.program;
  beginStep(ctx);
  for (size_t micro = 0; micro < batches.size(); ++micro) {
    ctx.microBatch = int64_t(micro);
    for (int64_t i = 0; i < p.numInputs; ++i) {
      const Block &block = batches[micro].blocks[i];
      if (p.inputs[i].role == Role::scale)
        setInput(ctx, i, &ctx.scale, sizeof ctx.scale);
      else
        setInput(ctx, i, block.data(), block.size());
    }
    runMicroStep(ctx, /*last=*/micro + 1 == batches.size());
  }
}

void train(const Program &p, const Options &o, const std::string &executable) {
  if (p.abi != kAbiVersion)
    throw InputError("the program was generated for version " +
                     std::to_string(p.abi) + " of the runtime, this is version " +
                     std::to_string(kAbiVersion) + "; compile the model again");
  omp_set_num_threads(o.threads);
  const auto data = openData(o.data, p, o.accumulate, o.seed);
  Report report(o, p);
  Context ctx(p, o.threads, /*momentum=*/o.hyper.momentum != 0);
  loadWeights(ctx, o.weights, o.seed, executable);
  report.start(ctx, data->describe());

  // All micro-batches of a step are read first: the seed of the backward is 1/N,
  // and N counts the labels of all of them.
  std::vector<MicroBatch> batches;
  for (int64_t i = 0; i < o.accumulate; ++i)
    batches.emplace_back(p);
  const int64_t tokens =
      p.batch * o.accumulate * std::max<int64_t>(1, p.seq);

  for (int64_t step = 1; step <= o.steps; ++step) {
    const auto begin = std::chrono::steady_clock::now();
    int64_t counted = 0;
    for (int64_t i = 0; i < o.accumulate; ++i) {
      data->read(step, i, batches[i]);
      counted += batches[i].counted;
    }
    if (counted == 0)
      throw InputError("no label of step " + std::to_string(step) +
                       " counts: all are -100");
    ctx.scale = static_cast<float>(1.0 / double(counted));
    const double lr = learningRate(o, step);
    ctx.hyper = o.hyper;
    ctx.hyper.lr = lr;
    ctx.hyper.step = step;
    ctx.hyper.maxNorm = o.clip;
    startStep(ctx, batches);
    const auto [loss, norm] = outcomeOfStep(ctx); // the only time that the host waits
    if (step == 1 && !o.dumpGrads.empty())
      dumpGrads(ctx, o.dumpGrads);
    const std::chrono::duration<double> seconds =
        std::chrono::steady_clock::now() - begin;
    report.step({step, loss, lr, norm, seconds.count(), tokens});
    if (!std::isfinite(loss) || !std::isfinite(norm))
      throw RunError("the " + std::string(std::isfinite(loss) ? "gradient norm" : "loss") +
                     " of step " + std::to_string(step) +
                     " is not finite; use a smaller --lr, --clip or --warmup");
    if (stopSignal && step < o.steps)
      throw RunError("stopped by signal " + std::to_string(int(stopSignal)) +
                     " after step " + std::to_string(step) +
                     "; nothing was saved");
  }
}
} // namespace

int trainerMain(int argc, char **argv, const Program &program) {
  try {
    Options options;
    if (!parseOptions(argc, argv, program, options))
      return 0;
    stopSignal = 0;
    std::signal(SIGINT, onSignal);
    std::signal(SIGTERM, onSignal);
    train(program, options, executablePath(argv[0]));
    return 0;
  } catch (const InputError &e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 1;
  } catch (const std::exception &e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 2;
  }
}

} // namespace moire::rt
