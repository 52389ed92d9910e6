#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "chat/tools/call_reader.h"
#include "chat/tools/grammar_text.h"
#include "chat/tools/tool_table.h"
#include "chat/tools/typed_value.h"

namespace mlxk {

/// How a family writes a call's name and parameters between tags.
struct TaggedCallsFormat {
  enum class Trim {
    none,
    newline,
    blanks
  };  // stripped from a value: nothing, one line break at either end, or all whitespace

  std::string_view call_open;   // "<invoke name="; empty: the section's opening is the call's
  std::string_view name_close;  // ">"; empty: the name ends at the next '<'
  std::string_view parameter_open;
  std::string_view key_close;   // after the parameter's name
  std::string_view value_open;  // between key_close and the value, if that is a tag of its own
  std::string_view value_close;
  std::string_view call_close;
  std::string_view section_close;                  // empty: the section ends with its call
  std::string_view object_open, object_close;      // around all arguments as one JSON object, if the family has that
  std::string_view name_attribute, key_attribute;  // name and key are attributes of their tags: name="f"
  Trim trim = Trim::blanks;
  Untyped untyped = Untyped::text;
  bool cdata = false;
  bool quoted = false;           // names and keys stand in quotes
  std::string_view line = "\n";  // allowed between tags
  /// The value's type if the parameter's tag names it: "string", another type; empty: it does not.
  std::string (*type)(std::string_view tag) = nullptr;
  /// How the parameter's tag names the type, if it does.
  std::string (*written_type)(const Json& schema) = nullptr;
};

/// Reads such calls: each parameter as soon as it is complete, text as it arrives.
class TaggedCalls : public CallReader {
 public:
  TaggedCalls(TaggedCallsFormat format, const ToolTable& tools) : format_(format), tools_(tools) {}
  State read(TextFeed& feed, CallSink& calls) override;
  std::string closing() override { return in_text_ ? "\"}" : "}"; }

 private:
  enum class Place { between, name, inside, key, value_open, value, cdata, value_close, text, object };
  std::optional<State> step(TextFeed& feed, CallSink& calls);
  std::optional<State> expect(TextFeed& feed, std::string_view literal, Place next);
  std::optional<State> between(TextFeed& feed);
  std::optional<State> name(TextFeed& feed, CallSink& calls);
  std::optional<State> inside(TextFeed& feed, CallSink& calls);
  std::optional<State> key(TextFeed& feed);
  std::optional<State> begin_value(TextFeed& feed, CallSink& calls);
  std::optional<State> text(TextFeed& feed, CallSink& calls);
  std::optional<State> object(TextFeed& feed, CallSink& calls);
  void member(CallSink& calls, const std::string& value);
  std::optional<State> end_call(CallSink& calls);

  TaggedCallsFormat format_;
  const ToolTable& tools_;
  Place place_ = Place::between;
  std::string name_, key_, type_;
  bool any_ = false;      // a call was complete
  bool first_ = true;     // no member yet
  bool in_text_ = false;  // the string of a member is open
  bool text_begun_ = false;
};

/// The grammar expression for a call of `tool`: the parameters in the schema's order; optional ones may be missing.
std::string tagged_call_grammar(GrammarText& text, const TaggedCallsFormat& format, const ToolFunction& tool);

/// The attribute `name` of a tag, without its quotes; the rest of the tag if `name` is empty.
std::string attribute(std::string_view tag, std::string_view name);

}  // namespace mlxk
