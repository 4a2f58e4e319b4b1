//===- options.h - The trainer's command line -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_OPTIONS_H
#define MOIRE_RT_OPTIONS_H

#include "moire/rt/comm.h"
#include "moire/rt/context.h"
#include "moire/rt/device.h"
#include "train/data.h"
#include "train/updates.h"

#include <string>

namespace moire::rt {

enum class Schedule { constant, linear, cosine };

const char *nameOf(Schedule schedule);

struct Options {
  DataOptions data;
  std::string curriculum; ///< data.curriculum as it was given
  std::string eval, weights, log, dumpGrads, trace, memory;
  std::string checkpoint, resume; ///< folders; resume may be `auto`
  int64_t checkpointEvery = 0;    ///< steps; 0: at the end alone
  int64_t keep = 3;               ///< checkpoints
  bool asyncCheckpoint = false;
  std::string tensorboard;
  int64_t expertLog = 0; ///< every so many steps; 0: never
  double peakTflops = 0; ///< of a rank; 0: not given
  std::string exportOnnx, exportSafetensors;
  int64_t traceSteps = 3;
  bool traceOps = false;
  int64_t steps = 100;
  int64_t evalEvery = 0; ///< steps; 0: after the last one
  int64_t evalRows = 0;  ///< 0: all
  bool evalOnly = false;
  bool samples = false; ///< with `sample`, which may be empty
  std::string sample;
  int64_t sampleTokens = 200;
  double temperature = 0.8;
  double lr = 1e-3;
  Schedule schedule = Schedule::constant;
  int64_t warmup = 0;
  double clip = 0; ///< 0: none
  std::string updateSchedule;
  std::vector<UpdatePhase> updates; ///< what it says; empty: all groups in all steps
  double freezeBelow = 0;           ///< 0: never
  int64_t freezePatience = 100;     ///< steps
  int64_t accumulate = 1;
  uint64_t seed = 0; ///< also data.seed
  int threads = 0;        ///< of all ranks that are threads, of one that is a process; 0: not given
  int ranks = 0;          ///< 0: not given
  double commTimeout = 10; ///< seconds
  Network network;
  std::string rendezvous; ///< the file where ranks find rank 0; empty: as the launcher says
  GpuLink gpuLink = GpuLink::automatic;
  int64_t graphNodes = -1; ///< -1: not given
  bool virtualTime = false;
  Hyper hyper; ///< betas, eps, decay, momentum; lr and step change every step
};

/// Parses argv. Returns false when --help was printed; throws InputError.
bool parseOptions(int argc, char **argv, const Program &program, Options &options);

/// The learning rate of a step, 1 being the first.
double learningRate(const Options &options, int64_t step);

} // namespace moire::rt

#endif // MOIRE_RT_OPTIONS_H
