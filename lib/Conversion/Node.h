//===- Node.h - One ONNX node while it is converted ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_CONVERSION_NODE_H
#define MOIRE_LIB_CONVERSION_NODE_H

#include "Emitter.h"
#include "dialects/onnx/Onnx.h"
#include "llvm/ADT/StringMap.h"

namespace moire::conversion {

/// What a handler sees of a node: converted inputs, attributes, and the
/// emitter that builds its results at its location.
class Node {
public:
  Node(onnx::NodeOp op, Emitter &emitter, llvm::ArrayRef<Value> inputs)
      : op(op), e(emitter), opset(op.getOpsetVersion()), inputs(inputs),
        results(op.getNumResults()) {
    if (opset == 0) // a module that does not tell means today's ops
      opset = newestOpset;
  }
  static constexpr int64_t newestOpset = 25;

  onnx::NodeOp op;
  Emitter &e;
  int64_t opset;

  //===--- inputs ---------------------------------------------------------===//
  unsigned numInputs() const { return inputs.size(); }
  /// Null where it is absent or not given.
  Value in(unsigned i) const { return i < inputs.size() ? inputs[i] : Value(); }
  bool has(unsigned i) const { return (bool)in(i); }
  Dims shape(unsigned i) const { return shapeOf(in(i)); }
  int64_t rank(unsigned i) const { return shape(i).size(); }
  /// The integers of constant input i; an error names `what` where the input
  /// is computed from data.
  llvm::FailureOr<DimVector> constInts(unsigned i, llvm::StringRef what);
  llvm::FailureOr<int64_t> constInt(unsigned i, llvm::StringRef what);
  /// The single number of constant input i; nothing where it is not constant.
  std::optional<double> number(unsigned i) const { return uniformOf(in(i)); }

  //===--- attributes -----------------------------------------------------===//
  bool hasAttr(llvm::StringRef name) { return (bool)op.getAttribute(name); }
  int64_t getInt(llvm::StringRef name, int64_t otherwise) { return op.getInt(name, otherwise); }
  /// In the shortest decimals that the file's single-precision float stands
  /// for: 1e-06, not 9.99999997e-07.
  double getFloat(llvm::StringRef name, double otherwise);
  llvm::StringRef getString(llvm::StringRef name, llvm::StringRef otherwise) {
    return op.getString(name, otherwise);
  }
  std::optional<DimVector> getInts(llvm::StringRef name);
  /// Ints that are an attribute up to some opset and constant input i after
  /// it: Squeeze's axes, Split's sizes, ... Nothing where neither is given.
  llvm::FailureOr<std::optional<DimVector>> intsOf(llvm::StringRef name, unsigned i);
  /// An axis counted from the end if negative; an error outside -rank..rank-1.
  llvm::FailureOr<int64_t> axis(int64_t value, int64_t rank);
  llvm::FailureOr<DimVector> axes(Dims values, int64_t rank);
  /// Attribute `name` as an axis of input 0.
  llvm::FailureOr<int64_t> axisAttr(llvm::StringRef name, int64_t otherwise) {
    return axis(getInt(name, otherwise), rank(0));
  }

  //===--- results --------------------------------------------------------===//
  unsigned numResults() const { return results.size(); }
  /// Whether somebody reads result i.
  bool wants(unsigned i) { return i < op.getNumResults() && !op.getResult(i).use_empty(); }
  void set(unsigned i, Value v) {
    if (i < results.size())
      results[i] = v;
  }
  /// Sets the only result that most ops have; fails where it is null.
  llvm::LogicalResult give(Value v) {
    set(0, v);
    return llvm::success((bool)v);
  }
  llvm::ArrayRef<Value> getResults() const { return results; }

  /// An error at the node: "Reshape: message".
  llvm::LogicalResult fail(const llvm::Twine &message);

private:
  llvm::ArrayRef<Value> inputs;
  llvm::SmallVector<Value> results;
};

/// Builds the node's results, or reports why it cannot. Wanted results that
/// stay null without a report are reported as not supported.
using Handler = llvm::LogicalResult (*)(Node &);

/// Op types by qualified name ("Gemm", "com.microsoft::MoE").
class HandlerTable {
public:
  struct Entry {
    Handler handler;
    unsigned minInputs; ///< inputs that must be present
  };
  /// All op types that the compiler knows.
  static const HandlerTable &get();

  const Entry *find(llvm::StringRef opType) const {
    auto it = entries.find(opType);
    return it == entries.end() ? nullptr : &it->second;
  }
  void add(llvm::StringRef opType, unsigned minInputs, Handler handler) {
    entries[opType] = {handler, minInputs};
  }
  const llvm::StringMap<Entry> &all() const { return entries; }

private:
  llvm::StringMap<Entry> entries;
};

// One function per file of handlers.
void addElementwise(HandlerTable &table);
void addActivations(HandlerTable &table);
void addShape(HandlerTable &table);
void addMovement(HandlerTable &table);
void addIndex(HandlerTable &table);
void addReduce(HandlerTable &table);
void addMatmul(HandlerTable &table);
void addEinsum(HandlerTable &table);
void addNormalization(HandlerTable &table);
void addAttention(HandlerTable &table);
void addLoss(HandlerTable &table);
void addMoE(HandlerTable &table);

} // namespace moire::conversion

#endif // MOIRE_LIB_CONVERSION_NODE_H
