#include "terminal/output.h"

#include <fmt/format.h>

#include <cstdio>

#include "cli/table.h"
#include "json/api.h"

namespace mlxk {

Json lines_of(const std::string& text) {
  Json lines = Json::array();
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    const size_t first = std::min(text.find_first_not_of(" -", start), end);
    if (first < end) lines.push_back(text.substr(first, end - first));
    start = end + 1;
  }
  return lines;
}

void print_json(const Json& document) { print_line(document.dump(2, ' ', true, Json::error_handler_t::replace)); }

void print_line(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

int report_error(const Error& error, const Command* command, bool json) {
  const ErrorKindInfo& info = error_kind_info(error.kind());
  const bool usage = error.kind() == ErrorKind::usage;
  if (json) {
    const std::string name = command && !usage ? command->name : "";
    const auto* failure = dynamic_cast<const CommandFailure*>(&error);
    std::string type = command && !usage && !command->error_type.empty() ? command->error_type : info.json_type;
    if (failure) type = failure->type();
    Json extra = Json::object();
    if (error.kind() == ErrorKind::ambiguous) {
      extra["matches"] = lines_of(error.hint());
    } else if (error.kind() == ErrorKind::no_revision) {
      extra["available_hashes"] = lines_of(error.hint());
    } else if (!error.hint().empty()) {
      extra["detail"] = error.hint();
    }
    if (failure && failure->extra().is_object()) extra.update(failure->extra());
    Json envelope = error_envelope(name, type, error.what(), extra);
    if (failure) envelope["data"] = failure->data();
    print_json(envelope);
    return info.exit_code;
  }
  std::fflush(stdout);
  const bool prefix = command && !command->bare_errors;
  fmt::print(stderr, "{}Error: {}\n", prefix ? command->name + ": " : "", printable(error.what(), true));
  if (!error.hint().empty()) fmt::print(stderr, "{}\n", printable(error.hint(), true));
  return info.exit_code;
}

}  // namespace mlxk
