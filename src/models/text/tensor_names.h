#pragma once

#include <initializer_list>
#include <string_view>
#include <utility>

#include "nn/weights.h"

namespace mlxk {

/// Replaces in every tensor's name the first place where `from` stands by `to`, for each pair in turn. Two tensors that
/// would get one name are noted as a defect.
void rename_tensors(Weights& weights, std::initializer_list<std::pair<std::string_view, std::string_view>> parts);

}  // namespace mlxk
