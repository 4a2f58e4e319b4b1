//===- export_onnx.h - Trained weights in the model's own ONNX file -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The file and the files of its external data are copied, and where a Source of the program's
// table lies, the values go back in its type and layout. Every other byte stays, but where an
// initializer holds several parameters that were equal: each but one gets an initializer of its
// own in the file, and the nodes that read it name that one.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_EXPORT_ONNX_H
#define MOIRE_RT_EXPORT_ONNX_H

#include "train/mapped_file.h"
#include "train/new_file.h"
#include "train/onnx_edit.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace moire::rt {

/// Which parameters may have got other values than the file has.
enum class Changed { none, trained, all };

class OnnxExport {
public:
  /// model: the file that the program was compiled from; path: the one to be written, with
  /// files of external data beside it under the names that the model calls them. Nothing is
  /// written yet. Throws InputError where the values could not be written.
  OnnxExport(const Program &program, const std::string &model, const std::string &path,
             Changed changed);
  /// The paths that are written.
  std::vector<std::string> paths() const;
  /// Of the disk, in bytes.
  int64_t bytes() const;

  /// Copies the files. Throws RunError, like all that follows.
  void begin();
  /// The values of a parameter, by its number in allParameters().
  void put(size_t number, const float *values);
  void sync();
  void publish();

private:
  struct File {
    std::string name;                  ///< relative to the model's folder
    std::unique_ptr<MappedFile> input; ///< null: there is none, all its bytes are parameters
    std::string path;
    int64_t bytes = 0; ///< that are written
    std::unique_ptr<NewFile> output;
  };
  /// Where a source's values are read from, and where they go.
  struct Place {
    const Source *source;
    size_t file;
    int64_t offset, bytes;
    size_t toFile;
    int64_t to;
  };

  /// An initializer that the file gets: its field, with zeros in it.
  struct Added {
    size_t parameter, place;
    std::string field;
  };

  size_t fileOf(const std::string &name);
  Place find(const ParameterInfo &parameter, const Source &source);
  void checkCreated();
  void splitMerged(Changed changed);
  void split(const MergedInfo &merged);
  void copy(File &file, const std::vector<Edit> &edits);

  const Program &program;
  std::string model, path;
  std::vector<const ParameterInfo *> parameters;
  std::vector<std::vector<Place>> places; ///< by the parameter's number
  std::vector<File> files;                ///< the model first
  std::map<std::string, InitializerField> initializers;
  std::vector<Edit> edits;                ///< of the model
  std::vector<Added> added;
  std::set<std::string> names; ///< of values, and of those; empty: not looked for yet
  /// Places in the input that hold parameters: their numbers.
  std::map<std::pair<size_t, int64_t>, std::vector<size_t>> holders;
  /// Checksums of what went to places that several have.
  std::map<std::pair<size_t, int64_t>, uint64_t> written;
};

} // namespace moire::rt

#endif // MOIRE_RT_EXPORT_ONNX_H
