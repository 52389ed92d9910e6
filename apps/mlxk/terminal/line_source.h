#pragma once

#include <filesystem>
#include <istream>
#include <memory>
#include <string>

namespace mlxk {

/// Where the lines of a chat come from.
class LineSource {
 public:
  enum class Result {
    line,
    end,
    cleared,      // Ctrl-C took away what was typed
    interrupted,  // Ctrl-C on an empty line
  };
  virtual ~LineSource() = default;
  /// Reads one line without its newline, after showing `prompt` if a person reads it.
  virtual Result read(const std::string& prompt, std::string& line) = 0;
  /// Keeps a message, which may have several lines, to be brought back as one.
  virtual void remember(const std::string& /*message*/) {}
};

/// Lines of a pipe or file; no prompts are shown.
std::unique_ptr<LineSource> make_plain_lines(std::istream& input);

/// A terminal with line editing; `history` is read now and written at the end (its folder is made, mode 0700). A file
/// that cannot be written is no error. A key Ctrl-C reaches the editor alone, not the process. Where the locale's
/// encoding is not UTF-8, C.UTF-8 is used.
std::unique_ptr<LineSource> make_line_editor(const std::filesystem::path& history);

/// $XDG_STATE_HOME/mlxk/history, else ~/.local/state/mlxk/history.
std::filesystem::path history_path();

/// Reads one message: a line, lines that end with a backslash joined, or a block between lines of `"""`. The source
/// remembers it.
LineSource::Result read_message(LineSource& lines, const std::string& prompt, std::string& message);

}  // namespace mlxk
