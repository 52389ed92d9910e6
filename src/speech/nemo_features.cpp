#include "speech/nemo_features.h"

#include <fmt/format.h>

#include "json/json.h"
#include "media/mel.h"
#include "speech/section.h"

namespace mlxk {
namespace {

void check(const Section& section, const char* size, const NemoMelOptions& o) {
  if ((o.size & (o.size - 1)) != 0) throw section.bad(size, fmt::format("must be a power of 2, got {}", o.size));
  if (o.window > o.size || o.window < 1) {
    throw section.bad(size, fmt::format("must be at least the window of {} samples, got {}", o.window, o.size));
  }
  if (o.hop < 1) throw section.bad(size, "needs a hop of 1 sample or more");
}

}  // namespace

NemoMelOptions nemo_mel(const Json& config) {
  const Section s{value_at(config, "preprocessor"), "config.json preprocessor"};
  if (!s.json.is_object()) throw s.bad("features", "is missing");
  NemoMelOptions o;
  s.only("sample_rate", {Json(kSpeechRate)});
  s.only("normalize", {Json("per_feature"), Json("NA"), Json("")});
  s.only("window", {Json("hann"), Json("hanning")});
  s.only("log", {Json(true)});
  s.only("log_zero_guard_type", {Json("add")});
  s.only("mag_power", {Json(2.0), Json(2)});
  s.only("exact_pad", {Json(false)});
  o.mels = s.whole("features", 80, 1, 1024);
  o.size = s.whole("n_fft", 512, 2, 1 << 14);
  o.window = static_cast<int>(s.number("window_size", 0.025, 0, 1) * kSpeechRate);
  o.hop = static_cast<int>(s.number("window_stride", 0.01, 0, 1) * kSpeechRate);
  o.preemphasis = s.number("preemph", 0.97, 0, 1);
  o.low = s.number("lowfreq", 0, 0, kSpeechRate / 2.0);
  o.high = s.number("highfreq", kSpeechRate / 2.0, o.low + 1, kSpeechRate / 2.0);
  if (value_at(s.json, "log_zero_guard_value").is_number())
    o.guard = s.number("log_zero_guard_value", o.guard, 1e-30, 1);
  const Json& normalise = value_at(s.json, "normalize");
  o.normalise = normalise.is_null() || normalise == "per_feature";
  check(s, "n_fft", o);
  return o;
}

NemoMelOptions transformers_mel(const std::filesystem::path& dir) {
  const Json json = read_json(dir / "preprocessor_config.json");
  const Section s{json, "preprocessor_config.json"};
  NemoMelOptions o;
  s.only("sampling_rate", {Json(kSpeechRate)});
  o.mels = s.whole("feature_size", 80, 1, 1024);
  o.size = s.whole("n_fft", 512, 2, 1 << 14);
  o.window = s.whole("win_length", 400, 1, 1 << 14);
  o.hop = s.whole("hop_length", 160, 1, 1 << 14);
  o.preemphasis = s.number("preemphasis", 0.97, 0, 1);
  check(s, "n_fft", o);
  return o;
}

}  // namespace mlxk
