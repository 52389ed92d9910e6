#include "monitor/memory_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/error.h"
#include "json/json.h"
#include "json/member.h"
#include "monitor/json_lines.h"

namespace mlxk {

namespace {
constexpr double kJump = 2;  // seconds that two clocks may drift apart between two samples

Json rounded(double value, int decimals) {
  if (!std::isfinite(value)) return nullptr;
  const double scale = std::pow(10, decimals);
  return std::round(value * scale) / scale;
}

/// Builds a sample from SAX events, so that no document is allocated for each of a million lines.
class SampleReader : public nlohmann::json_sax<Json> {
 public:
  MemorySample sample;
  bool is_summary = false;

  SampleReader() { sample.gpu_device_util = sample.gpu_renderer_util = sample.gpu_tiler_util = kUnknown; }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t value) override { return number(static_cast<double>(value)); }
  bool number_unsigned(number_unsigned_t value) override { return number(static_cast<double>(value)); }
  bool number_float(number_float_t value, const string_t&) override { return number(value); }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return ++depth_, true; }
  bool end_object() override { return --depth_, true; }
  bool start_array(std::size_t) override { return ++depth_, true; }
  bool end_array() override { return --depth_, true; }
  bool key(string_t& name) override {
    if (depth_ != 1) return true;
    static const auto kFields = [] {
      std::unordered_map<std::string, double MemorySample::*> fields;
      for (const auto& field : sample_fields()) fields.emplace(field.name, field.value);
      return fields;
    }();
    const auto found = kFields.find(name);
    field_ = found == kFields.end() ? nullptr : found->second;
    is_summary = is_summary || name == "summary";
    return true;
  }
  bool parse_error(std::size_t byte, const std::string&, const nlohmann::detail::exception&) override {
    throw Error(ErrorKind::bad_model, fmt::format("invalid JSON at byte {}", byte));
  }

 private:
  bool number(double value) {
    if (depth_ == 1 && field_ && std::isfinite(value)) sample.*field_ = value;
    return true;
  }

  int depth_ = 0;
  double MemorySample::* field_ = nullptr;
};

/// Puts the samples of a file, which may contain several runs, on one time axis.
class Axis {
 public:
  explicit Axis(LineWarnings& warnings) : warnings_(warnings) {}

  /// Sets elapsed_s of `now`, which follows `before` (null: `now` is the first). Throws if `now` has no time.
  void place(MemorySample& now, const MemorySample* before, uint64_t line) {
    const bool has_elapsed = std::isfinite(now.elapsed_s), has_ts = std::isfinite(now.ts);
    if (!has_elapsed && !has_ts) throw Error(ErrorKind::bad_model, "a sample without ts and elapsed_s");
    const double raw = has_elapsed ? now.elapsed_s : now.ts;
    if (!before) {
      shift_ = has_elapsed ? 0 : -raw;
    } else if (has_elapsed != had_elapsed_ || raw < raw_) {
      // Another run was appended, or the system's clock, the only one in the file, was set back.
      const double gap = has_ts && std::isfinite(before->ts) ? std::max(0.0, now.ts - before->ts) : 0;
      shift_ = before->elapsed_s + gap - raw;
      warnings_.add(line, has_elapsed ? "elapsed_s goes back: another run begins, placed by ts"
                                      : "ts goes back: the clock jumped; the time in between is unknown");
    } else if (has_elapsed && has_ts && std::isfinite(before->ts)) {
      const double jump = (now.ts - before->ts) - (raw - raw_);
      if (std::fabs(jump) > kJump) {
        warnings_.add(line, fmt::format("the system's clock jumped by {:+.1f} s; the axis follows elapsed_s", jump));
      }
    }
    raw_ = raw;
    had_elapsed_ = has_elapsed;
    now.elapsed_s = raw + shift_;
  }

 private:
  LineWarnings& warnings_;
  double shift_ = 0, raw_ = 0;
  bool had_elapsed_ = false;
};
}  // namespace

void MemorySummary::Extent::add(double value) {
  if (!std::isfinite(value)) return;
  low = std::fmin(low, value);
  high = std::fmax(high, value);
  sum += value;
  ++count;
}

