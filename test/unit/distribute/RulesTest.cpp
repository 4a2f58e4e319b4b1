//===- RulesTest.cpp - The rule of every op against the whole op ----------===//
//
// Each op gets operands in states that are chosen at random, becomes local by its
// rule, and is executed on two ranks, its results brought together. Whatever the
// states, that must be what one rank computes of the whole.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/dist/Dist.h"
#include "dialects/nn/NN.h"
#include "lib/Distribute/TensorLocal.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "moire/Interp/Evaluator.h"
#include "moire/Interp/Ranks.h"
#include "gtest/gtest.h"
#include <random>

using namespace mlir;
using namespace moire;
using namespace moire::distribute;
using interp::RuntimeValue;

namespace {

constexpr int64_t kRanks = 2;

struct Rules : testing::Test {
  Rules() : rng(1) {
    DialectRegistry registry;
    registry.insert<arith::ArithDialect, func::FuncDialect, math::MathDialect, nn::NNDialect,
                    dist::DistDialect>();
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  int64_t pick(int64_t lo, int64_t hi) {
    return std::uniform_int_distribution<int64_t>(lo, hi)(rng);
  }

  /// Some state that the value can be in.
  Shard anyState(Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor)
      return Shard::replicated();
    SmallVector<Shard> states = {Shard::replicated()};
    if (isa<FloatType>(tensor.getElementType()))
      states.push_back(Shard::unreduced());
    for (int64_t dim = 0; dim < tensor.getRank(); ++dim) {
      int64_t size = tensor.getDimSize(dim);
      for (const SmallVector<int64_t> &blocks :
           {SmallVector<int64_t>{size}, SmallVector<int64_t>{size / 2, size - size / 2}})
        if (fits(Shard::split(dim, blocks), type, kRanks))
          states.push_back(Shard::split(dim, blocks));
    }
    return states[pick(0, states.size() - 1)];
  }

  RuntimeValue anyValue(Type type) {
    interp::Tensor tensor(cast<RankedTensorType>(type));
    if (tensor.isFloat())
      for (double &v : tensor.edit<double>())
        v = pick(1, 400) / 100.0;
    else // ids, labels, bits
      for (int64_t &v : tensor.edit<int64_t>())
        v = pick(0, 1);
    return tensor;
  }

  /// Makes the last op of the function local, from operands in random states.
  void distribute(func::FuncOp func) {
    TensorLocal local(&context, kRanks);
    Block &block = func.getBody().front();
    Operation *end = block.getTerminator(), *op = end->getPrevNode();
    auto define = [&](Value value) {
      if (auto type = dyn_cast<RankedTensorType>(value.getType()))
        local.define(value, type, Shard::replicated());
    };
    llvm::for_each(block.getArguments(), define);
    for (Operation &other : block)
      if (&other != op)
        llvm::for_each(other.getResults(), define);
    SmallVector<Shard> given;
    for (Value operand : op->getOperands())
      given.push_back(anyState(operand.getType()));
    Shard hint = anyState(op->getResult(0).getType());
    auto wanted = [&](Value) { return hint; };
    Assignment assignment = TensorRules{kRanks, wanted}.assign(op, given);
    split += llvm::any_of(assignment.results, [](const Shard &s) { return s.isSplit(); });
    unreduced += llvm::any_of(assignment.results, [](const Shard &s) { return s.isUnreduced(); });

    OpBuilder b(op);
    for (auto [operand, state] : llvm::zip_equal(op->getOpOperands(), given)) {
      Value whole = operand.get(), form = local.convert(b, op->getLoc(), whole, state);
      if (form != whole)
        local.define(form, cast<RankedTensorType>(whole.getType()), state);
      operand.set(form);
    }
    local.rewrite(op, assignment);
    b.setInsertionPoint(end);
    for (OpOperand &result : end->getOpOperands())
      result.set(local.convert(b, end->getLoc(), result.get(), Shard::replicated()));
  }

