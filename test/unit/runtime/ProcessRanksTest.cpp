//===- ProcessRanksTest.cpp - Ranks over TCP and MPI, and their deaths ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What processes compute must be what threads compute, bit for bit.
//
//===----------------------------------------------------------------------===//

#include "CommBattery.h"
#include "CommUtil.h"
#include "LogUtil.h"
#include "Processes.h"
#include "RankProgram.h"
#include "TestUtil.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
const std::string kProgram = RANK_PROGRAM;

std::vector<std::string> batteryOfThreads(int ranks) {
  std::vector<std::string> bits(ranks);
  onThreads(line(ranks), {{0}},
            [&](Comm &comm) { bits[comm.rank()] = Battery(comm, comm.group(0)).run(); });
  return bits;
}

std::string tokens(const TempFolder &dir) {
  std::vector<uint16_t> ids;
  std::mt19937 gen(5);
  for (int i = 0; i < 20000; ++i)
    ids.push_back(uint16_t(gen() % RankProgram::kVocab));
  write(dir / "tokens.bin", tokenFile(20240520, 1, int(ids.size()), ids));
  return dir / "tokens.bin";
}

/// Steps without what depends on time.
std::vector<std::string> stepsOf(const std::string &log) {
  std::vector<std::string> steps;
  std::istringstream lines(read(log));
  for (std::string text; std::getline(lines, text);) {
    auto json = nlohmann::json::parse(text);
    dropMeasured(json);
    steps.push_back(json.dump());
  }
  return steps;
}

bool openMpi() { return std::system("command -v mpirun >/dev/null 2>&1") == 0; }
std::vector<std::string> mpirun(int ranks, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"mpirun", "-n", std::to_string(ranks), "--oversubscribe",
                                       "--allow-run-as-root"});
  return arguments;
}

/// The sentence of a rank that lost `dead`, and nothing else.
void expectSentence(const Processes::Ended &end, int dead, int ranks) {
  EXPECT_EQ(end.code, 2) << end.err;
  const size_t error = end.err.find("error: ");
  ASSERT_NE(error, std::string::npos) << end.err;
  const std::string text = end.err.substr(error);
  EXPECT_EQ(text.rfind("error: rank " + std::to_string(dead) + " of " + std::to_string(ranks) +
                           " is lost in ",
                       0),
            0u)
      << end.err;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}
} // namespace

TEST(Tcp, CollectivesGiveTheBitsOfThreads) {
  for (int ranks : {2, 3}) {
    Processes p({kProgram, "battery", ""}, 0, ranks, 0);
    const int port = freePort();
    for (int rank = 0; rank < ranks; ++rank)
      p.start({kProgram, "battery", p.dir / "bits"}, rank, ranks, port, {});
    const auto ends = p.wait(60);
    const auto want = batteryOfThreads(ranks);
    for (int rank = 0; rank < ranks; ++rank) {
      EXPECT_EQ(ends[rank].code, 0) << ends[rank].err;
      EXPECT_TRUE(read(p.dir / ("bits." + std::to_string(rank))) == want[rank]);
    }
  }
}

TEST(OpenMpi, CollectivesGiveTheBitsOfThreads) {
  if (!openMpi())
    GTEST_SKIP() << "there is no mpirun";
  Processes p({}, 0, 0, 0);
  p.start(mpirun(3, {kProgram, "battery", p.dir / "bits"}), 0, 0, 0, {});
  const auto ends = p.wait(60);
  EXPECT_EQ(ends[0].code, 0) << ends[0].err;
  const auto want = batteryOfThreads(3);
  for (int rank = 0; rank < 3; ++rank)
    EXPECT_TRUE(read(p.dir / ("bits." + std::to_string(rank))) == want[rank]);
}

TEST(Tcp, RanksMeetThroughAFile) {
  TempFolder dir;
  const std::string data = tokens(dir), file = dir / "meet";
  auto arguments = [&](const std::string &name) {
    return std::vector<std::string>{kProgram, "dp=2",  "--data", data,
                                    "--log",  dir / name, "--steps", "3"};
  };
  Processes threads(arguments("threads"), 1, 0, 0);
  ASSERT_EQ(threads.wait(60)[0].code, 0);
  auto meeting = arguments("file");
  meeting.insert(meeting.end(), {"--rendezvous", file});
  Processes processes(meeting, 2, 2, /*port=*/1); // not where rank 0 listens
  for (const Processes::Ended &end : processes.wait(60))
    EXPECT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(stepsOf(dir / "file"), stepsOf(dir / "threads"));
  EXPECT_FALSE(std::filesystem::exists(file));

  write(file, std::string("127.0.0.1 1")); // of a run that was lost
  Processes again(meeting, 1, 2, 1);
  const Processes::Ended end = again.wait(60)[0];
  EXPECT_EQ(end.code, 1);
  EXPECT_EQ(end.err, "error: --rendezvous '" + file +
                         "' is there already, perhaps of a run that was lost; remove it, or "
                         "name another file\n");
}

