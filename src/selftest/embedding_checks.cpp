#include "selftest/embedding_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "base/counted.h"
#include "selftest/run_checks.h"
#include "serving/embedder.h"
#include "serving/text_prompt.h"
#include "worker/worker.h"

namespace mlxk {

namespace {
constexpr uint64_t kSmallEmbedder = 10'000'000;  // bytes
constexpr double kUnit = 1e-3;

constexpr const char* kQuestion = "How do I cook rice?";
constexpr const char* kNear = "Boil the rice in water until it is soft.";
constexpr const char* kFar = "The parliament voted on the new tax law.";

struct Subject {
  Worker& worker;
  const ServedEmbedding& model;
  const SelftestOptions& options;

  std::vector<std::vector<float>> numbers(std::vector<EncodedText> texts) const {
    std::vector<std::vector<float>> vectors;
    for (TextNumbers& one : submit_texts(worker, model.handle(),
                                         {.texts = std::move(texts), .score_tokens = model.encoder()->score_tokens()})
                                .wait(options.stop_wanted)) {
      vectors.push_back(std::move(one.vector));
    }
    return vectors;
  }
  EncodedText text(const char* text, const char* type) const {
    const TextEncoder& encoder = *model.encoder();
    const NamedPrompt prompt =
        encoder.config().prompts.empty() ? NamedPrompt{} : choose_prompt(encoder.config(), {.input_type = type});
    return encoder.encode(text, prompt, Truncate::end);
  }
  EncodedText pair(const char* document) const {
    const TextEncoder& encoder = *model.encoder();
    return encoder.encode_pair(encoder.ranking_query(kQuestion), document, Truncate::end);
  }
  /// The texts that the checks encode: pairs for a reranker.
  std::vector<EncodedText> texts() const {
    const EncoderTask task = model.info().encoder_task;
    if (task == EncoderTask::rerank) return {pair(kNear), pair(kFar)};
    if (task == EncoderTask::classify) {
      std::vector<EncodedText> all;
      for (const char* one : {kNear, kFar}) all.push_back(model.encoder()->encode(one, {}, Truncate::end));
      return all;
    }
    return {text(kQuestion, "query"), text(kNear, "document"), text(kFar, "document")};
  }
  std::string excuse() const {
    const uint64_t bytes = model.handle()->facts().weight_bytes;
    return bytes < kSmallEmbedder ? fmt::format("a model of {} MB", bytes / 1'000'000) : "";
  }
};

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

CheckFinding check_vectors(const Subject& subject) {
  const int64_t dimensions = subject.model.handle()->facts().embedding->dimensions;
  const auto vectors = subject.numbers(subject.texts());
  for (std::vector<float> vector : vectors) {
    if (static_cast<int64_t>(vector.size()) != dimensions) {
      return CheckFinding::failed(fmt::format("a vector has {} numbers instead of {}", vector.size(), dimensions));
    }
    if (!std::all_of(vector.begin(), vector.end(), [](float x) { return std::isfinite(x); })) {
      return CheckFinding::failed("a number is not finite");
    }
    if (subject.model.info().encoder_task != EncoderTask::embed) continue;
    finish_vector(vector, 0, true);
    const double length = std::sqrt(dot(vector, vector));
    if (std::abs(length - 1) > kUnit)
      return CheckFinding::failed(fmt::format("a vector has the length {:.4f}", length));
  }
  return CheckFinding::passed(counted(static_cast<uint64_t>(dimensions), "number"));
}

CheckFinding check_alone(const Subject& subject) {
  const std::vector<EncodedText> texts = subject.texts();
  const auto together = subject.numbers(texts);
  const bool exact = subject.worker.device().name == "cpu";
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto alone = subject.numbers({texts[i]}).front();
    double largest = 0, gap = 0;
    for (size_t k = 0; k < alone.size(); ++k) {
      largest = std::max<double>(largest, std::abs(alone[k]));
      gap = std::max<double>(gap, std::abs(alone[k] - together[i][k]));
    }
    if (!(gap <= (exact ? 0 : 0.01 * largest))) {
      return CheckFinding::failed(
          fmt::format("text {} of {} is off by {:.2g} in a batch with the others", i + 1, texts.size(), gap));
    }
  }
  return CheckFinding::passed(fmt::format("{} texts", texts.size()));
}

CheckFinding check_order(const Subject& subject) {
  const EncoderTask task = subject.model.info().encoder_task;
  if (task == EncoderTask::classify) return CheckFinding::skipped("there is no common order for a classifier's labels");
  auto numbers = subject.numbers(subject.texts());
  double near = 0, far = 0;
  if (task == EncoderTask::rerank) {
    const auto activation = subject.model.encoder()->classifier().activation;
    near = activate(numbers[0], activation).back();
    far = activate(numbers[1], activation).back();
  } else {
    for (auto& vector : numbers) finish_vector(vector, 0, true);
    near = dot(numbers[0], numbers[1]);
    far = dot(numbers[0], numbers[2]);
  }
  const std::string found = fmt::format("{:.3f} for related texts, {:.3f} for unrelated ones", near, far);
  return near > far ? CheckFinding::passed(found) : wrong_answer(found, subject.excuse(), subject.options);
}
}  // namespace

void check_embedding_model(Worker& worker, const ServedEmbedding& model, const SelftestOptions& options,
                           SelftestResult& result) {
  const Subject subject{worker, model, options};
  run_checks({{"vectors", [&] { return check_vectors(subject); }},
              {"batch", [&] { return check_alone(subject); }},
              {"order", [&] { return check_order(subject); }}},
             options, result);
}

}  // namespace mlxk
