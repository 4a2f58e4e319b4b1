//===- tokens.cpp - Rows of token files -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Row n of a run is of a stream, number k there (mixture.h); of the stream's W windows it is
// number π(k mod W), where π is the permutation of epoch ⌊k / W⌋.
//
//===----------------------------------------------------------------------===//

#include "train/convert.h"
#include "train/data_names.h"
#include "train/mixture.h"
#include "train/philox.h"
#include "train/sources.h"
#include "train/windows.h"

#include <sstream>

namespace moire::rt {

namespace {
/// No stream has so many epochs: its seeds are its own.
constexpr uint64_t kEpochs = uint64_t(1) << 40;

class Tokens final : public DataSource {
public:
  Tokens(const DataOptions &options, const Program &program, int64_t rounds, int64_t shards)
      : program(program), seed(options.seed), names(parseDataNames(options.path)) {
    std::vector<std::vector<std::unique_ptr<TokenFile>>> opened;
    for (const StreamName &name : names) {
      std::vector<std::unique_ptr<TokenFile>> &files = opened.emplace_back();
      for (const std::string &file : name.files) {
        files.push_back(openTokenFile(file));
        checkText(*files.back());
      }
    }
    checkProgram(options.path);
    for (auto &files : opened)
      streams.emplace_back(std::move(files), program.seq,
                           options.keepDocuments ? Documents::keep : Documents::join);
    phases.push_back({0, {}});
    for (const StreamName &name : names)
      phases[0].weights.push_back(name.weight);
    const Curriculum steps(program, options.curriculum, rounds, shards);
    const auto rows = [&](int64_t count) { return steps.wholeRows(steps.positionAfter(count)); };
    for (const MixChange &change : parseMix(options.mix, int64_t(streams.size()), rows))
      phases.push_back({change.firstRow, change.weights});
    mixture = std::make_unique<Mixture>(phases, seed);
    row.resize(program.seq + 1);
  }

  void read(int64_t rowsBefore, int64_t micro, MicroBatch &batch) override {
    const Program &p = *batch.program;
    for (int64_t i = 0; i < p.numInputs; ++i)
      fillDefault(p.inputs[i], batch.blocks[i].data());
    std::vector<Windows::Window> windows;
    for (int64_t r = 0; r < p.batch; ++r) {
      windows.push_back(rowOf(rowsBefore + micro * p.batch + r, p.seq));
      if (windows[r].tokens > 0)
        windows[r].file->willRead(windows[r].begin, windows[r].tokens);
    }
    for (int64_t r = 0; r < p.batch; ++r) {
      const Windows::Window &window = windows[r];
      if (window.tokens > 0)
        window.file->read(window.begin, window.tokens, row.data());
      check(window);
      for (int64_t i = 0; i < p.numInputs; ++i)
        fill(i, r, window.tokens, batch);
    }
    batch.counted = countLabels(p, batch);
  }

  int64_t rowsOfEpoch() const override {
    int64_t sum = 0;
    for (const Windows &stream : streams)
      sum += stream.count();
    return sum;
  }

  std::string describe() const override {
    std::ostringstream s;
    for (size_t i = 0; i < streams.size(); ++i) {
      if (streams.size() > 1)
        s << (i ? "; '" : "'") << names[i].text << "', weight " << names[i].weight << ": ";
      s << streams[i].tokens() << " tokens, ";
      if (streams[i].numFiles() > 1)
        s << "of " << streams[i].numFiles() << " files, ";
      s << streams[i].count() << " windows of " << program.seq << " + 1";
    }
    for (size_t i = 1; i < phases.size(); ++i) {
      s << "; from row " << phases[i].firstRow << " on weights";
      for (double w : phases[i].weights)
        s << " " << w;
    }
    return s.str();
  }

private:
  void checkProgram(const std::string &path) const {
    if (program.seq <= 0 || program.batch <= 0)
      throw InputError("the model has no token sequence; '" + path +
                       "' is a token file, use a folder of tensors");
    if (program.loss == Loss::classes || program.loss == Loss::mse)
      throw InputError("token file '" + path +
                       "' gives no labels for this loss; use a folder "
                       "with labels.pb");
    for (int64_t i = 0; i < program.numInputs; ++i)
      if (const InputInfo &in = program.inputs[i]; in.role == Role::other)
        throw InputError("token file '" + path + "' does not give the input '" + in.name +
                         "'; use a folder with input_" + std::to_string(in.graphIndex) + ".pb");
  }

