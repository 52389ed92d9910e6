#include "report/bar_chart.h"

#include <fmt/format.h>

#include <algorithm>

namespace mlxk {

namespace {
constexpr int kWidth = 720, kLabelWidth = 170, kBarSpace = 440, kRow = 24, kTitle = 40;

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (static_cast<unsigned char>(c) >= 0x20)
      out += c;
  }
  return out;
}

std::string text_at(int x, int y, const std::string& text, const char* more = "") {
  return fmt::format("<text x=\"{}\" y=\"{}\"{}>{}</text>\n", x, y, more, escaped(text));
}
}  // namespace

std::string bar_chart_svg(const std::string& title, const std::vector<PlotPanel>& panels) {
  std::string body = text_at(10, 24, title, " font-weight=\"bold\"");
  int y = kTitle;
  for (const auto& panel : panels) {
    double top = 0;
    for (const auto& bar : panel.bars) top = std::max({top, bar.value, bar.high});
    const auto x = [&](double value) { return kLabelWidth + (top > 0 ? value / top * kBarSpace : 0); };
    body += text_at(10, y + 16, panel.title, " fill=\"#555\"");
    y += kRow;
    for (const auto& bar : panel.bars) {
      const double middle = y + kRow / 2.0;
      body += text_at(kLabelWidth - 8, y + 16, bar.label, " text-anchor=\"end\"");
      body += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" fill=\"#4a7ab5\"/>\n", kLabelWidth,
                          y + 3, x(bar.value) - kLabelWidth, kRow - 6);
      body += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#222\"/>\n",
                          x(bar.low), middle, x(bar.high), middle);
      body += text_at(static_cast<int>(x(std::max(bar.value, bar.high))) + 6, y + 16, fmt::format("{:.4g}", bar.value));
      y += kRow;
    }
    y += kRow / 2;
  }
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
      "font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" "
      "fill=\"white\"/>\n{2}</svg>\n",
      kWidth, y, body);
}

}  // namespace mlxk
