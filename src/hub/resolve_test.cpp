#include "hub/resolve.h"

#include <chrono>

#include "base/error.h"
#include "hub/testing/fake_cache.h"

namespace mlxk {
namespace {

using testing::FakeCache;
using testing::kHashA;
using testing::kHashB;

class Resolve : public FakeCache {
 protected:
  static ErrorKind kind_of(std::string_view spec) {
    try {
      resolve_model(spec);
    } catch (const Error& e) {
      return e.kind();
    }
    ADD_FAILURE() << "'" << spec << "' was resolved";
    return ErrorKind::internal;
  }
  void age(const fs::path& path, int hours) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(hours));
  }
};

TEST_F(Resolve, FindsAnExactName) {
  const fs::path snapshot = add_model("org/plain");
  const ModelRef ref = resolve_model("org/plain");
  EXPECT_EQ(ref.name, "org/plain");
  EXPECT_EQ(ref.path, snapshot);
  EXPECT_EQ(ref.revision, kHashA);
  EXPECT_TRUE(ref.cached);
}

TEST_F(Resolve, TriesMlxCommunityFirstForAShortName) {
  add_model("other/Phi-3");
  add_model("mlx-community/Phi-3");
  add_model("mlx-community/Phi-3-mini");
  EXPECT_EQ(resolve_model("Phi-3").name, "mlx-community/Phi-3");
}

TEST_F(Resolve, FindsAPartOfANameWhateverItsCase) {
  add_model("mlx-community/Qwen3-0.6B-4bit");
  add_model("mlx-community/Phi-3");
  EXPECT_EQ(resolve_model("qWEN").name, "mlx-community/Qwen3-0.6B-4bit");
}

TEST_F(Resolve, ListsTheMatchesOfAnAmbiguousName) {
  add_model("a/Qwen-1");
  add_model("b/qwen-2");
  try {
    resolve_model("qwen");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::ambiguous);
    EXPECT_STREQ(e.what(), "Multiple models match 'qwen'");
    EXPECT_EQ(e.hint(), "a/Qwen-1\nb/qwen-2");
  }
}

TEST_F(Resolve, SaysWhatWasNotFound) {
  try {
    resolve_model("org/absent");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::not_found);
    EXPECT_STREQ(e.what(), "No model found matching 'org/absent'");
  }
}

TEST_F(Resolve, HonoursRefsMainBeforeTheNewestSnapshot) {
  age(add_model("org/m", kHashA), 5);
  age(add_model("org/m", kHashB), 1);
  EXPECT_EQ(resolve_model("org/m").revision, kHashB);
  testing::write(hub_ / "models--org--m/refs/main", kHashA + "\n");
  EXPECT_EQ(resolve_model("org/m").revision, kHashA);
  testing::write(hub_ / "models--org--m/refs/main", std::string(40, 'c'));  // not downloaded
  EXPECT_EQ(resolve_model("org/m").revision, kHashB);
}

TEST_F(Resolve, TakesABranchATagAFullHashOrItsBeginning) {
  add_model("org/m", kHashA);
  add_model("org/m", kHashB);
  testing::write(hub_ / "models--org--m/refs/v1.0", kHashA);
  testing::write(hub_ / "models--org--m/refs/refs/pr/2", kHashB);
  EXPECT_EQ(resolve_model("org/m@v1.0").revision, kHashA);
  EXPECT_EQ(resolve_model("org/m@refs/pr/2").revision, kHashB);
  EXPECT_EQ(resolve_model("m@" + kHashB).revision, kHashB);
  EXPECT_EQ(resolve_model("org/m@bbb").revision, kHashB);
}

TEST_F(Resolve, NamesTheMissingRevisionAndOffersWhatIsThere) {
  add_model("org/m", kHashA);
  try {
    resolve_model("org/m@ffff");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::no_revision);
    EXPECT_STREQ(e.what(), "Hash 'ffff' not found for model 'org/m'");
    EXPECT_EQ(e.hint(), "aaaaaaaa");
  }
}

