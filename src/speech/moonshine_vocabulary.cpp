#include "speech/moonshine_vocabulary.h"

#include <fmt/format.h>

#include "base/error.h"
#include "json/json.h"
#include "json/member.h"

namespace mlxk {

namespace {
constexpr size_t kMinSamples = 895;  // that the encoder accepts
}

std::shared_ptr<const MoonshineVocabulary> MoonshineVocabulary::load(const std::filesystem::path& model_dir,
                                                                     int64_t vocab_size) {
  const Json config = read_json(model_dir / "config.json");
  const auto token = [&](const char* key, int32_t fallback) {
    const Json& value = value_at(config, key);
    if (value.is_null()) return fallback;
    if (value.is_number_integer() && value >= 0 && value < vocab_size) return value.get<int32_t>();
    throw Error(ErrorKind::bad_model,
                fmt::format("[config.json] {} must be a token of the {}, got {}", key, vocab_size, value.dump()));
  };
  return std::make_shared<const MoonshineVocabulary>(Tokenizer::load(model_dir), token("decoder_start_token_id", 1),
                                                     token("eos_token_id", 2));
}

std::vector<float> MoonshineVocabulary::features(std::span<const float> samples) const {
  if (samples.size() < kMinSamples) return {};
  return {samples.begin(), samples.end()};
}

const std::vector<std::string>& MoonshineVocabulary::languages() const {
  static const std::vector<std::string> none;
  return none;
}

}  // namespace mlxk
