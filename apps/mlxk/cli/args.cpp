#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <locale>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "commands/command.h"

namespace mlxk {

namespace {
const Option& row(const Args& args, std::string_view name) {
  for (const Option& option : args.command->options) {
    if (option.name == name) return option;
  }
  throw Error(ErrorKind::internal, fmt::format("[args] {} has no option {}", args.command->name, name));
}

std::string environment_value(const Option& option) {
  if (option.env.empty()) return {};
  const char* value = std::getenv(option.env.c_str());
  return value ? value : "";
}

/// Whether the environment sets a flag, and to what.
std::optional<bool> environment_flag(const Option& option) {
  const std::string value = environment_value(option);
  if (value.empty()) return std::nullopt;
  return value != "0" && value != "false" && value != "no" && value != "off";
}

using Values = std::map<std::string, std::vector<std::string>, std::less<>>;
const std::vector<std::string>* find_values(const Values& values, std::string_view name) {
  const auto it = values.find(name);
  return it == values.end() || it->second.empty() ? nullptr : &it->second;
}

bool read_number(const std::string& text, int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

bool read_number(const std::string& text, double& value) {
  std::istringstream stream(text);  // libc++ has no from_chars for doubles
  stream.imbue(std::locale::classic());
  return !text.empty() && (stream >> std::noskipws >> value) && stream.peek() == EOF;
}

template <class Number>
Number parse(const Option& option, const std::string& text) {
  Number value{};
  if (!read_number(text, value)) {
    throw Error(ErrorKind::usage, fmt::format("argument {}: not {}: '{}'", option.name,
                                              option.kind == OptionKind::integer ? "an integer" : "a number", text));
  }
  const auto wide = static_cast<double>(value);
  if (wide < option.min || wide > option.max) {
    const bool open = option.max == std::numeric_limits<double>::infinity();
    throw Error(ErrorKind::usage,
                open ? fmt::format("argument {}: must be at least {}, got {}", option.name, option.min, text)
                     : fmt::format("argument {}: must be between {} and {}, got {}", option.name, option.min,
                                   option.max, text));
  }
  return value;
}
}  // namespace

bool Args::has(std::string_view option) const {
  const Option& found = row(*this, option);
  if (given.find(option) != given.end()) return true;
  if (found.kind == OptionKind::flag) {
    if (const auto set = environment_flag(found)) return *set;
  }
  return !environment_value(found).empty() || file.find(option) != file.end();
}

std::string Args::text(std::string_view option) const {
  const Option& found = row(*this, option);
  if (const auto* values = find_values(given, option)) return values->back();
  if (std::string environment = environment_value(found); !environment.empty()) return environment;
  const auto* values = find_values(file, option);
  return values ? values->back() : found.default_value;
}

int64_t Args::integer(std::string_view option) const { return parse<int64_t>(row(*this, option), text(option)); }

double Args::number(std::string_view option) const { return parse<double>(row(*this, option), text(option)); }

std::vector<std::string> Args::list(std::string_view option) const {
  row(*this, option);
  if (const auto* values = find_values(given, option)) return *values;
  const auto* values = find_values(file, option);
  return values ? *values : std::vector<std::string>{};
}

std::vector<std::string> Args::words(std::string_view positional) const {
  const auto values = given.find(positional);
  return values == given.end() ? std::vector<std::string>{} : values->second;
}

std::string Args::word(std::string_view positional) const {
  const auto all = words(positional);
  return all.empty() ? std::string{} : all.front();
}

}  // namespace mlxk
