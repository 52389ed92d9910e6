#include "gguf/gguf.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/testing/test_paths.h"
#include "gguf/blocks.h"
#include "gguf/testing/gguf_builder.h"

namespace mlxk {
namespace {

using testing::GgufBuilder;
using ::testing::HasSubstr;

constexpr uint64_t kHuge = uint64_t{1} << 63;

GgufFile parse(const std::string& bytes) { return GgufFile::parse(std::as_bytes(std::span(bytes)), "test"); }

/// The message of the Error that parsing `bytes` throws.
std::string failure(const std::string& bytes) {
  try {
    parse(bytes);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

GgufBuilder small() {
  GgufBuilder builder;
  builder.text("general.architecture", "llama").u32("general.alignment", 32).texts("words", {"a", "bc"});
  builder.numbers<int32_t>("kinds", GgufKind::i32, {1, -2}).boolean("flag", true).f32("half", 0.5F);
  builder.tensor("one", {2, 4}, GgmlType::f32, std::string(32, 'x'))
      .tensor("two", {32}, GgmlType::q8_0, std::string(34, 'y'));
  return builder;
}

TEST(GgufFile, ReadsWhatWasWritten) {
  const auto bytes = small().build();
  const auto file = parse(bytes);
  EXPECT_EQ(file.string("general.architecture"), "llama");
  EXPECT_EQ(file.integer("general.alignment"), 32);
  EXPECT_EQ(file.boolean("flag"), true);
  EXPECT_EQ(file.number("half"), 0.5);
  EXPECT_EQ(file.strings("words")->at(1), "bc");
  EXPECT_EQ(file.integers("kinds"), (std::vector<int64_t>{1, -2}));
  EXPECT_EQ(file.integer("absent"), std::nullopt);
  ASSERT_EQ(file.tensors().size(), 2U);
  EXPECT_EQ(file.tensors()[0].shape, (std::vector<uint64_t>{2, 4}));
  EXPECT_EQ(file.find_tensor("two")->data.size(), 34U);
  EXPECT_EQ(static_cast<char>(file.find_tensor("two")->data[33]), 'y');
}

TEST(GgufFile, AskingForAnotherTypeNamesTheKey) {
  const auto bytes = small().build();
  const auto file = parse(bytes);
  EXPECT_THROW(file.integer("words"), Error);
  EXPECT_THROW(file.string("flag"), Error);
  EXPECT_THROW(file.floats("kinds"), Error);
  EXPECT_THROW(file.strings("kinds"), Error);
}

TEST(GgufFile, IsRefusedWhereverItIsCut) {
  const auto builder = small();
  const auto bytes = builder.build();
  for (size_t size = 0; size < bytes.size(); ++size) {
    if (size >= bytes.size() - 30) break;  // padding after the last tensor is not needed
    EXPECT_NE(failure(bytes.substr(0, size)), "accepted") << size;
  }
  EXPECT_GT(bytes.size(), builder.header_size());
}

TEST(GgufFile, RefusesAbsurdCounts) {
  auto builder = small();
  builder.tensor_count = kHuge;
  EXPECT_THAT(failure(builder.build()), HasSubstr("9223372036854775808 tensors"));
  builder = small();
  builder.key_count = kHuge;
  EXPECT_THAT(failure(builder.build()), HasSubstr("9223372036854775808 keys"));
  builder = small();
  builder.key_count = 8;  // runs on into the tensors
  EXPECT_NE(failure(builder.build()), "accepted");
}

TEST(GgufFile, RefusesAStringLongerThanTheFile) {
  const auto bytes = GgufBuilder().key("name", GgufKind::string, GgufBuilder::bytes(kHuge)).build();
  EXPECT_THAT(failure(bytes), HasSubstr("key name: a string of 9223372036854775808 bytes"));
}

TEST(GgufFile, RefusesArraysThatDoNotFit) {
  for (const uint32_t element : {0U, 4U, 8U, 9U, 10U}) {
    const auto bytes =
        GgufBuilder().key("list", GgufKind::array, GgufBuilder::bytes(element) + GgufBuilder::bytes(kHuge)).build();
    EXPECT_THAT(failure(bytes), HasSubstr("an array of 9223372036854775808 elements")) << element;
  }
  EXPECT_THAT(failure(GgufBuilder()
                          .key("list", GgufKind::array, GgufBuilder::bytes(99U) + GgufBuilder::bytes(uint64_t{0}))
                          .build()),
              HasSubstr("array element type 99"));
}

TEST(GgufFile, RefusesDeeplyNestedArrays) {
  std::string nested;
  for (int i = 0; i < 100; ++i) nested += GgufBuilder::bytes(9U) + GgufBuilder::bytes(uint64_t{1});
  EXPECT_THAT(failure(GgufBuilder().key("deep", GgufKind::array, nested).build()), HasSubstr("nested deeper"));
}

TEST(GgufFile, RefusesUnknownTypesByNumber) {
  EXPECT_THAT(failure(GgufBuilder().raw_key("odd", 77, "").build()), HasSubstr("key odd: value type 77"));
  EXPECT_THAT(failure(GgufBuilder().raw_tensor("odd", {32}, 4, 0).build()), HasSubstr("tensor odd: element type 4"));
  EXPECT_THAT(failure(GgufBuilder().key("odd", GgufKind::boolean, "\2").build()), HasSubstr("0 or 1, got 2"));
}

TEST(GgufFile, RefusesTheSameNameTwice) {
  EXPECT_THAT(failure(GgufBuilder().u32("key", 1).u32("key", 2).build()), HasSubstr("key key: appears twice"));
  const std::string data(32, 'x');
  EXPECT_THAT(
      failure(GgufBuilder().tensor("t", {8}, GgmlType::f32, data).tensor("t", {8}, GgmlType::f32, data).build()),
      HasSubstr("tensor t: appears twice"));
}

TEST(GgufFile, RefusesOddAlignments) {
  for (const uint32_t alignment : {0U, 3U, 4U, 48U, 1U << 31}) {
    EXPECT_THAT(failure(GgufBuilder().u32("general.alignment", alignment).build()),
                HasSubstr(fmt::format("got {}", alignment)));
  }
}

TEST(GgufFile, RefusesImpossibleDimensions) {
  EXPECT_THAT(failure(GgufBuilder().raw_tensor("t", {0}, 0, 0).build()), HasSubstr("dimension 0 must be"));
  EXPECT_THAT(failure(GgufBuilder().raw_tensor("t", {4, kHuge}, 0, 0).build()), HasSubstr("dimension 1 must be"));
  EXPECT_THAT(failure(GgufBuilder().raw_tensor("t", {INT32_MAX, INT32_MAX, INT32_MAX}, 0, 0).build()),
              HasSubstr("2^62 elements"));
  EXPECT_THAT(failure(GgufBuilder().raw_tensor("t", {}, 0, 0).build()), HasSubstr("0 dimensions"));
  EXPECT_THAT(failure(GgufBuilder().raw_tensor("t", {1, 1, 1, 1, 1}, 0, 0).build()), HasSubstr("5 dimensions"));
  EXPECT_THAT(failure(GgufBuilder().raw_tensor("t", {33}, 8, 0).build()), HasSubstr("whole Q8_0 blocks"));
}

TEST(GgufFile, RefusesTensorsOutsideTheFileOrOverEachOther) {
  const std::string data(64, 'x');
  EXPECT_THAT(failure(GgufBuilder().tensor("t", {16}, GgmlType::f32, data).raw_tensor("u", {8}, 0, kHuge).build()),
              HasSubstr("tensor u: 32 bytes at offset 9223372036854775808"));
  EXPECT_THAT(failure(GgufBuilder().tensor("t", {16}, GgmlType::f32, data).raw_tensor("u", {8}, 0, 7).build()),
              HasSubstr("not a multiple of 32"));
  EXPECT_THAT(failure(GgufBuilder().tensor("t", {16}, GgmlType::f32, data).raw_tensor("u", {8}, 0, 32).build()),
              HasSubstr("tensors t and u overlap"));
}

TEST(GgufFile, RefusesOtherVersions) {
  for (const uint32_t version : {0U, 1U, 4U, 0x03000000U}) {
    auto builder = small();
    builder.version = version;
    EXPECT_NE(failure(builder.build()), "accepted") << version;
  }
  EXPECT_THAT(failure("GGML"), HasSubstr("does not start with"));
}

TEST(GgufFile, OpensOnlyRegularFiles) {
  EXPECT_THROW(GgufFile::open("/nonexistent.gguf"), Error);
  EXPECT_THROW(GgufFile::open("/"), Error);
  EXPECT_THROW(GgufFile::open("/dev/null"), Error);
}

TEST(Blocks, AreDequantisedAsTheReferenceDoes) {
  const auto file = GgufFile::open(std::string(test_tree::kTestData) + "/gguf/blocks.gguf");
  int types = 0;
  for (const auto& tensor : file.tensors()) {
    const auto* golden = file.find_tensor(std::string(tensor.name) + ".expected");
    if (!golden) continue;
    ++types;
    std::vector<float> expected(tensor.rows() * tensor.columns()), got(expected.size());
    dequantize(golden->type, golden->data, expected);
    dequantize(tensor.type, tensor.data, got);
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], expected[i], 1e-6 * (1 + std::abs(expected[i]))) << tensor.name << " [" << i << "]";
    }
  }
  EXPECT_EQ(types, 15);
}

TEST(Blocks, OfOtherTypesAreRefusedByName) {
  std::vector<float> out(256);
  const std::vector<std::byte> data(66);
  try {
    dequantize(static_cast<GgmlType>(16), data, out);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("IQ2_XXS"));
  }
}

}  // namespace
}  // namespace mlxk
