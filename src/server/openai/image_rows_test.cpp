#include "server/openai/image_rows.h"

#include <gtest/gtest.h>

#include "json/json.h"

namespace mlxk {
namespace {

Json with_images(int count) {
  Json content = Json::array();
  for (int i = 0; i < count; ++i) content.push_back({{"type", "image"}});
  content.push_back({{"type", "text"}, {"text", "What is it?"}});
  return {{"role", "user"}, {"content", content}};
}

std::vector<int64_t> numbers(const Json& messages, const std::vector<std::string>& files) {
  std::vector<ImageFile> given;
  for (const std::string& bytes : files) given.push_back({bytes, ""});
  std::vector<int64_t> all;
  for (const ImageRow& row : image_rows(messages, given, std::vector<ImageMetadata>(files.size()))) {
    all.push_back(row.number);
  }
  return all;
}

std::string table(int64_t number, const std::string& bytes) {
  return image_table(image_summary(1), {{number, image_hash(bytes), "a.png", {}}}, true);
}

TEST(ImageRows, CountUpAndEqualFilesShareOne) {
  EXPECT_EQ(numbers(Json::array({with_images(2), with_images(2)}), {"a", "b", "a", "c"}),
            (std::vector<int64_t>{1, 2, 3}));
}

TEST(ImageRows, KeepTheNumbersOfEarlierAnswers) {
  const Json answer = {{"role", "assistant"}, {"content", table(4, "a") + "A cat."}};
  const Json question = {{"role", "user"}, {"content", "What is it?"}};
  EXPECT_EQ(numbers(Json::array({question, answer, with_images(2)}), {"b", "a"}), (std::vector<int64_t>{5, 4}));
  Json other = answer;
  other["content"] = "It says " + answer["content"].get<std::string>();
  EXPECT_EQ(numbers(Json::array({question, other, with_images(1)}), {"a"}), (std::vector<int64_t>{1}))
      << "a table inside of an answer is the model's";
  other["content"] = "<details>\n<!-- mlxk:filenames -->\n| 99999999999 | image_0a.\n| x | image_\n</details>";
  EXPECT_EQ(numbers(Json::array({question, other, with_images(1)}), {"a"}), (std::vector<int64_t>{1}));
}

TEST(ImageRows, TablesAreRemovedFromTheBeginningsOfAnswersAlone) {
  const Json mine = {{"role", "user"}, {"content", table(1, "a") + "Mine."}};
  const Json parts = {{"role", "assistant"},
                      {"content", Json::array({{{"type", "text"}, {"text", table(1, "a") + "A dog."}}})}};
  Json messages = Json::array({mine, {{"role", "assistant"}, {"content", table(1, "a") + "A cat."}}, parts});
  EXPECT_TRUE(has_image_tables(messages));
  remove_image_tables(messages);
  EXPECT_EQ(messages[0], mine);
  EXPECT_EQ(messages[1]["content"], "A cat.");
  EXPECT_EQ(messages[2]["content"][0]["text"], "A dog.");
  EXPECT_FALSE(has_image_tables(messages));
}

TEST(ImageRows, ATableShowsNamesAndEscapesThem) {
  const std::string text =
      image_table(image_summary(2), {{1, "0a1b2c3d", "a|b.png", {}}, {2, "11111111", "c", {}}}, true);
  EXPECT_NE(text.find("<summary>📸 Image Metadata (2 images)</summary>"), std::string::npos);
  EXPECT_NE(text.find("| 1 | image_0a1b2c3d.jpeg | a b.png | - | - | - |\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace mlxk
