#pragma once

#include <string>
#include <string_view>

#include "selftest/selftest.h"

namespace mlxk {

/// All checks of a speech model, in their order.
void check_speech_model(Worker& worker, const ServedSpeech& model, const SelftestOptions& options,
                        SelftestResult& result);

/// The word error rate of `heard` against `expected`, by edit distance; case and punctuation do not count.
double word_error_rate(std::string_view expected, std::string_view heard);

}  // namespace mlxk
