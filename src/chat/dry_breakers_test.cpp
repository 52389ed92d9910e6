#include "chat/dry_breakers.h"

#include <gtest/gtest.h>

#include "chat/testing/small_tokenizer.h"

namespace mlxk {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

TEST(DryBreakers, AreTheTokensThatHoldThem) {
  const auto tokenizer = testing::small_tokenizer({"?", "a", "b:", ":", "c"}, {});
  EXPECT_EQ(dry_breakers(*tokenizer, {":"}), (Sequences{{2}, {3}}));
  EXPECT_EQ(dry_breakers(*tokenizer, {":", "c"}), (Sequences{{2}, {3}, {4}}));
  EXPECT_EQ(dry_breakers(*tokenizer, {}), Sequences{});
  EXPECT_EQ(dry_breakers(*tokenizer, {"x"}), Sequences{});
}

TEST(DryBreakers, AndTheTokensThatBeginThemWithTheRest) {
  const auto tokenizer = testing::small_tokenizer({"?", "x#", "##", "#"}, {});
  // "###" continues after one or two of its characters.
  EXPECT_EQ(dry_breakers(*tokenizer, {"###"}), (Sequences{{1, 2}, {2, 2}, {2, 3}, {3, 2}}));
}

}  // namespace
}  // namespace mlxk
