#include "json/json.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace mlxk {
namespace {

TEST(ParseJson, KeepsTheOrderOfKeys) { EXPECT_EQ(parse_json(R"({"b":1,"a":2})", "x").dump(), R"({"b":1,"a":2})"); }

TEST(ParseJson, RefusesDeepNestingWithoutRecursion) {
  const std::string deep(1'000'000, '[');
  EXPECT_THROW(parse_json(deep, "x"), Error);
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
