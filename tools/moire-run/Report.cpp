//===- Report.cpp - What moire-run prints and compares -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Report.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace moire::interp;

//===----------------------------------------------------------------------===//
// Printing
//===----------------------------------------------------------------------===//

static void printElement(llvm::raw_ostream &os, const Tensor &tensor, int64_t i) {
  if (tensor.isFloat())
    os << llvm::format("%.6g", tensor.floats()[i]);
  else if (tensor.elementType().isInteger(1))
    os << (tensor.ints()[i] ? "true" : "false");
  else
    os << tensor.ints()[i];
}

/// Nested brackets, as in a dense attribute.
static void printNested(llvm::raw_ostream &os, const Tensor &tensor, int64_t dim, int64_t &next) {
  if (dim == tensor.rank())
    return printElement(os, tensor, next++);
  os << "[";
  for (int64_t i = 0; i < tensor.shape()[dim]; ++i) {
    if (i)
      os << ", ";
    printNested(os, tensor, dim + 1, next);
  }
  os << "]";
}

static void printStatistics(llvm::raw_ostream &os, const Tensor &tensor) {
  dispatch(tensor, [&](auto t) {
    auto values = tensor.get<decltype(t)>();
    double mean = 0;
    for (auto x : values)
      mean += static_cast<double>(x) / values.size();
    auto [low, high] = std::minmax_element(values.begin(), values.end());
    os << llvm::format("min %.6g max %.6g mean %.6g", static_cast<double>(*low),
                       static_cast<double>(*high), mean);
  });
}

void printSummary(llvm::raw_ostream &os, const NamedTensor &named) {
  const Tensor &tensor = named.tensor;
  os << named.name << ": " << tensor.type() << " ";
  int64_t next = 0;
  if (tensor.size() <= 64) {
    os << "= ";
    printNested(os, tensor, 0, next);
  } else {
    printStatistics(os, tensor);
    os << " first ";
    for (; next < 4; ++next) {
      os << (next ? ", " : "");
      printElement(os, tensor, next);
    }
  }
  os << "\n";
}

void printTrace(Operation *op, ArrayRef<RuntimeValue> results) {
  for (const RuntimeValue &result : results) {
    if (!result.isTensor())
      continue;
    llvm::errs() << op->getName() << " ";
    op->getLoc()->print(llvm::errs());
    llvm::errs() << " ";
    printSummary(llvm::errs(), {"", result.tensor()});
  }
}

void printStep(llvm::raw_ostream &os, const StepReport &report) {
  os << llvm::format("step %lld loss %.6g grad_norm %.6g\n", (long long)report.step, report.loss,
                     report.gradientNorm);
  if (!report.times.empty()) {
    const int64_t rank = report.slowest();
    const RankTimes &times = report.times[rank];
    os << llvm::format("  rank %lld takes %.6g ms: computes %.6g, waits %.6g, of which ",
                       (long long)rank, times.step * 1e3, times.computing * 1e3,
                       (times.step - times.computing) * 1e3);
    if (times.messages > 0)
      os << llvm::format("for messages of other stages %.6g, ", times.messages * 1e3);
    os << llvm::format("for ranks late to collectives %.6g; collectives take %.6g\n",
                       times.late * 1e3, times.moving * 1e3);
  }
  os.flush();
}

void logStep(llvm::raw_ostream &os, const StepReport &report, double rate) {
  llvm::json::Object line{{"step", report.step},
                          {"loss", report.loss},
                          {"lr", rate},
                          {"grad_norm", report.gradientNorm}};
  if (!report.times.empty()) {
    // Milliseconds, rounded to a picosecond.
    auto ms = [](double seconds) { return std::round(seconds * 1e12) / 1e9; };
    llvm::json::Array ranks;
    for (const RankTimes &times : report.times)
      ranks.push_back(llvm::json::Object{{"step", ms(times.step)},
                                         {"computing", ms(times.computing)},
                                         {"collectives", ms(times.moving)},
                                         {"exposed", ms(times.exposed())},
                                         {"late", ms(times.late)},
                                         {"messages", ms(times.messages)}});
    line["slowest"] = report.slowest();
    line["virtual_ms"] = std::move(ranks);
  }
  if (!report.inFlight.empty())
    line["in_flight"] = llvm::json::Array(report.inFlight);
  os << llvm::json::Value(std::move(line)) << "\n";
  os.flush();
}

