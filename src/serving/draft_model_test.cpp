#include "serving/draft_model.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "hub/testing/fake_cache.h"
#include "serving/model_pool.h"
#include "worker/testing/fake_backend.h"
#include "worker/worker.h"

namespace mlxk {
namespace {

/// Records the model that it was asked to load.
struct Recording : testing::FakeBackend {
  using Loads = std::map<std::string, LoadOptions>;
  Recording(std::shared_ptr<testing::FakeCounters> counters, Loads& loads)
      : FakeBackend(std::move(counters)), loads(loads) {}
  std::unique_ptr<EngineModel> load(ModelKind kind, const std::filesystem::path& folder, const LoadOptions& options,
                                    const ProgressSink& progress) override {
    loads[folder.string()] = options;
    return FakeBackend::load(kind, folder, options, progress);
  }
  Loads& loads;
};

class DraftModel : public testing::FakeCache {
 protected:
  fs::path add(const std::string& name, const std::string& vocab = R"("a":0,"b":1)",
               const std::string& config = R"({"model_type":"llama","quantization":{"bits":4,"group_size":64}})") {
    const fs::path folder = add_model("mlx-community/" + name);
    testing::write(folder / "config.json", config);
    testing::write(folder / "tokenizer.json", R"({"version":"1.0","added_tokens":[],"decoder":{"type":"Fuse"},)"
                                              R"("model":{"type":"WordLevel","vocab":{)" +
                                                  vocab + R"(},"unk_token":"a"}})");
    return folder;
  }
  Error refusal(const std::string& draft) {
    try {
      find_draft(draft, probe_model(resolve_model("Target")), machine_, Context::server);
    } catch (const Error& error) {
      return error;
    }
    return Error(ErrorKind::internal, "was taken");
  }

  Machine machine_;
};

TEST_F(DraftModel, IsAnotherModelOfTheSameVocabulary) {
  add("Target");
  const fs::path folder = add("Small");
  EXPECT_EQ(find_draft("Small", probe_model(resolve_model("Target")), machine_, Context::cli).ref.path, folder);
  EXPECT_EQ(find_draft(folder.string(), probe_model(resolve_model("Target")), machine_, Context::cli).ref.path, folder);
}

TEST_F(DraftModel, OfAnotherVocabularyIsRefusedWithTheFirstDifference) {
  add("Target");
  add("Longer", R"("a":0,"b":1,"c":2)");
  add("Other", R"("a":0,"c":1)");
  EXPECT_EQ(refusal("Longer").kind(), ErrorKind::invalid);
  EXPECT_NE(std::string(refusal("Longer").what()).find("3 tokens, not 2"), std::string::npos)
      << refusal("Longer").what();
  EXPECT_NE(std::string(refusal("Other").what()).find("token 1 is 'c', not 'b'"), std::string::npos)
      << refusal("Other").what();
}

TEST_F(DraftModel, ThatIsMissingOrBlockedIsNamedAsTheDraft) {
  add("Target");
  add("Unknown", R"("a":0,"b":1)",
      R"({"model_type":"no_such_architecture","quantization":{"bits":4,"group_size":64}})");
  EXPECT_EQ(refusal("Missing").kind(), ErrorKind::not_found);
  EXPECT_EQ(refusal("Unknown").kind(), ErrorKind::unsupported);
  for (const char* name : {"Missing", "Unknown"})
    EXPECT_EQ(std::string(refusal(name).what()).rfind("the draft model: ", 0), 0);
}

TEST_F(DraftModel, BelongsToThePinnedModelAlone) {
  const auto target = add("Target"), other = add("Another"), draft = add("Small");
  Recording::Loads loads;
  const auto counters = std::make_shared<testing::FakeCounters>();
  Worker worker([&] { return std::make_unique<Recording>(counters, loads); });
  ModelPool pool(worker, {.pinned = "Target", .draft = "Small", .machine = [] { return Machine{}; }});
  EXPECT_EQ(counters->models, 0);
  pool.acquire("Another", {});
  pool.acquire("Target", {});
  EXPECT_EQ(loads.at(target.string()).draft_dir, draft);
  EXPECT_EQ(loads.at(other.string()).draft_dir, "");
}

TEST_F(DraftModel, AWrongOneEndsTheStartBeforeAnythingIsLoaded) {
  add("Target");
  add("Other", R"("a":0,"c":1)");
  const auto counters = std::make_shared<testing::FakeCounters>();
  Worker worker([&] { return std::make_unique<testing::FakeBackend>(counters); });
  EXPECT_THROW(ModelPool(worker, {.pinned = "Target", .draft = "Other"}), Error);
  EXPECT_EQ(counters->models, 0);
}

TEST_F(DraftModel, ItsWeightsTakeRoomBesideThePinnedModel) {
  add("Target");
  add("Small");
  add("Another");
  const uint64_t bytes = probe_model(resolve_model("Target")).weight_bytes;
  machine_ = {.memory_bytes = bytes * 29 / 7};  // of which 70 % hold two, not three
  const auto counters = std::make_shared<testing::FakeCounters>();
  Worker worker([&] { return std::make_unique<testing::FakeBackend>(counters); });
  const auto serves_both = [&](const std::string& draft) {
    ModelPool pool(worker, {.pinned = "Target", .draft = draft, .machine = [&] { return machine_; }});
    pool.acquire("Target", {});
    try {
      pool.acquire("Another", {});
      return true;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::memory);
      return false;
    }
  };
  EXPECT_TRUE(serves_both(""));
  EXPECT_FALSE(serves_both("Small"));
}

}  // namespace
}  // namespace mlxk
