//===- rank.cpp - One rank's training run ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/rank.h"
#include "moire/rt/collectives.h"
#include "moire/rt/device.h"
#include "moire/rt/gradients.h"
#include "moire/rt/optimizer.h"
#include "train/checkpoint.h"
#include "train/evaluator.h"
#include "train/expert_load.h"
#include "train/exports.h"
#include "train/gather.h"
#include "train/gradients_file.h"
#include "train/memory_use.h"
#include "train/pipeline.h"
#include "train/prefetch.h"
#include "train/report.h"
#include "train/sampling.h"
#include "train/trace.h"
#include "train/updates.h"
#include "train/weights.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <omp.h>

namespace moire::rt {

namespace {
class Rank {
public:
  explicit Rank(const RankSetup &setup)
      : s(setup), lengths(lengthsOfRank(setup.program, coordinateOfStages(setup))),
        p(lengths.back()), o(setup.options), comm(setup.comm),
        most(o.accumulate * mostMicroBatches(p)),
        shards(comm ? comm->groupOver("dp,ep").size() : 1),
        shard(comm ? comm->groupOver("dp,ep").index : 0),
        curriculum(setup.program, o.data.curriculum, o.accumulate, shards) {
    for (int axis = 0; comm && axis < int(comm->mesh.numAxes()); ++axis)
      if (const auto &name = p.axes[axis].name;
          name != std::string("dp") && name != std::string("ep"))
        countsData = countsData && comm->axisIndex(axis) == 0;
  }

  void run() {
    try {
      train();
    } catch (const LostError &e) {
      // Where this rank's messages ended with an error, its own collectives are told, too.
      std::exception_ptr cause;
      for (const auto &pipeline : pipelines)
        cause = cause ? cause : pipeline->failure();
      abandon(e.what());
      if (cause)
        std::rethrow_exception(cause);
      throw;
    } catch (const std::exception &e) {
      abandon(e.what());
      throw;
    }
  }

private:
  static int64_t coordinateOfStages(const RankSetup &setup) {
    return setup.comm ? setup.comm->groupOver("pp").index : 0;
  }

  /// What is in the queues works on this rank's memory, which goes now.
  void abandon(const std::string &why) {
    for (const auto &pipeline : pipelines)
      pipeline->abandon(why);
    if (comm)
      comm->abandon(why);
  }

  /// Leaves in good order, with all other ranks.
  void finish() {
    if (s.stages)
      s.stages->finish();
    comm->link().finish();
  }

  void train() {
    omp_set_num_threads(o.threads);
    setUp();
    double begin = now();
    CommTimes before = comm ? comm->times() : CommTimes();
    const int64_t last = data ? o.steps : first - 1;
    const int64_t traced = std::min(first + o.traceSteps - 1, last);
    if (evaluation && first > last)
      evaluate(first - 1);
    for (int64_t step = first; step <= last; ++step) {
      if (trace)
        trace->setStep(step, step <= traced);
      trainStep(step);
      if (evaluation && (step == last || (o.evalEvery && step % o.evalEvery == 0)))
        evaluate(step);
      if (trace && step == traced)
        trace->write();
      // The first step touches memory for the first time.
      if (step == first && o.virtualTime && last > first) {
        begin = now();
        before = comm->times();
      }
      if (checkpoints->isDue(step))
        save(step);
    }
    if (!o.checkpoint.empty())
      saveLast(std::max(last, first - 1));
    if (memory)
      memory->write();
    if (o.samples)
      sample();
    if (const std::string written = exports->write(*ctx); !written.empty())
      report->say("exported: " + written);
    if (!comm)
      return;
    if (first > last)
      return finish();
    const double seconds = now() - begin;
    reportOverflows();
    if (connected.hostWaits) // else its time is the GPU's
      reportTimes(before, seconds);
    double waited = 0;
    for (const auto &pipeline : pipelines)
      waited += pipeline->waited();
    if (pipeline() && connected.hostWaits)
      report->stagesEnd(waited, seconds);
    finish();
  }

  /// Seconds, of virtual time where that is asked for.
  double now() {
    if (o.virtualTime)
      return comm->virtualNow();
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }

  void reportTimes(const CommTimes &before, double seconds) {
    const CommTimes spent = comm->times();
    double mine[3] = {seconds, spent.moving - before.moving, spent.exposed - before.exposed};
    if (!o.virtualTime)
      return report->ranksEnd(mine[1], mine[2], mine[0]);
    // A step is as long as its slowest rank's; of communication the mean of all ranks.
    const Group all = comm->groupOver("pp,dp,ep,tp");
    std::vector<double> theirs(3 * all.size());
    comm->allGather(all, "all_gather of times", mine, theirs.data(), 1, sizeof mine);
    double longest = 0, moving = 0, exposed = 0;
    for (int i = 0; i < all.size(); ++i) {
      longest = std::max(longest, theirs[3 * i]);
      moving += theirs[3 * i + 1] / all.size();
      exposed += theirs[3 * i + 2] / all.size();
    }
    const double steps = double(std::max<int64_t>(1, o.steps - first));
    report->virtualTimes(longest / steps, moving / steps, exposed / steps);
  }

  //===--- what all ranks do or none ---===//

  /// Throws on all ranks what all of them found.
  template <typename Error> [[noreturn]] void endAll(const std::string &what) {
    if (comm) {
      finish();
      if (comm->rank() > 0)
        throw SaidByAnother{exitCode(Error(what))};
    }
    throw Error(what);
  }

  /// Does what each rank does by itself. Where one of them cannot, none goes on, and the lowest
  /// that cannot says why.
  template <typename Body> void together(Body &&body) {
    int code = 0;
    std::exception_ptr error;
    try {
      body();
    } catch (const std::exception &e) {
      error = std::current_exception();
      code = exitCode(e);
    }
    const Verdict verdict = agree(comm, code, "", "the start of the run");
    if (verdict.code == 0)
      return;
    if (comm)
      finish();
    if (!comm || comm->rank() == verdict.rank)
      std::rethrow_exception(error);
    throw SaidByAnother{verdict.code};
  }

  void setUp() {
    together([&] { prepare(); });
    const FoundCheckpoint found = checkpoints->find(curriculum.stepAfter(0, 0).rows);
    if (!found.error.empty())
      endAll<InputError>(found.error);
    together([&] { load(found); });
    if (trace)
      trace->meet();
    if (comm)
      connected = connectDevices(*ctx, o.gpuLink);
    for (const auto &pipeline : pipelines)
      pipeline->connect(o.graphNodes);
    report->connected(connected.how);
  }

  void prepare() {
    checkLink(o.gpuLink);
    checkGraphNodes(o.graphNodes);
    if (!o.evalOnly && !o.data.path.empty())
      data = std::make_unique<Prefetch>(openData(o.data, p, o.accumulate, shards), all(), most,
                                        shard, shards);
    if (!o.eval.empty())
      evaluation = std::make_unique<EvaluationSet>(o, p, most, shard, shards);
    report = std::make_unique<Report>(o, p, /*silent=*/comm && comm->rank() > 0);
    if (!o.trace.empty())
      trace = std::make_unique<Trace>(o.trace, comm);
    updates = std::make_unique<Updates>(p, o);
    exports =
        std::make_unique<Exports>(p, o, s.executable, /*isWriter=*/!comm || comm->rank() == 0);
    ctx = std::make_unique<Context>(all(), o.threads, /*momentum=*/o.hyper.momentum != 0);
    if (!o.memory.empty())
      memory = std::make_unique<MemoryUse>(o.memory, *ctx, comm);
    ctx->comm = comm;
    if (o.traceOps)
      ctx->onNode = [this](const char *name) { trace->beginNode(name); };
    ctx->microBatches = most;
    if (o.expertLog)
      experts = std::make_unique<ExpertLoad>(*ctx);
    if (comm || p.pipeline)
      ctx->losses = DeviceBlock(most * int64_t(sizeof(double)));
    for (const Program &length : lengths) { // the longest is the last
      ctx->use(length);
      if (p.pipeline)
        pipelines.push_back(std::make_unique<Pipeline>(*ctx, s.stages, s.patience, trace.get()));
    }
    running = std::make_unique<MicroBatches>(*ctx, experts.get());
    evaluator =
        std::make_unique<Evaluator>(*ctx, o, *running, pipeline(), experts.get(),
                                    [this](int64_t own) { return countOverRanks(own).labels; });
    checkpoints = std::make_unique<Checkpoints>(
        *ctx, o, [this](const std::string &text) { report->say(text); });
  }