TEST(Tcp, AndMpiTrainWithTheNumbersOfThreads) {
  TempFolder dir;
  const std::string data = tokens(dir);
  auto arguments = [&](const std::string &name) {
    return std::vector<std::string>{kProgram,       "dp=2,ep=2",
                                    "--data",       data,
                                    "--steps",      "6",
                                    "--accumulate", "2",
                                    "--lr",         "0.05",
                                    "--clip",       "0.1",
                                    "--log",        dir / (name + ".jsonl"),
                                    "--dump-grads", dir / (name + ".safetensors")};
  };
  Processes threads(arguments("threads"), 1, 0, 0);
  auto end = threads.wait(60)[0];
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.out.find("ranks: 4 (pp=1,dp=2,ep=2,tp=1), threads of one process"),
            std::string::npos)
      << end.out;
  EXPECT_NE(end.out.find(" s in collectives, waiting for others included"), std::string::npos);
  ASSERT_EQ(stepsOf(dir / "threads.jsonl").size(), 6u);

  Processes tcp(arguments("tcp"), 4, 4, freePort());
  const auto ends = tcp.wait(60);
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(ends[rank].code, 0) << ends[rank].err;
    EXPECT_EQ(ends[rank].out.empty(), rank > 0); // one rank talks
    EXPECT_EQ(ends[rank].err.empty(), rank > 0) << ends[rank].err;
  }
  EXPECT_EQ(stepsOf(dir / "tcp.jsonl"), stepsOf(dir / "threads.jsonl"));
  EXPECT_TRUE(read(dir / "tcp.safetensors") == read(dir / "threads.safetensors"));
  if (!openMpi())
    return;
  Processes mpi(mpirun(4, arguments("mpi")), 1, 0, 0);
  end = mpi.wait(60)[0];
  EXPECT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(stepsOf(dir / "mpi.jsonl"), stepsOf(dir / "threads.jsonl"));
  EXPECT_TRUE(read(dir / "mpi.safetensors") == read(dir / "threads.safetensors"));
}

TEST(Tcp, AKilledRankEndsAllWithItsSentence) {
  TempFolder dir;
  const std::string data = tokens(dir);
  std::mt19937 gen(17);
  for (int round = 0; round < 3; ++round) {
    Processes p({kProgram, "dp=4", "--data", data, "--steps", "10000000"}, 4, 4, freePort());
    p.awaitText(0, "step 1/");
    std::this_thread::sleep_for(std::chrono::milliseconds(gen() % 100));
    const int dead = int(gen() % 4);
    p.signal(dead, SIGKILL);
    const auto ends = p.wait(10);
    EXPECT_EQ(ends[dead].code, 128 + SIGKILL);
    for (int rank = 0; rank < 4; ++rank)
      if (rank != dead)
        expectSentence(ends[rank], dead, 4);
  }
}

TEST(Tcp, AStalledRankEndsAllOthersWithItsSentence) {
  TempFolder dir;
  Processes p(
      {kProgram, "dp=3", "--data", tokens(dir), "--steps", "10000000", "--comm-timeout", "1"}, 3, 3,
      freePort());
  p.awaitText(0, "step 1/");
  p.signal(1, SIGSTOP);
  const auto ends = p.wait(3, /*except=*/1);
  EXPECT_EQ(ends[1].code, -1);
  for (int rank : {0, 2}) {
    expectSentence(ends[rank], 1, 3);
    EXPECT_NE(ends[rank].err.find("no sign of life for 0.7 s"), std::string::npos);
  }
}

namespace {
/// The processes that mpirun started.
std::vector<pid_t> childrenOf(pid_t pid) {
  std::vector<pid_t> children;
  const std::string number = std::to_string(pid);
  std::istringstream list(read("/proc/" + number + "/task/" + number + "/children"));
  for (pid_t child; list >> child;)
    children.push_back(child);
  return children;
}
/// Whether it has not ended; a zombie has, its new parent will come.
bool runs(pid_t pid) {
  const std::string stat = read("/proc/" + std::to_string(pid) + "/stat");
  const size_t name = stat.rfind(") ");
  return name != std::string::npos && stat[name + 2] != 'Z';
}
} // namespace

