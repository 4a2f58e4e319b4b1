//===- Forward.cpp - Products, attention and parameters of each part -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Parts.h"
#include "dialects/nn/NN.h"
#include "dialects/pipe/Pipe.h"

using namespace mlir;
using namespace moire;
using cost::Part;
using cost::Product;

static ArrayRef<int64_t> shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}

namespace {

struct Walker {
  const Parts &parts;
  ImportedCost &result;
  int64_t batch = 0; ///< sequences of the micro-batch, where attention tells

  double perToken(int64_t amount) const {
    return static_cast<double>(amount) / static_cast<double>(parts.tokens);
  }
  Part &partOf(Operation *op) { return result.model.parts[parts.partOf.lookup(op)]; }

  /// Whether a value was made by something that computes on whole rows of the residual stream.
  static bool isNormalized(Value value) {
    Operation *op = behindReshapes(value).getDefiningOp();
    return op && isa<nn::RMSNormOp, nn::LayerNormOp>(op);
  }

  static bool makesRouting(nn::MatmulOp op) {
    return llvm::any_of(op->getUsers(), [](Operation *user) { return isa<nn::RouterOp>(user); });
  }

  /// Column where a product reads the residual stream, row where it makes it.
  Product::Split splitOf(Value input, double k, double n) const {
    const double width = static_cast<double>(parts.width);
    if (n == width && !isNormalized(input))
      return Product::Row;
    return k == width ? Product::Column : Product::Whole;
  }

  void matmul(nn::MatmulOp op) {
    const bool left = parameterRead(op.getLhs()) != nullptr;
    Operation *read = parameterRead(left ? op.getLhs() : op.getRhs());
    if (!read)
      return scores(op);
    Value weight = left ? op.getLhs() : op.getRhs(), input = left ? op.getRhs() : op.getLhs();
    auto lhs = shapeOf(op.getLhs());
    Product product;
    product.name = cast<pipe::ReadOp>(read).getParameter().str();
    product.k = static_cast<double>(lhs[lhs.size() - (op.getTransposeLhs() ? 2 : 1)]);
    product.n =
        static_cast<double>(cast<RankedTensorType>(weight.getType()).getNumElements()) / product.k;
    product.rowsPerToken = perToken(op.flops()) / (2 * product.k * product.n);
    product.split = makesRouting(op) ? Product::Whole : splitOf(input, product.k, product.n);
    add(op, product);
  }

  void grouped(nn::GroupedMatmulOp op) {
    auto weight = shapeOf(op.getWeight()), result = shapeOf(op.getResult());
    Product product;
    Operation *read = parameterRead(op.getWeight());
    product.name = read ? cast<pipe::ReadOp>(read).getParameter().str() : "experts";
    product.k = static_cast<double>(shapeOf(op.getRows()).back());
    product.n = static_cast<double>(result.back());
    product.experts = static_cast<int>(weight[0]);
    product.rowsPerToken = perToken(result[0]);
    product.split = product.n == static_cast<double>(parts.width) && !op.getGatherRows() &&
                            !op.getRows().getDefiningOp<nn::DispatchOp>()
                        ? Product::Row
                        : Product::Column;
    Part &part = partOf(op);
    part.experts = product.experts;
    part.topK = std::max(part.topK, static_cast<int>(product.rowsPerToken));
    add(op, product);
  }

  void add(Operation *op, const Product &product) {
    Part &part = partOf(op);
    part.products.push_back(product);
    if (product.split == Product::Row && product.experts == 0)
      part.reduceElements += static_cast<double>(parts.width) * product.rowsPerToken;
  }

  void attention(nn::AttentionOp op) {
    auto query = shapeOf(op.getQuery()), key = shapeOf(op.getKey());
    const double full = perToken(op.flops());
    Part &part = partOf(op);
    part.fullAttentionFlops += full;
    part.causalAttentionFlops += op.getCausal() ? full / 2 : full;
    part.attentionFlops = part.causalAttentionFlops;
    result.model.heads = result.model.heads == 1
                             ? static_cast<int>(key[1])
                             : std::min(result.model.heads, static_cast<int>(key[1]));
    batch = query[0];
  }

