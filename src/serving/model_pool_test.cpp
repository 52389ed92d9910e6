#include "serving/model_pool.h"

#include <sys/stat.h>

#include <atomic>
#include <future>
#include <thread>

#include "base/error.h"
#include "hub/testing/fake_cache.h"
#include "serving/memory_room.h"
#include "serving/model_names.h"
#include "serving/testing/tiny_model.h"
#include "speech/vocabulary.h"
#include "worker/testing/fake_backend.h"
#include "worker/testing/fake_speech.h"
#include "worker/worker.h"

#ifdef __linux__
#include <sys/inotify.h>
#endif

namespace mlxk {
namespace {

using namespace std::chrono_literals;

constexpr const char* kTokenizer = R"({"version":"1.0","added_tokens":[],"decoder":{"type":"Fuse"},)"
                                   R"("model":{"type":"WordLevel","vocab":{"a":0,"b":1},"unk_token":"a"}})";

/// Has speech models too.
struct HearingBackend : testing::FakeBackend {
  using FakeBackend::FakeBackend;
  std::unique_ptr<EngineModel> load(ModelKind kind, const std::filesystem::path& folder, const LoadOptions& options,
                                    const ProgressSink& progress) override {
    if (kind != ModelKind::speech) return FakeBackend::load(kind, folder, options, progress);
    progress("weights", 1, 1);
    return std::make_unique<testing::FakeSpeechModel>();
  }
};

class ModelPoolTest : public testing::FakeCache {
 protected:
  void add(const std::string& name, const std::string& hash = testing::kHashA) {
    make_runnable(add_model("mlx-community/" + name, hash));
  }
  void add_speech(const std::string& name) {
    const fs::path folder = add_model("mlx-community/" + name, testing::kHashA);
    testing::write(folder / "config.json", R"({"model_type":"whisper","n_mels":80,"n_vocab":51865})");
  }
  void add_embedder(const std::string& name) {
    testing::write_tiny_embedder(add_model("mlx-community/" + name, testing::kHashA));
  }
  void make_runnable(const fs::path& folder) {
    testing::write(folder / "config.json", R"({"model_type":"llama","quantization":{"bits":4,"group_size":64}})");
    testing::write(folder / "tokenizer.json", kTokenizer);
  }
  ModelPool& pool(PoolOptions options = {}) {
    if (!pool_) {
      options.machine = [this] { return machine_; };
      pool_ = std::make_unique<ModelPool>(worker_, std::move(options));
    }
    return *pool_;
  }
  static PoolOptions one_model() {
    PoolOptions options;
    options.max_models = 1;
    options.turn = 0ms;
    return options;
  }
  ErrorKind refusal(const std::string& spec, const RequestFacts& facts = {}) {
    try {
      pool().acquire(spec, facts);
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::internal;
  }
  std::vector<std::string> loaded() {
    std::vector<std::string> ids;
    for (const auto& entry : pool().list()) {
      if (entry.loaded) ids.push_back(entry.id);
    }
    return ids;
  }
  template <class Condition>
  static bool soon(Condition&& condition) {
    for (int i = 0; i < 1000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(5ms);
    }
    return false;
  }
  using Names = std::vector<std::string>;

  Machine machine_;
  std::shared_ptr<testing::FakeCounters> counters_ = std::make_shared<testing::FakeCounters>();
  Worker worker_{[this] { return std::make_unique<HearingBackend>(counters_); }};
  std::unique_ptr<ModelPool> pool_;
};

TEST_F(ModelPoolTest, ManyAtOnceLoadItOnce) {
  add("A");
  std::vector<std::future<std::shared_ptr<const ServedModel>>> requests;
  pool();
  for (int i = 0; i < 8; ++i)
    requests.push_back(std::async(std::launch::async, [&] { return pool().acquire("A", {}); }));
  std::vector<std::shared_ptr<const ServedModel>> models;
  for (auto& request : requests) models.push_back(request.get());
  for (const auto& model : models) EXPECT_EQ(model.get(), models.front().get());
  EXPECT_EQ(counters_->models, 1);
}

TEST_F(ModelPoolTest, TwoSpellingsAreOneModel) {
  add("Alpha");
  const auto model = pool().acquire("Alpha", {});
  EXPECT_EQ(pool().acquire("mlx-community/Alpha", {}).get(), model.get());
  EXPECT_EQ(pool().acquire("alph", {}).get(), model.get());
  EXPECT_EQ(pool().acquire("Alpha@aaaa", {}).get(), model.get());
  EXPECT_EQ(loaded(), Names{"mlx-community/Alpha"});
}

TEST_F(ModelPoolTest, WhatNoModelIsCalledIsNotFoundAndUnloadsNothing) {
  add("A");
  pool(one_model()).acquire("A", {});
  const fs::path outside = root_ / "outside";
  make_runnable(outside);
  const std::vector<std::string> names = {"",
                                          "missing",
                                          ".",
                                          "..",
                                          "/",
                                          outside.string(),
                                          "./outside",
                                          "../outside",
                                          "x/../../outside",
                                          "~",
                                          "~/x",
                                          "-A",
                                          "--help",
                                          "%2e%2e",
                                          "%2e%2e/%2e%2e/etc",
                                          "a\\..\\b",
                                          "A\n",
                                          std::string("A\0b", 3),
                                          "A\x7f",
                                          "a//b",
                                          "A/",
                                          "/A",
                                          ".hidden",
                                          std::string(5000, 'x'),
                                          "mlx-community/../A"};
  for (const std::string& name : names) EXPECT_EQ(refusal(name), ErrorKind::not_found) << name;
  EXPECT_EQ(loaded(), Names{"mlx-community/A"});
}

TEST_F(ModelPoolTest, SeveralMatchesAreNamed) {
  add("Alpha");
  add("Alphabet");
  EXPECT_EQ(refusal("alph"), ErrorKind::ambiguous);
  try {
    ModelNames("").resolve("alph");
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "Multiple models match 'alph': mlx-community/Alpha, mlx-community/Alphabet");
  }
}

#ifdef __linux__
TEST_F(ModelPoolTest, APathIsNotLookedAt) {
  const fs::path outside = root_ / "outside";
  fs::create_directories(outside);
  ASSERT_EQ(mkfifo((outside / "config.json").c_str(), 0600), 0);  // opening it would wait for ever
  const int watch = inotify_init1(IN_NONBLOCK);
  ASSERT_GE(inotify_add_watch(watch, root_.c_str(), IN_OPEN | IN_ACCESS), 0);
  ASSERT_GE(inotify_add_watch(watch, outside.c_str(), IN_OPEN | IN_ACCESS), 0);
  pool();
  char events[4096];
  while (read(watch, events, sizeof events) > 0) {  // earlier events
  }
  EXPECT_EQ(refusal(outside.string()), ErrorKind::not_found);
  EXPECT_EQ(refusal("../" + outside.filename().string()), ErrorKind::not_found);
  EXPECT_LT(read(watch, events, sizeof events), 0) << "something was opened";
  close(watch);
}
#endif

TEST_F(ModelPoolTest, AWorkspaceIsKnownByItsNameUnlessItLeavesItsHome) {
  make_runnable(add_workspace("mine"));
  make_runnable(root_ / "elsewhere");
  fs::create_directory_symlink(root_ / "elsewhere", workspaces_ / "link");
  fs::create_directory_symlink(workspaces_ / "mine", workspaces_ / "alias");
  const auto model = pool().acquire("mine", {});
  EXPECT_EQ(model->info().ref.name, "mine");
  EXPECT_EQ(pool().acquire("alias", {}).get(), model.get());
  EXPECT_EQ(refusal("link"), ErrorKind::not_found);
  ASSERT_EQ(pool().list().size(), 1u);
  EXPECT_EQ(pool().list()[0].id, "mine");
}

TEST_F(ModelPoolTest, AWorkspaceWhoseFilesLinkOutOfTheHomeIsNotServed) {
  make_runnable(add_workspace("mine"));
  make_runnable(add_workspace("leaky"));
  testing::write(root_ / "secret", "{}");
  fs::create_symlink(root_ / "secret", workspaces_ / "leaky" / "added_tokens.json");
  fs::create_symlink(workspaces_ / "mine" / "config.json", workspaces_ / "mine" / "again.json");
  EXPECT_EQ(refusal("leaky"), ErrorKind::not_found);
  ASSERT_EQ(pool().list().size(), 1u);
  EXPECT_EQ(pool().list()[0].id, "mine");
}

TEST_F(ModelPoolTest, AFolderIsServedWhenItIsPinnedAndStays) {
  add("A");
  const fs::path folder = root_ / "somewhere" / "model";
  make_runnable(folder);
  testing::write(folder / "model.safetensors", testing::tiny_safetensors());
  make_runnable(root_ / "somewhere" / "other");
  PoolOptions options = one_model();
  options.max_models = 2;
  options.pinned = folder.string();
  const auto model = pool(options).acquire(folder.string(), {});
  EXPECT_EQ(pool().list().front().id, folder.string());
  EXPECT_TRUE(pool().list().front().pinned);
  EXPECT_EQ(refusal((root_ / "somewhere" / "other").string()), ErrorKind::not_found);
  EXPECT_EQ(refusal(folder.string() + "/"), ErrorKind::not_found);
  add("B");
  pool().acquire("A", {});
  pool().acquire("B", {});
  EXPECT_EQ(loaded(), (Names{folder.string(), "mlx-community/B"}));
  EXPECT_THROW(pool().unload(folder.string()), Error);
}

TEST_F(ModelPoolTest, NothingFitsBesideAPinnedModelThatFillsTheRoom) {
  add("A");
  add("B");
  PoolOptions options = one_model();
  options.pinned = "A";
  pool(options).acquire("A", {});
  EXPECT_EQ(refusal("B"), ErrorKind::memory);
  EXPECT_EQ(loaded(), Names{"mlx-community/A"});
}

TEST_F(ModelPoolTest, TheLeastRecentlyUsedLeavesFirst) {
  for (const char* name : {"A", "B", "C"}) add(name);
  PoolOptions options;
  options.max_models = 2;
  pool(options).acquire("A", {});
  pool().acquire("B", {});
  pool().acquire("A", {});
  pool().acquire("C", {});
  EXPECT_EQ(loaded(), (Names{"mlx-community/A", "mlx-community/C"}));
}

TEST_F(ModelPoolTest, TheOldOneIsFreedBeforeTheNewOneIsLoaded) {
  add("A");
  add("B");
  const uint64_t bytes = weights_of(pool().describe("A"));
  ASSERT_GT(bytes, 0u);
  machine_.memory_bytes = bytes * 2;  // 70 %: room for one
  pool().acquire("A", {});
  pool().acquire("B", {});
  EXPECT_EQ(counters_->models_at_load, 0);
  EXPECT_EQ(loaded(), Names{"mlx-community/B"});
  machine_.memory_bytes = bytes * 4;
  pool().acquire("A", {});
  EXPECT_EQ(loaded().size(), 2u);
}

TEST_F(ModelPoolTest, RequestsOfARunningModelEndBeforeItLeaves) {
  add("A");
  add("B");
  auto running = pool(one_model()).acquire("A", {});
  std::atomic<bool> ready{false};
  auto other = std::async(std::launch::async, [&] {
    auto model = pool().acquire("B", {});
    ready = true;
    return model;
  });
  EXPECT_TRUE(soon([&] { return loaded().empty(); })) << "it takes no more requests";
  EXPECT_FALSE(ready);
  EXPECT_EQ(counters_->models, 1);
  running.reset();
  EXPECT_NE(other.get(), nullptr);
  EXPECT_EQ(counters_->models_at_load, 0);
}

TEST_F(ModelPoolTest, WhoGetsNoRoomInTimeIsToldToComeAgainAndTheOtherGoesOn) {
  add("A");
  add("B");
  PoolOptions options = one_model();
  options.room_wait = 30ms;
  const auto running = pool(options).acquire("A", {});
  try {
    pool().acquire("B", {});
    FAIL();
  } catch (const RetryLater& error) {
    EXPECT_GT(error.retry_after_s(), 0);
    EXPECT_EQ(error.kind(), ErrorKind::unavailable);
  }
  EXPECT_EQ(pool().acquire("A", {}).get(), running.get());
}

TEST_F(ModelPoolTest, TwoThatNeedTheSameRoomBothGetTheirTurn) {
  add("A");
  add("B");
  pool(one_model());
  std::vector<std::future<bool>> requests;
  for (int i = 0; i < 12; ++i) {
    requests.push_back(
        std::async(std::launch::async, [&, i] { return pool().acquire(i % 2 ? "A" : "B", {}) != nullptr; }));
  }
  for (auto& request : requests) EXPECT_TRUE(request.get());
  EXPECT_EQ(counters_->wrong_thread, 0);
}

TEST_F(ModelPoolTest, WhatCannotBeLoadedLeavesTheOthersServing) {
  add("A");
  add("Broken");
  testing::write(pool(one_model()).describe("Broken").ref.path / "tokenizer.json", "{");
  const auto model = pool().acquire("A", {});
  EXPECT_NE(refusal("Broken"), ErrorKind::internal);
  EXPECT_EQ(pool().acquire("A", {}).get(), model.get());
  EXPECT_EQ(loaded(), Names{"mlx-community/A"});
}

TEST_F(ModelPoolTest, PolicyComesBeforeAnythingIsUnloaded) {
  add("A");
  add("Strange");
  testing::write(hub_ / "models--mlx-community--Strange" / "snapshots" / testing::kHashA / "config.json",
                 R"({"model_type":"unheard_of"})");
  pool(one_model()).acquire("A", {});
  EXPECT_EQ(refusal("Strange"), ErrorKind::unsupported);
  EXPECT_EQ(refusal("A", {.has_images = true}), ErrorKind::invalid);
  EXPECT_EQ(loaded(), Names{"mlx-community/A"});
}

TEST_F(ModelPoolTest, WhatIsDeletedOnDiskIsServedWhileItIsLoaded) {
  add("A");
  const auto model = pool().acquire("A", {});
  fs::remove_all(hub_ / "models--mlx-community--A");
  EXPECT_EQ(pool().acquire("A", {}).get(), model.get());
  EXPECT_EQ(refusal("B"), ErrorKind::not_found);
}

TEST_F(ModelPoolTest, AnIdleModelIsFreedAndAPinnedOneIsNot) {
  for (const char* name : {"A", "B", "C"}) add(name);
  PoolOptions options;
  options.idle_timeout = 30ms;
  options.pinned = "B";
  pool(options).acquire("B", {});
  auto model = pool().acquire("A", {});
  pool().acquire("C", {});
  EXPECT_TRUE(soon([&] { return loaded() == Names{"mlx-community/B", "mlx-community/A"}; })) << "A is in use";
  model.reset();
  EXPECT_TRUE(soon([&] { return loaded() == Names{"mlx-community/B"}; }));
  EXPECT_TRUE(soon([&] { return counters_->models == 1; }));
}

TEST_F(ModelPoolTest, UnloadingFreesItOnceItsRequestsHaveEnded) {
  add("A");
  add("B");
  auto model = pool().acquire("A", {});
  pool().acquire("B", {});
  pool().unload("A");
  pool().unload("B");
  EXPECT_TRUE(soon([&] { return counters_->models == 1; })) << "B is freed, A is in use";
  model.reset();
  EXPECT_TRUE(soon([&] { return counters_->models == 0; }));
  EXPECT_TRUE(soon([&] { return loaded().empty(); }));
  // Its last bytes are freed a moment later than it stops being listed; until then unloading it again is no error.
  EXPECT_TRUE(soon([&] {
    try {
      pool().unload("A");
      return false;
    } catch (const Error& error) {
      return error.kind() == ErrorKind::not_found;
    }
  }));
  EXPECT_NE(pool().acquire("A", {}), nullptr);
}

TEST_F(ModelPoolTest, StoppingRefusesWhoeverWaits) {
  add("A");
  add("B");
  const auto running = pool(one_model()).acquire("A", {});
  auto waiting = std::async(std::launch::async, [&] { return refusal("B"); });
  EXPECT_TRUE(soon([&] { return loaded().empty(); })) << "it makes room";
  pool().stop();
  EXPECT_EQ(waiting.get(), ErrorKind::unavailable);
}

TEST_F(ModelPoolTest, ASpeechModelIsServedBesideATextModel) {
  add("A");
  add_speech("whisper-tiny");
  const RequestFacts recording{.has_audio = true};
  const auto speech = as_speech(pool().acquire("whisper-tiny", recording));
  EXPECT_TRUE(std::get<std::shared_ptr<const SpeechVocabulary>>(speech->vocabulary())->multilingual());
  const auto text = as_text(pool().acquire("A", RequestFacts{}));
  EXPECT_EQ(loaded(), (Names{"mlx-community/A", "mlx-community/whisper-tiny"}));
  EXPECT_EQ(pool().acquire("whisper-tiny", {}).get(), speech.get()) << "for what it is for";
  EXPECT_EQ(refusal("A", recording), ErrorKind::invalid);
  EXPECT_EQ(refusal("whisper-tiny", RequestFacts{}), ErrorKind::invalid);
  EXPECT_THROW(as_text(speech), Error);
}

TEST_F(ModelPoolTest, TextAndSpeechLeaveForEachOther) {
  add("A");
  add_speech("whisper-tiny");
  pool(one_model()).acquire("A", {});
  pool().acquire("whisper-tiny", {});
  EXPECT_EQ(loaded(), Names{"mlx-community/whisper-tiny"});
  pool().acquire("A", {});
  EXPECT_EQ(loaded(), Names{"mlx-community/A"});
  EXPECT_EQ(refusal("whisper-tiny", RequestFacts{}), ErrorKind::invalid) << "Policy comes first";
  EXPECT_EQ(loaded(), Names{"mlx-community/A"});
}

TEST_F(ModelPoolTest, ASpeechModelCanBePinned) {
  add("A");
  add_speech("whisper-tiny");
  PoolOptions options;
  options.pinned = "whisper-tiny";
  pool(options).acquire("whisper-tiny", {});
  EXPECT_TRUE(pool().ready());
  EXPECT_TRUE(pool().list().front().pinned);
  EXPECT_THROW(pool().unload("whisper-tiny"), Error);
}

TEST_F(ModelPoolTest, AnEmbedderIsServedBesideATextModelAndLeavesForIt) {
  add("A");
  add_embedder("vectors");
  const RequestFacts embeds{.context = Context::server, .encodes = EncoderTask::embed};
  pool().acquire("vectors", embeds);
  pool().acquire("A", RequestFacts{});
  EXPECT_EQ(loaded(), (Names{"mlx-community/A", "mlx-community/vectors"}));
  EXPECT_EQ(refusal("A", embeds), ErrorKind::invalid);
  EXPECT_EQ(refusal("vectors", RequestFacts{}), ErrorKind::invalid);
  pool_.reset();
  pool(one_model()).acquire("vectors", embeds);
  EXPECT_EQ(loaded(), Names{"mlx-community/vectors"});
  pool().acquire("A", RequestFacts{});
  EXPECT_EQ(loaded(), Names{"mlx-community/A"});
}

TEST_F(ModelPoolTest, AnEmbedderCanBePinned) {
  add("A");
  add_embedder("vectors");
  PoolOptions options = one_model();
  options.pinned = "vectors";
  pool(options).acquire("vectors", {});
  EXPECT_EQ(refusal("A"), ErrorKind::memory) << "there is no room beside it";
  EXPECT_EQ(loaded(), Names{"mlx-community/vectors"});
  EXPECT_THROW(pool().unload("vectors"), Error);
}

TEST_F(ModelPoolTest, AModelMayOutliveThePool) {
  add("A");
  const auto model = pool().acquire("A", {});
  pool_.reset();
  EXPECT_EQ(model->info().ref.name, "mlx-community/A");
}

TEST(MemoryRoom, SeventyPercentAndWhatIsFree) {
  EXPECT_TRUE(fits_beside(30, 40, {100, 0, ""}));
  EXPECT_FALSE(fits_beside(31, 40, {100, 0, ""}));
  EXPECT_FALSE(fits_beside(30, 0, {100, 29, ""}));
  EXPECT_TRUE(fits_beside(1'000, 1'000, {}));
}

TEST(MemoryRoom, AnEncoderAlsoTakesItsUnpackedWeights) {
  ModelInfo model;
  model.weight_bytes = 1000;
  EXPECT_EQ(room_of(model), 1000);
  model.encoder_task = EncoderTask::embed;
  EXPECT_EQ(room_of(model), 9000);
  model.weight_bytes = uint64_t{1} << 30;
  EXPECT_EQ(room_of(model), (uint64_t{1} << 30) + (uint64_t{256} << 20));
}

TEST(MemoryRoom, WaitsOnlyForWhatTheModelNeeds) {
  ModelInfo small, large;
  small.weight_bytes = 100;
  large.weight_bytes = uint64_t{100} << 30;
  int asked = 0;
  const auto frees_later = [&] {
    return Machine{uint64_t{200} << 30, ++asked < 3 ? uint64_t{1} << 30 : uint64_t{9} << 30, ""};
  };
  EXPECT_TRUE(wait_for_release(small, frees_later, 0ms));
  EXPECT_EQ(asked, 1);
  EXPECT_TRUE(wait_for_release(large, frees_later, 10s)) << "8 GiB are enough";
  EXPECT_FALSE(wait_for_release(large, [] { return Machine{1, 1, ""}; }, 0ms));
}

}  // namespace
}  // namespace mlxk
