#include "backend/prefix_tree.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace mlxk {
namespace {

std::vector<int32_t> tokens(int count, int salt = 0) {
  std::vector<int32_t> all;
  for (int i = 0; i < count; ++i) all.push_back(i * 7 + salt);
  return all;
}

/// Eight bytes a token: the token and its position, so that restored data can be recognised.
void insert(PrefixTree& tree, const std::vector<int32_t>& all, const std::string& scope = "", bool to_the_token = true,
            int first = 0) {
  tree.insert(
      scope, all, to_the_token, first, [](int from, int to) { return static_cast<size_t>(to - from) * 8; },
      [&](PrefixBytes& bytes) {
        std::byte* out = bytes.allocate();
        for (int i = bytes.from; i < bytes.from + bytes.tokens; ++i, out += 8) {
          const int32_t pair[] = {all[static_cast<size_t>(i)], i};
          std::memcpy(out, pair, 8);
        }
      });
}

void expect_holds(const PrefixMatch& match, const std::vector<int32_t>& prompt) {
  int at = 0;
  for (const auto& block : match.blocks) {
    ASSERT_EQ(block->from, at);
    ASSERT_EQ(block->size, static_cast<size_t>(block->tokens) * 8);
    for (int i = 0; i < block->tokens && at < match.usable; ++i, ++at) {
      int32_t pair[2];
      std::memcpy(pair, block->data.get() + i * 8, 8);
      EXPECT_EQ(pair[0], prompt[static_cast<size_t>(at)]);
      EXPECT_EQ(pair[1], at);
    }
  }
  EXPECT_EQ(at, match.usable);
}

constexpr int kAll = 1 << 30;

TEST(PrefixTree, FindsTheLongestCommonStartToTheToken) {
  PrefixTree tree(1 << 20);
  insert(tree, tokens(150));
  for (int common : {0, 1, 63, 64, 65, 127, 128, 140, 150}) {
    auto prompt = tokens(common);
    for (int i = 0; i < 20; ++i) prompt.push_back(100000 + i);
    const auto match = tree.find("", prompt, kAll);
    EXPECT_EQ(match.usable, common);
    expect_holds(match, prompt);
  }
}

TEST(PrefixTree, PromptsThatBeginAlikeShareTheirBlocks) {
  PrefixTree tree(1 << 20);
  auto a = tokens(200), b = tokens(200);
  for (int i = 130; i < 200; ++i) b[static_cast<size_t>(i)] = -i;
  insert(tree, a);
  const auto before = tree.entries();
  insert(tree, b);
  EXPECT_EQ(tree.entries(), before + 2);
  expect_holds(tree.find("", a, kAll), a);
  expect_holds(tree.find("", b, kAll), b);
  insert(tree, b);
  EXPECT_EQ(tree.entries(), before + 2);
}

TEST(PrefixTree, ALongerPromptTakesThePlaceOfAShorterTail) {
  PrefixTree tree(1 << 20);
  insert(tree, tokens(70));
  EXPECT_EQ(tree.entries(), 2U);
  insert(tree, tokens(100));
  EXPECT_EQ(tree.entries(), 2U);
  insert(tree, tokens(80));
  EXPECT_EQ(tree.entries(), 2U);
  EXPECT_EQ(tree.find("", tokens(200), kAll).usable, 100);
  insert(tree, tokens(120), "", false);  // no longer a whole block
  EXPECT_EQ(tree.find("", tokens(200), kAll).usable, 100);
}

TEST(PrefixTree, ScopesDoNotSeeEachOther) {
  PrefixTree tree(1 << 20);
  insert(tree, tokens(100), "one");
  EXPECT_EQ(tree.find("two", tokens(100), kAll).known, 0);
  EXPECT_EQ(tree.find("", tokens(100), kAll).known, 0);
  EXPECT_EQ(tree.find("one", tokens(100), kAll).usable, 100);
}

TEST(PrefixTree, WhatWasUsedLongestAgoMakesRoom) {
  PrefixTree tree(3 * (64 * 12 + 512));
  insert(tree, tokens(64, 1));
  insert(tree, tokens(64, 2));
  insert(tree, tokens(64, 3));
  EXPECT_EQ(tree.find("", tokens(64, 1), kAll).usable, 64);
  insert(tree, tokens(64, 4), "other");
  EXPECT_EQ(tree.find("", tokens(64, 2), kAll).usable, 0);
  EXPECT_EQ(tree.find("", tokens(64, 1), kAll).usable, 64);
  EXPECT_EQ(tree.find("", tokens(64, 3), kAll).usable, 64);
  EXPECT_EQ(tree.find("other", tokens(64, 4), kAll).usable, 64);
  EXPECT_LE(tree.bytes(), 3U * (64 * 12 + 512));
}

TEST(PrefixTree, APromptLargerThanTheBudgetIsKeptAsFarAsItGoes) {
  PrefixTree tree(3 * (64 * 12 + 512));
  insert(tree, tokens(1000));
  EXPECT_EQ(tree.find("", tokens(1000), kAll).usable, 192);
  PrefixTree none(100);
  insert(none, tokens(1000));
  EXPECT_EQ(none.entries(), 0U);
}

TEST(PrefixTree, WithoutAStateOnlyTheBeginningIsUsable) {
  PrefixTree tree(1 << 20, {100});
  insert(tree, tokens(300));
  EXPECT_EQ(tree.find("", tokens(300), 100).usable, 100);
  EXPECT_EQ(tree.find("", tokens(300), 100).known, 300);
  auto state = [](PrefixBytes& bytes) { std::memset(bytes.allocate(), 7, 5); };
  tree.insert_state("", tokens(170), 5, state);
  const auto match = tree.find("", tokens(300), 100);
  EXPECT_EQ(match.usable, 170);
  ASSERT_TRUE(match.state);
  EXPECT_EQ(match.state->size, 5U);
  expect_holds(match, tokens(300));
  const auto shorter = tokens(169);
  EXPECT_EQ(tree.find("", shorter, 100).usable, 100);
  EXPECT_FALSE(tree.find("", shorter, 100).state);
}

TEST(PrefixTree, WhatCanNoLongerBeFilledIsLeftOut) {
  PrefixTree tree(1 << 20, {100});
  insert(tree, tokens(300), "", true, 100);
  EXPECT_EQ(tree.entries(), 0U);
  insert(tree, tokens(100), "", true, 0);
  insert(tree, tokens(300), "", true, 100);
  EXPECT_EQ(tree.find("", tokens(300), 300).usable, 300);
}

// Compares with a list of everything ever inserted: whatever is found must be there, token by token.
TEST(PrefixTree, RandomPromptsAreFoundAsTheyWere) {
  std::mt19937 random(5);
  PrefixTree tree(40 * (64 * 12 + 512));
  for (int round = 0; round < 2000; ++round) {
    std::vector<int32_t> prompt;
    const int pieces = 1 + static_cast<int>(random() % 4);
    for (int i = 0; i < pieces; ++i) {
      const auto piece = tokens(20 + static_cast<int>(random() % 3) * 30, static_cast<int>(random() % 3));
      prompt.insert(prompt.end(), piece.begin(), piece.end());
    }
    const std::string scope(random() % 2, 'x');
    expect_holds(tree.find(scope, prompt, kAll), prompt);
    if (random() % 3 > 0) {
      insert(tree, prompt, scope);
      EXPECT_EQ(tree.find(scope, prompt, kAll).usable, static_cast<int>(prompt.size()));
    }
    ASSERT_LE(tree.bytes(), 40U * (64 * 12 + 512));
  }
  tree.clear();
  EXPECT_EQ(tree.bytes(), 0U);
}

}  // namespace
}  // namespace mlxk
