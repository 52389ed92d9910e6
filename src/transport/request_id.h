#pragma once

#include <string>
#include <string_view>

namespace mlxk {

/// Whether a client's X-Request-ID is kept: 1 to 128 characters of [A-Za-z0-9._-].
bool is_request_id(std::string_view id);

/// A fresh random UUID (version 4). Any thread.
std::string make_request_id();

}  // namespace mlxk
