// `mlxk memplot MEMORY.jsonl [BENCH.jsonl]`: draws the samples of memmon as an HTML page, an SVG or a PNG.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "base/counted.h"
#include "base/error.h"
#include "base/file.h"
#include "cli/table.h"
#include "commands/command.h"
#include "media/svg.h"
#include "monitor/memory_log.h"
#include "plot/memory_timeline.h"
#include "plot/timeline.h"
#include "terminal/output.h"

namespace mlxk {

namespace {
const std::vector<std::string> kFormats = {"html", "svg", "png"};

bool is_format(const std::string& name) { return std::find(kFormats.begin(), kFormats.end(), name) != kFormats.end(); }

/// The value of --format, else the extension of --output, else html.
std::string plot_format(const Args& args) {
  if (args.has("--format")) {
    const std::string format = args.text("--format");
    if (is_format(format)) return format;
    throw Error(ErrorKind::usage, fmt::format("argument --format: must be html, svg or png, got '{}'", format));
  }
  const std::string ending = fs::path(args.text("--output")).extension().string();
  if (ending.empty()) return "html";
  if (is_format(ending.substr(1))) return ending.substr(1);
  if (ending == ".htm") return "html";
  throw Error(ErrorKind::usage, fmt::format("argument --output: must end in .html, .svg or .png, got '{}'", ending),
              "or name the format with --format");
}

int run_memplot(const Args& args) {
  const std::string format = plot_format(args);
  const MemoryLog log = read_memory_log(args.word("memory"));
  const std::string bench = args.word("bench");
  const TestLog tests = bench.empty() ? TestLog() : read_test_log(bench);
  for (const auto* warnings : {&log.warnings, &tests.warnings}) {
    for (const auto& warning : *warnings) fmt::print(stderr, "memplot: {}\n", printable(warning));
  }
  const Timeline timeline = memory_timeline(log, tests, args.text("--title"));
  const std::string output = args.has("--output") ? args.text("--output") : "memory_timeline." + format;
  constexpr double kSharp = 2;  // pixels of the PNG per pixel of the SVG
  write_file_atomic(output, format == "html"  ? timeline_html(timeline)
                            : format == "svg" ? timeline_svg(timeline)
                                              : svg_to_png(timeline_svg(timeline), kSharp));
  print_line(fmt::format("{}: {}, {}", printable(output), counted(log.samples.size(), "sample"),
                         counted(tests.tests.size(), "test")));
  return 0;
}
}  // namespace

extern const Command kMemplotCommand;
const Command kMemplotCommand = {
    .name = "memplot",
    .help = "draw the samples of memmon, and the tests of a report",
    .positionals = {{"memory", PositionalKind::required, "file that `memmon --output` wrote"},
                    {"bench", PositionalKind::optional, "report in JSON Lines, schema 0.1.0 to 0.2.2"}},
    .options = {{.name = "--output",
                 .kind = OptionKind::text,
                 .metavar = "FILE",
                 .help = "file to write; default: memory_timeline.FORMAT",
                 .short_name = 'o'},
                {.name = "--format",
                 .kind = OptionKind::text,
                 .metavar = "F",
                 .help = "html (one page that works offline), svg or png; default: the extension of FILE, else html",
                 .choices = kFormats},
                {.name = "--title", .kind = OptionKind::text, .metavar = "T", .help = "heading; default: the command"}},
    .run = run_memplot,
};

}  // namespace mlxk
