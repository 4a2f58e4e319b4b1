//===- Attention.cpp - Attention and rotary embedding --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Node.h"
#include "moire/Support/Recipes.h"

using namespace mlir;
using namespace moire;
using namespace moire::conversion;

/// [B, S, heads * D] -> [B, heads, S, D]; a value of rank 4 is that already.
static Value splitHeads(Emitter &e, Value v, int64_t heads) {
  if (!v || rankOf(v) == 4)
    return v;
  Dims s = shapeOf(v);
  return e.transpose(e.reshape(v, {s[0], s[1], heads, s[2] / heads}), {0, 2, 1, 3});
}
static Value joinHeads(Emitter &e, Value v) {
  if (!v)
    return v;
  Dims s = shapeOf(v);
  return e.reshape(e.transpose(v, {0, 2, 1, 3}), {s[0], s[2], s[1] * s[3]});
}

static constexpr double minusInfinity = -std::numeric_limits<double>::infinity();

/// The mask in rank 4, cut to the window of keys around each query: from
/// `left` before it to `right` after it, -1 for no bound. Null for no mask.
static FailureOr<Value> maskOf(Node &n, Dims q, Dims k, Type element) {
  Emitter &e = n.e;
  int64_t full[] = {q[0], q[1], q[2], k[2]};
  Value mask = n.in(3);
  if (mask) {
    if (n.rank(3) < 1 || n.rank(3) > 4)
      return n.fail("the mask must have rank 1 to 4, not " + Twine(n.rank(3)));
    DimVector shape(4 - n.rank(3), 1);
    llvm::append_range(shape, n.shape(3));
    if (!isBool(mask))
      mask = e.cast(mask, element);
    mask = e.reshape(mask, shape);
    if (shape[3] > 1 && shape[3] < full[3]) { // what it does not reach is hidden
      DimVector none(4, 0), high{0, 0, 0, full[3] - shape[3]};
      mask = e.infer<nn::PadOp>(mask, none, high, none,
                                llvm::APFloat(isBool(mask) ? 0.0 : minusInfinity));
      shape[3] = full[3];
    }
    for (int i = 0; i < 4; ++i)
      if (shape[i] != 1 && shape[i] != full[i])
        return n.fail("a mask of shape " + str(n.shape(3)) + " cannot be broadcast to " + str(full));
  }
  int64_t left = n.getInt("left_window_size", -1), right = n.getInt("right_window_size", -1);
  if (left < 0 && right < 0)
    return mask;
  DimVector pairs{1, 1, q[2], k[2]};
  Value query = e.iota(pairs, 2, e.i64()), key = e.iota(pairs, 3, e.i64()), window;
  auto within = [&](Value a, Value b) {
    Value fits = e.compare(arith::CmpFPredicate::OLE, arith::CmpIPredicate::sle, a, b);
    window = window ? e.logicalAnd(window, fits) : fits;
  };
  if (left >= 0)
    within(e.shift(query, -left), key);
  if (right >= 0)
    within(key, e.shift(query, right));
  if (!mask)
    return window;
  if (isBool(mask))
    return e.logicalAnd(mask, window);
  return e.select(window, mask, e.splat({}, element, minusInfinity));
}

/// Attention in core ops, for what nn.attention does not have: scores capped
/// to cap * tanh(scores / cap).
static Value cappedAttention(Emitter &e, Value q, Value k, Value v, Value mask, double scale,
                             bool causal, double cap) {
  auto repeated = [&](Value x) { // each key head serves a group of query heads
    Dims s = shapeOf(x);
    int64_t heads = shapeOf(q)[1];
    Value wide = e.broadcastTo(e.reshape(x, {s[0], s[1], 1, s[2], s[3]}),
                               {s[0], s[1], heads / s[1], s[2], s[3]});
    return e.reshape(wide, {s[0], heads, s[2], s[3]});
  };
  k = repeated(k);
  v = repeated(v);
  Value scores = e.scale(e.matmul(q, k, false, true), scale);
  scores = e.scale(e.unary<math::TanhOp>(e.scale(scores, 1 / cap)), cap);
  if (!scores)
    return scores;
  Value hidden = e.splat({}, elementOf(scores), minusInfinity);
  if (mask)
    scores = isBool(mask) ? e.select(mask, scores, hidden) : e.add(scores, mask);
  if (causal) {
    Dims pairs = shapeOf(scores).drop_front(2);
    Value seen = e.compare(arith::CmpFPredicate::OLE, arith::CmpIPredicate::sle,
                           e.iota(pairs, 1, e.i64()), e.iota(pairs, 0, e.i64()));
    scores = e.select(seen, scores, hidden);
  }
  return e.matmul(e.softmax(scores, 3), v);
}

