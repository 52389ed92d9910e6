#pragma once

#include <string>
#include <utility>
#include <vector>

namespace mlxk {

/// What a mark means; the writers choose its colour, in dark and in light.
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

/// One curve of a row; `values` stands beside Timeline::time, NaN where nothing is known.
struct PlotSeries {
  std::string label;
  std::string unit;
  PlotColour colour = PlotColour::blue;
  std::vector<double> values;
  int decimals = 1;          // that a reader sees
  bool area = false;         // filled to 0
  bool second_axis = false;  // on the right
  /// Points coloured by value: the first entry whose limit is above a value names its colour; empty: no points.
  std::vector<std::pair<double, PlotColour>> levels;
};

/// Curves that share a vertical scale, or two; the scales begin at 0.
struct PlotRow {
  std::string title;
  std::string axis, second_axis;  // what the scales show, with the unit
  double top = 0;                 // of the first scale; 0: the largest value
  std::vector<PlotSeries> series;
};

/// A stretch of time in the background of every row; with a label also a line at its beginning.
struct PlotSpan {
  double from = 0, to = 0;
  PlotColour colour = PlotColour::grey;
  std::string kind;   // for the legend: "WARN pressure"
  std::string label;  // beside the line; empty: no line
  std::string note;   // for the hover: the whole name and what else is known
};

/// Rows of curves over one time axis, in minutes, ascending.
struct Timeline {
  std::string title, subtitle;
  std::vector<double> time;
  std::vector<PlotRow> rows;
  std::vector<PlotSpan> spans;  // drawn in this order
};

/// An SVG document of `width` pixels, readable in dark and in light; curves are decimated to its pixels.
std::string timeline_svg(const Timeline& timeline, int width = 1000);

/// An HTML page that needs no other file and no network: zoom, pan, range slider, one hover for all rows. A timeline
/// of more than `most` points is decimated to them, smallest and largest values kept.
std::string timeline_html(const Timeline& timeline, size_t most = 100'000);

}  // namespace mlxk