void writeTimeline(llvm::raw_ostream &os, const StepReport &report) {
  llvm::json::OStream json(os);
  auto name = [&](StringRef what, int64_t rank, std::optional<int64_t> track, StringRef text) {
    json.object([&] {
      json.attribute("ph", "M");
      json.attribute("name", what);
      json.attribute("pid", rank);
      if (track)
        json.attribute("tid", *track);
      json.attributeObject("args", [&] { json.attribute("name", text); });
    });
  };
  json.object([&] {
    json.attribute("displayTimeUnit", "ms");
    json.attributeArray("traceEvents", [&] {
      for (auto [rank, spans] : llvm::enumerate(report.timeline)) {
        name("process_name", rank, std::nullopt, "rank " + std::to_string(rank));
        for (auto [track, text] :
             llvm::enumerate(ArrayRef<StringRef>{"computes", "collectives", "messages"}))
          name("thread_name", rank, track, text);
        for (const Span &span : spans)
          json.object([&] {
            json.attribute("ph", "X");
            json.attribute("name", span.name);
            json.attribute("cat", span.track == Span::Track::tasks ? "task" : "op");
            json.attribute("pid", int64_t(rank));
            json.attribute("tid", span.track == Span::Track::collectives ? 1
                                  : span.track == Span::Track::messages  ? 2
                                                                         : 0);
            // The format's times are microseconds.
            json.attribute("ts", span.begin * 1e6);
            json.attribute("dur", (span.end - span.begin) * 1e6);
            if (span.track == Span::Track::tasks)
              json.attributeObject("args", [&] {
                json.attribute("waits for collectives (us)", span.exposed * 1e6);
                json.attribute("of that for late ranks (us)", span.late * 1e6);
              });
          });
      }
    });
  });
  os << "\n";
}

//===----------------------------------------------------------------------===//
// Comparing
//===----------------------------------------------------------------------===//

bool isExpected(StringRef expect, ArrayRef<NamedTensor> outputs, double rtol, double atol,
                MLIRContext *context, std::string &error) {
  StringRef path = expect;
  size_t index = outputs.size();
  auto [head, tail] = expect.rsplit(':');
  if (!tail.empty() && !tail.getAsInteger(10, index))
    path = head;
  auto wanted = readTensorProto(path, context, error);
  if (!wanted)
    return false;
  if (path == expect) {
    index = llvm::find_if(outputs, [&](const NamedTensor &o) { return o.name == wanted->name; }) -
            outputs.begin();
    // A name that no output has: the first.
    if (index == outputs.size())
      index = 0;
  }
  if (index >= outputs.size()) {
    error = llvm::formatv("there is no output {0}; the function has {1}", index, outputs.size());
    return false;
  }
  const Tensor &got = outputs[index].tensor, &want = wanted->tensor;
  if (got.type() != want.type()) {
    llvm::raw_string_ostream(error) << "output '" << outputs[index].name << "' has type "
                                    << got.type() << " but '" << path << "' has " << want.type();
    return false;
  }
  double largest = 0;
  for (int64_t i = 0; i < got.size(); ++i) {
    double x = got.isFloat() ? got.floats()[i] : static_cast<double>(got.ints()[i]);
    double y = want.isFloat() ? want.floats()[i] : static_cast<double>(want.ints()[i]);
    // Written so that a NaN on one side is a difference.
    bool equal = (std::isnan(x) && std::isnan(y)) || x == y ||
                 std::fabs(x - y) <= atol + rtol * std::fabs(y);
    if (!equal) {
      error = llvm::formatv("output '{0}' differs at element {1}: {2} where '{3}' has {4}",
                            outputs[index].name, i, x, path, y);
      return false;
    }
    largest = std::max(largest, std::fabs(x - y));
  }
  llvm::outs() << llvm::format("as expected, the largest difference being %.3g\n", largest);
  return true;
}
