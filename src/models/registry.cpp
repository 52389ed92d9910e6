#include "models/registry.h"

#include "models/load.h"

namespace mlxk {
namespace {

struct Row {
  std::string_view model_type;
  ModelMaker make;
};

constexpr Row kRows[] = {
#define MLXK_TEXT_MODEL(name) {#name, make_##name},
#include "models/models.inc"
};

struct SpeechRow {
  std::string_view model_type;
  SpeechMaker make;
};

constexpr SpeechRow kSpeechRows[] = {
#define MLXK_SPEECH_MODEL(name) {#name, make_##name},
#include "models/models.inc"
};

}  // namespace

ModelMaker find_maker(std::string_view model_type) {
  for (const Row& row : kRows) {
    if (row.model_type == model_type) return row.make;
  }
  return nullptr;
}

SpeechMaker find_speech_maker(std::string_view model_type) {
  for (const SpeechRow& row : kSpeechRows) {
    if (row.model_type == model_type) return row.make;
  }
  return nullptr;
}

bool is_built_in(std::string_view model_type) { return find_maker(model_type) != nullptr; }

std::vector<std::string_view> built_in_models() {
  std::vector<std::string_view> names;
  for (const Row& row : kRows) names.push_back(row.model_type);
  return names;
}

std::vector<std::string_view> built_in_speech_models() {
  std::vector<std::string_view> names;
  for (const SpeechRow& row : kSpeechRows) names.push_back(row.model_type);
  return names;
}

}  // namespace mlxk
