// `mlxk report FILES…`: summarises records of tests and benchmarks, or checks them against their schema.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/counted.h"
#include "base/error.h"
#include "base/file.h"
#include "cli/table.h"
#include "commands/command.h"
#include "json/api.h"
#include "json/json.h"
#include "report/benchmark_report.h"
#include "report/report_reader.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

constexpr size_t kMaxProblems = 1000;  // shown per file
const char* const kReportFolder = "benchmarks/reports";

/// The newest JSON Lines file in kReportFolder; empty: none.
std::string newest_report() {
  fs::path newest;
  fs::file_time_type time;
  std::error_code error;
  for (fs::directory_iterator it(kReportFolder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != ".jsonl" || !it->is_regular_file(error)) continue;
    const auto written = it->last_write_time(error);
    if (newest.empty() || written > time) {
      newest = it->path();
      time = written;
    }
  }
  return newest.string();
}

std::vector<std::string> report_files(const Args& args) {
  std::vector<std::string> files = args.words("file");
  if (!files.empty()) return files;
  const std::string newest = newest_report();
  if (newest.empty()) {
    throw Error(ErrorKind::usage, fmt::format("report needs a file: {} has none", kReportFolder),
                "`mlxk bench MODEL --report FILE` writes one");
  }
  fmt::print(stderr, "Report: {}\n", printable(newest));
  return {newest};
}

/// The invalid lines of one file: all are counted, the first kMaxProblems are kept.
struct CheckedFile {
  std::string path;
  int64_t records = 0;
  int64_t problem_count = 0;
  std::vector<LineProblem> problems, notes;  // notes: clocks that were set, not faults of the record
  std::string failure;                       // why the file could not be read

  void add(const LineProblem& problem) {
    ++problem_count;
    if (problems.size() < kMaxProblems) problems.push_back(problem);
  }
  bool ok() const { return problem_count == 0 && failure.empty(); }
};

CheckedFile check_file(const std::string& path) {
  CheckedFile file{.path = path};
  try {
    ReportReader reader(path, [&](const LineProblem& problem) { file.add(problem); });
    while (const auto record = reader.next()) {
      ++file.records;
      const std::string clock = clock_problem(*record);
      if (!clock.empty() && file.notes.size() < kMaxProblems) file.notes.push_back({reader.line(), "", clock});
    }
    if (file.records == 0 && file.problem_count == 0) file.failure = "the file holds no records";
  } catch (const Error& error) {
    file.failure = error.what();
  }
  return file;
}

Json problems_json(const std::vector<LineProblem>& problems) {
  Json list = Json::array();
  for (const auto& problem : problems) {
    list.push_back({{"line", problem.line},
                    {"field", problem.field.empty() ? Json(nullptr) : Json(problem.field)},
                    {"message", problem.message}});
  }
  return list;
}

void print_checked(const CheckedFile& file) {
  for (const auto& problem : file.problems) print_line(printable(describe(file.path, problem)));
  const auto shown = static_cast<int64_t>(file.problems.size());
  if (file.problem_count > shown) print_line(fmt::format("… and {} more", file.problem_count - shown));
  for (const auto& note : file.notes) print_line("note: " + printable(describe(file.path, note)));
  const std::string path = printable(file.path);
  if (!file.failure.empty()) {
    print_line(fmt::format("✗ {}: {}", path, printable(file.failure)));
  } else if (file.ok()) {
    print_line(fmt::format("✓ {}: {}", path, counted(static_cast<uint64_t>(file.records), "record")));
  } else {
    print_line(fmt::format("✗ {}: {}, {}", path, counted(static_cast<uint64_t>(file.problem_count), "problem"),
                           counted(static_cast<uint64_t>(file.records), "good record")));
  }
}

int validate(const Args& args) {
  Json list = Json::array();
  bool ok = true;
  for (const std::string& path : report_files(args)) {
    const CheckedFile file = check_file(path);
    ok = ok && file.ok();
    if (!args.has("--json")) print_checked(file);
    list.push_back({{"file", path},
                    {"valid", file.ok()},
                    {"records", file.records},
                    {"problem_count", file.problem_count},
                    {"problems", problems_json(file.problems)},
                    {"notes", problems_json(file.notes)},
                    {"failure", file.failure.empty() ? Json(nullptr) : Json(file.failure)}});
  }
  if (args.has("--json")) print_json(success_envelope("report", {{"valid", ok}, {"files", std::move(list)}}));
  return ok ? 0 : 1;
}

