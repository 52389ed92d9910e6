#include "speech/frame_vocabulary.h"

#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "json/json.h"
#include "json/member.h"
#include "media/mel.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

/// A section of a JSON file; errors name it and the key. A null value counts as absent.
struct Section {
  const Json& json;
  std::string place;

  Error bad(const char* key, const std::string& what) const {
    return Error(ErrorKind::bad_model, fmt::format("[{}] {} {}", place, key, what));
  }
  double number(const char* key, double fallback, double low, double high) const {
    const Json& value = value_at(json, key);
    if (value.is_null()) return fallback;
    const double x = value.is_number() ? value.get<double>() : NAN;
    if (x >= low && x <= high) return x;
    throw bad(key, fmt::format("must be a number from {} to {}, got {}", low, high, value.dump()));
  }
  int whole(const char* key, int fallback, int low, int high) const {
    const double x = number(key, fallback, low, high);
    if (x != std::floor(x)) throw bad(key, fmt::format("must be a whole number, got {}", x));
    return static_cast<int>(x);
  }
  /// Throws unsupported unless the value is absent or one of `built_in`.
  void only(const char* key, std::initializer_list<Json> built_in) const {
    const Json& value = value_at(json, key);
    if (value.is_null() || std::find(built_in.begin(), built_in.end(), value) != built_in.end()) return;
    throw Error(ErrorKind::unsupported, fmt::format("[{}] {} {} is not built in", place, key, value.dump()));
  }
};

void check(const Section& section, const char* size, const NemoMelOptions& o) {
  if ((o.size & (o.size - 1)) != 0) throw section.bad(size, fmt::format("must be a power of 2, got {}", o.size));
  if (o.window > o.size || o.window < 1) {
    throw section.bad(size, fmt::format("must be at least the window of {} samples, got {}", o.window, o.size));
  }
  if (o.hop < 1) throw section.bad(size, "needs a hop of 1 sample or more");
}

NemoMelOptions nemo_mel(const Json& config) {
  const Section s{value_at(config, "preprocessor"), "config.json preprocessor"};
  if (!s.json.is_object()) throw s.bad("features", "is missing");
  NemoMelOptions o;
  s.only("sample_rate", {Json(kSpeechRate)});
  s.only("normalize", {Json("per_feature"), Json("NA"), Json("")});
  s.only("window", {Json("hann")});
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

NemoMelOptions transformers_mel(const fs::path& dir) {
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

std::vector<std::string> listed_pieces(const Json& config) {
  for (const char* name : {"joint", "decoder"}) {
    const Json& list = value_at(value_at(config, name), "vocabulary");
    if (!list.is_array()) continue;
    std::vector<std::string> pieces;
    for (const Json& piece : list) {
      if (!piece.is_string()) {
        throw Error(ErrorKind::bad_model, fmt::format("[config.json] {}.vocabulary must be a list of texts", name));
      }
      pieces.push_back(piece.get<std::string>());
    }
    return pieces;
  }
  throw Error(ErrorKind::bad_model, "[config.json] joint.vocabulary, the tokens' texts, is missing");
}

/// A piece as text: U+2581 begins a word, and pieces in angle brackets are special.
std::string text_of_piece(std::string piece) {
  constexpr std::string_view kSpace = "\xE2\x96\x81";
  if (piece.size() > 2 && piece.front() == '<' && piece.back() == '>') return {};
  for (size_t at = 0; (at = piece.find(kSpace, at)) != std::string::npos; ++at) piece.replace(at, kSpace.size(), " ");
  return piece;
}

}  // namespace

FrameVocabulary::FrameVocabulary(std::vector<std::string> pieces, const NemoMelOptions& mel, int stride)
    : mel_(mel), stride_(stride) {
  for (std::string& piece : pieces) texts_.push_back(text_of_piece(std::move(piece)));
}

std::shared_ptr<const FrameVocabulary> FrameVocabulary::load(const fs::path& model_dir, int64_t vocab_size) {
  const Json config = read_json(model_dir / "config.json");
  if (!value_at(config, "encoder_config").is_object()) {
    const Section encoder{value_at(config, "encoder"), "config.json encoder"};
    return std::make_shared<const FrameVocabulary>(listed_pieces(config), nemo_mel(config),
                                                   encoder.whole("subsampling_factor", 4, 1, 64));
  }
  const auto tokenizer = Tokenizer::load(model_dir);
  std::vector<std::string> pieces;
  for (int64_t id = 0; id < vocab_size; ++id) {
    const auto token = static_cast<int32_t>(id);
    pieces.push_back(tokenizer->is_special(token) ? "" : tokenizer->id_to_token(token).value_or(""));
  }
  const Section encoder{value_at(config, "encoder_config"), "config.json encoder_config"};
  return std::make_shared<const FrameVocabulary>(std::move(pieces), transformers_mel(model_dir),
                                                 encoder.whole("subsampling_factor", 8, 1, 64));
}

const std::string& FrameVocabulary::text_of(int32_t id) const {
  static const std::string none;
  return id >= 0 && static_cast<size_t>(id) < texts_.size() ? texts_[static_cast<size_t>(id)] : none;
}

}  // namespace mlxk