TEST_F(Resolve, RefusesAHashPrefixOfTwoSnapshots) {
  add_model("org/m", "abc1");
  add_model("org/m", "abc2");
  EXPECT_EQ(kind_of("org/m@abc"), ErrorKind::ambiguous);
}

TEST_F(Resolve, TakesPathsOnlyWhenTheyLookLikePaths) {
  const fs::path folder = root_ / "plain";
  fill_model(folder, "{}");
  EXPECT_EQ(resolve_model(folder.string()).path, folder);
  EXPECT_EQ(resolve_model(folder.string() + "/").name, folder.string());
  EXPECT_FALSE(resolve_model(folder.string()).cached);
  const fs::path before = fs::current_path();
  fs::current_path(root_);
  EXPECT_EQ(resolve_model("./plain").path, folder);
  EXPECT_EQ(resolve_model("./plain/../plain/.").path, folder);
  EXPECT_EQ(kind_of("plain"), ErrorKind::not_found);
  EXPECT_EQ(kind_of("./hf"), ErrorKind::not_found);
  fs::current_path(folder);
  EXPECT_EQ(resolve_model(".").name, folder.string());
  fs::current_path(before);
}

TEST_F(Resolve, PrefersAnExactWorkspaceThenAnExactCachedNameThenAPartOfAWorkspacesName) {
  add_workspace("Phi-3-mine");
  add_workspace("Phi-3");
  add_model("mlx-community/Phi-3");
  EXPECT_EQ(resolve_model("Phi-3").name, (workspaces_ / "Phi-3").string());
  fs::remove_all(workspaces_ / "Phi-3");
  EXPECT_EQ(resolve_model("Phi-3").name, "mlx-community/Phi-3");
  EXPECT_EQ(resolve_model("phi").name, (workspaces_ / "Phi-3-mine").string());
}

TEST_F(Resolve, ListsTheWorkspacesOfAnAmbiguousName) {
  add_workspace("one-x");
  add_workspace("two-x");
  try {
    resolve_model("X");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::ambiguous);
    EXPECT_EQ(e.hint(), "one-x\ntwo-x");
  }
}

TEST_F(Resolve, SurvivesMalformedCacheNames) {
  add_model("a/-b");  // models--a---b
  for (const char* folder : {"models--", "models---", "models----x", "datasets--a--b", "models--a--b--c--"}) {
    fs::create_directories(hub_ / folder);
  }
  testing::write(hub_ / "models--file", "not a folder");
  testing::write(hub_ / "version.txt", "1");
  EXPECT_NO_THROW(list_models());
  EXPECT_EQ(resolve_model("a/-b").revision, kHashA);
}