/// Reports skipped lines on stderr: the first kShown of a file, then the number of the others.
class Warnings {
 public:
  explicit Warnings(std::string path) : path_(std::move(path)) {}
  ~Warnings() {
    if (count_ > kShown) fmt::print(stderr, "warning: {}: … and {} more\n", printable(path_), count_ - kShown);
  }
  void operator()(const LineProblem& problem) {
    if (++count_ <= kShown) fmt::print(stderr, "warning: {}\n", printable(describe(path_, problem)));
  }

 private:
  static constexpr int64_t kShown = 10;
  std::string path_;
  int64_t count_ = 0;
};

void read_all(ReportSummary& summary, const std::vector<std::string>& files) {
  for (const std::string& path : files) {
    Warnings warnings(path);
    const int64_t before = summary.outcomes.all();
    summary.read(path, [&](const LineProblem& problem) { warnings(problem); });
    if (summary.outcomes.all() == before) fmt::print(stderr, "warning: {}: no records\n", printable(path));
  }
  if (summary.outcomes.all() == 0) {
    throw Error(ErrorKind::invalid, fmt::format("there is no record in {}", fmt::join(files, ", ")),
                "`mlxk report --validate` shows the problem of each line");
  }
}

std::optional<MemoryLog> read_memory(const std::string& path) {
  if (path.empty()) return std::nullopt;
  MemoryLog log = read_memory_log(path);
  for (const auto& warning : log.warnings) fmt::print(stderr, "warning: {}\n", printable(warning));
  return log;
}

/// The memory file next to a report: X-memory.jsonl or X_memory.jsonl for X.jsonl; empty: none.
std::string memory_beside(const std::string& report) {
  const fs::path path(report);
  for (const char* suffix : {"-memory", "_memory"}) {
    const fs::path memory = path.parent_path() / (path.stem().string() + suffix + path.extension().string());
    std::error_code error;
    if (fs::is_regular_file(memory, error)) return memory.string();
  }
  return {};
}

int run_report(const Args& args) {
  if (args.has("--validate")) return validate(args);
  if (args.has("--json")) throw Error(ErrorKind::usage, "--json needs --validate; a report is Markdown or HTML");
  const std::string output = args.text("--output"), memory_path = args.text("--memory");
  const std::string extension = fs::path(output).extension().string();
  const bool html = extension == ".html" || extension == ".htm";
  if (!output.empty() && !html && extension != ".md") {
    throw Error(ErrorKind::usage, fmt::format("argument --output: must end in .md or .html, got '{}'", output));
  }
  const auto files = report_files(args);
  const auto memory = read_memory(memory_path);
  ReportSummary current(memory ? &*memory : nullptr);
  read_all(current, files);
  ReportInputs inputs{
      .current = current, .memory = memory ? &*memory : nullptr, .memory_path = memory_path, .output = output};
  const std::string compared = args.text("--compare");
  if (!compared.empty()) inputs.old_memory_path = memory_beside(compared);
  const auto old_memory = read_memory(inputs.old_memory_path);
  inputs.old_memory = old_memory ? &*old_memory : nullptr;
  ReportSummary old(inputs.old_memory);
  if (!compared.empty()) {
    read_all(old, {compared});
    inputs.old = &old;
  }
  PageFiles beside;
  const auto page = html ? html_page("Benchmark report") : markdown_page(fs::path(output).stem().string(), beside);
  write_report(*page, inputs);
  if (output.empty()) {
    const std::string text = page->text();
    print_line(std::string_view(text).substr(0, text.size() - 1));
    return 0;
  }
  write_file_atomic(output, page->text());
  for (const auto& [name, svg] : beside) write_file_atomic(fs::path(output).parent_path() / name, svg);
  return 0;
}
}  // namespace

extern const Command kReportCommand;
const Command kReportCommand = {
    .name = "report",
    .help = "summarise reports of tests and benchmarks, or check them",
    .positionals = {{"file", PositionalKind::rest,
                     "reports in JSON Lines, schema 0.2.2 or older; default: the newest in benchmarks/reports"}},
    .options =
        {{.name = "--validate", .help = "show the lines and fields that do not conform to the schema"},
         {.name = "--compare", .kind = OptionKind::text, .metavar = "FILE", .help = "an older report to compare with"},
         {.name = "--memory",
          .kind = OptionKind::text,
          .metavar = "FILE",
          .help = "samples of `mlxk memmon` during the tests"},
         {.name = "--output",
          .kind = OptionKind::text,
          .metavar = "FILE",
          .help = "write Markdown (.md, with charts next to it) or one HTML page (.html); default: Markdown to stdout",
          .short_name = 'o'},
         json_option()},
    .run = run_report,
};

}  // namespace mlxk
