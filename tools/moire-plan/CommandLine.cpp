//===- CommandLine.cpp - The flags of moire-plan -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "CommandLine.h"
#include "moire/CostModel/Share.h"
#include <CLI/CLI.hpp>

using namespace moire::plan;

/// Without CLI11's own words in the help.
static const CLI::Validator kCount = CLI::Range(1L, 1000000000000L).description("");
/// Of what is kept in an int.
static const CLI::Validator kSmall = CLI::Range(1, 1 << 24).description("");

static void declareSchedule(CLI::App &app, CommandLine &line) {
  WorkloadText &work = line.workload;
  const char *group = kPipelineGroup;
  app.add_option("--ranks", work.ranks, "Devices of the pipeline")->type_name("P")->group(group);
  app.add_option("--microbatches", work.microBatches, "Micro-batches in a step")
      ->type_name("M")
      ->group(group);
  app.add_option(
         "--costs", work.costs,
         "What one part of the model costs for one micro-batch, by default one part a rank. "
         "Times alone: F forward (1), B backward (2F), b its input part, W its weight part "
         "(b + W = B), F_collective and B_collective: of these, communication. Overlapped "
         "pairs: FB, Fb, FF, BB, bb. Memory: parameters (0), activation (1), "
         "weight_residual: of it, from b to W; output: sent on. Units: 57.6ms, 64GB; or none")
      ->type_name("NAME=VALUE,...")
      ->delimiter(',')
      ->group(group);
  app.add_option("--parts", work.parts, "Equal parts of the model, if not one a rank")
      ->type_name("N")
      ->group(group);
  app.add_option("--pieces", work.pieces, "Into how many stages a part may be cut (4)")
      ->type_name("N")
      ->group(group);
  app.add_option("--latency", work.latency, "Latency of a transfer between ranks (0)")
      ->type_name("TIME")
      ->group(group);
  app.add_option("--bandwidth", work.bandwidth, "Bandwidth of one, as 50GB/s (infinite)")
      ->type_name("RATE")
      ->group(group);
  app.add_option("--contention", work.contention,
                 "Speed of a transfer beside computation, of its speed alone (1)")
      ->type_name("0..1")
      ->group(group);
  app.add_option("--memory-limit", work.memoryLimit, "What a rank may hold (no limit)")
      ->type_name("SIZE")
      ->group(group);
  app.add_option("--optimizer", work.optimizer, "Time after the last backward (0)")
      ->type_name("TIME")
      ->group(group);
  app.add_option("--problem", line.problem, "All of these from a TOML file; flags override it")
      ->type_name("FILE.toml")
      ->group(group);
}

