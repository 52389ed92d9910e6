// `mlxk memmon [-- command …]`, also as the link `memmon`: samples the machine while a command runs.
#include "base/error.h"
#include "cli/help.h"
#include "commands/command.h"
#include "memmon/memmon.h"
#include "terminal/output.h"

namespace mlxk {

namespace {
int run_memmon(const Args& args) {
  MemmonOptions options;
  options.interval = std::chrono::milliseconds(args.integer("--interval"));
  options.output = args.text("--output");
  options.duration_s = args.has("--duration") ? args.number("--duration") : 0;
  options.verbose = args.has("--verbose");
  options.command = args.words("command");
  if (options.command.empty() && options.duration_s == 0) {
    const std::string help = help_text(args.command);
    print_line(help.substr(0, help.size() - 1));
    return 1;
  }
  return run_memmon(options);
}
}  // namespace

extern const Command kMemmonCommand;
const Command kMemmonCommand = {
    .name = "memmon",
    .help = "sample memory, pressure, processors and GPUs while a command runs",
    .positionals = {{"command", PositionalKind::rest, "after `--`: the command and its arguments"}},
    .options = {{.name = "--interval",
                 .kind = OptionKind::integer,
                 .metavar = "MS",
                 .help = "milliseconds between samples",
                 .default_value = "200",
                 .short_name = 'i',
                 .min = 10,
                 .max = 3'600'000},
                {.name = "--output",
                 .kind = OptionKind::text,
                 .metavar = "FILE",
                 .help = "write a JSON object for each sample, and a summary (JSON Lines)",
                 .short_name = 'o'},
                {.name = "--duration",
                 .kind = OptionKind::number,
                 .metavar = "S",
                 .help = "sample for S seconds; the command is not stopped",
                 .short_name = 'd',
                 .min = 0.01,
                 .max = 1e8},
                {.name = "--verbose",
                 .help = "show the current values once a second, also while a command runs",
                 .short_name = 'v'}},
    .run = run_memmon,
};

}  // namespace mlxk
