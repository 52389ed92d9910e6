#pragma once

#include <string_view>

#include "base/error.h"
#include "commands/command.h"
#include "json/json.h"

namespace mlxk {

/// A failure with a JSON type that scripts know: the command's own, and with the command's data beside the error.
class CommandFailure : public Error {
 public:
  CommandFailure(ErrorKind kind, std::string type, const std::string& message, Json data = nullptr,
                 std::string hint = {})
      : Error(kind, message, std::move(hint)), type_(std::move(type)), data_(std::move(data)) {}
  const std::string& type() const { return type_; }
  const Json& data() const { return data_; }
  /// Further keys of the JSON error, an object; null: none.
  const Json& extra() const { return extra_; }
  void set_extra(Json extra) { extra_ = std::move(extra); }

 private:
  std::string type_;
  Json data_, extra_;
};

/// One JSON document on stdout: indent 2, ASCII only, newline.
void print_json(const Json& document);
/// `text` and a newline on stdout.
void print_line(std::string_view text);

/// The names in an error's hint, one a line, as a JSON array.
Json lines_of(const std::string& text);

/// Prints `error` as JSON or for human readers and returns its exit code. `command` is null while it is unknown.
int report_error(const Error& error, const Command* command, bool json);

}  // namespace mlxk
