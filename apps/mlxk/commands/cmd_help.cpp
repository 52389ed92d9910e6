// `mlxk help [COMMAND]`: prints the text of --help.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/help.h"
#include "cli/parser.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

int run_help(const Args& args) {
  const std::string word = fmt::format("{}", fmt::join(args.words("command"), " "));
  const std::string text = help_text(word.empty() ? nullptr : &known_command(word));
  print_line(std::string_view(text).substr(0, text.size() - 1));
  return 0;
}

}  // namespace

extern const Command kHelpCommand;
const Command kHelpCommand = {
    .name = "help",
    .help = "show the commands, or the options of one",
    .positionals = {{"command", PositionalKind::rest, "a command; default: all of them"}},
    .run = run_help,
};

}  // namespace mlxk
