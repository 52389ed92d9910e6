#include "server/openai/body.h"

#include <gtest/gtest.h>

#include "json/json.h"
#include "server/api_error.h"

namespace mlxk {
namespace {

std::pair<std::string, std::string> refusal(const std::string& text, const std::string& param = {}) {
  try {
    parse_object(text, param);
  } catch (const ApiError& e) {
    EXPECT_EQ(e.status, 400);
    EXPECT_EQ(e.code, "invalid_json");
    return {e.param, e.what()};
  }
  return {"", "accepted"};
}

TEST(ParseObject, IsTheTextsValue) {
  const std::string text = R"({"b":[1,-2,0.5,true,null,"é\u0000",{"c":{}},[]],"a":18446744073709551615})";
  EXPECT_EQ(parse_object(text), Json::parse(text));
  EXPECT_EQ(parse_object(text).dump(), Json::parse(text).dump());
}

TEST(ParseObject, NamesThePlaceOfWhatIsBroken) {
  EXPECT_EQ(refusal(""), (std::pair<std::string, std::string>{"", "Request body is not valid JSON: broken at byte 1"}));
  EXPECT_EQ(refusal("[1]").second, "Request body must be a JSON object");
  EXPECT_EQ(refusal("7").second, "Request body must be a JSON object");
  EXPECT_EQ(refusal(R"({"temperature":1e400})").first, "temperature");
  EXPECT_EQ(refusal(R"({"temperature":NaN})").first, "temperature");
  EXPECT_EQ(refusal(R"({"top_p":Infinity})").first, "top_p");
  EXPECT_EQ(refusal(R"({"messages":[{"role":"user"},{"content":"\ud800"}]})").first, "messages[1].content");
  EXPECT_EQ(refusal("{\"user\":\"\xff\"}").first, "user");
  EXPECT_EQ(refusal(R"({"a":1,"b":{"a":1,"c":2,"a":3}})"),
            (std::pair<std::string, std::string>{
                "b.a", "Request body is not valid JSON: a key that is given twice (in b.a)"}));
  EXPECT_EQ(refusal(R"({"a":1} x)").second, "Request body is not valid JSON: broken at byte 9");
  EXPECT_EQ(refusal(R"({"a":1,})").second.substr(0, 30), "Request body is not valid JSON");
  EXPECT_EQ(refusal("[", "tools.arguments").first, "tools.arguments");
}

TEST(ParseObject, RefusesWhatIsTooMuchQuickly) {
  EXPECT_EQ(refusal(R"({"a":)" + std::string(100'000, '[')).second.substr(0, 63),
            "Request body is not valid JSON: nested deeper than 64 levels (i");
  std::string many = R"({"a":{)";
  for (int i = 0; i < 1'000'000; ++i) many += "\"" + std::to_string(i) + "\":0,";
  EXPECT_EQ(refusal(many + "\"z\":0}}").first, "a.19999");
  std::string list = R"({"prompt":[)";
  for (int i = 0; i < 3'000'000; ++i) list += "0,";
  EXPECT_EQ(refusal(list + "0]}").second.substr(0, 67),
            "Request body is not valid JSON: more than 2000000 values (in prompt");
}

}  // namespace
}  // namespace mlxk
