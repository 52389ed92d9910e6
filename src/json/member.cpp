#include "json/member.h"

#include "json/json.h"

namespace mlxk {

const Json* find_member(const Json* object, std::string_view key) {
  if (!object || !object->is_object()) return nullptr;
  const auto it = object->find(std::string(key));
  return it == object->end() ? nullptr : &*it;
}

const Json& value_at(const Json& object, std::string_view key) {
  static const Json kNull;
  const Json* value = find_member(&object, key);
  return value ? *value : kNull;
}

std::string string_at(const Json& object, std::string_view key) {
  const Json& value = value_at(object, key);
  return value.is_string() ? value.get<std::string>() : std::string{};
}

}  // namespace mlxk