TEST_F(Resolve, RefusesHostileNamesBeforeTheyReachTheFileSystem) {
  add_model("org/m");
  fill_model(root_ / "secret", "{}");
  for (const std::string& spec : {std::string(""), std::string("-rf"), std::string("a\0b", 3), std::string("a\nb"),
                                  std::string(100'000, 'x'), std::string("org/../../../secret"), std::string("x/.."),
                                  std::string("org/m@"), std::string("@main"), std::string("\x1b[31m")}) {
    EXPECT_EQ(kind_of(spec), ErrorKind::invalid) << spec.substr(0, 40);
  }
  EXPECT_EQ(kind_of("org/m@../../x"), ErrorKind::invalid);
  EXPECT_EQ(kind_of(std::string(3000, 'y')), ErrorKind::not_found);
}

TEST_F(Resolve, IgnoresRefsThatPointOutOfTheSnapshots) {
  add_model("org/m", kHashA);
  fill_model(root_ / "secret", "{}");
  testing::write(hub_ / "models--org--m/refs/main", "../../../../secret");
  EXPECT_EQ(resolve_model("org/m").revision, kHashA);
}

TEST_F(Resolve, IgnoresSnapshotsThatLeaveTheCacheByALink) {
  fill_model(root_ / "secret", "{}");
  fs::create_directories(hub_ / "models--org--m/snapshots");
  fs::create_directory_symlink(root_ / "secret", hub_ / "models--org--m/snapshots" / kHashA);
  EXPECT_EQ(resolve_model("org/m").revision, "");
  fs::create_directories(hub_ / "models--org--n");
  fs::create_directories(root_ / "elsewhere");
  fs::create_directory_symlink(root_ / "secret", root_ / "elsewhere" / kHashA);
  fs::create_directory_symlink(root_ / "elsewhere", hub_ / "models--org--n/snapshots");
  EXPECT_EQ(resolve_model("org/n").revision, "");
  // Whoever links a whole repository to another disk meant it.
  fill_model(root_ / "disk/models--org--o/snapshots" / kHashA, "{}");
  fs::create_directory_symlink(root_ / "disk/models--org--o", hub_ / "models--org--o");
  EXPECT_EQ(resolve_model("org/o").revision, kHashA);
}

TEST_F(Resolve, FindsTheCacheInTheEnvironment) {
  EXPECT_EQ(hub_cache_dir(), root_ / "hf/hub");
  setenv("HF_HUB_CACHE", (root_ / "other").c_str(), 1);
  EXPECT_EQ(hub_cache_dir(), root_ / "other");
  setenv("HF_HUB_CACHE", "", 1);
  setenv("HF_HOME", "~/x", 1);
  EXPECT_EQ(hub_cache_dir(), fs::path(std::getenv("HOME") ? std::getenv("HOME") : "/") / "x/hub");
}

class ListModels : public Resolve {
 protected:
  static std::vector<std::string> names(std::string_view pattern = "") {
    std::vector<std::string> result;
    for (const auto& ref : list_models(pattern)) result.push_back(ref.name);
    return result;
  }
};

TEST_F(ListModels, SortsCacheAndWorkspacesAndHidesTheSentinel) {
  add_model("org/b");
  add_model("mlx-community/a");
  add_model("x/TEST-CACHE-SENTINEL");
  fs::create_directories(hub_ / "models--org--empty");
  add_workspace("w");
  EXPECT_EQ(names(), (std::vector<std::string>{(workspaces_ / "w").string(), "mlx-community/a", "org/b", "org/empty"}));
  EXPECT_EQ(names("B"), (std::vector<std::string>{"org/b"}));
}

TEST_F(ListModels, IsEmptyWithoutACache) {
  fs::remove_all(root_ / "hf");
  setenv("MLXK_WORKSPACE_HOME", (root_ / "absent").c_str(), 1);
  EXPECT_TRUE(names().empty());
}

TEST_F(ListModels, TakesAPathAsAWorkspaceAFolderOrAPrefix) {
  add_model("org/gemma");
  const std::string one = add_workspace("gemma-1"), two = add_workspace("gemma-2"), other = add_workspace("phi");
  EXPECT_EQ(names(one), (std::vector<std::string>{one}));
  EXPECT_EQ(names(workspaces_.string()), (std::vector<std::string>{one, two, other}));
  EXPECT_EQ(names((workspaces_ / "gemma-").string()), (std::vector<std::string>{one, two}));
  EXPECT_TRUE(names((root_ / "absent/x").string()).empty());
}

TEST_F(ListModels, ShowsWorkspacesByNameAndByPathWhereThePatternIsAbsolute) {
  const fs::path one = add_workspace("gemma-1");
  EXPECT_EQ(list_models("").front().display_name, "gemma-1");
  const fs::path before = fs::current_path();
  fs::current_path(workspaces_);
  EXPECT_EQ(list_models("./gemma-").front().display_name, "gemma-1");
  EXPECT_EQ(list_models(".").front().display_name, "gemma-1");
  EXPECT_EQ(list_models("./gemma-1").front().display_name, "gemma-1");
  EXPECT_EQ(list_models(one.string()).front().display_name, one.string());
  fs::current_path(before);
}

}  // namespace
}  // namespace mlxk
