#include "backend/generation.h"

#include <fmt/format.h>
#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/error.h"
#include "kernels/phase.h"
#include "sample/sampler.h"
#include "worker/sampling_check.h"

namespace mlxk {

namespace {

// Long enough to keep the matrix products busy, short enough that cancelling and progress stay lively.
constexpr int64_t kPrefillChunk = 512;
// Growing caches leave buffers of every size behind; dropped now and then.
constexpr int64_t kTokensBetweenClears = 256;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

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
  MlxSequence(Model& model, GenerateRequest request)
      : model_(model),
        request_(std::move(request)),
        cache_(model.make_cache(1)),
        sampler_(request_.sampling, request_.prompt),
        limit_(request_.max_tokens) {
    usage_.prompt_tokens = static_cast<int64_t>(request_.prompt.size());
    if (model.context_length() > 0) limit_ = std::min(limit_, model.context_length() - usage_.prompt_tokens);
  }

  MlxSequence(const MlxSequence&) = delete;
  MlxSequence& operator=(const MlxSequence&) = delete;
  /// Waits for the step that is under way: libmlx's CPU thread writes into results that nobody holds any more.
  ~MlxSequence() override {
    if (pending_) wait_for(*pending_);
  }

  bool step(std::vector<Event>& events) override {
    const auto last = usage_.prompt_tokens - 1;  // the last prompt token is the first decode step's input
    if (prefilled_ < last) {
      prefill(std::min(prefilled_ + kPrefillChunk, last));
      events.push_back(PrefillEvent{prefilled_, usage_.prompt_tokens});
      return true;
    }
    return decode(events);
  }

  DoneEvent cancelled() const override { return done(FinishReason::cancelled); }

 private:
  mx::array prompt_ids(int64_t begin, int64_t end) const {
    return mx::array(request_.prompt.data() + begin, {1, static_cast<int>(end - begin)}, mx::int32);
  }

  void prefill(int64_t end) {
    const PhaseScope phase(Phase::prefill);
    // Only the caches are evaluated; the logits of these positions are never computed.
    model_.forward({.ids = prompt_ids(prefilled_, end), .last_only = true}, cache_);
    mx::eval(cache_.arrays());
    mx::clear_cache();
    prefilled_ = end;
  }

  /// The choice of the token after `ids` [1, 1], already under way.
  Sample next(const mx::array& ids) {
    const auto logits = mx::reshape(model_.forward({.ids = ids, .last_only = true}, cache_), {1, -1});
    auto sample = sampler_.sample(logits, request_.constraint.get(), request_.top_logprobs);
    mx::async_eval(sample.arrays());
    return sample;
  }

  static void wait_for(const Sample& sample) {
    try {
      for (auto array : sample.arrays()) array.wait();
    } catch (const std::exception&) {
      // The request has ended; a failure of the step after it concerns nobody.
    }
  }

  bool decode(std::vector<Event>& events) {
    if (!pending_) pending_ = next(prompt_ids(usage_.prompt_tokens - 1, usage_.prompt_tokens));
    Sample sample = std::move(*pending_);
    pending_.reset();
    // The next step is built and started before this one's token is waited for; a grammar needs the token first.
    const bool more = usage_.completion_tokens + 1 < limit_;
    if (more && !request_.constraint) pending_ = next(sample.token);

    if (!sample.finite()) {
      events.push_back(FailedEvent{ErrorKind::internal, fmt::format("the model's logits are not finite at token {}",
                                                                    usage_.completion_tokens + 1)});
      return false;
    }
    const int32_t token = sample.value();
    if (usage_.completion_tokens++ == 0) {
      timings_.first_token_s = seconds_since(start_);
      first_token_ = Clock::now();
    }
    const auto& eos = request_.eos_token_ids;
    if (std::find(eos.begin(), eos.end(), token) != eos.end()) {
      events.push_back(done(FinishReason::stop));
      return false;
    }
    events.push_back(sample.event());
    if (request_.constraint && !request_.constraint->accept(token)) {
      events.push_back(FailedEvent{ErrorKind::internal, fmt::format("token {} breaks the grammar", token)});
      return false;
    }
    if (!more) {
      events.push_back(done(FinishReason::length));
      return false;
    }
    if (request_.constraint) pending_ = next(mx::array({token}, {1, 1}, mx::int32));
    if (usage_.completion_tokens % kTokensBetweenClears == 0) mx::clear_cache();
    return true;
  }

  DoneEvent done(FinishReason reason) const {
    Timings timings = timings_;
    if (usage_.completion_tokens > 0) timings.decode_s = seconds_since(first_token_);
    return {reason, usage_, timings};
  }

  Model& model_;
  GenerateRequest request_;
  ModelCache cache_;
  Sampler sampler_;
  int64_t limit_;
  int64_t prefilled_ = 0;
  std::optional<Sample> pending_;  // being evaluated
  Usage usage_;
  Timings timings_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point first_token_;
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
    return std::make_unique<MlxSequence>(*model_, std::move(request));
  }

 private:
  std::unique_ptr<Model> model_;
  ModelFacts facts_;
};

}  // namespace

std::unique_ptr<TextModel> make_text_model(std::unique_ptr<Model> model) {
  return std::make_unique<MlxTextModel>(std::move(model));
}

}  // namespace mlxk
