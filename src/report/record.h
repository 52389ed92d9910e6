#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "json/json.h"

namespace mlxk {

/// One record of a test or benchmark report: a line of JSON of schema 0.2.2 (docs/report.schema.json). Empty texts,
/// numbers without a value and groups without fields are omitted from the line. Memory is in GiB, as in MLX Knife's
/// own reports; the size of a model's files is in GB.

enum class Outcome { passed, failed, skipped };

struct ReportModel {
  std::string id;
  std::optional<double> size_gb;
  std::string family, variant, framework, quantization;
};

struct ReportPerformance {
  std::optional<double> tokens_per_sec, ram_peak_mb, duration_s;
  std::optional<int64_t> prompt_tokens, completion_tokens;
  std::optional<double> model_load_time_s, time_to_first_token_s, cleanup_time_s, peak_ram_gb, stable_ram_gb;
};

struct ReportStopTokens {
  std::vector<std::string> configured, detected;
  std::string workaround;
  std::optional<bool> leaked;
};

struct ReportHardware {
  std::string model_identifier, chip;
  std::optional<int64_t> chip_cores_performance, chip_cores_efficiency, gpu_cores;
  std::string metal_version;
};

struct ReportSystem {
  std::string platform, platform_version, python_version, mlx_version, hardware;
  std::optional<double> ram_total_gb;
  ReportHardware hardware_profile;
};

struct ReportHealth {
  std::optional<double> swap_gb, ram_free_gb;
  std::optional<int64_t> zombies_detected;
  std::vector<std::string> quality_flags;  // clean, or degraded_swap, degraded_zombies, degraded_memory
};

/// Milliseconds since test_start_ts.
struct ReportTimeline {
  std::optional<double> server_start_ms, model_load_start_ms, model_load_complete_ms, server_ready_ms, request_sent_ms,
      first_token_ms, stream_complete_ms, shutdown_request_ms, cleanup_complete_ms;
};

struct ReportRecord {
  std::string schema_version = "0.2.2";
  std::string timestamp;  // end of the test, ISO 8601
  std::string mlx_knife_version = MLXK_VERSION;
  std::string test;  // "path::name[parameters]"
  Outcome outcome = Outcome::passed;
  std::optional<double> duration;                    // seconds, with setup and cleanup
  std::optional<double> test_start_ts, test_end_ts;  // Unix time
  ReportModel model;
  ReportPerformance performance;
  ReportStopTokens stop_tokens;
  ReportSystem system;
  ReportHealth system_health;
  ReportTimeline timeline;
  Json metadata = Json::object();  // any fields; inference_modality is text, vision, audio or video
};

/// Sets the times of the test: it began at `start` (Unix time) and took `seconds`, measured by a steady clock.
void set_times(ReportRecord& record, double start, double seconds);

/// The record as one JSON object, with its keys in the order of the schema.
Json to_json(const ReportRecord& record);
/// Converts `object`, for which find_problems() returns nothing, to a record.
ReportRecord record_from_json(const Json& object);

/// Appends `records` to the file, one line each, in a single write. Begins a new line if the last line of the file is
/// not terminated. Throws io, or internal with the name of the field if a record violates the schema.
void append_records(const std::filesystem::path& path, const std::vector<ReportRecord>& records);

}  // namespace mlxk
