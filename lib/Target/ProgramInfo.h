//===- ProgramInfo.h - What the tables of a program are made of ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TARGET_PROGRAMINFO_H
#define MOIRE_LIB_TARGET_PROGRAMINFO_H

#include "PipelineInfo.h"
#include "dialects/exec/Exec.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "moire/Target/Program.h"
#include "llvm/ADT/SetVector.h"

namespace moire::target {

struct ParameterEntry {
  mutable pipe::ParameterOp op;     // a handle, like those below
  std::string torchName;            ///< the symbol where the file tells none
  std::string identifier;           ///< of the constant that holds its offset
  llvm::SmallVector<int64_t> shape; ///< of what a rank holds
  bool trainable = false;
  int reduceGroup = -1, shardGroup = -1; ///< indices into ProgramInfo::groups
  int updateGroup = -1;                  ///< index into ProgramInfo::updateGroups
  double balanceRate = 0;                ///< of a router's bias; 0: the optimizer moves it
  int64_t zero = 0;                      ///< what the members of reduceGroup divide
  /// What a rank keeps of the value, the gradient and each state of the optimizer.
  int64_t elements = 0, gradElements = 0, stateElements = 0;
  /// In elements from the start of the block of parameters, of gradients, of state.
  int64_t offset = 0, gradOffset = 0, stateOffset = 0;
};

struct InputEntry {
  std::string name, identifier;
  mlir::Type element;
  llvm::SmallVector<int64_t> shape;
  std::string role;        ///< an enumerator of rt::Role
  int64_t graphIndex = -1; ///< N of input_N.pb
};

struct FileEntry {
  std::string path;
  int64_t bytes = 0;
  uint64_t checksum = 0;
};

/// A constant that statements read: where the runtime keeps it.
struct ConstantEntry {
  exec::ConstantOp op;
  std::string name;
  int64_t offset, bytes; ///< in the block of tables; offsets are multiples of 64
};

struct RouterEntry {
  std::string name;
  int64_t experts = 0, pairs = 0; ///< pairs of token and expert in a micro-batch
};

struct ProgramInfo {
  mutable mlir::ModuleOp module;
  mutable mlir::func::FuncOp microStep; ///< of a pipeline: the first stage's forward
  std::optional<PipelineEntry> pipeline; ///< of a mesh with pp
  scheduling::Ramp ramp;                 ///< empty: all steps are alike
  /// The functions that make a micro-batch, in order.
  llvm::SmallVector<mlir::func::FuncOp> steps() const;
  EmitOptions options;
  /// Of one of several lengths: its namespace, and its folder under src; empty: there is one.
  std::string space;
  size_t numLengths = 1;
  std::string folder() const { return space.empty() ? "src/" : "src/" + space + "/"; }
  std::string name, modelPath;
  std::vector<FileEntry> files;
  bool init = false;
  std::string optimizer, loss, labels, count; ///< enumerators of moire/rt/program.h
  int64_t batch = 0, seq = 0, vocab = 0, tokenVocab = 0;
  int64_t modelFlops = 0, hardwareFlops = 0; ///< of one micro-batch; 0: not known
  int64_t arenaBytes = 0;
  std::vector<PeakLine> peak;
  int64_t paramElements = 0, gradElements = 0, stateElements = 0;
  /// Whether gradients, and state, lie at other offsets than their parameters.
  bool divides() const {
    return llvm::any_of(parameters, [](const ParameterEntry &p) { return p.zero > 0; });
  }
  /// Whether gradients have offsets of their own.
  bool hasGradOffsets() const { return pipeline || divides(); }
  std::vector<ParameterEntry> parameters; ///< in model order
  llvm::SmallVector<llvm::StringRef> updateGroups; ///< names; empty: nothing ever rests
  std::vector<InputEntry> inputs;
  std::vector<RouterEntry> routers;
  llvm::StringMap<unsigned> parameterOf;   ///< by symbol
  dist::MeshAttr mesh;                     ///< null: one rank
  llvm::SetVector<mlir::ArrayAttr> groups; ///< by their axes
  int groupOf(mlir::ArrayAttr axes) const {
    return static_cast<int>(llvm::find(groups, axes) - groups.begin());
  }
  /// Sums of gradients, in the order of @reduce_gradients.
  std::vector<BucketEntry> buckets;
  mutable mlir::func::FuncOp prepare; ///< null where nothing is done once a step
  /// Parameters that it rounds to bf16, with their places in the block of shadows.
  struct Shadow {
    unsigned parameter;
    int64_t offset; ///< in bytes, a multiple of 64
  };
  std::vector<Shadow> shadows;
  int64_t shadowBytes = 0;

  /// The constant that says where a parameter begins, on a rank of pp; where its gradient does in a
  /// stage. rank and stage: -1 without pipelines.
  std::string parameterName(unsigned parameter, int rank) const;
  std::string gradientName(unsigned parameter, int stage) const;
};

/// What a collective is called in the stage that first had its function, while others run it, too.
struct SharedName {
  std::string text, kind; ///< "all_reduce of NODE", "all_reduce"
  mlir::Location location;
};
/// By that stage, each name once.
using SharedNames = std::map<int, std::vector<SharedName>>;

/// What is summed together, as ranges of the gradients' block: neighbours of which all members
/// get the sum are one, with the padding between them. offsetOf: -1 for what is not held.
BucketEntry makeBucket(const ProgramInfo &info, pipe::ReduceGradsOp sum,
                       llvm::function_ref<int64_t(unsigned)> offsetOf);

/// Reads the module's attributes, parameters and functions, and gives every
/// parameter its place in the params block. groups: those that have their numbers already, of
/// another program that runs on the same ranks. Errors are located.
mlir::FailureOr<ProgramInfo>
collectProgram(mlir::ModuleOp module, const EmitOptions &options,
               const llvm::SetVector<mlir::ArrayAttr> &groups = {});

/// The largest buffers among those that live where their sum is largest, and
/// the rest in one line. nodeOf: the ONNX node of a statement.
std::vector<PeakLine> findPeak(mlir::func::FuncOp func,
                               llvm::function_ref<std::string(mlir::Operation *)> nodeOf);

} // namespace moire::target

#endif // MOIRE_LIB_TARGET_PROGRAMINFO_H
