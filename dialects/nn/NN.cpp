//===- NN.cpp - Registration of the nn dialect ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire::nn;

// `, type` where an optional operand is there. A plain optional group cannot
// tell an absent type from the one that follows.
static ParseResult parseTypeOf(OpAsmParser &parser,
                               std::optional<OpAsmParser::UnresolvedOperand> operand,
                               Type &type) {
  return operand ? failure(parser.parseComma() || parser.parseType(type)) : success();
}
static void printTypeOf(OpAsmPrinter &printer, Operation *, Value operand, Type type) {
  if (operand)
    printer << ", " << type;
}

// A result type that is the operand's unless it is told.
static ParseResult parseResultOf(OpAsmParser &parser, Type operand, Type &type) {
  type = operand;
  return succeeded(parser.parseOptionalArrow()) ? parser.parseType(type) : success();
}
static void printResultOf(OpAsmPrinter &printer, Operation *, Type operand, Type type) {
  if (operand != type)
    printer << " -> " << type;
}

#include "dialects/nn/NNOpsDialect.cpp.inc"
#include "dialects/nn/NNOpsEnums.cpp.inc"
#include "dialects/nn/NNInterfaces.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/nn/NNOpsTypes.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/nn/NNOpsAttributes.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/nn/NNOps.cpp.inc"

void NNDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/nn/NNOpsTypes.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/nn/NNOpsAttributes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/nn/NNOps.cpp.inc"
      >();
  addBalanceOps();
}
