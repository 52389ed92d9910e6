#include "report/benchmark_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/counted.h"
#include "base/timestamp.h"
#include "report/bar_chart.h"

namespace mlxk {

namespace {

constexpr double kSlower = 0.05, kFaster = 0.01;
constexpr size_t kMaxTestRows = 500, kMaxBars = 40;

using Rows = std::vector<std::vector<std::string>>;

std::string number(const std::optional<double>& value, int digits) {
  return value ? fmt::format("{:.{}f}", *value, digits) : "–";
}

std::string seconds_text(double seconds) {
  return seconds < 120 ? fmt::format("{:.1f} s", seconds) : fmt::format("{:.1f} min", seconds / 60);
}

std::string model_name(const std::string& id) { return id.empty() ? "(no model)" : id; }

std::string share(double part, double whole) { return whole > 0 ? fmt::format("{:.0f} %", 100 * part / whole) : "–"; }

uint64_t as_count(int64_t value) { return static_cast<uint64_t>(value); }

std::string counts_text(const OutcomeCounts& counts) {
  return fmt::format("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
}

std::vector<const ModelSummary*> by_time(const std::map<std::string, ModelSummary>& models) {
  std::vector<const ModelSummary*> sorted;
  for (const auto& [id, model] : models) sorted.push_back(&model);
  std::stable_sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->seconds > b->seconds; });
  return sorted;
}

void write_inputs(Page& page, const ReportInputs& inputs) {
  page.heading(2, "Input Files");
  Rows rows;
  const auto add = [&](const ReportSummary& summary, const char* what) {
    for (const auto& input : summary.inputs) {
      const bool timed = input.first_ts && input.last_ts;
      rows.push_back({what, input.path, std::to_string(input.records), std::to_string(input.bad_lines),
                      timed ? iso_timestamp(*input.first_ts) : "–",
                      timed ? seconds_text(*input.last_ts - *input.first_ts) : "–"});
    }
  };
  add(inputs.current, "report");
  if (inputs.old) add(*inputs.old, "compared with");
  const auto add_memory = [&](const MemoryLog* memory, const std::string& path, const char* what) {
    if (!memory) return;
    const auto& samples = memory->samples;
    rows.push_back({what, path, counted(samples.size(), "sample"), "–",
                    memory->clock.empty() ? "–" : iso_timestamp(memory->clock.front().first),
                    seconds_text(samples.back().elapsed_s - samples.front().elapsed_s)});
  };
  add_memory(inputs.memory, inputs.memory_path, "memory");
  add_memory(inputs.old_memory, inputs.old_memory_path, "memory of the old report");
  page.table({"File", "Path", "Records", "Lines skipped", "From", "Span"}, rows);
}

/// The total time of the tests that are in both reports.
struct CommonTests {
  double now = 0, before = 0;
  size_t count = 0;
};

/// The common tests of each model; those of all models under "*".
std::map<std::string, CommonTests> common_tests(const ReportSummary& current, const ReportSummary& old) {
  std::map<std::string, CommonTests> by_model;
  for (const auto& [key, test] : current.tests) {
    const auto other = old.tests.find(key);
    if (other == old.tests.end()) continue;
    const auto now = test.seconds.value(), before = other->second.seconds.value();
    if (!now || !before) continue;
    for (CommonTests* common : {&by_model["*"], &by_model[key.second]}) {
      common->now += *now;
      common->before += *before;
      ++common->count;
    }
  }
  return by_model;
}

void write_comparison(Page& page, const ReportSummary& current, const ReportSummary& old) {
  page.heading(3, "Comparison");
  auto by_model = common_tests(current, old);
  const CommonTests all = by_model["*"];
  size_t added = 0;
  for (const auto& [key, test] : current.tests) added += old.tests.count(key) == 0 ? 1 : 0;
  const size_t removed = old.tests.size() - (current.tests.size() - added);
  page.paragraph(fmt::format("{} both reports; {} only in the new one, {} only in the old one.",
                             counted(all.count, "timed test") + (all.count == 1 ? " is in" : " are in"), added,
                             removed));
  Rows rows;
  const auto add = [&](const std::string& name, const CommonTests& common, const ModelSummary* now,
                       const ModelSummary* before) {
    rows.push_back({name, std::to_string(common.count), seconds_text(common.before), seconds_text(common.now),
                    change_text(common.now, common.before, false),
                    now ? number(before->tokens_per_sec.value(), 1) : "–",
                    now ? number(now->tokens_per_sec.value(), 1) : "–",
                    now ? change_text(now->tokens_per_sec.value(), before->tokens_per_sec.value(), true) : "",
                    before ? number(before->ram_free_min_gb, 2) : "–", now ? number(now->ram_free_min_gb, 2) : "–"});
  };
  if (all.count > 0) add("all", all, nullptr, nullptr);
  for (const ModelSummary* model : by_time(current.models)) {
    const auto before = old.models.find(model->model.id);
    if (before == old.models.end()) continue;
    const CommonTests& common = by_model[model->model.id];
    if (common.count > 0) add(model_name(model->model.id), common, model, &before->second);
  }
  if (!rows.empty()) {
    page.table({"Model", "Tests", "Time before", "Time", "Change", "tokens/s before", "tokens/s", "Change",
                "Lowest free RAM before, GiB", "Lowest free RAM, GiB"},
               rows);
  }
  page.paragraph("⚠️ more than 5 % slower, ✅ more than 1 % faster.");
}

void write_executive_summary(Page& page, const ReportInputs& inputs) {
  const ReportSummary& current = inputs.current;
  page.heading(2, "Executive Summary");
  const size_t models = current.models.size() - current.models.count("");
  std::vector<std::string> items = {
      fmt::format("{}: {}", counted(as_count(current.outcomes.all()), "record"), counts_text(current.outcomes)),
      fmt::format("{}, {}", counted(current.tests.size(), "test"), counted(models, "model")),
      fmt::format("Time: {}", seconds_text(current.seconds)),
      fmt::format("mlxk {}; schema {}", fmt::join(current.versions, ", "), fmt::join(current.schema_versions, ", "))};
  if (!current.machines.empty()) items.push_back(fmt::format("Machine: {}", fmt::join(current.machines, "; ")));
  page.list(items);
  if (inputs.old) write_comparison(page, current, *inputs.old);
}

void write_test_summary(Page& page, const ReportSummary& current) {
  page.heading(2, "Test Summary");
  const auto all = static_cast<double>(current.outcomes.all());
  const auto row = [&](const char* name, int64_t count) -> std::vector<std::string> {
    return {name, std::to_string(count), share(static_cast<double>(count), all)};
  };
  page.table({"Outcome", "Records", "Share"},
             {row("passed", current.outcomes.passed), row("failed", current.outcomes.failed),
              row("skipped", current.outcomes.skipped)});
  if (current.failed.empty()) return;
  page.paragraph("Failed:");
  std::vector<std::string> items;
  for (const auto& [test, model] : current.failed) items.push_back(model.empty() ? test : test + " – " + model);
  const auto listed = static_cast<int64_t>(items.size());
  if (current.outcomes.failed > listed) items.push_back(fmt::format("… and {} more", current.outcomes.failed - listed));
  page.list(items);
}

void write_health(Page& page, const ReportInputs& inputs) {
  const ReportSummary& current = inputs.current;
  page.heading(2, "System Health");
  if (current.quality.empty() && !current.ram_free_min_gb) {
    page.paragraph("The records do not include the system's health.");
  } else {
    Rows rows;
    for (const auto& [flag, count] : current.quality) {
      rows.push_back({(flag == "clean" ? "✅ " : "⚠️ ") + flag, std::to_string(count)});
    }
    if (!rows.empty()) page.table({"Quality", "Records"}, rows);
    page.list({fmt::format("Lowest free memory before a test: {} GiB", number(current.ram_free_min_gb, 1)),
               fmt::format("Highest swap usage: {} GiB", number(current.swap_max_gb, 2)),
               fmt::format("Highest number of zombie processes: {}", current.zombies)});
  }
  if (current.clock_problems > 0) {
    page.paragraph(fmt::format("⚠️ The clock was set during {}: their start and duration are used, not their end.",
                               counted(as_count(current.clock_problems), "test")));
  }
  if (inputs.memory) {
    page.figure("Memory while the tests ran", "timeline",
                timeline_svg(memory_timeline(*inputs.memory, current.timeline_tests, "")));
  }
}

/// "text 12, vision 3"
std::string modalities_text(const std::map<std::string, int64_t>& modalities) {
  std::string text;
  for (const auto& [name, count] : modalities) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, count);
  return text.empty() ? "–" : text;
}

