#include "cli/config_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <toml.hpp>  // the one unit that includes it

#include "base/error.h"
#include "base/file.h"

namespace mlxk {

namespace {

constexpr uint64_t kLargestFile = 1 << 20;

/// The place of a value in the file; toml11 3 and 4 name it differently.
template <class Location>
size_t line_of(const Location& location) {
  if constexpr (requires { location.first_line_number(); }) {
    return location.first_line_number();
  } else {
    return location.line();
  }
}

template <class SyntaxError>
size_t line_of_error(const SyntaxError& error) {
  if constexpr (requires { error.location(); }) {
    return line_of(error.location());
  } else if constexpr (requires { error.errors().at(0).locations().at(0).first; }) {
    return line_of(error.errors().at(0).locations().at(0).first);
  } else {
    return 0;
  }
}

[[noreturn]] void refuse(const std::string& path, size_t line, std::string_view what) {
  throw Error(ErrorKind::invalid, fmt::format("{}:{}: {}", path, line, what));
}

/// "max_tokens" → "--max-tokens".
std::string option_name(std::string key) {
  std::replace(key.begin(), key.end(), '_', '-');
  return "--" + key;
}

const Option* find_file_option(const Command& command, const std::string& name) {
  for (const Option& option : command.options) {
    if (option.name == name && option.in_file) return &option;
  }
  return nullptr;
}

/// A single value in the form of the command line; nullopt for a type that the option does not accept.
std::optional<std::string> value_text(const toml::value& value, OptionKind kind) {
  const bool number = kind == OptionKind::integer || kind == OptionKind::number;
  const bool list = kind == OptionKind::repeated || kind == OptionKind::many;
  if (value.is_integer() && !list) return fmt::format("{}", toml::get<int64_t>(value));  // a size may be an integer
  if (value.is_floating() && kind == OptionKind::number) return fmt::format("{}", toml::get<double>(value));
  if (value.is_string() && !number) return toml::get<std::string>(value);
  return std::nullopt;
}

const char* wanted(OptionKind kind) {
  switch (kind) {
    case OptionKind::flag: return "true or false";
    case OptionKind::integer: return "an integer";
    case OptionKind::number: return "a number";
    case OptionKind::repeated:
    case OptionKind::many: return "an array of strings";
    default: return "a string";
  }
}

/// The values of `key`; empty for a flag that is off.
std::vector<std::string> read_values(const toml::value& value, const Option& option, const std::string& place) {
  const auto fail = [&]() -> std::vector<std::string> {
    throw Error(ErrorKind::invalid, fmt::format("{} must be {}", place, wanted(option.kind)));
  };
  if (option.kind == OptionKind::flag) {
    if (!value.is_boolean()) return fail();
    return value.as_boolean() ? std::vector<std::string>{""} : std::vector<std::string>{};
  }
  std::vector<std::string> texts;
  const bool several = option.kind == OptionKind::repeated || option.kind == OptionKind::many;
  if (value.is_array() && several) {
    for (const auto& element : value.as_array()) {
      const auto text = value_text(element, option.kind);
      if (!text) return fail();
      texts.push_back(*text);
    }
    return texts;
  }
  const auto text = value_text(value, option.kind);
  if (text && (option.kind == OptionKind::integer || option.kind == OptionKind::number)) {
    const double number =
        value.is_integer() ? static_cast<double>(toml::get<int64_t>(value)) : toml::get<double>(value);
    if (!(number >= option.min && number <= option.max)) {
      throw Error(ErrorKind::invalid,
                  fmt::format("{} must be between {} and {}, got {}", place, option.min, option.max, *text));
    }
  }
  return text ? std::vector{*text} : fail();
}

toml::value parse(const std::string& path) {
  std::istringstream stream(read_file(path, kLargestFile));
  try {
    return toml::parse(stream, path);
  } catch (const toml::syntax_error& error) {
    // Its message is a drawing of several lines; the first line is the error, the location is the place.
    std::string what = error.what();
    what.resize(std::min(what.find('\n'), what.size()));
    if (what.starts_with("[error] ")) what.erase(0, 8);
    if (what.starts_with("toml::") && what.find(": ") != what.npos) what.erase(0, what.find(": ") + 2);
    refuse(path, line_of_error(error), what);
  }
}

}  // namespace

void read_config_file(const std::string& path, Args& args) {
  const toml::value file = parse(path);
  for (const auto& [key, value] : file.as_table()) {
    const size_t line = line_of(value.location());
    const Option* option = find_file_option(*args.command, option_name(key));
    if (!option) refuse(path, line, fmt::format("unknown key '{}'", key));
    if (args.file.contains(option->name)) refuse(path, line, fmt::format("'{}' occurs twice", key));
    auto values = read_values(value, *option, fmt::format("{}:{}: '{}'", path, line, key));
    if (!values.empty()) args.file[option->name] = std::move(values);
  }
}

}  // namespace mlxk
