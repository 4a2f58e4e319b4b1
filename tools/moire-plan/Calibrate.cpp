//===- Calibrate.cpp - A cluster file of this machine --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Calibrate.h"
#include "HostRates.h"
#include "Report.h"
#include "moire/CostModel/Cluster.h"
#include <nlohmann/json.hpp>
#include <ostream>
#include <thread>

using namespace moire::plan;
using Json = nlohmann::ordered_json;

static moire::cost::Cluster clusterOf(const HostRates &rates) {
  moire::cost::Cluster cluster;
  cluster.name = text("this host, ", rates.threads, rates.threads == 1 ? " thread" : " threads");
  moire::cost::Device &device = cluster.device;
  device.name = "cpu";
  // Where the processor does not multiply bf16 it widens, and the peak is float32's.
  device.flops = {{"f32", rates.peak}, {"bf16", std::max(rates.peak, rates.matmulBf16)}};
  device.memory = rates.memory;
  device.memoryBandwidth = rates.bandwidth;
  device.kernelOverhead = rates.overhead;
  moire::cost::Efficiency &reached = device.efficiency;
  reached.matmul = {{"f32", rates.matmulF32 / device.flops["f32"]},
                    {"bf16", rates.matmulBf16 / device.flops["bf16"]}};
  reached.matmulHalf = rates.matmulHalf;
  reached.grouped = rates.grouped;
  reached.attention = std::min(1.0, rates.attention / device.flops["bf16"]);
  reached.attentionBackward = std::min(1.0, rates.attentionBackward / device.flops["bf16"]);
  reached.memory = std::min(1.0, rates.kernelTraffic / rates.bandwidth);
  cluster.within = {rates.linkLatency, rates.linkBandwidth};
  cluster.between = cluster.within;
  return cluster;
}

Refusal moire::plan::calibrate(const CalibrateRequest &request, std::ostream &out, Files &files) {
  if (request.device == "cuda" || request.device == "gpu")
    return text("--calibrate measures 'cpu' in this build, not '", request.device,
                "'; use --device cpu, or a "
                "cluster file of that GPU, which --help names");
  if (request.device != "cpu")
    return text("--device '", request.device, "' is not known; use cpu");
  const int have = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  if (request.threads > have)
    return text("--threads ", request.threads, " is more than the ", have,
                " threads of this machine; use at most ", have);
  const HostRates rates = measureHost(request.threads > 0 ? request.threads : have);
  const moire::cost::Cluster cluster = clusterOf(rates);

  out << "The fastest of several calls on " << rates.threads
      << (rates.threads == 1 ? " thread" : " threads")
      << ", random data, the kernels that trainers call:\n\n";
  Table table({"measured", "time", "rate", "of the peak"});
  for (const Measured &row : rates.measured)
    table.add({row.what, secondsText(row.seconds),
               row.rate > 0 ? scaled(row.rate, row.isFlops ? "FLOP/s" : "B/s") : "",
               row.rate > 0 && row.isFlops ? percent(row.rate / rates.peak) : ""});
  table.write(out);
  out << "\nA product of large dimensions reaches " << percent(rates.matmulF32 / rates.peak)
      << " of the peak in f32, one whose smallest dimension is d\nreaches d / (d + "
      << scaled(rates.matmulHalf, "") << ") of that.\n";
  if (request.output.empty())
    out << "-o FILE.toml writes these rates as a cluster file, for --cluster.\n";

  files.add(request.output, [&](std::ostream &file) { writeCluster(file, cluster); });
  files.add(request.json, [&](std::ostream &file) {
    Json all = {{"threads", rates.threads}, {"memory", rates.memory}};
    for (const Measured &row : rates.measured)
      all["measured"].push_back({{"what", row.what},
                                 {"seconds", row.seconds},
                                 {"rate", row.rate},
                                 {"rate_unit", row.isFlops ? "FLOP/s" : "B/s"}});
    file << Json{{"calibration", all}}.dump(1) << "\n";
  });
  return {};
}
