#include "probe/built_in.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace mlxk {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

TEST(BuiltIn, KnowsTheRowsOfTheTableSortedWithinAKind) {
  EXPECT_THAT(built_in().of(ModelKind::text), Contains("llama"));
  EXPECT_THAT(built_in().of(ModelKind::speech), Contains("whisper"));
  for (const ModelKind kind : kModelKinds) {
    const auto names = built_in().of(kind);
    EXPECT_TRUE(std::is_sorted(names.begin(), names.end())) << name_of(kind);
  }
}

TEST(BuiltIn, AVisionModelAnswersTextsToo) {
  const BuiltIn rows({{ModelKind::vision, "seer"}, {ModelKind::text, "llama"}});
  EXPECT_TRUE(rows.has(ModelKind::text, "seer"));
  EXPECT_TRUE(rows.has(ModelKind::vision, "seer"));
  EXPECT_FALSE(rows.has(ModelKind::vision, "llama"));
  EXPECT_FALSE(rows.has(ModelKind::speech, "seer"));
}

TEST(BuiltIn, HyphensCountAsUnderscores) {
  const BuiltIn rows({{ModelKind::text, "lfm2_vl"}});
  EXPECT_TRUE(rows.has(ModelKind::text, "lfm2-vl"));
  EXPECT_FALSE(rows.has(ModelKind::text, "lfm2-vl-2"));
}

TEST(BuiltIn, ARefusalNamesTheNearestAndWhereAllStand) {
  const BuiltIn rows({{ModelKind::text, "llama"}, {ModelKind::text, "qwen3"}, {ModelKind::text, "qwen3_moe"}});
  EXPECT_EQ(rows.refusal(ModelKind::text, "qwen3_vl"),
            "is not built in (nearest: qwen3_moe, qwen3); `mlxk list --architectures` lists what is");
  EXPECT_EQ(rows.refusal(ModelKind::speech, "qwen3"), "is not built in; `mlxk list --architectures` lists what is");
}

}  // namespace
}  // namespace mlxk
