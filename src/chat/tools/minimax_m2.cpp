// <minimax:tool_call><invoke name="f"><parameter name="a">v</parameter></invoke></minimax:tool_call>: MiniMax M2.
#include "chat/tools/tagged_tool_format.h"

namespace mlxk {

namespace {
class MinimaxM2 : public TaggedToolFormat {
 public:
  std::string_view name() const override { return "minimax_m2"; }
  bool in_template(std::string_view source) const override { return contains(source, "<minimax:tool_call>"); }
  std::vector<std::string> openings() const override { return {"<minimax:tool_call>"}; }

 protected:
  TaggedCallsFormat tags(std::string_view /*opening*/) const override {
    TaggedCallsFormat format;
    format.call_open = "<invoke name=";
    format.name_close = ">";
    format.parameter_open = "<parameter name=";
    format.key_close = ">";
    format.value_close = "</parameter>";
    format.call_close = "</invoke>";
    format.section_close = "</minimax:tool_call>";
    format.quoted = true;
    return format;
  }
};
}  // namespace

const ToolFormat& minimax_m2_format() {
  static const MinimaxM2 format;
  return format;
}

}  // namespace mlxk
