#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "chat/tools/grammar_text.h"
#include "json/json.h"

namespace mlxk {

/// The elements `<key>value</key>` at the front of `text` up to `</name>`, a `mark` before each tag; `text` is then
/// behind that. Values are texts, elements by key, or elements <item>; a text gets the type that `schema` (null:
/// unknown) gives it. nullopt where they are malformed or nested too deep.
std::optional<Json> take_elements(std::string_view& text, std::string_view mark, std::string_view name,
                                  const Json* schema);

/// The expression of `tool`'s arguments as such elements.
std::string elements_grammar(GrammarText& text, const ToolFunction& tool, std::string_view mark);

}  // namespace mlxk
