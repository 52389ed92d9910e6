#include "terminal/markdown.h"

#include <gtest/gtest.h>

namespace mlxk {
namespace {

std::string render(const std::string& text) {
  MarkdownStream stream;
  std::string whole = stream.push(text);
  whole += stream.finish();
  MarkdownStream again;
  std::string pieces;
  for (const char c : text) pieces += again.push(std::string_view(&c, 1));
  pieces += again.finish();
  EXPECT_EQ(pieces, whole) << "another cut gives another result";
  return whole;
}

std::string plain(const std::string& rendered) {
  std::string out;
  for (size_t i = 0; i < rendered.size(); ++i) {
    if (rendered[i] == '\033') {
      i = rendered.find('m', i);
    } else {
      out += rendered[i];
    }
  }
  return out;
}

TEST(Markdown, StylesSpansAndKeepsTheText) {
  EXPECT_EQ(render("a **b** `c`"), "a \033[1mb\033[0m \033[36mc\033[0m");
  EXPECT_EQ(render("**b *i* b**"), "\033[1mb \033[3mi\033[0m\033[1m b\033[0m");
  EXPECT_EQ(plain(render("# Title\n\ntext 2 * 3 * 4 < 5 & 6")), "Title\n\ntext 2 * 3 * 4 < 5 & 6");
  EXPECT_EQ(plain(render("[name](http://x.y)")), "name (http://x.y)");
}

TEST(Markdown, KeepsNumbersAndIndentsOfLists) {
  EXPECT_EQ(plain(render("1. one\n2. two\n   - nested\n- [x] done")), "1. one\n2. two\n   • nested\n☑ done");
}

TEST(Markdown, LosesNoLine) {
  EXPECT_EQ(plain(render("[1]: http://x.y\n-\n1986. A year")), "[1]: http://x.y\n• \n1986. A year");
  EXPECT_EQ(plain(render("- 3. nested\n<b>no html</b>")), "• 3. nested\n<b>no html</b>");
}

TEST(Markdown, LeavesCodeBlocksAlone) {
  EXPECT_EQ(plain(render("```c\n  a **b** # c\n```\n**after**")), "```c\n  a **b** # c\n```\nafter");
  EXPECT_EQ(plain(render("~~~\n``` not the end\n~~~\n*x*")), "~~~\n``` not the end\n~~~\nx");
}

TEST(Markdown, AlignsTables) {
  EXPECT_EQ(plain(render("| a | bb |\n|---|----|\n| ccc | é |\n\nend")), "a   │ bb\n────┼───\nccc │ é\n\nend");
}

TEST(Markdown, ShowsALineOnceItIsComplete) {
  MarkdownStream stream;
  EXPECT_EQ(stream.push("half"), "");
  EXPECT_EQ(stream.push(" done\nnext"), "half done\n");
  EXPECT_EQ(stream.finish(), "next");
}

TEST(Markdown, KeepsControlCharactersFromTheTerminal) {
  EXPECT_EQ(plain(render("a\033]0;title\007b")), "a]0;titleb");
  EXPECT_EQ(without_controls("\xC2\x9B"
                             "31mé\r\n\t"),
            "31mé\n\t");
}

}  // namespace
}  // namespace mlxk
