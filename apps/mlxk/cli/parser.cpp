#include "cli/parser.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>  // the one unit that includes it
#include <algorithm>
#include <cctype>
#include <optional>

#include "base/error.h"
#include "cli/suggestion.h"

namespace mlxk {

namespace {
bool is_long_option(const std::string& word) { return word.size() > 2 && word.compare(0, 2, "--") == 0; }

/// "-5" and "-.5" are values, not options: no option of ours is a digit.
bool is_negative_number(const std::string& word) {
  return word.size() > 1 && word[0] == '-' && (std::isdigit(static_cast<unsigned char>(word[1])) || word[1] == '.');
}

/// `--max-t` → `--max-tokens`, `--max-t=5` → `--max-tokens=5`, among `options`.
std::string expand_prefix(const std::string& word, const std::vector<std::string>& options) {
  const std::string name = word.substr(0, word.find('='));
  std::vector<std::string> matches;
  for (const std::string& option : options) {
    if (option == name) return word;
    if (option.compare(0, name.size(), name) == 0) matches.push_back(option);
  }
  if (matches.size() > 1) {
    throw Error(ErrorKind::usage, fmt::format("ambiguous option: {} could match {}", name, fmt::join(matches, ", ")));
  }
  return matches.empty() ? word : matches.front() + word.substr(name.size());
}

std::vector<std::string> option_names(const Command& command) {
  std::vector<std::string> names = {"--help"};
  for (const Option& option : command.options) names.push_back(option.name);
  return names;
}

[[noreturn]] void unknown_option(const std::string& word, const std::vector<std::string>& known) {
  const std::string meant = nearest(word, known);
  throw Error(ErrorKind::usage, fmt::format("unrecognized argument: {}", word),
              meant.empty() ? "" : fmt::format("Did you mean {}?", meant));
}

CLI::Option* add_option(CLI::App& app, const Option& option) {
  const std::string names = option.short_name ? fmt::format("-{},{}", option.short_name, option.name) : option.name;
  if (option.kind == OptionKind::flag) return app.add_flag(names);
  CLI::Option* made = app.add_option(names);
  switch (option.kind) {
    case OptionKind::optional: return made->expected(0, 1);
    case OptionKind::many: return made->expected(1, -1)->allow_extra_args();
    case OptionKind::repeated: return made->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    default: return made->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
}

/// The option of `command` that is written as "--name" or "-x", or null.
const Option* find_option(const Command& command, const std::string& name) {
  for (const Option& option : command.options) {
    if (name == option.name || (option.short_name && name == fmt::format("-{}", option.short_name))) return &option;
  }
  return nullptr;
}

/// CLI11 gets full option names; the words after `--` are set aside, because they would be parsed as options.
struct Prepared {
  std::vector<std::string> words;
  std::vector<std::string> plain;
};

Prepared prepare(const Command& command, const std::vector<std::string>& words) {
  std::vector<std::string> names = {"--help"};
  for (const Option& option : command.options) {
    if (!option.whole) names.push_back(option.name);
  }
  Prepared prepared;
  const Option* value_expected = nullptr;  // its value is the next word
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--" && !value_expected) {
      prepared.plain.assign(words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
      break;
    }
    const bool wants_number =
        value_expected && (value_expected->kind == OptionKind::integer || value_expected->kind == OptionKind::number);
    if (wants_number && find_option(command, words[i].substr(0, words[i].find('='))))
      break;  // no number looks like this
    if (value_expected) {
      prepared.words.push_back(words[i]);
      value_expected = nullptr;
      continue;
    }
    const std::string word = is_long_option(words[i]) ? expand_prefix(words[i], names) : words[i];
    const size_t equals = is_long_option(word) ? word.find('=') : std::string::npos;
    const Option* option = find_option(command, word.substr(0, equals));
    if (option && option->kind == OptionKind::flag && equals != std::string::npos) {
      throw Error(ErrorKind::usage, fmt::format("argument {}: takes no value", option->name));
    }
    if (option && equals != std::string::npos &&
        equals + 1 == word.size()) {  // `--prompt=`: CLI11 would take the next word as the value
      prepared.words.insert(prepared.words.end(), {option->name, ""});
      continue;
    }
    prepared.words.push_back(word);
    const bool takes_value = option && option->kind != OptionKind::flag && option->kind != OptionKind::optional;
    value_expected = takes_value && equals == std::string::npos ? option : nullptr;
  }
  if (value_expected) {
    throw Error(ErrorKind::usage,
                fmt::format("argument {}: needs a value, {}", value_expected->name, value_expected->metavar));
  }
  return prepared;
}
}  // namespace

/// Reads `words` (without the command's own name) into the rows of `command`.
static Args parse_command(const Command& command, const std::vector<std::string>& words, bool& help) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();  // positionals are counted here: CLI11 would not accept them after `--`
  app.add_flag("-h,--help");
  for (const Option& option : command.options) add_option(app, option);
  Prepared prepared = prepare(command, words);
  std::reverse(prepared.words.begin(), prepared.words.end());  // CLI11 takes them from the back
  try {
    app.parse(prepared.words);
  } catch (const CLI::Error& error) {
    throw Error(ErrorKind::usage, error.what());
  }
  help = app.count("--help") > 0;
  Args args;
  args.command = &command;
  for (const Option& option : command.options) {
    const CLI::Option* parsed = app.get_option(option.name);
    if (parsed->count() == 0) continue;
    args.given[option.name] = option.kind == OptionKind::flag ? std::vector<std::string>{""} : parsed->results();
    auto& values = args.given[option.name];
    if (option.kind == OptionKind::optional && (values.empty() || values.back().empty())) values = {option.implied};
  }
  std::vector<std::string> rest;
  for (const std::string& word : app.remaining()) {
    if (word.size() > 1 && word[0] == '-' && !is_negative_number(word)) {
      unknown_option(word.substr(0, word.find('=')), option_names(command));  // its value may be a secret
    }
    rest.push_back(word);
  }
  rest.insert(rest.end(), prepared.plain.begin(), prepared.plain.end());
  size_t next = 0;
  for (const Positional& positional : command.positionals) {
    if (positional.kind == PositionalKind::rest) {
      args.given[positional.name].assign(rest.begin() + static_cast<std::ptrdiff_t>(next), rest.end());
      next = rest.size();
    } else if (next < rest.size()) {
      args.given[positional.name] = {rest[next++]};
    } else if (positional.kind == PositionalKind::required && !help) {
      throw Error(ErrorKind::usage, fmt::format("the following argument is required: {}", positional.name));
    }
  }
  if (next < rest.size()) throw Error(ErrorKind::usage, fmt::format("unrecognized argument: {}", rest[next]));
  for (const Option& option : command.options) {
    if (option.kind == OptionKind::integer && args.has(option.name)) args.integer(option.name);
    if (option.kind == OptionKind::number && args.has(option.name)) args.number(option.name);
  }
  return args;
}

