//===- OpCost.cpp - How long ops and collectives take --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Overlap/OpCost.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace moire;
using namespace moire::overlap;

std::string Rates::parse(StringRef text) {
  SmallVector<StringRef> items;
  text.split(items, ',', -1, /*KeepEmpty=*/false);
  for (StringRef item : items) {
    auto [name, number] = item.split('=');
    double value;
    const bool known = llvm::StringSwitch<bool>(name)
                           .Cases("flops", "memory", "overhead", "bandwidth", "latency", true)
                           .Default(false);
    const bool mayBeZero = name == "overhead" || name == "latency";
    if (!known || number.getAsDouble(value) || !std::isfinite(value) || value < 0 ||
        (value == 0 && !mayBeZero))
      return ("--overlap-rates has '" + item +
              "'; use flops=GFLOP/S, memory=GB/S, overhead=MICROSECONDS, bandwidth=GB/S and "
              "latency=MICROSECONDS")
          .str();
    (name == "flops"      ? flops
     : name == "memory"   ? memory
     : name == "overhead" ? overhead
     : name == "latency"  ? latency
                          : bandwidth) = mayBeZero ? value * 1e-6 : value * 1e9;
  }
  return {};
}

static double bytesOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !tensor.hasStaticShape() || !tensor.getElementType().isIntOrFloat())
    return 0;
  return double(tensor.getNumElements()) * std::max(8u, tensor.getElementTypeBitWidth()) / 8;
}

/// Of an elementwise kernel in a loop over elements, operations that take longer than an
/// addition: exp, tanh and their like.
static int64_t slowOps(Operation *op) {
  int64_t count = 0;
  op->walk([&](Operation *inner) { count += isa<math::MathDialect>(inner->getDialect()); });
  return count;
}

/// Bytes of the pieces of a parameter that a rank owns.
static double ownedBytes(Operation *op, FlatSymbolRefAttr name) {
  auto parameter = SymbolTable::lookupNearestSymbolFrom<pipe::ParameterOp>(op, name);
  return bytesOf(parameter.getZeroLevel() ? parameter.getPieceType() : parameter.getLocalType());
}

double overlap::secondsOf(Operation *op, const Rates &rates, double part) {
  if (auto measured = op->getAttrOfType<FloatAttr>(kSecondsAttr))
    return measured.getValueAsDouble();
  if (auto update = dyn_cast<pipe::UpdateOp>(op)) {
    // Reads the gradient; reads and writes the value and one or two moments.
    const int passes = update.getOptimizer() == pipe::Optimizer::adamw ? 7 : 5;
    return passes * ownedBytes(op, update.getParameterAttr()) / rates.memory + rates.overhead;
  }
  if (op->getNumResults() == 0 && op->getNumOperands() == 0)
    return 0;
  if (isa<arith::ConstantOp, tensor::EmptyOp, pipe::ReadOp, nn::ReshapeOp, nn::TransposeOp,
          nn::BroadcastOp, nn::SliceOp, nn::ReverseOp, pipe::AccumulateOp, dist::WaitOp>(op) ||
      op->hasTrait<OpTrait::IsTerminator>())
    return 0;
  double bytes = 0, elements = 0;
  for (Value operand : op->getOperands())
    if (!operand.getDefiningOp<tensor::EmptyOp>())
      bytes += bytesOf(operand.getType());
  for (Type type : op->getResultTypes()) {
    bytes += bytesOf(type);
    if (auto tensor = dyn_cast<RankedTensorType>(type))
      elements = std::max(elements, double(tensor.getNumElements()));
  }
  double seconds = bytes / rates.memory;
  // An exp takes about as long as eight bytes of memory.
  seconds += elements * double(slowOps(op)) * 8 / rates.memory;
  if (auto cost = dyn_cast<nn::CostOpInterface>(op))
    seconds = std::max(seconds, double(cost.flops()) / rates.flops);
  return part * seconds + rates.overhead;
}

double overlap::bytesSent(Operation *op, std::optional<int64_t> rowsSent) {
  ArrayAttr axes = dist::axesOf(op);
  dist::MeshAttr mesh = dist::meshOf(op);
  if (!axes || !mesh)
    return 0;
  const double n = double(mesh.getSize(axes)), others = (n - 1) / n;
  return llvm::TypeSwitch<Operation *, double>(op)
      .Case([&](dist::AllReduceOp sum) { return 2 * others * bytesOf(sum.getType()); })
      .Case([&](dist::ReduceScatterOp sum) { return others * bytesOf(sum.getInput().getType()); })
      .Case([&](dist::AllGatherOp gather) { return (n - 1) * bytesOf(gather.getInput().getType()); })
      .Case([&](dist::ExchangeOp exchange) {
        return 4 * others * double(exchange.getRouting().getType().getExperts());
      })
      .Case([&](dist::AllToAllRowsOp rows) {
        auto type = cast<RankedTensorType>(rows.getRows().getType());
        const double width = bytesOf(type) / double(std::max<int64_t>(1, type.getDimSize(0)));
        return width * (rowsSent ? double(*rowsSent)
                                 : others * double(rows.getExchange().getType().getSent()));
      })
      .Case([&](pipe::ReduceGradsOp sum) {
        double bytes = 0;
        for (auto name : sum.getParameters().getAsRange<FlatSymbolRefAttr>())
          bytes += bytesOf(
              SymbolTable::lookupNearestSymbolFrom<pipe::ParameterOp>(sum, name).getLocalType());
        return (sum.getScatter() ? 1 : 2) * others * bytes;
      })
      .Case([&](pipe::GatherOp gather) {
        double bytes = 0;
        for (auto name : gather.getParameters().getAsRange<FlatSymbolRefAttr>())
          bytes += ownedBytes(gather, name);
        return (n - 1) * bytes;
      })
      .Default([&](Operation *other) {
        double bytes = 0;
        for (Value operand : other->getOperands())
          bytes += bytesOf(operand.getType());
        return others * bytes;
      });
}

double overlap::transferSeconds(Operation *op, const Rates &rates, std::optional<int64_t> rows) {
  if (auto measured = op->getAttrOfType<FloatAttr>(kSecondsAttr))
    return measured.getValueAsDouble();
  auto sum = dyn_cast<pipe::ReduceGradsOp>(op);
  const double messages = isa<dist::AllReduceOp>(op) || (sum && !sum.getScatter()) ? 2 : 1;
  return bytesSent(op, rows) / rates.bandwidth + messages * rates.latency;
}
