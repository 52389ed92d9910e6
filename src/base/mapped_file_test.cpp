#include "base/mapped_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/error.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

class MappedFiles : public testing::Test {
 protected:
  void SetUp() override {
    path_ = fs::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
    std::ofstream(path_, std::ios::binary) << std::string(4 * page_, 'x');
  }
  void TearDown() override { fs::remove(path_); }

  static std::string refusal(const MappedFile& file) {
    try {
      file.check();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::io);
      return error.what();
    }
    return "whole";
  }

  const size_t page_ = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  fs::path path_;
};

TEST_F(MappedFiles, HoldTheFilesBytes) {
  const MappedFile file(path_);
  ASSERT_EQ(file.bytes().size(), 4 * page_);
  file.fetch(file.bytes().subspan(1, 3 * page_));
  EXPECT_EQ(file.bytes().back(), std::byte{'x'});
  EXPECT_EQ(refusal(file), "whole");
}

TEST_F(MappedFiles, SurviveBeingShortenedAndSaySo) {
  const MappedFile file(path_);
  fs::resize_file(path_, page_);
  EXPECT_EQ(file.bytes()[0], std::byte{'x'});
  EXPECT_EQ(refusal(file), "whole");
  EXPECT_EQ(file.bytes()[2 * page_ + 5], std::byte{0});
  EXPECT_EQ(file.bytes()[3 * page_], std::byte{0});
  EXPECT_THAT(refusal(file), testing::HasSubstr(path_.string() + " was shortened"));
}

TEST_F(MappedFiles, NoticeAShortenedFileWhenTheyFetch) {
  const MappedFile file(path_);
  fs::resize_file(path_, page_);
  file.fetch(file.bytes());
  EXPECT_THAT(refusal(file), testing::HasSubstr("was shortened"));
  const MappedFile again(path_);
  EXPECT_EQ(refusal(again), "whole");
}

TEST_F(MappedFiles, KnowTheirPagesAfterOthersWereGivenBack) {
  for (int i = 0; i < 3; ++i) const MappedFile gone(path_);
  const MappedFile one(path_), two(path_);
  fs::resize_file(path_, 0);
  EXPECT_EQ(two.bytes()[0], std::byte{0});
  EXPECT_EQ(refusal(one), "whole");
  EXPECT_THAT(refusal(two), testing::HasSubstr("was shortened"));
}

TEST_F(MappedFiles, LeaveForeignBusErrorsAlone) {
  const MappedFile file(path_);
  const int descriptor = open(path_.c_str(), O_RDONLY);
  const auto* foreign =
      static_cast<const volatile char*>(mmap(nullptr, 4 * page_, PROT_READ, MAP_PRIVATE, descriptor, 0));
  close(descriptor);
  EXPECT_EXIT(
      {
        fs::resize_file(path_, 0);
        static_cast<void>(*foreign);
      },
      [](int status) { return !WIFEXITED(status) || WEXITSTATUS(status) != 0; },
      "");  // a sanitizer ends it its own way
}

TEST_F(MappedFiles, RefuseWhatIsNoFile) { EXPECT_THROW(MappedFile("/"), Error); }

}  // namespace
}  // namespace mlxk
