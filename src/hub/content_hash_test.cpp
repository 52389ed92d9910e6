#include "hub/content_hash.h"

#include <chrono>

#include "base/error.h"
#include "hub/testing/fake_cache.h"
#include "hub/workspace.h"
#include "json/json.h"

namespace mlxk {
namespace {

using testing::write;

class ContentHashOf : public testing::FakeCache {
 protected:
  ContentHashOf() : folder_(workspaces_ / "w") {
    write(folder_ / "config.json", R"({"model_type":"llama"})");
    write(folder_ / "README.md", "hi\n");
    write(folder_ / "model.safetensors", std::string("\x02\0\0\0\0\0\0\0{}\0\0\0\0", 14));
    write(folder_ / "x.log", "noise");
  }
  void manage() {
    Json sentinel = {{"mlxk_version", "1"}, {"managed", true}, {"unknown_field", {{"kept", 1}}}};
    write_sentinel(folder_, sentinel);
    recalculate_content_hash(folder_);
  }
  void touch(const std::string& name) {
    fs::last_write_time(folder_ / name, fs::file_time_type::clock::now() - std::chrono::hours(3));
  }
  fs::path folder_;
};

TEST_F(ContentHashOf, EqualsTheOriginals) {
  const auto hash = hash_content(folder_);
  ASSERT_TRUE(hash);
  EXPECT_EQ(hash->value, "sha256:a4ee5ac813df678709cba85f9605c51765fa7f926237071b6856c63584780783");
  ASSERT_EQ(hash->files.size(), 3U);
  EXPECT_EQ(hash->files[2].path, "model.safetensors");
  EXPECT_EQ(hash->files[2].sha, "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
}

TEST_F(ContentHashOf, IgnoresWeightsAndNoiseButNotNames) {
  const std::string before = hash_content(folder_)->value;
  write(folder_ / "model.safetensors", std::string("\x02\0\0\0\0\0\0\0{}\1\1\1\1\1", 15));
  write(folder_ / ".git/HEAD", "x");
  write(folder_ / ".hf_cache/hub/y", "x");
  write(folder_ / "a/notes.txt~", "x");
  write(folder_ / "._config.json", "x");
  EXPECT_EQ(hash_content(folder_)->value, before);
  write(folder_ / "a/notes.txt", "x");
  EXPECT_NE(hash_content(folder_)->value, before);
}

TEST_F(ContentHashOf, OfASnapshotFollowsTheNamesOfItsBlobs) {
  EXPECT_EQ(hash_model(folder_), hash_content(folder_)->value);
  const auto snapshot = [&](const std::string& revision, const std::string& blob) {
    const fs::path folder = hub_ / "models--o--m" / "snapshots" / revision;
    write(folder / "README.md", "hi\n");
    write(hub_ / "models--o--m" / "blobs" / blob, blob);
    fs::create_symlink("../../blobs/" + blob, folder / "config.json");
    return hash_model(folder);
  };
  const auto hash = snapshot("a", "1");
  ASSERT_TRUE(hash);
  EXPECT_FALSE(hash_content(hub_ / "models--o--m" / "snapshots" / "a"));
  EXPECT_EQ(snapshot("b", "1"), hash);
  EXPECT_NE(snapshot("c", "2"), hash);
  write(workspaces_ / "elsewhere", "{}");
  fs::create_symlink("../elsewhere", folder_ / "vocab.json");
  EXPECT_FALSE(hash_model(folder_));  // a workspace's links must not leave it
}

TEST_F(ContentHashOf, IsUndefinedForABrokenHeader) {
  for (const std::string& content : {std::string("\0\0\0\0\0\0\0\0", 8), std::string("\xff\0\0\0\0\0\0\0{}", 10),
                                     std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10), std::string("abc")}) {
    write(folder_ / "model.safetensors", content);
    EXPECT_FALSE(hash_content(folder_));
  }
}

TEST_F(ContentHashOf, CountsLinksWithinAndRefusesThoseThatLeave) {
  const std::string before = hash_content(folder_)->value;
  fs::create_symlink("README.md", folder_ / "link");
  ASSERT_TRUE(hash_content(folder_));
  EXPECT_NE(hash_content(folder_)->value, before);
  write(root_ / "secret", "x");
  fs::create_symlink(root_ / "secret", folder_ / "out");
  EXPECT_FALSE(hash_content(folder_));
}

TEST_F(ContentHashOf, FollowsTheLifeOfAWorkspace) {
  EXPECT_EQ(check_clean(folder_), Cleanliness::unknown) << "not managed";
  manage();
  EXPECT_EQ(check_clean(folder_), Cleanliness::clean);
  write(folder_ / "new.txt", "x");
  EXPECT_EQ(check_clean(folder_), Cleanliness::modified);
  fs::remove(folder_ / "new.txt");
  EXPECT_EQ(check_clean(folder_), Cleanliness::clean);
  write(folder_ / "README.md", "HI\n");
  touch("README.md");
  EXPECT_EQ(check_clean(folder_), Cleanliness::modified) << "same size, other content";
  write(folder_ / "README.md", "longer\n");
  EXPECT_EQ(check_clean(folder_), Cleanliness::modified);
  fs::remove(folder_ / "README.md");
  EXPECT_EQ(check_clean(folder_), Cleanliness::modified);
  recalculate_content_hash(folder_);
  EXPECT_EQ(check_clean(folder_), Cleanliness::clean);
}

TEST_F(ContentHashOf, HealsATimeThatMovedAndKeepsUnknownFields) {
  manage();
  const Json before = *read_sentinel(folder_);
  touch("README.md");
  EXPECT_EQ(check_clean(folder_), Cleanliness::clean);
  const Json after = *read_sentinel(folder_);
  EXPECT_NE(after["file_index"], before["file_index"]);
  EXPECT_EQ(after["content_hash"], before["content_hash"]);
  EXPECT_EQ(after["unknown_field"]["kept"], 1);
  EXPECT_EQ(check_clean(folder_), Cleanliness::clean);
}

TEST_F(ContentHashOf, TrustsNoMalformedIndex) {
  manage();
  const Json good = *read_sentinel(folder_);
  for (const Json& path :
       {Json("../x"), Json("/etc/passwd"), Json(""), Json("a\\b"), Json("C:x"), Json(5), Json("a/../../b")}) {
    Json sentinel = good;
    sentinel["file_index"][0]["path"] = path;
    write_sentinel(folder_, sentinel);
    EXPECT_EQ(check_clean(folder_), Cleanliness::unknown) << path.dump();
  }
  Json sentinel = good;
  sentinel["hash_algorithm"] = "v1";
  write_sentinel(folder_, sentinel);
  EXPECT_EQ(check_clean(folder_), Cleanliness::unknown);
}

TEST_F(ContentHashOf, UsesTheExclusionsFrozenInTheSentinel) {
  manage();
  Json sentinel = *read_sentinel(folder_);
  sentinel["exclude_patterns"].push_back("*.txt");
  write_sentinel(folder_, sentinel);
  write(folder_ / "new.txt", "x");
  EXPECT_EQ(check_clean(folder_), Cleanliness::clean);
}

TEST_F(ContentHashOf, IsRefusedForAnUnmanagedWorkspace) { EXPECT_THROW(recalculate_content_hash(folder_), Error); }

}  // namespace
}  // namespace mlxk
