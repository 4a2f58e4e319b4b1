//===- meeting_file.cpp - Where rank 0 listens, through a shared file -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "comm/meeting_file.h"
#include "comm/socket.h"
#include "moire/rt/memory.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <thread>
#include <unistd.h>

namespace moire::rt {

MeetingFile::MeetingFile(std::string file, int rank, double seconds, const std::string &address)
    : path(std::move(file)) {
  if (rank == 0)
    write(address);
  else
    read(seconds);
}

MeetingFile::~MeetingFile() {
  if (isMine)
    unlink(path.c_str());
}

void MeetingFile::write(const std::string &address) {
  host = address.empty() ? ownAddress() : address;
  port = portOf(listenAt(resolveHost(host), 0)); // free now, and soon taken again
  // Whole or not at all: a link does not replace what is there, and others never see half.
  const std::string text = host + " " + std::to_string(port) + "\n",
                    half = path + "." + std::to_string(getpid());
  std::ofstream(half) << text;
  const bool linked = link(half.c_str(), path.c_str()) == 0;
  const int error = errno;
  unlink(half.c_str());
  if (!linked && error == EEXIST)
    throw InputError("--rendezvous '" + path +
                     "' is there already, perhaps of a run that was lost; remove it, or name "
                     "another file");
  if (!linked)
    throw InputError("--rendezvous '" + path + "' cannot be written: " + std::strerror(error));
  isMine = true;
}

void MeetingFile::read(double seconds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!(std::ifstream(path) >> host >> port)) {
    if (std::chrono::steady_clock::now() > until) {
      char text[32];
      std::snprintf(text, sizeof text, "%g", seconds);
      throw RunError("rank 0 did not write --rendezvous '" + path + "' within " + text +
                     " s; start all ranks with the same file on a file system that all see, or "
                     "raise --comm-timeout");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

} // namespace moire::rt
