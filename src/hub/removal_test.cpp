#include "hub/removal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "hub/locks.h"
#include "hub/testing/fake_cache.h"

namespace mlxk {
namespace {

using testing::FakeCache;
using testing::kHashA;
using testing::kHashB;
using testing::write;

class Removals : public FakeCache {
 protected:
  Removals() : repo_{"org/m", hub_ / "models--org--m"} {
    link(kHashA, "config.json", "shared", "12345");
    link(kHashB, "config.json", "shared", "12345");
    link(kHashA, "a.safetensors", "only-a", "aaa");
    link(kHashB, "b.safetensors", "only-b", "bbbb");
    write(repo_.path / "refs/main", kHashA);
    write(repo_.path / "refs/dev", kHashB + "\n");
  }
  void link(const std::string& snapshot, const std::string& file, const std::string& blob, const std::string& content) {
    write(repo_.path / "blobs" / blob, content);
    fs::create_directories(repo_.path / "snapshots" / snapshot);
    fs::create_symlink("../../blobs/" + blob, repo_.path / "snapshots" / snapshot / file);
  }
  bool exists(const std::string& path) { return fs::exists(fs::symlink_status(repo_.path / path)); }

  CachedRepo repo_;
};

TEST_F(Removals, OneSnapshotTakesItsRefsAndTheBlobsThatOnlyItUses) {
  const Removal removal = plan_removal(repo_, kHashA);
  EXPECT_EQ(removal.files, 2u);
  EXPECT_EQ(removal.bytes, 3u);
  remove(removal);
  EXPECT_FALSE(exists("snapshots/" + kHashA));
  EXPECT_FALSE(exists("refs/main"));
  EXPECT_FALSE(exists("blobs/only-a"));
  EXPECT_TRUE(exists("blobs/shared"));
  EXPECT_TRUE(exists("blobs/only-b"));
  EXPECT_TRUE(exists("refs/dev"));
  EXPECT_TRUE(fs::exists(repo_.path / "snapshots" / kHashB / "config.json"));
  EXPECT_TRUE(leftovers(hub_).empty());
}

TEST_F(Removals, TheOnlySnapshotIsTheWholeRepository) {
  fs::remove_all(repo_.path / "snapshots" / kHashB);
  const Removal removal = plan_removal(repo_, kHashA);
  EXPECT_TRUE(removal.snapshot.empty());
  write(hub_ / ".locks/models--org--m/x.lock", "");
  EXPECT_EQ(remove(removal), 1u);
  EXPECT_FALSE(exists(""));
  EXPECT_FALSE(fs::exists(hub_ / ".locks/models--org--m"));
}

TEST_F(Removals, WhatLinksLeadToStays) {
  write(root_ / "outside/model/config.json", "{}");
  write(root_ / "outside/blobs/b", "b");
  fs::create_directory_symlink(root_ / "outside/model", hub_ / "models--evil--linked");
  remove(plan_removal({"evil/linked", hub_ / "models--evil--linked"}, ""));
  fs::create_directories(hub_ / "models--evil--blobs/snapshots" / kHashA);
  fs::create_directories(hub_ / "models--evil--blobs/snapshots" / kHashB);
  fs::create_directory_symlink(root_ / "outside/blobs", hub_ / "models--evil--blobs/blobs");
  fs::create_symlink("../../blobs/b", hub_ / "models--evil--blobs/snapshots" / kHashA / "f");
  const CachedRepo evil{"evil/blobs", hub_ / "models--evil--blobs"};
  EXPECT_TRUE(usage_of(evil).orphans.empty());
  remove(plan_removal(evil, kHashA));
  remove(plan_removal(evil, ""));
  EXPECT_FALSE(fs::exists(fs::symlink_status(hub_ / "models--evil--linked")));
  EXPECT_TRUE(fs::exists(root_ / "outside/model/config.json"));
  EXPECT_TRUE(fs::exists(root_ / "outside/blobs/b"));
}

TEST_F(Removals, AKilledOneIsFinishedByTheNext) {
  write(hub_ / ".mlxk-removed-1-0/blobs/x", "x");
  write(repo_.path / ".mlxk-removed-1-0/config.json", "x");
  EXPECT_EQ(leftovers(hub_).size(), 2u);
  remove(plan_removal(repo_, kHashA));
  EXPECT_TRUE(leftovers(hub_).empty());
}

// A child removes and is killed at one moment after the other; whatever is still named must be whole.
TEST_F(Removals, KilledAtAnyMomentLeavesNothingHalfThere) {
  const Removal removal = plan_removal(repo_, kHashA);
  for (int moment = 0; moment < 40; ++moment) {
    const pid_t child = fork();
    if (child == 0) {
      try {
        remove(removal);
      } catch (...) {
      }
      _exit(0);
    }
    usleep(moment * 20);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    for (const auto& snapshot : snapshots(repo_)) {
      for (const auto& file : fs::directory_iterator(repo_.path / "snapshots" / snapshot)) {
        ASSERT_TRUE(fs::exists(file.path())) << file.path() << " at moment " << moment;
      }
    }
    ASSERT_TRUE(fs::exists(repo_.path / "snapshots" / kHashB / "b.safetensors"));
    if (!exists("snapshots/" + kHashA + "/a.safetensors")) {
      fs::remove_all(repo_.path / "snapshots" / kHashA);
      link(kHashA, "config.json", "shared", "12345");
      link(kHashA, "a.safetensors", "only-a", "aaa");
    }
  }
}

TEST_F(Removals, UsageTellsOrphansAndPartialDownloadsFromWhatIsUsed) {
  write(repo_.path / "blobs/orphan", "123456");
  write(repo_.path / "blobs/etag.incomplete", "12");
  const RepoUsage usage = usage_of(repo_);
  EXPECT_EQ(usage.orphans, std::vector<fs::path>{fs::canonical(repo_.path / "blobs/orphan")});
  EXPECT_EQ(usage.orphan_bytes, 6u);
  EXPECT_EQ(usage.partials, std::vector<fs::path>{fs::canonical(repo_.path / "blobs/etag.incomplete")});
  EXPECT_EQ(usage.partial_bytes, 2u);
}

TEST_F(Removals, ALockIsAHeldFlockNotAFile) {
  const fs::path file = hub_ / ".locks/models--org--m/x.lock";
  write(file, "");
  EXPECT_EQ(lock_files(repo_.path), std::vector{file});
  EXPECT_TRUE(held_locks({file}).empty());
  const int descriptor = open(file.c_str(), O_RDWR);
  ASSERT_EQ(flock(descriptor, LOCK_EX), 0);
  EXPECT_EQ(held_locks({file}), std::vector{file});
  EXPECT_FALSE(FileLock::try_lock(file).held());
  close(descriptor);
  EXPECT_TRUE(FileLock::try_lock(file).held());
}

}  // namespace
}  // namespace mlxk
