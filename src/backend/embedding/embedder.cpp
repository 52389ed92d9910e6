#include "backend/embedding/embedder.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "backend/embedding/batch_size.h"
#include "backend/embedding/texts_at_work.h"
#include "base/error.h"
#include "models/embedding/pooling.h"
#include "probe/embedding_config.h"

namespace mlxk {

namespace {

using Clock = std::chrono::steady_clock;

/// Reads the pooling of the model in `dir`. Vectors are normalised later, because a request may turn that off.
EmbeddingHead read_head(const std::filesystem::path& dir, int hidden_size) {
  EmbeddingPipeline pipeline = read_embedding_config(dir).pipeline;
  pipeline.normalize = false;
  return {pipeline, dir, hidden_size};
}

class MlxEmbeddingModel : public EmbeddingModel {
 public:
  MlxEmbeddingModel(std::unique_ptr<Encoder> encoder, const std::filesystem::path& dir) : encoder_(std::move(encoder)) {
    const EncoderShape& shape = encoder_->shape();
    if (shape.num_labels == 0) head_.emplace(read_head(dir, shape.hidden_size));
    facts_ = {
        .model_type = shape.model_type,
        .vocab_size = shape.vocab_size,
        .context_length = shape.context_length,
        .weight_bytes = shape.weight_bytes + (head_ ? head_->weight_bytes() : 0),
        .embedding = EmbeddingFacts{head_ ? head_->dimensions() : shape.num_labels, shape.context_length, shape.tasks}};
  }

  const ModelFacts& facts() const override { return facts_; }

  void check(const EmbedRequest& request) const override {
    if (request.texts.empty()) throw Error(ErrorKind::invalid, "there is no text");
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
    }
  }

  std::unique_ptr<Sequence> start(EmbedRequest request) override {
    return std::make_unique<TextsAtWork>(std::move(request));
  }

  void step(std::span<Sequence* const> running, const StepSink& sink) override {
    const auto begin = Clock::now();
    const std::vector<ChosenText> chosen = choose_texts(running, turn_++ % running.size(), size_.tokens());
    const EncoderInputs inputs = pack(running, chosen);
    const std::vector<std::vector<float>> numbers = compute(running, chosen, inputs);
    encoder_->check_weights();
    size_.learn(static_cast<int64_t>(inputs.ids.size()), Clock::now() - begin);
    give(running, chosen, numbers, sink);
  }

 private:
  static TextsAtWork& at(std::span<Sequence* const> running, size_t i) {
    return static_cast<TextsAtWork&>(*running[i]);
  }

  EncoderInputs pack(std::span<Sequence* const> running, const std::vector<ChosenText>& chosen) const {
    EncoderInputs inputs;
    bool typed = false;
    for (const ChosenText& one : chosen) typed = typed || at(running, one.sequence).text(one.index).second_begin >= 0;
    for (const ChosenText& one : chosen) {
      const EncodedText& text = at(running, one.sequence).text(one.index);
      inputs.ids.insert(inputs.ids.end(), text.ids.begin(), text.ids.end());
      inputs.lengths.push_back(static_cast<int>(text.ids.size()));
      if (!facts_.embedding->tasks.empty()) inputs.tasks.push_back(text.task);
      if (!typed) continue;
      const auto count = static_cast<int32_t>(text.ids.size());
      const int32_t second = text.second_begin < 0 ? count : std::min(text.second_begin, count);
      inputs.token_types.resize(inputs.ids.size() - static_cast<size_t>(count - second), 0);
      inputs.token_types.resize(inputs.ids.size(), 1);
    }
    return inputs;
  }

  /// The scores of every chosen text.
  std::vector<std::vector<float>> compute(std::span<Sequence* const> running, const std::vector<ChosenText>& chosen,
                                          const EncoderInputs& inputs) const {
    const mx::array hidden = encoder_->hidden(inputs);
    const auto scores_tokens = [&](const ChosenText& one) { return !at(running, one.sequence).score_tokens().empty(); };
    std::vector<std::vector<float>> numbers(chosen.size());
    if (!std::all_of(chosen.begin(), chosen.end(), scores_tokens)) {
      std::vector<int> prompts;
      for (const ChosenText& one : chosen) prompts.push_back(at(running, one.sequence).text(one.index).prompt_tokens);
      numbers =
          rows_of(head_ ? (*head_)(hidden, inputs.lengths, prompts) : encoder_->class_logits(hidden, inputs.lengths));
    }
    const std::vector<int> ends = last_rows(inputs.lengths);
    for (size_t k = 0; k < chosen.size(); ++k) {
      if (!scores_tokens(chosen[k])) continue;
      const std::vector<float> logits = rows_of(encoder_->token_logits(hidden, {ends[k]}))[0];
      numbers[k].clear();
      for (const int32_t id : at(running, chosen[k].sequence).score_tokens()) {
        numbers[k].push_back(logits[static_cast<size_t>(id)]);
      }
    }
    return numbers;
  }

  static std::vector<std::vector<float>> rows_of(const mx::array& lazy) {
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

  void give(std::span<Sequence* const> running, const std::vector<ChosenText>& chosen,
            const std::vector<std::vector<float>>& numbers, const StepSink& sink) const {
    std::vector<bool> touched(running.size()), ended(running.size());
    for (size_t k = 0; k < chosen.size(); ++k) {
      const auto [i, index] = chosen[k];
      if (ended[i]) continue;
      const std::vector<float>& row = numbers[k];
      touched[i] = true;
      if (!std::all_of(row.begin(), row.end(), [](float x) { return std::isfinite(x); })) {
        ended[i] = true;
        sink(i, FailedEvent{ErrorKind::bad_model, fmt::format("the model's output for text {} is not finite", index)});
        continue;
      }
      const bool last = at(running, i).give(index);
      sink(i, VectorEvent{index, row});
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
