//===- CutStages.cpp - Pass cut-stages -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "MicroStep.h"
#include "StageTimes.h"
#include "dialects/pipe/PipeSchedule.h"
#include "moire/Pipe/PipelineProgram.h"
#include "moire/Support/StageCuts.h"
#include "llvm/ADT/SetVector.h"

namespace moire::stages {
#define GEN_PASS_DEF_CUTSTAGES
#include "lib/Stages/Passes.h.inc"
} // namespace moire::stages

using namespace mlir;
using namespace moire;
using namespace moire::stages;

namespace {

/// A change of indices, which costs nothing to do again beside what is kept.
bool isView(Operation *op) {
  return isa<nn::ReshapeOp, nn::TransposeOp, nn::SliceOp, nn::BroadcastOp>(op);
}

/// The functions of one stage.
class StageBuilder {
public:
  StageBuilder(const Assignment &assignment, int64_t stage)
      : assignment(assignment), step(assignment.step), stage(stage),
        outputs(assignment.outputsOf(stage)) {
    if (stage > 0) {
      inputs = assignment.outputsOf(stage - 1);
      inputCotangents = assignment.inputCotangentsOf(stage);
    }
    if (stage + 1 < assignment.stages)
      outputCotangents = assignment.inputCotangentsOf(stage + 1);
  }

  pipe::StageOp build(const overlap::Rates &rates);

private:
  /// A function under way: what of @micro_step is what in it.
  struct Function {
    func::FuncOp op;
    IRMapping map;
    OpBuilder builder;
    SmallVector<std::pair<StringRef, int64_t>> roles; ///< of the further arguments
    bool isForward;
  };

  Function begin(StringRef suffix, bool isForward);
  Value get(Function &f, Value value);
  Value addArgument(Function &f, Value value, StringRef role, int64_t number);
  void add(Function &f, ArrayRef<Operation *> ops);
  using Results = SmallVector<std::tuple<Value, StringRef, int64_t>>;
  void end(Function &f, const Results &results);
  int64_t residualOf(Value value) {
    residuals.insert(value);
    return llvm::find(residuals, value) - residuals.begin();
  }
  scheduling::StageCost costOf(const overlap::Rates &rates);

  const Assignment &assignment;
  const MicroStep &step;
  const int64_t stage;
  SmallVector<Value> inputs, outputs, inputCotangents, outputCotangents;
  /// What is kept between the stage's functions.
  llvm::SetVector<Value> residuals;
  /// What backward_input leaves for backward_weight.
  llvm::DenseSet<Value> madeByInput;
  func::FuncOp forward, backward, backwardInput, backwardWeight;
};

} // namespace

StageBuilder::Function StageBuilder::begin(StringRef suffix, bool isForward) {
  func::FuncOp micro = step.function();
  OpBuilder builder(micro);
  auto op = builder.create<func::FuncOp>(
      micro.getLoc(), ("stage" + Twine(stage) + "_" + suffix).str(),
      builder.getFunctionType(micro.getFunctionType().getInputs(), {}));
  Function f{op, {}, builder, {}, isForward};
  Block *block = op.addEntryBlock();
  f.builder.setInsertionPointToEnd(block);
  f.map.map(micro.getArguments(), block->getArguments());
  return f;
}

Value StageBuilder::addArgument(Function &f, Value value, StringRef role, int64_t number) {
  Value argument = f.op.getBody().front().addArgument(value.getType(), value.getLoc());
  f.roles.push_back({role, number});
  f.map.map(value, argument);
  return argument;
}

/// The value in the function: there already, made again, or a new argument.
Value StageBuilder::get(Function &f, Value value) {
  if (Value known = f.map.lookupOrNull(value))
    return known;
  auto among = [&](ArrayRef<Value> list) -> std::optional<int64_t> {
    auto it = llvm::find(list, value);
    return it == list.end() ? std::nullopt : std::optional<int64_t>(it - list.begin());
  };
  Operation *def = value.getDefiningOp();
  const bool again = step.isFree(value) ||
                     (!f.isForward && step.isForward(value) && !among(inputs) && isView(def)) ||
                     (!f.isForward && assignment.isDoneIn(value, stage) &&
                      !madeByInput.contains(value));
  if (again) {
    for (Value operand : def->getOperands())
      get(f, operand);
    f.builder.clone(*def, f.map);
    return f.map.lookup(value);
  }
  if (auto i = among(inputs))
    return addArgument(f, value, pipe::kInputAttr, *i);
  if (auto i = among(outputCotangents))
    return addArgument(f, value, pipe::kOutputCotangentAttr, *i);
  if (auto i = among(outputs))
    return addArgument(f, value, pipe::kOutputAttr, *i);
  return addArgument(f, value, pipe::kResidualAttr, residualOf(value));
}