static void declareModel(CLI::App &app, CommandLine &line) {
  ModelRequest &model = line.model;
  const char *group = kModelGroup;
  app.add_option("--model", model.model,
                 "A shape: " + list(moire::cost::namesIn(model.share, "models")) +
                     ", or FILE.toml; or an ONNX file")
      ->type_name("MODEL")
      ->group(group);
  app.add_option("--bind", model.bind, "Of an ONNX file: sizes, as --bind batch=2,seq=1024")
      ->type_name("NAME=SIZE,...")
      ->delimiter(',')
      ->group(group);
  app.add_option("--sequence", model.sequence, "Of a shape: another length of sequences")
      ->type_name("N")
      ->check(kSmall)
      ->group(group);
  app.add_option("--cluster", model.clusters,
                 list(moire::cost::namesIn(model.share, "clusters")) +
                     ", or FILE.toml; several are compared")
      ->type_name("NAME,...")
      ->delimiter(',')
      ->group(group);
  app.add_option("--plan", model.planFile, "The plan to predict, as --search writes it")
      ->type_name("FILE.toml")
      ->group(group);
  app.add_option("--mesh", model.mesh, "Sizes of the axes dp, pp, ep and tp")
      ->type_name("AXIS=SIZE,...")
      ->delimiter(',')
      ->group(group);
  app.add_option("--microbatch", model.microBatch, "Sequences in a micro-batch (1)")
      ->type_name("N")
      ->check(kSmall)
      ->group(group);
  app.add_option("--recompute", model.recompute, "none, selective or full (none)")
      ->type_name("KIND")
      ->group(group);
  app.add_option("--precision", model.precision, "Of products: f32, bf16 or fp8 (bf16)")
      ->type_name("DTYPE")
      ->group(group);
  app.add_option(
         "--zero", model.zero,
         "What dp divides: 0 nothing, 1 optimizer, 2 gradients, 3 parameters too (1; --search: the "
         "best of 1 to 3)")
      ->type_name("0..3")
      ->group(group);
  app.add_option("--imbalance", model.imbalance,
                 "Load of the fullest expert rank over the mean (1)")
      ->type_name("X")
      ->group(group);
  app.add_flag("--any-memory", model.anyMemory, "Predict a plan that does not fit, too")
      ->group(group);
  app.add_flag("--search", model.search,
               "Find the best plan; what --mesh, --schedule and the rest name stays as it is")
      ->group(group);
  app.add_option("--global-batch", model.globalBatch, "Sequences of a step, for --search")
      ->type_name("N")
      ->check(kCount)
      ->group(group);
  app.add_option("--tokens", model.tokens, "Tell what training on so many takes, as 14.8e12")
      ->type_name("N")
      ->group(group);
}

static void declareBalance(CLI::App &app, CommandLine &line) {
  BalanceRequest &balance = line.balance;
  const char *group = kBalanceGroup;
  app.add_option("--balance", balance.loads,
                 "Place experts by their loads: a row for each layer, a column for each expert")
      ->type_name("LOADS.csv")
      ->group(group);
  app.add_option("--gpus", balance.gpus, "Devices; of a cluster, those to use (all)")
      ->type_name("N")
      ->check(kSmall)
      ->group(group);
  app.add_option("--replicas", balance.replicas,
                 "Slots of all devices together (as many as experts, rounded up to the devices)")
      ->type_name("N")
      ->check(kSmall)
      ->group(group);
  app.add_option("--nodes", balance.nodes, "Nodes that hold the devices (1)")
      ->type_name("N")
      ->check(kSmall)
      ->group(group);
  app.add_option("--groups", balance.groups, "Groups of experts that are routed to together (1)")
      ->type_name("N")
      ->check(kSmall)
      ->group(group);
  app.add_flag("--groups-in-node", balance.groupsStayInNode, "Keep each group on one node")
      ->group(group);
  app.add_option("--algorithm", balance.algorithm, "moire, or published: EPLB's (moire)")
      ->type_name("NAME")
      ->group(group);
  app.add_option("--present", balance.present,
                 "The placement in use: a row for each layer, the expert of each slot")
      ->type_name("FILE.csv")
      ->group(group);
  app.add_option("--move-cost", balance.moveCost,
                 "What loading one expert costs, in units of load (0)")
      ->type_name("LOAD")
      ->group(group);
}

static void declareCalibrate(CLI::App &app, CommandLine &line) {
  const char *group = kCalibrateGroup;
  app.add_flag("--calibrate", line.calibrate.wanted,
               "Measure the kernels here, in seconds, and write a cluster file with -o")
      ->group(group);
  app.add_option("--device", line.calibrate.device, "cpu")->type_name("NAME")->group(group);
  app.add_option("--threads", line.calibrate.threads, "Threads of it (all)")
      ->type_name("N")
      ->check(kSmall)
      ->group(group);
}

