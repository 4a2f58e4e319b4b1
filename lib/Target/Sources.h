//===- Sources.h - The generated files of a program ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TARGET_SOURCES_H
#define MOIRE_LIB_TARGET_SOURCES_H

#include "ProgramInfo.h"

namespace moire::target {

/// All files under src/: of one program, or of those of several lengths, the longest last.
mlir::FailureOr<std::vector<SourceFile>> emitSources(llvm::ArrayRef<ProgramInfo> lengths);

/// What begins and ends the program's namespace; empty where it has none.
std::string opened(const ProgramInfo &info);
std::string closed(const ProgramInfo &info);

/// The comment that a generated file begins with.
std::string banner(const ProgramInfo &info, llvm::StringRef what);

/// A generated function: its parts are NAME1, NAME2, …
struct FunctionEntry {
  std::string name;
  std::vector<bool> isGraph; ///< by part: whether it may run as a CUDA graph
  std::vector<bool> trains;  ///< by part: whether evaluation leaves it out
};

/// program.cpp: constants, parameters, inputs, files, peak, program.
mlir::FailureOr<std::string> emitTables(const ProgramInfo &info,
                                        llvm::ArrayRef<ConstantEntry> constants,
                                        llvm::ArrayRef<FunctionEntry> functions,
                                        const SharedNames &names);

/// A row of ParameterInfo without its last brace: before and behind the offset; what follows
/// the groups of ranks is not in it.
struct ParameterRow {
  std::string before, behind;
};
/// Of program.cpp, the tables of a pipeline.
std::string pipelineTables(const ProgramInfo &info, llvm::ArrayRef<ParameterRow> rows,
                           const SharedNames &names);
/// `NAME[] = {{group, ranges, …}, …};` with the ranges before it; empty without buckets.
std::string bucketTable(llvm::ArrayRef<BucketEntry> buckets, const std::string &suffix);

/// Of program.cpp: what the trainer needs to write weights back, and how many rows its tables
/// `saved` and `merged` have.
struct ExportTables {
  std::string text;
  int64_t saved = 0, merged = 0;
};
ExportTables exportTables(const ProgramInfo &info);

/// params.json: names, shapes, offsets and sources of all parameters.
std::string parametersJson(const ProgramInfo &info);
/// moire.json: what made the folder, of what; the arena is the largest one's.
std::string markerJson(llvm::ArrayRef<ProgramInfo> lengths);
/// CMakeLists.txt and Makefile, for the folder to build alone.
std::string cmakeText(const ProgramInfo &info, llvm::ArrayRef<SourceFile> sources);
std::string makefileText(const ProgramInfo &info, llvm::ArrayRef<SourceFile> sources);

} // namespace moire::target

#endif // MOIRE_LIB_TARGET_SOURCES_H