std::string model_chart(const std::string& title, const std::vector<const ModelSummary*>& models,
                        std::optional<double> (*value)(const ModelSummary&)) {
  PlotPanel panel{title, {}};
  for (const ModelSummary* model : models) {
    const auto found = value(*model);
    if (!found || panel.bars.size() == kMaxBars) continue;
    const std::string& id = model->model.id;
    panel.bars.push_back({model_name(id.substr(id.find_last_of('/') + 1)), *found, *found, *found});
  }
  return panel.bars.empty() ? "" : bar_chart_svg("", {panel});
}

void write_models(Page& page, const ReportSummary& current) {
  page.heading(2, "Per-Model Statistics");
  const auto models = by_time(current.models);
  Rows rows;
  for (const ModelSummary* model : models) {
    rows.push_back({model_name(model->model.id), number(model->model.size_gb, 2), std::to_string(model->outcomes.all()),
                    seconds_text(model->seconds), share(model->seconds, current.seconds),
                    modalities_text(model->modalities), number(model->tokens_per_sec.value(), 1),
                    number(model->first_token_s.value(), 3), number(model->load_s.value(), 2),
                    number(model->peak_ram_gb, 2), number(model->ram_free_min_gb, 2)});
  }
  page.table({"Model", "Size, GB", "Records", "Time", "Share", "Modalities", "tokens/s", "First token, s", "Load, s",
              "Peak RAM, GiB", "Lowest free RAM, GiB"},
             rows);
  const auto speeds = model_chart("tokens/s", models, [](const auto& model) { return model.tokens_per_sec.value(); });
  if (!speeds.empty()) page.figure("Tokens per second of each model", "speed", speeds);
  const auto free =
      model_chart("lowest free RAM, GiB", models, [](const auto& model) { return model.ram_free_min_gb; });
  if (!free.empty()) page.figure("Lowest free memory while a model ran", "memory", free);
  const auto times = model_chart("time, s", models, [](const auto& model) { return std::optional(model.seconds); });
  if (current.seconds > 0) page.figure("Time of each model", "time", times);
}

