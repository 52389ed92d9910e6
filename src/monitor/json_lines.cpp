#include "monitor/json_lines.h"

#include <fmt/format.h>

#include "base/counted.h"
#include "base/error.h"
#include "base/line_reader.h"

namespace mlxk {

namespace {
constexpr size_t kShown = 10;
constexpr size_t kMaxLine = size_t{1} << 20;
}  // namespace

void LineWarnings::add(uint64_t line, const std::string& text) {
  if (first_.size() < kShown) {
    first_.push_back(line > 0 ? fmt::format("{}:{}: {}", file_, line, text) : fmt::format("{}: {}", file_, text));
    return;
  }
  ++more_;
  last_line_ = line;
}

std::vector<std::string> LineWarnings::texts() const {
  std::vector<std::string> texts = first_;
  if (more_ > 0)
    texts.push_back(fmt::format("{}: {} more, the last at line {}", file_, counted(more_, "warning"), last_line_));
  return texts;
}

void read_json_lines(const std::filesystem::path& path, LineWarnings& warnings,
                     const std::function<void(uint64_t line, std::string_view text)>& take) {
  LineReader lines(path, kMaxLine);
  while (lines.next()) {
    const std::string& line = lines.text();
    const auto number = static_cast<uint64_t>(lines.number());
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    if (lines.is_too_long()) {
      warnings.add(number, fmt::format("skipped a line of more than {} bytes", kMaxLine));
      continue;
    }
    try {
      take(number, line);
    } catch (const Error& error) {
      warnings.add(number,
                   lines.is_complete()
                       ? std::string(error.what()) + "; the line is skipped"
                       : "the last line is cut off, as if the program was killed; the lines before it are used");
    }
  }
}

}  // namespace mlxk
