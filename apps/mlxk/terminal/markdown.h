#pragma once

#include <string>
#include <string_view>

namespace mlxk {

/// Turns Markdown that arrives in pieces into text for a terminal (ANSI colours). A line is shown once it is complete,
/// the rows of a table together. Control characters of the text never reach the terminal.
class MarkdownStream {
 public:
  /// The rendered lines that `text` completes.
  std::string push(std::string_view text);
  /// The last, unfinished line.
  std::string finish();

 private:
  std::string line(const std::string& text);
  std::string flush_table();

  std::string pending_;  // an unfinished line
  std::string table_;    // rows so far
  std::string fence_;    // the characters that opened a code block; empty: outside
};

/// `text` without control characters except newline and tab.
std::string without_controls(std::string_view text);

}  // namespace mlxk