Json MemorySummary::Extent::average(int decimals) const {
  return rounded(count > 0 ? sum / static_cast<double>(count) : kUnknown, decimals);
}

void MemorySummary::add(const MemorySample& sample) {
  ++samples_;
  ram_total_ = sample.ram_total_gb;
  last_read_ = std::fmax(last_read_, sample.process_read_mb);
  free_.add(sample.ram_free_gb);
  swap_.add(sample.swap_used_mb);
  load_.add(sample.load_1);
  user_.add(sample.cpu_user);
  system_.add(sample.cpu_sys);
  device_.add(sample.gpu_device_util);
  renderer_.add(sample.gpu_renderer_util);
  rss_.add(sample.process_rss_gb);
  pss_.add(sample.process_pss_gb);
  gpu_memory_.add(sample.gpu_memory_used_gb);
}

Json MemorySummary::json() const {
  return {{"samples", samples_},
          {"ram_free_min_gb", rounded(free_.low, 3)},
          {"ram_free_max_gb", rounded(free_.high, 3)},
          {"ram_free_avg_gb", free_.average(3)},
          {"swap_max_mb", rounded(swap_.high, 1)},
          {"swap_avg_mb", swap_.average(1)},
          {"load_max", rounded(load_.high, 2)},
          {"load_avg", load_.average(2)},
          {"cpu_user_max", rounded(user_.high, 1)},
          {"cpu_sys_max", rounded(system_.high, 1)},
          {"gpu_device_max", rounded(device_.high, 0)},
          {"gpu_device_avg", device_.average(1)},
          {"gpu_renderer_max", rounded(renderer_.high, 0)},
          {"gpu_renderer_avg", renderer_.average(1)},
          {"ram_total_gb", rounded(ram_total_, 3)},
          {"process_rss_max_gb", rounded(rss_.high, 3)},
          {"process_pss_max_gb", rounded(pss_.high, 3)},
          {"process_read_mb", rounded(last_read_, 1)},
          {"gpu_memory_max_gb", rounded(gpu_memory_.high, 3)}};
}

double MemoryLog::elapsed_at(double ts) const {
  // The offset between the two clocks is that of the nearest sample.
  if (clock.empty()) return kUnknown;
  auto nearest = std::lower_bound(clock.begin(), clock.end(), std::pair(ts, size_t{0}));
  if (nearest == clock.end() || (nearest != clock.begin() && ts - std::prev(nearest)->first < nearest->first - ts)) {
    --nearest;
  }
  return samples[nearest->second].elapsed_s + ts - nearest->first;
}

MemoryLog read_memory_log(const std::filesystem::path& path) {
  MemoryLog log;
  LineWarnings warnings(path.string());
  Axis axis(warnings);
  read_json_lines(path, warnings, [&](uint64_t number, std::string_view line) {
    SampleReader reader;
    Json::sax_parse(line, &reader);
    if (reader.is_summary) {
      const Json whole = parse_json(line, "summary");
      const Json& command = value_at(value_at(whole, "summary"), "command");
      log.command = command.is_string() ? command.get<std::string>() : "";
      return;
    }
    MemorySample& sample = reader.sample;
    if (!std::isfinite(sample.ram_free_gb)) throw Error(ErrorKind::bad_model, "not a sample of memmon: no ram_free_gb");
    axis.place(sample, log.samples.empty() ? nullptr : &log.samples.back(), number);
    log.ram_total_gb = std::fmax(log.ram_total_gb, sample.ram_total_gb);
    if (std::isfinite(sample.ts)) log.clock.emplace_back(sample.ts, log.samples.size());
    log.samples.push_back(std::move(sample));
  });
  std::sort(log.clock.begin(), log.clock.end());  // unsorted if the clock was set back
  log.warnings = warnings.texts();
  if (log.samples.empty()) {
    throw Error(ErrorKind::invalid, fmt::format("{} contains no samples of memmon", path.string()),
                log.warnings.empty() ? "The file is empty." : log.warnings.front());
  }
  return log;
}

}  // namespace mlxk
