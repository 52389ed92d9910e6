#include "base/nearest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlxk {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Nearest, PutsTheBestFirst) {
  EXPECT_THAT(nearest("lst", {"serve", "list", "show"}, 1), ElementsAre("list"));
  EXPECT_THAT(nearest("qwen3_vl", {"llama", "qwen2", "qwen3", "qwen3_moe"}, 2), ElementsAre("qwen3_moe", "qwen3"));
}

TEST(Nearest, IsEmptyWhereNothingIsLikeTheWord) {
  EXPECT_THAT(nearest("rwkv7", {"llama", "whisper"}, 3), IsEmpty());
  EXPECT_THAT(nearest("", {"llama"}, 3), IsEmpty());
  EXPECT_THAT(nearest("x", {}, 3), IsEmpty());
}

}  // namespace
}  // namespace mlxk
