#include "backend/embedding/embedder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "backend/embedding/batch_size.h"
#include "backend/embedding/texts_at_work.h"
#include "base/error.h"
#include "mlx/ops.h"
#include "models/load.h"
#include "models/testing/golden_model.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

EmbedRequest request_of(const std::vector<size_t>& lengths) {
  EmbedRequest request;
  for (const size_t length : lengths) request.texts.push_back({.ids = std::vector<int32_t>(length, 7)});
  return request;
}

/// The lengths of the texts of each step, until all are computed.
std::vector<std::vector<size_t>> steps_of(const std::vector<EmbedRequest>& requests, int64_t tokens) {
  std::vector<std::unique_ptr<TextsAtWork>> owned;
  std::vector<Sequence*> running;
  for (const EmbedRequest& one : requests)
    running.push_back(owned.emplace_back(std::make_unique<TextsAtWork>(one)).get());
  std::vector<std::vector<size_t>> steps;
  for (size_t turn = 0;; ++turn) {
    const auto chosen = choose_texts(running, turn % running.size(), tokens);
    if (chosen.empty()) return steps;
    auto& lengths = steps.emplace_back();
    for (const auto& [sequence, index] : chosen) lengths.push_back(owned[sequence]->text(index).ids.size());
  }
}

using Steps = std::vector<std::vector<size_t>>;

TEST(ChooseTexts, FillsAStepLongestFirst) {
  EXPECT_EQ(steps_of({request_of({2, 9, 4, 4})}, 10), (Steps{{9}, {4, 4, 2}}));
}

TEST(ChooseTexts, ALongerTextThanAStepGoesAlone) { EXPECT_EQ(steps_of({request_of({50, 3})}, 10), (Steps{{50}, {3}})); }

TEST(ChooseTexts, RequestsTakeTurns) {
  // The small request must not wait for the large one.
  const Steps steps = steps_of({request_of(std::vector<size_t>(20, 5)), request_of({2})}, 10);
  EXPECT_EQ(steps.front(), (std::vector<size_t>{5, 2}));
  EXPECT_EQ(steps.size(), 11);
}

TEST(BatchSize, KeepsAStepNearItsTime) {
  using std::chrono::milliseconds;
  BatchSize size;
  const int64_t first = size.tokens();
  size.learn(first, milliseconds(5));
  EXPECT_EQ(size.tokens(), 2 * first);
  size.learn(10, milliseconds(1));  // a small step tells nothing
  EXPECT_EQ(size.tokens(), 2 * first);
  size.learn(2 * first, milliseconds(100));
  EXPECT_EQ(size.tokens(), first);
  for (int i = 0; i < 20; ++i) size.learn(size.tokens(), milliseconds(500));
  EXPECT_EQ(size.tokens(), BatchSize::kMin);
  for (int i = 0; i < 20; ++i) size.learn(size.tokens(), milliseconds(1));
  EXPECT_EQ(size.tokens(), BatchSize::kMax);
}

/// Runs all requests together and returns the vectors of each.
std::vector<std::map<size_t, std::vector<float>>> vectors_of(EmbeddingModel& model,
                                                             std::vector<EmbedRequest> requests) {
  std::vector<std::unique_ptr<Sequence>> owned;
  for (EmbedRequest& one : requests) owned.push_back(model.start(std::move(one)));
  std::vector<std::map<size_t, std::vector<float>>> vectors(owned.size());
  std::vector<size_t> left(owned.size());
  for (size_t i = 0; i < left.size(); ++i) left[i] = i;
  while (!left.empty()) {
    std::vector<Sequence*> running;
    for (const size_t i : left) running.push_back(owned[i].get());
    std::vector<size_t> ended;
    model.step(running, [&](size_t index, const Event& event) {
      if (const auto* vector = std::get_if<VectorEvent>(&event))
        vectors[left[index]][vector->index] = vector->numbers.vector;
      if (std::holds_alternative<DoneEvent>(event)) ended.push_back(left[index]);
      EXPECT_FALSE(std::holds_alternative<FailedEvent>(event));
    });
    for (const size_t i : ended) std::erase(left, i);
  }
  return vectors;
}

/// Counts the rows that it computes.
class CountingEncoder : public Encoder {
 public:
  explicit CountingEncoder(int64_t& rows)
      : Encoder({.model_type = "bert", .vocab_size = 100, .hidden_size = 48, .context_length = 64}), rows_(rows) {}

 protected:
  mx::array encode(const EncoderInputs& inputs) const override {
    const auto rows = static_cast<int>(inputs.ids.size());
    rows_ += rows;
    return mx::ones({rows, 48});
  }
  mx::array classify(const mx::array& hidden, const std::vector<int>&) const override { return hidden; }
  mx::array predict_tokens(const mx::array& hidden) const override { return hidden; }
  mx::array weigh_tokens(const mx::array& hidden) const override { return hidden; }
  mx::array project_tokens(const mx::array& hidden) const override { return hidden; }

