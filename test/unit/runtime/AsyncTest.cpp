//===- AsyncTest.cpp - Collectives beside computation, and virtual time ---===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "CommUtil.h"
#include "TestUtil.h"
#include "comm/virtual_time.h"

#include <atomic>
#include <cmath>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
void expectNone(const std::vector<std::string> &errors) {
  for (const std::string &error : errors)
    EXPECT_EQ(error, "");
}

/// Uses the processor for so long.
void compute(double seconds) {
  const double until = threadSeconds() + seconds;
  while (threadSeconds() < until) {
  }
}

/// Ranks as threads with virtual time.
std::vector<std::string> inVirtualTime(int ranks, const Network &network,
                                       const std::function<void(Comm &)> &body) {
  CommOptions options;
  options.virtualTime = true;
  return onThreads(line(ranks), {{0}}, body, network, options);
}
} // namespace

TEST(Async, JobsAreDoneInTheirOrderBesideTheThread) {
  expectNone(onThreads(line(4), {{0}}, [](Comm &comm) {
    // Each job adds what the job before left, so another order gives another number.
    std::vector<double> x(5000, 1 + comm.rank()), direct = x;
    std::vector<Ticket> tickets;
    for (int i = 0; i < 20; ++i)
      tickets.push_back(comm.start([&] {
        comm.allReduce(comm.group(0), "a sum", x.data(), x.data(), int64_t(x.size()));
        for (double &v : x)
          v = v / 4 + 1;
      }));
    comm.wait(tickets[19]);
    comm.wait(tickets[3]); // long done
    // A collective outside of jobs comes after all of them.
    for (int i = 0; i < 20; ++i) {
      double sum = 0;
      for (int r = 0; r < 4; ++r)
        sum += i == 0 ? 1 + r : direct[0];
      direct.assign(1, sum / 4 + 1);
    }
    EXPECT_EQ(x[0], direct[0]);
    EXPECT_EQ(x[4999], direct[0]);
  }));
}

TEST(Async, ACollectiveOutsideOfJobsWaitsForTheQueue) {
  expectNone(onThreads(line(3), {{0}}, [](Comm &comm) {
    double late = comm.rank(), sum = 0;
    comm.start([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      comm.allReduce(comm.group(0), "the late one", &late, &late, 1);
    });
    comm.allReduce(comm.group(0), "the other", &late, &sum, 1);
    EXPECT_EQ(late, 3);
    EXPECT_EQ(sum, 9);
  }));
}

TEST(Async, AnErrorOfAJobIsTheWaits) {
  const auto errors = onThreads(line(2), {{0}}, [](Comm &comm) {
    double x = 1;
    const Ticket ticket = comm.start([&] {
      if (comm.rank() == 1)
        throw RunError("no room");
      comm.allReduce(comm.group(0), "a sum", &x, &x, 1);
    });
    try {
      comm.wait(ticket);
    } catch (const std::exception &e) {
      comm.abandon(e.what());
      throw;
    }
  });
  EXPECT_EQ(errors[1], "no room");
  EXPECT_EQ(errors[0], "rank 1 of 2 is lost in a sum: it stopped with \"no room\"");
}

TEST(Async, AfterAnErrorThatAllHaveTheQueueGoesOn) {
  expectNone(onThreads(line(3), {{0}}, [](Comm &comm) {
    double x = 1, y = 1;
    for (int round = 0; round < 20; ++round) {
      const Ticket first = comm.start([&] {
        comm.allReduce(comm.group(0), "a sum", &x, &y, 1);
        throw RunError("no room");
      });
      comm.start([&] { x = 100; }); // dropped
      EXPECT_THROW(comm.wait(first), RunError);
      comm.wait(comm.start([&] { comm.allReduce(comm.group(0), "a sum", &x, &y, 1); }));
      EXPECT_EQ(y, 3);
    }
  }));
}

