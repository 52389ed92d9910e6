#include "json/api.h"

namespace mlxk {

Json success_envelope(std::string_view command, Json data) {
  return {{"status", "success"}, {"command", command}, {"data", std::move(data)}, {"error", nullptr}};
}

Json error_envelope(std::string_view command, std::string_view type, std::string_view message, const Json& extra) {
  Json error = {{"type", type}, {"message", message}};
  error.update(extra);
  Json envelope = {{"status", "error"}, {"command", nullptr}, {"data", nullptr}, {"error", std::move(error)}};
  if (!command.empty()) envelope["command"] = command;
  return envelope;
}

}  // namespace mlxk
