#include "base/timestamp.h"

#include <gtest/gtest.h>

namespace mlxk {
namespace {

TEST(Timestamp, ReadsAllForms) {
  EXPECT_EQ(parse_timestamp("2026-01-01T00:00:00Z"), 1767225600);
  EXPECT_EQ(parse_timestamp("2026-01-01T01:00:00+01:00"), 1767225600);
  EXPECT_EQ(parse_timestamp("2025-12-31T18:30:00-0530"), 1767225600);
  EXPECT_EQ(parse_timestamp("2026-01-01 00:00:00.5"), 1767225600.5);
  for (const char* bad : {"", "2026-01-01", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00.Z",
                          "2026-01-01T00:00:00+1", "2026-01-01T00:00:00Zulu", "1767225600"}) {
    EXPECT_EQ(parse_timestamp(bad), std::nullopt) << bad;
  }
}

TEST(Timestamp, IsWrittenInUtc) { EXPECT_EQ(iso_timestamp(1767225600.5), "2026-01-01T00:00:00.500Z"); }

}  // namespace
}  // namespace mlxk
