#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "json/json_fwd.h"

namespace mlxk {

/// Parses hostile text: at most `max_depth` levels and 20,000 keys per object; of duplicate keys the last counts; NaN
/// and ±Infinity are numbers, as in Python. Throws bad_model naming `place`.
Json parse_json(std::string_view text, std::string_view place, int max_depth = 64);

/// Returns `value` as text, indented by `indent` spaces, with a final newline; NaN and ±Infinity are bare as in Python.
std::string dump_json(const Json& value, int indent = 2);

/// Parses a file as parse_json does; throws io or bad_model naming the path.
Json read_json(const std::filesystem::path& path);

}  // namespace mlxk
