//===- options.cpp - The trainer's command line ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/options.h"
#include "train/pipeline.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <omp.h>

namespace moire::rt {

namespace {
std::string description(const Program &p) {
  std::string s = "Trains " + std::string(p.name) + " with ";
  s += p.optimizer == OptimizerKind::sgd ? "SGD" : "AdamW";
  s += " in float32, batch " + std::to_string(p.batch);
  if (p.seq)
    s += " x sequence " + std::to_string(p.seq);
  const auto lengths = lengthsOf(p);
  for (size_t i = lengths.size() - 1; i-- > 0;)
    s += " or " + std::to_string(lengths[i]->batch) + " x " + std::to_string(lengths[i]->seq);
  s += " per micro-batch (compiled by Moire).";
  return s;
}

const char *const kFooter = R"(
Data, by what --data names:
  FILE.bin    llm.c tokens: header of 256 int32 (magic 20240520, version 1, count;
              then uint16 tokens; or magic 20240801, version 7, count; uint32).
  P.idx       Megatron's tokens, P.bin, of 8 to 64 bits; P.bin and P name them, too.
  FILE.npy    integers, little-endian, [tokens] or [documents, tokens].
  u16:FILE    uint16 tokens without a header (nanoGPT's .bin); u32:FILE: uint32.
  FILE        any other file: its bytes are the tokens (vocabulary of 256 or more).
  FOLDER      input_0.pb, input_1.pb, ... (TensorProto, N is the graph's input) and
              labels.pb: one fixed batch used at every step. Its leading dimension
              is batch x accumulation, cut in order into micro-batches (of a batch
              ramp: those of the largest step; others take the first ones). Labels of
              -100 do not count; next-token labels are shifted here.
  FOLDER      of such folders, all of the same number of rows, whatever that is: rows
              are read folder by folder; an epoch takes each folder once.
Several token files:
  A,B,...     are read as one; 'train_*.bin' stands for the files that match.
  A:0.7,B:0.3 rows of A and B in these shares. --mix 0.2,0.8@1000 changes them once
              1000 steps are done. Each of A and B may be a pattern.
Tokens are cut into windows of seq + 1 (the last token of one is the first of the
next). An epoch of A visits every window of A once; the order of windows and of
folders is shuffled by --seed and does not depend on batch, accumulation or ranks.
What the data does not give: attention_mask is 1, position_ids count from 0,
token_type_ids are 0.

Rates: with --warmup W the rate of step t <= W is lr * t / W. Then, c = t - 1 - W
steps later and T = steps - W: constant lr; linear lr * (1 - c / T); cosine
lr * (1 + cos(pi * c / T)) / 2.

Ranks: a program compiled with --mesh runs as threads of one process, or as the
processes that torchrun, mpirun or srun start, which meet at MASTER_ADDR:MASTER_PORT
(with Open MPI: by MPI). Every (dp, ep) coordinate reads other micro-batches.

Checkpoints: DIR/step-N holds the parameters (weights.safetensors, by PyTorch's
names) and the optimizer's state as whole tensors, and a manifest.json; any plan of
the model resumes any other's. --steps counts from the first run's begin.

Exit codes: 0 done, 1 wrong input or usage, 2 failed in the run, 3 stopped by SIGINT
or SIGTERM with a checkpoint. A second signal ends the trainer at once.
)";
/// latency=MICROSECONDS,bandwidth=GB/S, either alone.
Network parseNetwork(const std::string &text) {
  Network network;
  std::istringstream list(text);
  for (std::string item; std::getline(list, item, ',');) {
    const size_t equals = item.find('=');
    const std::string key = item.substr(0, equals);
    double value = -1;
    char rest = 0;
    const bool number = equals != std::string::npos &&
                        std::sscanf(item.c_str() + equals + 1, "%lf%c", &value, &rest) == 1;
    if (!number || !(value >= 0) || !std::isfinite(value) ||
        (key != "latency" && key != "bandwidth"))
      throw InputError("--network has '" + item +
                       "'; use latency=MICROSECONDS and bandwidth=GB/S, both 0 or more");
    (key == "latency" ? network.latency : network.bandwidth) =
        key == "latency" ? value * 1e-6 : value * 1e9;
  }
  return network;
}
} // namespace

bool parseOptions(int argc, char **argv, const Program &program, Options &o) {
  const bool adamw = program.optimizer == OptimizerKind::adamw;
  o.hyper.weightDecay = adamw ? 1e-2 : 0;
  std::string schedule = "constant", decay = "all", documents = "join", network;

  CLI::App app(description(program), "trainer");
  app.footer(kFooter);
  app.get_formatter()->column_width(34);
  app.add_option("--data", o.data.path,
                 "token files, text file or folder of tensors; see below for formats, several "
                 "files and weights")
      ->type_name("PATH");
  app.add_option("--mix", o.data.mix,
                 "other weights of the files of --data once so many steps are done, e.g. "
                 "0.5,0.5@1000 0.1,0.9@5000; or so many rows: 0.5,0.5@64000rows")
      ->type_name("W,W@STEPS");
  auto *curriculum =
      app.add_option("--curriculum", o.curriculum,
                     "of a program for several sequence lengths: which length once so many steps "
                     "are done, e.g. seq=128@0,512@1000; without it all steps have the longest")
          ->type_name("seq=LENGTH@STEPS,...");
  app.add_option("--documents", documents,
                 "join: windows of tokens run on over the ends of documents; keep: each document is "
                 "cut by itself, and what its last window lacks does not count")
      ->capture_default_str();
  app.add_option(
         "--eval", o.eval,
         "data as of --data, on which the mean loss is measured: forward alone, the same rows "
         "each time")
      ->type_name("PATH");
  auto *evalEvery = app.add_option("--eval-every", o.evalEvery,
                                   "of --eval: after every so many steps, and the last")
                        ->default_str("after the last step");
  auto *evalRows =
      app.add_option("--eval-rows", o.evalRows,
                     "of --eval: how many rows (sequences), the first in a shuffled order")
          ->default_str("all");
  app.add_flag("--eval-only", o.evalOnly, "measure the loss of --eval, and do not train");
  auto *sample =
      app.add_option("--sample", o.sample,
                     "of a model of bytes: a text to go on with, at once, or after training "
                     "where --data is given")
          ->type_name("TEXT");
  auto *sampleTokens = app.add_option("--tokens", o.sampleTokens, "of --sample: how many bytes")
                           ->capture_default_str();
  auto *temperature =
      app.add_option("--temperature", o.temperature,
                     "of --sample: logits are divided by it; 0 takes the likeliest byte")
          ->capture_default_str();
  app.add_option("--steps", o.steps, "optimizer steps; 0: only --export")->capture_default_str();
  app.add_option("--accumulate", o.accumulate,
                 program.pipeline ? "rounds of a step: each runs the pipeline's schedule once"
                 : program.numRamp
                     ? "rounds of a step: each has as many micro-batches as --batch-ramp said"
                     : "micro-batches whose gradients are summed in a step")
      ->capture_default_str();
  app.add_option("--lr", o.lr, "learning rate")->capture_default_str();
  app.add_option("--lr-schedule", schedule, "constant, linear or cosine")
      ->capture_default_str();
  app.add_option("--warmup", o.warmup, "steps in which the rate rises linearly")
      ->capture_default_str();
  app.add_option("--weight-decay", o.hyper.weightDecay, "weight decay")
      ->capture_default_str();
  app.add_option("--decay", decay, "all, or matrices: parameters of rank >= 2 only")
      ->capture_default_str();
  auto *beta1 = app.add_option("--beta1", o.hyper.beta1, "AdamW's first beta");
  auto *beta2 = app.add_option("--beta2", o.hyper.beta2, "AdamW's second beta");
  auto *eps = app.add_option("--eps", o.hyper.eps, "AdamW's epsilon");
  auto *momentum = app.add_option("--momentum", o.hyper.momentum, "SGD's momentum");
  for (CLI::Option *option : {beta1, beta2, eps, momentum})
    option->capture_default_str();
  app.add_option("--clip", o.clip, "clip gradients to this global norm (0: no clipping)")
      ->capture_default_str();
  auto *updateSchedule = app.add_option("--update-schedule", o.updateSchedule,
                                        "which groups of parameters (moirec --groups) are trained "
                                        "once so many steps are done, e.g. "
                                        "head@0,head+experts@500,all@1000; `none`: what is in no "
                                        "group; what rests costs no gradient")
                             ->type_name("GROUPS@STEPS,...");
  auto *freezeBelow = app.add_option("--freeze-below", o.freezeBelow,
                                     "a group of parameters rests for good once the norm of "
                                     "its updates, over that of its parameters, stayed below this; "
                                     "the last that trains never does (0: never)")
                          ->capture_default_str();
  auto *freezePatience = app.add_option("--freeze-patience", o.freezePatience,
                                        "of --freeze-below: for so many steps in a row, those of "
                                        "--warmup not counted")
                             ->capture_default_str();
  app.add_option("--seed", o.seed, "of the data's order and of fresh weights")
      ->capture_default_str();
  app.add_option("--weights", o.weights,
                 ".onnx, .safetensors, index.json or a folder of them, instead of "
                 "the weights that the program was compiled from")
      ->type_name("PATH");
  auto *checkpoint =
      app.add_option("--checkpoint", o.checkpoint,
                     "write checkpoints into this folder: at the end, where SIGINT or SIGTERM "
                     "stops the run, and as --checkpoint-every says")
          ->type_name("DIR");
  std::vector<CLI::Option *> ofCheckpoint = {
      app.add_option("--checkpoint-every", o.checkpointEvery, "also after each so many steps"),
      app.add_option("--keep", o.keep, "how many checkpoints stay")->capture_default_str(),
      app.add_flag("--async-checkpoint", o.asyncCheckpoint,
                   "write from a copy in the host's memory while training goes on")};
  app.add_option("--resume", o.resume,
                 "go on from the newest whole checkpoint of this folder, or from this checkpoint; "
                 "auto: from --checkpoint's folder, where it has any")
      ->type_name("DIR");
  app.add_option("--log", o.log,
                 "one JSON object a step: step, loss (before the update), lr, "
                 "grad_norm (before clipping), tokens, tokens_per_second, seconds, tokens_seen, "
                 "memory, memory_peak, seq of a program for several lengths, groups of one that has "
                 "them and, where the peak is known, mfu and hfu; with --resume the "
                 "file's steps up to the checkpoint's stay")
      ->type_name("FILE.jsonl");
  app.add_option("--tensorboard", o.tensorboard,
                 "a new file of events in this folder: loss, lr, grad_norm, tokens_per_second, mfu, "
                 "eval_loss, update_norm of groups with --freeze-below")
      ->type_name("FOLDER");
  app.add_option("--expert-log", o.expertLog,
                 "every so many steps, in --log and --tensorboard: the rows that each expert of "
                 "each router got since the last time, and the pairs that were dropped (0: never)")
      ->capture_default_str();
  auto *peakTflops =
      app.add_option("--peak-tflops", o.peakTflops,
                     "what a rank's processor or GPU can compute at most, for mfu and hfu; known "
                     "of some GPUs");
  app.add_option("--trace", o.trace,
                 "what each rank computes, waits for, sends and receives in the first steps, for "
                 "Perfetto, chrome://tracing and moire-plan --measured; on a GPU, when the host "
                 "gives it work")
      ->type_name("FILE.json");
  auto *traceSteps = app.add_option("--trace-steps", o.traceSteps, "of --trace: how many steps")
                         ->capture_default_str();
  app.add_flag("--trace-ops", o.traceOps,
               "of --trace: the nodes of the ONNX graph, too, within what a rank computes");
  app.add_option("--memory", o.memory,
                 "what each rank takes of its memory, counted in all steps, which get slower: bytes "
                 "of the arena that were touched, micro-batches in flight; for each number of "
                 "micro-batches of a step")
      ->type_name("FILE.json");
  app.add_option("--dump-grads", o.dumpGrads,
                 "the first step's gradients, before clipping")
      ->type_name("FILE.safetensors");
  app.add_option("--export", o.exportOnnx,
                 "after the last step: the model's ONNX file with the trained weights, its external "
                 "data beside it")
      ->type_name("FILE.onnx");
  app.add_option("--export-safetensors", o.exportSafetensors,
                 "after the last step: the weights in float32 by PyTorch's names, for "
                 "load_state_dict()")
      ->type_name("FILE.safetensors");
  auto *threads = app.add_option("--threads", o.threads,
                                 "threads, shared by the ranks of this process")
                      ->default_str(std::to_string(omp_get_max_threads()));
  auto *ranks = app.add_option("--ranks", o.ranks,
                               "run as so many ranks, threads of this process")
                    ->default_str(std::to_string(Mesh(program).ranks()));
  app.add_option("--comm-timeout", o.commTimeout,
                 "seconds in which all ranks end when one died or stalled")
      ->capture_default_str();
  app.add_option("--network", network,
                 "delay messages between ranks, e.g. latency=5,bandwidth=25: "
                 "microseconds, and GB/s of each rank's link")
      ->type_name("TEXT");
  app.add_option("--rendezvous", o.rendezvous,
                 "a new file that all ranks see, through which they find rank 0 where the "
                 "launcher does not say where it listens")
      ->type_name("FILE");
  std::string gpuLink = "auto";
  app.add_option("--gpu-link", gpuLink,
                 "how GPU memory goes to other ranks: nccl, host (through the host's memory), or "
                 "auto: NCCL where each rank has a GPU of its own")
      ->capture_default_str();
  auto *graphNodes =
      app.add_option(
             "--graph-nodes", o.graphNodes,
             "of one rank on a GPU: a step of several micro-batches is one CUDA graph where "
             "that has at most so many nodes, else each micro-batch is one; of pipelines by "
             "NCCL whose stages have no collectives: a rank's tasks and messages of a step "
             "are one, else parts of tasks")
          ->default_str(std::to_string(kGraphNodes));
  app.add_flag("--virtual-time", o.virtualTime,
               "time of ranks that are threads is counted, not measured: each has processor time "
               "of its own, messages take what --network says; one thread a rank");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp &) {
    std::fputs(app.help().c_str(), stdout);
    return false;
  } catch (const CLI::ParseError &e) {
    throw InputError(std::string(e.what()) + "; see --help");
  }

