//===- tokens.cpp - Windows of a token file -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// llm.c's files: a header of 256 int32 (magic, version, number of tokens), then
// the tokens: magic 20240520, version 1: uint16 (GPT-2); magic 20240801,
// version 7: uint32 (Llama 3).
//
//===----------------------------------------------------------------------===//

#include "train/mapped_file.h"
#include "train/philox.h"
#include "train/sources.h"

namespace moire::rt {

namespace {
constexpr int32_t kMagic16 = 20240520, kMagic32 = 20240801;
constexpr int64_t kHeader = 1024;

class Tokens final : public DataSource {
public:
  Tokens(const std::string &path, const Program &program, uint64_t seed)
      : file(path), program(program), seed(seed) {
    open();
    if (program.seq <= 0 || program.batch <= 0)
      throw InputError("the model has no token sequence; '" + path +
                       "' is a token file, use a folder of tensors");
    if (program.loss == Loss::classes || program.loss == Loss::mse)
      throw InputError("token file '" + path +
                       "' gives no labels for this loss; use a folder with "
                       "labels.pb");
    for (int64_t i = 0; i < program.numInputs; ++i) {
      const InputInfo &in = program.inputs[i];
      if (in.role == Role::other)
        throw InputError("token file '" + path + "' does not give the input '" +
                         in.name + "'; use a folder with input_" +
                         std::to_string(in.graphIndex) + ".pb");
    }
    windows = (count - 1) / program.seq;
    if (windows < 1)
      throw InputError("'" + path + "' holds " + std::to_string(count) +
                       " tokens, one window needs seq + 1 = " +
                       std::to_string(program.seq + 1) +
                       "; use a longer file or a smaller seq in --bind");
  }

  void read(int64_t rowsBefore, int64_t micro, MicroBatch &batch) override {
    int64_t tokens = -1, labels = -1;
    for (int64_t i = 0; i < program.numInputs; ++i) {
      const InputInfo &in = program.inputs[i];
      if (in.role == Role::tokens)
        tokens = i;
      else if (in.role == Role::labels)
        labels = i;
      else if (in.role != Role::scale)
        fillDefault(in, batch.blocks[i].data());
    }
    const int64_t seq = program.seq;
    for (int64_t row = 0; row < program.batch; ++row) {
      const int64_t number = rowsBefore + micro * program.batch + row;
      const Permutation order(windows, seed, number / windows);
      const int64_t start = int64_t(order(number % windows)) * seq;
      for (int64_t t = 0; t <= seq; ++t) {
        const int64_t id = token(start + t);
        if (tokens >= 0 && t < seq)
          put(tokens, batch, row * seq + t, id);
        if (labels < 0)
          continue;
        // A graph that shifts by itself gets the tokens as labels.
        const int64_t at = program.labels == Labels::asIs && program.count == Count::skipFirst
                               ? t
                               : t - 1;
        if (at >= 0 && at < seq)
          put(labels, batch, row * seq + at, id);
      }
    }
    batch.counted = countLabels(program, batch);
  }

  std::string describe() const override {
    return std::to_string(count) + " tokens, " + std::to_string(windows) +
           " windows of " + std::to_string(program.seq) + " + 1";
  }

private:
  void open() {
    const std::string &path = file.path();
    int32_t header[3] = {0, 0, 0};
    if (file.size() >= 12)
      std::memcpy(header, file.data(), 12);
    const bool known = header[0] == kMagic16 || header[0] == kMagic32;
    const bool named =
        path.size() >= 4 && path.compare(path.size() - 4, 4, ".bin") == 0;
    if (!named && !known) { // text
      width = 1;
      data = file.data();
      count = file.size();
      if (program.tokenVocab > 0 && program.tokenVocab < 256)
        throw InputError("'" + path + "' is read as bytes, which need a "
                         "vocabulary of 256, the model has " +
                         std::to_string(program.tokenVocab) +
                         "; use a .bin file of its own tokens");
      return;
    }
    if (file.size() < kHeader)
      throw InputError("'" + path + "' has " + std::to_string(file.size()) +
                       " bytes, an llm.c token file starts with a header of " +
                       std::to_string(kHeader));
    if (!known)
      throw InputError("'" + path + "' has magic " + std::to_string(header[0]) +
                       "; an llm.c token file has " + std::to_string(kMagic16) +
                       " (uint16) or " + std::to_string(kMagic32) + " (uint32)");
    const int32_t version = header[0] == kMagic16 ? 1 : 7;
    if (header[1] != version)
      throw InputError("'" + path + "' has version " + std::to_string(header[1]) +
                       ", a file of magic " + std::to_string(header[0]) + " has " +
                       std::to_string(version));
    width = header[0] == kMagic16 ? 2 : 4;
    count = header[2];
    data = file.data() + kHeader;
    if (count < 0 || kHeader + count * width != file.size())
      throw InputError("'" + path + "' has " + std::to_string(file.size()) +
                       " bytes, its header's " + std::to_string(count) +
                       " tokens of " + std::to_string(width) + " bytes need " +
                       std::to_string(kHeader + count * width));
  }

  int64_t token(int64_t at) const {
    int64_t id = 0;
    if (width == 1) {
      id = data[at];
    } else if (width == 2) {
      uint16_t v;
      std::memcpy(&v, data + 2 * at, 2);
      id = v;
    } else {
      uint32_t v;
      std::memcpy(&v, data + 4 * at, 4);
      id = v;
    }
    const int64_t bound = program.tokenVocab > 0 ? program.tokenVocab : program.vocab;
    if (bound > 0 && id >= bound)
      throw InputError("token " + std::to_string(id) + " at position " +
                       std::to_string(at) + " of '" + file.path() +
                       "' is outside the model's vocabulary of " +
                       std::to_string(bound) +
                       "; use a file made with the model's tokenizer");
    return id;
  }

  void put(int64_t input, MicroBatch &batch, int64_t at, int64_t id) const {
    if (program.inputs[input].dtype == DType::i32)
      batch.blocks[input].as<int32_t>()[at] = int32_t(id);
    else
      batch.blocks[input].as<int64_t>()[at] = id;
  }

  MappedFile file;
  const Program &program;
  uint64_t seed;
  const unsigned char *data = nullptr;
  int64_t width = 1, count = 0, windows = 0;
};
} // namespace

std::unique_ptr<DataSource> openTokens(const std::string &path, const Program &program,
                                       uint64_t seed) {
  return std::make_unique<Tokens>(path, program, seed);
}

} // namespace moire::rt
