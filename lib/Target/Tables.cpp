//===- Tables.cpp - The tables that the runtime reads --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Routers.h"
#include "Sources.h"
#include "Text.h"

using namespace mlir;
using namespace moire;
using namespace moire::target;

/// `name` of rt::DType; empty for what the runtime does not read.
static StringRef dtype(Type type) {
  if (type.isF32())
    return "f32";
  if (type.isF16())
    return "f16";
  if (type.isBF16())
    return "bf16";
  if (type.isF64())
    return "f64";
  if (type.isSignlessInteger(64))
    return "i64";
  if (type.isSignlessInteger(32))
    return "i32";
  return type.isSignlessInteger(1) ? "i1" : "";
}

static FailureOr<std::string> constantTable(exec::ConstantOp op, StringRef name) {
  auto elements = dyn_cast<DenseElementsAttr>(op.getValue());
  if (!elements)
    return op.emitError("must hold dense elements");
  Type element = elements.getElementType();
  int64_t count = elements.getNumElements();
  std::string text = "static const " + memoryType(element).str() + " " + name.str() + "[" +
                     std::to_string(std::max<int64_t>(1, count)) + "] = {";
  // Plain decimals: the array's type says what they are.
  auto add = [&, i = 0](const std::string &value) mutable {
    text += (i == 0 ? "\n    " : i % 12 == 0 ? ",\n    " : ", ") + value;
    ++i;
  };
  if (isa<FloatType>(element)) {
    for (const llvm::APFloat &value : elements.getValues<llvm::APFloat>())
      if (element.isBF16())
        add("bf16(" + literal(value.convertToFloat()) + ")");
      else
        add(element.isF32() ? literal(value.convertToFloat()) : literal(value.convertToDouble()));
  } else {
    for (const llvm::APInt &value : elements.getValues<llvm::APInt>())
      add(value.getBitWidth() == 64 && value.isMinSignedValue()
              ? "INT64_MIN"
              : std::to_string(value.getBitWidth() == 1 ? value.getZExtValue()
                                                        : value.getSExtValue()));
  }
  return text + "};\n";
}

/// The fields of a `ParameterInfo` row that only a mesh fills, and before it the
/// whole's shape and the blocks.
static std::string addSharding(const ProgramInfo &info, const ParameterEntry &p, size_t index,
                               std::string &before) {
  if (!info.mesh) // what follows is given by position
    return p.balanceRate > 0 || p.updateGroup >= 0 ? ", nullptr, 0, {}, -1, -1" : "";
  std::string number = std::to_string(index), whole = "nullptr", shards;
  int count = 0;
  if (dist::ShardingAttr sharding = p.op.getShardingAttr(); sharding && !sharding.isReplicated()) {
    auto shape = cast<RankedTensorType>(p.op.getType()).getShape();
    whole = "whole" + number;
    before += "static const int64_t " + whole + "[] = " + braces(shape) + ";\n";
    for (auto [dim, axes] : llvm::enumerate(sharding.getDims()))
      for (auto [k, axis] : llvm::enumerate(axes.getAsRange<StringAttr>())) {
        std::string blocks = "nullptr";
        SmallVector<int64_t> sizes = sharding.getBlocksOf(dim, shape[dim]);
        if (sizes.size() > 1 && k == 0) {
          blocks = "blocks" + number + "_" + std::to_string(dim);
          before += "static const int64_t " + blocks + "[] = " + braces(sizes) + ";\n";
        } else {
          sizes.clear();
        }
        int number = llvm::find(info.mesh.getAxes(), axis) - info.mesh.getAxes().begin();
        shards += (count++ ? ", {" : "{") + std::to_string(dim) + ", " + std::to_string(number) +
                  ", " + std::to_string(sizes.size()) + ", " + blocks + "}";
      }
  }
  return ", " + whole + ", " + std::to_string(count) + ", {" + shards + "}, " +
         std::to_string(p.reduceGroup) + ", " + std::to_string(p.shardGroup);
}

/// The fields behind those: of a router's bias, of what is divided, of a group.
static std::string lastFields(const ProgramInfo &info, const ParameterEntry &p) {
  const bool divides = info.divides() && p.trainable;
  const bool grouped = p.updateGroup >= 0;
  std::string text;
  if (p.balanceRate > 0 || divides || grouped)
    text += ", " + (p.balanceRate > 0 ? literal(static_cast<float>(p.balanceRate)) : "0");
  if (divides)
    text += ", " + std::to_string(p.zero) + ", grads::" + p.identifier + ", " +
            std::to_string(p.stateOffset);
  if (grouped)
    text += std::string(divides ? "" : ", 0, -1, -1") + ", -1, true, 0, nullptr, " +
            std::to_string(p.updateGroup);
  return text;
}

