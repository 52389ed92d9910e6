#include "serving/speech_abilities.h"

#include <algorithm>

#include "json/json.h"
#include "json/member.h"
#include "probe/built_in.h"
#include "probe/files.h"
#include "probe/front_matter.h"
#include "probe/model_entry.h"
#include "speech/canary_vocabulary.h"
#include "speech/languages.h"
#include "speech/vocabulary.h"

namespace mlxk {
namespace {

/// Whisper's languages follow from the size of its vocabulary.
std::vector<std::string> whisper_languages(const ModelInfo& info) {
  const Json config = read_config_of(info.ref);
  for (const char* key : {"n_vocab", "vocab_size"}) {
    const Json& size = value_at(config, key);
    if (!size.is_number_integer()) continue;
    std::vector<std::string> codes;
    const int count = SpeechVocabulary::languages_of(size.get<int64_t>());
    for (int i = 0; i < count; ++i) codes.emplace_back(language_code(i));
    return codes;
  }
  return {};
}

/// The languages that the README's front matter names.
std::vector<std::string> named_languages(const ModelInfo& info) {
  std::vector<std::string> codes;
  for (const std::string& name : front_matter_values(ModelFiles(info.ref.path), "language")) {
    const auto known = find_language(name);
    const bool code = name.size() <= 3;  // of a language that Whisper does not know; longer: "multilingual"
    if (known || code) codes.push_back(known ? std::string(language_code(*known)) : name);
  }
  return codes;
}

}  // namespace

std::optional<SpeechAbilities> speech_abilities(const ModelInfo& info) {
  if (!info.audio.ok) return std::nullopt;
  SpeechAbilities abilities;
  const bool whisper = info.model_type == "whisper";
  abilities.languages = whisper                           ? whisper_languages(info)
                        : info.model_type == "sensevoice" ? std::vector<std::string>{"zh", "yue", "en", "ja", "ko"}
                        : info.model_type == "canary"     ? canary_languages(read_config_of(info.ref))
                                                          : named_languages(info);
  if (info.load_kind() == ModelKind::speech) {
    abilities.segment_times = true;
    abilities.word_times = info.model_type != "moonshine" && info.model_type != "canary";
    abilities.translation = info.translates_to_english;
  }
  if (same_type(info.model_type, "vibevoice") || same_type(info.model_type, "vibevoice_asr")) {
    abilities.segment_times = abilities.diarization = true;
  }
  return abilities;
}

Json speech_json(const ModelInfo& info) {
  const auto abilities = speech_abilities(info);
  if (!abilities) return nullptr;
  return {{"languages", abilities->languages.empty() ? Json(nullptr) : Json(abilities->languages)},
          {"segment_times", abilities->segment_times},
          {"word_times", abilities->word_times},
          {"translation", abilities->translation},
          {"diarization", abilities->diarization}};
}

}  // namespace mlxk
