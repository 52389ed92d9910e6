// The parts of pull that need no network: names, hashes of listings, partial files, waiting.
#include "hub/pull.h"

#include <gtest/gtest.h>

#include "base/digest.h"
#include "base/error.h"
#include "hub/hub_client.h"
#include "hub/hub_settings.h"
#include "hub/partial_file.h"
#include "hub/repo_id.h"
#include "hub/retry.h"
#include "hub/snapshot_writer.h"
#include "hub/testing/fake_cache.h"
#include "json/json.h"

namespace mlxk {
namespace {

using std::chrono::milliseconds;
using testing::FakeCache;
using testing::kHashA;
using testing::kHashB;

ErrorKind kind_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorKind::internal;
}

TEST(RepoSpec, HasANameAndARevision) {
  EXPECT_EQ(parse_repo_spec("org/name").name, "org/name");
  EXPECT_EQ(parse_repo_spec("org/name").revision, "");
  EXPECT_EQ(parse_repo_spec("gpt2@v1.0").name, "gpt2");
  EXPECT_EQ(parse_repo_spec("org/name@refs/pr/3").revision, "refs/pr/3");
}

TEST(RepoSpec, RefusesWhatTheHubCannotHave) {
  for (const char* spec : {"",       "@x",     "a/b/c",     "/a",    "a/",       "a//b",  "..",       "a/..",
                           "-a/b",   "a/b.",   "a--b",      "a/b c", "a/b\n",    "a/b@",  "a/b@../x", "a/b@/x",
                           "a/b@x/", "a/b@-x", "a/b@x/./y", "a/b@.", "a/b@x\\y", "a%2e/b"}) {
    EXPECT_EQ(kind_of([&] { parse_repo_spec(spec); }), ErrorKind::invalid) << spec;
  }
  EXPECT_EQ(parse_repo_spec(std::string(96, 'x')).name.size(), 96u);
  EXPECT_EQ(kind_of([&] { parse_repo_spec(std::string(97, 'x')); }), ErrorKind::invalid);
}

TEST(Digest, IsThatOfGitAndSha256) {
  EXPECT_EQ(Digest(Digest::Kind::sha1).add("blob 0").add({"\0", 1}).hex(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  EXPECT_EQ(Digest(Digest::Kind::sha256).add("a").add("bc").hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

class Partial : public FakeCache {
 protected:
  fs::path path_ = root_ / "x.mlxk.incomplete";
  std::string content_ = "0123456789abcdefghijklmnop";  // 26 bytes: pieces of 10, 10 and 6
};

TEST_F(Partial, IsTakenUpAtTheByte) {
  {
    PartialFile file(path_, 26, 10);
    ASSERT_EQ(file.pieces(), 3u);
    EXPECT_EQ(file.length(2), 6u);
    file.append(0, "0123456");
    file.append(2, "klm");
    file.append(2, "nop");
  }
  EXPECT_EQ(partial_bytes(path_, 26), 13u);
  EXPECT_EQ(partial_bytes(path_, 27), 0u) << "of another content";
  PartialFile file(path_, 26, 1000);
  ASSERT_EQ(file.pieces(), 3u) << "the pieces of whoever began";
  EXPECT_EQ(file.done(0), 7u);
  EXPECT_EQ(file.done(1), 0u);
  EXPECT_FALSE(file.complete());
  file.append(0, "789");
  file.append(1, "abcdefghij");
  EXPECT_TRUE(file.complete());
  EXPECT_TRUE(file.has_hash(Digest(Digest::Kind::sha256).add(content_).hex(), ""));
  EXPECT_TRUE(file.has_hash("", Digest(Digest::Kind::sha1).add("blob 26").add({"\0", 1}).add(content_).hex()));
  EXPECT_FALSE(file.has_hash("", kHashA));
  file.finish(root_ / "done");
  EXPECT_EQ(read_file(root_ / "done"), content_);
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(Partial, RefusesMoreThanAPieceHolds) {
  PartialFile file(path_, 26, 10);
  EXPECT_EQ(kind_of([&] { file.append(2, "1234567"); }), ErrorKind::internal);
}

TEST_F(Partial, BelievesNoMapThatDoesNotFit) {
  for (const std::string& text : {std::string("x"), std::string(25, 'x'), std::string(60, 'x'),
                                  std::string(26, 'x') + "MLXKMAP1" + std::string(40, '\xff')}) {
    testing::write(path_, text);
    EXPECT_EQ(PartialFile(path_, 26, 10).at_hand(), 0u);
  }
  testing::write(path_, std::string(26, 'x'));
  EXPECT_TRUE(PartialFile(path_, 26, 10).complete()) << "cut off, not yet renamed: the hash tells";
}

TEST_F(Partial, IsNeverWrittenThroughALink) {
  testing::write(root_ / "victim", "precious");
  fs::create_symlink(root_ / "victim", path_);
  EXPECT_EQ(kind_of([&] { PartialFile(path_, 26, 10); }), ErrorKind::io);
  fs::remove(path_);
  fs::create_directory(path_);
  EXPECT_EQ(kind_of([&] { PartialFile(path_, 26, 10); }), ErrorKind::io);
}

TEST_F(Partial, TakesThePrefixOfAnotherProgramOnce) {
  testing::write(root_ / "x.incomplete", content_.substr(0, 15));
  PartialFile file(path_, 26, 10);
  EXPECT_EQ(file.adopt(root_ / "x.incomplete"), 15u);
  EXPECT_EQ(file.done(0), 10u);
  EXPECT_EQ(file.done(1), 5u);
  PartialFile longer(root_ / "y", 10, 10);
  EXPECT_EQ(longer.adopt(root_ / "x.incomplete"), 0u) << "longer than the content";
}

TEST(Tree, ReadsGitAndLfsFiles) {
  std::vector<HubFile> files;
  const std::string sha(64, 'c');
  read_tree_page(Json::parse(R"([{"type":"directory","path":"sub","oid":"x","size":0},
      {"type":"file","path":"sub/w","oid":")" +
                             kHashA + R"(","size":7,"lfs":{"oid":")" + sha + R"(","size":9}},
      {"type":"file","path":"a","oid":")" +
                             kHashB + R"(","size":1}])"),
                 files);
  check_tree(files);
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].path, "a");
  EXPECT_EQ(files[0].etag(), kHashB);
  EXPECT_EQ(files[1].etag(), sha);
  EXPECT_EQ(files[1].size, 9u);
}

HttpReply reply(int status, HttpHeaders headers = {}) {
  HttpReply response;
  response.status = status;
  response.headers = std::move(headers);
  return response;
}

TEST(Retry, WaitsLongerEachTimeAndEnds) {
  Backoff backoff(4);
  milliseconds wait{};
  std::vector<milliseconds> waits;
  while (backoff.next(reply(500), wait)) waits.push_back(wait);
  ASSERT_EQ(waits.size(), 3u);
  for (size_t i = 0; i < waits.size(); ++i) {
    EXPECT_GE(waits[i], milliseconds{100 << i});
    EXPECT_LE(waits[i], milliseconds{200 << i});
  }
  backoff.reset();
  EXPECT_TRUE(backoff.next(reply(500), wait));
}

TEST(Retry, HeedsTheServersWish) {
  EXPECT_EQ(retry_after(reply(429, {{"retry-after", "7"}})), milliseconds{7000});
  EXPECT_EQ(retry_after(reply(429, {{"RateLimit", "\"api\";r=0;t=55"}})), milliseconds{55000});
  EXPECT_EQ(retry_after(reply(503, {{"Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"}})), milliseconds{0});
  EXPECT_EQ(retry_after(reply(503, {{"Retry-After", "Sun, 06 Nov 2094 08:49:37 GMT"}})), milliseconds{86'400'000});
  EXPECT_EQ(retry_after(reply(503, {{"Retry-After", "99999999999999999999"}})), milliseconds{86'400'000});
  EXPECT_EQ(retry_after(reply(503, {{"Retry-After", "-5"}})), milliseconds{0});
  EXPECT_EQ(retry_after(reply(503, {{"Retry-After", "soon"}})), milliseconds{0});
}

TEST(Retry, WaitsAFewMinutesInAll) {
  milliseconds wait{};
  EXPECT_FALSE(Backoff(8).next(reply(429, {{"Retry-After", "3600"}}), wait)) << "longer than it is worth";
  EXPECT_EQ(asked_wait(reply(429, {{"Retry-After", "3600"}})), " and asks to wait 3600 s");
  EXPECT_EQ(asked_wait(reply(429, {})), "");
  Backoff backoff(1000);
  milliseconds all{0};
  for (int i = 0; backoff.next(reply(503, {{"Retry-After", "50"}}), wait); ++i) {
    all += wait;
    backoff.reset();
    ASSERT_LT(i, 10);
  }
  EXPECT_LE(all, kLongestAskedWait);
  EXPECT_GE(all, milliseconds{100'000});
}

TEST(Retry, IsNoUseForARefusal) {
  EXPECT_TRUE(is_worth_retrying(reply(503)));
  EXPECT_FALSE(is_worth_retrying(reply(403)));
  EXPECT_FALSE(is_worth_retrying(reply(200)));
  HttpReply broken = reply(0);
  broken.failure = "x";
  EXPECT_FALSE(is_worth_retrying(broken));
  broken.transient = true;
  EXPECT_TRUE(is_worth_retrying(broken));
  broken.cancelled = true;
  EXPECT_FALSE(is_worth_retrying(broken));
}

TEST_F(FakeCache, AShortNameIsThatOfTheCommunityWhereCached) {
  add_model("mlx-community/tiny");
  add_model("org/other-long");
  EXPECT_EQ(expand_repo_name("tiny", hub_), "mlx-community/tiny");
  EXPECT_EQ(expand_repo_name("tin", hub_), "tin");
  EXPECT_EQ(expand_repo_name("other-long", hub_), "other-long");
  EXPECT_EQ(expand_repo_name("org/other", hub_), "org/other");
}

TEST_F(FakeCache, ASnapshotIsWrittenOnceAndMended) {
  const fs::path repo = hub_ / repo_folder("org/new"), locks = root_ / "locks";
  fs::create_directories(locks);
  const std::vector<HubFile> files = {{"a", 1, kHashA, "", ""}, {"sub/b", 1, kHashB, "", ""}};
  const HubRepo info{"org/new", std::string(40, 'f')};
  testing::write(repo / "blobs" / kHashA, "1");
  EXPECT_EQ(kind_of([&] { write_snapshot(repo, locks, info, files, files, "main"); }), ErrorKind::io);
  EXPECT_FALSE(fs::exists(repo / "snapshots"));
  testing::write(repo / "blobs" / kHashB, "2");
  const fs::path snapshot = write_snapshot(repo, locks, info, files, files, "main");
  EXPECT_EQ(read_file(snapshot / "sub/b"), "2");
  EXPECT_EQ(read_file(repo / "refs/main"), info.commit);
  EXPECT_TRUE(is_written(repo, info, files, "main"));
  EXPECT_EQ(recorded_tree(repo, info.commit).size(), 2u);
  fs::remove(snapshot / "a");
  testing::write(snapshot / "a", "edited");
  EXPECT_FALSE(is_written(repo, info, files, "main"));
  write_snapshot(repo, locks, info, files, files, "main");
  EXPECT_EQ(read_file(snapshot / "a"), "1");
}

TEST(Settings, HideTheToken) {
  HubSettings settings;
  settings.token = "hf_x";
  EXPECT_EQ(without_token("a hf_x b hf_xhf_x", settings), "a … b ……");
  settings.token.clear();
  EXPECT_EQ(without_token("a", settings), "a");
}

}  // namespace
}  // namespace mlxk
