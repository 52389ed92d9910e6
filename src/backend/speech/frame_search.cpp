#include "backend/speech/frame_search.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace mlxk {
namespace {

int32_t best_of(std::span<const float> scores) {
  return static_cast<int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

float likelihood(std::span<const float> scores, int32_t best) {
  double sum = 0;
  for (const float x : scores) sum += std::exp(static_cast<double>(x - scores[static_cast<size_t>(best)]));
  if (!std::isfinite(sum)) throw Error(ErrorKind::internal, "[speech] the scores are not finite");
  return static_cast<float>(1 / sum);
}

}  // namespace

FrameSearch::FrameSearch(const FrameRule& rule, SpeechEmit task)
    : rule_(rule), task_(std::move(task)), frame_(task_.first + task_.state.skip) {}

bool FrameSearch::take(std::span<const float> scores) {
  const auto tokens = scores.first(scores.size() - rule_.durations.size());
  const int32_t best = best_of(tokens);
  const float likely = likelihood(tokens, best);
  if (!rule_.transducer) return take_ctc(best, likely);
  const bool spoken = best != rule_.blank;
  if (rule_.durations.empty()) {
    if (spoken) {
      add(best, 1, likely);
      task_.state.last = best;
    }
    if (!spoken || ++symbols_ >= rule_.max_symbols) {
      ++frame_;
      symbols_ = 0;
    }
    return spoken;
  }
  const int duration = rule_.durations[static_cast<size_t>(best_of(scores.subspan(tokens.size())))];
  if (spoken) {
    add(best, duration, likely);
    task_.state.last = best;
  }
  // A blank that stays would be repeated for ever.
  const bool stuck = duration == 0 && (!spoken || ++symbols_ >= rule_.max_symbols);
  if (duration > 0 || stuck) symbols_ = 0;
  frame_ += stuck ? 1 : duration;
  return spoken;
}

bool FrameSearch::take_ctc(int32_t best, float likely) {
  const bool repeats = best == task_.state.last;
  if (best != rule_.blank) {
    if (!repeats) add(best, 1, likely);
    // A token that continues from the window before has its end there.
    if (repeats && !found_.tokens.empty()) ++found_.tokens.back().duration;
  }
  task_.state.last = best;
  ++frame_;
  return best != rule_.blank && !repeats;
}

SpeechEmitted FrameSearch::result() && {
  found_.state = {task_.state.last, std::max(0, frame_ - task_.last), {}};
  return std::move(found_);
}

}  // namespace mlxk
