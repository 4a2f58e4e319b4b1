//===- ExportTables.cpp - What writes the model's weights back -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Sources.h"
#include "Text.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace moire;
using namespace moire::target;

static StringRef textAt(ArrayAttr row, unsigned i) { return cast<StringAttr>(row[i]).getValue(); }

/// The rows of a module's attribute; none where it is not there.
static ArrayRef<Attribute> tableRows(const ProgramInfo &info, StringRef name) {
  auto rows = info.module->getAttrOfType<ArrayAttr>(name);
  return rows ? rows.getValue() : ArrayRef<Attribute>();
}

ExportTables target::exportTables(const ProgramInfo &info) {
  ExportTables tables;
  llvm::StringSet<> symbols;
  for (const ParameterEntry &p : info.parameters)
    symbols.insert(p.op.getSymName());
  std::string rows;
  for (Attribute attr : tableRows(info, "moire.saved")) {
    auto row = cast<ArrayAttr>(attr);
    if (!symbols.contains(textAt(row, 0))) // nothing reads it
      continue;
    rows += "    {" + quoted(textAt(row, 0)) + ", " + quoted(textAt(row, 1)) + "},\n";
    ++tables.saved;
  }
  if (tables.saved)
    tables.text += "// parameter, its name in PyTorch's state_dict()\n"
                   "static const SavedName saved[] = {\n" + rows + "};\n\n";
  rows.clear();
  for (Attribute attr : tableRows(info, "moire.merged")) {
    auto row = cast<ArrayAttr>(attr);
    std::string name = "mergedUses" + std::to_string(tables.merged++);
    tables.text += "static const MergedUse " + name + "[] = {\n";
    for (Attribute use : row.getValue().drop_front()) {
      auto parts = cast<ArrayAttr>(use);
      tables.text += "    {" + quoted(textAt(parts, 0)) + ", " + quoted(textAt(parts, 1)) + ", " +
                     std::to_string(cast<IntegerAttr>(parts[2]).getInt()) + "},\n";
    }
    tables.text += "};\n";
    rows += "    {" + quoted(textAt(row, 0)) + ", " + std::to_string(row.size() - 1) + ", " + name +
            "},\n";
  }
  if (tables.merged)
    tables.text += "// initializer, nodes that read it\n"
                   "static const MergedInfo merged[] = {\n" + rows + "};\n\n";
  return tables;
}
