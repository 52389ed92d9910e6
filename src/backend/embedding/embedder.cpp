#include "backend/embedding/embedder.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "backend/embedding/batch_size.h"
#include "backend/embedding/texts_at_work.h"
#include "base/error.h"
#include "models/embedding/pooling.h"
#include "probe/embedding_config.h"

namespace mlxk {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kLogitRows = 128;  // 128 MB for a vocabulary of 250,000

/// Reads the pooling of the model in `dir`. Vectors are normalised later, because a request may turn that off.
EmbeddingHead read_head(const std::filesystem::path& dir, int hidden_size) {
  EmbeddingPipeline pipeline = read_embedding_config(dir).pipeline;
  pipeline.normalize = false;
  return {pipeline, dir, hidden_size};
}

std::vector<std::vector<float>> rows_of(const mx::array& lazy) {
  mx::array all = mx::contiguous(lazy);
  all.eval();
  const auto width = static_cast<size_t>(all.shape(1));
  const std::span<const float> numbers(all.data<float>(), all.size());
  std::vector<std::vector<float>> rows;
  for (size_t i = 0; i < numbers.size(); i += width) {
    const auto row = numbers.subspan(i, width);
    rows.emplace_back(row.begin(), row.end());
  }
  return rows;
}

std::vector<float> numbers_of(const mx::array& lazy) {
  mx::array all = mx::contiguous(lazy);
  all.eval();
  return {all.data<float>(), all.data<float>() + all.size()};
}

/// The `count` largest probabilities of softmax(logits).
TokenWeights likeliest(const std::vector<float>& logits, int count) {
  if (std::any_of(logits.begin(), logits.end(), [](float x) { return std::isnan(x); })) {
    return {{0}, {std::numeric_limits<float>::quiet_NaN()}};  // they have no order
  }
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto logit = [&](int32_t id) { return logits[static_cast<size_t>(id)]; };
  const auto end = ids.begin() + std::min<std::ptrdiff_t>(count, static_cast<std::ptrdiff_t>(ids.size()));
  std::partial_sort(ids.begin(), end, ids.end(),
                    [&](int32_t a, int32_t b) { return logit(a) > logit(b) || (logit(a) == logit(b) && a < b); });
  const double largest = logit(ids.front());
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - largest);
  ids.erase(end, ids.end());
  TokenWeights found{std::move(ids), {}};
  for (const int32_t id : found.ids) {
    found.weights.push_back(static_cast<float>(std::exp(static_cast<double>(logit(id)) - largest) / sum));
  }
  return found;
}

/// The first number that is NaN or infinite: "number 17 is nan"; empty: there is none.
std::string not_finite(const TextNumbers& numbers) {
  for (const auto* some :
       {&numbers.vector, &numbers.sparse.weights, &numbers.token_vectors, &numbers.predictions.weights}) {
    const auto found = std::find_if_not(some->begin(), some->end(), [](float x) { return std::isfinite(x); });
    if (found != some->end()) return fmt::format("number {} is {}", found - some->begin(), std::abs(*found));
  }
  return "";
}

class MlxEmbeddingModel : public EmbeddingModel {
 public:
  MlxEmbeddingModel(std::unique_ptr<Encoder> encoder, const std::filesystem::path& dir) : encoder_(std::move(encoder)) {
    const EncoderShape& shape = encoder_->shape();
    if (shape.num_labels == 0) head_.emplace(read_head(dir, shape.hidden_size));
    EmbeddingFacts facts{shape.num_labels, shape.context_length, shape.tasks};
    facts.predicts_tokens = shape.predicts_tokens;
    if (head_) {
      const EmbeddingPipeline& pipeline = head_->pipeline();
      if (pipeline.splade && !shape.predicts_tokens) {
        throw Error(ErrorKind::bad_model, "[SpladePooling] the weights have no masked language model head");
      }
      facts.dimensions = pipeline.token_vectors ? 0 : head_->dimensions();
      facts.token_dimensions = shape.colbert_size > 0   ? shape.colbert_size
                               : pipeline.token_vectors ? head_->dimensions()
                                                        : 0;
      facts.sparse = shape.sparse || pipeline.splade.has_value();
    }
    facts_ = {.model_type = shape.model_type,
              .vocab_size = shape.vocab_size,
              .context_length = shape.context_length,
              .weight_bytes = shape.weight_bytes + (head_ ? head_->weight_bytes() : 0),
              .embedding = std::move(facts)};
  }

  const ModelFacts& facts() const override { return facts_; }