 private:
  int64_t& rows_;
};

TEST(Embedder, ComputesNoPadding) {
  const auto folder = golden::write_model("embedding/bert", golden::temp_folder("embedder_padding"));
  int64_t rows = 0;
  const auto model = make_embedding_model(std::make_unique<CountingEncoder>(rows), folder);
  std::vector<size_t> mixed;
  for (size_t i = 0; i < 200; ++i) mixed.push_back(1 + 31 * i % 64);
  const std::vector<EmbedRequest> requests = {request_of(mixed), request_of({64, 1, 1}), request_of({2})};
  int64_t tokens = 0;
  for (const EmbedRequest& request : requests) {
    for (const EncodedText& text : request.texts) tokens += static_cast<int64_t>(text.ids.size());
  }
  vectors_of(*model, requests);
  EXPECT_EQ(rows, tokens);
  fs::remove_all(folder);
}

EmbedRequest words(const std::vector<size_t>& lengths, int32_t seed) {
  EmbedRequest request;
  for (const size_t length : lengths) {
    EncodedText text;
    for (size_t i = 0; i < length; ++i)
      text.ids.push_back(static_cast<int32_t>((seed + 7919 * i + 31 * length) % 30000));
    request.texts.push_back(std::move(text));
  }
  return request;
}

/// BGE-M3's form: a vector of the text, weights of its tokens, vectors of all but the first one.
TEST(Embedder, GivesWhatIsAskedForInOnePass) {
  const auto folder = golden::write_model("embedding/xlm_roberta_m3", golden::temp_folder("embedder_m3"));
  for (const char* head : {"sparse_linear.pt", "colbert_linear.pt"}) {
    const auto file = golden::kCases / (std::string("embedding/xlm_roberta_m3.") + head);
    fs::copy_file(file, folder / head, fs::copy_options::overwrite_existing);
  }
  const auto model = make_embedding_model(load_encoder(folder), folder);
  const EmbeddingFacts& facts = *model->facts().embedding;
  EXPECT_TRUE(facts.sparse);
  EXPECT_EQ(facts.token_dimensions, 32);
  EmbedRequest request;
  request.texts.push_back({.ids = {5, 6, 7, 8}});
  request.texts.push_back({.ids = {9, 10}});
  request.outputs = {.vector = true, .sparse = true, .token_vectors = true};
  ASSERT_NO_THROW(model->check(request));
  const auto sequence = model->start(request);
  std::map<size_t, TextNumbers> numbers;
  Sequence* running[] = {sequence.get()};
  model->step(running, [&](size_t, const Event& event) {
    if (const auto* found = std::get_if<VectorEvent>(&event)) numbers[found->index] = found->numbers;
  });
  ASSERT_EQ(numbers.size(), 2);
  EXPECT_EQ(numbers[0].vector.size(), 48);
  EXPECT_EQ(numbers[0].sparse.ids, request.texts[0].ids);
  EXPECT_EQ(numbers[0].sparse.weights.size(), 4);
  EXPECT_EQ(numbers[0].token_vectors.size(), 3 * 32);
  EXPECT_EQ(numbers[1].token_vectors.size(), 32);

  request.outputs = {.vector = false, .predictions = 3};
  EXPECT_THROW(model->check(request), Error);  // it predicts no tokens
  fs::remove_all(folder);
}

TEST(TrainedEmbedder, AVectorsBitsDoNotDependOnTheOthers) {
  const char* models = std::getenv("MLXK_TEST_MODELS");
  const auto folder = fs::path(models ? models : "") / "all-MiniLM-L6-v2";
  if (!models || !fs::exists(folder)) GTEST_SKIP() << "MLXK_TEST_MODELS names no folder with this model";
  const auto model = make_embedding_model(load_encoder(folder), folder);
  EXPECT_EQ(model->facts().embedding->dimensions, 384);
  std::vector<size_t> lengths;
  for (size_t length = 1; length < 40; ++length) lengths.push_back(length);
  for (const size_t length : {64, 100, 200, 256, 256}) lengths.push_back(length);
  const EmbedRequest many = words(lengths, 17);
  const auto together = vectors_of(*model, {many, words({5, 80, 3}, 99), words({250}, 3)});
  ASSERT_EQ(together[0].size(), many.texts.size());
  for (size_t i = 0; i < many.texts.size(); ++i) {
    EmbedRequest alone;
    alone.texts.push_back(many.texts[i]);
    EXPECT_EQ(vectors_of(*model, {alone})[0][0], together[0].at(i)) << many.texts[i].ids.size() << " tokens";
  }
}

}  // namespace
}  // namespace mlxk