const Command& known_command(const std::string& word) {
  if (const Command* command = find_command(word)) return *command;
  if (const std::string meant = suggested_command(word); !meant.empty()) {
    throw Error(ErrorKind::usage, fmt::format("unknown command: '{}'", word),
                fmt::format("Did you mean `mlxk {}`? `mlxk help` lists the commands.", meant));
  }
  std::vector<std::string> names;
  for (const Command* command : command_table()) {
    if (!command->hidden) names.push_back(command->name);
  }
  throw Error(ErrorKind::usage, fmt::format("unknown command: '{}' (choose from {})", word, fmt::join(names, ", ")));
}

CommandLine parse_command_line(const std::vector<std::string>& words) {
  CommandLine line;
  size_t i = 0;
  for (; i < words.size() && words[i].size() > 1 && words[i][0] == '-'; ++i) {
    const std::string word = expand_prefix(words[i], {"--help", "--version", "--json"});
    if (word == "--help" || word == "-h") {
      line.help = true;
    } else if (word == "--version") {
      line.version = true;
    } else if (word == "--json") {
      line.json = true;
    } else {
      unknown_option(words[i], {"--help", "--version", "--json"});
    }
  }
  if (i == words.size() || line.help || line.version) return line;
  line.command = command_at(words, i);
  if (!line.command) line.command = &known_command(words[i]);  // throws
  const bool two = line.command->name.find(' ') != std::string::npos;
  line.args = parse_command(*line.command,
                            {words.begin() + static_cast<std::ptrdiff_t>(i) + (two ? 2 : 1), words.end()}, line.help);
  if (line.json) line.args.given.emplace("--json", std::vector<std::string>{""});
  line.json = line.args.given.count("--json") > 0;
  return line;
}

}  // namespace mlxk
