//===- Einsum.cpp - Einsum as products, sums and transpositions ----------===//
//
//     Einsum "tke,tkc->tkec" : operands are taken from left to right, two at a
//     time. A label of both that nobody needs later is contracted by the
//     product, one of both that is needed is a batch dim, one of a single
//     operand is a row or column dim or, if nobody needs it, summed first.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Node.h"

using namespace mlir;
using namespace moire;
using namespace moire::conversion;

namespace {
/// A value whose dim i bears labels[i]. Labels of "..." are 1, 2, ...
struct Term {
  Value value;
  std::string labels;
};
} // namespace

static bool has(StringRef labels, char c) { return labels.contains(c); }
static int64_t sizeOf(const Term &t, char c) { return shapeOf(t.value)[t.labels.find(c)]; }

/// Transposes to the order of `labels`, which are a permutation of the term's.
static Value ordered(Emitter &e, const Term &t, StringRef labels) {
  DimVector perm;
  for (char c : labels)
    perm.push_back(t.labels.find(c));
  return e.transpose(t.value, perm);
}

/// The same with a dim of size 1 for each label that the term lacks.
static Value spread(Emitter &e, const Term &t, StringRef labels) {
  std::string own;
  DimVector shape;
  for (char c : labels) {
    if (has(t.labels, c))
      own += c;
    shape.push_back(has(t.labels, c) ? sizeOf(t, c) : 1);
  }
  return e.reshape(ordered(e, t, own), shape);
}

/// Sums out the labels that are not in `needed`.
static Term summed(Emitter &e, Term t, StringRef needed) {
  DimVector dims;
  std::string kept;
  for (auto [i, c] : llvm::enumerate(t.labels)) {
    if (has(needed, c))
      kept += c;
    else
      dims.push_back(i);
  }
  return {e.reduce(nn::ReduceKind::sum, t.value, dims), kept};
}

/// The diagonal of every label that occurs twice: [n, n] flattened, step n + 1.
static Term diagonal(Emitter &e, Term t) {
  for (size_t i = 0; i < t.labels.size() && t.value; ++i) {
    size_t j = t.labels.find(t.labels[i], i + 1);
    if (j == std::string::npos)
      continue;
    int64_t n = shapeOf(t.value)[i], rank = t.labels.size();
    DimVector perm, shape;
    std::string labels;
    for (int64_t d = 0; d < rank; ++d)
      if (d != (int64_t)i && d != (int64_t)j) {
        perm.push_back(d);
        shape.push_back(shapeOf(t.value)[d]);
        labels += t.labels[d];
      }
    perm.append({(int64_t)i, (int64_t)j});
    shape.push_back(n * n);
    Value v = e.reshape(e.transpose(t.value, perm), shape);
    t = {e.sliceDim(v, rank - 2, 0, n * n, n + 1), labels + t.labels[i]};
    i = -1;
  }
  return t;
}

/// One product of two terms, keeping the labels in `needed`.
static Term contract(Emitter &e, Term a, Term b, StringRef needed) {
  a = summed(e, a, (needed + b.labels).str());
  b = summed(e, b, (needed + a.labels).str());
  if (!a.value || !b.value)
    return {};
  std::string batch, rows, inner, columns;
  for (char c : a.labels) {
    // A dim that is broadcast is no batch dim of a product.
    bool both = has(b.labels, c);
    (!both ? rows : has(needed, c) ? batch : inner) += c;
  }
  for (char c : b.labels)
    if (!has(a.labels, c))
      columns += c;
  if (inner.empty() || !isFloat(a.value)) {
    std::string all = batch + rows + inner + columns;
    return summed(e, {e.mul(spread(e, a, all), spread(e, b, all)), all}, needed);
  }
  // Sizes of 1 stand for any size ("..." broadcasts).
  auto widen = [&](Term t, const Term &other) {
    DimVector shape(shapeOf(t.value));
    for (auto [i, c] : llvm::enumerate(t.labels))
      if (has(other.labels, c) && shape[i] == 1)
        shape[i] = sizeOf(other, c);
    t.value = e.broadcastTo(t.value, shape);
    return t;
  };
  Term wideA = widen(a, b), wideB = widen(b, a);
  if (!wideA.value || !wideB.value)
    return {};
  auto sizes = [&](const Term &t, StringRef labels) {
    DimVector out;
    for (char c : labels)
      out.push_back(sizeOf(t, c));
    return out;
  };
  DimVector batchDims = sizes(wideA, batch), lhs(batchDims), rhs(batchDims), out(batchDims);
  DimVector rowDims = sizes(wideA, rows), columnDims = sizes(wideB, columns);
  int64_t m = product(rowDims), k = product(sizes(wideA, inner)), n = product(columnDims);
  lhs.append({m, k});
  rhs.append({k, n});
  Value x = e.reshape(ordered(e, wideA, batch + rows + inner), lhs);
  Value y = e.reshape(ordered(e, wideB, batch + inner + columns), rhs);
  llvm::append_range(out, rowDims);
  llvm::append_range(out, columnDims);
  return {e.reshape(e.matmul(x, y), out), batch + rows + columns};
}

