#include "base/staged_folder.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "base/error.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

class StagedFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "mlxk-staged-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  void TearDown() override { fs::remove_all(root_); }
  long entries() const { return std::distance(fs::directory_iterator(root_), fs::directory_iterator()); }

  fs::path root_;
};

TEST_F(StagedFolderTest, AppearsWholeOrNotAtAll) {
  {
    StagedFolder folder(root_ / "model");
    std::ofstream(folder.path() / "config.json") << "{}";
    EXPECT_FALSE(fs::exists(root_ / "model"));
    EXPECT_FALSE(fs::exists(folder.path().parent_path() / "config.json")) << "a hidden folder is no workspace";
  }
  EXPECT_EQ(entries(), 0);
  {
    StagedFolder folder(root_ / "model/");
    std::ofstream(folder.path() / "config.json") << "{}";
    std::ofstream(folder.scratch() / "big") << "x";
    folder.commit();
  }
  EXPECT_TRUE(fs::exists(root_ / "model" / "config.json"));
  EXPECT_EQ(entries(), 1);
}

TEST_F(StagedFolderTest, SweepsWhatAKilledRunLeftButNoRunningOne) {
  fs::create_directories(root_ / ".model.mlxk-abcdef" / "new");
  fs::create_directories(root_ / ".other.mlxk-abcdef" / "new");
  StagedFolder first(root_ / "model");
  EXPECT_FALSE(fs::exists(root_ / ".model.mlxk-abcdef"));
  EXPECT_TRUE(fs::exists(root_ / ".other.mlxk-abcdef"));
  StagedFolder second(root_ / "model");
  EXPECT_TRUE(fs::exists(first.path()));
  first.commit();
  EXPECT_THROW(second.commit(), Error) << "the first has the place";
}

TEST_F(StagedFolderTest, NeverTouchesWhatIsThere) {
  fs::create_directory(root_ / "model");
  EXPECT_THROW(StagedFolder(root_ / "model"), Error);
  StagedFolder folder(root_ / "model", StagedFolder::Existing::empty_allowed);
  std::ofstream(root_ / "model" / "mine") << "x";
  EXPECT_THROW(folder.commit(), Error);
  EXPECT_TRUE(fs::exists(root_ / "model" / "mine"));
  EXPECT_THROW(StagedFolder(root_ / "model", StagedFolder::Existing::empty_allowed), Error);
  EXPECT_THROW(StagedFolder(root_ / "nowhere" / "model"), Error);
  fs::create_symlink("dangling", root_ / "link");
  EXPECT_THROW(StagedFolder(root_ / "link"), Error);
}

TEST_F(StagedFolderTest, TakesTheLongestNames) {
  const std::string name(255, 'n');
  StagedFolder folder(root_ / name);
  folder.commit();
  EXPECT_TRUE(fs::exists(root_ / name));
}

}  // namespace
}  // namespace mlxk