void StageBuilder::add(Function &f, ArrayRef<Operation *> ops) {
  for (Operation *op : ops) {
    if (op->getNumResults() && f.map.contains(op->getResult(0)))
      continue; // something before it needed it
    for (Value operand : op->getOperands())
      get(f, operand);
    f.builder.clone(*op, f.map);
  }
}

void StageBuilder::end(Function &f, const Results &results) {
  SmallVector<Value> values;
  for (auto &[value, role, number] : results)
    values.push_back(get(f, value));
  f.builder.create<func::ReturnOp>(f.op.getLoc(), values);
  f.op.setType(f.builder.getFunctionType(f.op.getBody().front().getArgumentTypes(),
                                         TypeRange(ValueRange(values))));
  const unsigned own = step.function().getNumArguments();
  SmallVector<DictionaryAttr> attributes;
  auto describe = [&](StringRef role, int64_t number) {
    Attribute value = role == pipe::kLossAttr ? Attribute(f.builder.getUnitAttr())
                                              : f.builder.getI64IntegerAttr(number);
    return f.builder.getDictionaryAttr(f.builder.getNamedAttr(role, value));
  };
  for (unsigned i = 0; i < own; ++i) {
    DictionaryAttr given = step.function().getArgAttrDict(i);
    attributes.push_back(given ? given : f.builder.getDictionaryAttr({}));
  }
  for (auto [role, number] : f.roles)
    attributes.push_back(describe(role, number));
  f.op.setAllArgAttrs(attributes);
  attributes.clear();
  for (auto &[value, role, number] : results)
    attributes.push_back(describe(role, number));
  f.op.setAllResultAttrs(attributes);
}

/// Of the first stage, which sends nothing back: ops that the gradients of two accumulations need.
static SmallVector<Operation *> sharedOps(const Assignment &assignment,
                                          ArrayRef<Operation *> accumulations, int64_t stage) {
  llvm::MapVector<Operation *, int> needed;
  for (Operation *op : accumulations)
    for (Operation *other : assignment.opsFor({op}, {}, stage))
      ++needed[other];
  SmallVector<Operation *> shared;
  for (auto [op, times] : needed)
    if (times > 1)
      shared.push_back(op);
  return shared;
}