/// Axes and groups of the mesh.
static std::string meshTables(const ProgramInfo &info) {
  std::string text = "static const AxisInfo axes[] = {";
  for (auto [i, axis, size] : llvm::enumerate(info.mesh.getAxes(), info.mesh.getSizes()))
    text += (i ? ", {" : "{") + quoted(axis.getValue()) + ", " + std::to_string(size) + "}";
  text += "};\n";
  std::string rows;
  for (auto [i, group] : llvm::enumerate(info.groups)) {
    SmallVector<int64_t> indices;
    for (Attribute axis : group)
      indices.push_back(llvm::find(info.mesh.getAxes(), axis) - info.mesh.getAxes().begin());
    std::string name = "groupAxes" + std::to_string(i);
    text += "static const int " + name + "[] = " + braces(indices) + ";\n";
    rows += (i ? ", {" : "{") + std::to_string(indices.size()) + ", " + name + "}";
  }
  if (info.groups.empty())
    rows = "{0, nullptr}";
  text += "static const GroupInfo groups[] = {" + rows + "};\n";
  return text + bucketTable(info.buckets, "") + "\n";
}

std::string target::bucketTable(ArrayRef<BucketEntry> entries, const std::string &suffix) {
  std::string text, buckets;
  for (auto [i, bucket] : llvm::enumerate(entries)) {
    const std::string name = "ranges" + suffix + (suffix.empty() ? "" : "_") + std::to_string(i);
    text += "static const RangeInfo " + name + "[] = {";
    for (auto [j, range] : llvm::enumerate(bucket.ranges))
      text += (j ? ", {" : "{") + std::to_string(range.begin) + ", " + std::to_string(range.end) +
              ", " + std::to_string(range.piece) + "}";
    text += "};\n";
    buckets += "    {" + std::to_string(bucket.group) + ", " +
               std::to_string(bucket.ranges.size()) + ", " + name + "},\n";
  }
  if (entries.empty())
    return "";
  return text + "// group, number of ranges, ranges\nstatic const BucketInfo buckets" + suffix +
         "[] = {\n" + buckets + "};\n";
}

/// One `ParameterInfo` row, and before it its shape and sources.
static FailureOr<ParameterRow> addParameter(const ProgramInfo &info, const ParameterEntry &p,
                                            size_t index, std::string &before) {
  static const char *const transforms[] = {"same", "transposeLast2", "reshape", "slice",
                                           "sliceTranspose"};
  std::string number = std::to_string(index);
  std::string shape = "nullptr", sources = "nullptr";
  if (!p.shape.empty()) {
    shape = "shape" + number;
    before += "static const int64_t " + shape + "[] = " + braces(p.shape) + ";\n";
  }
  if (!p.op.getSources().empty()) {
    sources = "sources" + number;
    before += "static const Source " + sources + "[] = {\n";
  }
  for (auto source : p.op.getSources().getAsRange<pipe::SourceAttr>()) {
    StringRef type = dtype(source.getElementType());
    if (type.empty() || !isa<FloatType>(source.getElementType()))
      return p.op.emitError("is stored as ")
             << source.getElementType() << " but must be f32, f16, bf16 or f64";
    before += "    {" + quoted(source.getInitializer().getValue()) + ", " +
              quoted(source.getFile().getValue()) + ", " + std::to_string(source.getOffset()) +
              ", " + std::to_string(source.getBytes()) + ", DType::" + type.str() +
              ", Transform::" + transforms[static_cast<int>(source.getTransform())] + ", " +
              std::to_string(source.getIndex()) + "},\n";
  }
  if (!p.op.getSources().empty())
    before += "};\n";
  std::string init = p.op.getInit().value_or(p.shape.size() > 1 ? "normal" : "zeros").str();
  if (init != "normal" && init != "ones" && init != "zeros")
    return p.op.emitError("has init '") << init << "' but must have normal, ones or zeros";
  float std = p.op.getInitStd() ? p.op.getInitStd()->convertToDouble() : 0.02;
  ParameterRow row;
  row.before = "    {" + quoted(p.op.getSymName()) + ", " + quoted(p.torchName) + ", " +
               std::to_string(p.shape.size()) + ", " + shape + ", " +
               (p.trainable ? "true" : "false") + ", Init::" + init + ", " +
               (init == "normal" ? literal(std) : "0") + ", ";
  row.behind = ", " + std::to_string(p.op.getSources().size()) + ", " + sources +
               addSharding(info, p, index, before);
  return row;
}