static LogicalResult convertEinsum(Node &n) {
  Emitter &e = n.e;
  std::string equation;
  for (char c : n.getString("equation", ""))
    if (c != ' ')
      equation += c;
  auto [left, right] = StringRef(equation).split("->");
  bool explicitOutput = StringRef(equation).contains("->");
  SmallVector<StringRef> parts;
  left.split(parts, ',');
  if (parts.size() != n.numInputs())
    return n.fail("equation \"" + equation + "\" is for " + Twine(parts.size()) + " operands, not " +
                  Twine(n.numInputs()));
  // "..." stands for as many dims as the operands have more than labels.
  SmallVector<Term> terms;
  std::string order, dots;
  auto withDots = [](StringRef part, int64_t count, int64_t total) {
    auto [before, after] = part.split("...");
    std::string labels = before.str();
    for (int64_t i = total - count; i < total; ++i)
      labels += char(1 + i);
    return labels + after.str();
  };
  int64_t most = 0;
  for (auto [i, part] : llvm::enumerate(parts)) {
    int64_t more = part.contains("...") ? n.rank(i) - (int64_t)(part.size() - 3) : 0;
    if (more < 0 || (!part.contains("...") && (int64_t)part.size() != n.rank(i)))
      return n.fail("\"" + part + "\" does not fit an operand of rank " + Twine(n.rank(i)));
    most = std::max(most, more);
  }
  if (most > 26)
    return n.fail("\"...\" stands for too many dims");
  for (auto [i, part] : llvm::enumerate(parts)) {
    int64_t more = part.contains("...") ? n.rank(i) - (int64_t)(part.size() - 3) : 0;
    Term t{n.in(i), part.contains("...") ? withDots(part, more, most) : part.str()};
    for (auto [d, c] : llvm::enumerate(t.labels)) {
      for (const Term &other : terms)
        if (has(other.labels, c) && sizeOf(other, c) != n.shape(i)[d] && sizeOf(other, c) != 1 &&
            n.shape(i)[d] != 1)
          return n.fail("label '" + Twine(c) + "' has sizes " + Twine(sizeOf(other, c)) + " and " +
                        Twine(n.shape(i)[d]));
      if (n.shape(i)[t.labels.find(c)] != n.shape(i)[d])
        return n.fail("label '" + Twine(c) + "' has two sizes in " + str(n.shape(i)));
    }
    order += t.labels;
    terms.push_back(diagonal(e, t));
  }
  for (int64_t i = 0; i < most; ++i)
    dots += char(1 + i);
  std::string output;
  if (explicitOutput) {
    output = right.contains("...") ? withDots(right, most, most) : right.str();
    for (char c : output)
      if (!has(order, c) || llvm::count(output, c) > 1)
        return n.fail("output \"" + right + "\" must name labels of the operands, each once");
  } else {
    // Labels that occur once, in alphabetical order, after "...".
    output = dots;
    std::string sorted = order;
    llvm::sort(sorted);
    for (char c : sorted)
      if (c > 26 && llvm::count(order, c) == 1)
        output += c;
  }
  Term result = terms[0];
  for (size_t i = 1; i < terms.size() && result.value; ++i) {
    std::string needed = output;
    for (size_t j = i + 1; j < terms.size(); ++j)
      needed += terms[j].labels;
    result = contract(e, result, terms[i], needed);
  }
  if (!result.value)
    return failure();
  result = summed(e, result, output);
  return n.give(result.value ? ordered(e, result, output) : Value());
}

void conversion::addEinsum(HandlerTable &t) { t.add("Einsum", 1, convertEinsum); }
