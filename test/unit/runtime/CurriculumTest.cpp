//===- CurriculumTest.cpp - Sequence lengths that change with the step -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Rows of shorter sequences are compared with slices of the longest ones' rows, which
// DataOrderTest.cpp compares with lists; positions with a cursor that counts tokens.
//
//===----------------------------------------------------------------------===//

#include "train/curriculum.h"
#include "DataUtil.h"
#include "moire/rt/context.h"
#include "train/checkpoint_manifest.h"
#include "train/prefetch.h"

#include <numeric>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
/// One model for 2, 4 and 12 tokens, in micro-batches of 6, 2 and 1 rows.
struct Lengths {
  LanguageModel models[3] = {LanguageModel(6, 2), LanguageModel(2, 4), LanguageModel(1, 12)};
  const Program *list[3];
  Lengths() {
    for (int i = 0; i < 3; ++i) {
      list[i] = &models[i].p;
      models[i].p.lengths = list;
      models[i].p.numLengths = 3;
    }
  }
  const Program &longest() const { return *list[2]; }
};

std::string parseError(const std::string &text, const Program &p) {
  try {
    parseCurriculum(text, p);
  } catch (const InputError &e) {
    return e.what();
  }
  return "";
}

/// Where steps begin and end, in tokens.
struct Cursor {
  int64_t at = 0;
  void step(int64_t seq, int64_t rows) {
    while (at % seq)
      ++at;
    at += rows * seq;
  }
};

const char *const kCurricula[] = {"seq=2@0", "seq=2@0,4@3,12@5", "seq=4@0,12@2,2@4,4@5,12@9",
                                  "seq=12@0,4@7"};

/// 400 tokens in documents of 1 to 17, an .npy of rows would have equal ones.
std::string writeDocuments(const TempFolder &dir) {
  std::vector<uint16_t> tokens(400);
  std::iota(tokens.begin(), tokens.end(), 0);
  for (uint16_t &token : tokens)
    token = token * 7 % 300;
  std::vector<int32_t> sizes;
  std::vector<int64_t> pointers, documents;
  for (int64_t at = 0, i = 0; at < 400; ++i) {
    const int64_t n = std::min<int64_t>(1 + i * 5 % 17, 400 - at);
    documents.push_back(i);
    sizes.push_back(int32_t(n));
    pointers.push_back(2 * at);
    at += n;
  }
  documents.push_back(int64_t(sizes.size()));
  write(dir / "c.bin", bytes(tokens));
  write(dir / "c.idx", std::string("MMIDIDX\0\0\1\0\0\0\0\0\0\0\x8", 18) +
                           bytes(std::vector<uint64_t>{sizes.size(), documents.size()}) +
                           bytes(sizes) + bytes(pointers) + bytes(documents));
  return dir / "c.idx";
}

/// Tokens, mask, positions and labels of a row.
struct Row {
  std::vector<int64_t> tokens, labels, positions;
  std::vector<uint8_t> mask;
  bool operator==(const Row &o) const {
    return tokens == o.tokens && labels == o.labels && positions == o.positions && mask == o.mask;
  }
};
Row rowOf(const MicroBatch &b, int64_t r) {
  const int64_t seq = b.program->seq;
  Row row;
  for (int64_t t = r * seq; t < (r + 1) * seq; ++t) {
    row.tokens.push_back(b.blocks[0].as<int64_t>()[t]);
    row.mask.push_back(b.blocks[1].as<uint8_t>()[t]);
    row.positions.push_back(b.blocks[2].as<int64_t>()[t]);
    row.labels.push_back(b.blocks[3].as<int64_t>()[t]);
  }
  return row;
}
/// Row n of the shorter sequences, out of a row of the longest.
Row pieceOf(DataSource &source, const Program &longest, int64_t seq, int64_t n) {
  const int64_t pieces = longest.seq / seq, first = n % pieces * seq;
  MicroBatch whole(longest);
  source.read(n / pieces, 0, whole);
  Row row = rowOf(whole, 0), piece;
  auto cut = [&](const auto &from, auto &to) {
    to.assign(from.begin() + first, from.begin() + first + seq);
  };
  cut(row.tokens, piece.tokens);
  cut(row.labels, piece.labels);
  cut(row.mask, piece.mask);
  piece.positions.resize(seq);
  std::iota(piece.positions.begin(), piece.positions.end(), 0);
  piece.mask[0] = 1;
  return piece;
}
} // namespace

