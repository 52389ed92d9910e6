#include "chat/tools/keyed_arguments.h"

#include "chat/tools/json_calls.h"

namespace mlxk {

KeyedArguments::KeyedArguments(std::string_view name, std::string_view template_mark, const std::string& prefix)
    : name_(name),
      template_mark_(template_mark),
      open_("<" + prefix + "tool_call>"),
      close_("</" + prefix + "tool_call>"),
      key_open_("<" + prefix + "arg_key>"),
      key_close_("</" + prefix + "arg_key>"),
      value_open_("<" + prefix + "arg_value>"),
      value_close_("</" + prefix + "arg_value>") {}

bool KeyedArguments::in_template(std::string_view source) const { return contains(source, template_mark_); }

TaggedCallsFormat KeyedArguments::tags() const {
  TaggedCallsFormat format;
  format.parameter_open = key_open_;
  format.key_close = key_close_;
  format.value_open = value_open_;
  format.value_close = value_close_;
  format.call_close = close_;
  format.untyped = Untyped::value;
  return format;
}

std::unique_ptr<CallReader> KeyedArguments::reader(const ToolTable& tools, std::string_view) const {
  JsonCallsFormat json;
  json.close = close_;
  return std::make_unique<JsonOrOther>(json, std::make_unique<TaggedCalls>(tags(), tools));
}

CallSyntax KeyedArguments::syntax(std::string_view, const Tokenizer&) const { return {"", "", "", false}; }

std::string KeyedArguments::call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const {
  return tagged_call_grammar(text, tags(), tool);
}

}  // namespace mlxk
