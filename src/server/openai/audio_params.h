#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "json/json.h"
#include "server/openai/fields.h"
#include "speech/formats.h"
#include "speech/options.h"

namespace mlxk {

/// The parameters of a transcription; every field was checked.
struct AudioParams {
  std::string model;
  TranscribeOptions options;
  TranscriptFormat format = TranscriptFormat::json;
  bool segments = true, words = false;  // of verbose_json
  bool stream = false;
  std::optional<int64_t> deadline_ms;
};

const std::vector<Field<AudioParams>>& audio_fields();
/// The JSON Schema of the form, its file included.
const Json& audio_schema();

/// Reads the fields of a form: `timestamp_granularities[]` is one item of a list, `a[b]` a member of an object; an
/// empty value is as good as absent. Throws ApiError 400.
AudioParams parse_audio(const std::vector<std::pair<std::string, std::string>>& fields, bool has_file, bool translate);

}  // namespace mlxk