TEST(OpenMpi, AKilledOrStalledRankEndsAll) {
  if (!openMpi())
    GTEST_SKIP() << "there is no mpirun";
  TempFolder dir;
  for (int number : {SIGKILL, SIGSTOP}) {
    Processes p(mpirun(3, {kProgram, "dp=3", "--data", tokens(dir), "--steps", "10000000",
                           "--comm-timeout", "1"}),
                1, 0, 0,
                // mpirun kills the others after this many seconds; by itself after one
                {"OMPI_MCA_odls_base_sigkill_timeout=0"});
    p.awaitText(0, "step 1/");
    const std::vector<pid_t> ranks = childrenOf(p.pid(0));
    ASSERT_EQ(ranks.size(), 3u);
    kill(ranks[1], number);
    const auto end = p.wait(10)[0];
    EXPECT_GT(end.code, 0) << end.err;
    for (int i = 0; i < 400 && std::any_of(ranks.begin(), ranks.end(), runs); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    for (pid_t rank : ranks)
      EXPECT_FALSE(runs(rank));
    if (number == SIGSTOP)
      EXPECT_NE(end.err.find("error: rank 1 of 3 is lost in "), std::string::npos) << end.err;
  }
}

TEST(Tcp, SlowComputeIsNoStall) {
  TempFolder dir;
  Processes p({kProgram, "dp=2", "--data", tokens(dir), "--steps", "3", "--comm-timeout", "0.5"}, 2,
              2, freePort(), {"STALL=1,2,1.5"});
  for (const auto &end : p.wait(20))
    EXPECT_EQ(end.code, 0) << end.err;
}

TEST(Tcp, ARankInALongComputationEndsToo) {
  TempFolder dir;
  Processes p({kProgram, "dp=3", "--data", tokens(dir), "--steps", "3", "--comm-timeout", "2"}, 3,
              3, freePort(), {"STALL=1,2,30"});
  p.awaitText(0, "step 1/");
  std::this_thread::sleep_for(std::chrono::milliseconds(100)); // all others wait in step 2
  p.signal(2, SIGKILL);
  const auto ends = p.wait(2);
  expectSentence(ends[0], 2, 3);
  expectSentence(ends[1], 2, 3);
  EXPECT_NE(ends[1].err.find("is lost in what follows "), std::string::npos) << ends[1].err;
}

TEST(Tcp, WrongStartsAreRefused) {
  TempFolder dir;
  const std::string data = tokens(dir);
  const std::vector<std::string> two = {kProgram,  "dp=2", "--data",         data,
                                        "--steps", "2",    "--comm-timeout", "0.5"};
  const auto errors = [](Processes &p) {
    std::string all;
    for (const auto &end : p.wait(10))
      all += std::to_string(end.code) + " " + end.err;
    return all;
  };
  Processes alone(two, 1, 2, freePort());
  const std::string late = errors(alone);
  EXPECT_NE(late.find("2 error: 1 of 2 ranks came to 127.0.0.1:"), std::string::npos) << late;
  EXPECT_NE(late.find("within 0.4 s, not rank 1; start all of them, or raise --comm-timeout"),
            std::string::npos)
      << late;
  // One says it, all end.
  Processes three(two, 3, 3, freePort());
  EXPECT_EQ(errors(three), "1 error: 3 ranks were started, the program was compiled for the mesh "
                           "pp=1,dp=2,ep=1,tp=1 of 2; start 2, or compile with another --mesh\n"
                           "1 1 ");
  // Two times rank 1, and rank 0.
  const int port = freePort();
  Processes twice({}, 0, 3, 0);
  for (int rank : {1, 1, 0})
    twice.start({kProgram, "dp=3", "--data", data, "--comm-timeout", "5"}, rank, 3, port, {});
  const std::string same = errors(twice),
                    sentence = "2 error: two processes came to 127.0.0.1:" + std::to_string(port) +
                               " as rank 1 of 3; give every process its own RANK\n";
  EXPECT_EQ(same, sentence + sentence + sentence);
  // Data that all miss: rank 0 says it.
  Processes missing({kProgram, "dp=2", "--data", "/none"}, 2, 2, freePort());
  EXPECT_EQ(errors(missing), "1 error: --data '/none' does not exist\n1 ");
}

TEST(Tcp, StrangersAtTheRendezvousAreNotHeard) {
  TempFolder dir;
  const int port = freePort();
  Processes p({kProgram, "dp=2", "--data", tokens(dir), "--steps", "2"}, 1, 2, port);
  in_addr loopback = {};
  loopback.s_addr = htonl(INADDR_LOOPBACK);
  Socket silent = connectTo(loopback, port, after(5)),
         talking = connectTo(loopback, port, after(5));
  sendAll(talking, "GET / HTTP/1.1\r\nHost: rank0.example.org\r\n\r\n", 43, after(1));
  p.start({kProgram, "dp=2", "--data", tokens(dir), "--steps", "2"}, 1, 2, port, {});
  for (const auto &end : p.wait(20))
    EXPECT_EQ(end.code, 0) << end.err;
}

TEST(Tcp, ASignalToOneRankStopsAllAfterTheSameStep) {
  TempFolder dir;
  Processes p({kProgram, "dp=3", "--data", tokens(dir), "--steps", "10000000"}, 3, 3, freePort());
  p.awaitText(0, "step 1/");
  p.signal(2, SIGTERM);
  const auto ends = p.wait(10);
  for (int rank = 0; rank < 3; ++rank)
    EXPECT_EQ(ends[rank].code, 2) << ends[rank].err;
  EXPECT_NE(ends[0].err.find("error: stopped by signal 15 after step "), std::string::npos)
      << ends[0].err;
  EXPECT_EQ(ends[1].err + ends[2].err, "");
}