pipe::StageOp StageBuilder::build(const overlap::Rates &rates) {
  // 1. The backward, whole and in two parts; they say what has to be kept.
  const SmallVector<Operation *> accumulations = assignment.accumulationsIn(stage);
  const SmallVector<Operation *> all = assignment.opsFor(accumulations, inputCotangents, stage);
  Results cotangents;
  for (auto [i, value] : llvm::enumerate(inputCotangents))
    cotangents.push_back({value, pipe::kInputCotangentAttr, i});

  Function whole = begin("backward", false);
  add(whole, all);
  end(whole, cotangents);
  backward = whole.op;

  const SmallVector<Operation *> roots =
      stage == 0 ? sharedOps(assignment, accumulations, stage) : SmallVector<Operation *>();
  const SmallVector<Operation *> first = assignment.opsFor(roots, inputCotangents, stage);
  Function input = begin("backward_input", false);
  add(input, first);
  for (Operation *op : first)
    for (Value result : op->getResults())
      madeByInput.insert(result);
  Function weight = begin("backward_weight", false);
  SmallVector<Operation *> rest;
  llvm::copy_if(all, std::back_inserter(rest),
                [&](Operation *op) { return !llvm::is_contained(first, op); });
  add(weight, rest);
  end(weight, {});
  Results left = cotangents;
  for (auto [i, value] : llvm::enumerate(residuals))
    if (madeByInput.contains(value))
      left.push_back({value, pipe::kResidualAttr, i});
  end(input, left);
  backwardInput = input.op;
  backwardWeight = weight.op;

  // 2. The forward.
  Function f = begin("forward", true);
  SmallVector<Operation *> ops;
  for (Operation *op : step.forward)
    if (assignment.stageOf(op) == stage)
      ops.push_back(op);
  add(f, ops);
  Results results;
  for (auto [i, value] : llvm::enumerate(outputs))
    results.push_back({value, pipe::kOutputAttr, i});
  Value loss = step.function().getBody().front().getTerminator()->getOperand(0);
  if (step.isForward(loss) && assignment.madeIn(loss) == stage)
    results.push_back({loss, pipe::kLossAttr, 0});
  for (auto [i, value] : llvm::enumerate(residuals))
    if (!madeByInput.contains(value))
      results.push_back({value, pipe::kResidualAttr, i});
  end(f, results);
  forward = f.op;
  forward->moveBefore(backward);

  // 3. The stage.
  OpBuilder b(step.function());
  auto op = b.create<pipe::StageOp>(step.function().getLoc(), "stage" + std::to_string(stage), stage,
                                    costOf(rates));
  op.setForwardAttr(FlatSymbolRefAttr::get(forward));
  op.setBackwardAttr(FlatSymbolRefAttr::get(backward));
  op.setBackwardInputAttr(FlatSymbolRefAttr::get(backwardInput));
  op.setBackwardWeightAttr(FlatSymbolRefAttr::get(backwardWeight));
  return op;
}

static double bytesOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? double(tensor.getNumElements()) * tensor.getElementTypeBitWidth() / 8 : 0;
}

scheduling::StageCost StageBuilder::costOf(const overlap::Rates &rates) {
  scheduling::StageCost cost = stages::timesOf(forward, backward, backwardInput, backwardWeight, rates);
  double left = 0;
  for (BlockArgument argument : backwardWeight.getArguments().drop_front(step.function().getNumArguments()))
    left += bytesOf(argument.getType());
  for (Value value : residuals)
    if (!madeByInput.contains(value))
      cost.activationBytes += bytesOf(value.getType());
  for (Value value : inputs)
    cost.activationBytes += bytesOf(value.getType());
  for (Value value : outputs)
    cost.outputBytes += bytesOf(value.getType());
  cost.weightResidualBytes = std::min(left, cost.activationBytes);
  return cost;
}

namespace {
struct CutStages : stages::impl::CutStagesBase<CutStages> {
  using CutStagesBase::CutStagesBase;

  void runOnOperation() override {
    if (failed(run(getOperation())))
      signalPassFailure();
  }

  LogicalResult run(ModuleOp module) {
    overlap::Rates given;
    if (std::string error = given.parse(rates); !error.empty())
      return emitError(module.getLoc(), error);
    auto micro = module.lookupSymbol<func::FuncOp>("micro_step");
    if (!micro || !micro.getBody().hasOneBlock() || micro.getNumResults() != 1)
      return emitError(module.getLoc(), "needs a function @micro_step of one block that returns the "
                                        "loss; run phase distribute first");
    int64_t count = stages;
    if (count == 0) {
      dist::MeshAttr mesh = dist::meshOf(module);
      count = (mesh ? mesh.getSize("pp") : 1) * perRank;
    }
    if (count < 1)
      return emitError(module.getLoc(), "a model cannot be cut into ")
             << count << " stages; use stages=1 or more";
    MicroStep step(micro);
    auto named = module->getAttrOfType<DictionaryAttr>(kStageCutsAttr);
    auto ends = module->getAttrOfType<ArrayAttr>(kStageEndsAttr);
    auto cuts = named  ? readCuts(step, count, named)
                : ends ? repeatCuts(step, count, ends)
                       : chooseCuts(step, count, given);
    if (failed(cuts))
      return failure();
    module->setAttr(kStageEndsAttr, describeCuts(step, *cuts));
    const Assignment assignment(step, *cuts);
    for (int64_t stage = 0; stage < count; ++stage)
      StageBuilder(assignment, stage).build(given);
    micro.erase();
    return success();
  }
};
} // namespace
