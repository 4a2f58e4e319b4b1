//===- Functors.cpp - Elementwise kernels as scalar C++ ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// One C++ statement for one op of arith or math; constants are written where
// they are used. Functions of floats are the runtime's, which vectorise.
//
//===----------------------------------------------------------------------===//
#include "Functors.h"
#include "Text.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::target;

std::string target::functorName(StringRef kernel) {
  std::string name = kernel.str();
  for (char &c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)))
      c = '_';
  name[0] = std::toupper(static_cast<unsigned char>(name[0]));
  return name;
}

namespace {
/// Writes the body of one functor.
class FunctorWriter {
public:
  explicit FunctorWriter(exec::KernelOp kernel) : kernel(kernel) {}
  FailureOr<std::string> run();

private:
  std::string of(Value value) { return names.lookup(value); }
  /// The right-hand side of an op's one result, or empty if it has none.
  std::string expression(Operation *op);
  std::string arithmetic(Operation *op);
  std::string integer(Operation *op);
  std::string conversion(Operation *op);
  std::string function(Operation *op);
  std::string compareFloats(arith::CmpFOp op);
  std::string compareIntegers(arith::CmpIOp op);

  exec::KernelOp kernel;
  llvm::DenseMap<Value, std::string> names;
};
} // namespace

std::string FunctorWriter::compareFloats(arith::CmpFOp op) {
  std::string a = of(op.getLhs()), b = of(op.getRhs());
  using P = arith::CmpFPredicate;
  // Unordered ones are true where a or b is NaN: the negation of an ordered one.
  switch (op.getPredicate()) {
  case P::AlwaysFalse:
    return "false";
  case P::AlwaysTrue:
    return "true";
  case P::OEQ:
    return a + " == " + b;
  case P::OGT:
    return a + " > " + b;
  case P::OGE:
    return a + " >= " + b;
  case P::OLT:
    return a + " < " + b;
  case P::OLE:
    return a + " <= " + b;
  case P::ONE:
    return a + " < " + b + " || " + a + " > " + b;
  case P::ORD:
    return a + " == " + a + " && " + b + " == " + b;
  case P::UEQ:
    return "!(" + a + " < " + b + " || " + a + " > " + b + ")";
  case P::UGT:
    return "!(" + a + " <= " + b + ")";
  case P::UGE:
    return "!(" + a + " < " + b + ")";
  case P::ULT:
    return "!(" + a + " >= " + b + ")";
  case P::ULE:
    return "!(" + a + " > " + b + ")";
  case P::UNE:
    return a + " != " + b;
  case P::UNO:
    return a + " != " + a + " || " + b + " != " + b;
  }
  llvm_unreachable("all predicates are above");
}

std::string FunctorWriter::compareIntegers(arith::CmpIOp op) {
  static const char *const signs[] = {"==", "!=", "<", "<=", ">", ">=", "<", "<=", ">", ">="};
  auto predicate = static_cast<unsigned>(op.getPredicate());
  std::string a = of(op.getLhs()), b = of(op.getRhs());
  if (predicate >= static_cast<unsigned>(arith::CmpIPredicate::ult)) {
    a = "uint64_t(" + a + ")";
    b = "uint64_t(" + b + ")";
  } else if (op.getLhs().getType().isInteger(1) && predicate > 1) {
    // A signed bit: true is -1.
    std::swap(a, b);
  }
  return a + " " + signs[predicate] + " " + b;
}

std::string FunctorWriter::arithmetic(Operation *op) {
  auto infix = [&](const char *sign) {
    return of(op->getOperand(0)) + " " + sign + " " + of(op->getOperand(1));
  };
  auto prefix = [&](const char *callee) {
    return std::string(callee) + "(" + of(op->getOperand(0)) + ", " + of(op->getOperand(1)) + ")";
  };
  // maxnumf and minnumf take the other one where one is NaN.
  auto number = [&](const char *sign) {
    std::string a = of(op->getOperand(0)), b = of(op->getOperand(1));
    return a + " " + sign + " " + b + " || " + b + " != " + b + " ? " + a + " : " + b;
  };
  return llvm::TypeSwitch<Operation *, std::string>(op)
      .Case([&](arith::AddFOp) { return infix("+"); })
      .Case([&](arith::SubFOp) { return infix("-"); })
      .Case([&](arith::MulFOp) { return infix("*"); })
      .Case([&](arith::DivFOp) { return infix("/"); })
      .Case([&](arith::RemFOp) { return prefix("std::fmod"); })
      .Case([&](arith::NegFOp) { return "-" + of(op->getOperand(0)); })
      .Case([&](arith::MaximumFOp) { return prefix("math::maximum"); })
      .Case([&](arith::MinimumFOp) { return prefix("math::minimum"); })
      .Case([&](arith::MaxNumFOp) { return number(">"); })
      .Case([&](arith::MinNumFOp) { return number("<"); })
      .Case([&](arith::CmpFOp cmp) { return compareFloats(cmp); })
      .Case([&](arith::CmpIOp cmp) { return compareIntegers(cmp); })
      .Case([&](arith::SelectOp) {
        return of(op->getOperand(0)) + " ? " + of(op->getOperand(1)) + " : " +
               of(op->getOperand(2));
      })
      .Default([](Operation *) { return ""; });
}

