#include "plot/memory_timeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>

namespace mlxk {

namespace {
constexpr size_t kTestLetters = 30, kModelLetters = 20;  // maximum length in a label

/// `text` shortened to at most `most` characters, with an ellipsis at the end if some were removed.
std::string shortened(const std::string& text, size_t most) {
  // Whether `c` is the first byte of a UTF-8 character.
  const auto begins = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  if (static_cast<size_t>(std::count_if(text.begin(), text.end(), begins)) <= most) return text;
  size_t at = 0;
  for (size_t seen = 0; at < text.size(); ++at) {
    if (begins(text[at]) && seen++ == most - 1) break;
  }
  return text.substr(0, at) + "…";
}

/// The part of `text` after the last `mark`; all of it if there is none.
std::string after_last(const std::string& text, const std::string& mark) {
  const size_t at = text.rfind(mark);
  return at == text.npos ? text : text.substr(at + mark.size());
}

class Columns {
 public:
  explicit Columns(const std::vector<MemorySample>& samples) : samples_(samples) {}

  std::vector<double> of(double MemorySample::* field) const {
    std::vector<double> values;
    values.reserve(samples_.size());
    for (const auto& sample : samples_) values.push_back(sample.*field);
    return values;
  }
  /// The same for a field that is not measured in every sample: the last value is repeated.
  std::vector<double> held(double MemorySample::* field) const {
    auto values = of(field);
    for (size_t i = 1; i < values.size(); ++i) {
      if (std::isnan(values[i])) values[i] = values[i - 1];
    }
    return values;
  }
  double largest(double MemorySample::* field) const {
    double most = 0;
    for (const auto& sample : samples_) most = std::fmax(most, sample.*field);
    return most;
  }
  bool differ(double MemorySample::* a, double MemorySample::* b) const {
    return std::any_of(samples_.begin(), samples_.end(),
                       [&](const auto& sample) { return std::fabs(sample.*a - sample.*b) > 1; });
  }