  /// A product of two computed values: attention that was not recognised, all of it done.
  void scores(nn::MatmulOp op) {
    Part &part = partOf(op);
    part.fullAttentionFlops += perToken(op.flops());
    part.causalAttentionFlops = part.attentionFlops = part.fullAttentionFlops;
    part.attentionFused = false;
    auto shape = shapeOf(op.getResult());
    if (batch == 0 && shape.size() == 4) // [batch, heads, queries, keys]
      batch = shape[0];
  }
};

} // namespace

/// Sums into parts what their parameters hold; one that several parts read is in each, and tied.
static ParameterParts costParameters(ModuleOp module, const Parts &parts, ImportedCost &result) {
  struct Reader {
    bool experts = false, product = false;
  };
  ParameterParts readers;
  llvm::StringMap<Reader> kinds;
  for (auto func : module.getOps<func::FuncOp>())
    func.walk([&](pipe::ReadOp read) {
      llvm::SmallVector<Operation *> users(read->getUsers());
      for (size_t i = 0; i < users.size(); ++i) {
        Operation *user = users[i];
        if (isa<nn::ReshapeOp, nn::TransposeOp, nn::SliceOp, nn::BroadcastOp>(user)) {
          users.append(user->getUsers().begin(), user->getUsers().end());
          continue;
        }
        auto &in = readers[read.getParameter()];
        const int part = parts.partOf.lookup(user);
        if (!llvm::is_contained(in, part))
          in.push_back(part);
        kinds[read.getParameter()].experts |= isa<nn::GroupedMatmulOp, nn::PerExpertOp>(user);
        kinds[read.getParameter()].product |= isa<nn::MatmulOp, nn::GatherOp>(user);
      }
    });
  for (auto &[name, in] : readers)
    llvm::sort(in);
  for (auto parameter : module.getOps<pipe::ParameterOp>()) {
    auto type = cast<RankedTensorType>(parameter.getType());
    const double elements = static_cast<double>(type.getNumElements());
    result.parameterBytes += 4 * type.getNumElements();
    auto in = readers.find(parameter.getSymName());
    if (in == readers.end())
      continue;
    const Reader kind = kinds.lookup(parameter.getSymName());
    for (int part : in->second) {
      Part &holder = result.model.parts[part];
      (kind.experts   ? holder.expertParameters
       : kind.product ? holder.parameters
                      : holder.replicatedParameters) += elements;
    }
    result.model.tied += elements * static_cast<double>(in->second.size() - 1);
  }
  return readers;
}

ParameterParts moire::costForward(ModuleOp module, const Parts &parts, ImportedCost &result) {
  result.tokens = parts.tokens;
  for (const std::string &name : parts.names) {
    result.model.parts.emplace_back();
    result.model.parts.back().name = name;
  }
  Walker walker{parts, result};
  auto forward = module.lookupSymbol<func::FuncOp>("forward");
  forward.walk([&](Operation *op) {
    if (auto flops = dyn_cast<nn::CostOpInterface>(op))
      result.forwardFlops += flops.flops();
    if (auto matmul = dyn_cast<nn::MatmulOp>(op))
      walker.matmul(matmul);
    else if (auto grouped = dyn_cast<nn::GroupedMatmulOp>(op))
      walker.grouped(grouped);
    else if (auto attention = dyn_cast<nn::AttentionOp>(op))
      walker.attention(attention);
    else if (auto dispatch = dyn_cast<nn::DispatchOp>(op))
      walker.partOf(op).exchangeElements = static_cast<double>(shapeOf(dispatch.getInput()).back());
  });
  cost::ModelCost &model = result.model;
  for (size_t p = 0; p + 1 < model.parts.size(); ++p)
    model.parts[p].outputElements = static_cast<double>(parts.width);
  model.sequence =
      static_cast<int>(walker.batch > 0 ? parts.tokens / std::max<int64_t>(1, walker.batch) : 1);
  for (const Product &product : model.parts.back().products)
    model.vocabulary = static_cast<int>(product.n);
  return costParameters(module, parts, result);
}
