#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "chat/tools/grammar_text.h"
#include "json/json.h"

namespace mlxk {

/// Parses the elements `<key>value</key>` at the front of `text` up to `</name>`, a `mark` before each tag, and
/// advances `text` past them. Values are texts, elements by key, or elements <item>; a text gets the type that `schema`
/// (null: unknown) gives it. nullopt if they are malformed or nested too deeply.
std::optional<Json> take_elements(std::string_view& text, std::string_view mark, std::string_view name,
                                  const Json* schema);

/// The grammar expression for `tool`'s arguments as such elements.
std::string elements_grammar(GrammarText& text, const ToolFunction& tool, std::string_view mark);

}  // namespace mlxk
