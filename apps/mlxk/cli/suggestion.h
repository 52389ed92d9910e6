#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// The one of `candidates` that `word` is most likely a mistyping of: few letters differ; empty: none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// The command that `word` is near to, or that goes by that name in other programs ("ls", "delete"); empty: none.
std::string suggested_command(std::string_view word);

}  // namespace mlxk
