#pragma once

#include <string>
#include <string_view>

#include "json/json_fwd.h"

namespace mlxk {

/// Returns `text` with each bare value NaN, Infinity and -Infinity (Python's json writes and reads them) in a marked
/// string; the same bytes if there is none.
std::string quote_non_finite(std::string_view text);

/// Turns the strings of quote_non_finite into numbers, at any depth.
void restore_non_finite(Json& value);

/// The reverse: numbers into marked strings, and marked strings into bare values.
void mark_non_finite(Json& value);
std::string unquote_non_finite(std::string text);

}  // namespace mlxk
