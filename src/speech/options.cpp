#include "speech/options.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace mlxk {

namespace {
constexpr float kTemperatureStep = 0.2F;
}  // namespace

void translate_to_english(TranscribeOptions& options) {
  options.translate = true;
  options.condition_on_previous_text = false;
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

}  // namespace mlxk
