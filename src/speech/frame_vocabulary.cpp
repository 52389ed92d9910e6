#include "speech/frame_vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "json/json.h"
#include "json/member.h"
#include "media/kaldi_mel.h"
#include "media/mel.h"
#include "media/nemo_mel.h"
#include "speech/languages.h"
#include "tokenizer/sentencepiece.h"
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

/// The numbers between the brackets after `part` of am.mvn, Kaldi's text form of two layers of a network.
std::vector<float> numbers_of(const std::string& text, const std::string& part, size_t count) {
  const auto bad = [&](const std::string& what) {
    return Error(ErrorKind::bad_model, fmt::format("[am.mvn] <{}> {}", part, what));
  };
  const size_t begin = text.find('<' + part + '>');
  const size_t coefficient = begin == text.npos ? begin : text.find("<LearnRateCoef>", begin);
  const size_t open = coefficient == text.npos ? coefficient : text.find('[', coefficient);
  const size_t close = open == text.npos ? open : text.find(']', open);
  if (close == text.npos) throw bad("is missing");
  std::vector<float> numbers;
  const char *at = text.data() + open + 1, *end = text.data() + close;
  while (true) {
    while (at < end && std::isspace(static_cast<unsigned char>(*at))) ++at;
    if (at == end) break;
    float number = 0;
    const auto [after, error] = std::from_chars(at, end, number);
    if (error != std::errc() || !std::isfinite(number) || numbers.size() == count) {
      throw bad(fmt::format("must hold {} numbers", count));
    }
    numbers.push_back(number);
    at = after;
  }
  if (numbers.size() != count) throw bad(fmt::format("must hold {} numbers, got {}", count, numbers.size()));
  return numbers;
}

KaldiMelOptions sensevoice_mel(const fs::path& dir, const Json& config) {
  static const Json none = Json::object();
  const Json& given = value_at(config, "frontend_conf");
  const Section s{given.is_null() ? none : given, "config.json frontend_conf"};
  KaldiMelOptions o;
  s.only("fs", {Json(kSpeechRate)});
  s.only("window", {Json("hamming")});
  s.only("frame_length", {Json(25)});
  s.only("frame_shift", {Json(10)});
  o.mels = s.whole("n_mels", o.mels, 1, 1024);
  o.stacked = s.whole("lfr_m", o.stacked, 1, 64);
  o.step = s.whole("lfr_n", o.step, 1, 64);
  const Section whole{config, "config.json"};
  const int width = whole.whole("input_size", 560, 1, 1 << 16);
  if (width != o.mels * o.stacked) {
    throw whole.bad("input_size", fmt::format("must be n_mels * lfr_m = {}, got {}", o.mels * o.stacked, width));
  }
  constexpr size_t kMaxBytes = size_t{8} << 20;
  const std::string text = read_file(dir / "am.mvn", kMaxBytes);
  o.shift = numbers_of(text, "AddShift", static_cast<size_t>(width));
  o.scale = numbers_of(text, "Rescale", static_cast<size_t>(width));
  return o;
}

/// The pieces of SenseVoice's vocabulary: those that tokens.json lists, else those of the SentencePiece model.
std::vector<std::string> sensevoice_pieces(const fs::path& dir, int64_t vocab_size) {
  constexpr const char* kModel = "chn_jpn_yue_eng_ko_spectok.bpe.model";
  constexpr size_t kMaxBytes = size_t{64} << 20;
  std::vector<std::string> pieces(static_cast<size_t>(vocab_size));
  const bool listed = fs::exists(dir / "tokens.json");
  if (listed) {
    const Json list = read_json(dir / "tokens.json");
    const bool texts =
        list.is_array() && std::all_of(list.begin(), list.end(), [](const Json& piece) { return piece.is_string(); });
    if (!texts) throw Error(ErrorKind::bad_model, "[tokens.json] must be a list of texts");
    for (size_t i = 0; i < std::min(pieces.size(), list.size()); ++i) pieces[i] = list[i].get<std::string>();
    return pieces;
  }
  TokenizerConfig names;
  const Json json =
      parse_json(tokenizer_json_from_sentencepiece(read_file(dir / kModel, kMaxBytes), dir / kModel, names), kModel);
  const Json& vocabulary = value_at(value_at(json, "model"), "vocab");
  if (vocabulary.is_array()) {
    for (size_t i = 0; i < std::min(pieces.size(), vocabulary.size()); ++i) pieces[i] = vocabulary[i][0];
  } else {
    for (const auto& [piece, id] : vocabulary.items()) {
      if (id.get<size_t>() < pieces.size()) pieces[id.get<size_t>()] = piece;
    }
  }
  return pieces;
}

