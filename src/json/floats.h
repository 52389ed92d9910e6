#pragma once

#include <span>
#include <string>

namespace mlxk {

/// Appends `numbers` as a JSON list, each in the shortest form that gives the same float. Finite ones only.
void append_floats(std::string& out, std::span<const float> numbers);

/// The double that is written like `number`: 0.1 for 0.1F.
double as_written(float number);

}  // namespace mlxk