  void check(const EmbedRequest& request) const override {
    if (request.texts.empty()) throw Error(ErrorKind::invalid, "there is no text");
    check_outputs(request);
    for (const int32_t id : request.score_tokens) {
      if (id >= 0 && id < facts_.vocab_size) continue;
      throw Error(ErrorKind::invalid,
                  fmt::format("token id {} is outside the model's vocabulary of {}", id, facts_.vocab_size));
    }
    for (size_t i = 0; i < request.texts.size(); ++i) {
      const auto& ids = request.texts[i].ids;
      const auto most = facts_.embedding->max_tokens;
      if (ids.empty() || (most > 0 && static_cast<int64_t>(ids.size()) > most)) {
        throw Error(ErrorKind::invalid,
                    fmt::format("text {} has {} tokens, the model accepts 1 to {}", i, ids.size(), most));
      }
      for (const int32_t id : ids) {
        if (id >= 0 && id < facts_.vocab_size) continue;
        throw Error(ErrorKind::invalid, fmt::format("text {}: token id {} is outside the model's vocabulary of {}", i,
                                                    id, facts_.vocab_size));
      }
      const auto count = static_cast<int32_t>(ids.size());
      if (request.outputs.predictions > 0 && (request.texts[i].masked < 0 || request.texts[i].masked >= count)) {
        throw Error(ErrorKind::invalid, fmt::format("text {} has no mask token", i));
      }
    }
  }

  std::unique_ptr<Sequence> start(EmbedRequest request) override {
    return std::make_unique<TextsAtWork>(std::move(request));
  }

  void step(std::span<Sequence* const> running, const StepSink& sink) override {
    const auto begin = Clock::now();
    const std::vector<ChosenText> chosen = choose_texts(running, turn_++ % running.size(), size_.tokens());
    const EncoderInputs inputs = pack(running, chosen);
    std::vector<TextNumbers> numbers = compute(running, chosen, inputs);
    encoder_->check_weights();
    size_.learn(static_cast<int64_t>(inputs.ids.size()), Clock::now() - begin);
    give(running, chosen, numbers, sink);
  }

 private:
  void check_outputs(const EmbedRequest& request) const {
    const EmbedOutputs& wanted = request.outputs;
    const EmbeddingFacts& own = *facts_.embedding;
    const auto refuse = [&](bool asked, bool has, const char* what) {
      if (asked && !has) throw Error(ErrorKind::unsupported, fmt::format("the model has no {}", what));
    };
    refuse(wanted.vector && request.score_tokens.empty(), own.dimensions > 0, "text vectors");
    refuse(wanted.sparse, own.sparse, "sparse vectors");
    refuse(wanted.token_vectors, own.token_dimensions > 0, "token vectors");
    refuse(wanted.predictions > 0 || !request.score_tokens.empty(), own.predicts_tokens, "masked language model head");
  }

  static TextsAtWork& at(std::span<Sequence* const> running, size_t i) {
    return static_cast<TextsAtWork&>(*running[i]);
  }

  EncoderInputs pack(std::span<Sequence* const> running, const std::vector<ChosenText>& chosen) const {
    EncoderInputs inputs;
    const auto any = [&](auto has) {
      return std::any_of(chosen.begin(), chosen.end(),
                         [&](const ChosenText& one) { return has(at(running, one.sequence).text(one.index)); });
    };
    const bool typed = any([](const EncodedText& text) { return text.second_begin >= 0; });
    const bool expanded = any([](const EncodedText& text) { return text.attended > 0; });
    for (const ChosenText& one : chosen) {
      const EncodedText& text = at(running, one.sequence).text(one.index);
      inputs.ids.insert(inputs.ids.end(), text.ids.begin(), text.ids.end());
      inputs.lengths.push_back(static_cast<int>(text.ids.size()));
      if (!facts_.embedding->tasks.empty()) inputs.tasks.push_back(text.task);
      if (expanded) inputs.attended.push_back(text.attended > 0 ? text.attended : inputs.lengths.back());
      if (!typed) continue;
      const auto count = static_cast<int32_t>(text.ids.size());
      const int32_t second = text.second_begin < 0 ? count : std::min(text.second_begin, count);
      inputs.token_types.resize(inputs.ids.size() - static_cast<size_t>(count - second), 0);
      inputs.token_types.resize(inputs.ids.size(), 1);
    }
    return inputs;
  }

