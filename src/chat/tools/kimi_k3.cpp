// <|open|>tools<|sep|><|open|>call tool="f"<|sep|><|open|>argument key="a"
// type="string"<|sep|>v<|close|>argument<|sep|>…: Kimi K3.
#include "chat/tools/tagged_tool_format.h"

namespace mlxk {

namespace {
std::string typed_by_tag(std::string_view tag) {
  const std::string type = attribute(tag, "type");
  return type.empty() ? "string" : type;
}

std::string type_attribute(const Json& schema) {
  const Json type = schema.is_object() ? schema.value("type", Json()) : Json();
  if (wants_text(&schema, Untyped::text)) return " type=\"string\"";
  return " type=\"" + (type.is_string() ? type.get<std::string>() : "object") + "\"";
}

class KimiK3 : public TaggedToolFormat {
 public:
  std::string_view name() const override { return "kimi_k3"; }
  bool in_template(std::string_view source) const override { return contains(source, "<|open|>tools<|sep|>"); }
  bool in_vocabulary(const HasToken& has) const override {
    for (const char* token : {"<|open|>", "<|close|>", "<|sep|>", "<|end_of_msg|>"}) {
      if (!has(token)) return false;
    }
    return true;
  }
  std::vector<std::string> openings() const override { return {"<|open|>tools<|sep|>"}; }

 protected:
  TaggedCallsFormat tags(std::string_view /*opening*/) const override {
    TaggedCallsFormat format;
    format.call_open = "<|open|>call";
    format.name_close = "<|sep|>";
    format.parameter_open = "<|open|>argument";
    format.key_close = "<|sep|>";
    format.value_close = "<|close|>argument<|sep|>";
    format.call_close = "<|close|>call<|sep|>";
    format.section_close = "<|close|>tools<|sep|>";
    format.object_open = "<|open|>json";
    format.object_close = "<|close|>json<|sep|>";
    format.name_attribute = "tool";
    format.key_attribute = "key";
    format.trim = TaggedCallsFormat::Trim::none;
    format.type = typed_by_tag;
    format.line = "";
    format.written_type = type_attribute;
    return format;
  }
};
}  // namespace

const ToolFormat& kimi_k3_format() {
  static const KimiK3 format;
  return format;
}

}  // namespace mlxk
