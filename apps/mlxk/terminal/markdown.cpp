#include "terminal/markdown.h"

#include <md4c.h>

#include <algorithm>
#include <vector>

namespace mlxk {

namespace {
constexpr const char* kReset = "\033[0m";
constexpr const char* kCode = "\033[36m";
constexpr const char* kDim = "\033[2m";

/// Receives md4c's events for one block and writes ANSI text.
class Renderer {
 public:
  std::string out;
  std::vector<std::vector<std::string>> rows;  // of a table

  int enter_block(MD_BLOCKTYPE type, void* detail) {
    switch (type) {
      case MD_BLOCK_H: style("\033[1;4m"); break;
      case MD_BLOCK_QUOTE:
        out += "\033[2m│ \033[0m";
        style("\033[3m");
        break;
      case MD_BLOCK_OL:
        number_ = static_cast<MD_BLOCK_OL_DETAIL*>(detail)->start;
        is_bullet_ = false;
        break;
      case MD_BLOCK_UL: is_bullet_ = true; break;
      case MD_BLOCK_LI: item(static_cast<MD_BLOCK_LI_DETAIL*>(detail)); break;
      case MD_BLOCK_HR: out += std::string(kDim) + "────────────────" + kReset; break;
      case MD_BLOCK_CODE: style(kCode); break;
      case MD_BLOCK_TR: rows.emplace_back(); break;
      case MD_BLOCK_TH:
      case MD_BLOCK_TD: cell_start_ = out.size(); break;
      default: break;
    }
    return 0;
  }

  int leave_block(MD_BLOCKTYPE type) {
    if (type == MD_BLOCK_H || type == MD_BLOCK_QUOTE || type == MD_BLOCK_CODE) end_style();
    if (type == MD_BLOCK_TH || type == MD_BLOCK_TD) {
      rows.back().push_back(out.substr(cell_start_));
      out.resize(cell_start_);
    }
    return 0;
  }

  int enter_span(MD_SPANTYPE type) {
    switch (type) {
      case MD_SPAN_EM: style("\033[3m"); break;
      case MD_SPAN_STRONG: style("\033[1m"); break;
      case MD_SPAN_CODE: style(kCode); break;
      case MD_SPAN_DEL: style("\033[9m"); break;
      case MD_SPAN_A:
      case MD_SPAN_IMG: style("\033[4m"); break;
      default: style(""); break;
    }
    return 0;
  }

  int leave_span(MD_SPANTYPE type, void* detail) {
    end_style();
    if (type == MD_SPAN_A || type == MD_SPAN_IMG) {
      const MD_ATTRIBUTE& target = type == MD_SPAN_A ? static_cast<MD_SPAN_A_DETAIL*>(detail)->href
                                                     : static_cast<MD_SPAN_IMG_DETAIL*>(detail)->src;
      const std::string url(target.text, target.size);
      if (!url.empty() && out.find(url) == std::string::npos)
        out += std::string(kDim) + " (" + url + ")" + kReset + current();
    }
    return 0;
  }

  int text(MD_TEXTTYPE type, const char* text, size_t size) {
    if (type == MD_TEXT_BR || type == MD_TEXT_SOFTBR) {
      out += '\n';
    } else {
      out.append(text, size);
    }
    return 0;
  }

 private:
  void item(const MD_BLOCK_LI_DETAIL* detail) {
    if (detail->is_task) {
      out += detail->task_mark == ' ' ? "☐ " : "☑ ";
    } else {
      out += is_bullet_ ? std::string("• ") : std::to_string(number_) + ". ";
    }
  }
  std::string current() const {
    std::string all;
    for (const auto& each : styles_) all += each;
    return all;
  }
  void style(const std::string& code) {
    styles_.push_back(code);
    out += code;
  }
  void end_style() {
    styles_.pop_back();
    out += kReset + current();
  }

