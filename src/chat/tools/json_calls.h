#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/tools/grammar_text.h"
#include "chat/tools/json_stream.h"
#include "chat/tools/tool_table.h"

namespace mlxk {

/// How a family writes calls as JSON objects.
struct JsonCallsFormat {
  std::string_view name_key = "name";
  std::vector<std::string_view> argument_keys = {"arguments", "parameters"};
  std::string_view close;            // after the objects; may be empty
  const ToolTable* known = nullptr;  // calls of other functions are not calls; null: any
};

/// Reads `{"name": …, "arguments": {…}}`, one or several of them, also as a list. Arguments are passed on as they
/// arrive once the name is known.
class JsonCalls : public CallReader {
 public:
  explicit JsonCalls(JsonCallsFormat format) : format_(std::move(format)) {}
  State read(TextFeed& feed, CallSink& calls) override;
  std::string closing() override;

 private:
  enum class Place { start, item, first_key, key, colon, value, after_value, after_item, close, end };
  std::optional<State> step(TextFeed& feed, CallSink& calls);
  std::optional<State> value(TextFeed& feed, CallSink& calls);
  bool end_item(CallSink& calls);

  JsonCallsFormat format_;
  Place place_ = Place::start;
  bool list_ = false;
  JsonStream json_;
  std::string held_;  // the key or value being read
  std::string key_;
  std::string name_;
  std::string arguments_;   // arguments before the name, or as a string
  bool begun_ = false;      // the value's first character was seen
  bool streaming_ = false;  // the value goes to the sink
  bool given_ = false;      // the arguments went to the sink
};

/// The grammar expression for one such object.
std::string json_call_grammar(GrammarText& text, const std::string& name_key, const std::string& argument_key,
                              const ToolFunction& tool);

/// Reads a section as JSON calls if its first character is '{' or '[', otherwise by `other`.
class JsonOrOther : public CallReader {
 public:
  JsonOrOther(JsonCallsFormat format, std::unique_ptr<CallReader> other)
      : json_(std::make_unique<JsonCalls>(std::move(format))), other_(std::move(other)) {}
  State read(TextFeed& feed, CallSink& calls) override;
  std::string closing() override { return chosen_ ? chosen_->closing() : ""; }

 private:
  std::unique_ptr<CallReader> json_, other_;
  CallReader* chosen_ = nullptr;
};

}  // namespace mlxk
