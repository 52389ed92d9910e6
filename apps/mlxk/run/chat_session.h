#pragma once

#include <functional>
#include <string>
#include <vector>

#include "json/json.h"
#include "serving/generate.h"
#include "terminal/line_source.h"

namespace mlxk {

/// The input and output of a chat; tests use strings here.
struct ChatIo {
  LineSource& lines;
  std::function<void(const std::string&)> out;  // the conversation
  std::function<void(const std::string&)> err;  // diagnostics
  /// Answers `messages`, writing the answer as it arrives; throws Error.
  std::function<GeneratedAnswer(const Json& messages)> reply;
  /// Reads an image for display, {"type": "image", "file": path} in a message; throws Error. Empty: the model accepts
  /// none.
  std::function<void(const std::string& path)> read_image = {};
};

/// An interactive conversation: messages, slash commands, history. Reasoning is shown but not sent back to the model.
class ChatSession {
 public:
  ChatSession(ChatIo io, std::string system) : io_(std::move(io)), system_(std::move(system)) {}

  /// Runs until the user leaves or the input ends. Returns the exit code.
  int run();
  /// The messages that the model would get for another answer.
  Json messages() const;

 private:
  enum class Next { go_on, leave };
  Next handle(const std::string& input);
  Next command(const std::string& line);
  void add_image(const std::string& path);
  Json content_of(const std::string& text);
  void answer();
  void save(const std::string& path);
  void stats() const;

  ChatIo io_;
  std::string system_;
  Json turns_ = Json::array();   // user and assistant alternate
  Json images_ = Json::array();  // of the next message
  int answers_ = 0;
  Usage total_;
  GeneratedAnswer last_;
};

}  // namespace mlxk
