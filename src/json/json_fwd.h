#pragma once

#include <nlohmann/json_fwd.hpp>

namespace mlxk {

/// Objects keep the order of their keys (templates and output depend on it). A look-up is linear, so tables with
/// thousands of keys (safetensors headers, vocabularies) have parsers of their own.
using Json = nlohmann::ordered_json;

}  // namespace mlxk
