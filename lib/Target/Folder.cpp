//===- Folder.cpp - An output folder that appears whole or not at all ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Folder.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace moire::target;
namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

template <typename... Ts> static Error error(const char *format, Ts &&...values) {
  return createStringError(inconvertibleErrorCode(), "%s",
                           formatv(format, std::forward<Ts>(values)...).str().c_str());
}

static std::string inside(const Twine &a, const Twine &b) {
  SmallString<256> result;
  path::append(result, a, b);
  return result.str().str();
}

/// What Moiré writes at the top of a folder.
static bool isOurs(StringRef name) {
  static const llvm::StringSet<> names = {"src",      "runtime",     "program.mlir", "params.json",
                                    "trainer",  "CMakeLists.txt", "Makefile",  "plan.toml",
                                    "plan.mlir", kMarkerFile};
  return names.contains(name);
}

static std::vector<std::string> entries(StringRef folder) {
  std::vector<std::string> result;
  std::error_code ec;
  for (fs::directory_iterator it(folder, ec), end; it != end && !ec; it.increment(ec))
    result.push_back(path::filename(it->path()).str());
  llvm::sort(result);
  return result;
}

static bool hasMarker(StringRef folder) {
  auto buffer = MemoryBuffer::getFile(inside(folder, kMarkerFile));
  if (!buffer)
    return false;
  auto value = json::parse((*buffer)->getBuffer());
  if (!value) {
    consumeError(value.takeError());
    return false;
  }
  return value->getAsObject() && value->getAsObject()->get(kMarkerKey);
}

Expected<std::unique_ptr<OutputFolder>> OutputFolder::create(StringRef name) {
  StringRef wanted = name.rtrim('/');
  if (wanted.empty())
    return error("output folder '{0}' cannot be replaced; give another one with -o", name);
  // 1. Nothing there, nothing in it, or our own.
  fs::file_status status;
  fs::status(wanted, status);
  if (fs::exists(status) && !fs::is_directory(status))
    return error("output '{0}' is a file but must be a folder; give another name with -o", wanted);
  if (fs::exists(status)) {
    auto names = entries(wanted);
    if (!names.empty() && !hasMarker(wanted))
      return error("output folder '{0}' holds '{1}', which Moiré did not write; give another "
                   "folder with -o, or empty this one",
                   wanted, names.front());
  }
  // 2. A sibling, so that a rename is enough in the end.
  StringRef parent = path::parent_path(wanted);
  if (!parent.empty())
    if (std::error_code ec = fs::create_directories(parent))
      return error("cannot make the folder '{0}': {1}", parent, ec.message());
  SmallString<256> temporary;
  fs::createUniquePath(wanted + ".partial-%%%%%%", temporary, /*MakeAbsolute=*/false);
  if (std::error_code ec = fs::create_directory(temporary, /*IgnoreExisting=*/false))
    return error("cannot make the folder '{0}': {1}", wanted, ec.message());
  return std::unique_ptr<OutputFolder>(new OutputFolder(wanted.str(), temporary.str().str()));
}

OutputFolder::~OutputFolder() {
  if (!committed)
    fs::remove_directories(temporary);
}

Error OutputFolder::write(StringRef name, StringRef text) {
  std::string file = inside(temporary, name);
  std::error_code ec = fs::create_directories(path::parent_path(file));
  if (!ec) {
    raw_fd_ostream os(file, ec);
    if (!ec) {
      os << text;
      os.close();
      ec = os.error();
      os.clear_error();
    }
  }
  if (ec)
    return error("cannot write '{0}/{1}': {2}", wanted, name, ec.message());
  return Error::success();
}

Error OutputFolder::copyFile(StringRef from, StringRef to) {
  auto buffer = MemoryBuffer::getFile(from);
  if (!buffer)
    return error("cannot read '{0}': {1}", from, buffer.getError().message());
  return write(to, (*buffer)->getBuffer());
}

Error OutputFolder::copyTree(StringRef from, StringRef to) {
  std::error_code ec;
  for (fs::recursive_directory_iterator it(from, ec), end; it != end && !ec; it.increment(ec)) {
    StringRef file = it->path(), extension = path::extension(file);
    if (extension == ".h" || extension == ".cpp" || extension == ".cuh" || extension == ".cu")
      if (Error e = copyFile(file, inside(to, file.drop_front(from.size()).ltrim('/'))))
        return e;
  }
  if (ec)
    return error("cannot read the folder '{0}': {1}", from, ec.message());
  return Error::success();
}

Error OutputFolder::commit() {
  std::string old;
  if (fs::exists(wanted)) {
    old = temporary + ".old";
    if (std::error_code ec = fs::rename(wanted, old))
      return error("cannot replace the folder '{0}': {1}", wanted, ec.message());
  }
  if (std::error_code ec = fs::rename(temporary, wanted)) {
    if (!old.empty())
      fs::rename(old, wanted);
    return error("cannot make the folder '{0}': {1}", wanted, ec.message());
  }
  committed = true;
  if (old.empty())
    return Error::success();
  // Logs, checkpoints: not ours to delete.
  for (const std::string &name : entries(old))
    if (!isOurs(name))
      fs::rename(inside(old, name), inside(wanted, name));
  fs::remove_directories(old);
  return Error::success();
}
