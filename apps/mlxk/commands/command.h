#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

enum class OptionKind {
  flag,      // no value
  text,      // one value; the last one given counts
  integer,   // one value, checked against min and max
  number,    // one value, checked against min and max
  optional,  // `--translate` or `--translate LANG`: `implied` stands for the missing value
  repeated,  // one value each time it is given
  many,      // one or more values each time it is given
};

/// One row of a command's flag table; parser, help, completions and man page are made from it.
struct Option {
  std::string name;  // "--force"
  OptionKind kind = OptionKind::flag;
  std::string metavar;
  std::string help;
  std::string default_value;  // the value of Args if the option is absent
  std::string env;            // variable that replaces an absent option; may be empty
  char short_name = 0;        // 'f' for -f
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  std::string implied;               // OptionKind::optional only
  bool in_file = true;               // whether a config file may set it
  std::vector<std::string> choices;  // of the value, for completions; empty: anything
  bool whole = false;                // no abbreviation: `--api-key KEY` must not match --api-key-file
};

enum class PositionalKind { required, optional, rest };
struct Positional {
  std::string name;  // as written in help: "model"
  PositionalKind kind = PositionalKind::required;
  std::string help;
  std::vector<std::string> choices;  // as of an option
};

/// An environment variable that the command reads, for --help and the man page.
struct EnvVariable {
  std::string name, help;
};

/// The parsed arguments; requesting a name that is not in the command's tables is a defect (Error internal).
class Args {
 public:
  /// Whether the option is on the command line, its variable is set and not empty, or the config file has it. A flag's
  /// variable may also say no: 0, false, no, off.
  bool has(std::string_view option) const;
  /// The last value, else the variable's, else the config file's, else the default.
  std::string text(std::string_view option) const;
  int64_t integer(std::string_view option) const;
  double number(std::string_view option) const;
  /// Every value of a repeated or many option, in order.
  std::vector<std::string> list(std::string_view option) const;
  /// The words of a positional: none or one, with `rest` any number.
  std::vector<std::string> words(std::string_view positional) const;
  /// The one word of a positional; empty if absent.
  std::string word(std::string_view positional) const;

  std::map<std::string, std::vector<std::string>, std::less<>> given;  // name → values; a flag has one empty value
  std::map<std::string, std::vector<std::string>, std::less<>> file;   // the same, from a config file
  const struct Command* command = nullptr;
};

/// A subcommand of one word or of two ("bench serve"). `run` returns the exit code and throws Error; the dispatcher
/// prints errors, as an envelope with --json.
struct Command {
  std::string name;
  std::string help;  // one line
  std::vector<Positional> positionals;
  std::vector<Option> options;
  int (*run)(const Args& args) = nullptr;
  std::vector<std::string> aliases;
  std::vector<EnvVariable> environment;
  std::string error_type;    // JSON error type of every failure; empty: the error kind's
  bool bare_errors = false;  // `Error: …` instead of `<command>: Error: …`
  bool hidden = false;       // omitted from the list of commands
};

/// Every command, in the order of --help. The rows are in commands.inc: one line adds a command.
const std::vector<const Command*>& command_table();
/// The command with that name or alias, or null.
const Command* find_command(std::string_view name);
/// The command named by `words` at `at`, of two words if there is one, else of one word; null: none.
const Command* command_at(const std::vector<std::string>& words, size_t at);

/// The help text for a positional that names a model to be opened.
inline constexpr const char* kModelHelp = "name, part of a name, name@revision, folder, or .gguf file";

/// The row `--json` that nearly every command has.
Option json_option();
/// Basename of argv[0], set by main.
extern std::string program_name;

}  // namespace mlxk
