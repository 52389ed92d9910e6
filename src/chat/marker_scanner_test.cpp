#include "chat/marker_scanner.h"

#include <gtest/gtest.h>

#include <random>

#include "chat/stop_strings.h"

namespace mlxk {
namespace {

std::string cut_at_earliest(const std::string& text, const std::vector<std::string>& stops) {
  size_t end = text.size();
  for (const auto& stop : stops) {
    if (!stop.empty()) end = std::min(end, text.find(stop));
  }
  return text.substr(0, end);
}

TEST(StopMatcher, AnyCutOfAnyTextGivesTheTextBeforeTheEarliestStop) {
  std::mt19937 random(7);
  const auto word = [&](size_t most) {
    std::string out(random() % (most + 1), 'a');
    for (char& c : out) c = static_cast<char>('a' + random() % 3);
    return out;
  };
  int stopped = 0;
  for (int round = 0; round < 20000; ++round) {
    const std::string text = word(24);
    std::vector<std::string> stops;
    for (size_t i = random() % 4; i > 0; --i) stops.push_back(word(5));
    StopMatcher matcher(stops);
    std::string got;
    const std::string expected = cut_at_earliest(text, stops);
    for (size_t at = 0; at < text.size();) {
      const size_t length = 1 + random() % 5;
      got += matcher.push(text.substr(at, length));
      // No part of a stop string is ever shown, not even for a moment.
      ASSERT_LE(got.size(), expected.size());
      at += length;
    }
    got += matcher.finish();
    ASSERT_EQ(got, expected) << text;
    ASSERT_EQ(matcher.stopped(), expected.size() < text.size());
    stopped += matcher.stopped();
  }
  EXPECT_GT(stopped, 1000);
}

TEST(StopMatcher, HoldsBackOnlyWhatMayBeginAStop) {
  StopMatcher matcher({"\nHuman:"});
  EXPECT_EQ(matcher.push("one\nHu"), "one");
  EXPECT_EQ(matcher.push("ge"), "\nHuge");
  EXPECT_EQ(matcher.push("\nHuman: and more"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.push("later"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(MarkerScanner, PrefersTheLongestOfMarkersThatStartTogether) {
  MarkerScanner scanner({"<a", "<ab>"});
  scanner.push("x<a");
  auto piece = scanner.next();
  ASSERT_TRUE(piece);
  EXPECT_EQ(piece->text, "x");
  EXPECT_FALSE(piece->marker);
  EXPECT_FALSE(scanner.next());
  scanner.push("b>");
  piece = scanner.next();
  ASSERT_TRUE(piece);
  EXPECT_EQ(piece->marker, 1u);
}

}  // namespace
}  // namespace mlxk