  /// `op` names its operands %0, %1, … of the types, and may follow other ops.
  void check(StringRef op, ArrayRef<StringRef> operands, ArrayRef<StringRef> results) {
    std::string arguments, names, types;
    for (auto [i, type] : llvm::enumerate(operands))
      arguments += llvm::formatv("{0}%{1}: {2}", i ? ", " : "", i, type);
    for (auto [i, type] : llvm::enumerate(results)) {
      names += llvm::formatv("{0}%r{1}", i ? ", " : "", i);
      types += (i ? ", " : "") + type.str();
    }
    auto [prefix, last] = op.contains('\n') ? op.rsplit('\n') : std::pair(StringRef(), op);
    std::string text = llvm::formatv(
        "module attributes {{dist.mesh = #dist.mesh<tp = 2>} {{ func.func @f({0}) -> ({1}) {{\n"
        "{2}\n{3} = {4}\nreturn {3} : {1} } }",
        arguments, types, prefix, names, last);
    split = unreduced = 0;
    for (int round = 0; round < 100; ++round) {
      OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &context);
      ASSERT_TRUE(module) << text;
      auto func = *module->getOps<func::FuncOp>().begin();
      SmallVector<RuntimeValue> values, want;
      for (Type type : func.getArgumentTypes())
        values.push_back(anyValue(type));
      interp::EvaluatorOptions options;
      options.f64 = true;
      ASSERT_TRUE(succeeded(interp::Evaluator(options).run(func, values, want)));
      distribute(func);
      ASSERT_TRUE(succeeded(verify(*module))) << text;

      interp::Meetings meetings(dist::meshOf(*module));
      std::vector<SmallVector<RuntimeValue>> got(kRanks);
      context.enableMultithreading();
      ASSERT_TRUE(succeeded(meetings.forAllRanks([&](int64_t rank) {
        interp::Membership membership{&meetings, rank};
        interp::EvaluatorOptions mine = options;
        mine.membership = &membership;
        return interp::Evaluator(mine).run(func, values, got[rank]);
      })));
      for (auto &ofRank : got)
        for (auto [whole, own] : llvm::zip_equal(want, ofRank))
          ASSERT_TRUE(isNear(whole.tensor(), own.tensor())) << describe(*module);
    }
  }

  static std::string describe(ModuleOp module) {
    std::string text;
    llvm::raw_string_ostream(text) << module;
    return text;
  }

  static bool isNear(const interp::Tensor &want, const interp::Tensor &got) {
    if (want.type() != got.type())
      return false;
    if (!want.isFloat())
      return want.ints() == got.ints();
    for (auto [x, y] : llvm::zip_equal(want.floats(), got.floats()))
      if (!(std::abs(x - y) <= 1e-9 * (1 + std::abs(x))))
        return false;
    return true;
  }

  MLIRContext context;
  std::mt19937 rng;
  int split = 0, unreduced = 0; ///< rounds in which a result was
};

} // namespace

TEST_F(Rules, Elementwise) {
  StringRef t = "tensor<4x8xf32>";
  check("arith.addf %0, %1 : tensor<4x8xf32>", {t, t}, {t});
  EXPECT_GT(split, 25);
  EXPECT_GT(unreduced, 1);
  check("arith.subf %0, %1 : tensor<4x8xf32>", {t, t}, {t});
  check("arith.mulf %0, %1 : tensor<4x8xf32>", {t, t}, {t});
  EXPECT_GT(unreduced, 2);
  check("arith.divf %0, %1 : tensor<4x8xf32>", {t, t}, {t});
  check("arith.negf %0 : tensor<4x8xf32>", {t}, {t});
  check("arith.maximumf %0, %1 : tensor<4x8xf32>", {t, t}, {t});
  check("math.exp %0 : tensor<4x8xf32>", {t}, {t});
  check("nn.sigmoid %0 : tensor<4x8xf32>", {t}, {t});
  check("arith.select %0, %1, %2 : tensor<4x8xi1>, tensor<4x8xf32>", {"tensor<4x8xi1>", t, t}, {t});
  check("arith.sitofp %0 : tensor<4x8xi64> to tensor<4x8xf32>", {"tensor<4x8xi64>"}, {t});
}

