//===- StageCuts.cpp - Where --stages or a file's annotations cut ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "StageCuts.h"
#include "mlir/IR/Builders.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Regex.h"
#include <optional>
#include <map>
#include <set>

using namespace llvm;
using namespace moire::frontend;

namespace {

using Names = std::set<std::string>;

/// A cut: what it is called, and the nodes behind which it lies.
struct Cut {
  std::string after;
  Names nodes;
};

class StageReader {
public:
  explicit StageReader(const pb::ModelProto &model);

  bool byCounts(ArrayRef<StringRef> counts, std::vector<Cut> &cuts);
  bool byNames(ArrayRef<StringRef> words, std::vector<Cut> &cuts);
  /// Empty `configuration`: the only one. No cuts and true where nothing is annotated.
  bool byAnnotations(StringRef configuration, std::vector<Cut> &cuts, std::string &said);

  std::string error;

private:
  bool fail(const Twine &message) {
    error = message.str();
    return false;
  }
  /// The node's name in the IR; that of a call ends in a slash.
  std::string labelOf(int node) const;
  bool find(StringRef word, Cut &cut);
  void addWithViews(int node, Names &names) const;
  bool chooseConfiguration(StringRef &configuration);
  std::vector<std::optional<int>> stagesOf(StringRef configuration) const;