  std::vector<const Program *> all() const {
    std::vector<const Program *> pointers;
    for (const Program &length : lengths)
      pointers.push_back(&length);
    return pointers;
  }

  /// What follows is the work of the program of this length.
  void use(size_t length) {
    if (ctx->program == &lengths[length])
      return;
    ctx->use(lengths[length]);
    // In another schedule the loss of a micro-batch may be another rank's.
    const std::vector<double> none(ctx->losses.size() / sizeof(double));
    upload(*ctx, ctx->losses.data(), none.data(), ctx->losses.size());
  }
  /// Of the length in use; null where there is none.
  Pipeline *pipeline() const {
    return pipelines.empty() ? nullptr : pipelines[ctx->program - lengths.data()].get();
  }

  /// Labels that count, of all ranks, and the greatest signal that came to any of them.
  struct Counted {
    int64_t labels, signal;
  };
  Counted countOverRanks(int64_t own) {
    int64_t sum = countsData ? own : 0, signal = s.stopSignal ? s.stopSignal() : 0;
    int64_t written = checkpoints->partIsWritten();
    if (comm) {
      const Group all = comm->groupOver("pp,dp,ep,tp");
      const int64_t mine[3] = {sum, signal, written};
      std::vector<int64_t> theirs(3 * all.size());
      comm->allGather(all, "the count of labels", mine, theirs.data(), 1, sizeof mine);
      sum = signal = 0;
      for (int i = 0; i < all.size(); ++i) {
        sum += theirs[3 * i];
        signal = std::max(signal, theirs[3 * i + 1]);
        written = std::min(written, theirs[3 * i + 2]);
      }
    }
    if (written)
      endOn(checkpoints->finish());
    return {sum, signal};
  }

  /// N of the step. Also where a signal stops all ranks, after the same step.
  int64_t count(int64_t step, int64_t own) {
    const auto [sum, signal] = countOverRanks(own);
    if (signal && step > first) {
      const std::string stopped =
          "stopped by signal " + std::to_string(signal) + " after step " + std::to_string(step - 1);
      if (o.checkpoint.empty())
        endAll<RunError>(stopped + "; nothing was saved, for want of --checkpoint");
      saveLast(step - 1);
      endAll<Stopped>(stopped + "; go on with --resume '" + checkpoints->pathOfLast() + "'");
    }
    return sum;
  }

  //===--- checkpoints ---===//

  void endOn(const std::string &error) {
    if (!error.empty())
      endAll<RunError>(error);
  }

  /// With all other ranks. The state is that after `step`.
  void save(int64_t step) {
    if (checkpoints->lastStep() != step)
      endOn(checkpoints->write({step, position, updates->progress()},
                               curriculum.stepAfter(step, position).rows));
  }
  void saveLast(int64_t step) {
    save(step);
    endOn(checkpoints->finish());
  }

  /// What the run begins with, and the log.
  void load(const FoundCheckpoint &found) {
    const Progress done = found.manifest.progressOf(Manifest::of(p, o, {}, 0));
    checkMixOfSteps(o.data, done.step, done.rows, curriculum.positionAfter(done.step));
    if (found.path.empty())
      loadWeights(*ctx, o.weights, o.seed, s.executable);
    else
      loadCheckpoint(*ctx, found.path, s.executable);
    if (o.samples)
      sampler = std::make_unique<Sampler>(*ctx);
    if (!comm || comm->rank() == 0)
      checkpoints->prepare(found);
    report->openLog(done.step);
    report->start(*ctx,
                  data         ? data->describe()
                  : evaluation ? evaluation->describe()
                               : "none",
                  s.ranks);
    first = done.step + 1;
    position = done.rows;
    for (const std::string &note : found.notes)
      report->warn(note);
    for (const std::string &note : updates->resume(done))
      report->warn(note);
    if (found.path.empty())
      return;
    const std::string other = found.manifest.differences(
        Manifest::of(p, o, done, curriculum.stepAfter(done.step, position).rows));
    if (data && !other.empty()) // else nothing is trained
      report->warn("the checkpoint's run had other options: " + other);
    report->say("resumed: " + found.path + (first > o.steps ? ", which has all --steps" : ""));
  }

