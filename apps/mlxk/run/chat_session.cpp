#include "run/chat_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>
#include <utility>

#include "base/counted.h"
#include "base/error.h"
#include "base/file.h"
#include "run/prompt_input.h"
#include "terminal/interrupt.h"

namespace mlxk {

namespace {
constexpr const char* kInterrupted = "[Generation interrupted by user]\n";
constexpr const char* kHelp =
    "  /help           show this help\n"
    "  /system [TEXT]  show or set the system prompt\n"
    "  /image FILE     attach an image to the next message (or type its path)\n"
    "  /save FILE      write the conversation as Markdown, or as JSON to *.json\n"
    "  /clear          forget the conversation\n"
    "  /regenerate     answer the last message again\n"
    "  /stats          show tokens and speed\n"
    "  /exit           leave (also exit, quit, q, Ctrl-D)\n"
    "\n"
    "  A \\ at the end of a line continues the message on the next line.\n"
    "  A line that starts with \"\"\" begins a block of lines, which \"\"\" ends.\n"
    "  Type // to send a message that starts with /.\n"
    "  Up brings back earlier messages, Ctrl-R searches them.\n"
    "  Ctrl-C stops an answer or clears the line; on an empty line, twice leaves.\n";

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

/// The image file that a line consists of, in the forms in which a terminal writes a dropped file: quoted, with escaped
/// spaces, or plain. Empty: none.
std::string dropped_image(std::string line) {
  const char quote = line.front();
  if ((quote == '\'' || quote == '"') && line.size() > 2 && line.back() == quote) {
    line = line.substr(1, line.size() - 2);
  } else {
    for (size_t at = line.find('\\'); at != line.npos; at = line.find('\\', at + 1)) line.erase(at, 1);
  }
  std::string extension = fs::path(line).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  static const std::set<std::string> kExtensions{".jpg", ".jpeg", ".png",  ".webp", ".gif",
                                                 ".bmp", ".tif",  ".tiff", ".heic", ".heif"};
  std::error_code error;
  return kExtensions.contains(extension) && fs::is_regular_file(line, error) ? line : "";
}

/// A message as Markdown.
std::string markdown_of(const Json& content) {
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  for (const Json& part : content) {
    text += part["type"] == "image" ? fmt::format("![]({})\n\n", part["file"].get<std::string>())
                                    : part["text"].get<std::string>();
  }
  return text;
}

bool is_farewell(std::string word) {
  std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return std::tolower(c); });
  return word == "exit" || word == "quit" || word == "q";
}
}  // namespace

Json ChatSession::messages() const {
  Json all = Json::array();
  if (!system_.empty()) all.push_back({{"role", "system"}, {"content", system_}});
  for (const Json& turn : turns_) all.push_back(turn);
  return all;
}

int ChatSession::run() {
  io_.out("Starting interactive chat. Type 'exit' or 'quit' to end.\n");
  io_.out("/help lists the commands.\n\n");
  std::string input;
  bool asked_to_leave = false;
  while (true) {
    clear_interrupt();
    const auto result = read_message(io_.lines, "You: ", input);
    if (result == LineSource::Result::interrupted) {
      if (asked_to_leave) {
        io_.out("Chat interrupted. Goodbye!\n");
        return error_kind_info(ErrorKind::cancelled).exit_code;
      }
      io_.out("Press Ctrl-C again to leave.\n");
      asked_to_leave = true;
      continue;
    }
    asked_to_leave = false;
    if (result == LineSource::Result::cleared) continue;
    if (result == LineSource::Result::end) {
      io_.out("\nGoodbye!\n");
      return 0;
    }
    if (handle(input) == Next::leave) {
      io_.out("Goodbye!\n");
      return 0;
    }
  }
}

ChatSession::Next ChatSession::handle(const std::string& input) {
  const std::string line = trimmed(input);
  if (line.empty()) return Next::go_on;
  if (is_farewell(line)) return Next::leave;
  try {
    if (const std::string path = dropped_image(line); !path.empty()) {
      add_image(path);
      return Next::go_on;
    }
    if (line[0] == '/' && line.compare(0, 2, "//") != 0) return command(line);
    check_text(input, "the message");
    turns_.push_back({{"role", "user"}, {"content", content_of(line[0] == '/' ? line.substr(1) : input)}});
    answer();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::cancelled) {  // before the answer began
      io_.err(kInterrupted);
      return Next::go_on;
    }
    io_.err(fmt::format("[ERROR] {}\n", error.what()));
    if (!error.hint().empty()) io_.err(error.hint() + "\n");
  }
  return Next::go_on;
}

