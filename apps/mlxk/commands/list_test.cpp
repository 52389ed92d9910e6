// Tables and cells of list and show.
#include <gtest/gtest.h>

#include "cli/model_text.h"
#include "cli/table.h"

namespace mlxk {
namespace {

TEST(Table, PadsEveryColumnAndKeepsTheHeaderWithoutRows) {
  EXPECT_EQ(render_table({"Name", "X"}, {}), "Name | X\n-----+--\n");
  EXPECT_EQ(render_table({"N", "Clean"}, {{"long", "✓"}, {"a", "no"}}),
            "N    | Clean\n-----+------\nlong | ✓    \na    | no   \n");
}

TEST(Table, GivesACellSeveralLines) {
  EXPECT_EQ(render_table({"A", "B", "C"}, {{"1", "x\nyy", "3"}}), "A | B  | C\n--+----+--\n1 | x  | 3\n  | yy |  \n");
}

TEST(WrapWords, BreaksBetweenWordsAndCutsLongOnes) {
  EXPECT_EQ(wrap_words("aa bb cc", 5), "aa bb\ncc");
  EXPECT_EQ(wrap_words("abcdefgh i", 3), "abc\ndef\ngh\ni");
  EXPECT_EQ(wrap_words("", 3), "");
}

TEST(Printable, LeavesNoControlCharacters) {
  EXPECT_EQ(printable("a\x1b[31m\n\x7f\xC2\x9B\xC3\xA4"), "a?[31m???ä");
  EXPECT_EQ(printable("a\r\nb", true), "a?\nb");
}

TEST(TimeAgo, UsesTheOriginalsSteps) {
  const std::time_t now = 1'700'000'000;
  const std::vector<std::pair<std::time_t, std::string>> rows = {
      {0, "just now"},    {44, "just now"},  {45, "1m ago"},     {89, "1m ago"},     {90, "1m ago"},
      {150, "2m ago"},    {2699, "44m ago"}, {2700, "1h ago"},   {5399, "1h ago"},   {7200, "2h ago"},
      {86399, "23h ago"}, {86400, "1d ago"}, {129600, "1d ago"}, {172800, "2d ago"}, {29 * 86400, "29d ago"}};
  for (const auto& [age, text] : rows) EXPECT_EQ(time_ago(now - age, now), text) << age;
  EXPECT_EQ(time_ago(now - 40 * 86400, now).substr(0, 5), "2023-");
}

TEST(ModelCells, ShortenNamesAndMarkSources) {
  ModelEntry entry;
  entry.info.ref = {"mlx-community/a", "/x", std::string(40, 'c'), true};
  EXPECT_EQ(name_text(entry.info, true), "a");
  EXPECT_EQ(name_text(entry.info, false), "mlx-community/a");
  EXPECT_EQ(short_hash(entry), "ccccccc");
  EXPECT_EQ(source_text(entry), "cache");
  entry.info.ref = {"/w/b", "/w/b", "", false, "b"};
  EXPECT_EQ(name_text(entry.info, true), "b");
  EXPECT_EQ(short_hash(entry), "-");
  EXPECT_EQ(source_text(entry), "ws?");
  entry.sentinel = Json{{"content_hash", "sha256:0123456789"}};
  entry.clean = Cleanliness::modified;
  EXPECT_EQ(short_hash(entry), "0123456");
  EXPECT_EQ(source_text(entry), "ws*");
  EXPECT_EQ(clean_text(entry), "✗");
}

TEST(ModelCells, TellWholeFromRunnable) {
  ModelInfo info;
  info.kind = "chat";
  info.is_vision = info.is_audio = true;
  EXPECT_EQ(type_text(info), "chat+vision+audio");
  EXPECT_EQ(health_text(info), "unhealthy");
  info.healthy = true;
  EXPECT_EQ(health_text(info), "healthy");
  info.reason = "not built in";
  EXPECT_EQ(health_text(info), "healthy*");
  info.kind = "audio";
  info.is_vision = false;
  EXPECT_EQ(type_text(info), "audio");
}

}  // namespace
}  // namespace mlxk
