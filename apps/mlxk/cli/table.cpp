#include "cli/table.h"

#include <algorithm>

namespace mlxk {

namespace {

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

std::vector<std::string> lines_of(const std::string& cell) {
  std::vector<std::string> lines;
  size_t start = 0;
  for (size_t end; (end = cell.find('\n', start)) != cell.npos; start = end + 1)
    lines.push_back(cell.substr(start, end - start));
  lines.push_back(cell.substr(start));
  return lines;
}

void add_row(std::string& out, const TableRow& row, const std::vector<size_t>& widths) {
  std::vector<std::vector<std::string>> cells;
  size_t height = 1;
  for (const auto& cell : row) height = std::max(height, cells.emplace_back(lines_of(cell)).size());
  for (size_t line = 0; line < height; ++line) {
    for (size_t column = 0; column < cells.size(); ++column) {
      const std::string text = line < cells[column].size() ? cells[column][line] : "";
      if (column > 0) out += " | ";
      out += text + std::string(widths[column] - text_width(text), ' ');
    }
    out += '\n';
  }
}

}  // namespace

size_t text_width(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation(c); }));
}

std::string printable(std::string_view text, bool keep_lines) {
  std::string safe;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool c1 = byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    const bool kept = keep_lines && byte == '\n';
    safe += !kept && (byte < 0x20 || byte == 0x7F || c1) ? '?' : text[i];
    if (c1) ++i;
  }
  return safe;
}

std::string wrap_words(std::string_view text, size_t width) {
  std::string wrapped;
  size_t column = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    if (column > 0 && column + 1 + text_width(word) > width) {
      wrapped += '\n';
      column = 0;
    } else if (column > 0) {
      wrapped += ' ';
      ++column;
    }
    for (const char c : word) {
      if (!is_continuation(c) && column++ == width) {
        wrapped += '\n';
        column = 1;
      }
      wrapped += c;
    }
  }
  return wrapped;
}

std::string render_table(const TableRow& header, const std::vector<TableRow>& rows) {
  std::vector<size_t> widths;
  for (const auto& cell : header) widths.push_back(text_width(cell));
  for (const auto& row : rows) {
    for (size_t column = 0; column < row.size(); ++column) {
      for (const auto& line : lines_of(row[column])) widths[column] = std::max(widths[column], text_width(line));
    }
  }
  std::string out;
  add_row(out, header, widths);
  for (size_t column = 0; column < widths.size(); ++column) {
    if (column > 0) out += "-+-";
    out += std::string(widths[column], '-');
  }
  out += '\n';
  for (const auto& row : rows) add_row(out, row, widths);
  return out;
}

}  // namespace mlxk