  //===--- a step ---===//

  void trainStep(int64_t step) {
    const double begin = now(), traced = Trace::now();
    const Curriculum::Step own = curriculum.stepAfter(step - 1, position),
                           next = curriculum.stepAfter(step, own.end);
    use(own.length);
    const Program &program = *ctx->program;
    round = own.round;
    ctx->microBatches = micros = own.micros;
    // All micro-batches of a step are read first: the seed of the backward is 1/N,
    // and N counts the labels of all of them.
    batches = data->take({own.rowsBefore, micros, own.length},
                         {next.rowsBefore, step < o.steps ? next.micros : 0, next.length});
    int64_t labels = 0;
    for (int64_t a = 0; a < micros; ++a)
      labels += batches[a].counted;
    const int64_t counted = count(step, labels);
    if (counted == 0)
      endAll<InputError>("no label of step " + std::to_string(step) + " counts: all are -100");
    ctx->scale = static_cast<float>(1.0 / double(counted));
    const double lr = learningRate(o, step);
    ctx->hyper = o.hyper;
    ctx->hyper.lr = lr;
    ctx->hyper.step = step;
    ctx->hyper.maxNorm = o.clip;
    if (const std::string told = updates->begin(*ctx, step); !told.empty())
      report->say(told);
    if (memory)
      memory->fill(step);
    startStep();
    const auto [loss, norm] = outcomeOfStep(*ctx); // the only time that the host waits
    if (memory)
      memory->look(step, round.microBatches, pipeline());
    if (trace)
      trace->add(Trace::steps, "step " + std::to_string(step), traced, Trace::now());
    if (step == first && !o.dumpGrads.empty())
      writeGradients(*ctx, o.dumpGrads);
    const double seconds = now() - begin;
    const int64_t tokens = own.rows * std::max<int64_t>(1, program.seq);
    if ((!comm || pipeline()) && !graphsTold) {
      const std::string graphs = describeGraphs(*ctx);
      report->graphs(graphs);
      graphsTold = !graphs.empty();
    }
    position = own.end;
    const std::string resting = updates->end(*ctx, step);
    report->step(*ctx,
                 {step, loss, lr, norm, seconds, micros * shards, tokens,
                  curriculum.tokensBefore(position), lengths.size() > 1 ? program.seq : 0},
                 loadsOf(step), updates->report());
    if (!std::isfinite(loss) || !std::isfinite(norm))
      endAll<RunError>("the " + std::string(std::isfinite(loss) ? "gradient norm" : "loss") +
                       " of step " + std::to_string(step) +
                       " is not finite; use a smaller --lr, --clip or --warmup");
    if (!resting.empty())
      report->say(resting);
  }

  /// The mean loss over the labels of the evaluation set, after so many steps.
  void evaluate(int64_t step) {
    const double begin = now(), traced = Trace::now();
    use(lengths.size() - 1);
    const auto loss = evaluator->meanLoss(*evaluation, roundAfter(p, step), shards);
    if (!loss)
      endAll<InputError>("no label of --eval '" + o.eval + "' counts: all are -100");
    if (trace)
      trace->add(Trace::steps, "evaluation after step " + std::to_string(step), traced,
                 Trace::now());
    report->evaluation(step, *loss, evaluation->rows(), now() - begin);
  }

  void sample() {
    use(lengths.size() - 1);
    report->text(o.sample, sampler->goOn(o.sample, o.sampleTokens, o.temperature, o.seed));
  }

  /// How full experts were, where that is to be told after this step.
  std::vector<RouterLoad> loadsOf(int64_t step) {
    if (!experts)
      return {};
    experts->endStep(micros * shards);
    return step % o.expertLog == 0 ? experts->take() : std::vector<RouterLoad>();
  }

