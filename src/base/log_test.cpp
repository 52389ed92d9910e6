#include "base/log.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace mlxk::log {
namespace {

std::string text_line(std::string_view text, Fields fields = {}) {
  return format_line(Level::info, text, fields, false, 0);
}
std::string json_line(std::string_view text, Fields fields = {}) {
  return format_line(Level::warn, text, fields, true, 1.5);
}

class CapturedLog : public ::testing::Test {
 protected:
  CapturedLog() { ::testing::internal::CaptureStderr(); }
  ~CapturedLog() override {
    set_level(Level::warn);
    set_json(false);
  }
  static std::string printed() { return ::testing::internal::GetCapturedStderr(); }
};

TEST(LogLine, IsOneLineWithItsFields) {
  EXPECT_EQ(text_line("loaded", {{"model", "a/b"}, {"seconds", 0.25}, {"ok", true}, {"n", int64_t{3}}}),
            "[INFO] loaded model=a/b seconds=0.25 ok=true n=3");
  EXPECT_EQ(json_line("loaded", {{"model", "a/b"}, {"n", int64_t{3}}}),
            R"({"ts":1.500000,"level":"WARN","msg":"loaded","model":"a/b","n":3})");
}

TEST(LogLine, WhatAClientSentCannotForgeALineOrBreakTheJson) {
  EXPECT_EQ(text_line("model 'x\n[ERROR] all is lost\x1b[2J'"), "[INFO] model 'x\\n[ERROR] all is lost\\u001b[2J'");
  EXPECT_EQ(text_line("a\u009b2J\u00a0"), "[INFO] a\\u009b2J\u00a0");  // ESC [ in one character
  EXPECT_EQ(text_line("a", {{"path", std::string("/x y=1\n")}}), "[INFO] a path=\"/x y=1\\n\"");
  EXPECT_EQ(json_line("\"\\\n\x01"), R"({"ts":1.500000,"level":"WARN","msg":"\"\\\n\u0001"})");
}

TEST(LogLine, BrokenUtf8IsReplaced) {
  EXPECT_EQ(text_line("a\xff\xed\xa0\x80z"), "[INFO] a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz");
  EXPECT_EQ(text_line("ä€😀"), "[INFO] ä€😀");
}

TEST(LogRedaction, TokensSecretsAndTheHomeFolderDoNotAppear) {
  hide("s3cret-key");
  const std::string token = "hf_" + std::string(34, 'A');
  EXPECT_EQ(redact("token " + token + "."), "token [REDACTED_TOKEN].");
  EXPECT_EQ(redact("hf_short hf_transfer"), "hf_short hf_transfer");
  EXPECT_EQ(redact("Bearer s3cret-key!"), "Bearer [REDACTED_KEY]!");
  const std::string home = std::getenv("HOME") ? std::getenv("HOME") : "";
  if (home.size() < 2) GTEST_SKIP() << "no HOME";
  EXPECT_EQ(redact("at " + home + "/models"), "at ~/models");
  EXPECT_EQ(redact(home + "ward"), home + "ward");
  EXPECT_EQ(text_line("x", {{"path", home + "/m"}, {"key", std::string("s3cret-key")}}),
            "[INFO] x path=~/m key=[REDACTED_KEY]");
}

TEST_F(CapturedLog, OnlyWhatTheLevelLetsThrough) {
  set_level(Level::warn);
  info("no");
  warn("yes");
  set_level(Level::off);
  error("no");
  EXPECT_EQ(printed(), "[WARN] yes\n");
}

TEST_F(CapturedLog, TheSameKeyIsLoggedOnceInAWhile) {
  for (int i = 0; i < 3; ++i) limited(Level::error, "log_test", "disk full");
  limited(Level::error, "log_test another", "another");
  EXPECT_EQ(printed(), "[ERROR] disk full\n[ERROR] another\n");
}

}  // namespace
}  // namespace mlxk::log
