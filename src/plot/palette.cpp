#include "plot/palette.h"

namespace mlxk {

PlotShades shades_of(PlotColour colour) {
  switch (colour) {
    case PlotColour::blue: return {"blue", "#2b6cb0", "#63b3ed"};
    case PlotColour::green: return {"green", "#2f855a", "#68d391"};
    case PlotColour::orange: return {"orange", "#c05621", "#f6ad55"};
    case PlotColour::red: return {"red", "#c53030", "#fc8181"};
    case PlotColour::purple: return {"purple", "#6b46c1", "#b794f4"};
    case PlotColour::grey: return {"grey", "#718096", "#a0aec0"};
    case PlotColour::light_blue: return {"light-blue", "#63b3ed", "#4299e1"};
    case PlotColour::light_red: return {"light-red", "#fc8181", "#e53e3e"};
    case PlotColour::yellow: return {"yellow", "#ecc94b", "#d69e2e"};
  }
  return {};
}

}  // namespace mlxk
