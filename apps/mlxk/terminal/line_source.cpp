#include "terminal/line_source.h"

#include <histedit.h>
#include <langinfo.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>

#include "terminal/interrupt.h"

namespace mlxk {

namespace {
namespace fs = std::filesystem;

class PlainLines : public LineSource {
 public:
  explicit PlainLines(std::istream& input) : input_(input) {}
  Result read(const std::string&, std::string& line) override {
    if (!std::getline(input_, line)) {
      if (!interrupted()) return Result::end;
      input_.clear();
      return Result::interrupted;
    }
    if (!line.empty() && line.back() == '\r') line.pop_back();
    return Result::line;
  }

 private:
  std::istream& input_;
};

/// The user's locale if its encoding is UTF-8, else one whose encoding is: otherwise the editor would drop letters.
void set_utf8_locale() {
  const auto is_utf8 = [] { return std::string_view(nl_langinfo(CODESET)) == "UTF-8"; };
  if (std::setlocale(LC_CTYPE, "") && is_utf8()) return;
  for (const char* name : {"C.UTF-8", "en_US.UTF-8", "UTF-8"}) {
    if (std::setlocale(LC_CTYPE, name) && is_utf8()) return;
  }
}

class LineEditor : public LineSource {
 public:
  explicit LineEditor(fs::path path) : path_(std::move(path)) {
    set_utf8_locale();
    editor_ = el_init("mlxk", stdin, stdout, stderr);
    history_ = history_init();
    HistEvent event;
    history(history_, &event, H_SETSIZE, 1000);
    history(history_, &event, H_SETUNIQUE, 1);
    std::error_code error;
    fs::create_directories(path_.parent_path(), error);
    if (!error) fs::permissions(path_.parent_path(), fs::perms::owner_all, error);
    history(history_, &event, H_LOAD, path_.c_str());
    el_set(editor_, EL_CLIENTDATA, this);
    el_set(editor_, EL_PROMPT, &LineEditor::show_prompt);
    el_set(editor_, EL_EDITOR, "emacs");
    el_set(editor_, EL_SIGNAL, 1);
    el_set(editor_, EL_HIST, &::history, history_);
    el_source(editor_, nullptr);  // ~/.editrc
    // Ctrl-C arrives as a character, so that the typed text can be checked first.
    el_set(editor_, EL_SETTY, "-d", "-intr", "intr=", nullptr);
    el_set(editor_, EL_ADDFN, "mlxk-interrupt", "clear the line", &LineEditor::on_interrupt);
    el_set(editor_, EL_BIND, "^C", "mlxk-interrupt", nullptr);
  }

  ~LineEditor() override {
    HistEvent event;
    history(history_, &event, H_SAVE, path_.c_str());
    std::error_code error;
    fs::permissions(path_, fs::perms::owner_read | fs::perms::owner_write, error);
    history_end(history_);
    el_end(editor_);
  }

  Result read(const std::string& prompt, std::string& line) override {
    prompt_ = prompt;
    key_ = Result::line;
    int length = 0;
    errno = 0;
    const char* text = el_gets(editor_, &length);
    if (key_ != Result::line) return key_;
    if (!text || length <= 0) return errno == EINTR ? Result::interrupted : Result::end;
    line.assign(text, static_cast<size_t>(length));
    if (line.back() == '\n') line.pop_back();
    while (!line.empty() && line.back() == '\r') line.pop_back();
    return Result::line;
  }

  void remember(const std::string& message) override {
    HistEvent event;
    if (!message.empty()) history(history_, &event, H_ENTER, message.c_str());
  }

 private:
  static unsigned char on_interrupt(EditLine* editor, int) {
    LineEditor* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    const LineInfo* typed = el_line(editor);
    self->key_ = typed->lastchar == typed->buffer ? Result::interrupted : Result::cleared;
    el_cursor(editor, static_cast<int>(typed->lastchar - typed->cursor));
    el_insertstr(editor, "^C");  // as a shell does
    el_push(editor, "\n");       // which ends the line
    return CC_REFRESH;
  }

  static char* show_prompt(EditLine* editor) {
    LineEditor* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    return self->prompt_.data();
  }

  fs::path path_;
  std::string prompt_;
  Result key_ = Result::line;
  EditLine* editor_ = nullptr;
  History* history_ = nullptr;
};

}  // namespace

std::unique_ptr<LineSource> make_plain_lines(std::istream& input) { return std::make_unique<PlainLines>(input); }

std::unique_ptr<LineSource> make_line_editor(const fs::path& history) { return std::make_unique<LineEditor>(history); }

fs::path history_path() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state && *state == '/') return fs::path(state) / "mlxk" / "history";
  const char* home = std::getenv("HOME");
  return fs::path(home && *home ? home : "/") / ".local" / "state" / "mlxk" / "history";
}

namespace {
constexpr const char* kQuotes = "\"\"\"";

/// The lines after the first of a block between `"""`, up to its end.
LineSource::Result read_block(LineSource& lines, std::string rest, std::string& message) {
  while (true) {
    const size_t end = rest.find(kQuotes);
    message += rest.substr(0, end);
    if (end != std::string::npos) {
      if (end == 0 && !message.empty() && message.back() == '\n') message.pop_back();
      return LineSource::Result::line;
    }
    const auto result = lines.read("... ", rest);
    if (result == LineSource::Result::end) return LineSource::Result::line;  // an unclosed block is sent as it is
    if (result != LineSource::Result::line) return result;
    if (!message.empty()) message += '\n';
  }
}

/// Lines joined at final backslashes.
LineSource::Result read_continued(LineSource& lines, std::string line, std::string& message) {
  while (!line.empty() && line.back() == '\\') {
    line.pop_back();
    message += line + '\n';
    const auto result = lines.read("... ", line);
    if (result == LineSource::Result::end) return LineSource::Result::line;
    if (result != LineSource::Result::line) return result;
  }
  message += line;
  return LineSource::Result::line;
}

}  // namespace

LineSource::Result read_message(LineSource& lines, const std::string& prompt, std::string& message) {
  std::string line;
  auto result = lines.read(prompt, line);
  if (result != LineSource::Result::line) return result;
  message.clear();
  const bool block = line.starts_with(kQuotes);
  result = block ? read_block(lines, line.substr(3), message) : read_continued(lines, line, message);
  if (result == LineSource::Result::interrupted)
    return LineSource::Result::cleared;  // its first lines are dropped with it
  if (result == LineSource::Result::line) lines.remember(message);
  return result;
}

}  // namespace mlxk
