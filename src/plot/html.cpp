#include <fmt/format.h>

#include <cmath>
#include <iterator>
#include <string_view>

#include "base/embedded_file.h"
#include "json/json.h"
#include "plot/palette.h"
#include "plot/timeline.h"

MLXK_EMBED(mlxk_uplot_script, MLXK_UPLOT "/uPlot.iife.min.js");
MLXK_EMBED(mlxk_uplot_style, MLXK_UPLOT "/uPlot.min.css");
MLXK_EMBED(mlxk_uplot_licence, MLXK_UPLOT "/LICENSE");
MLXK_EMBED(mlxk_viewer_script, MLXK_VIEWER "/viewer.js");
MLXK_EMBED(mlxk_viewer_style, MLXK_VIEWER "/viewer.css");

namespace mlxk {

namespace {
std::string_view between(const char* begin, const char* end) { return {begin, static_cast<size_t>(end - begin)}; }

Json colour_json(PlotColour colour) {
  const auto shades = shades_of(colour);
  return {std::string(shades.light), std::string(shades.dark)};
}

void append_number(std::string& out, double value, int decimals) {
  if (!out.empty() && out.back() != '[') out += ',';
  if (std::isnan(value)) {
    out += "null";
  } else {
    fmt::format_to(std::back_inserter(out), "{:.{}f}", value, decimals);
  }
}

/// The columns of a page, time first. With more than `most` samples, each group of samples is reduced to two points:
/// the smallest and largest value of every series, in order of time.
std::string columns_json(const Timeline& timeline, size_t most) {
  const size_t count = timeline.time.size();
  const size_t stretch = count > most ? (2 * count + most - 1) / most : 1;
  std::string all = "[[";
  if (stretch == 1) {
    for (const double time : timeline.time) append_number(all, time, 5);
  } else {
    for (size_t i = 0; i < count; i += stretch) {
      append_number(all, timeline.time[i], 5);
      append_number(all, timeline.time[std::min(i + stretch / 2, count - 1)], 5);
    }
  }
  all += ']';
  for (const auto& row : timeline.rows) {
    for (const auto& series : row.series) {
      all += ",[";
      for (size_t i = 0; i < count; i += stretch) {
        if (stretch == 1) {
          append_number(all, series.values[i], series.decimals);
          continue;
        }
        size_t low = count, high = count;
        for (size_t j = i; j < std::min(i + stretch, count); ++j) {
          const double value = series.values[j];
          if (std::isnan(value)) continue;
          if (low == count || value < series.values[low]) low = j;
          if (high == count || value > series.values[high]) high = j;
        }
        const bool rising = low <= high;
        const auto value = [&](size_t at) { return at == count ? std::nan("") : series.values[at]; };
        append_number(all, value(rising ? low : high), series.decimals);
        append_number(all, value(rising ? high : low), series.decimals);
      }
      all += ']';
    }
  }
  return all + "]";
}

Json description(const Timeline& timeline) {
  Json rows = Json::array(), spans = Json::array();
  for (const auto& row : timeline.rows) {
    Json all = Json::array();
    for (const auto& series : row.series) {
      Json levels = Json::array();
      for (const auto& [limit, colour] : series.levels)
        levels.push_back({{"below", limit}, {"colour", colour_json(colour)}});
      all.push_back({{"label", series.label},
                     {"unit", series.unit},
                     {"colour", colour_json(series.colour)},
                     {"decimals", series.decimals},
                     {"area", series.area},
                     {"second", series.second_axis},
                     {"levels", std::move(levels)}});
    }
    rows.push_back({{"title", row.title},
                    {"axis", row.axis},
                    {"second", row.second_axis},
                    {"top", row.top},
                    {"series", std::move(all)}});
  }
  for (const auto& span : timeline.spans) {
    spans.push_back({{"from", span.from},
                     {"to", span.to},
                     {"colour", colour_json(span.colour)},
                     {"kind", span.kind},
                     {"label", span.label},
                     {"note", span.note}});
  }
  return {{"title", timeline.title},
          {"subtitle", timeline.subtitle},
          {"samples", timeline.time.size()},
          {"rows", std::move(rows)},
          {"spans", std::move(spans)}};
}

/// `text` escaped for use as text in an HTML document.
std::string escaped_title(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

/// JSON escaped for a script element, so that nothing in it ends the element.
std::string script_json(const Json& value) {
  std::string out;
  for (const char c : value.dump(-1, ' ', true, Json::error_handler_t::replace)) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}
}  // namespace

std::string timeline_html(const Timeline& timeline, size_t most) {
  std::string page = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<title>{}</title>\n<style>\n",
      escaped_title(timeline.title));
  page += between(mlxk_uplot_style_begin, mlxk_uplot_style_end);
  page += between(mlxk_viewer_style_begin, mlxk_viewer_style_end);
  page += "</style>\n<script>\n/* uPlot 1.6.32, github.com/leeoniya/uPlot\n\n";
  page += between(mlxk_uplot_licence_begin, mlxk_uplot_licence_end);
  page += "*/\n";
  page += between(mlxk_uplot_script_begin, mlxk_uplot_script_end);
  page += "</script>\n<body>\n<script type=\"application/json\" id=\"timeline\">";
  page += script_json(description(timeline));
  page += "</script>\n<script type=\"application/json\" id=\"columns\">";
  page += columns_json(timeline, std::max<size_t>(most, 2));
  page += "</script>\n<script>\n";
  page += between(mlxk_viewer_script_begin, mlxk_viewer_script_end);
  page += "</script>\n</body>\n</html>\n";
  return page;
}

}  // namespace mlxk
