//===- TableBuilder.h - How the parameter table is built -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// 1. classify: each float initializer is a parameter, a buffer or a constant,
//    by PyTorch's metadata where the file has it, else by its place in the graph.
// 2. fold: which parameter it was made of, and how.
// 3. stack: slices of one parameter get their places in it.
// 4. tie: copies of one parameter are found (files without metadata).
// 5. assign: each use gets a parameter; uses of a merged tensor get several.
// 6. sort and name: as PyTorch does.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_FRONTEND_TABLEBUILDER_H
#define MOIRE_LIB_FRONTEND_TABLEBUILDER_H

#include "GradientPaths.h"
#include "ParameterNames.h"
#include "WeightBytes.h"
#include "WeightKinds.h"
#include "moire/Frontend/Parameters.h"
#include "llvm/ADT/StringSet.h"

namespace moire::frontend {

/// What is known of one float initializer.
struct Weight {
  onnx::InitializerOp op;
  bool trained = false;
  std::string torchName;       // empty: not known
  std::string tiedName;        // its own one, where it is another's copy
  std::string symbol;          // torchName, or what stands for it
  std::string reason;
  Transform transform = Transform::same;
  int64_t index = 0;
  llvm::SmallVector<int64_t> shape;  // of the parameter
};

/// Builds one table and is then spent.
class TableBuilder {
public:
  explicit TableBuilder(mlir::ModuleOp module);
  ParameterTable build();

private:
  void collect();
  void classify(Weight &weight);
  void classifyByGraph(Weight &weight);
  void fold(Weight &weight);
  void nameByUse(Weight &weight);
  void stackSelections();
  void stackExperts();
  void tie();
  void assign(Weight &weight);
  void checkTies();
  void sort();
  void nameTies();
  void findSaved();
  void listMerged();
  llvm::SmallVector<const Signature::Entry *> findLost(onnx::NodeOp node, const Weight &weight,
                                                 bool isStatistic);
  const Signature::Entry *findMerged(Weight &weight, mlir::OpOperand &use);
  unsigned getParameter(Weight &weight, llvm::StringRef symbol, llvm::StringRef torchName, bool frozen,
                        llvm::StringRef reason);
  void warn(const llvm::Twine &text) { table.warnings.push_back(text.str()); }

  mlir::ModuleOp module;
  Signature signature;
  WeightBytes bytes;
  GradientPaths paths;
  bool hasMetadata = false;
  std::vector<Weight> weights;
  llvm::DenseMap<mlir::Operation *, Weight *> byOp;
  llvm::StringSet<> present; // targets that some initializer stands for
  llvm::StringMap<unsigned> bySymbol;
  ParameterTable table;
};

} // namespace moire::frontend

#endif // MOIRE_LIB_FRONTEND_TABLEBUILDER_H