TEST_F(Rules, Movement) {
  StringRef t = "tensor<4x8xf32>";
  check("nn.reshape %0 : tensor<4x8xf32> -> tensor<2x2x2x4xf32>", {t}, {"tensor<2x2x2x4xf32>"});
  EXPECT_GT(split, 25);
  check("nn.reshape %0 : tensor<4x2x8xf32> -> tensor<4x16xf32>", {"tensor<4x2x8xf32>"},
        {"tensor<4x16xf32>"});
  check("nn.transpose %0 [1, 2, 0] : tensor<4x2x8xf32> -> tensor<2x8x4xf32>", {"tensor<4x2x8xf32>"},
        {"tensor<2x8x4xf32>"});
  check("nn.broadcast %0 [0, 2] : tensor<4x8xf32> -> tensor<4x2x8xf32>", {t},
        {"tensor<4x2x8xf32>"});
  check(
      "nn.slice %0 starts [0, 4] limits [4, 8] strides [1, 1] : tensor<4x8xf32> -> tensor<4x4xf32>",
      {t}, {"tensor<4x4xf32>"});
  check(
      "nn.slice %0 starts [1, 1] limits [4, 8] strides [1, 2] : tensor<4x8xf32> -> tensor<3x4xf32>",
      {t}, {"tensor<3x4xf32>"});
  check("nn.pad %0 low [2, 0] high [4, 1] interior [0, 1] : tensor<4x8xf32> -> tensor<10x16xf32>",
        {t}, {"tensor<10x16xf32>"});
  check("nn.pad %0 low [1, 0] high [4, 1] interior [0, 1] {value = 3.0} : tensor<4x8xf32> -> "
        "tensor<9x16xf32>",
        {t}, {"tensor<9x16xf32>"});
  check("nn.concat %0, %1 dim 1 : tensor<4x8xf32>, tensor<4x4xf32> -> tensor<4x12xf32>",
        {t, "tensor<4x4xf32>"}, {"tensor<4x12xf32>"});
  EXPECT_GT(split, 25);
  check("nn.reverse %0 [1] : tensor<4x8xf32> -> tensor<4x8xf32>", {t}, {t});
  check("nn.reduce sum %0 [1] : tensor<4x8xf32> -> tensor<4xf32>", {t}, {"tensor<4xf32>"});
  EXPECT_GT(unreduced, 2);
  check("nn.reduce max %0 [0] : tensor<4x8x2xf32> -> tensor<8x2xf32>", {"tensor<4x8x2xf32>"},
        {"tensor<8x2xf32>"});
  check("nn.cumsum %0 axis 0 : tensor<4x8xf32> -> tensor<4x8xf32>", {t}, {t});
  check("nn.top_k %0 k 2 : tensor<4x8xf32> -> tensor<4x2xf32>, tensor<4x2xi64>", {t},
        {"tensor<4x2xf32>", "tensor<4x2xi64>"});
  check("nn.gather_elements %0[%1] axis 1 : tensor<4x8xf32>, tensor<4x2xi64> -> tensor<4x2xf32>",
        {t, "tensor<4x2xi64>"}, {"tensor<4x2xf32>"});
  check("nn.scatter_elements add %2 into %0[%1] axis 1 : tensor<4x2xf32>, tensor<4x8xf32>, "
        "tensor<4x2xi64> -> tensor<4x8xf32>",
        {t, "tensor<4x2xi64>", "tensor<4x2xf32>"}, {t});
  check("nn.softmax %0 : tensor<4x8xf32>", {t}, {t});
  check("nn.softmax_grad %0, %1 : tensor<4x8xf32>, tensor<4x8xf32>", {t, t}, {t});
}

TEST_F(Rules, Products) {
  check("nn.matmul %0, %1 : tensor<4x8xf32>, tensor<8x4xf32> -> tensor<4x4xf32>",
        {"tensor<4x8xf32>", "tensor<8x4xf32>"}, {"tensor<4x4xf32>"});
  EXPECT_GT(split, 15);
  EXPECT_GT(unreduced, 2);
  check("nn.matmul %0, %1 {transpose_lhs, transpose_rhs} : tensor<8x4xf32>, tensor<4x8xf32> -> "
        "tensor<4x4xf32>",
        {"tensor<8x4xf32>", "tensor<4x8xf32>"}, {"tensor<4x4xf32>"});
  check(
      "nn.matmul %0, %1 {transpose_rhs} : tensor<2x4x8xf32>, tensor<4x8xf32> -> tensor<2x4x4xf32>",
      {"tensor<2x4x8xf32>", "tensor<4x8xf32>"}, {"tensor<2x4x4xf32>"});
  check("nn.matmul %0, %1 {transpose_lhs} : tensor<2x4x8x4xf32>, tensor<2x4x8x2xf32> -> "
        "tensor<2x4x4x2xf32>",
        {"tensor<2x4x8x4xf32>", "tensor<2x4x8x2xf32>"}, {"tensor<2x4x4x2xf32>"});
}