  const pb::GraphProto &graph;
  llvm::StringSet<> functions; ///< "domain::name"
  StringMap<int> producers;
};

StageReader::StageReader(const pb::ModelProto &model) : graph(model.graph()) {
  for (const pb::FunctionProto &function : model.functions())
    functions.insert(function.domain() + "::" + function.name());
  for (int i = 0; i < graph.node_size(); ++i)
    for (const std::string &output : graph.node(i).output())
      producers.try_emplace(output, i);
}

std::string StageReader::labelOf(int node) const {
  const pb::NodeProto &proto = graph.node(node);
  const bool isCall = functions.contains(proto.domain() + "::" + proto.op_type());
  return getNodeLabel(proto) + (isCall ? "/" : "");
}

/// What only gives a tensor another shape or type may be gone by the time of the cut: the cut
/// then lies behind what makes the tensor.
void StageReader::addWithViews(int node, Names &names) const {
  static const llvm::StringSet<> views = {"Reshape", "Transpose", "Squeeze", "Unsqueeze",
                                    "Flatten", "Identity",  "Cast",    "Dropout"};
  while (names.insert(labelOf(node)).second && views.contains(graph.node(node).op_type()) &&
         graph.node(node).input_size()) {
    auto it = producers.find(graph.node(node).input(0));
    if (it == producers.end())
      break;
    node = it->second;
  }
}

bool StageReader::find(StringRef word, Cut &cut) {
  cut.after = word.str();
  for (int i = 0; i < graph.node_size(); ++i)
    if (StringRef(graph.node(i).name()) == word || getNodeLabel(graph.node(i)) == word)
      addWithViews(i, cut.nodes);
  if (!cut.nodes.empty())
    return true;
  if (auto it = producers.find(word); it != producers.end()) {
    addWithViews(it->second, cut.nodes);
    return true;
  }
  for (const pb::ValueInfoProto &input : graph.input())
    if (StringRef(input.name()) == word)
      return fail("--stages after=" + word + " names an input of the graph, which no node makes; "
                  "name a node, a value that a node makes, or a module");
  const std::string inside = word.str() + ".";
  for (int i = 0; i < graph.node_size(); ++i)
    if (std::string module = getNodeHints(graph.node(i)).module;
        StringRef(module) == word || StringRef(module).starts_with(inside))
      cut.nodes.insert(labelOf(i));
  if (!cut.nodes.empty())
    return true;
  Regex pattern(word);
  if (std::string why; !pattern.isValid(why))
    return fail("--stages after=" + word +
                " is no node, value or module of the file, nor a regular expression: " + why);
  for (int i = 0; i < graph.node_size(); ++i) {
    const pb::NodeProto &node = graph.node(i);
    bool matches = pattern.match(getNodeLabel(node)) || pattern.match(getNodeHints(node).module);
    for (const std::string &output : node.output())
      matches |= pattern.match(output);
    if (matches)
      cut.nodes.insert(labelOf(i));
  }
  return !cut.nodes.empty() ||
         fail("--stages after=" + word + " matches no node, value or module of the file; "
              "moirec --stop-after=import shows their names");
}

bool StageReader::byNames(ArrayRef<StringRef> words, std::vector<Cut> &cuts) {
  for (StringRef word : words) {
    if (!word.consume_front("after=") || word.empty())
      return fail("--stages has '" + word + "' beside cuts by name; write each as after=NAME");
    if (!find(word, cuts.emplace_back()))
      return false;
  }
  return true;
}

/// "model.layers.7.mlp" ~~> "model.layers", 7; no number: -1.
static std::pair<StringRef, int> splitAtNumber(StringRef module) {
  for (size_t dot = module.find('.'); dot != StringRef::npos; dot = module.find('.', dot + 1)) {
    StringRef rest = module.substr(dot + 1).take_while([](char c) { return c != '.'; });
    int number;
    if (!rest.empty() && all_of(rest, isDigit) && !rest.getAsInteger(10, number))
      return {module.take_front(dot), number};
  }
  return {module, -1};
}

bool StageReader::byCounts(ArrayRef<StringRef> counts, std::vector<Cut> &cuts) {
  // 1. The numbered modules of which there are most nodes.
  std::map<std::string, std::map<int, Names>> found;
  std::map<std::string, int> nodes;
  for (int i = 0; i < graph.node_size(); ++i) {
    const std::string module = getNodeHints(graph.node(i)).module;
    auto [prefix, number] = splitAtNumber(module);
    if (number < 0)
      continue;
    found[prefix.str()][number].insert(labelOf(i));
    ++nodes[prefix.str()];
  }
  if (found.empty())
    return fail("--stages counts layers, but the file's nodes do not say of what layer they "
                "are; cut behind nodes by --stages after=NAME,...");
  const std::string &prefix =
      std::max_element(nodes.begin(), nodes.end(),
                       [](const auto &a, const auto &b) { return a.second < b.second; })
          ->first;
  std::vector<Names *> layers;
  for (auto &[number, names] : found[prefix])
    layers.push_back(&names);

  // 2. The last layer of each stage.
  int sum = 0;
  for (StringRef count : counts) {
    int number;
    if (count.getAsInteger(10, number) || number < 1)
      return fail("--stages has '" + count + "' as a number of layers; use 1 or more");
    sum = std::min(sum + number, 1 << 20);
    if (sum < int(layers.size()))
      cuts.push_back({prefix + "." + std::to_string(sum - 1), *layers[sum - 1]});
  }
  if (sum != int(layers.size()))
    return fail("--stages has " + Twine(sum) + " layers in all, but the model has " +
                Twine(layers.size()) + ", " + prefix + ".0 to " + prefix + "." +
                Twine(layers.size() - 1) + "; write numbers that add up to " +
                Twine(layers.size()));
  return true;
}

//===----------------------------------------------------------------------===//
// Annotations (IR 11)
//===----------------------------------------------------------------------===//

bool StageReader::chooseConfiguration(StringRef &configuration) {
  std::set<std::string> names;
  for (const pb::NodeProto &node : graph.node())
    for (const auto &placed : node.device_configurations())
      if (placed.has_pipeline_stage())
        names.insert(placed.configuration_id());
  const std::string list = join(names, ", ");
  if (!configuration.empty()) {
    if (names.count(configuration.str()))
      return true;
    return fail("--stages configuration=" + configuration + " is no device configuration with a "
                "pipeline_stage; the file has " + (names.empty() ? "none" : list));
  }
  if (names.size() > 1)
    return fail("the file has pipeline_stage annotations of " + Twine(names.size()) +
                " device configurations, " + list + "; choose one by --stages configuration=" +
                *names.begin() + ", or leave them aside by --stages auto");
  // The string lives in the file.
  for (const pb::NodeProto &node : graph.node())
    for (const auto &placed : node.device_configurations())
      if (placed.has_pipeline_stage()) {
        configuration = placed.configuration_id();
        return true;
      }
  return true;
}

std::vector<std::optional<int>> StageReader::stagesOf(StringRef configuration) const {
  std::vector<std::optional<int>> stages(graph.node_size());
  for (int i = 0; i < graph.node_size(); ++i)
    for (const auto &placed : graph.node(i).device_configurations())
      if (placed.has_pipeline_stage() && StringRef(placed.configuration_id()) == configuration)
        stages[i] = placed.pipeline_stage();
  return stages;
}

/// What a node reads, in its graphs too.
static void collectInputs(const pb::NodeProto &node, std::vector<StringRef> &inputs) {
  for (const std::string &input : node.input())
    if (!input.empty())
      inputs.push_back(input);
  for (const pb::AttributeProto &attribute : node.attribute())
    for (const pb::NodeProto &inner : attribute.g().node())
      collectInputs(inner, inputs);
}

bool StageReader::byAnnotations(StringRef configuration, std::vector<Cut> &cuts,
                                std::string &said) {
  if (!chooseConfiguration(configuration))
    return false;
  const std::vector<std::optional<int>> given = stagesOf(configuration);
  std::set<int> numbers;
  for (const std::optional<int> &stage : given)
    if (stage)
      numbers.insert(*stage);
  if (numbers.empty())
    return true;
  said = "pipeline_stage of configuration '" + configuration.str() + "'";
  const int stages = numbers.size();
  if (*numbers.begin() != 0 || *numbers.rbegin() != stages - 1)
    return fail(said + " goes from " + Twine(*numbers.begin()) + " to " + Twine(*numbers.rbegin()) +
                " but has " + Twine(stages) + " values; number the stages 0 to " +
                Twine(stages - 1));

  // 1. Stages go up along the graph. What is made of inputs alone, or of weights alone, is
  // made in every stage that reads it, wherever the file has it.
  enum : unsigned { ofInput = 1, ofWeight = 2, computed = 4 };
  struct Made {
    unsigned of;
    int stage, node, lastReader;
  };
  StringMap<Made> values;
  for (const pb::ValueInfoProto &input : graph.input())
    values[input.name()] = {ofInput, 0, -1, 0};
  for (const pb::TensorProto &tensor : graph.initializer())
    values[tensor.name()] = {ofWeight, 0, -1, 0};
  for (int i = 0; i < graph.node_size(); ++i) {
    const pb::NodeProto &node = graph.node(i);
    std::vector<StringRef> inputs;
    collectInputs(node, inputs);
    unsigned of = 0;
    for (StringRef input : inputs)
      if (auto it = values.find(input); it != values.end())
        of |= it->second.of;
    const bool isFree = of == 0 || of == ofInput || of == ofWeight;
    int stage = given[i].value_or(0);
    if (!isFree)
      for (StringRef input : inputs) {
        auto it = values.find(input);
        if (it == values.end() || !(it->second.of & computed))
          continue;
        Made &made = it->second;
        if (given[i] && made.stage > stage)
          return fail(said + " contradicts the graph: node '" + getNodeLabel(node) +
                      "' of stage " + Twine(stage) + " reads '" + input + "', which node '" +
                      getNodeLabel(graph.node(made.node)) + "' of stage " + Twine(made.stage) +
                      " makes; let no stage read what a later one makes");
        stage = std::max(stage, made.stage);
      }
    for (StringRef input : inputs)
      if (auto it = values.find(input); it != values.end() && !isFree)
        it->second.lastReader = std::max(it->second.lastReader, stage);
    for (const std::string &output : node.output())
      if (!output.empty())
        values[output] = {isFree ? of : unsigned(computed), stage, i, stage};
  }

  // 2. A cut lies behind what crosses it.
  cuts.resize(stages - 1);
  for (int i = 0; i < graph.node_size(); ++i)
    for (const std::string &output : graph.node(i).output()) {
      auto it = values.find(output);
      if (it == values.end() || !(it->second.of & computed))
        continue;
      for (int s = it->second.stage; s < it->second.lastReader; ++s)
        addWithViews(i, cuts[s].nodes);
    }
  for (int s = 0; s + 1 < stages; ++s) {
    cuts[s].after = "stage " + std::to_string(s);
    if (cuts[s].nodes.empty())
      return fail(said + ": no stage behind " + Twine(s) +
                  " reads what the stages up to it make; give each stage a part of the way from "
                  "the inputs to the outputs");
  }
  return true;
}

} // namespace

