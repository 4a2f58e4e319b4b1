//===- Parameters.h - Which initializers are parameters of what name -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// An ONNX file holds initializers; a trainer wants the model's parameters.
// Exporters fold transposes into weights under names like val_101, merge equal
// tensors, break ties and keep buffers among them. The table undoes that.
//
//     ParameterTable table = buildParameterTable(*module);
//     for (const Parameter &p : table.parameters)
//       if (!p.constant)
//         … create pipe.parameter @p.symbol : tensor<p.shape x f32> from p.sources
//     // per operand of the imported graph:
//     if (const ParameterUse *use = table.lookup(operand)) {
//       Value value = … pipe.read @table.parameters[use->parameter].symbol;
//       switch (use->transform) {        // the operand's value out of the parameter's
//       case Transform::same:            value
//       case Transform::transpose_last2: nn.transpose of the last two dims
//       case Transform::reshape:         nn.reshape to the initializer's type
//       case Transform::slice:           value[use->index] (first dim dropped)
//       case Transform::slice_transpose: the same, then its last two dims transposed
//       }
//     } else                             // a constant: InitializerOp::getValue()
//
// For a tied output layer that the exporter folded (tiny Llama, GPT-2):
//
//     name             shape    trained  from
//     lm_head.weight   96x32    yes      lm_head.weight
//                                        val_309 (transpose_last2)
//
// i.e. one Parameter with two sources. The Gather's operand 0 looks up to
// {parameter, same}, the MatMul's operand 1 to {parameter, transpose_last2}.
// Where equal tensors were merged, uses of one initializer look up to different
// parameters, which have the same source.
//===----------------------------------------------------------------------===//
#ifndef MOIRE_FRONTEND_PARAMETERS_H
#define MOIRE_FRONTEND_PARAMETERS_H

#include "dialects/onnx/Onnx.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/DenseMap.h"

namespace moire::frontend {

using pipe::Transform;

/// A stored tensor that a parameter, or a part of it, is read from.
struct ParameterSource {
  std::string initializer;
  /// Relative to the model's folder; empty where the bytes are not at hand.
  std::string file;
  int64_t offset = 0, bytes = 0;
  /// As stored: f32, f16, bf16, f64, …
  mlir::Type elementType;
  llvm::SmallVector<int64_t> shape;
  /// How the stored tensor is made of the parameter (see the table above).
  Transform transform = Transform::same;
  /// Entry of the parameter's first dim, for the slices; else 0.
  int64_t index = 0;
};

struct Parameter {
  /// Unique; the PyTorch name where it is known, else the initializer's.
  std::string symbol;
  /// As the file tells it (a wrapper's prefix is kept), or empty.
  std::string torchName;
  /// Another name of a tied parameter: what the file calls it where PyTorch's
  /// named_parameters() has another one first, or what a copy is called; else
  /// empty.
  std::string tiedName;
  /// PyTorch's layout where it is known, else as stored.
  llvm::SmallVector<int64_t> shape;
  mlir::Type elementType;
  /// At least one. Sources that are not slices are copies of each other.
  llvm::SmallVector<ParameterSource, 1> sources;
  /// Not trained: a buffer, or nothing differentiable leads to the outputs.
  bool frozen = false;
  /// PyTorch's state_dict() has it: a parameter, or a buffer that is saved. Where
  /// the file does not tell, everything that has a name of the model's.
  bool saved = false;
  /// Frozen and of a value that the IR holds: no use looks up to it. In the
  /// table only to be explained.
  bool constant = false;
  /// With what it rests in steps that do not train it; empty: in none.
  std::string group;
  /// Why it is trained or frozen and where its name and layout are from.
  std::string reason;
};

/// What an operand of the imported graph is made of.
struct ParameterUse {
  unsigned parameter;
  Transform transform;
  int64_t index;
};

/// An initializer that holds several parameters, which the exporter merged because
/// they were equal.
struct MergedInitializer {
  std::string initializer;
  struct Use {
    std::string symbol; ///< of the parameter
    std::string node;   ///< op type
    int64_t input;
  };
  /// By nodes of the main graph, in the file's order: all there are.
  std::vector<Use> uses;
};

struct ParameterTable {
  /// In PyTorch's order where the file tells it, else in the file's.
  std::vector<Parameter> parameters;
  /// Those that nodes of nested graphs do not read.
  std::vector<MergedInitializer> merged;
  /// One sentence each; what the user should know (a doubtful tie, a merge that
  /// cannot be undone).
  std::vector<std::string> warnings;

  /// For an operand that an onnx.initializer feeds: what it is made of, or null
  /// for a constant. Valid while the module is not changed.
  const ParameterUse *lookup(mlir::OpOperand &operand) const;

  /// Freezes what the regular expression finds in the symbol or PyTorch name.
  /// Returns how many were trained before; -1 where `regex` is malformed, with
  /// the reason in `error`.
  int64_t freeze(llvm::StringRef regex, std::string &error);

  /// Fills the groups as pass train-groups does. Returns a sentence where that cannot be.
  std::string group(llvm::StringRef groups);

  /// "m." where every trained parameter's name starts with it, else empty.
  std::string getSharedPrefix() const;

  void print(llvm::raw_ostream &os) const;

  llvm::DenseMap<mlir::OpOperand *, ParameterUse> uses;
};

/// Builds the table of an imported module (@main of onnx.node ops). It never
/// fails: what it cannot tell it trains or freezes by the file's own structure,
/// and `reason` says so. Reads weight bytes only to find ties and to tell
/// constants, and only for files without PyTorch's metadata.
ParameterTable buildParameterTable(mlir::ModuleOp module);

} // namespace moire::frontend

#endif // MOIRE_FRONTEND_PARAMETERS_H
