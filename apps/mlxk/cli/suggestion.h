#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// The one of `candidates` for which `word` is most likely a typo: few letters differ; empty: none is close.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// The command that `word` resembles, or that has this name in other programs ("ls", "delete"); empty: none.
std::string suggested_command(std::string_view word);

}  // namespace mlxk
