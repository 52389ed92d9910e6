#pragma once

#include <initializer_list>
#include <string_view>
#include <utility>

#include "nn/weights.h"

namespace mlxk {

/// Replaces, in every tensor's name, the first occurrence of `from` by `to`, for each pair in turn. If two tensors
/// would get the same name, a defect is recorded.
void rename_tensors(Weights& weights, std::initializer_list<std::pair<std::string_view, std::string_view>> parts);

}  // namespace mlxk
