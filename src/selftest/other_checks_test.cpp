// The checks of files, speech models and embedding models, and the stored verdicts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <limits>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "hub/content_hash.h"
#include "selftest/selftest.h"
#include "selftest/speech_checks.h"
#include "selftest/testing/scripted_backend.h"
#include "selftest/verdicts.h"
#include "serving/model_loader.h"
#include "serving/testing/tiny_model.h"
#include "worker/convert_options.h"
#include "worker/worker.h"

namespace mlxk {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

using Vectors = std::function<std::vector<float>(const EncodedText& text, size_t rows)>;

/// An embedding model whose vectors are given.
class GivenVectors : public EmbeddingModel {
 public:
  explicit GivenVectors(Vectors vectors) : vectors_(std::move(vectors)) {
    facts_ = {.model_type = "bert",
              .vocab_size = 300,
              .context_length = 64,
              .weight_bytes = uint64_t{1} << 30,
              .embedding = EmbeddingFacts{2, 64, {}}};
  }
  const ModelFacts& facts() const override { return facts_; }
  void check(const EmbedRequest&) const override {}
  std::unique_ptr<Sequence> start(EmbedRequest request) override {
    auto texts = std::make_unique<Texts>();
    texts->request = std::move(request);
    return texts;
  }
  void step(std::span<Sequence* const> running, const StepSink& sink) override {
    for (size_t i = 0; i < running.size(); ++i) {
      const auto& texts = static_cast<Texts&>(*running[i]).request.texts;
      for (size_t k = 0; k < texts.size(); ++k) sink(i, VectorEvent{k, {.vector = vectors_(texts[k], texts.size())}});
      sink(i, DoneEvent{});
    }
  }

 private:
  struct Texts : Sequence {
    DoneEvent cancelled() const override { return {}; }
    EmbedRequest request;
  };
  Vectors vectors_;
  ModelFacts facts_;
};

class GivenBackend : public testing::ScriptedBackend {
 public:
  explicit GivenBackend(Vectors vectors) : ScriptedBackend({}), vectors_(std::move(vectors)) {}
  std::unique_ptr<EngineModel> load(ModelKind kind, const fs::path& dir, const LoadOptions& options,
                                    const ProgressSink& progress) override {
    if (kind != ModelKind::embedding) return ScriptedBackend::load(kind, dir, options, progress);
    return std::make_unique<GivenVectors>(vectors_);
  }

 private:
  Vectors vectors_;
};

/// The direction that the question and the text about rice share: the letter "r".
std::vector<float> by_rice(const EncodedText& text, size_t) {
  for (size_t i = 0; i + 3 < text.ids.size(); ++i) {
    if (text.ids[i] == 'r' && text.ids[i + 1] == 'i' && text.ids[i + 2] == 'c') return {2, 1};
  }
  return {-1, 1};
}

class OtherChecks : public ::testing::Test {
 protected:
  OtherChecks() { setenv("HF_HOME", (folder_ / "hf").c_str(), 1); }
  ~OtherChecks() override {
    unsetenv("HF_HOME");
    fs::remove_all(folder_);
  }

  std::vector<CheckResult> check(const Vectors& vectors, const std::vector<std::string>& labels = {}) {
    testing::write_tiny_embedder(folder_ / "model", labels);
    Worker worker([&] { return std::make_unique<GivenBackend>(vectors); });
    const auto model = open_model(info())->read(worker, {}, {});
    return check_model(worker, model, options_).checks;
  }
  ModelInfo info() const { return probe_model({"tiny", folder_ / "model", "", false, ""}); }
  CheckFinding finding(const std::vector<CheckResult>& checks, const char* name) {
    for (const CheckResult& one : checks) {
      if (one.name == name) return one.finding;
    }
    return {};
  }
  void expect(const CheckFinding& finding, Outcome outcome, const char* reason) {
    EXPECT_EQ(finding.outcome, outcome) << finding.reason;
    EXPECT_THAT(finding.reason, HasSubstr(reason));
  }

