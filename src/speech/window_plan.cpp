#include "speech/window_plan.h"

#include <algorithm>

#include "base/error.h"
#include "speech/compression.h"
#include "speech/stripped.h"
#include "speech/unheard.h"

namespace mlxk {

namespace {}  // namespace

WindowPlan::WindowPlan(std::shared_ptr<const SpeechVocabulary> vocabulary, const TranscribeOptions& options,
                       std::optional<int> language, std::vector<int32_t> context, int text_positions, int64_t frames,
                       std::vector<FrameKind> heard)
    : vocabulary_(std::move(vocabulary)),
      options_(options),
      language_(vocabulary_->multilingual() ? language : 0),
      context_(std::move(context)),
      text_positions_(text_positions),
      frames_(frames),
      heard_(std::move(heard)) {
  if (language_) outcome_.language = *language_;
}

SpeechTask WindowPlan::next(const SpeechAnswer& answer) {
  return std::visit([&](const auto& one) { return take(one); }, answer);
}

SpeechTask WindowPlan::take(const SpeechEncoded&) {
  if (language_) return search();
  SpeechDetect detect{vocabulary_->start(), {}};
  for (int i = 0; i < vocabulary_->languages(); ++i) detect.languages.push_back(vocabulary_->language(i));
  return detect;
}

SpeechTask WindowPlan::take(const SpeechLanguages& answer) {
  const auto most = std::max_element(answer.probabilities.begin(), answer.probabilities.end());
  outcome_.language = static_cast<int>(most - answer.probabilities.begin());
  outcome_.language_probability = *most;
  return search();
}

SpeechTask WindowPlan::search() const {
  SpeechSearch search;
  const auto start = vocabulary_->start_sequence(outcome_.language, options_.translate);
  if (!context_.empty()) {
    const size_t room = static_cast<size_t>(text_positions_) / 2 - 1;
    search.prompt.push_back(vocabulary_->previous());
    search.prompt.insert(search.prompt.end(), context_.end() - static_cast<int64_t>(std::min(room, context_.size())),
                         context_.end());
  }
  search.start_index = static_cast<int>(search.prompt.size());
  search.prompt.insert(search.prompt.end(), start.begin(), start.end());
  if (!options_.with_timestamps) search.prompt.push_back(vocabulary_->no_timestamps());
  search.rules = vocabulary_->rules(options_.suppressed, options_.with_timestamps, options_.max_initial_timestamp);
  search.temperature = options_.temperatures.at(attempt_);
  search.candidates = search.temperature > 0 ? std::max(options_.best_of, 1) : 1;
  search.beams = search.temperature > 0 ? 0 : options_.beam_size;
  search.patience = options_.patience;
  search.length_penalty = options_.length_penalty;
  search.max_tokens = options_.max_tokens;
  search.seed = options_.seed;
  return search;
}

SpeechDoubt WindowPlan::doubt_of(const SpeechText& text) const {
  const double logprob = text.mean_logprob();
  const auto& least = options_.logprob_threshold;
  if (least && options_.no_speech_threshold && text.no_speech > *options_.no_speech_threshold && logprob < *least) {
    return SpeechDoubt::none;  // silence, for which another temperature changes nothing
  }
  const auto& most = options_.compression_ratio_threshold;
  if (most && outcome_.compression_ratio > *most) return SpeechDoubt::repeats;
  return least && logprob < *least ? SpeechDoubt::guess : SpeechDoubt::none;
}

bool WindowPlan::is_silent() const {
  if (!options_.no_speech_threshold || outcome_.found.no_speech <= *options_.no_speech_threshold) return false;
  return !options_.logprob_threshold || outcome_.found.mean_logprob() <= *options_.logprob_threshold;
}

SpeechTask WindowPlan::take(const SpeechText& answer) {
  outcome_.found = answer;
  outcome_.temperature = options_.temperatures[attempt_];
  outcome_.text = vocabulary_->decode(answer.tokens);
  outcome_.compression_ratio = compression_ratio(stripped(outcome_.text));
  outcome_.silent = is_invented(answer, heard_);
  if (outcome_.silent) return SpeechFinish{};
  outcome_.doubt = doubt_of(answer);
  if (outcome_.doubt != SpeechDoubt::none && attempt_ + 1 < options_.temperatures.size()) {
    ++attempt_;
    return search();
  }
  outcome_.silent = is_silent();
  if (outcome_.silent) return SpeechFinish{};
  outcome_.cut = cut_window(*vocabulary_, answer.tokens, frames_);
  if (!options_.word_timestamps) return SpeechFinish{};
  SpeechAlign align{vocabulary_->start_sequence(outcome_.language, options_.translate), vocabulary_->end()};
  align.tokens.push_back(vocabulary_->no_timestamps());
  const size_t before = align.tokens.size();
  for (const auto& segment : outcome_.cut.segments) {
    std::copy_if(segment.tokens.begin(), segment.tokens.end(), std::back_inserter(align.tokens),
                 [&](int32_t token) { return token < vocabulary_->end(); });
  }
  if (align.tokens.size() == before) return SpeechFinish{};
  align.tokens.push_back(vocabulary_->end());
  return align;
}

SpeechTask WindowPlan::take(const SpeechAlignment& answer) {
  outcome_.alignment = answer;
  return SpeechFinish{};
}

SpeechTask WindowPlan::take(const SpeechEmitted& /*answer*/) {
  throw Error(ErrorKind::internal, "[speech] an answer to another task");
}

}  // namespace mlxk