void write_categories(Page& page, const ReportSummary& current) {
  page.heading(2, "Model Categories");
  struct Category {
    size_t models = 0;
    int64_t records = 0;
    double seconds = 0;
  };
  std::map<std::string, Category> categories;
  for (const auto& entry : current.models) {
    if (entry.first.empty()) continue;
    const auto& model = entry.second;
    const auto add = [&](const std::string& name) {
      Category& category = categories[name];
      ++category.models;
      category.records += model.outcomes.all();
      category.seconds += model.seconds;
    };
    add("family " + (model.model.family.empty() ? "unknown" : model.model.family));
    const auto size = model.model.size_gb;
    add(!size ? "size unknown" : *size < 4 ? "size below 4 GB" : *size < 16 ? "size 4 to 16 GB" : "size above 16 GB");
    if (!model.model.quantization.empty()) add("quantization " + model.model.quantization);
    for (const auto& [modality, count] : model.modalities) add("modality " + modality);
  }
  Rows rows;
  for (const auto& [name, category] : categories) {
    rows.push_back({name, std::to_string(category.models), std::to_string(category.records),
                    seconds_text(category.seconds), share(category.seconds, current.seconds)});
  }
  if (rows.empty()) return page.paragraph("No record names a model.");
  page.table({"Category", "Models", "Records", "Time", "Share"}, rows);
}

