//===- socket.cpp - Sockets with deadlines --------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "comm/socket.h"
#include "moire/rt/memory.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <thread>

namespace moire::rt {

int millisecondsTo(Deadline deadline) {
  const auto left = deadline - std::chrono::steady_clock::now();
  const int64_t ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
  return int(std::clamp<int64_t>(ms + 1, 0, 3600000));
}

std::string ownAddress() {
  std::string found = "127.0.0.1";
  ifaddrs *list = nullptr;
  if (getifaddrs(&list) != 0)
    return found;
  for (const ifaddrs *i = list; i; i = i->ifa_next) {
    if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !(i->ifa_flags & IFF_UP) ||
        (i->ifa_flags & IFF_LOOPBACK))
      continue;
    char text[INET_ADDRSTRLEN] = {};
    const auto *address = reinterpret_cast<const sockaddr_in *>(i->ifa_addr);
    inet_ntop(AF_INET, &address->sin_addr, text, sizeof text);
    found = text;
    break;
  }
  freeifaddrs(list);
  return found;
}

in_addr resolveHost(const std::string &host) {
  addrinfo hints = {};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo *list = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (error || !list)
    throw RunError("the host '" + host + "' of rank 0 has no IPv4 address (" + gai_strerror(error) +
                   "); set MASTER_ADDR to one that all ranks reach");
  const in_addr address = reinterpret_cast<sockaddr_in *>(list->ai_addr)->sin_addr;
  freeaddrinfo(list);
  return address;
}

namespace {
sockaddr_in addressOf(in_addr host, int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr = host;
  address.sin_port = htons(uint16_t(port));
  return address;
}
void prepare(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}
bool waitFor(int fd, short events, Deadline deadline) {
  pollfd p = {fd, events, 0};
  int n;
  do
    n = poll(&p, 1, millisecondsTo(deadline));
  while (n < 0 && errno == EINTR);
  return n > 0;
}
} // namespace

Socket listenAt(in_addr host, int port) {
  Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const bool loopback = (ntohl(host.s_addr) >> 24) == 127;
  const sockaddr_in address = addressOf(loopback ? host : in_addr{htonl(INADDR_ANY)}, port);
  if (!socket || bind(socket.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) ||
      listen(socket.get(), SOMAXCONN))
    throw RunError("rank 0 cannot listen at port " + std::to_string(port) + ": " +
                   std::strerror(errno) + "; set MASTER_PORT to a free one");
  prepare(socket.get());
  return socket;
}

int portOf(const Socket &listener) {
  sockaddr_in address = {};
  socklen_t length = sizeof address;
  getsockname(listener.get(), reinterpret_cast<sockaddr *>(&address), &length);
  return ntohs(address.sin_port);
}

Socket connectTo(in_addr host, int port, Deadline deadline) {
  const sockaddr_in address = addressOf(host, port);
  while (std::chrono::steady_clock::now() < deadline) {
    Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    prepare(socket.get());
    int error = 0;
    if (connect(socket.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address)) {
      error = errno;
      if (error == EINPROGRESS && waitFor(socket.get(), POLLOUT, deadline)) {
        socklen_t length = sizeof error;
        getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &length);
      }
    }
    // A port of one's own that nobody listens at can be connected to itself.
    sockaddr_in own = {};
    socklen_t length = sizeof own;
    getsockname(socket.get(), reinterpret_cast<sockaddr *>(&own), &length);
    const bool itself =
        own.sin_port == address.sin_port && own.sin_addr.s_addr == address.sin_addr.s_addr;
    if (error == 0 && !itself)
      return socket;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return {};
}

Socket acceptFrom(const Socket &listener, in_addr *from) {
  sockaddr_in address = {};
  socklen_t length = sizeof address;
  Socket socket(
      accept4(listener.get(), reinterpret_cast<sockaddr *>(&address), &length, SOCK_CLOEXEC));
  if (socket) {
    prepare(socket.get());
    *from = address.sin_addr;
  }
  return socket;
}

bool sendAll(const Socket &socket, const void *data, int64_t bytes, Deadline deadline) {
  auto *at = static_cast<const char *>(data);
  while (bytes > 0) {
    const ssize_t n = send(socket.get(), at, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      at += n;
      bytes -= n;
    } else if (errno == EAGAIN || errno == EINTR) {
      if (!waitFor(socket.get(), POLLOUT, deadline))
        return false;
    } else {
      return false;
    }
  }
  return true;
}

bool receiveAll(const Socket &socket, void *data, int64_t bytes, Deadline deadline) {
  auto *at = static_cast<char *>(data);
  while (bytes > 0) {
    const ssize_t n = recv(socket.get(), at, bytes, MSG_DONTWAIT);
    if (n > 0) {
      at += n;
      bytes -= n;
    } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (!waitFor(socket.get(), POLLIN, deadline))
        return false;
    } else {
      return false;
    }
  }
  return true;
}

} // namespace moire::rt
