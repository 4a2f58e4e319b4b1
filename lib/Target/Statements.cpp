//===- Statements.cpp - One statement of C++ for each op of exec ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Statements.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::target;

static int64_t product(ArrayRef<int64_t> sizes) {
  int64_t n = 1;
  for (int64_t size : sizes)
    n *= size;
  return n;
}

FailureOr<std::string> StatementWriter::emit(Operation *op) {
  using Result = FailureOr<std::string>;
  // Places and kernels must be sayable before statements use them.
  for (Value result : op->getResults())
    if (auto type = dyn_cast<MemRefType>(result.getType()))
      if (memoryType(type.getElementType()).empty())
        return op->emitError("has elements of ")
               << type.getElementType()
               << " but a program holds f32, f64, bf16, i64, i32 and i1 only";
  task = "ctx";
  for (Value operand : op->getOperands())
    if (isa<MemRefType>(operand.getType()))
      if (auto grad = exec::rootOf(operand).getDefiningOp<exec::GradOp>())
        task = context(grad);
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case<exec::BufferOp, exec::KeptOp, exec::ParamOp, exec::ShadowOp, exec::GradOp,
            exec::ConstantOp, exec::ViewOp, exec::RoutingOp, func::ReturnOp>(
          [](Operation *) -> Result { return std::string(); })
      .Case([&](exec::LaunchOp op) { return launch(op); })
      .Case([&](exec::CopyOp op) { return copy(op); })
      .Case([&](exec::RoundOp op) {
        return call("convert", {"ctx", std::to_string(placeOf(op.getSource()).getNumElements()),
                                pointer(op.getSource()), pointer(op.getTarget())});
      })
      .Case([&](exec::FillOp op) { return fill(op); })
      .Case([&](exec::GatherOp op) {
        return rows(op, "gather", op.getTable(), op.getIndices(),
                    {pointer(op.getTable()), pointer(op.getIndices()), pointer(op.getResult())});
      })
      .Case([&](exec::ScatterOp op) {
        return rows(op, "scatter", op.getResult(), op.getIndices(),
                    {pointer(op.getUpdates()), pointer(op.getIndices()), pointer(op.getResult())});
      })
      .Case([&](exec::ScatterAddOp op) {
        return rows(op, "gatherGrad", op.getResult(), op.getIndices(),
                    {pointer(op.getUpdates()), pointer(op.getIndices()), pointer(op.getResult()),
                     beta(op.getMode())});
      })
      .Case([&](exec::GatherElementsOp op) {
        return elements(
            op, "gatherElements", op.getInput(), op.getIndices(), op.getAxis(),
            {pointer(op.getInput()), pointer(op.getIndices()), pointer(op.getResult())});
      })
      .Case([&](exec::ScatterElementsOp op) {
        return elements(op, "scatterElements", op.getResult(), op.getIndices(), op.getAxis(),
                        {pointer(op.getUpdates()), pointer(op.getIndices()),
                         pointer(op.getResult()), op.getAdd() ? "true" : "false"});
      })
      .Case([&](exec::GemmOp op) { return gemm(op); })
      .Case([&](exec::ReduceOp op) { return reduce(op); })
      .Case([&](exec::TopKOp op) { return topK(op); })
      .Case([&](exec::CumsumOp op) { return cumsum(op); })
      .Case<exec::LayerNormOp, exec::LayerNormGradOp, exec::RMSNormOp, exec::RMSNormGradOp,
            exec::SoftmaxOp, exec::SoftmaxGradOp, exec::CrossEntropyOp, exec::CrossEntropyGradOp,
            exec::LossOp>([&](Operation *op) { return layers(op); })
      .Case([&](exec::RopeOp op) { return rope(op); })
      .Case([&](exec::AttentionOp op) { return attention(op); })
      .Case([&](exec::AttentionGradOp op) { return attentionGrad(op); })
      .Case<exec::ChoiceCountsOp, exec::CapacityOp, exec::RouterOp, exec::RouterGradOp,
            exec::RouteOp, exec::DispatchOp, exec::CombineOp, exec::CombineGradOp,
            exec::PerExpertOp, exec::PerExpertSumOp, exec::GroupedGemmOp,
            exec::GroupedGemmGradWeightOp>([&](Operation *op) { return experts(op); })
      .Case<exec::AllReduceOp, exec::ReduceScatterOp, exec::AllGatherOp, exec::SplitOp,
            exec::AxisIndexOp, exec::ExchangeOp, exec::AllToAllRowsOp>(
          [&](Operation *op) { return collective(op); })
      .Case<exec::AsyncOp, exec::WaitOp, exec::StartReduceOp, exec::PublishOp>(
          [&](Operation *op) { return beside(op); })
      .Default([](Operation *op) -> Result {
        return op->emitError("has no statement in C++; phase program must lower it");
      });
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

FailureOr<std::string> StatementWriter::launch(exec::LaunchOp op) {
  auto shape = placeOf(op.getOutputs().front()).getShape();
  Launch used;
  used.kernel = op.getKernel().str();
  std::string space = braces(shape);
  if (op.getRows()) {
    int64_t rows = cast<nn::RoutingType>(op.getRows().getType()).getRows();
    const std::string some = partOfRouting(op, op.getRows());
    const bool isPart = exec::partOf(op).count > 1;
    space = "filled(" + space + ", " + (isPart ? some + ".offsets, " : "") + some + ".count(), " +
            std::to_string(rows) + ")";
  }
  std::vector<std::string> arguments{"ctx", space};
  auto add = [&](Value place, bool isOutput) {
    MemRefType type = placeOf(place);
    SmallVector<int64_t> strides = exec::stridesOf(type);
    int64_t inner = strides.empty() ? 1 : strides.back();
    // Where there is one element, its stride may be any.
    if (shape.empty() || shape.back() == 1)
      inner = 1;
    bool known = inner == 1 || (inner == 0 && !isOutput);
    std::string innerText = known ? std::to_string(inner) : "kStrided";
    SmallVector<int64_t> list(strides);
    if (known && !list.empty())
      list.pop_back();
    bool needed = llvm::any_of(list, [](int64_t s) { return s != 0; });
    arguments.push_back((isOutput ? "out<" : "in<") + innerText + ">(" + pointer(place) +
                        (needed ? ", " + braces(list) : "") + ")");
    used.operands.push_back("Operand<" + memoryType(type.getElementType()).str() + ", " +
                            innerText + ", " + (isOutput ? "true" : "false") + ">");
  };
  for (Value input : op.getInputs())
    add(input, false);
  for (int64_t dim : op.getIndex()) {
    arguments.push_back("index(" + std::to_string(dim) + ")");
    used.operands.push_back("IndexOperand");
  }
  for (Value output : op.getOutputs())
    add(output, true);
  std::string key = used.kernel + " " + llvm::join(used.operands, " ");
  std::string functor = used.kernel;
  functor[0] = std::toupper(static_cast<unsigned char>(functor[0]));
  if (seenLaunches.insert(key).second)
    usedLaunches.push_back(std::move(used));
  return call("launch<" + functor + ">", arguments);
}

//===----------------------------------------------------------------------===//
// Data movement
//===----------------------------------------------------------------------===//

FailureOr<std::string> StatementWriter::copy(exec::CopyOp op) {
  MemRefType from = placeOf(op.getSource()), to = placeOf(op.getTarget());
  std::string x = pointer(op.getSource()), y = pointer(op.getTarget());
  bool dense = exec::isDense(from) && exec::isDense(to);
  if (dense && op.getMode() == exec::Mode::overwrite)
    return call("copy", {"ctx", std::to_string(from.getNumElements()), x, y});
  std::string dims = braces(from.getShape()), xStrides = braces(exec::stridesOf(from)),
              yStrides = braces(exec::stridesOf(to));
  if (dense) {
    dims = braces({from.getNumElements()});
    xStrides = yStrides = "{1}";
  }
  if (op.getMode() == exec::Mode::overwrite)
    return call("copyStrided", {"ctx", dims, x, xStrides, y, yStrides});
  return call("addStrided", {"ctx", dims, x, xStrides, y, yStrides, beta(op.getMode())});
}

FailureOr<std::string> StatementWriter::fill(exec::FillOp op) {
  MemRefType type = placeOf(op.getTarget());
  std::string value = literal(cast<TypedAttr>(op.getValue()));
  if (type.getElementType().isInteger(1))
    value = value == "true" ? "uint8_t(1)" : "uint8_t(0)";
  std::string text =
      call("fill", {"ctx", std::to_string(type.getNumElements()), value, pointer(op.getTarget())});
  if (op.getMode() == exec::Mode::add_after_first)
    return "  if (" + task + ".first())\n  " + text;
  return text;
}

FailureOr<std::string> StatementWriter::rows(Operation *, StringRef callee, Value table,
                                             Value indices, std::vector<std::string> pointers) {
  auto shape = placeOf(table).getShape();
  std::string fields = Fields()
                           .add("outer", 1)
                           .add("axis", shape.front())
                           .add("inner", product(shape.drop_front()))
                           .add("count", placeOf(indices).getNumElements())
                           .str();
  pointers.insert(pointers.begin(), {"ctx", fields});
  return call(callee, pointers);
}

FailureOr<std::string> StatementWriter::elements(Operation *op, StringRef callee, Value whole,
                                                 Value indices, int64_t axis,
                                                 std::vector<std::string> pointers) {
  if (placeOf(whole).getRank() > 8)
    return op->emitError("has rank ") << placeOf(whole).getRank() << " but at most 8 are possible";
  std::string fields = Fields()
                           .add("dims", braces(placeOf(whole).getShape()))
                           .add("indexDims", braces(placeOf(indices).getShape()))
                           .add("axis", axis)
                           .str();
  pointers.insert(pointers.begin(), {"ctx", fields});
  return call(callee, pointers);
}

//===----------------------------------------------------------------------===//
// Contractions, reductions, order
//===----------------------------------------------------------------------===//

namespace {
/// One side of a matrix product as the runtime takes it.
struct Matrix {
  bool transposed = false; ///< stored [cols, rows]
  int64_t ld = 0;          ///< elements between stored rows; 0: dense
  int64_t batchStride = -1;
};
} // namespace

/// Fails where neither of the last two dims is contiguous with rows apart.
static FailureOr<Matrix> matrixOf(Operation *op, StringRef what, Value place, bool mayTranspose) {
  MemRefType type = placeOf(place);
  auto shape = type.getShape();
  auto strides = exec::stridesOf(type);
  int64_t rank = shape.size();
  int64_t rows = shape[rank - 2], cols = shape[rank - 1];
  int64_t sr = strides[rank - 2], sc = strides[rank - 1];
  Matrix m;
  if ((sc == 1 || cols == 1) && (sr >= cols || rows == 1))
    m.ld = rows == 1 || sr == cols ? 0 : sr;
  else if (mayTranspose && (sr == 1 || rows == 1) && (sc >= rows || cols == 1)) {
    m.transposed = true;
    m.ld = cols == 1 || sc == rows ? 0 : sc;
  } else {
    return op->emitError() << what << " of type " << type
                           << " must have unit stride in one of its last two dims and rows apart";
  }
  if (rank == 3 && shape[0] > 1) {
    if (strides[0] < 0)
      return op->emitError() << what << " of type " << type << " must not have a negative stride";
    m.batchStride = strides[0] == rows * cols ? -1 : strides[0];
  }
  return m;
}

FailureOr<std::string> StatementWriter::gemm(exec::GemmOp op) {
  auto a = matrixOf(op, "lhs", op.getLhs(), true), b = matrixOf(op, "rhs", op.getRhs(), true),
       c = matrixOf(op, "result", op.getResult(), false);
  if (failed(a) || failed(b) || failed(c))
    return failure();
  auto shape = placeOf(op.getResult()).getShape();
  int64_t rank = shape.size(), batch = rank == 3 ? shape[0] : 1;
  if (batch > 1 && c->batchStride == 0)
    return op.emitError("result must not repeat over the batch");
  Fields fields;
  fields.add("m", shape[rank - 2])
      .add("n", shape[rank - 1])
      .add("k", placeOf(op.getLhs()).getShape().back())
      .addIf(a->transposed, "transA", "true")
      .addIf(b->transposed, "transB", "true")
      .addIf(op.getMode() != exec::Mode::overwrite, "beta", beta(op.getMode()))
      .addUnless("lda", a->ld, 0)
      .addUnless("ldb", b->ld, 0)
      .addUnless("ldc", c->ld, 0)
      .addUnless("batch", batch, 1)
      .addUnless("strideA", a->batchStride, -1)
      .addUnless("strideB", b->batchStride, -1)
      .addUnless("strideC", c->batchStride, -1);
  std::vector<std::string> arguments{"ctx", fields.str(), pointer(op.getLhs()),
                                     pointer(op.getRhs()), pointer(op.getResult())};
  if (op.getBias() || op.hasEpilogue())
    arguments.push_back(pointerOrNull(op.getBias()));
  if (op.getResidual())
    arguments.push_back(pointer(op.getResidual()));
  if (op.getGelu())
    arguments.push_back(pointerOrNull(op.getAux()));
  return call(op.getResidual() ? "gemmResidual" : op.getGelu() ? "gemmGelu" : "gemm", arguments);
}

FailureOr<std::string> StatementWriter::reduce(exec::ReduceOp op) {
  auto shape = placeOf(op.getInput()).getShape();
  if (shape.size() > 8)
    return op.emitError("has rank ") << (int64_t)shape.size() << " but at most 8 are possible";
  std::string over;
  for (int64_t dim : op.getDims())
    over += (over.empty() ? "" : " | ") + ("1u << " + std::to_string(dim));
  std::string fields = Fields()
                           .add("dims", braces(shape))
                           .add("over", over.empty() ? "0u" : over)
                           .addIf(op.getMode() != exec::Mode::overwrite, "beta", beta(op.getMode()))
                           .str();
  return call("reduce", {"ctx", "ReduceKind::" + nn::stringifyReduceKind(op.getKind()).str(),
                         fields, pointer(op.getInput()), pointer(op.getResult())});
}

FailureOr<std::string> StatementWriter::topK(exec::TopKOp op) {
  auto shape = placeOf(op.getInput()).getShape();
  std::string fields = Fields()
                           .add("outer", product(shape.drop_back()))
                           .add("axis", shape.back())
                           .add("inner", 1)
                           .add("k", placeOf(op.getIds()).getShape().back())
                           .addIf(op.getSmallest(), "largest", "false")
                           .str();
  return call("topK", {"ctx", fields, pointer(op.getInput()), pointer(op.getValues()),
                       pointer(op.getIds())});
}

FailureOr<std::string> StatementWriter::cumsum(exec::CumsumOp op) {
  auto shape = placeOf(op.getInput()).getShape();
  int64_t axis = op.getAxis();
  return call("cumulativeSum",
              {"ctx", std::to_string(product(shape.take_front(axis))), std::to_string(shape[axis]),
               std::to_string(product(shape.drop_front(axis + 1))),
               op.getExclusive() ? "true" : "false", op.getReverse() ? "true" : "false",
               pointer(op.getInput()), pointer(op.getResult())});
}
