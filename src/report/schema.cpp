#include "report/schema.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/timestamp.h"
#include "json/json.h"
#include "json/member.h"
#include "report/record.h"

namespace mlxk {

namespace {

constexpr std::string_view kVersions[] = {"0.2.2", "0.2.1", "0.2.0", "0.1.0"};
constexpr std::string_view kOutcomes[] = {"passed", "failed", "skipped"};
constexpr std::string_view kFlags[] = {"clean", "degraded_swap", "degraded_zombies", "degraded_memory"};
constexpr std::string_view kModalities[] = {"vision", "text", "audio", "video"};

using Type = FieldType;

constexpr SchemaField kFields[] = {
    {"schema_version", Type::text, true, false, kVersions},
    {"timestamp", Type::text, true},
    {"test_start_ts", Type::number, false, true},
    {"test_end_ts", Type::number, false, true},
    {"mlx_knife_version", Type::text, true},
    {"test", Type::text, true},
    {"outcome", Type::text, true, false, kOutcomes},
    {"duration", Type::number, false, true},
    {"model", Type::object},
    {"model.id", Type::text},
    {"model.size_gb", Type::number, false, true},
    {"model.family", Type::text},
    {"model.variant", Type::text},
    {"model.framework", Type::text},
    {"model.quantization", Type::text},
    {"performance", Type::object},
    {"performance.tokens_per_sec", Type::number, false, true},
    {"performance.ram_peak_mb", Type::number, false, true},
    {"performance.duration_s", Type::number, false, true},
    {"performance.prompt_tokens", Type::integer, false, true},
    {"performance.completion_tokens", Type::integer, false, true},
    {"performance.model_load_time_s", Type::number, false, true},
    {"performance.time_to_first_token_s", Type::number, false, true},
    {"performance.cleanup_time_s", Type::number, false, true},
    {"performance.peak_ram_gb", Type::number, false, true},
    {"performance.stable_ram_gb", Type::number, false, true},
    {"stop_tokens", Type::object},
    {"stop_tokens.configured", Type::texts},
    {"stop_tokens.detected", Type::texts},
    {"stop_tokens.workaround", Type::text},
    {"stop_tokens.leaked", Type::boolean},
    {"system", Type::object},
    {"system.platform", Type::text},
    {"system.platform_version", Type::text},
    {"system.python_version", Type::text},
    {"system.mlx_version", Type::text},
    {"system.hardware", Type::text},
    {"system.ram_total_gb", Type::number},
    {"system.hardware_profile", Type::object},
    {"system.hardware_profile.model_identifier", Type::text},
    {"system.hardware_profile.chip", Type::text},
    {"system.hardware_profile.chip_cores_performance", Type::integer, false, true},
    {"system.hardware_profile.chip_cores_efficiency", Type::integer, false, true},
    {"system.hardware_profile.gpu_cores", Type::integer, false, true},
    {"system.hardware_profile.metal_version", Type::text},
    {"system_health", Type::object},
    {"system_health.swap_gb", Type::number, false, true},
    {"system_health.ram_free_gb", Type::number, false, true},
    {"system_health.zombies_detected", Type::integer, false, true},
    {"system_health.quality_flags", Type::texts, false, false, kFlags},
    {"timeline", Type::object},
    {"timeline.server_start_ms", Type::number, false, true},
    {"timeline.model_load_start_ms", Type::number, false, true},
    {"timeline.model_load_complete_ms", Type::number, false, true},
    {"timeline.server_ready_ms", Type::number, false, true},
    {"timeline.request_sent_ms", Type::number, false, true},
    {"timeline.first_token_ms", Type::number, false, true},
    {"timeline.stream_complete_ms", Type::number, false, true},
    {"timeline.shutdown_request_ms", Type::number, false, true},
    {"timeline.cleanup_complete_ms", Type::number, false, true},
    {"metadata", Type::object},
    {"metadata.inference_modality", Type::text, false, false, kModalities},
};

/// A value as shown in an error message.
std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

/// Whether `value` is a whole number that a double represents exactly; in JSON Schema 1.0 is one.
bool is_integer(const Json& value) {
  if (!value.is_number()) return false;
  const auto number = value.get<double>();
  return std::trunc(number) == number && std::abs(number) < 0x1p53;
}

/// Describes a mismatch between `value` and `type`; empty: none.
std::string wrong_type(const Json& value, FieldType type) {
  const auto is_text = [](const Json& each) { return each.is_string(); };
  switch (type) {
    case Type::text: return value.is_string() ? "" : "must be text";
    case Type::boolean: return value.is_boolean() ? "" : "must be true or false";
    case Type::object: return value.is_object() ? "" : "must be an object";
    case Type::texts:
      return value.is_array() && std::all_of(value.begin(), value.end(), is_text) ? "" : "must be a list of texts";
    case Type::number: return value.is_number() && std::isfinite(value.get<double>()) ? "" : "must be a number";
    case Type::integer: return is_integer(value) ? "" : "must be a whole number";
  }
  return {};
}

/// Whether `text` begins with a version: three numbers separated by points.
bool is_version(const std::string& text) {
  size_t at = 0;
  for (int part = 0; part < 3; ++part) {
    if (part > 0 && (at >= text.size() || text[at++] != '.')) return false;
    const size_t begin = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    if (at == begin) return false;
  }
  return true;
}

std::string wrong_value(const Json& value, const SchemaField& field) {
  const auto is_choice = [&](const Json& text) {
    return std::find(field.choices.begin(), field.choices.end(), text.get<std::string>()) != field.choices.end();
  };
  const bool known = field.choices.empty() ||
                     (value.is_array() ? std::all_of(value.begin(), value.end(), is_choice) : is_choice(value));
  if (!known) return fmt::format("must be one of {}", fmt::join(field.choices, ", "));
  if (field.non_negative && value.get<double>() < 0) return "must not be negative";
  if (field.path == "timestamp" && !parse_timestamp(value)) return "must be an ISO 8601 date and time";
  if (field.path == "mlx_knife_version" && !is_version(value)) return "must be a version like 2.0.4";
  return {};
}

/// The value of `path` in `record`; null when it or a group above it is absent.
const Json* find_path(const Json& record, std::string_view path) {
  const Json* value = &record;
  for (size_t begin = 0; value && begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    value = find_member(value, path.substr(begin, end - begin));
    begin = end + 1;
  }
  return value;
}

}  // namespace

std::span<const SchemaField> schema_fields() { return kFields; }

std::vector<RecordProblem> find_problems(const Json& record) {
  if (!record.is_object()) return {{"", fmt::format("must be an object, got {}", shown(record))}};
  std::vector<RecordProblem> problems;
  for (const SchemaField& field : kFields) {
    const Json* value = find_path(record, field.path);
    if (!value) {
      if (field.required) problems.push_back({std::string(field.path), "is missing"});
      continue;
    }
    std::string wrong = wrong_type(*value, field.type);
    if (wrong.empty()) wrong = wrong_value(*value, field);
    if (!wrong.empty()) problems.push_back({std::string(field.path), fmt::format("{}, got {}", wrong, shown(*value))});
  }
  for (const auto& [name, value] : record.items()) {
    const auto is_field = [&key = name](const SchemaField& field) { return field.path == key; };
    if (std::none_of(std::begin(kFields), std::end(kFields), is_field)) {
      problems.push_back({name.substr(0, 60), "is not a field of the schema; new fields go under metadata"});
    }
  }
  return problems;
}

}  // namespace mlxk