std::string FunctorWriter::integer(Operation *op) {
  if (op->getNumOperands() != 2 || !op->getOperand(0).getType().isIntOrIndex())
    return "";
  std::string a = of(op->getOperand(0)), b = of(op->getOperand(1));
  bool bit = op->getOperand(0).getType().isInteger(1);
  auto infix = [&](const char *sign) { return a + " " + sign + " " + b; };
  auto unsignedInfix = [&](const char *sign) {
    std::string type = scalarType(op->getResult(0).getType()).str();
    return type + "(u" + type + "(" + a + ") " + sign + " u" + type + "(" + b + "))";
  };
  return llvm::TypeSwitch<Operation *, std::string>(op)
      .Case([&](arith::AddIOp) { return infix(bit ? "!=" : "+"); })
      .Case([&](arith::SubIOp) { return infix(bit ? "!=" : "-"); })
      .Case([&](arith::MulIOp) { return infix(bit ? "&&" : "*"); })
      .Case([&](arith::AndIOp) { return infix(bit ? "&&" : "&"); })
      .Case([&](arith::OrIOp) { return infix(bit ? "||" : "|"); })
      .Case([&](arith::XOrIOp) { return infix(bit ? "!=" : "^"); })
      .Case([&](arith::MaxSIOp) { return bit ? infix("&&") : infix(">") + " ? " + a + " : " + b; })
      .Case([&](arith::MinSIOp) { return bit ? infix("||") : infix("<") + " ? " + a + " : " + b; })
      .Case([&](arith::DivSIOp) { return bit ? "" : infix("/"); })
      .Case([&](arith::RemSIOp) { return bit ? "" : infix("%"); })
      .Case([&](arith::FloorDivSIOp) { return bit ? "" : "math::floorDiv(" + a + ", " + b + ")"; })
      .Case([&](arith::CeilDivSIOp) { return bit ? "" : "-math::floorDiv(-" + a + ", " + b + ")"; })
      .Case([&](arith::DivUIOp) { return bit ? "" : unsignedInfix("/"); })
      .Case([&](arith::RemUIOp) { return bit ? "" : unsignedInfix("%"); })
      .Case([&](arith::ShLIOp) { return bit ? "" : infix("<<"); })
      .Case([&](arith::ShRSIOp) { return bit ? "" : infix(">>"); })
      .Default([](Operation *) { return ""; });
}

std::string FunctorWriter::conversion(Operation *op) {
  if (op->getNumOperands() != 1)
    return "";
  std::string a = of(op->getOperand(0));
  Type from = op->getOperand(0).getType(), to = op->getResult(0).getType();
  std::string type = scalarType(to).str();
  bool bit = from.isInteger(1);
  return llvm::TypeSwitch<Operation *, std::string>(op)
      .Case<arith::ExtFOp, arith::TruncFOp, arith::FPToSIOp>([&](Operation *) {
        // A float becomes a bit by its integer's lowest one.
        if (to.isBF16())
          return "roundToBf16(" + a + ")";
        return to.isInteger(1) ? "(int64_t(" + a + ") & 1) != 0" : type + "(" + a + ")";
      })
      .Case<arith::SIToFPOp, arith::ExtSIOp>(
          [&](Operation *) { return (bit ? "-" + type : type) + "(" + a + ")"; })
      .Case<arith::UIToFPOp, arith::ExtUIOp>([&](Operation *) {
        if (bit)
          return type + "(" + a + ")";
        return type + (from.isInteger(32) ? "(uint32_t(" : "(uint64_t(") + a + "))";
      })
      .Case([&](arith::TruncIOp) {
        return to.isInteger(1) ? "(" + a + " & 1) != 0" : type + "(" + a + ")";
      })
      .Default([](Operation *) { return ""; });
}

