// {"name": "f", "arguments": {…}} after a marker of the family: one object, a list of them, or one a line.
#include <algorithm>

#include "chat/tools/json_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
struct Markers {
  std::string_view name;
  std::string_view in_template;  // part of templates that write such calls
  std::vector<std::string_view>
      in_vocabulary;  // tokens that identify the family if the template does not; may be empty
  std::vector<std::string> openings;
  std::string_view close;  // after the beginning of the first opening; may be empty
  CallSyntax syntax;
  std::string argument_key = "arguments";
};

class MarkedJson : public ToolFormat {
 public:
  explicit MarkedJson(Markers markers) : markers_(std::move(markers)) {}

  std::string_view name() const override { return markers_.name; }
  bool in_template(std::string_view source) const override { return contains(source, markers_.in_template); }
  bool in_vocabulary(const HasToken& has) const override {
    return !markers_.in_vocabulary.empty() &&
           std::all_of(markers_.in_vocabulary.begin(), markers_.in_vocabulary.end(), has);
  }
  std::vector<std::string> openings() const override { return markers_.openings; }
  std::vector<std::string> marks() const override {
    std::vector<std::string> marks(markers_.in_vocabulary.begin(), markers_.in_vocabulary.end());
    if (!markers_.close.empty()) marks.emplace_back(markers_.close);
    return marks;
  }
  std::unique_ptr<CallReader> reader(const ToolTable&, std::string_view opening) const override {
    JsonCallsFormat format;
    if (opening == markers_.openings.front()) format.close = markers_.close;
    return std::make_unique<JsonCalls>(format);
  }
  CallSyntax syntax(std::string_view opening, const Tokenizer&) const override {
    return opening == markers_.openings.front() ? markers_.syntax : CallSyntax{"[", ", ", "]", true};
  }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return json_call_grammar(text, "name", markers_.argument_key, tool);
  }

 private:
  Markers markers_;
};
}  // namespace

const ToolFormat& granite_format() {  // Granite 3
  static const MarkedJson format({"granite", "<|tool_call|>", {}, {"<|tool_call|>"}, "", {"[", ", ", "]", true}});
  return format;
}

const ToolFormat& phi4_format() {  // Phi-4-mini, whose template shows tools between <|tool|> and <|/tool|>
  static const MarkedJson format({"phi4",
                                  "<|/tool|>",
                                  {"<|tool_call|>", "<|/tool_call|>"},
                                  {"<|tool_call|>", "functools"},
                                  "<|/tool_call|>",
                                  {"[", ", ", "]<|/tool_call|>", true}});
  return format;
}

const ToolFormat& apriel_format() {
  static const MarkedJson format(
      {"apriel", "<tool_calls>[", {}, {"<tool_calls>"}, "</tool_calls>", {"[", ", ", "]</tool_calls>", true}});
  return format;
}

const ToolFormat& minimax_m1_format() {
  static const MarkedJson format(
      {"minimax_m1", "<tool_calls>", {}, {"<tool_calls>"}, "</tool_calls>", {"\n", "\n", "\n</tool_calls>", true}});
  return format;
}

const ToolFormat& nemotron_format() {  // Nemotron Nano 2, Llama Nemotron
  static const MarkedJson format(
      {"nemotron", "<TOOLCALL>", {}, {"<TOOLCALL>"}, "</TOOLCALL>", {"[", ", ", "]</TOOLCALL>", true}});
  return format;
}

const ToolFormat& internlm_format() {  // InternLM 2.5 and 3
  static const MarkedJson format({"internlm",
                                  "<|plugin|>",
                                  {"<|action_start|>", "<|plugin|>"},
                                  {"<|action_start|><|plugin|>"},
                                  "<|action_end|>",
                                  {"\n", "", "<|action_end|>", false},
                                  "parameters"});
  return format;
}

const ToolFormat& gigachat_format() {  // GigaChat 3: a call is a message of its own
  static const MarkedJson format(
      {"gigachat", "'function call'", {}, {"function call<|role_sep|>\n"}, "", {"", "", "", false}});
  return format;
}

}  // namespace mlxk
