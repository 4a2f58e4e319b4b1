//===- progress.cpp - The line that a person watches ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/progress.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vector>

namespace moire::rt {

namespace {
/// Seconds between two writes of a terminal's line.
constexpr double kPause = 0.1;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

__attribute__((format(printf, 1, 2))) std::string format(const char *text, ...) {
  char buffer[128];
  va_list arguments;
  va_start(arguments, text);
  std::vsnprintf(buffer, sizeof buffer, text, arguments);
  va_end(arguments);
  return buffer;
}

std::string duration(double seconds) {
  const auto s = int64_t(std::llround(seconds));
  const int64_t days = s / 86400, hours = s / 3600 % 24, minutes = s / 60 % 60;
  if (days)
    return format("%lldd %02lldh", (long long)days, (long long)hours);
  if (hours)
    return format("%lld:%02lld:%02lld", (long long)hours, (long long)minutes, (long long)(s % 60));
  return format("%lld:%02lld", (long long)minutes, (long long)(s % 60));
}

std::string utilization(const StepRecord &r) {
  std::string text = format("mfu %.1f%%", 100 * *r.mfu);
  // Where the program computes as much as the model says, once is enough.
  if (r.hfu && *r.hfu > *r.mfu * 1.0005)
    text += format(" (hfu %.1f%%)", 100 * *r.hfu);
  return text;
}

/// 0 where it is not known.
int widthOfTerminal() {
  winsize size = {};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}
} // namespace

std::string sizeText(int64_t bytes) {
  if (bytes >= 1000000000)
    return format("%.2f GB", double(bytes) * 1e-9);
  if (bytes >= 1000000)
    return format("%.1f MB", double(bytes) * 1e-6);
  return format("%.1f kB", double(bytes) * 1e-3);
}

std::string ProgressLine::text(const StepRecord &r, int64_t steps, double secondsLeft, int width) {
  struct Field {
    std::string text;
    int rank; ///< the highest is left out first
  };
  std::vector<Field> fields = {{format("step %lld/%lld", (long long)r.step, (long long)steps), 0},
                               {format("loss %.4f", r.loss), 0},
                               {format("lr %.3g", r.lr), 4},
                               {format("norm %.3g", r.gradNorm), 3},
                               {format("%.0f tok/s", r.tokensPerSecond), 2}};
  if (r.seq)
    fields.push_back({format("seq %lld", (long long)r.seq), 4});
  if (r.mfu)
    fields.push_back({utilization(r), 5});
  if (r.memory)
    fields.push_back({"mem " + sizeText(r.memory) +
                          (r.memoryPeak > r.memory ? " (peak " + sizeText(r.memoryPeak) + ")" : ""),
                      6});
  if (secondsLeft >= 0 && r.step < steps)
    fields.push_back({"eta " + duration(secondsLeft), 1});
  auto whole = [&] {
    std::string line;
    for (const Field &field : fields)
      line += (line.empty() ? "" : "  ") + field.text;
    return line;
  };
  std::string line = whole();
  while (width > 0 && int(line.size()) > width) {
    auto least = std::max_element(fields.begin(), fields.end(),
                                  [](const Field &a, const Field &b) { return a.rank < b.rank; });
    if (least->rank == 0)
      return line.substr(0, size_t(width));
    fields.erase(least);
    line = whole();
  }
  return line;
}

ProgressLine::ProgressLine(int64_t steps) : steps(steps), terminal(isatty(STDERR_FILENO)) {}

void ProgressLine::close() {
  if (open)
    std::fputc('\n', stderr);
  open = false;
}

void ProgressLine::step(const StepRecord &r) {
  const double time = now();
  const bool isFirst = first == 0, last = r.step == steps;
  if (isFirst) {
    first = r.step;
    begin = time;
  }
  const int64_t every = std::max<int64_t>(1, steps / 20);
  if (terminal ? !last && shown >= 0 && time - shown < kPause
               : !isFirst && !last && r.step % every != 0)
    return;
  shown = time;
  // The first step touches memory for the first time: it tells little of the others.
  const double each = isFirst ? r.seconds : (time - begin) / double(r.step - first);
  const double left = each * double(steps - r.step);
  if (!terminal) {
    std::fprintf(stderr, "%s\n", text(r, steps, left, 0).c_str());
    return;
  }
  // The last column stays free: in it some terminals begin a new line.
  const int columns = widthOfTerminal();
  std::fprintf(stderr, "\r%s\033[K", text(r, steps, left, columns ? columns - 1 : 79).c_str());
  open = true;
}

} // namespace moire::rt
