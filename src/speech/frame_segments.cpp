#include "speech/frame_segments.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "speech/compression.h"
#include "speech/stripped.h"

namespace mlxk {
namespace {

constexpr double kPause = 1, kLongest = 20;  // seconds

bool ends_with_any(std::string_view text, std::initializer_list<std::string_view> ends) {
  return std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return text.ends_with(end); });
}

/// Whether the text begins with a letter of a script without spaces between words: U+2E80 to U+A4CF and U+F900 to
/// U+FAFF, except the punctuation at U+3000.
bool is_unspaced(std::string_view text) {
  if (text.size() < 3) return false;
  const auto byte = [&](size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(text[i])); };
  if (byte(0) < 0xE0 || byte(0) > 0xEF) return false;
  const unsigned letter = (byte(0) & 0xF) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
  const bool punctuation = letter >= 0x3000 && letter < 0x3040;
  return (letter >= 0x2E80 && letter <= 0xA4CF && !punctuation) || (letter >= 0xF900 && letter <= 0xFAFF);
}

}  // namespace

std::optional<SpeechSegment> FrameSegments::add(const TimedToken& token) {
  std::optional<SpeechSegment> ended;
  const bool new_word = token.text.starts_with(' ') || is_unspaced(token.text);
  const std::string_view said = stripped(segment_.text);
  if (!said.empty()) {
    const bool sentence = (new_word && ends_with_any(said, {".", "?", "!"})) || ends_with_any(said, {"。", "？", "！"});
    const bool pause = new_word && token.start - segment_.end >= kPause;
    const bool full = new_word && token.start - segment_.start >= kLongest;
    if (sentence || pause || full) ended = finish();
  }
  // A special token has no text: the segment begins with what is said.
  if (stripped(segment_.text).empty()) segment_.start = token.start;
  segment_.end = std::max(segment_.end, token.end);
  segment_.text += token.text;
  segment_.tokens.push_back(token.id);
  logprobs_ += std::log(std::max(static_cast<double>(token.probability), 1e-30));
  auto& words = segment_.words;
  if (token.text.empty()) return ended;
  if (new_word || words.empty()) {
    words.push_back({token.text, token.start, token.end, token.probability});
  } else {
    words.back().word += token.text;
    words.back().end = std::max(words.back().end, token.end);
    words.back().probability = std::min(words.back().probability, token.probability);
  }
  return ended;
}

std::optional<SpeechSegment> FrameSegments::finish() {
  if (segment_.tokens.empty()) return std::nullopt;
  SpeechSegment ended = std::move(segment_);
  segment_ = {};
  ended.id = count_++;
  ended.avg_logprob = static_cast<float>(logprobs_ / static_cast<double>(ended.tokens.size()));
  ended.compression_ratio = static_cast<float>(compression_ratio(ended.text));
  logprobs_ = 0;
  return ended;
}

}  // namespace mlxk
