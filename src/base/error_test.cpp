#include "base/error.h"

#include <gtest/gtest.h>

namespace mlxk {
namespace {

TEST(ErrorKinds, EveryKindHasItsOwnRow) {
  for (int i = 0; i <= static_cast<int>(ErrorKind::internal); ++i) {
    EXPECT_EQ(error_kind_info(static_cast<ErrorKind>(i)).kind, static_cast<ErrorKind>(i));
  }
}

TEST(ErrorKinds, OnlyMisuseAndCancellationHaveExitCodesOfTheirOwn) {
  EXPECT_EQ(error_kind_info(ErrorKind::usage).exit_code, 2);
  EXPECT_EQ(error_kind_info(ErrorKind::cancelled).exit_code, 130);
  EXPECT_EQ(error_kind_info(ErrorKind::bad_model).exit_code, 1);
}

}  // namespace
}  // namespace mlxk
