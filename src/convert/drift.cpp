#include "convert/drift.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "cpu/phase.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"
#include "models/embedding/encoder.h"
#include "models/embedding/pooling.h"
#include "models/load.h"
#include "probe/embedding_config.h"

namespace mlxk {

namespace mx = mlx::core;

namespace {
constexpr size_t kMaxTokens = 256;  // logits of a vocabulary of 262,144 take 1 MB each
constexpr size_t kChunk = 64;

/// Log-probabilities [L, vocab] after each of the tokens, a chunk at a time.
std::vector<mx::array> log_probabilities(const std::filesystem::path& folder, const std::vector<int32_t>& tokens,
                                         const ProgressSink& progress) {
  const auto model = load_model(folder, [&](int64_t done, int64_t total) {
    if (progress) progress("loading", done, total);
  });
  for (const auto token : tokens) {
    if (token < 0 || token >= model->vocab_size()) {
      throw Error(ErrorKind::bad_model,
                  fmt::format("[check] the tokenizer gives token {}, the model has {}", token, model->vocab_size()));
    }
  }
  const PhaseScope phase(Phase::prefill);
  auto cache = model->make_cache(1);
  std::vector<mx::array> chunks;
  for (size_t first = 0; first < tokens.size(); first += kChunk) {
    const size_t count = std::min(kChunk, tokens.size() - first);
    const mx::array ids(tokens.data() + first, {1, static_cast<int>(count)}, mx::int32);
    const auto logits = mx::squeeze(model->forward({.ids = ids}, cache), 0);
    chunks.push_back(mx::subtract(logits, mx::logsumexp(logits, -1, true)));
    mx::eval(chunks.back());
    if (progress) {
      progress("comparing", static_cast<int64_t>(first + count), static_cast<int64_t>(tokens.size()));
    }
  }
  return chunks;
}
}  // namespace

Drift measure_drift(const std::filesystem::path& reference, const std::filesystem::path& result,
                    const std::vector<int32_t>& tokens, const ProgressSink& progress) {
  const std::vector<int32_t> text(tokens.begin(),
                                  tokens.begin() + static_cast<int64_t>(std::min(tokens.size(), kMaxTokens)));
  if (text.size() < 8) {
    throw Error(ErrorKind::invalid, fmt::format("[check] the text has {} tokens, at least 8 are needed", text.size()));
  }
  const auto before = log_probabilities(reference, text, progress);
  const auto after = log_probabilities(result, text, progress);
  Drift drift{.tokens = static_cast<int64_t>(text.size())};
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i].shape() != after[i].shape()) {
      throw Error(ErrorKind::bad_model, fmt::format("[check] the source has {} tokens, the result {}",
                                                    before[i].shape(1), after[i].shape(1)));
    }
    const auto kl = mx::sum(mx::multiply(mx::exp(before[i]), mx::subtract(before[i], after[i])), -1);
    const auto same = mx::equal(mx::argmax(before[i], -1), mx::argmax(after[i], -1));
    drift.mean_kl += mx::sum(kl).item<float>();
    drift.max_kl = std::max<double>(drift.max_kl, mx::max(kl).item<float>());
    drift.top1_agreement += mx::sum(mx::astype(same, mx::float32)).item<float>();
  }
  // Rounding alone can make a zero divergence slightly negative.
  drift.mean_kl = std::max(0.0, drift.mean_kl / static_cast<double>(text.size()));
  drift.top1_agreement /= static_cast<double>(text.size());
  if (!(drift.mean_kl < 1e9)) {
    throw Error(ErrorKind::bad_model, "[check] the logits are not finite");
  }
  return drift;
}

namespace {

/// A vector per text by the model in `folder`, with the pooling of the folder `source`.
std::vector<std::vector<float>> text_vectors(const std::filesystem::path& folder, const std::filesystem::path& source,
                                             const std::vector<std::vector<int32_t>>& texts,
                                             const ProgressSink& progress) {
  const auto encoder = load_encoder(folder, [&](int64_t done, int64_t total) {
    if (progress) progress("loading", done, total);
  });
  EmbeddingPipeline pipeline{.poolings = {Pooling::mean}};
  if (encoder->shape().num_labels == 0) {
    EmbeddingPipeline own = read_embedding_config(source).pipeline;
    if (!own.poolings.empty()) pipeline = std::move(own);
  }
  const EmbeddingHead head(pipeline, source, encoder->shape().hidden_size);
  std::vector<std::vector<float>> rows;
  for (const std::vector<int32_t>& text : texts) {
    EncoderInputs inputs{{text.begin(), text.end()}, {}, {}};
    const int64_t limit = encoder->shape().context_length;
    if (limit > 0 && static_cast<int64_t>(inputs.ids.size()) > limit) inputs.ids.resize(static_cast<size_t>(limit));
    inputs.lengths = {static_cast<int>(inputs.ids.size())};
    mx::array row = mx::contiguous(head(encoder->hidden(inputs), inputs.lengths));
    row.eval();
    rows.emplace_back(row.data<float>(), row.data<float>() + row.size());
    if (progress) progress("comparing", static_cast<int64_t>(rows.size()), static_cast<int64_t>(texts.size()));
  }
  return rows;
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / std::sqrt(aa * bb);
}

}  // namespace

VectorDrift measure_vector_drift(const std::filesystem::path& reference, const std::filesystem::path& result,
                                 const std::filesystem::path& source, const std::vector<std::vector<int32_t>>& texts,
                                 const ProgressSink& progress) {
  const auto before = text_vectors(reference, source, texts, progress);
  const auto after = text_vectors(result, source, texts, progress);
  VectorDrift drift{.texts = static_cast<int64_t>(texts.size())};
  double sum = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    const double here = before[i].size() == after[i].size() ? cosine(before[i], after[i]) : std::nan("");
    if (!std::isfinite(here)) throw Error(ErrorKind::bad_model, "[check] the vectors are not finite");
    sum += here;
    drift.min_cosine = std::min(drift.min_cosine, here);
  }
  drift.mean_cosine = before.empty() ? 1 : std::min(1.0, sum / static_cast<double>(before.size()));
  return drift;
}

}  // namespace mlxk
