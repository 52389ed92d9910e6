#include "probe/limits.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "json/json.h"

namespace mlxk {
namespace {

using ::testing::HasSubstr;

std::string refusal(const std::string& json, ErrorKind kind = ErrorKind::bad_model) {
  try {
    check_config(Json::parse(json));
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  return "(accepted)";
}

TEST(Limits, AnOrdinaryConfigurationPasses) {
  EXPECT_EQ(
      refusal(R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":576,"num_hidden_layers":30,
      "num_attention_heads":9,"num_key_value_heads":3,"rms_norm_eps":1e-05,"rope_theta":100000,"vocab_size":49152,
      "max_position_embeddings":131072,"head_dim":null,"sliding_window":null,"rope_scaling":null,
      "quantization":{"group_size":32,"bits":4,"model.embed_tokens":{"group_size":32,"bits":8},"lm_head":false},
      "auto_map":{"AutoModel":"modeling_x.X"}})"),
      "(accepted)");
}

TEST(Limits, AbsurdNumbersAreRefusedWithTheKeysName) {
  for (const char* key : {"num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size", "head_dim",
                          "hidden_size", "intermediate_size", "max_position_embeddings", "group_size", "bits"}) {
    for (const char* value : {"0", "-1", "1000000000000000000", "18446744073709551615", "1e18", "32.5", "\"32\"",
                              "true", "{}", "-9223372036854775808", R"({"__float__":"Infinity"})"}) {
      const std::string message = refusal(fmt::format(R"({{"{}":{}}})", key, value));
      EXPECT_THAT(message, HasSubstr(fmt::format("config.json: {} must be a whole number in [1, ", key))) << value;
    }
  }
  EXPECT_THAT(refusal(R"({"vocab_size":-5})"), HasSubstr("got -5"));
  EXPECT_THAT(refusal(R"({"vocab_size":"a\u001b[2J"})"), HasSubstr("got \"a\\x1b[2J\""));
}

TEST(Limits, AbsurdRopeParametersAreRefused) {
  for (const char* value : {"0", "-10000.0", "1e300", "\"10000\"", "true", R"({"__float__":"NaN"})"}) {
    EXPECT_THAT(refusal(fmt::format(R"({{"rope_theta":{}}})", value)),
                HasSubstr("config.json: rope_theta must be a number in (0, 1e+15], got"))
        << value;
  }
  EXPECT_THAT(refusal(R"({"rope_scaling":{"rope_type":"yarn","factor":0}})"), HasSubstr("rope_scaling.factor must be"));
  EXPECT_THAT(refusal(R"({"rope_scaling":{"rope_type":7}})"),
              HasSubstr("rope_scaling.rope_type must be a string, got 7"));
  EXPECT_THAT(refusal(R"({"rope_parameters":{"full_attention":{"rope_theta":-1}}})"),
              HasSubstr("rope_parameters.full_attention.rope_theta must be"));
  EXPECT_THAT(refusal(R"({"rope_scaling":{"long_factor":[1.0,-2.0]}})"),
              HasSubstr("rope_scaling.long_factor[1] must be"));
  EXPECT_THAT(refusal(R"({"partial_rotary_factor":1.5})"), HasSubstr("(0, 1], got 1.5"));
}

TEST(Limits, NestedConfigurationsAreHeldToTheSame) {
  EXPECT_THAT(refusal(R"({"text_config":{"num_hidden_layers":0}})"),
              HasSubstr("text_config.num_hidden_layers must be"));
  EXPECT_THAT(refusal(R"({"vision_config":{"patch_size":0}})"), HasSubstr("vision_config.patch_size must be"));
  EXPECT_THAT(refusal(R"({"quantization":{"bits":4,"group_size":64,"lm_head":{"bits":0}}})"),
              HasSubstr("quantization.lm_head.bits must be"));
  EXPECT_THAT(refusal(R"({"num_key_value_heads":[4,null,0]})"), HasSubstr("num_key_value_heads[2] must be"));
  EXPECT_THAT(refusal(R"({"a":[[{"vocab_size":0}]]})"), HasSubstr("a[0][0].vocab_size must be"));
}

TEST(Limits, NonFiniteNumbersAreAcceptedWhereNothingIsSizedByThem) {
  EXPECT_EQ(refusal(R"({"time_step_limit":[0.0,{"__float__":"Infinity"}],"logit_floor":{"__float__":"-Infinity"}})"),
            "(accepted)");
  EXPECT_THAT(refusal(R"({"rms_norm_eps":{"__float__":"Infinity"}})"), HasSubstr("[0, 1], got Infinity"));
}

TEST(Limits, AModelWithCodeOfItsOwnIsRefusedAndAutoMapIsNoted) {
  EXPECT_THAT(refusal(R"({"model_file":"model.py"})", ErrorKind::unsupported), HasSubstr("model_file \"model.py\""));
  EXPECT_THAT(config_notes(Json::parse(R"({"auto_map":{"AutoModel":"x.X"}})")),
              ::testing::ElementsAre(HasSubstr("auto_map is ignored")));
  EXPECT_TRUE(config_notes(Json::parse("{}")).empty());
}

TEST(Limits, AConfigurationIsAnObjectOfBoundedDepth) {
  for (const char* json : {"[]", "3", "\"x\"", "null"})
    EXPECT_THAT(refusal(json), HasSubstr("must be an object")) << json;
  std::string deep, end;
  for (int i = 0; i < 1000; ++i) {
    deep += i % 2 == 0 ? "{\"a\":" : "[";
    end.insert(0, i % 2 == 0 ? "}" : "]");
  }
  EXPECT_THAT(refusal(deep + "1" + end), HasSubstr("nested deeper than 64 levels"));
}

}  // namespace
}  // namespace mlxk
