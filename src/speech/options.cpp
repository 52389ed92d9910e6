#include "speech/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "base/error.h"
#include "media/mel.h"

namespace mlxk {

namespace {
constexpr float kTemperatureStep = 0.2F;
}  // namespace

void translate_to_english(TranscribeOptions& options) {
  options.translate = true;
  options.condition_on_previous_text = false;
}

void translate_to(TranscribeOptions& options, const std::string& language) {
  translate_to_english(options);
  options.to_language = language;
}

std::vector<float> temperatures_from(float first) {
  std::vector<float> all = {first};
  for (float next = first + kTemperatureStep; next < 1 + kTemperatureStep / 2; next += kTemperatureStep)
    all.push_back(next);
  return all;
}

std::optional<std::vector<std::pair<double, std::optional<double>>>> parse_clips(const std::string& text) {
  std::vector<double> times;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    const std::string word = text.substr(at, comma - at);
    char* end = nullptr;
    const double seconds = std::strtod(word.c_str(), &end);
    if (word.empty() || end != word.c_str() + word.size() || !std::isfinite(seconds) || seconds < 0)
      return std::nullopt;
    times.push_back(seconds);
    at = comma + 1;
  }
  std::vector<std::pair<double, std::optional<double>>> clips;
  for (size_t i = 0; i < times.size(); i += 2) {
    clips.emplace_back(times[i], i + 1 < times.size() ? std::optional(times[i + 1]) : std::nullopt);
  }
  return clips;
}

std::vector<FrameClip> frame_clips(const TranscribeOptions& options) {
  constexpr int64_t kToTheEnd = std::numeric_limits<int64_t>::max() / 2;
  std::vector<FrameClip> clips;
  int64_t last = 0;
  for (const auto& [begin, end] : options.clips) {
    const auto first = static_cast<int64_t>(std::llround(begin * kFramesPerSecond));
    const auto until = end ? static_cast<int64_t>(std::llround(*end * kFramesPerSecond)) : kToTheEnd;
    if (begin < 0 || begin > 1e9 || (end && *end > 1e9) || first < last || until < first) {
      throw Error(ErrorKind::invalid, fmt::format("clip_timestamps must rise, got {} after {} s", begin,
                                                  static_cast<double>(last) / kFramesPerSecond));
    }
    clips.push_back({first, until});
    last = until;
  }
  if (clips.empty()) clips.push_back({0, kToTheEnd});
  return clips;
}

}  // namespace mlxk