  /// Forward and backward of all micro-batches, then the update.
  void startStep() {
    beginStep(*ctx);
    running->begin(batches);
    if (pipeline())
      return runStages();
    if (runWhole())
      return;
    for (int64_t micro = 0; micro < micros; ++micro) {
      const double begin = trace ? Trace::now() : 0;
      running->run(micro, /*last=*/micro + 1 == micros);
      if (trace)
        trace->endNode();
      // The last one updates, too.
      if (trace)
        trace->add(Trace::tasks, "micro-batch " + std::to_string(micro), begin, Trace::now(),
                   "{\"step\": " + std::to_string(trace->currentStep()) +
                       ", \"micro_batch\": " + std::to_string(micro) + "}");
    }
  }

  /// All micro-batches at once, where the device does that.
  bool runWhole() {
    const double begin = trace ? Trace::now() : 0;
    if (comm || !runWholeStep(*ctx, o.graphNodes, [this](TaskState &task) {
          running->setInputs(task, task.microBatch);
        }))
      return false;
    if (trace)
      trace->add(Trace::tasks, "all micro-batches", begin, Trace::now(),
                 "{\"step\": " + std::to_string(trace->currentStep()) + "}");
    return true;
  }

  void runStages() {
    try {
      pipeline()->runStep(round.round, o.accumulate,
                          [this](TaskState &task) { running->setInputs(task, task.microBatch); });
    } catch (const ExpertOverflow &e) {
      throw RunError(std::string(e.what()) + ", and in a pipeline a micro-batch cannot run in "
                                             "parts; compile with a larger --expert-slots");
    }
  }

  /// Of all ranks: micro-batches that ran in parts, and parts that they ran in.
  void reportOverflows() {
    // Ranks of the same experts and tokens run the same parts: one of them counts.
    bool counts = true;
    for (int axis = 0; axis < int(comm->mesh.numAxes()); ++axis)
      counts = counts && (p.axes[axis].name == std::string("dp") || comm->axisIndex(axis) == 0);
    double mine[2] = {double(running->overflows()), double(running->parts())}, all[2];
    if (!counts)
      mine[0] = mine[1] = 0;
    comm->allReduce(comm->groupOver("pp,dp,ep,tp"), "the count of overflows", mine, all, 2,
                    Reduction::sum);
    if (all[0] > 0)
      report->overflows(int64_t(all[0]), int64_t(all[1]));
  }

  const RankSetup &s;
  const std::vector<Program> lengths; ///< as this rank has them, the shortest sequences first
  const Program &p;                   ///< the longest, whose parameters are those of all
  const Options &o;
  Comm *comm;
  const int64_t most;          ///< micro-batches of the largest step that this rank reads
  const int64_t shards, shard; ///< ranks with data of their own, and which this is
  const Curriculum curriculum;
  int64_t micros = 0;   ///< micro-batches of this step
  RoundOfStep round;    ///< of this step
  int64_t position = 0; ///< in the data, of all ranks: see curriculum.h
  /// Of the ranks that read the same data one counts its labels.
  bool countsData = true;
  std::unique_ptr<EvaluationSet> evaluation; ///< null: none is asked for
  std::unique_ptr<Report> report;
  std::unique_ptr<Trace> trace; ///< null: none is asked for
  std::unique_ptr<Context> ctx;
  std::unique_ptr<Sampler> sampler;         ///< null: no --sample
  std::unique_ptr<MemoryUse> memory;        ///< null: none is asked for
  std::unique_ptr<Checkpoints> checkpoints; ///< behind ctx, which its thread uses
  int64_t first = 1;                        ///< step
  std::unique_ptr<ExpertLoad> experts;      ///< null: it is not asked for
  std::unique_ptr<MicroBatches> running;
  std::unique_ptr<Evaluator> evaluator;
  std::unique_ptr<Updates> updates;
  std::unique_ptr<Exports> exports;
  std::unique_ptr<Prefetch> data;      ///< null: there is nothing to train on
  const MicroBatch *batches = nullptr; ///< of this step
  bool graphsTold = false;
  Connected connected;
  /// By length, none without pipelines; last: their threads use the rest.
  std::vector<std::unique_ptr<Pipeline>> pipelines;
};
} // namespace

int exitCode(const std::exception &error) {
  return dynamic_cast<const InputError *>(&error) ? 1
         : dynamic_cast<const Stopped *>(&error)  ? 3
                                                  : 2;
}

void trainRank(const RankSetup &setup) { Rank(setup).run(); }

} // namespace moire::rt
