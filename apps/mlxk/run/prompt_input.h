#pragma once

#include <istream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// The prompt of a command line: `--prompt`, or the words joined by spaces; a word `-` puts all of `input` before them,
/// a word `@file` is replaced by that file (`@@x` is the word "@x"). nullopt: none given. Throws invalid if it is not
/// text, and io for a file that cannot be read.
std::optional<std::string> read_prompt(const std::optional<std::string>& prompt_option,
                                       const std::vector<std::string>& words, std::istream& input);

/// The hint for a missing file of --image or --audio: if `word` looks like a prompt, where the prompt belongs; else
/// empty.
std::string misplaced_prompt_hint(std::string_view word);

/// Throws invalid naming `place` and the offset unless `text` is UTF-8 without NUL.
void check_text(std::string_view text, std::string_view place);

}  // namespace mlxk
