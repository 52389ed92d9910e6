#include "report/page.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string_view>

namespace mlxk {

namespace {

/// `text` on one line, with `escape` applied to each character.
template <class Escape>
std::string one_line(std::string_view text, const Escape& escape) {
  std::string out;
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    out += code < 0x20 || code == 0x7F ? std::string(" ") : escape(c);
  }
  return out;
}

/// `text` with all Markdown and HTML escaped.
std::string markdown(std::string_view text) {
  return one_line(text, [](char c) {
    constexpr std::string_view kSpecial = "\\`*_[]<>|#&~";
    return kSpecial.find(c) == kSpecial.npos ? std::string(1, c) : std::string("\\") + c;
  });
}

std::string html(std::string_view text) {
  return one_line(text, [](char c) -> std::string {
    switch (c) {
      case '&': return "&amp;";
      case '<': return "&lt;";
      case '>': return "&gt;";
      case '"': return "&quot;";
      default: return std::string(1, c);
    }
  });
}

class MarkdownPage : public Page {
 public:
  MarkdownPage(std::string stem, PageFiles& files) : stem_(std::move(stem)), files_(files) {}

  void heading(int level, const std::string& text) override {
    out_ += fmt::format("{} {}\n\n", std::string(static_cast<size_t>(level), '#'), markdown(text));
  }
  void paragraph(const std::string& text) override { out_ += markdown(text) + "\n\n"; }
  void list(const std::vector<std::string>& items) override {
    for (const auto& item : items) out_ += "- " + markdown(item) + "\n";
    out_ += "\n";
  }
  void table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) override {
    row(header);
    row(std::vector<std::string>(header.size(), "---"));
    for (const auto& cells : rows) {
      std::vector<std::string> escaped;
      for (const auto& cell : cells) escaped.push_back(markdown(cell));
      row(escaped);
    }
    out_ += "\n";
  }
  void figure(const std::string& title, const std::string& name, const std::string& svg) override {
    if (stem_.empty()) return;
    const std::string file = fmt::format("{}-{}.svg", stem_, name);
    files_.emplace_back(file, svg);
    out_ += fmt::format("![{}](<{}>)\n\n", markdown(title), file);
  }
  std::string text() override { return std::move(out_); }

 private:
  void row(const std::vector<std::string>& cells) { out_ += fmt::format("| {} |\n", fmt::join(cells, " | ")); }

  const std::string stem_;
  PageFiles& files_;
  std::string out_;
};

constexpr std::string_view kStyle = R"css(
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; display: block; overflow-x: auto; }
th, td { border: 1px solid #8885; padding: .2em .6em; text-align: left; }
th { background: #8882; }
figure { margin: 1em 0; overflow-x: auto; }
figcaption { color: #888; }
)css";

class HtmlPage : public Page {
 public:
  explicit HtmlPage(const std::string& title) {
    out_ = fmt::format(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" "
        "content=\"width=device-width\">\n<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n",
        html(title), kStyle);
  }
  void heading(int level, const std::string& text) override {
    out_ += fmt::format("<h{0}>{1}</h{0}>\n", level, html(text));
  }
  void paragraph(const std::string& text) override { out_ += fmt::format("<p>{}</p>\n", html(text)); }
  void list(const std::vector<std::string>& items) override {
    out_ += "<ul>\n";
    for (const auto& item : items) out_ += fmt::format("<li>{}</li>\n", html(item));
    out_ += "</ul>\n";
  }
  void table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) override {
    out_ += "<table>\n";
    row("th", header);
    for (const auto& cells : rows) row("td", cells);
    out_ += "</table>\n";
  }
  void figure(const std::string& title, const std::string&, const std::string& svg) override {
    out_ += fmt::format("<figure>\n{}<figcaption>{}</figcaption>\n</figure>\n", svg, html(title));
  }
  std::string text() override { return std::move(out_) + "</body>\n</html>\n"; }

 private:
  void row(const char* tag, const std::vector<std::string>& cells) {
    out_ += "<tr>";
    for (const auto& cell : cells) out_ += fmt::format("<{0}>{1}</{0}>", tag, html(cell));
    out_ += "</tr>\n";
  }

  std::string out_;
};

}  // namespace

std::unique_ptr<Page> markdown_page(std::string stem, PageFiles& files) {
  return std::make_unique<MarkdownPage>(std::move(stem), files);
}

std::unique_ptr<Page> html_page(const std::string& title) { return std::make_unique<HtmlPage>(title); }

}  // namespace mlxk
