#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

namespace mlxk {

/// Objects keep the order of their keys (templates and output depend on it); a look-up is linear, so tables with
/// thousands of keys (safetensors headers, vocabularies) are read by a parser of their own.
using Json = nlohmann::ordered_json;

/// Parses hostile text: at most `max_depth` levels and 20,000 keys an object, duplicate keys keep the last; NaN and
/// ±Infinity are numbers, as in Python; throws bad_model naming `place`.
Json parse_json(std::string_view text, std::string_view place, int max_depth = 64);

/// `value` as a file of `indent` spaces and a last newline; NaN and ±Infinity are written bare, as Python does.
std::string dump_json(const Json& value, int indent = 2);

/// parse_json of a file; throws io or bad_model naming the path.
Json read_json(const std::filesystem::path& path);

}  // namespace mlxk
