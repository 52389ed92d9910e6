// <function name="f"><param name="a">v</param></function>, calls one after the other: MiniCPM.
#include "chat/tools/tagged_tool_format.h"

namespace mlxk {

namespace {
class Minicpm5 : public TaggedToolFormat {
 public:
  std::string_view name() const override { return "minicpm5"; }
  bool in_template(std::string_view source) const override {
    return contains(source, "<function name=\"") && contains(source, "<param name=\"");
  }
  std::vector<std::string> openings() const override { return {"<function name="}; }

 protected:
  TaggedCallsFormat tags(std::string_view /*opening*/) const override {
    TaggedCallsFormat format;
    format.name_close = ">";
    format.parameter_open = "<param name=";
    format.key_close = ">";
    format.value_close = "</param>";
    format.call_close = "</function>";
    format.cdata = true;
    format.quoted = true;
    format.line = "";
    return format;
  }
};
}  // namespace

const ToolFormat& minicpm5_format() {
  static const Minicpm5 format;
  return format;
}

}  // namespace mlxk