void write_tests(Page& page, const ReportInputs& inputs) {
  page.heading(2, "Per-Test Statistics");
  const auto& tests = inputs.current.tests;
  std::vector<std::map<TestKey, TestSummary>::const_iterator> sorted;
  for (auto it = tests.begin(); it != tests.end(); ++it) sorted.push_back(it);
  std::stable_sort(sorted.begin(), sorted.end(), [](auto a, auto b) {
    return a->second.seconds.value().value_or(-1) > b->second.seconds.value().value_or(-1);
  });
  if (sorted.size() > kMaxTestRows) {
    page.paragraph(
        fmt::format("The {} slowest tests; {} more are omitted.", kMaxTestRows, sorted.size() - kMaxTestRows));
    sorted.resize(kMaxTestRows);
  }
  std::vector<std::string> header = {"Test", "Model", "Records", "Outcome", "Time, s", "tokens/s", "First token, s"};
  if (inputs.old) header.insert(header.end(), {"Time, change", "tokens/s, change"});
  Rows rows;
  for (const auto& it : sorted) {
    const auto& [key, test] = *it;
    rows.push_back({key.first, model_name(key.second), std::to_string(test.outcomes.all()),
                    test.outcomes.failed > 0   ? "failed"
                    : test.outcomes.passed > 0 ? "passed"
                                               : "skipped",
                    number(test.seconds.value(), 2), number(test.tokens_per_sec.value(), 1),
                    number(test.first_token_s.value(), 3)});
    if (!inputs.old) continue;
    const auto other = inputs.old->tests.find(key);
    const TestSummary before = other == inputs.old->tests.end() ? TestSummary{} : other->second;
    rows.back().push_back(change_text(test.seconds.value(), before.seconds.value(), false));
    rows.back().push_back(change_text(test.tokens_per_sec.value(), before.tokens_per_sec.value(), true));
  }
  page.table(header, rows);
}

void write_gpu(Page& page, const ReportInputs& inputs) {
  page.heading(2, "GPU Analysis");
  const ReportSummary& current = inputs.current;
  if (!inputs.memory) return page.paragraph("No memory file was given (--memory).");
  if (current.gpu.count() == 0) {
    return page.paragraph(fmt::format("{} samples, none of which includes a GPU.",
                                      current.tests_with_samples == 0 ? "No test has" : "The tests have"));
  }
  page.heading(3, "Cold Starts");
  Rows rows;
  for (const auto& start : current.cold_starts) {
    rows.push_back({start.test.first, start.test.second,
                    std::isnan(start.gpu_start_s) ? "never" : fmt::format("{:.1f} s", start.gpu_start_s)});
  }
  if (rows.empty()) page.paragraph("None.");
  if (!rows.empty()) page.table({"First test of a model", "Model", "GPU busy after"}, rows);
  page.heading(3, "High Utilisation");
  rows.clear();
  for (const auto& busy : current.busy) {
    rows.push_back({busy.test.first, model_name(busy.test.second), fmt::format("{:.0f} %", busy.gpu_mean),
                    fmt::format("{:.0f} %", busy.gpu_max)});
  }
  if (rows.empty()) page.paragraph("No test had a mean GPU utilisation of 80 % or more.");
  if (!rows.empty()) page.table({"Test", "Model", "Mean", "Max"}, rows);
  page.heading(3, "Summary");
  page.paragraph(fmt::format("{} with samples of a GPU, {:.0f} % busy on average.",
                             counted(as_count(current.gpu.count()), "test"), *current.gpu.value()));
}

void write_files(Page& page, const ReportInputs& inputs) {
  page.heading(2, "Files");
  std::vector<std::string> items;
  const auto add = [&](const char* what, const std::string& path) {
    if (!path.empty()) items.push_back(fmt::format("{}: {}", what, path));
  };
  for (const auto& input : inputs.current.inputs) add("Report", input.path);
  if (inputs.old) {
    for (const auto& input : inputs.old->inputs) add("Compared with", input.path);
  }
  add("Memory", inputs.memory_path);
  add("Memory of the old report", inputs.old_memory_path);
  add("This document", inputs.output);
  page.list(items);
}

}  // namespace

std::string change_text(const std::optional<double>& now, const std::optional<double>& before, bool is_speed) {
  if (!now || !before || *now <= 0 || *before <= 0) return "";
  const double change = *now / *before - 1, slower = (is_speed ? *before / *now : *now / *before) - 1;
  const double faster = (is_speed ? *now / *before : *before / *now) - 1;
  return fmt::format("{:+.1f} %{}", 100 * change, slower > kSlower ? " ⚠️" : faster > kFaster ? " ✅" : "");
}

void write_report(Page& page, const ReportInputs& inputs) {
  page.heading(1, "Benchmark Report v1.1");
  write_inputs(page, inputs);
  write_executive_summary(page, inputs);
  write_test_summary(page, inputs.current);
  write_health(page, inputs);
  write_models(page, inputs.current);
  write_categories(page, inputs.current);
  write_tests(page, inputs);
  write_gpu(page, inputs);
  write_files(page, inputs);
}

}  // namespace mlxk