  void checkText(const TokenFile &file) const {
    if (file.isText() && program.tokenVocab > 0 && program.tokenVocab < 256)
      throw InputError("'" + file.path() +
                       "' is read as bytes, which need a vocabulary of 256, "
                       "the model has " +
                       std::to_string(program.tokenVocab) + "; use a .bin file of its own tokens");
  }

  Windows::Window windowOf(int64_t number) const {
    const auto [stream, ordinal] = mixture->at(number);
    const Windows &windows = streams[stream];
    const int64_t epoch = ordinal / windows.count();
    const Permutation order(windows.count(), seed, stream * kEpochs + epoch);
    return windows.at(int64_t(order(ordinal % windows.count())));
  }

  /// Row n of those with sequences of `seq` tokens: a window, or a piece of one. Where the window
  /// is shorter than others the piece may be, too, or have none.
  Windows::Window rowOf(int64_t number, int64_t seq) const {
    const int64_t pieces = program.seq / seq, before = number % pieces * seq;
    const Windows::Window window = windowOf(number / pieces);
    const int64_t left = std::max<int64_t>(0, window.tokens - before);
    return {window.file, window.begin + window.tokens - left, std::min(seq + 1, left)};
  }

  /// That all tokens of the row are the model's.
  void check(const Windows::Window &window) const {
    const int64_t bound = program.tokenVocab > 0 ? program.tokenVocab : program.vocab;
    for (int64_t t = 0; t < window.tokens; ++t)
      if (row[t] < 0 || (bound > 0 && row[t] >= bound))
        throw InputError("token " + std::to_string(row[t]) + " at position " +
                         std::to_string(window.begin + t) + " of '" + window.file->path() +
                         "' is outside the model's vocabulary of " + std::to_string(bound) +
                         "; use a file made with the model's tokenizer");
  }

  /// Row r of an input, where `tokens` of the row's seq + 1 are there.
  void fill(int64_t input, int64_t r, int64_t tokens, MicroBatch &batch) const {
    const InputInfo &in = batch.program->inputs[input];
    const int64_t seq = batch.program->seq;
    if (in.role == Role::tokens) {
      for (int64_t t = 0; t < seq; ++t)
        put(in, batch.blocks[input], r * seq + t, t < tokens ? row[t] : 0);
    } else if (in.role == Role::labels) {
      // A graph that shifts by itself gets the tokens as labels.
      const bool shifts = program.labels == Labels::asIs && program.count == Count::skipFirst;
      for (int64_t t = 0; t < seq; ++t) {
        const int64_t from = shifts ? t : t + 1;
        put(in, batch.blocks[input], r * seq + t, from < tokens ? row[from] : -100);
      }
    } else if (in.role == Role::attentionMask && tokens < seq &&
               elements(in) == batch.program->batch * seq) {
      tokens = std::max<int64_t>(1, tokens); // attention needs something to attend to
      const int64_t width = bytesOf(in.dtype);
      std::memset(batch.blocks[input].data() + (r * seq + tokens) * width, 0,
                  (seq - tokens) * width);
    }
  }

  static void put(const InputInfo &in, Block &block, int64_t at, int64_t id) {
    if (in.dtype == DType::i32)
      block.as<int32_t>()[at] = int32_t(id);
    else
      block.as<int64_t>()[at] = id;
  }

  const Program &program;
  uint64_t seed;
  std::vector<StreamName> names;
  std::vector<Windows> streams; ///< one per name
  std::vector<Mixture::Phase> phases;
  std::unique_ptr<Mixture> mixture;
  std::vector<int64_t> row; ///< the tokens of a window
};
} // namespace

std::unique_ptr<DataSource> openTokens(const DataOptions &options, const Program &program,
                                       int64_t rounds, int64_t shards) {
  return std::make_unique<Tokens>(options, program, rounds, shards);
}

} // namespace moire::rt
