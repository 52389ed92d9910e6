#include "run/prompt_input.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/file.h"

namespace mlxk {
namespace {

std::string read(std::optional<std::string> prompt, std::vector<std::string> words, const std::string& input = "") {
  std::istringstream stream(input);
  return read_prompt(prompt, words, stream).value_or("<none>");
}

std::string refusal(std::vector<std::string> words, const std::string& input) {
  try {
    return read(std::nullopt, words, input);
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(ReadPrompt, JoinsWordsAndPutsStdinFirst) {
  EXPECT_EQ(read(std::nullopt, {}), "<none>");
  EXPECT_EQ(read(std::nullopt, {"a", "b"}), "a b");
  EXPECT_EQ(read(std::nullopt, {"-"}, "text\n"), "text\n");
  EXPECT_EQ(read(std::nullopt, {"-", "sum", "up"}, "text"), "text\n\nsum up");
  EXPECT_EQ(read("sum up", {"-"}, "text"), "text\n\nsum up");
  EXPECT_EQ(read("wins", {"over", "words"}), "wins");
  EXPECT_EQ(read("-", {}, "text"), "text");
}

TEST(ReadPrompt, ReadsFiles) {
  const fs::path file = fs::temp_directory_path() / "mlxk_prompt_test.txt";
  std::ofstream(file) << "content";
  EXPECT_EQ(read(std::nullopt, {"@" + file.string()}), "content");
  EXPECT_EQ(read(std::nullopt, {"@" + file.string(), "explain"}), "content\n\nexplain");
  EXPECT_EQ(read("@" + file.string(), {}), "content");
  fs::remove(file);
  EXPECT_EQ(read(std::nullopt, {"@@name", "@", "a@b"}), "@name @ a@b");
  EXPECT_EQ(read(std::nullopt, {"@bob says hi"}), "@bob says hi");
  EXPECT_EQ(refusal({"@" + file.string()}, ""), "Prompt file not found: " + file.string());
}

TEST(ReadPrompt, RefusesWhatIsNotText) {
  EXPECT_EQ(refusal({"-"}, "ok\xFF"), "stdin is not UTF-8 text: byte 0xFF at offset 2");
  EXPECT_EQ(refusal({"-"}, std::string("a\0b", 3)), "stdin is not UTF-8 text: byte 0x00 at offset 1");
  EXPECT_EQ(refusal({"-"}, "\xE2\x82"), "stdin is not UTF-8 text: byte 0xE2 at offset 0");
  EXPECT_EQ(refusal({"-"}, "\xED\xA0\x80"), "stdin is not UTF-8 text: byte 0xED at offset 0");
  EXPECT_EQ(refusal({"-"}, ""), "the prompt is empty");
  EXPECT_EQ(refusal({"-"}, "größer 日本 😀"), "größer 日本 😀");
}

}  // namespace
}  // namespace mlxk
