//===- CommTest.cpp - Meshes, groups, collectives between threads ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "CommBattery.h"
#include "CommUtil.h"
#include "TestUtil.h"

#include <algorithm>

using namespace moire::rt;
using namespace moire::rt::test;

TEST(Mesh, TheLastAxisVariesFastest) {
  const Mesh mesh({{"pp", 1}, {"dp", 2}, {"ep", 3}, {"tp", 2}});
  EXPECT_EQ(mesh.ranks(), 12);
  EXPECT_EQ(mesh.text(), "pp=1,dp=2,ep=3,tp=2");
  for (int dp = 0; dp < 2; ++dp)
    for (int ep = 0; ep < 3; ++ep)
      for (int tp = 0; tp < 2; ++tp) {
        const int64_t rank = (dp * 3 + ep) * 2 + tp;
        EXPECT_EQ(mesh.coordinate(rank, 0), 0);
        EXPECT_EQ(mesh.coordinate(rank, 1), dp);
        EXPECT_EQ(mesh.coordinate(rank, 2), ep);
        EXPECT_EQ(mesh.coordinate(rank, 3), tp);
      }
}

TEST(Mesh, AGroupHoldsTheRanksThatDifferInItsAxesAlone) {
  const Mesh mesh({{"dp", 2}, {"ep", 3}, {"tp", 2}});
  const Group ep = mesh.group(7, mesh.axesNamed("ep")); // dp 1, ep 0, tp 1
  EXPECT_EQ(ep.members, (std::vector<int>{7, 9, 11}));
  EXPECT_EQ(ep.index, 0);
  const Group data = mesh.group(9, mesh.axesNamed("ep,dp"));
  EXPECT_EQ(data.members, (std::vector<int>{1, 3, 5, 7, 9, 11}));
  EXPECT_EQ(data.index, 4);
  EXPECT_EQ(mesh.group(4, {}).members, std::vector<int>{4});
  EXPECT_EQ(mesh.group(4, mesh.axesNamed("dp,ep,tp")).size(), 12);
}

TEST(Comm, EveryCollectiveOverOneToEightThreads) {
  for (int ranks : {1, 2, 3, 4, 5, 8}) {
    std::vector<std::string> errors =
        onThreads(line(ranks), {{0}}, [](Comm &comm) { Battery(comm, comm.group(0)).run(); });
    for (const std::string &error : errors)
      EXPECT_EQ(error, "") << ranks << " ranks";
  }
}

TEST(Comm, GroupsOfOneMeshAtOnce) {
  const Mesh mesh({{"dp", 2}, {"ep", 2}, {"tp", 2}});
  const auto errors = onThreads(mesh, {{1}, {0, 1}, {0, 2}}, [](Comm &comm) {
    for (int group = 0; group < 3; ++group)
      Battery(comm, comm.group(group)).run();
    Battery(comm, comm.groupOver("tp")).run();
  });
  for (const std::string &error : errors)
    EXPECT_EQ(error, "");
}

// Members that come late, and buffers whose parts are a few megabytes.
TEST(Comm, ALargeSumWhereRanksComeAtDifferentTimes) {
  constexpr int64_t n = 1 << 20;
  const auto errors = onThreads(line(4), {{0}}, [](Comm &comm) {
    auto values = contribution<float>(n, comm.rank(), 1);
    std::vector<float> want = contribution<float>(n, 0, 1);
    for (int m = 1; m < 4; ++m) {
      const auto theirs = contribution<float>(n, m, 1);
      for (int64_t i = 0; i < n; ++i)
        want[i] += theirs[i];
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(7 * comm.rank()));
    comm.allReduce(comm.group(0), "sum", values.data(), values.data(), n);
    if (values != want)
      throw std::runtime_error("wrong");
  });
  EXPECT_EQ(errors, std::vector<std::string>(4));
}

TEST(Comm, ARankThatStopsStopsAllWithOneSentence) {
  for (int dead = 0; dead < 4; ++dead) {
    const auto errors = onThreads(line(4), {{0}}, [&](Comm &comm) {
      std::vector<float> v(100000);
      comm.allReduce(comm.group(0), "all_reduce of first", v.data(), v.data(), 100000);
      if (comm.rank() == dead)
        throw std::runtime_error("token 9 is wrong");
      for (;;)
        comm.allReduce(comm.group(0), "all_reduce of second", v.data(), v.data(), 100000);
    });
    for (int rank = 0; rank < 4; ++rank) {
      auto sentence = [&](const char *where) {
        return "rank " + std::to_string(dead) + " of 4 is lost in all_reduce of " + where +
               ": it stopped with \"token 9 is wrong\"";
      };
      if (rank == dead)
        EXPECT_EQ(errors[rank], "token 9 is wrong");
      else if (errors[rank] != sentence("first")) // others may not have left it yet
        EXPECT_EQ(errors[rank], sentence("second"));
    }
  }
}

TEST(Comm, RanksInDifferentOperationsAreTold) {
  const auto errors = onThreads(line(2), {{0}}, [](Comm &comm) {
    std::vector<float> v(10);
    comm.allReduce(comm.group(0), comm.rank() ? "all_reduce of a" : "all_reduce of b", v.data(),
                   v.data(), comm.rank() ? 10 : 9);
  });
  EXPECT_TRUE(std::any_of(
      errors.begin(), errors.end(),
      [](const std::string &error) {
        return error == "rank 1 sends 40 bytes in all_reduce of a, rank 0 waits for 36 bytes in "
                        "all_reduce of b; all ranks must run the same program" ||
               error == "rank 0 sends 36 bytes in all_reduce of b, rank 1 waits for 40 bytes in "
                        "all_reduce of a; all ranks must run the same program";
      }))
      << errors[0] << "\n"
      << errors[1];
}

// 10 ms a message, and 4 MB through a link of 100 MB/s: 40 ms.
TEST(Comm, AnInjectedNetworkDelaysMessages) {
  const auto seconds = [](int64_t floats, const Network &network) {
    double longest = 0;
    const auto begin = Transport::Clock::now();
    onThreads(
        line(2), {{0}},
        [&](Comm &comm) {
          std::vector<float> v(floats), w(floats);
          comm.broadcast(comm.group(0), "broadcast", v.data(), floats * 4);
          const std::chrono::duration<double> took = Transport::Clock::now() - begin;
          if (comm.rank() == 1)
            longest = took.count();
        },
        network);
    return longest;
  };
  EXPECT_LT(seconds(1, {}), 0.2);
  EXPECT_GE(seconds(1, {0.2, 0}), 0.2);
  EXPECT_GE(seconds(1, {0.01, 0}), 0.01);
  EXPECT_GE(seconds(1000000, {0.01, 1e8}), 0.05);
  EXPECT_GE(seconds(1000000, {0, 1e8}), 0.04);
}