struct ToldLanguage {
  const char* code;
  int32_t condition;
};
// Rows of SenseVoice's embedding.
constexpr ToldLanguage kToldLanguages[] = {{"zh", 3}, {"en", 4}, {"yue", 7}, {"ja", 11}, {"ko", 12}};
constexpr int32_t kAnyLanguage = 0, kTellEvent = 1, kTellEmotion = 2, kWithItn = 14, kWithoutItn = 15;

/// The row of a language; nullopt: there is none.
std::optional<int32_t> condition_of(const std::string& language) {
  const auto found = find_language(language);
  if (!found) return std::nullopt;
  for (const auto& [code, condition] : kToldLanguages) {
    if (language_code(*found) == code) return condition;
  }
  return std::nullopt;
}

/// The X of `<|X|>`.
std::string tag_in(const std::string& piece) {
  const bool tag = piece.size() > 4 && piece.starts_with("<|") && piece.ends_with("|>");
  return tag ? piece.substr(2, piece.size() - 4) : "";
}

}  // namespace

FrameVocabulary::FrameVocabulary(std::vector<std::string> pieces, FrameFeatures features, int hop, bool tagged)
    : features_(std::move(features)), hop_(hop) {
  for (std::string& piece : pieces) {
    if (tagged) tags_.push_back(tag_in(piece));
    texts_.push_back(text_of_piece(std::move(piece)));
  }
}

std::shared_ptr<const FrameVocabulary> FrameVocabulary::load(const fs::path& model_dir, int64_t vocab_size) {
  const Json config = read_json(model_dir / "config.json");
  const auto nemo = [](std::vector<std::string> pieces, const NemoMelOptions& mel, int stride) {
    return std::make_shared<const FrameVocabulary>(std::move(pieces), NemoMel(mel), mel.hop * stride);
  };
  if (value_at(config, "model_type") == "sensevoice") {
    const KaldiMelOptions mel = sensevoice_mel(model_dir, config);
    return std::make_shared<const FrameVocabulary>(sensevoice_pieces(model_dir, vocab_size), KaldiMel(mel),
                                                   mel.hop * mel.step, true);
  }
  if (!value_at(config, "encoder_config").is_object()) {
    const Section encoder{value_at(config, "encoder"), "config.json encoder"};
    return nemo(listed_pieces(config), nemo_mel(config), encoder.whole("subsampling_factor", 4, 1, 64));
  }
  const auto tokenizer = Tokenizer::load(model_dir);
  std::vector<std::string> pieces;
  for (int64_t id = 0; id < vocab_size; ++id) {
    const auto token = static_cast<int32_t>(id);
    pieces.push_back(tokenizer->is_special(token) ? "" : tokenizer->id_to_token(token).value_or(""));
  }
  const Section encoder{value_at(config, "encoder_config"), "config.json encoder_config"};
  return nemo(std::move(pieces), transformers_mel(model_dir), encoder.whole("subsampling_factor", 8, 1, 64));
}

const std::string& FrameVocabulary::text_of(int32_t id) const {
  static const std::string none;
  return id >= 0 && static_cast<size_t>(id) < texts_.size() ? texts_[static_cast<size_t>(id)] : none;
}

const std::string& FrameVocabulary::tag_of(int32_t id) const {
  static const std::string none;
  return id >= 0 && static_cast<size_t>(id) < tags_.size() ? tags_[static_cast<size_t>(id)] : none;
}

bool FrameVocabulary::can_be_told(const std::string& language) const {
  return tag_frames() > 0 && condition_of(language).has_value();
}

std::vector<int32_t> FrameVocabulary::conditions(const TranscribeOptions& options) const {
  if (tag_frames() == 0) return {};
  return {condition_of(options.language).value_or(kAnyLanguage), kTellEvent, kTellEmotion,
          options.itn ? kWithItn : kWithoutItn};
}

}  // namespace mlxk
