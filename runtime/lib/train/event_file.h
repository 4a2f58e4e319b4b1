//===- event_file.h - Scalars for TensorBoard -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// events.out.tfevents.*: records of TensorFlow's TFRecord format, each
//
//   uint64 length, uint32 masked CRC of it, the bytes, uint32 masked CRC of them
//
// in little-endian order. The bytes are a tensorflow.Event (tensorflow/core/util/event.proto):
//
//   double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5;
//   SessionLog session_log = 7;  SessionLog { enum { START = 1 } status = 1; }
//   Summary { repeated Value value = 1; }  Value { string tag = 1; float simple_value = 2; }
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_EVENT_FILE_H
#define MOIRE_RT_EVENT_FILE_H

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace moire::rt {

/// CRC-32C (Castagnoli, RFC 3720, B.4).
uint32_t crc32c(const std::string &bytes);

class EventFile {
public:
  /// Makes the folder where there is none, and a new file in it. done: steps of the run that this
  /// one goes on from; what other files of the folder say of later ones counts no more. Throws
  /// InputError where that cannot be.
  EventFile(const std::string &folder, int64_t done);
  ~EventFile();
  EventFile(const EventFile &) = delete;

  struct Scalar {
    std::string tag;
    double value;
  };
  void add(int64_t step, const std::vector<Scalar> &scalars);

private:
  void record(const std::string &bytes);

  const std::string folder;
  std::FILE *file = nullptr;
};

} // namespace moire::rt

#endif // MOIRE_RT_EVENT_FILE_H
