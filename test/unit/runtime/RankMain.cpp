//===- RankMain.cpp - A process that is one rank of a test ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// rank-program battery FILE       every collective; what came out to FILE.RANK
// rank-program MESH ARGUMENTS…    the trainer of RankProgram for the mesh, which may end in
//                                 ",zero=N"
// rank-program stages:PLACEMENT ARGUMENTS…    that of StageProgram
//
//===----------------------------------------------------------------------===//

#include "CommBattery.h"
#include "RankProgram.h"
#include "StageProgram.h"
#include "comm/launch.h"

#include <cstdlib>
#include <fstream>

using namespace moire::rt;
using namespace moire::rt::test;

static int battery(const std::string &file) {
  const Launch l = detectLaunch(0, [](const char *name) { return std::getenv(name); });
  TcpOptions tcp;
  tcp.rank = l.rank;
  tcp.size = l.size;
  tcp.host = l.host;
  tcp.port = l.port;
  Comm comm(l.by == Launch::By::openMpi ? connectMpi(l.size) : connectTcp(tcp),
            Mesh({{"dp", l.size}}), {{0}});
  std::ofstream(file + "." + std::to_string(l.rank), std::ios::binary)
      << Battery(comm, comm.group(0)).run();
  comm.link().finish();
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 2)
    return 1;
  const std::string what = argv[1];
  if (what == "battery") {
    try {
      return battery(argv[2]);
    } catch (const std::exception &e) {
      std::fprintf(stderr, "error: %s\n", e.what());
      return 2;
    }
  }
  argv[1] = argv[0];
  if (const std::string stages = "stages:"; what.compare(0, stages.size(), stages) == 0)
    return trainerMain(argc - 1, argv + 1,
                       StageProgram(placementOf(what.substr(stages.size()))).p);
  const size_t zero = what.find(",zero=");
  const RankProgram program(what,
                            zero == std::string::npos ? 0 : std::atoi(what.c_str() + zero + 6));
  return trainerMain(argc - 1, argv + 1, program.p);
}
