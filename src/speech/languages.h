#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mlxk {

/// Whisper's languages in the order of their tokens; models before large-v3 lack the last.
constexpr int kSpeechLanguages = 100;

/// The code ("en") of language `index` and its name ("english").
std::string_view language_code(int index);
std::string_view language_name(int index);

/// The index of a language given by code or name, in any case; nullopt: unknown.
std::optional<int> find_language(std::string_view language);

}  // namespace mlxk