  std::vector<std::string> styles_;
  unsigned number_ = 0;
  bool is_bullet_ = false;
  size_t cell_start_ = 0;
};

void parse(const std::string& text, Renderer& renderer, unsigned flags) {
  MD_PARSER parser = {};
  parser.flags = flags;
  parser.enter_block = [](MD_BLOCKTYPE type, void* detail, void* self) {
    return static_cast<Renderer*>(self)->enter_block(type, detail);
  };
  parser.leave_block = [](MD_BLOCKTYPE type, void*, void* self) {
    return static_cast<Renderer*>(self)->leave_block(type);
  };
  parser.enter_span = [](MD_SPANTYPE type, void*, void* self) {
    return static_cast<Renderer*>(self)->enter_span(type);
  };
  parser.leave_span = [](MD_SPANTYPE type, void* detail, void* self) {
    return static_cast<Renderer*>(self)->leave_span(type, detail);
  };
  parser.text = [](MD_TEXTTYPE type, const MD_CHAR* text, MD_SIZE size, void* self) {
    return static_cast<Renderer*>(self)->text(type, text, size);
  };
  md_parse(text.data(), static_cast<MD_SIZE>(text.size()), &parser, &renderer);
}

/// The width of `cell`: characters without escape sequences.
size_t width(const std::string& cell) {
  size_t columns = 0;
  for (size_t i = 0; i < cell.size(); ++i) {
    if (cell[i] == '\033') {
      i = std::min(cell.find('m', i), cell.size());
    } else if ((static_cast<unsigned char>(cell[i]) & 0xC0) != 0x80) {
      ++columns;
    }
  }
  return columns;
}

std::string table_text(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string out;
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t i = 0; i < rows[r].size(); ++i) {
      if (i > 0) out += " │ ";
      out += (r == 0 ? "\033[1m" : "") + rows[r][i] + (r == 0 ? kReset : "");
      if (i + 1 < rows[r].size()) out += std::string(widths[i] - width(rows[r][i]), ' ');
    }
    out += '\n';
    if (r > 0) continue;
    for (size_t i = 0; i < widths.size(); ++i) {
      if (i > 0) out += "─┼─";
      for (size_t k = 0; k < widths[i]; ++k) out += "─";
    }
    out += '\n';
  }
  return out;
}

/// "```", "~~~~" … at the start of a line, after any blanks; empty: none.
std::string fence_of(const std::string& line) {
  const size_t start = line.find_first_not_of(' ');
  if (start == std::string::npos || (line[start] != '`' && line[start] != '~')) return {};
  const size_t end = std::min(line.find_first_not_of(line[start], start), line.size());
  return end - start >= 3 ? line.substr(start, end - start) : std::string{};
}
}  // namespace

std::string without_controls(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool c1 = c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (c1) ++i;  // U+0080…U+009F control terminals too
    if (c1 || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7F) continue;
    out += text[i];
  }
  return out;
}

std::string MarkdownStream::flush_table() {
  if (table_.empty()) return {};
  Renderer renderer;
  parse(table_, renderer, MD_FLAG_TABLES | MD_FLAG_NOHTML);
  std::string out = renderer.rows.empty() ? table_ : table_text(renderer.rows);
  table_.clear();
  return out;
}

std::string MarkdownStream::line(const std::string& raw) {
  const std::string text = without_controls(raw);
  const std::string fence = fence_of(text);
  if (!fence_.empty()) {
    const bool closes = fence.size() >= fence_.size() && fence[0] == fence_[0] &&
                        text.find_last_not_of(" \t") == text.find(fence) + fence.size() - 1;
    if (closes) fence_.clear();
    return closes ? std::string(kDim) + text + kReset + "\n" : kCode + text + kReset + "\n";
  }
  const size_t first = text.find_first_not_of(" \t");
  if (first != std::string::npos && text[first] == '|') {
    table_ += text.substr(first) + "\n";
    return {};
  }
  std::string out = flush_table();
  if (!fence.empty()) {
    fence_ = fence;
    return out + kDim + text + kReset + "\n";
  }
  if (first == std::string::npos) return out + "\n";
  Renderer renderer;
  // The indent of a nested item is kept; md4c sees the item alone.
  parse(text.substr(first), renderer,
        MD_FLAG_STRIKETHROUGH | MD_FLAG_TASKLISTS | MD_FLAG_NOHTML | MD_FLAG_NOINDENTEDCODEBLOCKS);
  // md4c produces nothing for a link definition; here every line is shown.
  return out + text.substr(0, first) + (renderer.out.empty() ? text.substr(first) : renderer.out) + "\n";
}

std::string MarkdownStream::push(std::string_view text) {
  pending_ += text;
  std::string out;
  size_t start = 0;
  for (size_t end; (end = pending_.find('\n', start)) != std::string::npos; start = end + 1) {
    out += line(pending_.substr(start, end - start));
  }
  pending_.erase(0, start);
  return out;
}

std::string MarkdownStream::finish() {
  std::string out;
  if (!pending_.empty()) {
    out = line(pending_);
    pending_.clear();
  }
  out += flush_table();
  fence_.clear();
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

}  // namespace mlxk