FailureOr<std::string> target::emitTables(const ProgramInfo &info,
                                          ArrayRef<ConstantEntry> constants,
                                          ArrayRef<FunctionEntry> functions,
                                          const SharedNames &names) {
  bool narrow = llvm::any_of(constants, [](const ConstantEntry &constant) {
    return exec::ConstantOp(constant.op).getType().getElementType().isBF16();
  });
  std::string text = "#include \"program.h\"\n";
  if (info.pipeline)
    text += "#include \"moire/rt/pipeline.h\"\n";
  if (llvm::any_of(functions, [](const FunctionEntry &f) { return llvm::is_contained(f.isGraph, true); }))
    text += "#include \"moire/rt/device.h\"\n";
  if (narrow)
    text += "#include \"moire/rt/bf16.h\"\n";
  text += "#include <cmath>\n\n"
          "using namespace moire::rt;\n\n" +
          opened(info);
  // 1. Constants.
  for (const ConstantEntry &constant : constants) {
    auto table = constantTable(constant.op, constant.name);
    if (failed(table))
      return failure();
    text += *table + "\n";
  }
  // 2. Parameters.
  std::string before, table;
  std::vector<ParameterRow> rows;
  for (auto [i, p] : llvm::enumerate(info.parameters)) {
    auto row = addParameter(info, p, i, before);
    if (failed(row))
      return failure();
    rows.push_back(std::move(*row));
    table += rows.back().before + "at::" + p.identifier + rows.back().behind + lastFields(info, p) +
             "},\n";
  }
  text += before + "\n";
  if (!info.pipeline)
    text +=
      std::string("// name, PyTorch's name, rank, shape, trained, fresh values, offset, sources") +
      (info.mesh ? std::string(",\n// whole shape, shards {dim, axis, blocks}, group that sums the "
                               "gradient, group that shards") +
                       (info.divides() ? ",\n// rate of balance, zero, offsets of gradient and state\n" : "\n")
                 : std::string("\n")) +
      (info.updateGroups.empty() ? "" : "// …, of what is in a group its number last\n") +
      "static const ParameterInfo parameters[] = {\n" + table + "};\n\n";
  // 3. Inputs.
  for (auto [i, input] : llvm::enumerate(info.inputs))
    if (!input.shape.empty())
      text += "static const int64_t inputShape" + std::to_string(i) +
              "[] = " + braces(input.shape) + ";\n";
  text += "// name, type, rank, shape, what fills it, N of input_N.pb\n"
          "static const InputInfo inputTable[] = {\n";
  for (auto [i, input] : llvm::enumerate(info.inputs))
    text += "    {" + quoted(input.name) + ", DType::" + dtype(input.element).str() + ", " +
            std::to_string(input.shape.size()) + ", " +
            (input.shape.empty() ? "nullptr" : "inputShape" + std::to_string(i)) +
            ", Role::" + input.role + ", " + std::to_string(input.graphIndex) + "},\n";
  text += "};\n\n";
  // 4. Files and memory. Arrays have at least one element.
  text += "static const FileInfo files[] = {\n";
  for (const FileEntry &file : info.files)
    text += "    {" + quoted(file.path) + ", " + std::to_string(file.bytes) + ", 0x" +
            llvm::utohexstr(file.checksum, /*LowerCase=*/true) + "u},\n";
  if (info.files.empty())
    text += "    {\"\", 0, 0},\n";
  text += "};\n\nstatic const MemoryLine peak[] = {\n";
  for (const PeakLine &line : info.peak)
    text += "    {" + quoted(line.what) + ", " + std::to_string(line.bytes) + "},\n";
  if (info.peak.empty())
    text += "    {\"\", 0},\n";
  text += "};\n\n";
  int64_t tableBytes = 0;
  text += "// values, bytes, offset\nstatic const TableInfo tableInfo[] = {\n";
  for (const ConstantEntry &constant : constants) {
    text += "    {" + constant.name + ", " + std::to_string(constant.bytes) +
            ", tables::" + constant.name + "},\n";
    tableBytes = constant.offset + constant.bytes;
  }
  if (constants.empty())
    text += "    {nullptr, 0, 0},\n";
  text += "};\n\n";
  for (const FunctionEntry &function : functions) {
    auto define = [&](const std::string &name, bool trains) {
      text += "static void " + name + "(Context &ctx) {\n";
      for (auto [i, isGraph] : llvm::enumerate(function.isGraph)) {
        if (function.trains[i] && !trains)
          continue;
        const std::string part = function.name + std::to_string(i + 1);
        text += isGraph ? "  replay(ctx, " + part + ");\n" : "  " + part + "(ctx);\n";
      }
      text += "}\n\n";
    };
    define(info.pipeline ? function.name : "microStep", true);
    if (!info.pipeline)
      define("forward", false);
  }
  if (!info.updateGroups.empty()) {
    text += "static const char *const updateGroups[] = {";
    for (auto [i, name] : llvm::enumerate(info.updateGroups))
      text += (i ? ", " : "") + quoted(name);
    text += "};\n\n";
  }
  if (info.mesh)
    text += meshTables(info);
  if (info.pipeline)
    text += pipelineTables(info, rows, names);
  const ExportTables exports = exportTables(info);
  text += exports.text;
  // 5. The program.
  text += routerTable(info);
  if (!info.ramp.empty()) {
    text += "// micro-batches, steps done before, index of the pipeline's round\n"
            "static const RampInfo ramp[] = {\n";
    for (const scheduling::RampEntry &entry : info.ramp)
      text +=
          "    {" + std::to_string(entry.microBatches) + ", " + std::to_string(entry.after) + ", " +
          std::to_string(info.pipeline ? info.pipeline->program.roundOf(entry.microBatches) : 0) +
          "},\n";
    text += "};\n\n";
  }
  auto field = [&](StringRef name, const std::string &value) {
    text += "    ." + name.str() + " = " + value + ",\n";
  };
  auto number = [&](StringRef name, int64_t value) { field(name, std::to_string(value)); };
  text += "const Program program = {\n";
  field("abi", "kAbiVersion");
  field("name", quoted(info.name));
  field("modelPath", quoted(info.modelPath));
  number("numFiles", info.files.size());
  field("files", "files");
  field("init", info.init ? "true" : "false");
  field("optimizer", "OptimizerKind::" + info.optimizer);
  field("loss", "Loss::" + info.loss);
  field("labels", "Labels::" + info.labels);
  field("count", "Count::" + info.count);
  number("batch", info.batch);
  number("seq", info.seq);
  number("vocab", info.vocab);
  number("tokenVocab", info.tokenVocab);
  number("arenaBytes", info.arenaBytes);
  number("numPeak", info.peak.size());
  field("peak", "peak");
  number("numTables", constants.size());
  field("tables", "tableInfo");
  number("tableBytes", tableBytes);
  if (!info.pipeline) {
    number("paramElements", info.paramElements);
    number("gradElements", info.gradElements);
    number("numParameters", info.parameters.size());
    field("parameters", "parameters");
  }
  number("numInputs", info.inputs.size());
  field("inputs", "inputTable");
  if (!info.pipeline) {
    field("microStep", "microStep");
    field("forward", "forward");
  }
  if (info.prepare && !info.pipeline) {
    field("prepare", "prepare");
    number("shadowBytes", info.shadowBytes);
  }
  auto prefix = info.module->getAttrOfType<StringAttr>("moire.name_prefix");
  field("namePrefix", prefix ? quoted(prefix.getValue()) : "nullptr");
  if (exports.saved) {
    number("numSaved", exports.saved);
    field("saved", "saved");
  }
  if (exports.merged) {
    number("numMerged", exports.merged);
    field("merged", "merged");
  }
  if (info.mesh) {
    number("numAxes", info.mesh.getAxes().size());
    field("axes", "axes");
    number("numGroups", info.groups.size());
    field("groups", "groups");
    if (info.options.target != TargetKind::cpu)
      field("connect", "linkByNccl");
    if (info.divides() && !info.pipeline)
      number("stateElements", info.stateElements);
  }
  if (!info.buckets.empty()) {
    number("numBuckets", info.buckets.size());
    field("buckets", "buckets");
  }
  if (info.pipeline)
    field("pipeline", "&pipeline");
  if (!info.ramp.empty()) {
    number("numRamp", info.ramp.size());
    field("ramp", "ramp");
  }
  if (info.modelFlops) {
    number("modelFlops", info.modelFlops);
    number("hardwareFlops", info.hardwareFlops);
  }
  if (!info.routers.empty()) {
    number("numRouters", info.routers.size());
    field("routers", "routers");
  }
  if (!info.updateGroups.empty()) {
    number("numUpdateGroups", info.updateGroups.size());
    field("updateGroups", "updateGroups");
  }
  if (!info.space.empty()) {
    number("numLengths", info.numLengths);
    field("lengths", "lengths");
  }
  return text + "};\n" + closed(info);
}
