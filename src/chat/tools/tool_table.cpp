#include "chat/tools/tool_table.h"

#include "json/member.h"

namespace mlxk {

const Json* ToolTable::find(std::string_view name) const {
  for (const Json& tool : tools_) {
    const Json* function = find_member(&tool, "function");
    const Json* called = find_member(function, "name");
    if (called && called->is_string() && called->get_ref<const std::string&>() == name) return function;
  }
  return nullptr;
}

const Json* ToolTable::parameters(std::string_view function) const { return find_member(find(function), "parameters"); }

const Json* ToolTable::parameter(std::string_view function, std::string_view name) const {
  return find_member(find_member(parameters(function), "properties"), name);
}

}  // namespace mlxk
