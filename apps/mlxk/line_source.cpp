#include "line_source.h"

#include <histedit.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>

#include "interrupt.h"

namespace mlxk {

namespace {
namespace fs = std::filesystem;

class PlainLines : public LineSource {
 public:
  explicit PlainLines(std::istream& input) : input_(input) {}
  Result read(const std::string&, std::string& line) override {
    if (!std::getline(input_, line)) return interrupted() ? Result::interrupted : Result::end;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    return Result::line;
  }

 private:
  std::istream& input_;
};

class LineEditor : public LineSource {
 public:
  explicit LineEditor(fs::path path) : path_(std::move(path)) {
    std::setlocale(LC_CTYPE, "");
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
    int length = 0;
    errno = 0;
    const char* text = el_gets(editor_, &length);
    if (!text || length <= 0) return errno == EINTR ? Result::interrupted : Result::end;
    line.assign(text, static_cast<size_t>(length));
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
    HistEvent event;
    if (!line.empty()) history(history_, &event, H_ENTER, line.c_str());
    return Result::line;
  }

 private:
  static char* show_prompt(EditLine* editor) {
    LineEditor* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    return self->prompt_.data();
  }

  fs::path path_;
  std::string prompt_;
  EditLine* editor_ = nullptr;
  History* history_ = nullptr;
};

constexpr const char* kQuotes = "\"\"\"";
}  // namespace

std::unique_ptr<LineSource> make_plain_lines(std::istream& input) { return std::make_unique<PlainLines>(input); }

std::unique_ptr<LineSource> make_line_editor(const fs::path& history) { return std::make_unique<LineEditor>(history); }

fs::path history_path() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state && *state == '/') return fs::path(state) / "mlxk" / "history";
  const char* home = std::getenv("HOME");
  return fs::path(home && *home ? home : "/") / ".local" / "state" / "mlxk" / "history";
}

LineSource::Result read_message(LineSource& lines, const std::string& prompt, std::string& message) {
  std::string line;
  auto result = lines.read(prompt, line);
  if (result != LineSource::Result::line) return result;
  message.clear();
  if (line.compare(0, 3, kQuotes) == 0) {
    std::string rest = line.substr(3);
    while (true) {
      const size_t end = rest.find(kQuotes);
      message += rest.substr(0, end);
      if (end != std::string::npos) {
        if (end == 0 && !message.empty() && message.back() == '\n') message.pop_back();
        return result;
      }
      result = lines.read("... ", rest);
      if (result == LineSource::Result::interrupted) return result;
      if (result == LineSource::Result::end) return LineSource::Result::line;  // an unclosed block is sent as it is
      if (!message.empty()) message += '\n';
    }
  }
  while (!line.empty() && line.back() == '\\') {
    line.pop_back();
    message += line + '\n';
    result = lines.read("... ", line);
    if (result == LineSource::Result::interrupted) return result;
    if (result == LineSource::Result::end) return LineSource::Result::line;
  }
  message += line;
  return LineSource::Result::line;
}

}  // namespace mlxk
