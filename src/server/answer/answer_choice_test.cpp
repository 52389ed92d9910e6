#include "server/answer/answer_choice.h"

#include <gtest/gtest.h>

namespace mlxk {
namespace {

TEST(CountCharacters, counts_where_each_begins) {
  EXPECT_EQ(count_characters("aé🙂"), 3);
  EXPECT_EQ(count_characters("\xA9"), 0);  // the second byte of é
}

}  // namespace
}  // namespace mlxk
