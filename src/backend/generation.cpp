#include "backend/generation.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "backend/cache_layout.h"
#include "backend/decode_group.h"
#include "backend/media_cache.h"
#include "backend/media_memory.h"
#include "backend/prefix_cache.h"
#include "base/error.h"
#include "kernels/cpu_op.h"
#include "worker/sampling_check.h"

namespace mlxk {

namespace {

/// Tokens of a prompt that are computed at a time: enough to keep the matrix products busy, few enough that cancelling
/// and progress stay responsive. While others decode the chunk is smaller, because they wait for their next token.
int64_t prefill_chunk(bool beside_others) {
  if (cpu_is_default()) return beside_others ? 128 : 512;
  return beside_others ? 512 : 2048;
}

// Cached prompt tokens that are copied between two steps of the other requests.
constexpr int64_t kMaxRestored = 2048;

// If another prompt is about to cache this many tokens or fewer, computing them is faster than waiting for them.
constexpr int64_t kWorthWaiting = 32;

/// The length of the common prefix of two prompts, without the last token of either, which is not cached.
int64_t shared_tokens(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  const auto length = static_cast<std::ptrdiff_t>(std::min(a.size(), b.size())) - 1;
  return std::mismatch(a.begin(), a.begin() + length, b.begin()).first - a.begin();
}

void check_request(const GenerateRequest& request, const ModelFacts& facts) {
  if (request.prompt.empty()) throw Error(ErrorKind::invalid, "the prompt has no tokens");
  const auto length = static_cast<int64_t>(request.prompt.size());
  if (facts.context_length > 0 && length >= facts.context_length) {
    throw Error(ErrorKind::invalid,
                fmt::format("the prompt has {} tokens, the model's context is {}", length, facts.context_length));
  }
  for (const int32_t id : request.prompt) {
    // Past the end of the table `take` would read foreign memory.
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
  MlxSequence(DecodeGroup& group, std::set<const MlxSequence*>& all, uint64_t id, Model& model, GenerateRequest request)
      : id(id), completion(std::make_shared<RunningCompletion>(model, std::move(request))), group_(group), all_(all) {
    all_.insert(this);
  }
  ~MlxSequence() override {
    all_.erase(this);
    group_.leave(*completion);
  }
  MlxSequence(const MlxSequence&) = delete;
  MlxSequence& operator=(const MlxSequence&) = delete;
  DoneEvent cancelled() const override { return completion->done(FinishReason::cancelled); }

  const uint64_t id;  // counts up
  const std::shared_ptr<RunningCompletion> completion;
  mutable bool looks_up = true;  // searches the prefix cache before it continues

 private:
  DecodeGroup& group_;
  std::set<const MlxSequence*>& all_;
};

/// Null if its caches could not drop wrong guesses.
std::unique_ptr<Drafter> usable_drafter(std::unique_ptr<Model> model, const Model& first, const LoadOptions& options) {
  auto drafter = std::make_unique<Drafter>(std::move(model), first, options.draft_tokens, options.draft_always);
  return drafter->longest_text() > 0 ? std::move(drafter) : nullptr;
}

class MlxTextModel : public TextModel {
 public:
  MlxTextModel(std::unique_ptr<Model> model, const LoadOptions& options, const std::string& identity,
               const std::function<std::unique_ptr<Model>()>& make_draft)
      : model_(std::move(model)),
        facts_{.model_type = model_->model_type(),
               .vocab_size = model_->vocab_size(),
               .context_length = model_->context_length(),
               .weight_bytes = model_->weight_bytes()},
        layout_(*model_),
        media_memory_(*model_),
        kept_(layout_, options, identity),
        media_(options.media_cache_bytes) {
    facts_.speculative_tokens = std::min<int64_t>(layout_.stateless_tokens(), model_->position_stable_tokens());
    std::unique_ptr<Drafter> drafter;
    if (make_draft && facts_.speculative_tokens > 0) {
      drafter = usable_drafter(make_draft(), *model_, options);
    }
    if (drafter) facts_.draft_weight_bytes = drafter->weight_bytes();
    group_.emplace(*model_, options.prompt_lookup, facts_.speculative_tokens, std::move(drafter));
  }

  const ModelFacts& facts() const override { return facts_; }
  uint64_t kv_bytes(int64_t tokens) const override {
    return layout_.row_bytes(tokens) + (group_->drafter() ? group_->drafter()->kv_bytes(tokens) : 0);
  }
  CacheFacts cache_facts() const override {
    CacheFacts facts;
    for (const MlxSequence* sequence : sequences_) facts.kv_bytes += sequence->completion->cache().nbytes();
    kept_.add_facts(facts);
    group_->add_facts(facts);
    return facts;
  }

  void check(const GenerateRequest& request) const override {
    check_request(request, facts_);
    check_media(request, *model_);
  }
  int64_t cached_tokens(const GenerateRequest& request) const override {
    if (!kept_.on()) return 0;
    const PrefixKey key = prefix_key(request);
    return key.shareable ? kept_.peek(key).usable : 0;
  }

  uint64_t media_bytes(const GenerateRequest& request) const override {
    return request.media.empty() ? 0 : media_memory_.bytes(request);
  }

  std::unique_ptr<Sequence> start(GenerateRequest request) override {
    check(request);
    return std::make_unique<MlxSequence>(*group_, sequences_, ++started_, *model_, std::move(request));
  }

  void step(std::span<Sequence* const> running, const StepSink& sink) override {
    try {
      decode(running, sink);
      prefill(running, sink);
    } catch (...) {
      kept_.clear();  // the failure may have been in any array
      media_.clear();
      throw;
    }
  }

 private:
  static const MlxSequence& of(const Sequence* sequence) { return static_cast<const MlxSequence&>(*sequence); }

  void decode(std::span<Sequence* const> running, const StepSink& sink) {
    std::vector<std::shared_ptr<RunningCompletion>> decoding;
    std::map<const RunningCompletion*, size_t> indices;
    for (size_t i = 0; i < running.size(); ++i) {
      const auto& completion = of(running[i]).completion;
      if (!completion->prefilled()) continue;
      indices[completion.get()] = i;
      decoding.push_back(completion);
    }
    decoding_ = !decoding.empty();
    if (!decoding_) return;
    std::vector<std::pair<size_t, Event>> events;
    group_->step(decoding, [&](const RunningCompletion& one, const Event& event) {
      events.emplace_back(indices.at(&one), event);
    });
    model_->check_weights();
    for (const auto& [index, event] : events) sink(index, event);
  }

  /// Continues the prompt of the next request in turn.
  void prefill(std::span<Sequence* const> running, const StepSink& sink) {
    std::vector<size_t> waiting;  // start with those after the last one in turn
    for (size_t i = 0; i < running.size(); ++i) {
      if (!of(running[i]).completion->prefilled()) waiting.push_back(i);
    }
    std::stable_partition(waiting.begin(), waiting.end(),
                          [&](size_t i) { return of(running[i]).id > last_prefilled_; });
    int64_t restored = 0;
    for (const size_t i : waiting) {
      const MlxSequence& sequence = of(running[i]);
      RunningCompletion& completion = *sequence.completion;
      if (waits_for_another(sequence, waiting, running)) {
        sequence.looks_up = true;
        continue;
      }
      const int64_t before = completion.prefilled_tokens();
      if (sequence.looks_up && completion.restore(kept_)) {
        restored += completion.prefilled_tokens() - before;
        if (completion.prefilled()) {
          sequence.looks_up = false;
          sink(i, completion.progress());
        }
        if (decoding_ && restored >= kMaxRestored) return;
        if (completion.prefilled()) continue;
      }
      sequence.looks_up = false;
      last_prefilled_ = of(running[i]).id;
      completion.prefill(*model_, kept_, media_, prefill_chunk(decoding_), [&](const Event& event) { sink(i, event); });
      return;
    }
  }

  /// Whether another prompt with the same beginning is further along and will soon have cached more of it.
  bool waits_for_another(const MlxSequence& one, const std::vector<size_t>& waiting,
                         std::span<Sequence* const> running) {
    if (!one.completion->shares(kept_)) return false;
    const PrefixKey& key = one.completion->key();
    const int64_t own = one.completion->prefilled_tokens();
    const MlxSequence* first = nullptr;  // the furthest of those
    int64_t most = own, shared_with_first = 0;
    for (const size_t i : waiting) {
      const MlxSequence& other = of(running[i]);
      const int64_t done = other.completion->prefilled_tokens();
      const bool is_ahead = done > most || (done == most && other.id < (first ? first->id : one.id));
      if (!is_ahead || !other.completion->shares(kept_) || other.completion->key().scope != key.scope) continue;
      const int64_t shared = shared_tokens(other.completion->key().tokens, key.tokens);
      if (shared <= done || shared < own + kWorthWaiting) continue;
      first = &other;
      most = done;
      shared_with_first = shared;
    }
    if (first) first->completion->stop_at(shared_with_first);
    return first != nullptr;
  }

  std::unique_ptr<Model> model_;
  ModelFacts facts_;
  CacheLayout layout_;
  mutable MediaMemory media_memory_;  // remembers what it computed
  mutable PrefixCache kept_;          // a lookup moves the entries it finds to the front
  MediaCache media_;
  std::optional<DecodeGroup> group_;
  std::set<const MlxSequence*> sequences_;
  bool decoding_ = false;                      // in the last step
  uint64_t started_ = 0, last_prefilled_ = 0;  // ids of sequences
};

}  // namespace

std::unique_ptr<TextModel> make_text_model(std::unique_ptr<Model> model, const LoadOptions& options,
                                           const std::string& identity,
                                           const std::function<std::unique_ptr<Model>()>& make_draft) {
  return std::make_unique<MlxTextModel>(std::move(model), options, identity, make_draft);
}

}  // namespace mlxk
