#include "chat/tools/tool_table.h"

namespace mlxk {

namespace {
const Json* member(const Json* object, std::string_view key) {
  if (!object || !object->is_object()) return nullptr;
  const auto found = object->find(std::string(key));
  return found == object->end() ? nullptr : &*found;
}
}  // namespace

const Json* ToolTable::find(std::string_view name) const {
  for (const Json& tool : tools_) {
    const Json* function = member(&tool, "function");
    const Json* called = member(function, "name");
    if (called && called->is_string() && called->get_ref<const std::string&>() == name) return function;
  }
  return nullptr;
}

const Json* ToolTable::parameters(std::string_view function) const { return member(find(function), "parameters"); }

const Json* ToolTable::parameter(std::string_view function, std::string_view name) const {
  return member(member(parameters(function), "properties"), name);
}

}  // namespace mlxk
