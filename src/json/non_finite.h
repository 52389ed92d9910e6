#pragma once

#include <string>
#include <string_view>

#include "json/json.h"

namespace mlxk {

/// `text` with each bare NaN, Infinity and -Infinity that stands as a value (Python's json writes and reads them) put
/// into a marked string; unchanged, byte for byte, where there is none.
std::string quote_non_finite(std::string_view text);

/// Puts the numbers back where quote_non_finite left its strings, at any depth.
void restore_non_finite(Json& value);

/// The reverse of each.
void mark_non_finite(Json& value);
std::string unquote_non_finite(std::string text);

}  // namespace mlxk