static void declareOutput(CLI::App &app, CommandLine &line) {
  const char *group = "Output";
  app.add_option("-o", line.output, "The file that the task makes: placement, plan or rates")
      ->type_name("FILE")
      ->group(group);
  app.add_option("--json", line.json, "All figures as JSON; - is stdout, instead of the text")
      ->type_name("FILE")
      ->group(group);
  app.add_option("--mlir", line.mlir, "The schedules as IR, which moire-plan and moire-opt read")
      ->type_name("FILE")
      ->group(group);
  app.add_option("--svg", line.svg, "The timetable as a picture")->type_name("FILE")->group(group);
  app.add_option("--trace", line.trace, "The timetable for Perfetto or chrome://tracing")
      ->type_name("FILE")
      ->group(group);
  app.add_flag("--timetable", line.report.timetable, "Print the timetable however wide it is")
      ->group(group);
  app.add_option("--width", line.report.width, "Columns that a timetable may take (160)")
      ->type_name("N")
      ->check(kSmall)
      ->group(group);
}

void moire::plan::declareOptions(CLI::App &app, CommandLine &line) {
  app.get_formatter()->column_width(34);
  app.add_option("input", line.input, "Schedules to show, as IR: pipe.schedule; - is stdin")
      ->type_name("FILE.mlir");
  app.add_option("--measured", line.measured,
                 "Of a FILE.mlir: what trainer --trace wrote of the same program; both are compared, "
                 "--svg draws them below each other")
      ->type_name("TRACE.json");
  app.add_option(
         "--schedule", line.workload.schedules,
         "gpipe, 1f1b, interleaved:V, zb-h1, zb-h2, zb-v, v-half, dualpipe, dualpipev, auto "
         "(searched for), or all of the named; several are compared")
      ->type_name("NAME,...")
      ->delimiter(',')
      ->group(kScheduleGroup);
  app.add_option("--budget", line.budget,
                 "How long auto searches: actions placed, ten million a second")
      ->type_name("N")
      ->check(kCount)
      ->capture_default_str()
      ->group(kScheduleGroup);
  declareSchedule(app, line);
  declareModel(app, line);
  declareBalance(app, line);
  declareCalibrate(app, line);
  declareOutput(app, line);
  app.footer(
      "Examples:\n"
      "  All schedules on 8 ranks, and a picture of the one that a search finds:\n"
      "    moire-plan --ranks 8 --microbatches 20\n"
      "    moire-plan --ranks 8 --microbatches 20 --schedule auto --svg auto.svg\n"
      "  DeepSeek-V3's step (18.65 s):\n"
      "    moire-plan --schedule dualpipe --ranks 16 --microbatches 120 --optimizer 0.29s \\\n"
      "      --costs F=57.6ms,B=125.9ms,b=84.1ms,W=41.7ms,FB=139ms\n"
      "  The schedules of a file, and a trace of one for Perfetto:\n"
      "    moire-plan schedules.mlir\n"
      "    moire-plan schedules.mlir --schedule NAME --trace trace.json\n"
      "  What moirec compiled, and beside it what its trainer did:\n"
      "    out/trainer --data tokens.bin --steps 3 --trace trace.json\n"
      "    moire-plan out/plan.mlir --measured trace.json --svg both.svg\n"
      "  A plan for DeepSeek-V3, and what training it costs on two kinds of GPU:\n"
      "    moire-plan --model deepseek-v3 --cluster h800 --gpus 2048 --precision fp8 \\\n"
      "      --search --global-batch 15360 -o plan.toml\n"
      "    moire-plan --model deepseek-v3 --cluster h800,h200 --plan plan.toml --tokens 14.8e12\n"
      "  A plan of your own:\n"
      "    moire-plan --model llama-3.1-8b --cluster h100 --mesh pp=2,dp=4 --microbatches 16 \\\n"
      "      --schedule zb-h1 --recompute selective\n"
      "  An ONNX model on this machine, by rates that are measured here:\n"
      "    moire-plan --calibrate -o host.toml\n"
      "    moire-plan --model model.onnx --bind batch=4,seq=256 --cluster host.toml \\\n"
      "      --precision f32 --microbatches 1\n"
      "  Experts of every layer onto 40 devices with 8 slots each:\n"
      "    moire-plan --balance loads.csv --gpus 40 --replicas 320 -o placement.csv");
}