// Rows that find no room end nothing: who computes may take as long as it likes to hear of
// it, and what was started before is done, what was started behind is not.
TEST(Async, AnOverflowWaitsForTheThreadThatComputes) {
  CommOptions options;
  options.patience = 0.01;
  expectNone(onThreads(
      line(2), {{0}},
      [](Comm &comm) {
        double x = 1, y = 0, z = 0;
        const Ticket before = comm.start([&] {
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          comm.allReduce(comm.group(0), "a sum", &x, &y, 1);
        });
        const Ticket full = comm.start([] { throw ExpertOverflow("no room"); });
        const Ticket behind = comm.start([&] { z = 1; });
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        EXPECT_THROW(comm.wait(full), ExpertOverflow);
        EXPECT_EQ(y, 2);
        comm.wait(before);
        comm.wait(behind);
        comm.wait(comm.start([&] { comm.allReduce(comm.group(0), "a sum", &y, &y, 1); }));
        EXPECT_EQ(y, 4);
        EXPECT_EQ(z, 0);
      },
      {}, options));
}

// b bytes to each of n - 1 others leave one after another: (n - 1) b / bandwidth. The last of
// those that come arrive `latency` later than that, less what a rank begins after the others.
TEST(VirtualTime, ATransferTakesWhatTheNetworkSays) {
  const Network network{1e-3, 1e9};
  expectNone(inVirtualTime(4, network, [](Comm &comm) {
    const int64_t bytes = 2'000'000;
    std::vector<char> from(4 * bytes), to(4 * bytes);
    // What the memory above took counts, and not alike on all ranks.
    comm.barrier(comm.group(0), "the start");
    const double begin = comm.virtualNow();
    const CommTimes before = comm.times();
    comm.allToAll(comm.group(0), "all_to_all", from.data(), to.data(), bytes);
    const double took = comm.virtualNow() - begin, leaving = 3 * bytes / 1e9;
    const double moving = comm.times().moving - before.moving;
    // `moving` begins when the last one has begun, a little later than this one.
    EXPECT_NEAR(moving, leaving + 0.5e-3, 2e-3);
    EXPECT_LE(moving, leaving + 1e-3 + 1e-9);
    EXPECT_GE(took, leaving);
    // But for what enter and leave take.
    EXPECT_NEAR(comm.times().exposed - before.exposed, took, 2e-3);
  }));
}

TEST(VirtualTime, WhatIsComputedBesideATransferHidesIt) {
  const Network network{0, 1e9};
  const int64_t bytes = 50'000'000; // 50 ms
  for (double computed : {0.02, 0.2}) {
    expectNone(inVirtualTime(2, network, [&](Comm &comm) {
      std::vector<char> from(2 * bytes), to(2 * bytes);
      comm.barrier(comm.group(0), "the start");
      const double begin = comm.virtualNow(), before = comm.times().exposed;
      const Ticket ticket = comm.start([&] {
        comm.allToAll(comm.group(0), "all_to_all", from.data(), to.data(), bytes);
      });
      compute(computed);
      comm.wait(ticket);
      const double took = comm.virtualNow() - begin, exposed = comm.times().exposed - before;
      EXPECT_NEAR(took, std::max(computed, 0.05), 0.01);
      EXPECT_NEAR(exposed, std::max(0.0, 0.05 - computed), 0.01);
    }));
  }
}

TEST(VirtualTime, WhoComesLateLetsTheOthersWait) {
  expectNone(inVirtualTime(2, {1e-3, 0}, [](Comm &comm) {
    comm.barrier(comm.group(0), "the start");
    const double before = comm.times().exposed, moved = comm.times().moving;
    if (comm.rank() == 1)
      compute(0.05);
    comm.barrier(comm.group(0), "a barrier");
    EXPECT_NEAR(comm.times().exposed - before, comm.rank() == 1 ? 0 : 0.051, 0.01);
    // To the late one the message has come meanwhile.
    EXPECT_NEAR(comm.times().moving - moved, comm.rank() == 1 ? 0 : 1e-3, 1e-9);
  }));
}