/// Inputs Q, K, V, mask, past_key, past_value, nonpad_kv_seqlen.
static LogicalResult convertAttention(Node &n) {
  Emitter &e = n.e;
  if (n.has(4) || n.has(5) || n.has(6))
    return n.fail("past keys and values are inference only; export the model with use_cache=False" +
                  recipe("cache"));
  if (n.wants(3))
    return n.fail("its fourth output, the product of queries and keys, is not supported");
  bool flat = n.rank(0) == 3;
  Value qkv[3];
  for (int i = 0; i < 3; ++i) {
    if (n.rank(i) != n.rank(0) || (n.rank(i) != 3 && n.rank(i) != 4))
      return n.fail("query, key and value must all have rank 3 or all have rank 4");
    int64_t heads = n.getInt(i == 0 ? "q_num_heads" : "kv_num_heads", 0);
    if (flat && (heads < 1 || n.shape(i)[2] % heads))
      return n.fail("q_num_heads and kv_num_heads must divide the last dims of query, key and "
                    "value; " + Twine(heads) + " does not divide " + Twine(n.shape(i)[2]));
    qkv[i] = splitHeads(e, n.in(i), heads);
    if (!qkv[i])
      return failure();
  }
  Dims q = shapeOf(qkv[0]), k = shapeOf(qkv[1]);
  Dims v = shapeOf(qkv[2]);
  if (k[1] < 1 || q[1] % k[1] || q[0] != k[0] || q[3] != k[3] || k.drop_back() != v.drop_back())
    return n.fail("queries " + str(q) + ", keys " + str(k) + " and values " + str(v) + " do not fit");
  auto mask = maskOf(n, q, k, elementOf(qkv[0]));
  if (failed(mask))
    return failure();
  double scale = n.getFloat("scale", 1 / std::sqrt((double)q[3])), cap = n.getFloat("softcap", 0);
  bool causal = n.getInt("is_causal", 0);
  Value y = cap != 0 ? cappedAttention(e, qkv[0], qkv[1], qkv[2], *mask, scale, causal, cap)
                     : e.inferAll<nn::AttentionOp>(2, qkv[0], qkv[1], qkv[2], *mask,
                                                   llvm::APFloat(scale), causal)[0];
  n.set(1, qkv[1]);
  n.set(2, qkv[2]);
  return n.give(flat ? joinHeads(e, y) : y);
}

/// Rows of a cos or sin table for position ids [B, S], or the table itself.
static Value tableRows(Emitter &e, Value table, Value positions) {
  return positions ? e.infer<nn::GatherOp>(table, positions) : table;
}

/// Rotates the first `rotary_embedding_dim` entries of each head.
static LogicalResult rotary(Node &n, Value cos, Value sin, Value positions) {
  Emitter &e = n.e;
  bool flat = n.rank(0) == 3;
  int64_t rotated = n.getInt("rotary_embedding_dim", 0), heads = n.getInt("num_heads", 0);
  if (n.rank(0) != 3 && n.rank(0) != 4)
    return n.fail("the input must have rank 3 or 4, not " + Twine(n.rank(0)));
  if (rankOf(cos) < 2 || shapeOf(cos) != shapeOf(sin) || shapeOf(cos).back() < 1)
    return n.fail("tables of shapes " + str(shapeOf(cos)) + " and " + str(shapeOf(sin)) +
                  " must be equal, of rank 2 or 3 and not empty");
  if (flat && heads == 0 && rotated == 0)
    heads = n.shape(0)[2] / (2 * shapeOf(cos).back()); // com.microsoft's default
  if (flat && (heads < 1 || n.shape(0)[2] % heads))
    return n.fail("num_heads " + Twine(heads) + " does not divide the last dim of size " +
                  Twine(n.shape(0)[2]));
  Value x = splitHeads(e, n.in(0), heads);
  Dims s = shapeOf(x);
  int64_t size = s[3], length = s[2];
  if (rotated == 0)
    rotated = size;
  if (rotated < 0 || rotated > size || rotated % 2)
    return n.fail("rotary_embedding_dim " + Twine(rotated) + " must be even and at most " + Twine(size));
  if (positions && rankOf(positions) == 1) { // one offset for all
    Value offset = e.broadcastTo(positions, {length});
    positions = e.reshape(e.add(offset, e.iota({length}, 0, e.i64())), {1, length});
  }
  cos = tableRows(e, cos, positions);
  sin = tableRows(e, sin, positions);
  if (!cos || !sin)
    return failure();
  DimVector want{rankOf(cos) == 3 && shapeOf(cos)[0] == 1 ? 1 : s[0], length, rotated / 2};
  if (shapeOf(cos) != Dims(want) || shapeOf(sin) != Dims(want))
    return n.fail("tables of shapes " + str(shapeOf(cos)) + " and " + str(shapeOf(sin)) +
                  " must have shape " + str(want));
  Value y = e.infer<nn::RopeOp>(e.sliceDim(x, 3, 0, rotated), cos, sin,
                                n.getInt("interleaved", 0) != 0, /*inverse=*/false);
  if (rotated < size)
    y = e.concat({y, e.sliceDim(x, 3, rotated, size)}, 3);
  return n.give(flat ? joinHeads(e, y) : y);
}

static LogicalResult convertRotary(Node &n) { return rotary(n, n.in(1), n.in(2), n.in(3)); }
static LogicalResult convertContribRotary(Node &n) {
  if (n.getFloat("scale", 1) != 1)
    return n.fail("a scale other than 1 is not supported");
  return rotary(n, n.in(2), n.in(3), n.in(1));
}

static LogicalResult refuseCachedAttention(Node &n) {
  return n.fail("it works on a key-value cache and is inference only; export the model from "
                "PyTorch with use_cache=False instead of by a model builder" +
                recipe("cache"));
}

void conversion::addAttention(HandlerTable &t) {
  t.add("Attention", 3, convertAttention);
  t.add("RotaryEmbedding", 3, convertRotary);
  t.add("com.microsoft::RotaryEmbedding", 4, convertContribRotary);
  t.add("com.microsoft::GroupQueryAttention", 0, refuseCachedAttention);
}
