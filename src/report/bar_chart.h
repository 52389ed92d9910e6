#pragma once

#include <string>
#include <vector>

namespace mlxk {

/// One bar of a chart: a median, and the smallest and largest value as a thin line.
struct PlotBar {
  std::string label;
  double value = 0, low = 0, high = 0;
};
struct PlotPanel {
  std::string title;  // with the unit
  std::vector<PlotBar> bars;
};

/// An SVG document with `panels` stacked vertically, each with its own scale that begins at 0.
std::string bar_chart_svg(const std::string& title, const std::vector<PlotPanel>& panels);

}  // namespace mlxk
