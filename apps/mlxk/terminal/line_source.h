#pragma once

#include <filesystem>
#include <istream>
#include <memory>
#include <string>

namespace mlxk {

/// The source of a chat's lines.
class LineSource {
 public:
  enum class Result {
    line,
    end,
    cleared,      // Ctrl-C cleared the typed text
    interrupted,  // Ctrl-C on an empty line
  };
  virtual ~LineSource() = default;
  /// Reads one line without its newline, after showing `prompt` to a person.
  virtual Result read(const std::string& prompt, std::string& line) = 0;
  /// Adds a message, which may have several lines, to the history as one entry.
  virtual void remember(const std::string& /*message*/) {}
};

/// Lines of a pipe or file; no prompts are shown.
std::unique_ptr<LineSource> make_plain_lines(std::istream& input);

/// A terminal with line editing; `history` is read now and written at the end (its folder is created, mode 0700). A
/// history that cannot be written is not an error. Ctrl-C reaches only the editor, not the process. If the locale's
/// encoding is not UTF-8, C.UTF-8 is used.
std::unique_ptr<LineSource> make_line_editor(const std::filesystem::path& history);

/// $XDG_STATE_HOME/mlxk/history, else ~/.local/state/mlxk/history.
std::filesystem::path history_path();

/// Reads one message: a line, several lines joined at final backslashes, or a block between lines of `"""`. The source
/// adds it to the history.
LineSource::Result read_message(LineSource& lines, const std::string& prompt, std::string& message);

}  // namespace mlxk
