#include "backend/generation.h"

#include <fmt/format.h>

#include <map>
#include <optional>

#include "backend/decode_group.h"
#include "base/error.h"
#include "worker/sampling_check.h"

namespace mlxk {

namespace {

// Long enough to keep the matrix products busy, short enough that cancelling and progress stay lively.
constexpr int64_t kPrefillChunk = 512;
// Others wait for their next token meanwhile.
constexpr int64_t kPrefillChunkBesideOthers = 128;

void check_request(const GenerateRequest& request, const ModelFacts& facts) {
  if (request.prompt.empty()) throw Error(ErrorKind::invalid, "the prompt has no tokens");
  const auto length = static_cast<int64_t>(request.prompt.size());
  if (facts.context_length > 0 && length >= facts.context_length) {
    throw Error(ErrorKind::invalid, fmt::format("the prompt has {} tokens, the model's context is {}", length,
                                                facts.context_length));
  }
  for (const int32_t id : request.prompt) {
    // Past the table `take` reads foreign memory.
    if (id < 0 || id >= facts.vocab_size) {
      throw Error(ErrorKind::invalid,
                  fmt::format("token id {} is outside the model's vocabulary of {}", id, facts.vocab_size));
    }
  }
  if (request.max_tokens < 1) {
    throw Error(ErrorKind::invalid, fmt::format("max_tokens must be at least 1, got {}", request.max_tokens));
  }
  check_sampling(request.sampling, facts.vocab_size);
}

class MlxSequence : public Sequence {
 public:
  MlxSequence(DecodeGroup& group, uint64_t id, Model& model, GenerateRequest request)
      : id(id), completion(std::make_shared<Completion>(model, std::move(request))), group_(group) {}
  ~MlxSequence() override { group_.leave(*completion); }
  MlxSequence(const MlxSequence&) = delete;
  MlxSequence& operator=(const MlxSequence&) = delete;
  DoneEvent cancelled() const override { return completion->done(FinishReason::cancelled); }

  const uint64_t id;  // counts up
  const std::shared_ptr<Completion> completion;

 private:
  DecodeGroup& group_;
};

class MlxTextModel : public TextModel {
 public:
  explicit MlxTextModel(std::unique_ptr<Model> model)
      : model_(std::move(model)),
        facts_{.model_type = model_->model_type(),
               .vocab_size = model_->vocab_size(),
               .context_length = model_->context_length(),
               .weight_bytes = model_->weight_bytes()} {}

  const ModelFacts& facts() const override { return facts_; }

  std::unique_ptr<Sequence> start(GenerateRequest request) override {
    check_request(request, facts_);
    return std::make_unique<MlxSequence>(group_, ++started_, *model_, std::move(request));
  }

  void step(std::span<Sequence* const> running, const StepSink& unchecked) override {
    const StepSink sink = [&](size_t index, const Event& event) {
      model_->check_weights();
      unchecked(index, event);
    };
    std::vector<std::shared_ptr<Completion>> decoding;
    std::map<const Completion*, size_t> indices;
    std::optional<size_t> prefilling;  // the next in turn, else the first
    for (size_t i = 0; i < running.size(); ++i) {
      const auto& sequence = static_cast<const MlxSequence&>(*running[i]);
      indices[sequence.completion.get()] = i;
      if (sequence.completion->prefilled()) {
        decoding.push_back(sequence.completion);
      } else if (!prefilling || (sequence.id > last_prefilled_ && id_of(running, *prefilling) <= last_prefilled_)) {
        prefilling = i;
      }
    }
    if (!decoding.empty()) {
      group_.step(decoding, [&](const Completion& one, const Event& event) { sink(indices.at(&one), event); });
    }
    if (!prefilling) return;
    last_prefilled_ = id_of(running, *prefilling);
    auto& completion = *static_cast<MlxSequence&>(*running[*prefilling]).completion;
    sink(*prefilling, completion.prefill(*model_, decoding.empty() ? kPrefillChunk : kPrefillChunkBesideOthers));
  }

 private:
  static uint64_t id_of(std::span<Sequence* const> running, size_t index) {
    return static_cast<const MlxSequence&>(*running[index]).id;
  }

  std::unique_ptr<Model> model_;
  ModelFacts facts_;
  DecodeGroup group_{*model_};
  uint64_t started_ = 0, last_prefilled_ = 0;  // ids of sequences
};

}  // namespace

std::unique_ptr<TextModel> make_text_model(std::unique_ptr<Model> model) {
  return std::make_unique<MlxTextModel>(std::move(model));
}

}  // namespace mlxk