TEST_F(Rules, Layers) {
  StringRef x = "tensor<2x4x8xf32>", s = "tensor<8xf32>", q = "tensor<2x4x2x4xf32>",
            k = "tensor<2x2x2x4xf32>", lse = "tensor<2x4x2xf32>", mask = "tensor<2x4x1x2xf32>";
  check("nn.rms_norm %0 scale %1 eps 1.0e-5 : tensor<2x4x8xf32>, tensor<8xf32>", {x, s}, {x});
  EXPECT_GT(split, 15);
  check("nn.layer_norm %0 scale %1 bias %2 eps 1.0e-5 : tensor<2x4x8xf32>, tensor<8xf32>, "
        "tensor<8xf32>",
        {x, s, s}, {x});
  check("nn.rms_norm_grad %0 scale %1 cotangent %2 eps 1.0e-5 : tensor<2x4x8xf32>, tensor<8xf32>, "
        "tensor<2x4x8xf32> -> tensor<2x4x8xf32>, tensor<8xf32>",
        {x, s, x}, {x, s});
  check("nn.layer_norm_grad %0 scale %1 cotangent %2 eps 1.0e-5 : tensor<2x4x8xf32>, "
        "tensor<8xf32>, tensor<2x4x8xf32> -> tensor<2x4x8xf32>, tensor<8xf32>, tensor<8xf32>",
        {x, s, x}, {x, s, s});
  check("nn.rope %0, %1, %2 : tensor<2x4x2x4xf32>, tensor<1x2x2xf32>, tensor<1x2x2xf32>",
        {q, "tensor<1x2x2xf32>", "tensor<1x2x2xf32>"}, {q});
  check("nn.attention %0, %1, %2 mask %3 scale 0.5 {causal} : tensor<2x4x2x4xf32>, "
        "tensor<2x2x2x4xf32>, tensor<2x2x2x4xf32>, tensor<2x4x1x2xf32> -> tensor<2x4x2x4xf32>, "
        "tensor<2x4x2xf32>",
        {q, k, k, mask}, {q, lse});
  EXPECT_GT(split, 15);
  check(
      "%a, %l = nn.attention %0, %1, %2 scale 0.5 : tensor<2x4x2x4xf32>, tensor<2x2x2x4xf32>, "
      "tensor<2x2x2x4xf32> -> tensor<2x4x2x4xf32>, tensor<2x4x2xf32>\n"
      "nn.attention_grad %0, %1, %2 output %a lse %l cotangent %3 scale 0.5 : tensor<2x4x2x4xf32>, "
      "tensor<2x2x2x4xf32>, tensor<2x2x2x4xf32>, tensor<2x4x2x4xf32>, tensor<2x4x2xf32>, "
      "tensor<2x4x2x4xf32> -> tensor<2x4x2x4xf32>, tensor<2x2x2x4xf32>, tensor<2x2x2x4xf32>",
      {q, k, k, q}, {q, k, k});
}