 private:
  const std::vector<MemorySample>& samples_;
};

PlotRow memory_row(const Columns& columns, double total) {
  PlotRow row{.title = "Memory", .axis = "GB", .second_axis = {}, .top = 0, .series = {}};
  row.series.push_back({.label = "free",
                        .unit = "GB",
                        .colour = PlotColour::blue,
                        .values = columns.of(&MemorySample::ram_free_gb),
                        .decimals = 2,
                        .levels = {{total / 4, PlotColour::red},
                                   {total / 2, PlotColour::orange},
                                   {std::numeric_limits<double>::max(), PlotColour::green}}});
  const bool swap = columns.largest(&MemorySample::swap_used_mb) > 0;
  if (swap) {
    row.second_axis = "swap, MB";
    row.series.push_back({.label = "swap",
                          .unit = "MB",
                          .colour = PlotColour::red,
                          .values = columns.of(&MemorySample::swap_used_mb),
                          .decimals = 0,
                          .second_axis = true,
                          .levels = {}});
  }
  const auto add = [&](const char* label, double MemorySample::* field, PlotColour colour) {
    if (columns.largest(field) <= 0) return;
    if (!swap) row.second_axis = "command, GB";  // own scale: the command may be small, the machine large
    row.series.push_back({.label = label,
                          .unit = "GB",
                          .colour = colour,
                          .values = columns.held(field),
                          .decimals = 3,
                          .second_axis = !swap,
                          .levels = {}});
  };
  add("command, RSS", &MemorySample::process_rss_gb, PlotColour::purple);
  add("command, PSS", &MemorySample::process_pss_gb, PlotColour::orange);
  return row;
}

PlotRow cpu_row(const Columns& columns) {
  PlotRow row{.title = "CPU", .axis = "% of all cores", .second_axis = "load", .top = 100, .series = {}};
  const auto add = [&](const char* label, double MemorySample::* field, PlotColour colour) {
    if (columns.largest(field) <= 0) return;
    row.series.push_back({.label = label,
                          .unit = "%",
                          .colour = colour,
                          .values = columns.of(field),
                          .decimals = 0,
                          .area = true,
                          .levels = {}});
  };
  add("user", &MemorySample::cpu_user, PlotColour::blue);
  add("sys", &MemorySample::cpu_sys, PlotColour::orange);
  if (columns.largest(&MemorySample::load_1) > 0) {
    row.series.push_back({.label = "load, 1 min",
                          .unit = "",
                          .colour = PlotColour::grey,
                          .values = columns.of(&MemorySample::load_1),
                          .decimals = 2,
                          .second_axis = true,
                          .levels = {}});
  }
  return row;
}

PlotRow gpu_row(const Columns& columns) {
  PlotRow row{.title = "GPU", .axis = "%", .second_axis = {}, .top = 100, .series = {}};
  const auto add = [&](const char* label, double MemorySample::* field, PlotColour colour) {
    row.series.push_back(
        {.label = label, .unit = "%", .colour = colour, .values = columns.of(field), .decimals = 0, .levels = {}});
  };
  if (columns.largest(&MemorySample::gpu_device_util) > 0) {
    add("device", &MemorySample::gpu_device_util, PlotColour::blue);
    if (columns.differ(&MemorySample::gpu_renderer_util, &MemorySample::gpu_device_util)) {
      add("renderer", &MemorySample::gpu_renderer_util, PlotColour::orange);
    }
    if (columns.largest(&MemorySample::gpu_tiler_util) > 0 &&
        columns.differ(&MemorySample::gpu_tiler_util, &MemorySample::gpu_device_util)) {
      add("tiler", &MemorySample::gpu_tiler_util, PlotColour::purple);
    }
  }
  if (columns.largest(&MemorySample::gpu_memory_used_gb) > 0) {
    row.second_axis = "memory, GB";
    row.series.push_back({.label = "memory",
                          .unit = "GB",
                          .colour = PlotColour::green,
                          .values = columns.of(&MemorySample::gpu_memory_used_gb),
                          .decimals = 2,
                          .second_axis = true,
                          .levels = {}});
  }
  return row;
}

/// Adds the time spans at one level of memory pressure.
void add_pressure(const MemoryLog& log, double level, const char* kind, PlotColour colour, Timeline& timeline) {
  const auto& samples = log.samples;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (samples[i].memory_pressure != level) continue;
    const size_t begin = i;
    while (i + 1 < samples.size() && samples[i + 1].memory_pressure == level) ++i;
    const size_t end = std::min(i + 1, samples.size() - 1);
    timeline.spans.push_back({.from = timeline.time[begin],
                              .to = timeline.time[end],
                              .colour = colour,
                              .kind = kind,
                              .label = {},
                              .note = kind});
  }
}

void add_tests(const MemoryLog& log, const TestLog& tests, Timeline& timeline) {
  for (const auto& test : tests.tests) {
    if (test.outcome == "skipped") continue;
    const bool passed = test.outcome == "passed";
    const double from = log.elapsed_at(test.start_ts) / 60, to = log.elapsed_at(test.end_ts) / 60;
    if (std::isnan(from) || to < timeline.time.front() || from > timeline.time.back()) continue;
    const std::string model = after_last(test.model, "/");
    std::string label = shortened(after_last(test.test, "::"), kTestLetters);
    if (!model.empty()) label += " · " + shortened(model, kModelLetters);
    timeline.spans.push_back({.from = std::max(from, timeline.time.front()),
                              .to = std::min(to, timeline.time.back()),
                              .colour = !passed              ? PlotColour::light_red
                                        : test.model.empty() ? PlotColour::light_blue
                                                             : PlotColour::grey,
                              .kind = !passed              ? "failed test"
                                      : test.model.empty() ? "passed test"
                                                           : "passed test with a model",
                              .label = label,
                              .note = fmt::format("{}{}{}, {}, {:.1f} s", test.test, test.model.empty() ? "" : ", ",
                                                  test.model, test.outcome, test.end_ts - test.start_ts)});
  }
}
}  // namespace

Timeline memory_timeline(const MemoryLog& log, const TestLog& tests, const std::string& title) {
  Timeline timeline;
  const Columns columns(log.samples);
  timeline.time = columns.of(&MemorySample::elapsed_s);
  for (double& time : timeline.time) time /= 60;
  double total = std::fmax(log.ram_total_gb, tests.ram_total_gb);
  if (std::isnan(total)) total = columns.largest(&MemorySample::ram_free_gb);
  timeline.title =
      title.empty() ? log.command.empty() ? "Memory timeline" : "Memory timeline of " + log.command : title;
  timeline.subtitle = fmt::format("{} samples over {:.1f} min, {:.1f} GB of memory", log.samples.size(),
                                  timeline.time.back() - timeline.time.front(), total);
  if (const double start = log.samples.front().ts; std::isfinite(start) && std::fabs(start) < 1e11) {
    const auto seconds = static_cast<std::time_t>(start);
    std::tm utc{};
    char text[32];
    if (gmtime_r(&seconds, &utc) && std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &utc) > 0) {
      timeline.subtitle += fmt::format(", from {} UTC", text);
    }
  }
  timeline.rows.push_back(memory_row(columns, total));
  if (auto row = cpu_row(columns); !row.series.empty()) timeline.rows.push_back(std::move(row));
  if (auto row = gpu_row(columns); !row.series.empty()) timeline.rows.push_back(std::move(row));
  add_tests(log, tests, timeline);
  add_pressure(log, 2, "WARN pressure", PlotColour::yellow, timeline);
  add_pressure(log, 4, "CRITICAL pressure", PlotColour::red, timeline);
  return timeline;
}

}  // namespace mlxk
