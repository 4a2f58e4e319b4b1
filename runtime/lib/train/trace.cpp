//===- trace.cpp - What a rank did when ------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/trace.h"
#include "train/gather.h"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <utility>

namespace moire::rt {

namespace {
/// A JSON string; what a node is called may hold anything.
std::string quoted(const std::string &text) {
  std::string result = "\"";
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20)
      continue;
    if (c == '"' || c == '\\')
      result += '\\';
    result += c;
  }
  return result + "\"";
}

std::string microseconds(double seconds) {
  char text[40];
  std::snprintf(text, sizeof text, "%.3f", seconds * 1e6);
  return text;
}
} // namespace

double Trace::now() {
  return std::chrono::duration<double>(Transport::Clock::now().time_since_epoch()).count();
}

Trace::Trace(const std::string &path, Comm *comm) : path(path), comm(comm), met(now()) {
  if (!comm || comm->rank() == 0) {
    file = std::fopen(path.c_str(), "w");
    if (!file)
      throw InputError("cannot write --trace '" + path + "': " + std::strerror(errno));
  }
  if (comm)
    comm->observer = [this](const char *what, double begin, double end) {
      add(collectives, what, begin, end);
    };
}

Trace::~Trace() {
  if (comm)
    comm->observer = nullptr;
  if (file)
    std::fclose(file);
}

void Trace::add(Row row, const std::string &name, double begin, double end,
                const std::string &args) {
  if (!on)
    return;
  std::lock_guard<std::mutex> hold(lock);
  events.push_back({row, begin, end, name, args});
}

void Trace::beginNode(const char *name) {
  endNode();
  if (!on)
    return;
  openNode = name;
  nodeBegin = now();
}

void Trace::endNode() {
  if (openNode)
    add(tasks, std::exchange(openNode, nullptr), nodeBegin, now());
}

std::string Trace::textOf(double origin) const {
  const int rank = comm ? comm->rank() : 0;
  const std::string pid = std::to_string(rank);
  std::string where, coordinates;
  if (comm)
    for (const char *axis : {"pp", "dp", "ep", "tp"})
      for (int number : comm->mesh.axesNamed(axis)) {
        const std::string at = std::to_string(comm->axisIndex(number));
        where += (where.empty() ? " (" : ", ") + std::string(axis) + " " + at;
        coordinates += ", \"" + std::string(axis) + "\": " + at;
      }
  std::string text = "{\"ph\": \"M\", \"name\": \"process_name\", \"pid\": " + pid +
                     ", \"args\": {\"name\": \"rank " + pid + where + (where.empty() ? "" : ")") +
                     "\"" + coordinates + "}}";
  const char *const names[] = {"steps", "tasks", "waits for messages", "messages", "collectives"};
  for (int row = steps; row <= collectives; ++row)
    text += ",\n{\"ph\": \"M\", \"name\": \"thread_name\", \"pid\": " + pid +
            ", \"tid\": " + std::to_string(row) + ", \"args\": {\"name\": \"" + names[row] + "\"}}";
  for (const Event &e : events)
    text += ",\n{\"ph\": \"X\", \"name\": " + quoted(e.name) + ", \"pid\": " + pid +
            ", \"tid\": " + std::to_string(e.row) + ", \"ts\": " + microseconds(e.begin - origin) +
            ", \"dur\": " + microseconds(e.end - e.begin) +
            (e.args.empty() ? "" : ", \"args\": " + e.args) + "}";
  return text;
}

void Trace::write() {
  on = false;
  double origin = met;
  if (comm) {
    // Ranks of one machine have one clock. Those of others would be off by much more than
    // their meeting took.
    const Group all = comm->groupOver("pp,dp,ep,tp");
    std::vector<double> meetings(all.size());
    comm->allGather(all, "the clocks of ranks", &met, meetings.data(), 1, sizeof met);
    if (std::abs(met - meetings[0]) < 10)
      origin = meetings[0];
  }
  const std::vector<std::string> texts = gatherTexts(comm, textOf(origin), "the traces of ranks");
  if (!file)
    return;
  std::fputs("{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n", file);
  for (size_t rank = 0; rank < texts.size(); ++rank) {
    std::fputs(rank ? ",\n" : "", file);
    std::fwrite(texts[rank].data(), 1, texts[rank].size(), file);
  }
  std::fputs("\n]}\n", file);
  closeWritten(file, "--trace", path);
}

} // namespace moire::rt
