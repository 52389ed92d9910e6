#include "server/json_text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "json/json.h"

namespace mlxk {
namespace {

std::string as_json(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(JsonText, reads_back_as_the_same_text) {
  std::string controls;
  for (int c = 0; c < 0x80; ++c) controls += static_cast<char>(c);
  for (const std::string& text :
       {controls, std::string("Grüße \xF0\x9F\x99\x82 \xE2\x82\xAC"), std::string(), std::string("\\\"")}) {
    EXPECT_EQ(Json::parse(as_json(text)).get<std::string>(), text);
  }
}

TEST(JsonText, turns_what_is_not_utf8_into_replacement_characters) {
  EXPECT_EQ(as_json("a\xFF"
                    "b"),
            "\"a\xEF\xBF\xBD"
            "b\"");
  for (const std::string text :
       {"\xC3", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\xF0\x9F\x99", "\x80"}) {
    const std::string json = as_json(text);
    EXPECT_TRUE(Json::accept(json)) << json;  // the parser refuses invalid UTF-8
    EXPECT_EQ(json.find(text), std::string::npos);
  }
}

TEST(JsonText, writes_log_probabilities_as_numbers) {
  const auto number = [](float value) {
    std::string out;
    append_json_logprob(out, value);
    return Json::parse(out).get<float>();
  };
  EXPECT_EQ(number(-0.1F), -0.1F);
  EXPECT_EQ(number(-1e-30F), -1e-30F);
  EXPECT_EQ(number(-std::numeric_limits<float>::infinity()), -9999.0F);
  EXPECT_EQ(number(std::nanf("")), -9999.0F);
}

}  // namespace
}  // namespace mlxk
