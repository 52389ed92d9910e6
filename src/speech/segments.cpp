#include "speech/segments.h"

#include "media/mel.h"

namespace mlxk {

namespace {

constexpr double kStep = 0.02;  // seconds of a timestamp
constexpr int64_t kFramesAStep = 2;

}  // namespace

WindowCut cut_window(const SpeechVocabulary& vocabulary, std::span<const int32_t> tokens, int64_t frames) {
  const int32_t first = vocabulary.timestamps();
  const auto is_timestamp = [&](size_t i) { return tokens[i] >= first; };
  const auto steps = [&](size_t i) { return static_cast<int64_t>(tokens[i] - first); };
  const size_t count = tokens.size();
  WindowCut cut;
  cut.next = frames;
  cut.single_ending = count >= 2 && !is_timestamp(count - 2) && is_timestamp(count - 1);

  std::vector<size_t> ends;  // where segments end: between two timestamps
  for (size_t i = 1; i < count; ++i) {
    if (is_timestamp(i - 1) && is_timestamp(i)) ends.push_back(i);
  }
  if (!ends.empty()) {
    if (cut.single_ending) ends.push_back(count);
    size_t begin = 0;
    for (const size_t end : ends) {
      const auto part = tokens.subspan(begin, end - begin);
      cut.segments.push_back({static_cast<double>(steps(begin)) * kStep, static_cast<double>(steps(end - 1)) * kStep,
                              std::vector<int32_t>(part.begin(), part.end())});
      begin = end;
    }
    if (!cut.single_ending) cut.next = steps(begin - 1) * kFramesAStep;
    return cut;
  }
  double duration = static_cast<double>(frames) / kFramesPerSecond;
  for (size_t i = count; i-- > 0;) {
    if (!is_timestamp(i)) continue;
    if (tokens[i] != first) duration = static_cast<double>(steps(i)) * kStep;
    break;
  }
  cut.segments.push_back({0, duration, std::vector<int32_t>(tokens.begin(), tokens.end())});
  return cut;
}

}  // namespace mlxk
