#include "json/floats.h"

#include <fmt/format.h>

#include <cstdlib>
#include <iterator>

namespace mlxk {

void append_floats(std::string& out, std::span<const float> numbers) {
  out += '[';
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (i > 0) out += ',';
    fmt::format_to(std::back_inserter(out), "{}", numbers[i]);
  }
  out += ']';
}

double as_written(float number) { return std::strtod(fmt::format("{}", number).c_str(), nullptr); }

}  // namespace mlxk
