//===- CorpusTest.cpp - Parameters of real exports against the truth -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// train.json of every corpus entry tells which initializer holds which PyTorch
// parameter in which layout, found by PyTorch itself from the values; the
// gradients beside it tell the shapes. The table, which sees neither, must agree.
//
//===----------------------------------------------------------------------===//
#include "TestModels.h"
#include "moire/Frontend/Parameters.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include <gtest/gtest.h>
#include <set>

using namespace moire;
using namespace moire::test;
using frontend::Parameter;
using frontend::ParameterSource;

static std::string getCorpus() {
  if (const char *path = std::getenv("MOIRE_CORPUS"))
    return path;
  return MOIRE_SOURCE_DIR "/../shared/corpus";
}

static std::vector<std::string> listEntries() {
  std::vector<std::string> names;
  std::error_code error;
  for (llvm::sys::fs::directory_iterator it(getCorpus(), error), end; it != end && !error;
       it.increment(error))
    if (llvm::sys::fs::exists(it->path() + "/train.json"))
      names.push_back(llvm::sys::path::filename(it->path()).str());
  std::sort(names.begin(), names.end());
  return names;
}

/// "val_101 transpose_last2", "onnx::MatMul_7 slice_transpose[3]"
static std::string describe(const ParameterSource &source) {
  std::string text = source.initializer + " " + pipe::stringifyTransform(source.transform).str();
  if (source.transform == pipe::Transform::slice ||
      source.transform == pipe::Transform::slice_transpose)
    text += "[" + std::to_string(source.index) + "]";
  return text;
}

class Corpus : public testing::TestWithParam<std::string> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Corpus);
INSTANTIATE_TEST_SUITE_P(All, Corpus, testing::ValuesIn(listEntries()),
                         [](auto &info) { return info.param; });

TEST(CorpusFolder, IsThere) {
  if (listEntries().empty())
    GTEST_SKIP() << "no corpus at " << getCorpus();
}

TEST_P(Corpus, ParametersAreTheTruth) {
  std::string folder = getCorpus() + "/" + GetParam();
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  Import import(context, folder + "/model.onnx");
  ASSERT_TRUE(import.module) << import.errors;
  frontend::ParameterTable table = frontend::buildParameterTable(*import.module);
  EXPECT_TRUE(table.warnings.empty()) << table.warnings[0];
  std::string prefix = table.getSharedPrefix() == "m." ? "m." : "";

  auto buffer = llvm::MemoryBuffer::getFile(folder + "/train.json");
  ASSERT_TRUE(buffer);
  llvm::Expected<llvm::json::Value> truth = llvm::json::parse((*buffer)->getBuffer());
  ASSERT_TRUE(static_cast<bool>(truth));
  const llvm::json::Object &map = *truth->getAsObject()->getObject("param_map");
  std::set<std::string> tied;
  for (const llvm::json::Value &name : *truth->getAsObject()->getArray("tied_names"))
    tied.insert(name.getAsString()->str());
  bool isFolded = GetParam() == "resnet_eval_dyn18"; // batch norms are gone from the file

  std::set<const Parameter *> found;
  for (const auto &[key, sources] : map) {
    std::string name = key.str();
    std::multiset<std::string> want;
    for (const llvm::json::Value &source : *sources.getAsArray())
      want.insert(source.getAsObject()->getString("initializer")->str() + " " +
                  source.getAsObject()->getString("transform")->str());
    if (isFolded && want.empty())
      continue;
    // A parameter of that name, or of the same sources under another (a tie's
    // other name, or a name that the file does not hold).
    const Parameter *parameter = nullptr;
    for (const Parameter &candidate : table.parameters) {
      std::multiset<std::string> got;
      for (const ParameterSource &source : candidate.sources)
        got.insert(describe(source));
      if (got != want)
        continue;
      bool named = name == candidate.torchName || prefix + name == candidate.torchName;
      bool elsewhere = tied.count(llvm::StringRef(candidate.torchName).drop_front(prefix.size()).str()) ||
                       candidate.torchName.empty() || isFolded;
      if (named || elsewhere)
        parameter = &candidate;
      if (named)
        break;
    }
    ASSERT_TRUE(parameter) << name << " is not in the table as told";
    EXPECT_TRUE(found.insert(parameter).second) << name << " is one with another parameter";
    EXPECT_FALSE(parameter->frozen) << name << ": " << parameter->reason;

    auto gradient = llvm::MemoryBuffer::getFile(folder + "/grads/" + name + ".pb");
    ::onnx::TensorProto tensor;
    if (gradient &&
        tensor.ParseFromArray((*gradient)->getBufferStart(), (*gradient)->getBufferSize())) {
      EXPECT_EQ(llvm::ArrayRef<int64_t>(tensor.dims().data(), tensor.dims_size()),
                llvm::ArrayRef<int64_t>(parameter->shape))
          << name;
    }
  }
  // state_dict() has each of them under its name and, where it is tied, under the other; and
  // of what is frozen only saved buffers.
  std::set<std::string> saved;
  for (const Parameter &parameter : table.parameters)
    for (const std::string &name : {parameter.torchName, parameter.tiedName})
      if (parameter.saved && !name.empty())
        saved.insert(llvm::StringRef(name).drop_front(prefix.size()).str());
  for (const Parameter *parameter : found)
    EXPECT_TRUE(parameter->saved) << parameter->symbol;
  for (const std::string &name : tied)
    EXPECT_TRUE(saved.count(name)) << name;
  for (const std::string &name : saved)
    EXPECT_TRUE(isFolded || map.get(name) || map.get(prefix + name) || tied.count(name) ||
                llvm::StringRef(name).ends_with("e_score_correction_bias") ||
                llvm::StringRef(name).contains("running_"))
        << name;
  // Nothing else is trained, and each trained one is used.
  std::set<unsigned> used;
  for (auto &use : table.uses)
    used.insert(use.second.parameter);
  for (auto [i, parameter] : llvm::enumerate(table.parameters)) {
    if (!isFolded) {
      EXPECT_EQ(found.count(&parameter) == 1, !parameter.frozen)
          << parameter.symbol << ": " << parameter.reason;
    }
    EXPECT_EQ(used.count(i) == 1, !parameter.constant) << parameter.symbol;
  }
}
