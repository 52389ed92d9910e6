#include "speech/word_times.h"

#include <algorithm>
#include <cmath>

namespace mlxk {

namespace {

constexpr const char* kSentenceEnds = ".。!！?？";
// As in prepend_punctuations and append_punctuations: words without a time of their own.
constexpr const char* kPunctuation = "\"'“¿([{-\"'.。,，!！?？:：”)]}、";

bool is_in(const std::string& word, const char* marks) { return std::string(marks).find(word) != std::string::npos; }

double rounded(double seconds) { return std::round(seconds * 100) / 100; }

double median_duration(const std::vector<TimedWord>& words) {
  std::vector<double> durations;
  for (const auto& word : words) {
    if (word.end != word.start) durations.push_back(word.end - word.start);
  }
  if (durations.empty()) return 0;
  std::sort(durations.begin(), durations.end());
  const size_t half = durations.size() / 2;
  const double median = durations.size() % 2 == 1 ? durations[half] : (durations[half - 1] + durations[half]) / 2;
  return std::min(0.7, median);
}

/// Limits words at the ends of sentences to `most`.
void shorten_at_sentences(std::vector<TimedWord>& words, double most) {
  for (size_t i = 1; i < words.size(); ++i) {
    if (words[i].end - words[i].start <= most) continue;
    if (is_in(words[i].word, kSentenceEnds)) {
      words[i].end = words[i].start + most;
    } else if (is_in(words[i - 1].word, kSentenceEnds)) {
      words[i].start = words[i].end - most;
    }
  }
}

/// Corrects the first words after a pause, and segment and words at the segment's edges.
void fit_edges(SpeechSegment& segment, double median, double last_speech) {
  auto& words = segment.words;
  const double most = 2 * median;
  const bool paused = words[0].end - last_speech > 4 * median;
  const bool drawn_out =
      words[0].end - words[0].start > most || (words.size() > 1 && words[1].end - words[0].start > 2 * most);
  if (paused && drawn_out) {
    if (words.size() > 1 && words[1].end - words[1].start > most) {
      words[0].end = words[1].start = std::max(words[1].end / 2, words[1].end - most);
    }
    words[0].start = std::max(0.0, words[0].end - most);
  }
  if (segment.start < words[0].end && segment.start - 0.5 > words[0].start) {
    words[0].start = std::max(0.0, std::min(words[0].end - median, segment.start));
  } else {
    segment.start = words[0].start;
  }
  auto& last = words.back();
  if (segment.end > last.start && segment.end + 0.5 < last.end) {
    last.end = std::max(last.start + median, segment.end);
  } else {
    segment.end = last.end;
  }
}

/// A score for suspicious words: improbable, very short or very long.
double doubt(const SpokenWord& word) {
  const double duration = word.end - word.start;
  double score = word.probability < 0.15F ? 1 : 0;
  if (duration < 0.133) score += (0.133 - duration) * 15;
  if (duration > 2.0) score += duration - 2.0;
  return score;
}

bool is_doubtful(const SpeechSegment* segment) {
  if (!segment || segment->words.empty()) return false;
  double score = 0;
  int count = 0;
  for (const auto& word : segment->words) {
    if (is_in(word.word, kPunctuation)) continue;
    if (++count > 8) break;
    score += doubt(word);
  }
  count = std::min(count, 8);
  return score >= 3 || score + 0.01 >= count;
}

const SpeechSegment* next_with_words(std::span<const SpeechSegment> segments) {
  const auto found = std::find_if(segments.begin(), segments.end(), [](const auto& one) { return !one.words.empty(); });
  return found == segments.end() ? nullptr : &*found;
}

}  // namespace

double add_words(std::vector<SpeechSegment>& segments, std::vector<TimedWord> words, const SpeechVocabulary& vocabulary,
                 const TranscribeOptions& options, double offset, double last_speech) {
  const double median = median_duration(words);
  if (median > 0) shorten_at_sentences(words, 2 * median);
  merge_punctuation(words, options.prepend_punctuations, options.append_punctuations);
  size_t next = 0;
  for (auto& segment : segments) {
    const auto wanted = static_cast<size_t>(std::count_if(segment.tokens.begin(), segment.tokens.end(),
                                                          [&](int32_t token) { return token < vocabulary.end(); }));
    for (size_t taken = 0; next < words.size() && taken < wanted; ++next) {
      const TimedWord& word = words[next];
      taken += word.tokens.size();
      if (word.word.empty()) continue;
      segment.words.push_back({word.word, rounded(offset + word.start), rounded(offset + word.end), word.probability});
    }
    if (segment.words.empty()) continue;
    fit_edges(segment, median, last_speech);
    last_speech = segment.end;
  }
  return last_speech;
}

DoubtfulVerdict judge_window(std::span<const SpeechSegment> segments, const DoubtfulWindow& window) {
  DoubtfulVerdict verdict{segments.size(), std::nullopt, false};
  const SpeechSegment* first = next_with_words(segments);
  if (first && is_doubtful(first) && first->start - window.offset > window.threshold) {
    verdict.skip = true;
    verdict.seek = first->start;
    return verdict;
  }
  double last_end = window.last_speech;
  for (size_t i = 0; i < segments.size(); ++i) {
    const SpeechSegment& segment = segments[i];
    if (segment.words.empty()) continue;
    if (is_doubtful(&segment)) {
      const SpeechSegment* next = next_with_words(segments.subspan(i + 1));
      const double next_start = next ? next->words.front().start : window.offset + window.duration;
      const bool before = segment.start - last_end > window.threshold || segment.start < window.threshold ||
                          segment.start - window.offset < 2.0;
      const bool after =
          next_start - segment.end > window.threshold || is_doubtful(next) || window.end - segment.end < 2.0;
      if (before && after) {
        verdict.keep = i;
        verdict.seek = window.content - segment.end < window.threshold ? window.content
                                                                       : std::max(window.offset + 1, segment.start);
        return verdict;
      }
    }
    last_end = segment.end;
  }
  return verdict;
}

}  // namespace mlxk
