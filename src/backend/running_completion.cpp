#include "backend/running_completion.h"

#include <fmt/format.h>
#include <mlx/memory.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <span>
#include <utility>

#include "backend/prompt_scores.h"
#include "base/elapsed.h"
#include "base/error.h"
#include "cpu/phase.h"

namespace mlxk {

RunningCompletion::RunningCompletion(Model& model, GenerateRequest request)
    : request_(std::move(request)),
      key_(prefix_key(request_)),
      media_(model, request_),
      text_(media_.decoder_tokens()),
      input_tokens_(static_cast<int64_t>(text_.size())),
      cache_(model.make_cache(1)),
      sampler_(request_.sampling, text_),
      limit_(request_.max_tokens),
      owes_scores_(request_.prompt_logprobs) {
  usage_.prompt_tokens = static_cast<int64_t>(request_.prompt.size());
  usage_.image_tokens = media_.placeholders(MediaKind::image);
  usage_.audio_tokens = media_.placeholders(MediaKind::audio);
  if (model.context_length() > 0) limit_ = std::min(limit_, model.context_length() - input_tokens_);
  // Reserves room for the prompt and the first tokens at once: every growth holds a layer's cache twice and leaves
  // holes.
  constexpr int64_t kExpectedAnswer = 256, kMaxExpected = 1 << 17;
  const int64_t expected = input_tokens_ + std::min(limit_, kExpectedAnswer);
  cache_.expect(static_cast<int>(std::min(expected, kMaxExpected)));
}

/// Takes tokens [begin, end) of what the decoder reads.
Inputs RunningCompletion::inputs_of(int64_t begin, int64_t end) {
  Inputs inputs{.ids = mx::array(text_.data() + begin, {1, static_cast<int>(end - begin)}, mx::int32),
                .last_only = !request_.prompt_logprobs};
  media_.add_to(inputs, begin, end);
  return inputs;
}

bool RunningCompletion::restore(PrefixCache& kept) {
  if (!shares(kept)) return false;
  const PrefixMatch match = kept.find(key_);
  const int64_t gained = std::max<int64_t>(0, match.usable - prefilled_);
  kept.count(looked_up_ ? 0 : usage_.prompt_tokens, gained);
  looked_up_ = true;
  stop_at(match.known);  // cached prompts diverge here: the part before may be used again
  if (gained == 0) return false;
  kept.restore(match, cache_);
  usage_.cached_tokens += gained;
  prefilled_ = match.usable;
  return true;
}

void RunningCompletion::prefill(Model& model, PrefixCache& kept, MediaCache& media, int64_t most,
                                const std::function<void(const Event&)>& sink) {
  const PhaseScope phase(Phase::prefill);
  if (request_.prompt_logprobs) {
    constexpr int64_t kMaxLogits = int64_t{16} << 20;  // 64 MiB of them at a time
    most = std::clamp<int64_t>(kMaxLogits / model.vocab_size(), 1, most);
  }
  int64_t end = std::min(prefilled_ + most, input_tokens_ - 1);
  bool wanted = false;  // the state at the end
  if (kept.on()) {
    end = std::min<int64_t>(end, kept.next_stop(static_cast<int>(prefilled_)));
    const auto stop = stops_.upper_bound(prefilled_);
    wanted = stop != stops_.end() && *stop <= end && kept.needs_state(*stop);
    if (wanted) end = *stop;
  }
  end = media_.piece_end(prefilled_, end);
  if (owes_prompt_) end = input_tokens_;  // the call that brings the encoded prompt to the caches
  try {
    if (media_.encode_next(prefilled_, end, media)) return;
  } catch (const Error& e) {  // of this image or recording alone
    ended_ = true;
    return sink(FailedEvent{e.kind(), e.what()});
  }
  bool finite = true;
  if (end > prefilled_) {
    // If nobody asks for the logits of these positions, only the caches are evaluated.
    const auto logits = model.forward(inputs_of(prefilled_, end), cache_);
    auto wanted_arrays = cache_.arrays();
    if (request_.prompt_logprobs) wanted_arrays.push_back(logits);
    mx::eval(wanted_arrays);
    model.check_weights();
    if (request_.prompt_logprobs) {
      const auto next = std::span(request_.prompt)
                            .subspan(static_cast<size_t>(prefilled_) + 1, static_cast<size_t>(end - prefilled_));
      finite = score_tokens(logits, next, request_.top_logprobs, scores_);
    }
  }
  owes_prompt_ = false;
  mx::clear_cache();
  if (!finite)
    return fail(fmt::format("the model's logits are not finite at the prompt's token {}", scores_.size() + 2), sink);
  const bool moved = end > prefilled_;
  if (end == input_tokens_) cache_.trim(1);  // others waited for the last token, which is decoded
  end = std::min(end, input_tokens_ - 1);
  prefilled_ = end;
  if (moved) {
    if (shares(kept)) kept.save(key_, cache_, wanted || end == input_tokens_ - 1);
    sink(progress());
  }
  if (!owes_scores_ || end < input_tokens_ - 1) return;
  owes_scores_ = false;
  sink(PromptEvent{std::exchange(scores_, {})});
}

SamplerRow RunningCompletion::wanted(int row, int vocab) {
  SamplerRow wanted{&sampler_, row, {}, request_.top_logprobs};
  if (request_.constraint) wanted.allowed = allowed_bits(*request_.constraint, vocab);
  return wanted;
}

void RunningCompletion::take(const Sample& sample, const std::function<void(const Event&)>& sink) {
  if (!sample.finite()) {
    return fail(fmt::format("the model's logits are not finite at token {}", usage_.completion_tokens + 1), sink);
  }
  const bool last = !goes_on();
  const int32_t token = sample.value();
  text_.push_back(token);
  if (usage_.completion_tokens++ == 0) {
    timings_.first_token_s = seconds_since(start_);
    first_token_ = Clock::now();
  }
  const auto& eos = request_.eos_token_ids;
  ended_ = last || std::find(eos.begin(), eos.end(), token) != eos.end();
  if (std::find(eos.begin(), eos.end(), token) != eos.end()) return sink(done(FinishReason::stop));
  sink(sample.event());
  try {
    if (request_.constraint && !request_.constraint->accept(token)) {
      return fail(fmt::format("token {} breaks the grammar", token), sink);
    }
  } catch (const Error& e) {  // a grammar's limit was exceeded: a failure of this request alone
    ended_ = true;
    return sink(FailedEvent{e.kind(), e.what()});
  }
  if (last) sink(done(FinishReason::length));
}

void RunningCompletion::fail(const std::string& message, const std::function<void(const Event&)>& sink) {
  ended_ = true;
  sink(FailedEvent{ErrorKind::internal, message});
}

DoneEvent RunningCompletion::done(FinishReason reason) const {
  Timings timings = timings_;
  Usage usage = usage_;
  usage.cached_images = media_.cached_items();
  if (usage_.completion_tokens > 0) timings.decode_s = seconds_since(first_token_);
  return {reason, usage, timings};
}

}  // namespace mlxk
