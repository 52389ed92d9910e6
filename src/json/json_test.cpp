#include "json/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace mlxk {
namespace {

TEST(ParseJson, KeepsTheOrderOfKeys) { EXPECT_EQ(parse_json(R"({"b":1,"a":2})", "x").dump(), R"({"b":1,"a":2})"); }

TEST(ParseJson, RefusesDeepNestingWithoutRecursion) {
  const std::string deep(1'000'000, '[');
  EXPECT_THROW(parse_json(deep, "x"), Error);
}

TEST(ParseJson, RefusesAnObjectOfAMillionKeysQuickly) {
  std::string text = R"({"a":{"b":1},"c":{)";
  for (int i = 0; i < 1'000'000; ++i) text += "\"" + std::to_string(i) + "\":0,";
  EXPECT_THROW(parse_json(text + R"("z":0}})", "x"), Error);
}

TEST(ParseJson, CountsTheKeysOfEachObjectAlone) {
  std::string objects = "[";
  for (int i = 0; i < 60'000; ++i) objects += R"({"a":{},"b":{"c":1}},)";
  objects.back() = ']';
  EXPECT_EQ(parse_json(objects, "x").size(), 60'000u);
}

TEST(ParseJson, RefusesManyObjectsOfManyKeysQuickly) {
  std::string object = "{", text = "[";
  for (int i = 0; i < 20'000; ++i) object += "\"" + std::to_string(i) + "\":0,";
  object.back() = '}';
  for (int i = 0; i < 50; ++i) text += object + ",";
  EXPECT_THROW(parse_json(text + "0]", "x"), Error);
}

TEST(ParseJson, TakesLongListsInLinearTime) {
  std::string text = "[";
  for (int i = 0; i < 300'000; ++i) text += "{},";
  EXPECT_EQ(parse_json(text + "0]", "x").size(), 300'001u);
}

TEST(ParseJson, RefusesNumbersPastTheRangeOfADouble) {
  EXPECT_THROW(parse_json("[1e400]", "x"), Error);
  EXPECT_THROW(parse_json("[\"\xff\"]", "x"), Error);
}

TEST(ParseJson, ReadsWhatPythonWritesForNonFiniteNumbers) {
  const Json value = parse_json(R"({"a":[0.0, Infinity],"b":-Infinity ,"c":NaN,"d":"Infinity, NaN]\""})", "x");
  EXPECT_EQ(value["a"][1].get<double>(), std::numeric_limits<double>::infinity());
  EXPECT_EQ(value["b"].get<double>(), -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(value["c"].is_number_float() && std::isnan(value["c"].get<double>()));
  EXPECT_EQ(value["d"], "Infinity, NaN]\"");
  for (const char* text :
       {"{NaN:1}", "[Inf]", "[nan]", "[+Infinity]", "[-NaN]", "[NaNInfinity]", "[1NaN]", "[\"Infinity"}) {
    EXPECT_THROW(parse_json(text, "x"), Error) << text;
  }
}

TEST(DumpJson, WritesNonFiniteNumbersAsPythonDoes) {
  const std::string text = "{\n  \"a\": [\n    -Infinity,\n    Infinity,\n    NaN,\n    1.5\n  ]\n}\n";
  EXPECT_EQ(dump_json(parse_json(text, "x")), text);
}

TEST(ParseJson, NamesPlaceAndByte) {
  try {
    parse_json("{\"a\":}", "config.json");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "config.json: invalid JSON at byte 6");
  }
}

}  // namespace
}  // namespace mlxk
