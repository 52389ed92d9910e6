// <atem:function_calls><atem:invoke name="f"><atem:parameter name="a">v</atem:parameter></atem:invoke>…: Muse.
#include "chat/tools/tagged_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
TaggedCallsFormat tags() {
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

class MuseSpark : public ToolFormat {
 public:
  std::string_view name() const override { return "muse_spark"; }
  bool in_template(std::string_view source) const override {
    return contains(source, "<atem:function_calls>");
  }
  std::vector<std::string> openings() const override { return {"<atem:function_calls>"}; }
  std::vector<std::string> marks() const override { return {"</atem:function_calls>"}; }
  std::unique_ptr<CallReader> reader(const ToolTable& tools, std::string_view) const override {
    return std::make_unique<TaggedCalls>(tags(), tools);
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override {
    return {"\n", "\n", "\n</atem:function_calls>", true};
  }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return tagged_call_grammar(text, tags(), tool);
  }
};
}  // namespace

const ToolFormat& muse_spark_format() {
  static const MuseSpark format;
  return format;
}

}  // namespace mlxk