TEST(Curriculum, NamesCompiledLengths) {
  Lengths l;
  const auto changes = parseCurriculum("seq=2@0,12@1000", l.longest());
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].length, 0u);
  EXPECT_EQ(changes[1].length, 2u);
  EXPECT_EQ(changes[1].after, 1000);
  EXPECT_EQ(
      parseError("seq=3@0", l.longest()),
      "--curriculum 'seq=3@0' has length 3, and the program was compiled for 2, 4, 12; use one "
      "of these");
  EXPECT_EQ(
      parseError("seq=2@10", l.longest()),
      "--curriculum 'seq=2@10' begins at @10; say the first step's length, too, by @0");
  EXPECT_EQ(parseError("seq=2@0,4@9,12@9", l.longest()),
            "--curriculum 'seq=2@0,4@9,12@9' has @9 behind @9; use ascending steps");
  for (const char *item : {"2", "2@", "2@x", "2@0x", "@0", "2@-1", "2@ 0", "2@99999999999999999999"})
    EXPECT_EQ(parseError(std::string("seq=") + item, l.longest()),
              std::string("--curriculum 'seq=") + item + "' has '" + item +
                  "'; use LENGTH@STEPS, the length once so many steps are done, as in "
                  "seq=128@0,512@1000");
  EXPECT_NE(parseError("seq=2@0,", l.longest()).find("has ''; use"), std::string::npos);
  for (const char *text : {"", "2@0", "seq=", "batch=2@0"})
    EXPECT_EQ(parseError(text, l.longest()), std::string("--curriculum '") + text +
                                                 "' is not understood; use "
                                                 "seq=LENGTH@STEPS,LENGTH@STEPS, as in "
                                                 "seq=128@0,512@1000");
  LanguageModel alone;
  EXPECT_EQ(
      parseError("seq=4@0", alone.p),
      "--curriculum 'seq=4@0' needs a program with several sequence lengths, and this one has "
      "4; compile with --bind seq=128|512, or leave it out");
}

TEST(Curriculum, PositionIsThatOfACursor) {
  Lengths l;
  const RampInfo ramp[] = {{1, 0, 0}, {3, 4, 0}, {2, 6, 0}};
  for (bool ramps : {false, true})
    for (const char *text : kCurricula)
      for (auto [rounds, shards] : {std::pair<int64_t, int64_t>(1, 1), {3, 1}, {1, 2}, {2, 3}}) {
        for (LanguageModel &model : l.models) {
          model.p.numRamp = ramps ? 3 : 0;
          model.p.ramp = ramp;
        }
        const auto changes = parseCurriculum(text, l.longest());
        const Curriculum curriculum(l.longest(), changes, rounds, shards);
        Cursor cursor;
        int64_t position = 0;
        for (int64_t done = 0; done < 14; ++done) {
          EXPECT_EQ(curriculum.positionAfter(done), position) << text;
          EXPECT_EQ(curriculum.tokensBefore(position), cursor.at) << text;
          size_t length = 0;
          for (const LengthChange &change : changes)
            length = change.after <= done ? change.length : length;
          const Program &p = *l.list[length];
          const int64_t micros = !ramps ? 1 : done < 4 ? 1 : done < 6 ? 3 : 2;
          const auto step = curriculum.stepAfter(done, position);
          EXPECT_EQ(step.length, length) << text;
          EXPECT_EQ(step.micros, micros * rounds);
          const int64_t rows = p.batch * micros * rounds * shards;
          EXPECT_EQ(step.rows, rows);
          cursor.step(p.seq, rows);
          EXPECT_EQ((step.rowsBefore + rows) * p.seq, cursor.at) << text;
          position = step.end;
        }
      }
}

TEST(Curriculum, RowsArePiecesOfTheLongest) {
  Lengths l;
  TempFolder dir;
  const std::string c = writeDocuments(dir);
  for (const DataOptions &options :
       {DataOptions{c, {}, false, 3}, DataOptions{c, {}, true, 4},
        DataOptions{c + ":0.5," + (dir / "c.bin") + ":0.5", {"0.1,0.9@20rows"}, true, 5}}) {
    const auto source = openData(options, l.longest(), 1);
    int64_t withoutLabel = 0;
    for (const Program *p : l.list)
      for (int64_t n = 0; n < 120; n += p->batch) {
        MicroBatch batch(*p);
        source->read(n - n % p->batch, 0, batch);
        int64_t counted = 0;
        for (int64_t r = 0; r < p->batch; ++r) {
          const Row row = rowOf(batch, r);
          EXPECT_TRUE(row == pieceOf(*source, l.longest(), p->seq, n + r))
              << p->seq << " " << n + r;
          const auto labels = p->seq - std::count(row.labels.begin(), row.labels.end(), -100);
          counted += labels;
          withoutLabel += labels == 0;
        }
        EXPECT_EQ(batch.counted, counted);
      }
    EXPECT_EQ(withoutLabel > 0, options.keepDocuments);
  }
}