void ChatSession::add_image(const std::string& path) {
  if (path.empty()) throw Error(ErrorKind::invalid, "/image needs a file name");
  if (!io_.read_image) throw Error(ErrorKind::invalid, "this model does not accept images");
  io_.read_image(path);
  images_.push_back({{"type", "image"}, {"file", path}});
  io_.out(fmt::format("{} with the next message.\n", counted(static_cast<int64_t>(images_.size()), "image")));
}

/// `text` with the images attached so far.
Json ChatSession::content_of(const std::string& text) {
  if (images_.empty()) return text;
  Json content = std::exchange(images_, Json::array());
  content.push_back({{"type", "text"}, {"text", text}});
  return content;
}

void ChatSession::answer() {
  io_.out("\nAssistant: ");
  try {
    last_ = io_.reply(messages());
  } catch (...) {
    turns_.erase(turns_.size() - 1);  // a message without an answer would break the alternation
    io_.out("\n");
    throw;
  }
  io_.out("\n\n");
  if (last_.reason == FinishReason::cancelled) io_.err(kInterrupted);
  turns_.push_back({{"role", "assistant"}, {"content", last_.answer}});
  ++answers_;
  total_.prompt_tokens += last_.usage.prompt_tokens;
  total_.completion_tokens += last_.usage.completion_tokens;
}

ChatSession::Next ChatSession::command(const std::string& line) {
  const size_t blank = line.find_first_of(" \t\n");
  const std::string word = line.substr(0, blank);
  const std::string rest = blank == std::string::npos ? "" : trimmed(line.substr(blank));
  if (word == "/exit" || word == "/quit" || word == "/bye") return Next::leave;
  if (word == "/help" || word == "/?") {
    io_.out(kHelp);
  } else if (word == "/system") {
    if (!rest.empty()) system_ = rest;
    io_.out(fmt::format("System prompt: {}\n", system_.empty() ? "none" : system_));
  } else if (word == "/image") {
    add_image(rest);
  } else if (word == "/clear") {
    turns_ = Json::array();
    images_ = Json::array();
    io_.out("Conversation cleared.\n");
  } else if (word == "/stats") {
    stats();
  } else if (word == "/save") {
    save(rest);
  } else if (word == "/regenerate") {
    if (turns_.empty()) throw Error(ErrorKind::invalid, "there is no message to answer again");
    const Json before = turns_.back();
    turns_.erase(turns_.size() - 1);
    const Json question = turns_.back();
    try {
      answer();
    } catch (...) {
      turns_.push_back(question);
      turns_.push_back(before);
      throw;
    }
  } else {
    throw Error(ErrorKind::invalid, fmt::format("unknown command {}", word),
                "/help lists the commands (type // to send a message that starts with /)");
  }
  return Next::go_on;
}

void ChatSession::stats() const {
  io_.out(fmt::format("{}, {}, {}\n", counted(answers_, "answer"), counted(total_.prompt_tokens, "prompt token"),
                      counted(total_.completion_tokens, "answer token")));
  if (answers_ == 0) return;
  io_.out(fmt::format("last: {} + {} tokens, first after {:.2f}s, {:.1f} tokens/s\n", last_.usage.prompt_tokens,
                      last_.usage.completion_tokens, last_.timings.first_token_s, last_.tokens_per_second()));
}

void ChatSession::save(const std::string& path) {
  if (path.empty()) throw Error(ErrorKind::invalid, "/save needs a file name");
  const fs::path file = path;
  if (fs::exists(file)) throw Error(ErrorKind::invalid, fmt::format("{} exists", path), "choose another name");
  std::string text;
  if (file.extension() == ".json") {
    text = messages().dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  } else {
    for (const Json& message : messages()) {
      std::string role = message["role"];
      role[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(role[0])));
      text += fmt::format("## {}\n\n{}\n\n", role, markdown_of(message["content"]));
    }
  }
  write_file_atomic(file, text);
  io_.out(fmt::format("Saved to {}\n", path));
}

}  // namespace mlxk
