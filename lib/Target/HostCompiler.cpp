//===- HostCompiler.cpp - Builds the trainer with the host's compiler ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "HostCompiler.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/raw_ostream.h"
#include <atomic>
#include <cstdlib>
#include <thread>

using namespace llvm;
using namespace moire::target;
namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

namespace {
/// One run of the compiler.
struct Job {
  std::vector<std::string> command;
  std::string what;   ///< the file it makes or reads
  std::string output; ///< file with what it said
  int status = 0;
  std::string problem; ///< why it could not run
};

/// Set by a signal that wants us to end: the children got it too, or end soon.
std::atomic<bool> interrupted{false};
} // namespace

static void run(Job &job) {
  std::vector<StringRef> arguments(job.command.begin(), job.command.end());
  std::optional<StringRef> redirects[] = {StringRef(""), StringRef(job.output),
                                          StringRef(job.output)};
  job.status = sys::ExecuteAndWait(arguments[0], arguments, std::nullopt, redirects,
                                   /*SecondsToWait=*/0, /*MemoryLimit=*/0, &job.problem);
}

/// Runs all jobs, several at a time; none is started after one has failed.
static void runAll(MutableArrayRef<Job> jobs) {
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  auto work = [&] {
    for (size_t i; !failed && !interrupted && (i = next++) < jobs.size();) {
      run(jobs[i]);
      if (jobs[i].status != 0)
        failed = true;
    }
  };
  size_t count = std::min<size_t>(jobs.size(), std::max(1u, std::thread::hardware_concurrency()));
  std::vector<std::thread> threads;
  for (size_t i = 1; i < count; ++i)
    threads.emplace_back(work);
  work();
  for (std::thread &thread : threads)
    thread.join();
}

/// The last `count` lines.
static std::string lastLines(StringRef text, unsigned count) {
  text = text.rtrim();
  size_t begin = text.size();
  while (count-- && begin != StringRef::npos)
    begin = text.take_front(begin).rfind('\n');
  return text.drop_front(begin == StringRef::npos ? 0 : begin + 1).str();
}

/// Appends what the jobs did to the log; the first that failed, if one did.
static std::optional<CompileFailure> conclude(ArrayRef<Job> jobs, StringRef log) {
  std::error_code ec;
  raw_fd_ostream os(log, ec, fs::CD_OpenAlways, fs::FA_Write, fs::OF_Append);
  std::optional<CompileFailure> failure;
  for (const Job &job : jobs) {
    std::string said;
    if (auto buffer = MemoryBuffer::getFile(job.output))
      said = (*buffer)->getBuffer().str();
    if (!ec)
      os << join(job.command, " ") << "\n" << said << job.problem << "\n";
    if (job.status == 0 || failure)
      continue;
    std::string why = job.problem.empty() ? "exit " + std::to_string(job.status) : job.problem;
    std::string kept = ec ? "" : "; '" + log.str() + "' has all that it said";
    failure = {"the compiler '" + job.command[0] + "' failed on " + job.what + " (" + why + ")" +
                   kept,
               lastLines(said, 8)};
  }
  // A compiler that the same signal stopped is no news.
  if (interrupted)
    failure = {"stopped by a signal before the trainer was compiled", ""};
  return failure;
}

std::optional<CompileFailure> moire::target::compileTrainer(StringRef folder,
                                                            ArrayRef<std::string> sources,
                                                            const Toolchain &tools, StringRef log) {
  fs::remove(log);
  sys::SetInterruptFunction([] { interrupted = true; });

  // 1. Every file; those that take longest first.
  std::string objects = (folder + "/objects").str();
  fs::create_directory(objects);
  std::vector<Job> jobs;
  for (bool kernels : {true, false})
    for (const std::string &source : sources) {
      if (isKernelSource(source) != kernels)
        continue;
      Job job;
      // Of src/seq128/step1.cpp: seq128-step1.
      std::string stem = StringRef(source).rsplit('.').first.split('/').second.str();
      std::replace(stem.begin(), stem.end(), '/', '-');
      stem = objects + "/" + stem;
      job.command = kernels ? tools.kernels : tools.callers;
      llvm::append_range(job.command, std::vector<std::string>{"-c", "-o", stem + ".o",
                                                               (folder + "/" + source).str()});
      job.what = source;
      job.output = stem + ".log";
      jobs.push_back(std::move(job));
    }
  runAll(jobs);
  std::optional<CompileFailure> failure = conclude(jobs, log);

  // 2. The trainer.
  if (!failure) {
    Job link;
    link.command = tools.link;
    llvm::append_range(link.command, std::vector<std::string>{"-o", (folder + "/trainer").str()});
    for (const Job &job : jobs)
      link.command.push_back(StringRef(job.output).drop_back(4).str() + ".o");
    llvm::append_range(link.command, tools.libraries);
    link.what = "the trainer";
    link.output = objects + "/link.log";
    run(link);
    failure = conclude(link, log);
  }
  sys::SetInterruptFunction(nullptr);
  fs::remove_directories(objects);
  if (!failure)
    fs::remove(log);
  return failure;
}