TEST(Curriculum, StepsReadOnWhereTheyStopped) {
  Lengths l;
  TempFolder dir;
  const std::string c = writeDocuments(dir);
  for (const char *text : kCurricula) {
    const DataOptions options = {c, {}, false, 1, parseCurriculum(text, l.longest())};
    const Curriculum curriculum(l.longest(), options.curriculum, 2, 2);
    const std::vector<const Program *> all(l.list, l.list + 3);
    Prefetch data(openData(options, l.longest(), 2, 2), all, 2, 1, 2);
    int64_t position = 0;
    for (int64_t done = 0; done < 12; ++done) {
      const auto now = curriculum.stepAfter(done, position),
                 next = curriculum.stepAfter(done + 1, now.end);
      const MicroBatch *batches = data.take({now.rowsBefore, now.micros, now.length},
                                            {next.rowsBefore, next.micros, next.length});
      // As a run that begins here would read it, by itself.
      const auto source = openData(options, l.longest(), 2, 2);
      for (int64_t a = 0; a < now.micros; ++a) {
        const Program &p = *l.list[now.length];
        ASSERT_EQ(batches[a].program, &p);
        MicroBatch own(p);
        source->read(now.rowsBefore, 2 * a + 1, own);
        for (int64_t r = 0; r < p.batch; ++r)
          EXPECT_TRUE(rowOf(batches[a], r) == rowOf(own, r)) << text << " " << done;
      }
      position = now.end;
    }
  }
}

TEST(Curriculum, MixOfStepsBeginsWithAWholeRow) {
  Lengths l;
  TempFolder dir;
  const std::string c = writeDocuments(dir), mixed = c + ":0.5," + (dir / "c.bin") + ":0.5";
  // A step of 2 tokens takes a row of the longest, one of 4 two thirds of a row.
  auto described = [&](const char *curriculum, const char *change) {
    DataOptions options = {mixed, {change}, false, 1, parseCurriculum(curriculum, l.longest())};
    const std::string text = openData(options, l.longest(), 1)->describe();
    return text.substr(text.rfind("; from"));
  };
  EXPECT_EQ(described("seq=2@0", "1,0@3"), "; from row 3 on weights 1 0");
  EXPECT_EQ(described("seq=4@0", "1,0@1"), "; from row 1 on weights 1 0");
  EXPECT_EQ(described("seq=4@0", "1,0@2"), "; from row 2 on weights 1 0");
  EXPECT_EQ(described("seq=4@0,12@1", "1,0@2"), "; from row 2 on weights 1 0");
}

TEST(Curriculum, FoldersHaveOneLength) {
  Lengths l;
  TempFolder dir;
  try {
    openData({dir / "", {}, false, 0, {{0, 0}}}, l.longest(), 1);
    FAIL();
  } catch (const InputError &e) {
    EXPECT_EQ(std::string(e.what()), "--curriculum is for token files, and '" + (dir / "") +
                                         "' is a folder, whose rows have one length; leave it out");
  }
}

TEST(Curriculum, CheckpointsCountInTheirOwnPieces) {
  Lengths l;
  Options options;
  Progress progress;
  progress.step = 5;
  progress.rows = 7; // of six in a row
  const Manifest of = Manifest::parse(Manifest::of(l.longest(), options, progress, 1).text());
  EXPECT_EQ(of.row.tokens, 12);
  EXPECT_EQ(of.row.pieces, 6);
  LanguageModel same(2, 12), other(2, 24);
  const Manifest alone = Manifest::of(same.p, options, progress, 1);
  EXPECT_EQ(of.progressOf(of).rows, 7);
  EXPECT_EQ(of.progressOf(alone).rows, 2);
  EXPECT_EQ(alone.progressOf(of).rows, 42);
  of.mustMatch(alone, "run");
  alone.mustMatch(of, "run");
  try {
    of.mustMatch(Manifest::of(other.p, options, progress, 1), "run");
    FAIL();
  } catch (const InputError &e) {
    EXPECT_EQ(
        std::string(e.what()),
        "checkpoint 'run' is of a run whose longest sequences have 12 tokens, those of this "
        "program have 24, and its place in the data is in sequences; compile the same longest "
        "one; or begin with its weights by --weights 'run/weights.safetensors'");
  }
  options.curriculum = "seq=2@0";
  EXPECT_EQ(of.differences(Manifest::of(l.longest(), options, progress, 1)),
            "--curriculum seq=2@0 (was none)");
}

TEST(Curriculum, ContextHoldsWhatTheLargestNeeds) {
  Lengths l;
  const float values[3][2] = {{1, 2}, {3, 4}, {5, 6}};
  const TableInfo tables[3] = {{values[0], 8, 0}, {values[1], 8, 64}, {values[2], 8, 0}};
  const int64_t arenas[3] = {64, 256, 128}, shadows[3] = {192, 64, 128};
  for (int i = 0; i < 3; ++i) {
    l.models[i].p.tables = &tables[i];
    l.models[i].p.numTables = 1;
    l.models[i].p.tableBytes = tables[i].offset + 8;
    l.models[i].p.arenaBytes = arenas[i];
    l.models[i].p.shadowBytes = shadows[i];
  }
  Context ctx(std::vector<const Program *>(l.list, l.list + 3), 1);
  EXPECT_EQ(ctx.arena.size(), 256);
  EXPECT_EQ(ctx.shadows.size(), 192);
  EXPECT_EQ(ctx.program, l.list[2]);
  for (int i : {2, 0, 1, 0, 2, 2, 1}) {
    ctx.use(*l.list[i]);
    EXPECT_EQ(ctx.program, l.list[i]);
    EXPECT_EQ(ctx.table<float>(tables[i].offset)[1], values[i][1]);
  }
}
