#pragma once

#include <string>
#include <string_view>

namespace mlxk {

/// `text` with the last part alone of each path: where files lie on this machine is no client's business. Routes
/// ("/v1/…") and places in a schema ("/properties/…") stay.
std::string without_folders(std::string_view text);

/// The first 2,000 bytes of `text`, to a whole character.
std::string_view cut_for_client(std::string_view text);

}  // namespace mlxk
