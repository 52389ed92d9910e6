#include "report/record.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <type_traits>

#include "base/error.h"
#include "base/timestamp.h"
#include "report/schema.h"

namespace mlxk {

namespace {

template <class Group, class Wanted>
concept Is = std::is_same_v<std::remove_const_t<Group>, Wanted>;

// The fields of each group, for both reading and writing.

template <Is<ReportModel> Group, class Visit>
void each_field(Group& model, Visit&& visit) {
  visit("id", model.id);
  visit("size_gb", model.size_gb);
  visit("family", model.family);
  visit("variant", model.variant);
  visit("framework", model.framework);
  visit("quantization", model.quantization);
}

template <Is<ReportPerformance> Group, class Visit>
void each_field(Group& performance, Visit&& visit) {
  visit("tokens_per_sec", performance.tokens_per_sec);
  visit("ram_peak_mb", performance.ram_peak_mb);
  visit("duration_s", performance.duration_s);
  visit("prompt_tokens", performance.prompt_tokens);
  visit("completion_tokens", performance.completion_tokens);
  visit("model_load_time_s", performance.model_load_time_s);
  visit("time_to_first_token_s", performance.time_to_first_token_s);
  visit("cleanup_time_s", performance.cleanup_time_s);
  visit("peak_ram_gb", performance.peak_ram_gb);
  visit("stable_ram_gb", performance.stable_ram_gb);
}

template <Is<ReportStopTokens> Group, class Visit>
void each_field(Group& tokens, Visit&& visit) {
  visit("configured", tokens.configured);
  visit("detected", tokens.detected);
  visit("workaround", tokens.workaround);
  visit("leaked", tokens.leaked);
}

template <Is<ReportHardware> Group, class Visit>
void each_field(Group& hardware, Visit&& visit) {
  visit("model_identifier", hardware.model_identifier);
  visit("chip", hardware.chip);
  visit("chip_cores_performance", hardware.chip_cores_performance);
  visit("chip_cores_efficiency", hardware.chip_cores_efficiency);
  visit("gpu_cores", hardware.gpu_cores);
  visit("metal_version", hardware.metal_version);
}

template <Is<ReportSystem> Group, class Visit>
void each_field(Group& system, Visit&& visit) {
  visit("platform", system.platform);
  visit("platform_version", system.platform_version);
  visit("python_version", system.python_version);
  visit("mlx_version", system.mlx_version);
  visit("hardware", system.hardware);
  visit("ram_total_gb", system.ram_total_gb);
  visit("hardware_profile", system.hardware_profile);
}

template <Is<ReportHealth> Group, class Visit>
void each_field(Group& health, Visit&& visit) {
  visit("swap_gb", health.swap_gb);
  visit("ram_free_gb", health.ram_free_gb);
  visit("zombies_detected", health.zombies_detected);
  visit("quality_flags", health.quality_flags);
}

template <Is<ReportTimeline> Group, class Visit>
void each_field(Group& timeline, Visit&& visit) {
  visit("server_start_ms", timeline.server_start_ms);
  visit("model_load_start_ms", timeline.model_load_start_ms);
  visit("model_load_complete_ms", timeline.model_load_complete_ms);
  visit("server_ready_ms", timeline.server_ready_ms);
  visit("request_sent_ms", timeline.request_sent_ms);
  visit("first_token_ms", timeline.first_token_ms);
  visit("stream_complete_ms", timeline.stream_complete_ms);
  visit("shutdown_request_ms", timeline.shutdown_request_ms);
  visit("cleanup_complete_ms", timeline.cleanup_complete_ms);
}

template <Is<ReportRecord> Group, class Visit>
void each_field(Group& record, Visit&& visit) {
  visit("schema_version", record.schema_version);
  visit("timestamp", record.timestamp);
  visit("test_start_ts", record.test_start_ts);
  visit("test_end_ts", record.test_end_ts);
  visit("mlx_knife_version", record.mlx_knife_version);
  visit("test", record.test);
  visit("outcome", record.outcome);
  visit("duration", record.duration);
  visit("model", record.model);
  visit("performance", record.performance);
  visit("stop_tokens", record.stop_tokens);
  visit("system", record.system);
  visit("system_health", record.system_health);
  visit("timeline", record.timeline);
  visit("metadata", record.metadata);
}

struct Writer {
  Json out = Json::object();

  void operator()(const char* name, const Outcome& outcome) {
    out[name] = outcome == Outcome::passed ? "passed" : outcome == Outcome::failed ? "failed" : "skipped";
  }
  void operator()(const char* name, const std::string& text) {
    if (!text.empty()) out[name] = text;
  }
  void operator()(const char* name, const std::vector<std::string>& texts) {
    if (!texts.empty()) out[name] = texts;
  }
  template <class Value>
  void operator()(const char* name, const std::optional<Value>& value) {
    if (value) out[name] = *value;
  }
  void operator()(const char* name, const Json& open) {
    if (!open.empty()) out[name] = open;
  }
  template <class Group>
  void operator()(const char* name, const Group& group) {
    Writer inner;
    each_field(group, inner);
    if (!inner.out.empty()) out[name] = std::move(inner.out);
  }
};

struct Reader {
  const Json& in;

  void operator()(const char* name, Outcome& outcome) const {
    const std::string word = in.at(name);
    outcome = word == "passed" ? Outcome::passed : word == "failed" ? Outcome::failed : Outcome::skipped;
  }
  template <class Value>
  void operator()(const char* name, std::optional<Value>& value) const {
    if (const auto found = in.find(name); found != in.end()) value = found->template get<Value>();
  }
  template <class Group>
  void operator()(const char* name, Group& group) const {
    const auto found = in.find(name);
    if (found == in.end()) return;
    if constexpr (requires { each_field(group, Reader{*found}); }) {
      each_field(group, Reader{*found});
    } else {
      group = found->template get<Group>();
    }
  }
};

}  // namespace

void set_times(ReportRecord& record, double start, double seconds) {
  record.test_start_ts = start;
  record.test_end_ts = start + seconds;
  record.duration = seconds;
  record.timestamp = iso_timestamp(start + seconds);
}

Json to_json(const ReportRecord& record) {
  Writer writer;
  each_field(record, writer);
  return std::move(writer.out);
}

ReportRecord record_from_json(const Json& object) {
  ReportRecord record;
  each_field(record, Reader{object});
  return record;
}

void append_records(const std::filesystem::path& path, const std::vector<ReportRecord>& records) {
  std::string lines;
  for (const ReportRecord& record : records) {
    const Json object = to_json(record);
    if (const auto problems = find_problems(object); !problems.empty()) {
      throw Error(ErrorKind::internal, fmt::format("[report] {}: {}", problems[0].field, problems[0].message));
    }
    lines += object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  const auto fail = [&] {
    return Error(ErrorKind::io, fmt::format("cannot write the report {}: {}", path.string(), std::strerror(errno)));
  };
  const int file = open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) throw fail();
  char last = '\n';
  const off_t size = lseek(file, 0, SEEK_END);
  if (size > 0 && pread(file, &last, 1, size - 1) == 1 && last != '\n') lines.insert(0, "\n");
  const bool written = write(file, lines.data(), lines.size()) == static_cast<ssize_t>(lines.size());
  const Error error = fail();
  if (close(file) != 0 || !written) throw error;
}

}  // namespace mlxk
