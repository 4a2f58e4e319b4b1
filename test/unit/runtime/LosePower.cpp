//===- LosePower.cpp - A machine that fails under a trainer ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Preloaded into a trainer (LD_PRELOAD) by utils/check-resume.py: it counts the calls that change
// what is under LOSE_FOLDER, and at number LOSE_AT, by LOSE_MODE,
//
//   kill    the process gets SIGKILL
//   power   before that goes what no fsync() has put onto the disk: contents of files, names of
//           files in their folders, renames; each of them or not, by LOSE_SEED
//   full    from then on the disk has no room
//
// LOSE_FAULT makes a trainer out of a right one that no longer is: `sync` leaves out every fsync(),
// `rename` writes a checkpoint under its final name.
//
//===----------------------------------------------------------------------===//

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdlib>
#include <dlfcn.h>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace {
namespace fs = std::filesystem;

template <typename Function> Function *real(const char *name) {
  return reinterpret_cast<Function *>(dlsym(RTLD_NEXT, name));
}

std::string variable(const char *name) {
  const char *text = std::getenv(name);
  return text ? text : "";
}

struct Disk {
  const std::string folder = variable("LOSE_FOLDER"), mode = variable("LOSE_MODE"),
                    fault = variable("LOSE_FAULT");
  const long at = std::atol(variable("LOSE_AT").c_str());
  std::mt19937 random{unsigned(std::atol(variable("LOSE_SEED").c_str()))};
  std::recursive_mutex lock;
  long calls = 0;
  bool failing = false; ///< what follows is not the trainer's
  std::map<int, std::string> open;
  std::set<std::string> dirty; ///< files with contents that are not on the disk
  std::set<std::string> names; ///< files and folders whose name is not
  std::vector<std::pair<std::string, std::string>> renames; ///< that are not
  std::string current; ///< with the fault `rename`: the checkpoint that is being written

  bool watches(const std::string &path) const {
    return !failing && !folder.empty() && path.compare(0, folder.size(), folder) == 0;
  }
  std::string place(std::string path) const {
    if (const size_t temporary = path.find(".tmp-step-");
        fault == "rename" && temporary != std::string::npos)
      path.erase(temporary, 5);
    return path;
  }
  static std::string parent(const std::string &path) { return fs::path(path).parent_path(); }

  /// One more call. False: the disk is full.
  bool call() {
    ++calls;
    if (calls >= at && mode == "full")
      return false;
    if (calls == at && mode == "power")
      lose();
    if (calls == at && (mode == "power" || mode == "kill"))
      kill(getpid(), SIGKILL);
    return true;
  }

  void lose() {
    failing = true;
    std::error_code none;
    for (const std::string &file : dirty)
      if (const auto size = fs::file_size(file, none); !none && random() % 4)
        fs::resize_file(file, size ? random() % size : 0, none);
    for (const std::string &name : names)
      if (random() % 2)
        fs::remove_all(name, none);
    for (auto it = renames.rbegin(); it != renames.rend(); ++it)
      if (random() % 2 && fs::exists(it->second, none) && !fs::exists(it->first, none))
        fs::rename(it->second, it->first, none);
  }

  void synced(const std::string &path) {
    if (fault == "sync")
      return;
    dirty.erase(path);
    for (auto it = names.begin(); it != names.end();)
      it = parent(*it) == path ? names.erase(it) : std::next(it);
    renames.erase(std::remove_if(renames.begin(), renames.end(),
                                 [&](auto &r) { return parent(r.second) == path; }),
                  renames.end());
  }

  void renamed(const std::string &from, const std::string &to) {
    for (std::set<std::string> *all : {&dirty, &names}) {
      std::set<std::string> moved;
      for (const std::string &path : *all)
        moved.insert(path == from || path.compare(0, from.size() + 1, from + "/") == 0
                         ? to + path.substr(from.size())
                         : path);
      *all = moved;
    }
    renames.emplace_back(from, to);
  }
};

Disk &disk() {
  static Disk *d = new Disk; // used until the last moment
  return *d;
}
using Hold = std::lock_guard<std::recursive_mutex>;

int full() {
  errno = ENOSPC;
  return -1;
}
} // namespace

extern "C" {

int open(const char *path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
  va_end(list);
  static const auto next = real<int(const char *, int, ...)>("open");
  Disk &d = disk();
  Hold hold(d.lock);
  if (!d.watches(path) && path != d.parent(d.folder)) // which is synced for the folder's own name
    return next(path, flags, mode);
  if ((flags & O_CREAT) && !d.call())
    return full();
  const std::string at = d.place(path);
  const int file = next(at.c_str(), flags, mode);
  if (file >= 0) {
    d.open[file] = at;
    if (flags & O_CREAT) {
      d.dirty.insert(at);
      d.names.insert(at);
    }
  }
  return file;
}

int close(int file) {
  static const auto next = real<int(int)>("close");
  Disk &d = disk();
  Hold hold(d.lock);
  d.open.erase(file);
  return next(file);
}

ssize_t pwrite(int file, const void *data, size_t bytes, off_t at) {
  static const auto next = real<ssize_t(int, const void *, size_t, off_t)>("pwrite");
  Disk &d = disk();
  Hold hold(d.lock);
  if (const auto it = d.open.find(file); it != d.open.end() && d.watches(it->second)) {
    if (!d.call())
      return full();
    d.dirty.insert(it->second);
  }
  return next(file, data, bytes, at);
}

int posix_fallocate(int file, off_t at, off_t bytes) {
  static const auto next = real<int(int, off_t, off_t)>("posix_fallocate");
  Disk &d = disk();
  Hold hold(d.lock);
  if (const auto it = d.open.find(file); it != d.open.end() && d.watches(it->second) && !d.call())
    return ENOSPC;
  return next(file, at, bytes);
}

int fsync(int file) {
  static const auto next = real<int(int)>("fsync");
  Disk &d = disk();
  Hold hold(d.lock);
  const auto it = d.open.find(file);
  if (it == d.open.end() || d.failing)
    return next(file);
  d.call(); // before it is done
  d.synced(it->second);
  return 0; // to the disk of this model; the real one need not
}

int mkdir(const char *path, mode_t mode) {
  static const auto next = real<int(const char *, mode_t)>("mkdir");
  Disk &d = disk();
  Hold hold(d.lock);
  if (!d.watches(path))
    return next(path, mode);
  if (!d.call())
    return full();
  const std::string at = d.place(path);
  if (at != path)
    d.current = at;
  d.names.insert(at);
  return next(at.c_str(), mode);
}

int rename(const char *from, const char *to) {
  static const auto next = real<int(const char *, const char *)>("rename");
  Disk &d = disk();
  Hold hold(d.lock);
  if (!d.watches(from))
    return next(from, to);
  d.call();
  const std::string begin = d.place(from);
  if (begin == to || begin == d.current) // the faulty one has the name already
    return 0;
  const int result = next(begin.c_str(), to);
  if (result == 0)
    d.renamed(begin, to);
  return result;
}

/// Of std::filesystem::remove_all(): a moment to die like others.
int unlinkat(int folder, const char *path, int flags) {
  static const auto next = real<int(int, const char *, int)>("unlinkat");
  Disk &d = disk();
  Hold hold(d.lock);
  if (!d.failing && !d.folder.empty())
    if (d.mode != "full")
      d.call();
  return next(folder, path, flags);
}

} // extern "C"
