#pragma once

#include <string>
#include <string_view>

namespace mlxk {

/// Appends `text` as a JSON string; throws bad_model naming `place` if it is not UTF-8. For vocabularies, which are too
/// large to be built as a document.
void append_json_string(std::string& out, std::string_view text, std::string_view place);

/// True for well-formed UTF-8 (no surrogates, no overlong forms).
bool is_utf8(std::string_view text);

}  // namespace mlxk
