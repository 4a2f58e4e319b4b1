//===- meeting_file.h - Where rank 0 listens, through a shared file -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_COMM_MEETING_FILE_H
#define MOIRE_RT_COMM_MEETING_FILE_H

#include <string>

namespace moire::rt {

/// For clusters whose launcher tells ranks their numbers but not where rank 0 is. Rank 0
/// writes "ADDRESS PORT" into `path`, which must not exist; all others wait for it, for
/// at most `seconds`. address: rank 0's, empty: its first that others can reach. Throws InputError
/// where it exists already or cannot be written, RunError where nobody wrote it.
class MeetingFile {
public:
  MeetingFile(std::string path, int rank, double seconds, const std::string &address = "");
  /// Rank 0's removes the file.
  ~MeetingFile();
  MeetingFile(const MeetingFile &) = delete;

  std::string host;
  int port = 0;

private:
  void write(const std::string &address);
  void read(double seconds);
  std::string path;
  bool isMine = false;
};

} // namespace moire::rt

#endif // MOIRE_RT_COMM_MEETING_FILE_H
