#pragma once

#include <string>
#include <string_view>

namespace mlxk {

/// Returns `text` with every path cut to its last part: clients must not learn where files are on this machine. Routes
/// ("/v1/…") and places in a schema ("/properties/…") stay.
std::string without_folders(std::string_view text);

/// Returns the first 2,000 bytes of `text`, cut at a whole character.
std::string_view cut_for_client(std::string_view text);

}  // namespace mlxk