TEST_F(Rules, Experts) {
  const std::string routing = "<tokens = 4, k = 2, experts = 2>";
  const std::string route =
      "%i = arith.constant dense<[[0, 1], [1, 0], [0, 1], [1, 0]]> : tensor<4x2xi64>\n"
      "%t = nn.route %i : tensor<4x2xi64> -> " +
      routing + "\n";
  auto checkRouted = [&](std::string op, ArrayRef<StringRef> operands,
                         ArrayRef<StringRef> results) {
    for (size_t at; (at = op.find("ROUTING")) != std::string::npos;)
      op.replace(at, 7, routing);
    check(route + op, operands, results);
  };
  StringRef x = "tensor<4x8xf32>", rows = "tensor<8x8xf32>", w = "tensor<4x2xf32>";
  checkRouted("nn.dispatch %0, %t : tensor<4x8xf32>, ROUTING -> tensor<8x8xf32>", {x}, {rows});
  checkRouted(
      "nn.combine %0 weights %1, %t : tensor<8x8xf32>, tensor<4x2xf32>, ROUTING -> tensor<4x8xf32>",
      {rows, w}, {x});
  EXPECT_GT(unreduced, 2);
  checkRouted("nn.combine_grad %0, %1, %2, %t : tensor<8x8xf32>, tensor<4x2xf32>, tensor<4x8xf32>, "
              "ROUTING -> tensor<8x8xf32>, tensor<4x2xf32>",
              {rows, w, x}, {rows, w});
  checkRouted("nn.grouped_matmul %0, %1, %t : tensor<8x8xf32>, tensor<2x8x4xf32>, ROUTING -> "
              "tensor<8x4xf32>",
              {rows, "tensor<2x8x4xf32>"}, {"tensor<8x4xf32>"});
  EXPECT_GT(split, 5);
  EXPECT_GT(unreduced, 2);
  checkRouted("nn.grouped_matmul %0, %1, %t {transpose_weight} : tensor<8x8xf32>, "
              "tensor<2x4x8xf32>, ROUTING -> tensor<8x4xf32>",
              {rows, "tensor<2x4x8xf32>"}, {"tensor<8x4xf32>"});
  checkRouted("nn.grouped_matmul_grad_weight %0, %1, %t : tensor<8x8xf32>, tensor<8x4xf32>, "
              "ROUTING -> tensor<2x8x4xf32>",
              {rows, "tensor<8x4xf32>"}, {"tensor<2x8x4xf32>"});
  checkRouted("nn.per_expert %0, %t : tensor<2x8xf32>, ROUTING -> tensor<8x8xf32>",
              {"tensor<2x8xf32>"}, {rows});
  checkRouted("nn.per_expert_sum %0, %t : tensor<8x8xf32>, ROUTING -> tensor<2x8xf32>", {rows},
              {"tensor<2x8xf32>"});
}

TEST_F(Rules, Vocabulary) {
  StringRef table = "tensor<8x4xf32>", ids = "tensor<2x3xi64>", rows = "tensor<2x3x4xf32>";
  const std::string tokens =
      "%i = arith.constant dense<[[0, 7, 3], [4, 4, 1]]> : tensor<2x3xi64>\n";
  check(tokens + "nn.gather %0[%i] : tensor<8x4xf32>, tensor<2x3xi64> -> tensor<2x3x4xf32>",
        {table}, {rows});
  EXPECT_GT(unreduced, 2);
  check(tokens + "nn.scatter add %1 into %0[%i] : tensor<2x3x4xf32>, tensor<8x4xf32>, "
                 "tensor<2x3xi64> -> tensor<8x4xf32>",
        {table, rows}, {table});
  EXPECT_GT(split, 15);
  check("nn.scatter set %1 into %0[%2] : tensor<2x3x4xf32>, tensor<8x4xf32>, tensor<2x3xi64> -> "
        "tensor<8x4xf32>",
        {table, rows, ids}, {table});

  // Labels at both ends of both shards, one that does not count, and one that is the
  // ignored index but a label of the second shard when counted from its start.
  StringRef logits = "tensor<6x8xf32>", n = "tensor<6xf32>";
  for (int64_t ignored : {-100, 2}) {
    const std::string labels = "%i = arith.constant dense<[0, 3, 4, 7, " + std::to_string(ignored) +
                               ", 6]> : tensor<6xi64>\n";
    const std::string attribute =
        " {ignore_index = " + std::to_string(ignored) + " : i64} : tensor<6x8xf32>, tensor<6xi64>";
    check(labels + "nn.cross_entropy %0, %i" + attribute + " -> tensor<6xf32>, tensor<6xf32>",
          {logits}, {n, n});
    EXPECT_GT(unreduced, 2);
    check(labels + "%l, %s = nn.cross_entropy %0, %i" + attribute +
              " -> tensor<6xf32>, tensor<6xf32>\n"
              "nn.cross_entropy_grad %0, %i, %s, %1" +
              attribute + ", tensor<6xf32>, tensor<6xf32>",
          {logits, n}, {logits});
    EXPECT_GT(split, 5);
  }
}