  auto need = [](bool ok, const std::string &flag, const std::string &value,
                 const std::string &right) {
    if (!ok)
      throw InputError(flag + " is " + value + "; use " + right);
  };
  auto text = [](double v) {
    std::ostringstream s;
    s << v;
    return s.str();
  };
  if (schedule == "linear")
    o.schedule = Schedule::linear;
  else if (schedule == "cosine")
    o.schedule = Schedule::cosine;
  else
    need(schedule == "constant", "--lr-schedule", "'" + schedule + "'",
         "constant, linear or cosine");
  need(decay == "all" || decay == "matrices", "--decay", "'" + decay + "'",
       "all or matrices");
  o.hyper.decayMatricesOnly = decay == "matrices";
  need(documents == "join" || documents == "keep", "--documents", "'" + documents + "'",
       "join or keep");
  o.data.keepDocuments = documents == "keep";
  o.data.seed = o.seed;
  if (curriculum->count())
    o.data.curriculum = parseCurriculum(o.curriculum, program);
  o.samples = sample->count() > 0;
  for (CLI::Option *option : {sampleTokens, temperature})
    if (option->count() && !o.samples)
      throw InputError(option->get_name() + " is for --sample; add that, or leave it out");
  need(o.sampleTokens >= 1, "--tokens", std::to_string(o.sampleTokens), "1 or more");
  need(std::isfinite(o.temperature) && o.temperature >= 0, "--temperature", text(o.temperature),
       "0 or more");
  const bool exports = !o.exportOnnx.empty() || !o.exportSafetensors.empty();
  if (o.data.path.empty() && !o.evalOnly && !o.samples && !(exports && o.steps == 0))
    throw InputError("--data is missing: what to train on; --help tells what it can name");
  for (CLI::Option *option : {evalEvery, evalRows})
    if (option->count() && o.eval.empty())
      throw InputError(option->get_name() + " is for --eval; add that, or leave it out");
  need(!evalEvery->count() || o.evalEvery >= 1, "--eval-every", std::to_string(o.evalEvery),
       "1 or more");
  need(!evalRows->count() || o.evalRows >= 1, "--eval-rows", std::to_string(o.evalRows),
       "1 or more");
  if (!o.checkpoint.empty() && (o.data.path.empty() || o.evalOnly))
    throw InputError("--checkpoint is of a run that trains; name its --data, or leave it out");
  if (o.evalOnly && o.eval.empty())
    throw InputError("--eval-only needs --eval with the data to measure the loss on");
  need(o.steps >= (exports ? 0 : 1), "--steps", std::to_string(o.steps),
       exports ? "0 or more" : "1 or more, or 0 with --export");
  need(o.accumulate >= 1, "--accumulate", std::to_string(o.accumulate), "1 or more");
  need(!threads->count() || (o.threads >= 1 && o.threads <= 1024), "--threads",
       std::to_string(o.threads), "1 to 1024");
  need(!ranks->count() || (o.ranks >= 1 && o.ranks <= 1024), "--ranks", std::to_string(o.ranks),
       "1 to 1024");
  need(o.commTimeout >= 0.5 && o.commTimeout <= 86400, "--comm-timeout", text(o.commTimeout),
       "0.5 to 86400 seconds");
  need(!graphNodes->count() || o.graphNodes >= 0, "--graph-nodes", std::to_string(o.graphNodes),
       "0 or more");
  if (graphNodes->count() && Mesh(program).ranks() > 1 &&
      !(program.pipeline && tasksAreAlone(program)))
    throw InputError(
        "--graph-nodes is of one rank, or of pipelines whose stages have no collectives, "
        "and the program has " +
        std::to_string(Mesh(program).ranks()) +
        " ranks that do; the host takes part in their steps; leave it out");
  o.network = parseNetwork(network);
  for (CLI::Option *option : ofCheckpoint) {
    if (option->count() && !checkpoint->count())
      throw InputError(option->get_name() + " is for --checkpoint; add that, or leave it out");
  }
  need(!ofCheckpoint[0]->count() || o.checkpointEvery >= 1, "--checkpoint-every",
       std::to_string(o.checkpointEvery), "1 or more");
  need(o.keep >= 1, "--keep", std::to_string(o.keep), "1 or more");
  if (o.resume == "auto" && o.checkpoint.empty())
    throw InputError("--resume auto looks in --checkpoint's folder; add that, or name a folder");
  if (!o.resume.empty() && o.resume != "auto" && !o.weights.empty())
    throw InputError("--weights '" + o.weights + "' has no effect with --resume '" + o.resume +
                     "'; leave one of them out");
  need(o.traceSteps >= 1, "--trace-steps", std::to_string(o.traceSteps), "1 or more");
  if (traceSteps->count() && o.trace.empty())
    throw InputError("--trace-steps is for --trace; add that, or leave it out");
  if (o.traceOps && o.trace.empty())
    throw InputError("--trace-ops is for --trace; add that, or leave it out");
  if (!o.trace.empty() && o.virtualTime)
    throw InputError("--trace measures time, and with --virtual-time it is counted; leave one of "
                     "them out");
  need(gpuLink == "auto" || gpuLink == "nccl" || gpuLink == "host", "--gpu-link",
       "'" + gpuLink + "'", "auto, nccl or host");
  o.gpuLink = gpuLink == "auto"   ? GpuLink::automatic
              : gpuLink == "nccl" ? GpuLink::nccl
                                  : GpuLink::host;
  need(!peakTflops->count() || (o.peakTflops > 0 && std::isfinite(o.peakTflops)), "--peak-tflops",
       text(o.peakTflops), "more than 0");
  need(o.expertLog >= 0, "--expert-log", std::to_string(o.expertLog), "0 or more");
  if (o.expertLog && !program.numRouters)
    throw InputError("--expert-log is " + std::to_string(o.expertLog) +
                     ", and the program has no routers of experts; leave it out");
  if (o.expertLog && o.log.empty() && o.tensorboard.empty())
    throw InputError("--expert-log is for --log and --tensorboard; add one, or leave it out");
  need(o.warmup >= 0, "--warmup", std::to_string(o.warmup), "0 or more");
  need(std::isfinite(o.lr) && o.lr >= 0, "--lr", text(o.lr), "0 or more");
  need(o.clip >= 0, "--clip", text(o.clip), "0 or more");
  for (CLI::Option *option : {updateSchedule, freezeBelow})
    if (option->count() && program.numUpdateGroups == 0)
      throw InputError(option->get_name() +
                       " needs groups of parameters, and the program has none; "
                       "compile it with --groups");
  if (updateSchedule->count())
    o.updates = parseUpdateSchedule(o.updateSchedule, program);
  need(std::isfinite(o.freezeBelow) && o.freezeBelow >= 0, "--freeze-below", text(o.freezeBelow),
       "0 or more");
  need(o.freezePatience >= 1, "--freeze-patience", std::to_string(o.freezePatience), "1 or more");
  if (freezePatience->count() && o.freezeBelow == 0)
    throw InputError("--freeze-patience is for --freeze-below; add that, or leave it out");
  need(o.hyper.weightDecay >= 0, "--weight-decay", text(o.hyper.weightDecay),
       "0 or more");
  need(o.hyper.momentum >= 0, "--momentum", text(o.hyper.momentum), "0 or more");
  need(o.hyper.eps >= 0, "--eps", text(o.hyper.eps), "0 or more");
  for (auto [flag, beta] : {std::pair("--beta1", o.hyper.beta1), {"--beta2", o.hyper.beta2}})
    need(beta >= 0 && beta < 1, flag, text(beta), "0 or more and less than 1");
  if (adamw && o.hyper.momentum != 0)
    throw InputError("--momentum " + text(o.hyper.momentum) +
                     " has no meaning for AdamW; compile with --optimizer sgd");
  if (!adamw)
    for (CLI::Option *option : {beta1, beta2, eps})
      if (option->count())
        throw InputError(option->get_name() +
                         " has no meaning for SGD; compile with --optimizer adamw");
  return true;
}

const char *nameOf(Schedule schedule) {
  return schedule == Schedule::linear   ? "linear"
         : schedule == Schedule::cosine ? "cosine"
                                        : "constant";
}

double learningRate(const Options &o, int64_t step) {
  if (step <= o.warmup)
    return o.lr * double(step) / double(o.warmup);
  const double c = double(step - 1 - o.warmup);
  const double total = double(std::max<int64_t>(1, o.steps - o.warmup));
  switch (o.schedule) {
  case Schedule::constant:
    return o.lr;
  case Schedule::linear:
    return o.lr * (1 - c / total);
  case Schedule::cosine:
    return o.lr * 0.5 * (1 + std::cos(M_PI * c / total));
  }
  return o.lr;
}

} // namespace moire::rt
