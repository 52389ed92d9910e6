#include "probe/weight_index.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>

#include "base/error.h"
#include "base/file.h"

namespace mlxk {
namespace {

using ::testing::HasSubstr;

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::bad_model) << e.what();
    return e.what();
  }
  return "(accepted)";
}

std::string parse_refusal(const std::string& json) {
  return refusal([&] { parse_weight_index(json, "index.json"); });
}

/// A shard that holds `names`, one byte each.
std::string shard(const std::vector<std::string>& names) {
  std::string json = "{";
  for (size_t i = 0; i < names.size(); ++i) {
    json +=
        fmt::format(R"({}"{}":{{"dtype":"U8","shape":[1],"data_offsets":[{},{}]}})", i ? "," : "", names[i], i, i + 1);
  }
  json += "}";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(json.size());
  bytes[1] = static_cast<char>(json.size() >> 8);
  return bytes + json + std::string(names.size(), 'w');
}

class WeightIndexFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "mlxk_index_XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
    write_file_atomic(dir_ / "1.safetensors", shard({"a", "b"}));
    write_file_atomic(dir_ / "2.safetensors", shard({"c"}));
  }
  void TearDown() override { fs::remove_all(dir_); }
  std::string check(const std::string& map) {
    return refusal([&] { check_weight_index(parse_weight_index(R"({"weight_map":{)" + map + "}}", "i"), dir_); });
  }
  fs::path dir_;
};

TEST(WeightIndex, ReadsTheMapAndPassesOverTheRest) {
  const WeightIndex index = parse_weight_index(
      R"({"metadata":{"total_size":12,"x":[1,{"weight_map":{"z":"../z"}}],"n":null,"t":true,"f":1.5,"i":-1},)"
      R"("weight_map":{"a":"1.safetensors","b":"2.safetensors"}})",
      "i");
  EXPECT_EQ(index.shard_of.size(), 2u);
  EXPECT_EQ(index.shard_of.at("b"), "2.safetensors");
}

TEST(WeightIndex, ShardNamesCannotLeaveTheFolder) {
  for (const char* name : {"../x.safetensors", "/etc/x.safetensors", "a/b.safetensors", "..", ".", "",
                           "a\\\\b.safetensors", "C:x.safetensors", "a\\u0000.safetensors", "~/../x.safetensors"}) {
    EXPECT_THAT(parse_refusal(fmt::format(R"({{"weight_map":{{"w.q":"{}"}}}})", name)),
                AllOf(HasSubstr("index.json: tensor \"w.q\": the shard"), HasSubstr("not a file name within")))
        << name;
  }
  EXPECT_THAT(parse_refusal(R"({"weight_map":{"a":"pytorch_model.bin"}})"), HasSubstr("is not safetensors"));
  EXPECT_THAT(parse_refusal(fmt::format(R"({{"weight_map":{{"a":"{}.safetensors"}}}})", std::string(300, 'x'))),
              HasSubstr("not a file name"));
}

TEST(WeightIndex, RefusesWhatIsNoIndex) {
  for (const std::string json :
       {"", "[]", "{}", "3", R"({"weight_map":{}})", R"({"weight_map":[]})", R"({"weight_map":"x"})",
        R"({"weight_map":3})", R"({"weight_map":{"a":3}})", R"({"weight_map":{"a":null}})",
        R"({"weight_map":{"a":{"b":"c"}}})", R"({"weight_map":{"a":["c"]}})",
        R"({"weight_map":{"a":"1.safetensors","a":"1.safetensors"}})",
        R"({"weight_map":{"a":"1.safetensors"},"weight_map":{}})", "{\"weight_map\":{\"a\xff\":\"1.safetensors\"}}"}) {
    EXPECT_THAT(parse_refusal(json), HasSubstr("index.json")) << json;
  }
  EXPECT_THAT(parse_refusal("{\"metadata\":" + std::string(100'000, '[')), HasSubstr("unexpected nesting"));
}

TEST_F(WeightIndexFolder, ThatAgreesWithItsShardsIsAccepted) {
  EXPECT_EQ(check(R"("a":"1.safetensors","b":"1.safetensors","c":"2.safetensors")"), "(accepted)");
}

TEST_F(WeightIndexFolder, ThatDisagreesIsRefusedNamingShardAndTensor) {
  EXPECT_THAT(check(R"("a":"1.safetensors","b":"1.safetensors","c":"3.safetensors")"),
              HasSubstr("the shard \"3.safetensors\" is missing"));
  EXPECT_THAT(check(R"("a":"1.safetensors","b":"2.safetensors","c":"2.safetensors")"),
              HasSubstr("1.safetensors: tensor \"b\" belongs to \"2.safetensors\" by the index"));
  EXPECT_THAT(check(R"("a":"1.safetensors","c":"2.safetensors")"), HasSubstr("tensor \"b\" is not in the index"));
  EXPECT_THAT(check(R"("a":"1.safetensors","b":"1.safetensors","d":"1.safetensors","c":"2.safetensors")"),
              HasSubstr("1.safetensors: tensor \"d\" of the index is missing"));
}

TEST_F(WeightIndexFolder, WithAShardThatIsNoFileIsRefused) {
  ASSERT_EQ(mkfifo((dir_ / "3.safetensors").c_str(), 0600), 0);
  EXPECT_THAT(check(R"("a":"3.safetensors")"), HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace mlxk
