//===- FieldsTest.cpp - Every mistake in a file gets its sentence ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/CostModel/Fields.h"
#include "gtest/gtest.h"

using namespace moire::cost;

namespace {
struct Values {
  double memory = 0, share = 0;
  int nodes = 0;
  std::string name;
  bool flag = false;

  std::string read(const std::string &text) {
    Field fraction{"device.efficiency", "share", &share, "0.5", false, 0, 1};
    fraction.above = true;
    return readFields(text, "f.toml",
                      {{"", "name", &name, "\"x\""},
                       {"device", "memory", &memory, "80e9"},
                       {"device", "nodes", &nodes, "2", false, 1, 8},
                       {"device", "flag", &flag, "true", false},
                       fraction})
        .value_or("accepted");
  }
};
} // namespace

TEST(Fields, ReadsValues) {
  Values values;
  EXPECT_EQ(values.read("name = \"a\"\n[device]\nmemory = 8e10\nnodes = 4\nflag = true\n"
                        "[device.efficiency]\nshare = 1\n"),
            "accepted");
  EXPECT_EQ(values.name, "a");
  EXPECT_EQ(values.memory, 8e10);
  EXPECT_EQ(values.nodes, 4);
  EXPECT_TRUE(values.flag);
  EXPECT_EQ(values.share, 1);
}

TEST(Fields, Sentences) {
  Values values;
  EXPECT_EQ(values.read("name = \"a\"\n[device]\nmemroy = 1\n"),
            "'f.toml' line 3: table [device] has no key 'memroy', perhaps 'memory' is meant; its "
            "keys are memory, nodes and flag, its tables efficiency");
  EXPECT_EQ(values.read("name = \"a\"\n"), "'f.toml': table [device] lacks the key 'memory'; write "
                                           "for example memory = 80e9");
  EXPECT_EQ(values.read("[device]\nmemory = 1\n"), "'f.toml': the top of the file lacks the key "
                                                   "'name'; write for example name = \"x\"");
  EXPECT_EQ(values.read("name = \"a\"\n[device]\nmemory = \"80\"\n"),
            "'f.toml' line 3: device.memory is a string, not a number; write for example "
            "memory = 80e9");
  EXPECT_EQ(values.read("name = \"a\"\n[device]\nmemory = -1\n"),
            "'f.toml' line 3: device.memory is -1, not at least 0; write for example "
            "memory = 80e9");
  EXPECT_EQ(values.read("name = \"a\"\n[device]\nmemory = 1\nnodes = 9\n"),
            "'f.toml' line 4: device.nodes is 9, not from 1 to 8; write for example nodes = 2");
  EXPECT_EQ(values.read("name = \"a\"\n[device]\nmemory = 1\nnodes = 1.5\n"),
            "'f.toml' line 4: device.nodes is 1.5, not a whole number; write for example "
            "nodes = 2");
  EXPECT_EQ(values.read("name = \"a\"\n[device]\nmemory = 1\n[device.efficiency]\nshare = 0\n"),
            "'f.toml' line 5: device.efficiency.share is 0, not above 0 and at most 1; write for "
            "example share = 0.5");
  EXPECT_EQ(values.read("name = \"a\"\ndevice = 3\n"),
            "'f.toml' line 2: device is a number, not a table; write [device]");
  EXPECT_EQ(values.read("name = \"a\"\n[devices]\n"),
            "'f.toml' line 2: the top of the file has no table 'devices', perhaps 'device' is "
            "meant; its keys are name, its tables device");
  EXPECT_EQ(values.read("name = \"a\n").substr(0, 39), "'f.toml' line 1, column 10 is not TOML:");
}

TEST(Fields, UnreadableFile) {
  std::string text;
  EXPECT_EQ(*readText("/nonexistent/x.toml", text),
            "cannot read '/nonexistent/x.toml': No such file or directory; give a file that can "
            "be read");
  EXPECT_EQ(*readText("/", text),
            "cannot read '/': it is not a file; give a file that can be read");
}

TEST(Fields, Words) {
  EXPECT_EQ(listOf({"a", "b", "c"}), "a, b and c");
  EXPECT_EQ(nearest("tpo_k", {"top_k", "count"}), "top_k");
  EXPECT_EQ(nearest("zebra", {"top_k", "count"}), "");
  EXPECT_EQ(number(8e10), "8e10");
  EXPECT_EQ(number(0.25), "0.25");
  EXPECT_EQ(quoted("a\"b\n"), "\"a\\\"b\\u000a\"");
}