mlir::DictionaryAttr moire::frontend::readStageCuts(const pb::ModelProto &model, StringRef stages,
                                                    mlir::MLIRContext *context,
                                                    std::string &error) {
  if (stages == "auto")
    return {};
  StageReader reader(model);
  std::vector<Cut> cuts;
  std::string said = "--stages " + stages.str();
  SmallVector<StringRef> words;
  stages.split(words, ',', -1, /*KeepEmpty=*/false);
  bool good;
  if (words.empty()) {
    good = reader.byAnnotations("", cuts, said);
  } else if (StringRef name = stages; name.consume_front("configuration=")) {
    good = reader.byAnnotations(name, cuts, said);
  } else if (stages.contains('=')) {
    good = reader.byNames(words, cuts);
  } else if (isDigit(stages[0]) || stages[0] == '-') {
    good = reader.byCounts(words, cuts);
  } else {
    reader.error = "--stages '" + stages.str() +
                   "' is not understood; write layers of each stage, as 8,8,7,9, or "
                   "after=NAME,after=NAME, or configuration=NAME, or auto";
    good = false;
  }
  if (!good) {
    error = reader.error;
    return {};
  }
  if (words.empty() && cuts.empty())
    return {};
  mlir::Builder b(context);
  SmallVector<mlir::Attribute> list;
  for (const Cut &cut : cuts) {
    SmallVector<StringRef> nodes(cut.nodes.begin(), cut.nodes.end());
    list.push_back(b.getDictionaryAttr({b.getNamedAttr("after", b.getStringAttr(cut.after)),
                                        b.getNamedAttr("nodes", b.getStrArrayAttr(nodes))}));
  }
  return b.getDictionaryAttr({b.getNamedAttr("said", b.getStringAttr(said)),
                              b.getNamedAttr("cuts", b.getArrayAttr(list))});
}
