#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>

#include "plot/decimate.h"
#include "plot/palette.h"
#include "plot/ticks.h"
#include "plot/timeline.h"

namespace mlxk {

namespace {
constexpr int kLeft = 64, kRight = 64, kTitle = 84, kRowHeight = 170, kRowGap = 44, kLegend = 22, kBottom = 46;
constexpr double kLabelGap = 12;    // pixels between two labels
constexpr size_t kMaxPoints = 600;  // coloured points of a series

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (static_cast<unsigned char>(c) >= 0x20) {
      out += c;
    }
  }
  return out;
}

/// The number of characters in UTF-8 text.
size_t text_length(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

/// The stylesheet: one class per colour, for strokes (`s-`) and fills (`f-`). The first rules are for renderers without
/// support for media queries.
std::string style() {
  std::string light, dark;
  for (int i = 0; i <= static_cast<int>(PlotColour::yellow); ++i) {
    const auto shades = shades_of(static_cast<PlotColour>(i));
    const auto rule = [&](std::string_view colour) {
      return fmt::format(".s-{0}{{stroke:{1}}}.f-{0}{{fill:{1}}}", shades.name, colour);
    };
    light += rule(shades.light);
    dark += rule(shades.dark);
  }
  return "<style>.ground{fill:#fff}text{fill:#1a202c}.faint{fill:#4a5568}.grid{stroke:#e2e8f0}.frame{stroke:#a0aec0}" +
         light +
         "@media (prefers-color-scheme:dark){.ground{fill:#171923}text{fill:#edf2f7}.faint{fill:#a0aec0}"
         ".grid{stroke:#2d3748}.frame{stroke:#4a5568}" +
         dark + "}</style>\n";
}

class SvgWriter {
 public:
  SvgWriter(const Timeline& timeline, int width) : timeline_(timeline), width_(width) {
    if (!timeline.time.empty()) {
      from_ = timeline.time.front();
      to_ = std::max(timeline.time.back(), from_ + 1e-3);
    }
    size_t longest = 0;
    for (const auto& span : timeline.spans) longest = std::max(longest, text_length(span.label));
    if (longest > 0) label_height_ = 24 + 6 * static_cast<int>(longest);
  }

  std::string write() {
    const int first = kTitle + label_height_;
    int y = first;
    for (const auto& row : timeline_.rows) {
      draw_row(row, y);
      y += kRowHeight + kRowGap;
    }
    const int bottom = y - kRowGap;
    if (label_height_ > 0) draw_labels(first, bottom);
    draw_time(bottom);
    draw_kinds(bottom + kBottom);
    const int height = bottom + kBottom + (timeline_.spans.empty() ? 0 : kLegend);
    return fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
        "font-family=\"sans-serif\" font-size=\"12\">\n{2}<rect class=\"ground\" width=\"{0}\" height=\"{1}\"/>\n"
        "<text x=\"{3}\" y=\"24\" font-size=\"16\">{4}</text>\n<text class=\"faint\" x=\"{3}\" y=\"44\">{5}</text>\n"
        "{6}</svg>\n",
        width_, height, style(), kLeft, escaped(timeline_.title), escaped(timeline_.subtitle), body_);
  }

 private:
  double x_of(double time) const { return kLeft + (time - from_) / (to_ - from_) * (width_ - kLeft - kRight); }

  void add(const std::string& text) { body_ += text; }

  void draw_row(const PlotRow& row, int top) {
    const int right = width_ - kRight, bottom = top + kRowHeight;
    add(fmt::format("<text x=\"{}\" y=\"{}\">{}</text>\n", kLeft, top - 8, escaped(row.title)));
    for (const auto& span : timeline_.spans) {
      const double x = x_of(span.from);
      add(fmt::format("<rect class=\"f-{}\" opacity=\".22\" x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\"/>\n",
                      shades_of(span.colour).name, x, top, std::max(x_of(span.to) - x, 1.0), kRowHeight));
    }
    std::vector<const PlotSeries*> first, second;
    for (const auto& series : row.series) (series.second_axis ? second : first).push_back(&series);
    const AxisTicks left = axis_of(first, row.top), other = axis_of(second, 0);
    for (const double tick : left.values) {
      const double y = bottom - tick / left.top * kRowHeight;
      add(
          fmt::format("<path class=\"grid\" d=\"M{} {:.1f}H{}\"/><text class=\"faint\" text-anchor=\"end\" x=\"{}\" "
                      "y=\"{:.1f}\">{:g}</text>\n",
                      kLeft, y, right, kLeft - 6, y + 4, tick));
    }
    if (!second.empty()) {
      for (const double tick : other.values) {
        const double y = bottom - tick / other.top * kRowHeight;
        add(fmt::format("<text class=\"faint\" x=\"{}\" y=\"{:.1f}\">{:g}</text>\n", right + 6, y + 4, tick));
      }
      draw_axis_name(row.second_axis, width_ - 10, top);
    }
    draw_axis_name(row.axis, 14, top);
    for (const auto& series : row.series) draw_series(series, bottom, series.second_axis ? other.top : left.top);
    add(fmt::format("<rect class=\"frame\" fill=\"none\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n", kLeft, top,
                    right - kLeft, kRowHeight));
    int x = kLeft + 90;
    for (const auto& series : row.series) x = draw_key(series.label, series.colour, x, top - 8);
  }

  AxisTicks axis_of(const std::vector<const PlotSeries*>& all, double top) const {
    if (top > 0) return axis_ticks(top);
    for (const auto* series : all) {
      for (const double value : series->values) {
        if (value > top) top = value;
      }
    }
    return axis_ticks(top);
  }

  void draw_axis_name(const std::string& name, int x, int top) {
    add(fmt::format(
        "<text class=\"faint\" text-anchor=\"middle\" transform=\"translate({},{}) rotate(-90)\">{}</text>\n", x,
        top + kRowHeight / 2, escaped(name)));
  }

  /// Draws a coloured line and its label in the legend; returns the position of the next.
  int draw_key(const std::string& label, PlotColour colour, int x, int y) {
    add(
        fmt::format("<rect class=\"f-{}\" x=\"{}\" y=\"{}\" width=\"14\" height=\"4\"/><text class=\"faint\" x=\"{}\" "
                    "y=\"{}\">{}</text>\n",
                    shades_of(colour).name, x, y - 6, x + 19, y, escaped(label)));
    return x + 40 + 7 * static_cast<int>(text_length(label));
  }

  void draw_series(const PlotSeries& series, int bottom, double top) {
    const auto y_of = [&](double value) { return bottom - std::clamp(value / top, 0.0, 1.0) * kRowHeight; };
    const auto kept = decimate(timeline_.time, series.values, static_cast<size_t>(width_ - kLeft - kRight) / 2);
    std::string line, area;
    double begun = 0;
    bool pen = false;
    const auto close = [&] {
      if (pen) area += fmt::format("V{}H{:.1f}Z", bottom, begun);
      pen = false;
    };
    for (const uint32_t i : kept) {
      if (std::isnan(series.values[i])) {
        close();
        continue;
      }
      const double x = x_of(timeline_.time[i]);
      const std::string point = fmt::format("{}{:.1f} {:.1f}", pen ? 'L' : 'M', x, y_of(series.values[i]));
      if (!pen) begun = x;
      pen = true;
      line += point;
      area += point;
    }
    close();
    const auto name = shades_of(series.colour).name;
    if (series.area) add(fmt::format("<path class=\"f-{}\" opacity=\".25\" d=\"{}\"/>\n", name, area));
    add(fmt::format("<path class=\"s-{}\" fill=\"none\" stroke-width=\"1.2\" stroke-linejoin=\"round\" d=\"{}\"/>\n",
                    name, line));
    draw_levels(series, kept, y_of);
  }

  /// Draws points coloured by value, with one path per colour.
  template <class Height>
  void draw_levels(const PlotSeries& series, const std::vector<uint32_t>& kept, const Height& y_of) {
    if (series.levels.empty()) return;
    std::map<PlotColour, std::string> paths;
    const size_t step = kept.size() / kMaxPoints + 1;
    for (size_t i = 0; i < kept.size(); i += step) {
      const double value = series.values[kept[i]];
      for (const auto& [limit, colour] : series.levels) {
        if (!(value < limit)) continue;
        fmt::format_to(std::back_inserter(paths[colour]), "M{:.1f} {:.1f}h0", x_of(timeline_.time[kept[i]]),
                       y_of(value));
        break;
      }
    }
    for (const auto& [colour, path] : paths) {
      add(fmt::format("<path class=\"s-{}\" stroke-width=\"3.4\" stroke-linecap=\"round\" d=\"{}\"/>\n",
                      shades_of(colour).name, path));
    }
  }

  void draw_labels(int top, int bottom) {
    std::vector<const PlotSpan*> labelled;
    for (const auto& span : timeline_.spans) {
      if (!span.label.empty()) labelled.push_back(&span);
    }
    std::stable_sort(labelled.begin(), labelled.end(), [](auto* a, auto* b) { return a->from < b->from; });
    double before = -kLabelGap;
    for (const auto* span : labelled) {
      const double x = x_of(span->from);
      add(fmt::format("<path class=\"frame\" stroke-dasharray=\"3 3\" d=\"M{0:.1f} {1}V{2}\"/>\n", x, top, bottom));
      if (x - before < kLabelGap) continue;
      before = x;
      add(fmt::format(
          "<text class=\"faint\" font-size=\"10\" transform=\"translate({:.1f},{}) rotate(-90)\">{}</text>\n", x + 3,
          top - 24, escaped(span->label)));
    }
  }

  void draw_time(int bottom) {
    for (const double tick : range_ticks(from_, to_)) {
      add(fmt::format("<text class=\"faint\" text-anchor=\"middle\" x=\"{:.1f}\" y=\"{}\">{:g}</text>\n", x_of(tick),
                      bottom + 16, tick));
    }
    add(fmt::format("<text class=\"faint\" text-anchor=\"middle\" x=\"{}\" y=\"{}\">minutes</text>\n", width_ / 2,
                    bottom + 34));
  }

  /// Draws the legend of the backgrounds.
  void draw_kinds(int y) {
    std::vector<std::string> drawn;
    int x = kLeft;
    for (const auto& span : timeline_.spans) {
      if (std::find(drawn.begin(), drawn.end(), span.kind) != drawn.end()) continue;
      drawn.push_back(span.kind);
      x = draw_key(span.kind, span.colour, x, y + 8);
    }
  }

  const Timeline& timeline_;
  int width_;
  double from_ = 0, to_ = 1;
  int label_height_ = 0;  // above the rows
  std::string body_;
};
}  // namespace

std::string timeline_svg(const Timeline& timeline, int width) { return SvgWriter(timeline, width).write(); }

}  // namespace mlxk
