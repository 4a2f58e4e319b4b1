//===- Processes.h - Ranks as processes, for tests ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RUNTIME_PROCESSES_H
#define MOIRE_RUNTIME_PROCESSES_H

#include "FileUtil.h"
#include "comm/socket.h"

#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <stdexcept>
#include <sys/wait.h>
#include <thread>

extern char **environ;

namespace moire::rt::test {

/// A port at which nobody listens now.
inline int freePort() {
  in_addr loopback = {};
  loopback.s_addr = htonl(INADDR_LOOPBACK);
  return portOf(listenAt(loopback, 0));
}

/// Processes that are told their ranks as torchrun does. What still runs at the end is
/// killed, by its id.
class Processes {
public:
  struct Ended {
    int code = -1; ///< 128 + the signal where one ended it; -1: it still runs
    std::string err, out;
  };

  /// Starts `count` times the arguments; rank i gets RANK=i of `size` ranks.
  Processes(const std::vector<std::string> &arguments, int count, int size, int port,
            const std::vector<std::string> &variables = {}) {
    for (int rank = 0; rank < count; ++rank)
      start(arguments, rank, size, port, variables);
  }
  ~Processes() {
    for (pid_t pid : pids)
      if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
      }
  }

  void start(const std::vector<std::string> &arguments, int rank, int size, int port,
             const std::vector<std::string> &variables) {
    std::vector<std::string> env = variables;
    if (size > 0)
      for (auto [name, value] : {std::pair("RANK", rank),
                                 {"WORLD_SIZE", size},
                                 {"LOCAL_RANK", rank},
                                 {"LOCAL_WORLD_SIZE", size},
                                 {"MASTER_PORT", port}})
        env.push_back(std::string(name) + "=" + std::to_string(value));
    env.push_back("MASTER_ADDR=127.0.0.1");
    for (char **e = environ; *e; ++e)
      env.push_back(*e);
    std::vector<char *> argv, envp;
    for (const std::string &a : arguments)
      argv.push_back(const_cast<char *>(a.c_str()));
    for (const std::string &e : env)
      envp.push_back(const_cast<char *>(e.c_str()));
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    posix_spawn_file_actions_addopen(&files, 1, output(pids.size(), "out").c_str(), flags, 0600);
    posix_spawn_file_actions_addopen(&files, 2, output(pids.size(), "err").c_str(), flags, 0600);
    pid_t pid = -1;
    const int error = posix_spawnp(&pid, argv[0], &files, nullptr, argv.data(), envp.data());
    posix_spawn_file_actions_destroy(&files);
    if (error)
      throw std::runtime_error("cannot start '" + arguments[0] + "': " + std::strerror(error));
    pids.push_back(pid);
    ended.emplace_back();
  }

  pid_t pid(int index) const { return pids[index]; }
  void signal(int index, int number) {
    if (pids[index] > 0) // -1 would be every process
      kill(pids[index], number);
  }

  /// Waits until process `index` has written `text` to stderr.
  void awaitText(int index, const std::string &text) {
    const Deadline until = after(30);
    while (read(output(index, "err")).find(text) == std::string::npos) {
      ASSERT_LT(std::chrono::steady_clock::now(), until) << text << " never came";
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  /// Waits until all but `except` have ended, at most so long.
  std::vector<Ended> wait(double seconds, int except = -1) {
    const Deadline until = after(seconds);
    for (;;) {
      bool open = false;
      for (size_t i = 0; i < pids.size(); ++i) {
        int status = 0;
        if (pids[i] > 0 && waitpid(pids[i], &status, WNOHANG) == pids[i]) {
          ended[i].code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
          pids[i] = -1;
        }
        open = open || (pids[i] > 0 && int(i) != except);
      }
      if (!open || std::chrono::steady_clock::now() > until)
        break;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    for (size_t i = 0; i < pids.size(); ++i) {
      ended[i].err = read(output(i, "err"));
      ended[i].out = read(output(i, "out"));
    }
    return ended;
  }

  TempFolder dir;

private:
  std::string output(size_t index, const char *what) const {
    return dir / (std::to_string(index) + "." + what);
  }
  std::vector<pid_t> pids;
  std::vector<Ended> ended;
};

} // namespace moire::rt::test

#endif
