//===- launch.cpp - Who started this process, and as which rank -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "comm/launch.h"
#include "moire/rt/memory.h"

#include <cstdlib>

namespace moire::rt {

namespace {
/// Variables of one launcher.
class Variables {
public:
  explicit Variables(const std::function<const char *(const char *)> &get) : get(get) {}

  bool has(const char *name) const {
    const char *value = get(name);
    return value && *value;
  }
  std::string text(const char *name) const { return has(name) ? get(name) : ""; }
  /// `otherwise` where it is not set.
  int number(const char *name, int low, int high, int otherwise) const {
    if (!has(name))
      return otherwise;
    char *end = nullptr;
    const long value = std::strtol(get(name), &end, 10);
    if (*end || value < low || value > high)
      throw InputError(std::string(name) + " is '" + get(name) +
                       "'; the launcher should set a number from " + std::to_string(low) + " to " +
                       std::to_string(high));
    return int(value);
  }

private:
  const std::function<const char *(const char *)> &get;
};

constexpr int kMostRanks = 65536;

Launch fromLauncher(const Variables &v, Launch::By by, const char *rank, const char *size,
                    const char *localSize, const char *localRank) {
  Launch launch;
  launch.by = by;
  launch.size = v.number(size, 1, kMostRanks, 1);
  launch.rank = v.number(rank, 0, launch.size - 1, 0);
  launch.localSize = v.number(localSize, 1, kMostRanks, 1);
  launch.localRank = v.number(localRank, 0, kMostRanks - 1, 0);
  launch.host = v.text("MASTER_ADDR");
  launch.port = v.number("MASTER_PORT", 1, 65535, 0);
  return launch;
}
} // namespace

std::string firstHost(const std::string &list) {
  const size_t bracket = list.find('['), comma = list.find(',');
  if (bracket == std::string::npos || comma < bracket)
    return list.substr(0, comma);
  const size_t close = list.find(']', bracket), end = list.find_first_of("-,]", bracket);
  if (close == std::string::npos)
    return "";
  const std::string rest = list.substr(close + 1);
  return list.substr(0, bracket) + list.substr(bracket + 1, end - bracket - 1) +
         rest.substr(0, rest.find(','));
}

Launch detectLaunch(int ranksFlag, const std::function<const char *(const char *)> &environment) {
  const Variables v(environment);
  Launch launch;
  if (ranksFlag > 0) {
    launch.by = Launch::By::threads;
    launch.size = launch.localSize = ranksFlag;
  } else if (v.has("RANK") && v.has("WORLD_SIZE")) {
    launch = fromLauncher(v, Launch::By::torchrun, "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE",
                          "LOCAL_RANK");
    // torchrun itself listens at MASTER_PORT, and keeps on doing so after a restart.
    if (launch.port && v.text("TORCHELASTIC_USE_AGENT_STORE") == "True")
      launch.port =
          1024 + (launch.port + 1 + v.number("TORCHELASTIC_RESTART_COUNT", 0, 1 << 20, 0) - 1024) %
                     (65536 - 1024);
  } else if (v.has("OMPI_COMM_WORLD_RANK") && v.has("OMPI_COMM_WORLD_SIZE")) {
    launch = fromLauncher(v, Launch::By::openMpi, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                          "OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK");
  } else if (v.has("PMI_RANK") && v.has("PMI_SIZE")) {
    launch = fromLauncher(v, Launch::By::pmi, "PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS",
                          "MPI_LOCALRANKID");
  } else if (v.has("SLURM_PROCID") && v.has("SLURM_STEP_NODELIST")) {
    // Not in a batch script without srun: it has a rank but no step.
    const bool step = v.has("SLURM_STEP_NUM_TASKS");
    launch = fromLauncher(v, Launch::By::slurm, "SLURM_PROCID",
                          step ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS", "", "SLURM_LOCALID");
    // "4" or, by node, "4(x2),3".
    launch.localSize = std::max(1, std::atoi(v.text("SLURM_STEP_TASKS_PER_NODE").c_str()));
    if (launch.localSize == 1)
      launch.localSize = std::max(1, std::atoi(v.text("SLURM_NTASKS_PER_NODE").c_str()));
    if (launch.host.empty())
      launch.host = firstHost(v.text("SLURM_STEP_NODELIST"));
    if (!launch.port) // the same on all ranks, and another one for another step
      launch.port = 20000 + (std::atoi(v.text("SLURM_JOB_ID").c_str()) * 7 +
                             std::atoi(v.text("SLURM_STEP_ID").c_str())) %
                                10000;
  }
  if (launch.size == 1) // started as one of one: the same as by hand
    return launch.by == Launch::By::threads ? launch : Launch();
  return launch;
}

} // namespace moire::rt
