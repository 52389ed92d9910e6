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
#include "speech/nemo_features.h"
#include "speech/pieces.h"
#include "speech/section.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

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
  auto all = sentencepiece_pieces(read_file(dir / kModel, kMaxBytes), dir / kModel);
  all.resize(pieces.size());
  return all;
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
  std::vector<std::string> pieces = tokenizer_pieces(*tokenizer, vocab_size);
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (tokenizer->is_special(static_cast<int32_t>(id))) pieces[id].clear();
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
