#pragma once

#include <string>
#include <utility>
#include <vector>

namespace mlxk {

/// A named colour; the writers choose its shades for dark and light backgrounds.
enum class PlotColour {
  blue,
  green,
  orange,
  red,
  purple,
  grey,
  light_blue,
  light_red,
  yellow,
};

/// One curve of a row. `values` is parallel to Timeline::time; NaN: unknown.
struct PlotSeries {
  std::string label;
  std::string unit;
  PlotColour colour = PlotColour::blue;
  std::vector<double> values;
  int decimals = 1;          // displayed
  bool area = false;         // filled down to 0
  bool second_axis = false;  // on the right
  /// Draws points coloured by value: the first entry with a limit above the value gives the colour. Empty: no points.
  std::vector<std::pair<double, PlotColour>> levels;
};

/// Curves that share one or two vertical scales; the scales begin at 0.
struct PlotRow {
  std::string title;
  std::string axis, second_axis;  // names of the scales, with units
  double top = 0;                 // end of the first scale; 0: the largest value
  std::vector<PlotSeries> series;
};

/// A time span in the background of every row, with a line at its beginning if it has a label.
struct PlotSpan {
  double from = 0, to = 0;
  PlotColour colour = PlotColour::grey;
  std::string kind;   // for the legend: "WARN pressure"
  std::string label;  // next to the line; empty: no line
  std::string note;   // for the tooltip: the full name and further details
};

/// Rows of curves over one time axis. `time` is in minutes and ascends.
struct Timeline {
  std::string title, subtitle;
  std::vector<double> time;
  std::vector<PlotRow> rows;
  std::vector<PlotSpan> spans;  // drawn in this order
};

/// An SVG document of `width` pixels with a light and a dark theme; curves are decimated to its pixels.
std::string timeline_svg(const Timeline& timeline, int width = 1000);

/// A self-contained HTML page with zoom, pan, a range slider and one tooltip for all rows. A timeline of more than
/// `most` points is decimated to `most`; the smallest and largest values are kept.
std::string timeline_html(const Timeline& timeline, size_t most = 100'000);

}  // namespace mlxk
