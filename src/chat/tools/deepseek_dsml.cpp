// <｜DSML｜tool_calls><｜DSML｜invoke name="f"><｜DSML｜parameter name="a"
// string="true">v</｜DSML｜parameter></｜DSML｜invoke>…: DeepSeek V3.2, V4.
#include "chat/tools/tagged_tool_format.h"

namespace mlxk {

namespace {
std::string value_type(std::string_view tag) {
  const std::string is_text = attribute(tag, "string");
  return is_text == "true" ? "string" : is_text == "false" ? "json" : "";
}

std::string written_type(const Json& schema) {
  return wants_text(&schema, Untyped::text) ? " string=\"true\"" : " string=\"false\"";
}

class DeepseekDsml : public TaggedToolFormat {
 public:
  std::string_view name() const override { return "deepseek_dsml"; }
  bool in_template(std::string_view source) const override { return contains(source, "｜DSML｜"); }
  bool in_vocabulary(const HasToken& has) const override { return has("｜DSML｜"); }
  std::vector<std::string> openings() const override { return {"<｜DSML｜tool_calls>", "<｜DSML｜function_calls>"}; }

 protected:
  TaggedCallsFormat tags(std::string_view opening) const override {
    TaggedCallsFormat format;
    format.call_open = "<｜DSML｜invoke";
    format.name_close = ">";
    format.parameter_open = "<｜DSML｜parameter";
    format.key_close = ">";
    format.value_close = "</｜DSML｜parameter>";
    format.call_close = "</｜DSML｜invoke>";
    format.section_close = contains(opening, "tool_calls") ? "</｜DSML｜tool_calls>" : "</｜DSML｜function_calls>";
    format.name_attribute = "name";
    format.key_attribute = "name";
    format.trim = TaggedCallsFormat::Trim::none;
    format.type = value_type;
    format.written_type = written_type;
    return format;
  }
};
}  // namespace

const ToolFormat& deepseek_dsml_format() {
  static const DeepseekDsml format;
  return format;
}

}  // namespace mlxk
