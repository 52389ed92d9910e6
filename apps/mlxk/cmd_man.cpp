// `mlxk man`: the manual page in roff, made from the same tables as the parser.
#include <fmt/format.h>

#include "help.h"
#include "output.h"

namespace mlxk {

namespace {
/// Text that troff reads as it stands.
std::string roff(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  if (!out.empty() && (out[0] == '.' || out[0] == '\'')) out.insert(0, "\\&");
  return out;
}

std::string item(const std::string& term, const std::string& text) {
  return fmt::format(".TP\n.B {}\n{}\n", roff(term), roff(text));
}

int run(const Args&) {
  const std::string page = man_page();
  print_line(std::string_view(page).substr(0, page.size() - 1));
  return 0;
}
}  // namespace

std::string man_page() {
  std::string page = fmt::format(".TH MLXK 1 \"\" \"mlxk {}\" \"User Commands\"\n", MLXK_VERSION);
  page += ".SH NAME\nmlxk \\- find, check, convert and run MLX models\n";
  page += ".SH SYNOPSIS\n.B mlxk\n.I command\n[options] ...\n.br\n.B mlx\\-run\n.I model\n[options] [prompt ...]\n";
  page +=
      ".SH DESCRIPTION\nmlxk works on models in the Hugging Face cache and in workspaces. "
      "Long options may be shortened to any unambiguous prefix; \\-\\- ends the options.\n";
  page += ".SH COMMANDS\n";
  for (const Command* command : command_table()) {
    if (command->hidden) continue;
    page += fmt::format(".SS {}\n{}\n.PP\n.nf\n{}.fi\n", roff(command->name), roff(command->help),
                        roff(usage_text(command)));
    for (const Positional& positional : command->positionals) page += item(positional.name, positional.help);
    for (const Option& option : command->options) page += item(option_signature(option), option_help(option));
    for (const EnvVariable& variable : command->environment) page += item(variable.name, variable.help);
  }
  page += ".SH EXIT STATUS\n";
  page += item("0", "success") + item("1", "failure") + item("2", "the command line is malformed") +
          item("130", "interrupted");
  return page;
}

extern const Command kManCommand;
const Command kManCommand = {
    .name = "man",
    .help = "print the manual page",
    .run = run,
    .hidden = true,
};

}  // namespace mlxk
