#pragma once

#include <string_view>

#include "plot/timeline.h"

namespace mlxk {

/// A colour for light and for dark backgrounds.
struct PlotShades {
  std::string_view name, light, dark;
};

/// The shades of `colour`.
PlotShades shades_of(PlotColour colour);

}  // namespace mlxk
