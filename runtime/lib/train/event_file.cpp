//===- event_file.cpp - Scalars for TensorBoard -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/event_file.h"
#include "moire/rt/context.h"
#include "train/wire_writer.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <unistd.h>

namespace moire::rt {

uint32_t crc32c(const std::string &bytes) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t;
    for (uint32_t i = 0; i < 256; ++i) {
      t[i] = i;
      for (int bit = 0; bit < 8; ++bit)
        t[i] = t[i] >> 1 ^ (t[i] & 1 ? 0x82f63b78u : 0); // the polynomial, reflected
    }
    return t;
  }();
  uint32_t crc = ~0u;
  for (const char c : bytes)
    crc = crc >> 8 ^ table[(crc ^ static_cast<unsigned char>(c)) & 255];
  return ~crc;
}

/// A record may hold CRCs: its own is of another kind.
static uint32_t masked(uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8u; }

template <typename T> static std::string little(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

static double wallTime() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

EventFile::EventFile(const std::string &folder, int64_t done) : folder(folder) {
  auto refuse = [&](const std::string &why) {
    throw InputError("cannot write --tensorboard '" + folder + "': " + why);
  };
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    refuse(error.message());
  char host[256] = "localhost";
  gethostname(host, sizeof host - 1);
  // TensorBoard reads a folder's files in the order of their names.
  const std::string stem = folder + "/events.out.tfevents." + std::to_string(int64_t(wallTime())) +
                           "." + host + "." + std::to_string(getpid()) + ".";
  for (int number = 0; !file; ++number) {
    file = std::fopen((stem + std::to_string(number)).c_str(), "wxb");
    if (!file && errno != EEXIST)
      refuse(std::strerror(errno));
  }
  record(WireWriter().number(1, wallTime()).bytes(3, "brain.Event:2").str());
  if (done > 0)
    record(WireWriter()
               .number(1, wallTime())
               .integer(2, done + 1)
               .bytes(7, WireWriter().integer(1, 1).str())
               .str());
}

EventFile::~EventFile() { std::fclose(file); }

void EventFile::record(const std::string &bytes) {
  const std::string length = little(uint64_t(bytes.size()));
  const std::string text =
      length + little(masked(crc32c(length))) + bytes + little(masked(crc32c(bytes)));
  std::fwrite(text.data(), 1, text.size(), file);
  if (std::fflush(file) != 0)
    throw RunError("cannot write --tensorboard '" + folder + "': " + std::strerror(errno));
}

void EventFile::add(int64_t step, const std::vector<Scalar> &scalars) {
  WireWriter summary;
  for (const Scalar &s : scalars)
    summary.bytes(1, WireWriter().bytes(1, s.tag).number(2, float(s.value)).str());
  record(WireWriter().number(1, wallTime()).integer(2, step).bytes(5, summary.str()).str());
}

} // namespace moire::rt
