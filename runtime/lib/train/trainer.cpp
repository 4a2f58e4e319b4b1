//===- trainer.cpp - The trainer's main -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Starts the ranks that are this process's: all of them as threads, or one.
//
//===----------------------------------------------------------------------===//

#include "comm/launch.h"
#include "comm/meeting_file.h"
#include "moire/rt/device.h"
#include "train/rank.h"

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <omp.h>
#include <sched.h>
#include <thread>
#include <unistd.h>

namespace moire::rt {

namespace {
/// The only state of the process: a signal handler has no other way.
volatile std::sig_atomic_t stopSignal = 0;
volatile int64_t stopTime = 0; ///< when the first one came, in nanoseconds

/// The first one is heard after the step, a second one ends the process. Launchers pass on what
/// a terminal has sent to all processes already: that is one signal.
void onSignal(int number) {
  constexpr int64_t kOne = 100'000'000;
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  const int64_t now = time.tv_sec * int64_t(1'000'000'000) + time.tv_nsec;
  if (stopSignal == 0) {
    stopTime = now;
    stopSignal = number;
  } else if (now - stopTime >= kOne) {
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
}

std::string executablePath(const char *argv0) {
  char path[4096];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path);
  return n > 0 ? std::string(path, n) : argv0;
}

void checkProgram(const Program &p, const Options &o, const Launch &launch) {
  if (p.abi != kAbiVersion)
    throw InputError("the program was generated for version " + std::to_string(p.abi) +
                     " of the runtime, this is version " + std::to_string(kAbiVersion) +
                     "; compile the model again");
  const Mesh mesh(p);
  const int64_t ranks = mesh.ranks();
  if (launch.size != ranks) {
    const std::string given = o.ranks ? "--ranks is " + std::to_string(o.ranks)
                                      : std::to_string(launch.size) + " ranks were started";
    throw InputError(
        given + ", the program was compiled for " +
        (ranks == 1 ? "one" : "the mesh " + mesh.text() + " of " + std::to_string(ranks)) +
        "; start " + std::to_string(ranks) + ", or compile with another --mesh");
  }
}

/// What a rank gets of the machine: the threads that were asked for or that there are,
/// shared by the ranks that run beside it.
int threadsOf(const Options &o, const Launch &launch) {
  if (!launch.isProcess())
    return std::max(1, (o.threads ? o.threads : omp_get_max_threads()) / launch.size);
  if (o.threads)
    return o.threads;
  // Where the launcher gave this process its threads or cores, they are its own.
  cpu_set_t cores;
  const bool bound = sched_getaffinity(0, sizeof cores, &cores) == 0 &&
                     CPU_COUNT(&cores) < sysconf(_SC_NPROCESSORS_ONLN);
  const int shared = std::getenv("OMP_NUM_THREADS") || bound ? 1 : launch.localSize;
  return std::max(1, omp_get_max_threads() / shared);
}

std::vector<std::vector<int>> groupsOf(const Program &p) {
  std::vector<std::vector<int>> groups;
  for (int64_t i = 0; i < p.numGroups; ++i)
    groups.emplace_back(p.groups[i].axes, p.groups[i].axes + p.groups[i].numAxes);
  return groups;
}

std::string describe(const Comm &comm, Transport &link) {
  return std::to_string(comm.size()) + " (" + comm.mesh.text() + "), " + link.describe();
}

/// One rank with others: tells them where it fails. stages: null without a pipeline.
void runWithOthers(RankSetup setup, Comm &comm, Transport *stages) {
  setup.comm = &comm;
  setup.stages = stages;
  setup.ranks = describe(comm, comm.link());
  try {
    trainRank(setup);
  } catch (const SaidByAnother &) {
    throw;
  } catch (const std::exception &e) {
    if (stages)
      stages->abort(e.what());
    comm.link().abort(e.what());
    throw;
  }
}

void runThreads(const RankSetup &setup, int ranks) {
  const Program &p = setup.program;
  const Options &o = setup.options;
  auto transports = connectThreads(ranks, o.network);
  std::vector<std::unique_ptr<Transport>> stages(ranks);
  if (p.pipeline)
    stages = connectThreads(ranks, o.network);
  std::mutex lock;
  std::condition_variable changed;
  int left = ranks;
  std::exception_ptr first;
  bool firstIsLost = false; // then another rank has the cause
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      std::exception_ptr error;
      bool lost = false;
      try {
        chooseDevice(rank);
        CommOptions options;
        options.virtualTime = o.virtualTime;
        Comm comm(std::move(transports[rank]), Mesh(p), groupsOf(p), options);
        runWithOthers(setup, comm, stages[rank].get());
      } catch (const SaidByAnother &) {
      } catch (const LostError &) {
        error = std::current_exception();
        lost = true;
      } catch (...) {
        error = std::current_exception();
      }
      std::lock_guard<std::mutex> hold(lock);
      if (error && (!first || (firstIsLost && !lost))) {
        first = error;
        firstIsLost = lost;
      }
      --left;
      changed.notify_all();
    });
  std::unique_lock<std::mutex> hold(lock);
  changed.wait(hold, [&] { return left == 0 || first; });
  // A rank in a long computation cannot be told: the process ends without it.
  const auto patience = std::chrono::duration<double>(o.commTimeout * 0.8);
  if (!changed.wait_for(hold, patience, [&] { return left == 0; })) {
    try {
      std::rethrow_exception(first);
    } catch (const std::exception &e) {
      std::fprintf(stderr, "error: %s\n", e.what());
      std::fflush(stderr);
      std::_Exit(exitCode(e));
    }
  }
  hold.unlock();
  for (std::thread &thread : threads)
    thread.join();
  if (first)
    std::rethrow_exception(first);
}

TcpOptions tcpOptions(const Options &o) {
  TcpOptions tcp;
  tcp.timeout = o.commTimeout;
  tcp.network = o.network;
  return tcp;
}

/// Over MPI without stages: that takes connectStages().
Links connect(const Launch &launch, const Options &o, bool pipeline) {
  if (launch.by == Launch::By::openMpi && o.rendezvous.empty())
    return {connectMpi(launch.size, o.commTimeout, o.network), nullptr};
  std::unique_ptr<MeetingFile> file;
  if (!o.rendezvous.empty())
    file = std::make_unique<MeetingFile>(o.rendezvous, launch.rank, 0.8 * o.commTimeout,
                                         launch.host);
  else if (launch.host.empty() || !launch.port)
    throw InputError("rank " + std::to_string(launch.rank) + " of " + std::to_string(launch.size) +
                     " does not know where rank 0 listens; set MASTER_ADDR to its host and "
                     "MASTER_PORT to a free port there, or give --rendezvous a new file");
  TcpOptions tcp = tcpOptions(o);
  tcp.rank = launch.rank;
  tcp.size = launch.size;
  tcp.host = file ? file->host : launch.host;
  tcp.port = file ? file->port : launch.port;
  if (pipeline)
    return connectTcpTwice(tcp);
  return {connectTcp(tcp), nullptr};
}

/// MPI has one thread: stages' messages go over TCP.
std::unique_ptr<Transport> connectStages(Comm &comm, const Launch &launch, const Options &o) {
  TcpOptions tcp = tcpOptions(o);
  if (launch.localSize < launch.size)
    tcp.host = launch.host; // empty: found
  return connectTcpThrough(comm, tcp);
}

const char *environment(const char *name) { return std::getenv(name); }
/// 0 where the environment is wrong: somebody has to say so.
int rankOfEnvironment() {
  try {
    return detectLaunch(0, environment).rank;
  } catch (const InputError &) {
    return 0;
  }
}

void train(const Program &p, const Options &given, Launch &launch, const std::string &executable) {
  launch = detectLaunch(given.ranks, environment);
  const int64_t ranks = Mesh(p).ranks();
  if (launch.by == Launch::By::none && ranks > 1) { // by hand, without --ranks
    launch.by = Launch::By::threads;
    launch.size = launch.localSize = int(ranks);
  }
  checkProgram(p, given, launch);
  Options o = given;
  o.threads = threadsOf(given, launch);
  if (o.virtualTime && p.pipeline)
    throw InputError("--virtual-time does not count messages between stages, and the program has "
                     "the mesh " +
                     Mesh(p).text() + "; leave it out, or use moire-run --virtual-time");
  if (o.virtualTime) {
    if (ranks == 1 || launch.isProcess())
      throw InputError(std::string("--virtual-time is for ranks that are threads of one process, "
                                   "not for ") +
                       (ranks == 1 ? "one rank" : "processes") +
                       "; start the trainer by itself, or leave it out");
    o.threads = 1;
  }
  RankSetup setup{p, o, executable};
  setup.stopSignal = [] { return int(stopSignal); };
  if (launch.size == 1)
    return trainRank(setup);
  if (!launch.isProcess())
    return runThreads(setup, launch.size);
  const int rank = std::exchange(launch.rank, 0); // from here on errors are its own
  Launch own = launch;
  own.rank = rank;
  chooseDevice(launch.localRank);
  CommOptions options;
  options.patience = o.commTimeout * 0.1;
  Links links = connect(own, o, p.pipeline);
  Comm comm(std::move(links.collectives), Mesh(p), groupsOf(p), options);
  if (p.pipeline && !links.stages)
    links.stages = connectStages(comm, own, o);
  setup.patience = options.patience;
  runWithOthers(setup, comm, links.stages.get());
}
} // namespace

int trainerMain(int argc, char **argv, const Program &program) {
  Launch launch;
  // Before the ranks are connected all of them find the same: rank 0 says it.
  auto say = [&](const std::exception &e) {
    const bool isError = exitCode(e) != 3;
    if (launch.rank == 0)
      std::fprintf(stderr, "%s%s\n", isError ? "error: " : "", e.what());
  };
  try {
    Options options;
    launch.rank = rankOfEnvironment();
    if (!parseOptions(argc, argv, program, options))
      return 0;
    stopSignal = 0;
    std::signal(SIGINT, onSignal);
    std::signal(SIGTERM, onSignal);
    std::signal(SIGXFSZ, SIG_IGN); // a file beyond `ulimit -f` is an error like a full disk
    train(program, options, launch, executablePath(argv[0]));
    return 0;
  } catch (const SaidByAnother &e) {
    return e.code;
  } catch (const std::exception &e) {
    say(e);
    return exitCode(e);
  }
}

} // namespace moire::rt