  /// The requested outputs of every chosen text.
  std::vector<TextNumbers> compute(std::span<Sequence* const> running, const std::vector<ChosenText>& chosen,
                                   const EncoderInputs& inputs) const {
    const mx::array hidden = encoder_->hidden(inputs);
    const auto any = [&](auto asks) {
      return std::any_of(chosen.begin(), chosen.end(),
                         [&](const ChosenText& one) { return asks(at(running, one.sequence)); });
    };
    std::vector<TextNumbers> numbers(chosen.size());
    if (any([](const TextsAtWork& of) { return of.outputs().vector && of.score_tokens().empty(); })) {
      auto vectors = vectors_of(running, chosen, inputs, hidden);
      for (size_t k = 0; k < chosen.size(); ++k) {
        if (at(running, chosen[k].sequence).outputs().vector) numbers[k].vector = std::move(vectors[k]);
      }
    }
    std::optional<mx::array> tokens, weights;
    if (any([](const TextsAtWork& of) { return of.outputs().token_vectors; })) {
      tokens = encoder_->shape().colbert_size > 0 ? encoder_->colbert_vectors(hidden) : head_->token_vectors(hidden);
    }
    if (encoder_->shape().sparse && any([](const TextsAtWork& of) { return of.outputs().sparse; })) {
      weights = encoder_->sparse_weights(hidden);
    }
    int first = 0;
    for (size_t k = 0; k < chosen.size(); ++k) {
      const TextsAtWork& of = at(running, chosen[k].sequence);
      const EncodedText& text = of.text(chosen[k].index);
      const int end = first + inputs.lengths[k];
      if (!of.score_tokens().empty()) {
        const auto logits = numbers_of(encoder_->token_logits(hidden, {end - 1}));
        numbers[k].vector.clear();
        for (const int32_t id : of.score_tokens()) numbers[k].vector.push_back(logits[static_cast<size_t>(id)]);
      }
      if (of.outputs().token_vectors)
        numbers[k].token_vectors = numbers_of(take_rows(*tokens, with_vector(text, first)));
      if (of.outputs().sparse) {
        numbers[k].sparse = weights ? TokenWeights{text.ids, numbers_of(mx::slice(*weights, {first}, {end}))}
                                    : weights_in_vocabulary(hidden, first, end);
      }
      if (of.outputs().predictions > 0) {
        numbers[k].predictions =
            likeliest(numbers_of(encoder_->token_logits(hidden, {first + text.masked})), of.outputs().predictions);
      }
      first = end;
    }
    return numbers;
  }

  std::vector<std::vector<float>> vectors_of(std::span<Sequence* const> running, const std::vector<ChosenText>& chosen,
                                             const EncoderInputs& inputs, const mx::array& hidden) const {
    if (!head_) return rows_of(encoder_->class_logits(hidden, inputs.lengths));
    std::vector<int> prompts;
    for (const ChosenText& one : chosen) prompts.push_back(at(running, one.sequence).text(one.index).prompt_tokens);
    return rows_of((*head_)(hidden, inputs.lengths, prompts));
  }

  /// The rows of a text's tokens that have a vector; `first`: the text's first row. BGE-M3's first token has none.
  std::vector<int> with_vector(const EncodedText& text, int first) const {
    std::vector<int> rows;
    for (int32_t i = head_->pipeline().token_vectors ? 0 : 1; i < static_cast<int32_t>(text.ids.size()); ++i) {
      if (!std::binary_search(text.without_vector.begin(), text.without_vector.end(), i)) rows.push_back(first + i);
    }
    return rows;
  }

  /// SPLADE's weights for the text in rows [first, end).
  TokenWeights weights_in_vocabulary(const mx::array& hidden, int first, int end) const {
    const SpladePooling pooling = *head_->pipeline().splade;
    std::optional<mx::array> all;
    for (int begin = first; begin < end; begin += kLogitRows) {
      std::vector<int> rows(static_cast<size_t>(std::min(kLogitRows, end - begin)));
      std::iota(rows.begin(), rows.end(), begin);
      const mx::array part = pool(pooling, encoder_->token_logits(hidden, rows));
      all = !all ? part : pooling.sum ? mx::add(*all, part) : mx::maximum(*all, part);
      all->eval();
    }
    const std::vector<float> numbers = numbers_of(*all);
    TokenWeights found;
    for (size_t id = 0; id < numbers.size(); ++id) {
      if (numbers[id] <= 0) continue;  // NaN is kept
      found.ids.push_back(static_cast<int32_t>(id));
      found.weights.push_back(numbers[id]);
    }
    return found;
  }

  void give(std::span<Sequence* const> running, const std::vector<ChosenText>& chosen,
            std::vector<TextNumbers>& numbers, const StepSink& sink) const {
    std::vector<bool> touched(running.size()), ended(running.size());
    for (size_t k = 0; k < chosen.size(); ++k) {
      const auto [i, index] = chosen[k];
      if (ended[i]) continue;
      touched[i] = true;
      if (const std::string bad = not_finite(numbers[k]); !bad.empty()) {
        ended[i] = true;
        sink(i, FailedEvent{ErrorKind::bad_model,
                            fmt::format("the model's output for text {} is not finite: {}", index, bad)});
        continue;
      }
      const bool last = at(running, i).give(index);
      sink(i, VectorEvent{index, std::move(numbers[k])});
      if (!last) continue;
      ended[i] = true;
      sink(i, at(running, i).progress());
      sink(i, at(running, i).done(FinishReason::stop));
    }
    for (size_t i = 0; i < running.size(); ++i) {
      if (touched[i] && !ended[i]) sink(i, at(running, i).progress());
    }
  }

  std::unique_ptr<Encoder> encoder_;
  std::optional<EmbeddingHead> head_;  // for embeddings
  ModelFacts facts_;
  BatchSize size_;
  size_t turn_ = 0;  // the request whose text comes first
};

}  // namespace

std::unique_ptr<EmbeddingModel> make_embedding_model(std::unique_ptr<Encoder> encoder,
                                                     const std::filesystem::path& dir) {
  return std::make_unique<MlxEmbeddingModel>(std::move(encoder), dir);
}

}  // namespace mlxk
