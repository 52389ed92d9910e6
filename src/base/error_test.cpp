#include "base/error.h"

#include <gtest/gtest.h>

#include <new>
#include <stdexcept>

#include "base/lost_device.h"
#include "base/out_of_memory.h"

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

TEST(OutOfMemory, IsRecognisedInErrorsOfTheRuntimeAndLibmlx) {
  EXPECT_TRUE(is_out_of_memory(std::bad_alloc()));
  EXPECT_TRUE(is_out_of_memory(std::runtime_error("cudaMallocAsync(&data, size, stream) failed: out of memory")));
  EXPECT_TRUE(is_out_of_memory(std::runtime_error("[malloc] Unable to allocate 4096 bytes.")));
  EXPECT_FALSE(is_out_of_memory(std::runtime_error("cudaMallocManaged(&data, size) failed: an illegal memory access")));
  EXPECT_FALSE(is_out_of_memory(std::invalid_argument("a prompt that says failed: out of memory")));
}

TEST(LostDevice, IsRecognisedByTheDriversText) {
  EXPECT_TRUE(is_lost_device(
      std::runtime_error("cudaMallocManaged(&data, size) failed: an illegal memory access was encountered")));
  EXPECT_TRUE(is_lost_device(Error(ErrorKind::internal, "[cuda] cuMemcpyDtoH: unspecified launch failure (719)")));
  EXPECT_FALSE(is_lost_device(std::runtime_error("cudaMallocAsync(&data, size, stream) failed: out of memory")));
}

}  // namespace
}  // namespace mlxk