  fs::path folder_ = fs::temp_directory_path() / ("mlxk_other_checks_" + std::to_string(getpid()));
  SelftestOptions options_;
};

TEST_F(OtherChecks, AnEmbeddersContract) {
  for (const char* name : {"vectors", "batch", "order"}) expect(finding(check(by_rice), name), Outcome::passed, "");
  expect(finding(check([](auto&, size_t) { return std::vector<float>{0, 0}; }), "vectors"), Outcome::failed,
         "a vector has the length 0.0000");
  expect(finding(check([](auto&, size_t) { return std::vector<float>{1, std::numeric_limits<float>::quiet_NaN()}; }),
                 "vectors"),
         Outcome::failed, "not finite");
  expect(finding(check([](auto&, size_t) { return std::vector<float>{1}; }), "vectors"), Outcome::failed,
         "1 numbers instead of 2");
  expect(finding(check([](auto&, size_t rows) { return std::vector<float>{static_cast<float>(rows), 1}; }), "batch"),
         Outcome::failed, "text 1 of 3 is off by 2");
  expect(finding(check([](auto& text, size_t) {
                   return std::vector<float>{by_rice(text, 1)[0],
                                             text.ids[1] == 'q' || text.ids[1] == 'T' ? 5.0F : 0.0F};
                 }),
                 "order"),
         Outcome::failed, "for related texts");
}

TEST_F(OtherChecks, ARerankersContract) {
  const auto score = [](float near, float far) {
    return [=](const EncodedText& text, size_t) {
      const bool about_law = std::find(text.ids.begin(), text.ids.end(), 'B') == text.ids.end();
      return std::vector<float>{about_law ? far : near};
    };
  };
  expect(finding(check(score(3, -3), {"relevance"}), "order"), Outcome::passed, "");
  expect(finding(check(score(-3, 3), {"relevance"}), "order"), Outcome::failed, "");
}

TEST_F(OtherChecks, ASpeechModelHearsTheClip) {
  testing::write_tiny_whisper(folder_ / "model");
  Worker worker([&] { return std::make_unique<testing::ScriptedBackend>(testing::Script{}); });
  const auto model = open_model(info())->read(worker, {}, {});
  expect(check_model(worker, model, options_).checks.at(0).finding, Outcome::skipped, "% of the words are wrong");
  options_.strict = true;
  expect(check_model(worker, model, options_).checks.at(0).finding, Outcome::failed, "% of the words are wrong");
}

TEST(WordErrorRate, CountsEdits) {
  EXPECT_DOUBLE_EQ(word_error_rate("ask not what", "Ask, not: WHAT"), 0);
  EXPECT_DOUBLE_EQ(word_error_rate("ask not what you", "ask what you"), 0.25);
  EXPECT_DOUBLE_EQ(word_error_rate("ask not what you", "ask not not what you"), 0.25);
  EXPECT_DOUBLE_EQ(word_error_rate("ask not", ""), 1);
}

TEST_F(OtherChecks, Files) {
  const auto outcomes = [&] {
    std::vector<Outcome> all;
    for (const CheckResult& one : check_files(info(), options_).checks) all.push_back(one.finding.outcome);
    return all;
  };
  testing::write_tiny_model(folder_ / "model");
  EXPECT_THAT(outcomes(), ElementsAre(Outcome::passed, Outcome::skipped));  // no recorded hashes
  const auto hash = hash_content(folder_ / "model");
  Json sentinel = {{"managed", true}};
  set_content_hash(sentinel, *hash, default_exclusions());
  std::ofstream(folder_ / "model" / ".mlxk_workspace.json") << dump_json(sentinel);
  EXPECT_THAT(outcomes(), ElementsAre(Outcome::passed, Outcome::passed));
  std::ofstream(folder_ / "model" / "README.md", std::ios::app) << "changed";
  EXPECT_THAT(outcomes(), ElementsAre(Outcome::passed, Outcome::failed));
  fs::remove(folder_ / "model" / "model.safetensors");
  EXPECT_EQ(outcomes().at(0), Outcome::failed);
}

TEST_F(OtherChecks, AVerdictIsKeptByTheModelsContent) {
  testing::write_tiny_model(folder_ / "model");
  EXPECT_FALSE(SelftestVerdicts().find(info()));
  SelftestResult result;
  result.checks = {
      {"batch", CheckFinding::failed("no")}, {"speed", CheckFinding::passed()}, {"vision", CheckFinding::skipped("")}};
  result.figures.tokens_per_s = 12.5;
  SelftestVerdicts verdicts;
  verdicts.keep(info(), verdict_of(result, {"cpu", "0", "avx2"}, true));
  fs::rename(folder_ / "model", folder_ / "moved");
  const ModelInfo moved = probe_model({"moved", folder_ / "moved", "", false, ""});
  for (const SelftestVerdicts& one : {verdicts, SelftestVerdicts()}) {
    const auto verdict = one.find(moved);
    ASSERT_TRUE(verdict);
    EXPECT_FALSE(verdict->good());
    EXPECT_EQ(verdict_text(verdict), "✗ batch");
    EXPECT_EQ(verdict->device, "cpu avx2");
    EXPECT_EQ(verdict->passed, 1U);
    EXPECT_EQ(verdict->skipped, 1U);
    EXPECT_TRUE(verdict->quick);
    EXPECT_DOUBLE_EQ(verdict->tokens_per_s, 12.5);
  }
  for (const auto& entry : fs::directory_iterator(folder_ / "moved"))
    EXPECT_THAT(entry.path().filename().string(), ::testing::Not(HasSubstr("selftest")));
  result.checks = {{"batch", CheckFinding::passed()}};
  verdicts.keep(moved, verdict_of(result, {"cpu", "0", "avx2"}, false));
  EXPECT_EQ(verdict_text(SelftestVerdicts().find(moved)), "✓");
  std::ofstream(folder_ / "moved" / "README.md", std::ios::app) << "changed";
  EXPECT_FALSE(SelftestVerdicts().find(probe_model({"moved", folder_ / "moved", "", false, ""})));
}

TEST_F(OtherChecks, BrokenVerdictsArePassedOver) {
  testing::write_tiny_model(folder_ / "model");
  fs::create_directories(SelftestVerdicts::folder());
  const std::string hash = hash_content(folder_ / "model")->value.substr(7);
  for (const std::string& text :
       std::vector<std::string>{"", "{", "[]", "{\"verdicts\": 1}",
                                "{\"size_bytes\": -1, \"verdicts\": [1, {}, {\"build\": 1, \"failed\": []}]}"}) {
    std::ofstream(SelftestVerdicts::folder() / (hash + ".json")) << text;
    EXPECT_FALSE(SelftestVerdicts().find(info())) << text;
  }
}

}  // namespace
}  // namespace mlxk
