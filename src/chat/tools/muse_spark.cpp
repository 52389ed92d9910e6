// <atem:function_calls><atem:invoke name="f"><atem:parameter name="a">v</atem:parameter></atem:invoke>…: Muse.
#include "chat/tools/tagged_tool_format.h"

namespace mlxk {

namespace {
class MuseSpark : public TaggedToolFormat {
 public:
  std::string_view name() const override { return "muse_spark"; }
  bool in_template(std::string_view source) const override { return contains(source, "<atem:function_calls>"); }
  std::vector<std::string> openings() const override { return {"<atem:function_calls>"}; }

 protected:
  TaggedCallsFormat tags(std::string_view /*opening*/) const override {
    TaggedCallsFormat format;
    format.call_open = "<atem:invoke";
    format.name_close = ">";
    format.parameter_open = "<atem:parameter";
    format.key_close = ">";
    format.value_close = "</atem:parameter>";
    format.call_close = "</atem:invoke>";
    format.section_close = "</atem:function_calls>";
    format.name_attribute = "name";
    format.key_attribute = "name";
    format.untyped = Untyped::value;
    return format;
  }
};
}  // namespace

const ToolFormat& muse_spark_format() {
  static const MuseSpark format;
  return format;
}

}  // namespace mlxk
