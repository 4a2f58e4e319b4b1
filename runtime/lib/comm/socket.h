//===- socket.h - Sockets with deadlines ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_COMM_SOCKET_H
#define MOIRE_RT_COMM_SOCKET_H

#include <chrono>
#include <cstdint>
#include <netinet/in.h>
#include <string>
#include <unistd.h>
#include <utility>

namespace moire::rt {

using Deadline = std::chrono::steady_clock::time_point;
inline Deadline after(double seconds) {
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(
             std::chrono::duration<double>(seconds));
}
/// For poll(): at least 0; rounded up, so that a wait ends after the deadline.
int millisecondsTo(Deadline deadline);

/// A file descriptor that is closed at the end.
class Socket {
public:
  Socket() = default;
  explicit Socket(int fd) : fd(fd) {}
  Socket(Socket &&other) noexcept : fd(std::exchange(other.fd, -1)) {}
  Socket &operator=(Socket &&other) noexcept {
    std::swap(fd, other.fd);
    return *this;
  }
  ~Socket() {
    if (fd >= 0)
      close(fd);
  }
  int get() const { return fd; }
  explicit operator bool() const { return fd >= 0; }

private:
  int fd = -1;
};

/// This machine's first address that others can reach; the loopback's where there is none.
std::string ownAddress();
/// IPv4 address of a host name. Throws RunError where there is none.
in_addr resolveHost(const std::string &host);
/// Listens; port 0: any free one. On the loopback device alone where the address is
/// there, else on all. Throws RunError, with the system's reason.
Socket listenAt(in_addr address, int port);
int portOf(const Socket &listener);
/// Tries until somebody listens there or the deadline: then it is empty.
Socket connectTo(in_addr address, int port, Deadline deadline);
/// Accepts one connection if there is one.
Socket acceptFrom(const Socket &listener, in_addr *from);

/// All bytes or false: closed, failed or late.
bool sendAll(const Socket &socket, const void *data, int64_t bytes, Deadline deadline);
bool receiveAll(const Socket &socket, void *data, int64_t bytes, Deadline deadline);

} // namespace moire::rt

#endif // MOIRE_RT_COMM_SOCKET_H
