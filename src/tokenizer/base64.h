#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mlxk {

std::string base64_encode(std::string_view bytes);

/// The bytes of padded base64; nullopt if `text` is not base64.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace mlxk
