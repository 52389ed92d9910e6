#include "json/member.h"

namespace mlxk {

const Json& value_at(const Json& object, std::string_view key) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto it = object.find(std::string(key));
  return it == object.end() ? kNull : *it;
}

std::string string_at(const Json& object, std::string_view key) {
  const Json& value = value_at(object, key);
  return value.is_string() ? value.get<std::string>() : std::string{};
}

}  // namespace mlxk