std::string FunctorWriter::function(Operation *op) {
  std::string arguments;
  for (Value operand : op->getOperands())
    arguments += (arguments.empty() ? "" : ", ") + of(operand);
  auto call = [&](const char *callee) { return std::string(callee) + "(" + arguments + ")"; };
  return llvm::TypeSwitch<Operation *, std::string>(op)
      .Case([&](math::ExpOp) { return call("math::exp"); })
      .Case([&](math::Exp2Op) { return call("math::exp2"); })
      .Case([&](math::ExpM1Op) { return call("math::expm1"); })
      .Case([&](math::LogOp) { return call("math::log"); })
      .Case([&](math::Log1pOp) { return call("math::log1p"); })
      .Case([&](math::Log2Op) { return call("math::log2"); })
      .Case([&](math::Log10Op) { return call("std::log10"); })
      .Case([&](math::TanhOp) { return call("math::tanh"); })
      .Case([&](math::ErfOp) { return call("math::erf"); })
      .Case([&](math::SqrtOp) { return call("math::sqrt"); })
      .Case([&](math::RsqrtOp) { return call("math::rsqrt"); })
      .Case([&](math::CbrtOp) { return call("std::cbrt"); })
      .Case<math::AbsFOp, math::AbsIOp>([&](Operation *) { return call("math::abs"); })
      .Case([&](math::FloorOp) { return call("math::floor"); })
      .Case([&](math::CeilOp) { return call("math::ceil"); })
      .Case([&](math::RoundEvenOp) { return call("math::round"); })
      .Case([&](math::RoundOp) { return call("std::round"); })
      .Case([&](math::TruncOp) { return call("std::trunc"); })
      .Case([&](math::CopySignOp) { return call("math::copysign"); })
      .Case([&](math::FmaOp) { return call("math::fma"); })
      .Case([&](math::PowFOp) { return call("math::pow"); })
      .Case([&](math::FPowIOp fpowi) {
        return "math::pow(" + of(fpowi.getLhs()) + ", " +
               scalarType(fpowi.getType()).str() + "(" + of(fpowi.getRhs()) + "))";
      })
      .Case([&](math::SinOp) { return call("math::sin"); })
      .Case([&](math::CosOp) { return call("math::cos"); })
      .Case([&](math::TanOp) { return call("math::tan"); })
      .Case([&](math::AtanOp) { return call("math::atan"); })
      .Case([&](math::Atan2Op) { return call("std::atan2"); })
      .Case([&](math::AsinOp) { return call("std::asin"); })
      .Case([&](math::AcosOp) { return call("std::acos"); })
      .Case([&](math::SinhOp) { return call("std::sinh"); })
      .Case([&](math::CoshOp) { return call("std::cosh"); })
      .Case([&](math::AsinhOp) { return call("std::asinh"); })
      .Case([&](math::AcoshOp) { return call("std::acosh"); })
      .Case([&](math::AtanhOp) { return call("std::atanh"); })
      .Default([](Operation *) { return ""; });
}

std::string FunctorWriter::expression(Operation *op) {
  for (auto form : {&FunctorWriter::arithmetic, &FunctorWriter::integer,
                    &FunctorWriter::conversion, &FunctorWriter::function})
    if (std::string text = (this->*form)(op); !text.empty())
      return text;
  return "";
}

FailureOr<std::string> FunctorWriter::run() {
  Block &body = kernel.getBody().front();
  auto yield = cast<exec::YieldOp>(body.getTerminator());
  // 1. The signature.
  std::vector<std::string> parameters;
  for (BlockArgument argument : body.getArguments()) {
    StringRef type = scalarType(argument.getType());
    if (type.empty())
      return kernel.emitError("argument of ") << argument.getType() << " has no type in C++";
    std::string name = "x" + std::to_string(argument.getArgNumber());
    names[argument] = name;
    parameters.push_back(type.str() + " " + name);
  }
  for (auto [i, value] : llvm::enumerate(yield.getValues())) {
    StringRef type = scalarType(value.getType());
    if (type.empty())
      return kernel.emitError("result of ") << value.getType() << " has no type in C++";
    parameters.push_back(type.str() + " &y" + std::to_string(i));
  }
  std::string text;
  if (std::string node = nodeNames(kernel.getLoc()); !node.empty())
    text += "// " + node + "\n";
  text += "struct " + functorName(kernel.getSymName()) + " {\n";
  std::string head = call("  MOIRE_FUNCTOR run", parameters, 0);
  text += StringRef(head).drop_back(2).str() + " {\n"; // without ";\n"
  // 2. Statements.
  int next = 0;
  for (Operation &op : body.without_terminator()) {
    if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      std::string value = literal(constant.getValue());
      if (value.empty())
        return op.emitError("has no literal in C++");
      // A negative one must not run into a minus before it.
      names[constant] = value[0] == '-' ? "(" + value + ")" : value;
      continue;
    }
    // A bf16 that is read is a float already, one that is only stored is rounded
    // by the store.
    bool isWidening = isa<arith::ExtFOp>(op) && op.getOperand(0).getType().isBF16();
    bool isStored = isa<arith::TruncFOp>(op) && op.getResult(0).getType().isBF16() &&
                    llvm::all_of(op.getUsers(), llvm::IsaPred<exec::YieldOp>);
    if (isWidening || isStored) {
      names[op.getResult(0)] = of(op.getOperand(0));
      continue;
    }
    StringRef type = op.getNumResults() == 1 ? scalarType(op.getResult(0).getType()) : "";
    std::string value = type.empty() ? "" : expression(&op);
    if (value.empty())
      return op.emitError("has no expression in C++ for these types");
    std::string name = "t" + std::to_string(next++);
    names[op.getResult(0)] = name;
    text += "    " + type.str() + " " + name + " = " + value + ";\n";
  }
  for (auto [i, value] : llvm::enumerate(yield.getValues()))
    text += "    y" + std::to_string(i) + " = " + of(value) + ";\n";
  return text + "  }\n};\n";
}

FailureOr<std::string> target::emitFunctor(exec::KernelOp kernel) {
  return FunctorWriter(kernel).run();
}
